import t from 'tap'
import { unbase64, utf8 } from '../../../src/base/bytes.ts'
import { engineFailed, INFERENCE_ERRORS, InferenceError } from '../../../src/inference/errors.ts'
import { readBody } from '../../../src/inference/json.ts'
import type { Generation, TokenScore } from '../../../src/inference/request.ts'
import { CompletionStream, completionBody } from '../../../src/inference/write/completion.ts'
import { errorBody, errorStatus } from '../../../src/inference/write/error.ts'
import {
  embeddingBody,
  modelBody,
  modelListBody,
  textBody,
  tokensBody,
} from '../../../src/inference/write/others.ts'
import { ResponseStream, responseBody } from '../../../src/inference/write/responses.ts'
import {
  EmbeddingList,
  ErrorObject,
  Model,
  ModelList,
  TextCompletion,
} from '../../support/openai-schema.ts'

const text = (bytes: Uint8Array) => new TextDecoder('utf-8', { fatal: true }).decode(bytes)
const json = (bytes: Uint8Array) => JSON.parse(text(bytes))
const frame = { id: 'cmpl-1', created: 1, model: 'm', fingerprint: 'fp_1', manifest: { v: 1 } }

const score = (bytes: Uint8Array, logprob: number | null): TokenScore => {
  const shown = new TextDecoder().decode(bytes)
  return { text: shown, bytes, logprob, top: [{ text: shown, bytes, logprob: logprob ?? 0 }] }
}
const EMOJI = utf8('🙂')
const generation: Generation = {
  text: 'a🙂b',
  toolCalls: [],
  finishReason: 'stop',
  usage: { promptTokens: 2, completionTokens: 4 },
  scores: [
    score(utf8('a'), null),
    score(EMOJI.slice(0, 2), -1),
    score(EMOJI.slice(2), -2),
    score(utf8('b'), -3),
  ],
  fingerprint: 'fp_1',
}

t.test('a completion has the classic arrays', async (t) => {
  const body = json(completionBody([generation], generation.usage, frame))
  const [choice] = TextCompletion.parse(body).choices
  t.strictSame(choice?.logprobs, {
    tokens: ['a', 'bytes:\\xf0\\x9f', 'bytes:\\x99\\x82', 'b'],
    token_logprobs: [null, -1, -2, -3],
    top_logprobs: [null, { 'bytes:\\xf0\\x9f': -1 }, { 'bytes:\\x99\\x82': -2 }, { b: -3 }],
    text_offset: [0, 1, 1, 2],
  })
  const { scores: _, ...plain } = generation
  const other = TextCompletion.parse(json(completionBody([plain, plain], plain.usage, frame)))
  t.equal(other.choices[1]?.logprobs, null)
  t.equal(other.choices[1]?.index, 1)
})

t.test('a streamed completion counts its characters', async (t) => {
  const stream = new CompletionStream(frame, true)
  const sent = [
    stream.begin(0),
    stream.delta(0, { text: 'a🙂', scores: generation.scores?.slice(0, 3) ?? [] }),
    stream.delta(0, { text: 'b', scores: generation.scores?.slice(3) ?? [] }),
    stream.end(0, { ...generation, finishReason: 'length' }),
    stream.finish(generation.usage, undefined),
  ].join('')
  const events = sent.split('\n\n').filter((line) => line.startsWith('data: {'))
  const chunks = events.map((line) => JSON.parse(line.slice(6)))
  t.equal(chunks.map((chunk) => chunk.choices[0]?.text ?? '').join(''), 'a🙂b')
  t.strictSame(chunks[1].choices[0].logprobs.text_offset, [2])
  t.equal(chunks[2].choices[0].finish_reason, 'length')
  t.strictSame(chunks[3].choices, [])
  t.match(sent, /data: \[DONE\]\n\n$/)
})

t.test('a response has an item for each thing', async (t) => {
  const call = { id: 'call_1', name: 'f', arguments: '{}' }
  const full = { ...generation, reasoning: 'hm', toolCalls: [call] }
  const body = json(responseBody(full, { store: false }, { ...frame, id: 'resp_1' }))
  t.equal(body.status, 'completed')
  t.notOk('error' in body, 'a gateway would take it for one')
  t.strictSame(
    body.output.map(({ type }: { type: string }) => type),
    ['reasoning', 'message', 'function_call'],
  )
  t.equal(body.output[1].content[0].text, 'a🙂b')
  t.hasStrict(body.output[2], { call_id: 'call_1', name: 'f', arguments: '{}' })
  t.strictSame(body.usage, {
    input_tokens: 2,
    input_tokens_details: { cached_tokens: 0 },
    output_tokens: 4,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: 6,
  })
  const cut = json(responseBody({ ...generation, finishReason: 'length' }, {}, frame))
  t.strictSame(cut.incomplete_details, { reason: 'max_output_tokens' })
  t.notOk(Buffer.from(responseBody(full, {}, frame).slice(0, 512)).includes('output_text'))
})

t.test('the events of a response end with the whole of it', async (t) => {
  const stream = new ResponseStream({ ...frame, id: 'resp_1' }, { store: false })
  const sent = [
    stream.begin(0),
    stream.delta(0, { reasoning: 'h' }),
    stream.delta(0, { reasoning: 'm' }),
    stream.delta(0, { text: 'a🙂' }),
    stream.delta(0, { text: 'b' }),
    stream.delta(0, { toolCall: { id: 'call_1', name: 'f', arguments: '{"x":1}' } }),
    stream.end(0, generation),
    stream.finish(generation.usage, { v: 1 }),
  ].join('')
  const events = sent
    .split('\n\n')
    .filter((block) => block !== '')
    .map((block) => {
      const [name = '', data = ''] = block.split('\n')
      const value = JSON.parse(data.slice(6))
      t.equal(name, `event: ${value.type}`)
      return value
    })
  t.strictSame(
    events.map(({ sequence_number: number }) => number),
    events.map((_, at) => at),
  )
  const last = events.at(-1)
  t.equal(last.type, 'response.completed')
  t.equal(last.response.output[1].content[0].text, 'a🙂b')
  t.equal(last.response.output[2].arguments, '{"x":1}')
  const deltas = events.filter(({ type }) => type === 'response.output_text.delta')
  t.equal(deltas.map(({ delta }) => delta).join(''), 'a🙂b')
  const added = events.filter(({ type }) => type === 'response.output_item.added').length
  const done = events.filter(({ type }) => type === 'response.output_item.done').length
  t.strictSame([added, done], [3, 3])
  const silent = new ResponseStream({ ...frame, id: 'resp_2' }, {})
  const nothing = silent.begin(0) + silent.end(0, generation)
  t.match(nothing, /output_item.done/, 'an empty answer is a message all the same')
})

t.test('models, vectors, tokens', async (t) => {
  const entry = { id: 'm', created: 1, contextSize: 8, answerTokensMax: 4 }
  t.hasStrict(Model.parse(json(modelBody(entry))), { id: 'm' })
  t.equal(json(modelBody(entry)).max_output_tokens, 4)
  t.equal(ModelList.parse(json(modelListBody([entry]))).data.length, 1)
  const vectors = [Float32Array.of(0.6, -0.8)]
  const embeddings = { vectors, promptTokens: 3, fingerprint: 'f' }
  const about = { model: 'm', fingerprint: 'f' }
  const floats = EmbeddingList.parse(json(embeddingBody(embeddings, 'float', about)))
  t.strictSame(floats.data[0]?.embedding, [...(vectors[0] ?? [])])
  const packed = EmbeddingList.parse(json(embeddingBody(embeddings, 'base64', about)))
  const bytes = unbase64(String(packed.data[0]?.embedding))
  t.strictSame(
    new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + 8)),
    vectors[0],
  )
  t.strictSame(json(tokensBody([1, 2], 8)).tokens, [1, 2])
  t.hasStrict(json(textBody('a')), { prompt: 'a', content: 'a' })
  for (const body of [modelBody(entry), modelListBody([entry]), tokensBody([], 8), textBody('')])
    t.ok(body.length >= 100, `${body.length} bytes are not too few`)
})

t.test('errors', async (t) => {
  const expected: Record<keyof typeof INFERENCE_ERRORS, [status: number, type: string]> = {
    BAD_REQUEST: [400, 'invalid_request_error'],
    CONTEXT_LENGTH: [400, 'invalid_request_error'],
    NOT_FOUND: [404, 'invalid_request_error'],
    TOO_LARGE: [413, 'invalid_request_error'],
    BUSY: [429, 'rate_limit_error'],
    YIELDING: [429, 'rate_limit_error'],
    STOPPED: [429, 'rate_limit_error'],
    ENGINE_FAILED: [502, 'server_error'],
    ENGINE_MISSING: [502, 'server_error'],
    MODEL_LOAD: [502, 'server_error'],
    ENGINE_TIMEOUT: [504, 'server_error'],
  }
  for (const [code, [status, type]] of Object.entries(expected)) {
    const name = code as keyof typeof INFERENCE_ERRORS
    const thrown = new InferenceError(name, 'what the operator reads')
    const { error } = ErrorObject.parse(json(errorBody(thrown)))
    t.equal(errorStatus(thrown), status, code)
    t.equal(error.type, type, code)
    t.ok((error.code ?? '') !== '', `${code} has a code`)
    const isShown = status === 400 || status === 404 || status === 413
    t.equal(error.message === 'what the operator reads', isShown, `${code}: who sees its message`)
  }
  t.strictSame(Object.keys(expected).sort(), Object.keys(INFERENCE_ERRORS).sort(), 'all of them')
  const data = { param: 'top_p', reason: 'bad', status: 422 }
  const named = new InferenceError('BAD_REQUEST', 'no', { data })
  t.equal(errorStatus(named), 422)
  t.hasStrict(json(errorBody(named)).error, { param: 'top_p', code: 'bad' })
  const long = json(errorBody(new InferenceError('CONTEXT_LENGTH', 'too long'))).error
  t.hasStrict(long, { param: 'messages', code: 'context_length_exceeded' })
  const cause = Object.assign(new Error('x'), { code: 'ECONNRESET' })
  t.strictSame(engineFailed('broke off', cause).data, { detail: 'ECONNRESET' })
})

t.test('reading a body', async (t) => {
  t.strictSame(readBody(utf8(' {"a":1}\n')), { a: 1 })
  t.strictSame(readBody(utf8('\ufeff{"a":1}')), { a: 1 }, 'a byte order mark is no fault')
  const bad: Record<string, Uint8Array> = {
    empty: new Uint8Array(),
    spaces: utf8('   '),
    array: utf8('[]'),
    null: utf8('null'),
    'trailing garbage': utf8('{"secret":1} x'),
    'two objects': utf8('{}{}'),
    'trailing NUL': utf8('{}\u0000'),
    'trailing comma': utf8('{"a":1,}'),
    comment: utf8('{} // secret'),
    NaN: utf8('{"a":NaN}'),
    unfinished: utf8('{"secret":"wor'),
    'bytes that are not UTF-8': Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d),
    'half a pair in UTF-8': Uint8Array.of(0x7b, 0x22, 0xed, 0xa0, 0x80, 0x22, 0x3a, 0x31, 0x7d),
  }
  for (const [name, body] of Object.entries(bad)) {
    const error = thrown(() => readBody(body))
    t.match(error, { code: 'BAD_REQUEST', data: { reason: 'invalid_json', param: 'body' } }, name)
    t.notMatch(`${error.message}${String(error.cause)}`, /secret/, name)
  }
  const cut = thrown(() => readBody(utf8(`{"a":"${'x'.repeat(102_400 - 6)}`)))
  t.match(cut.message, /gateway/, 'a body cut at the length that gateways cut at says so')
  const deep = `{"a":${'['.repeat(99_999)}${']'.repeat(99_999)}}`
  t.ok(Array.isArray(readBody(utf8(deep))['a']), 'depth is no danger')
})

function thrown(work: () => unknown): InferenceError {
  try {
    work()
  } catch (error) {
    if (error instanceof InferenceError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}
