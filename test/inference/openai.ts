import t from 'tap'
import { utf8 } from '../../src/base/bytes.ts'
import type { Completion } from '../../src/inference/backend.ts'
import { engineFailed, INFERENCE_ERRORS, InferenceError } from '../../src/inference/errors.ts'
import {
  completionBody,
  errorReply,
  modelBody,
  modelListBody,
  readObject,
} from '../../src/inference/openai.ts'
import { ChatCompletion, ErrorObject, Model, ModelList } from '../support/openai-schema.ts'

const text = (bytes: Uint8Array) => new TextDecoder('utf-8', { fatal: true }).decode(bytes)

const completion: Completion = {
  text: 'The supplier said: 502 Bad Gateway, rate limit. € and 🙂',
  finishReason: 'stop',
  usage: { promptTokens: 5, completionTokens: 9 },
  fingerprint: 'pk1-0123456789abcdef',
}
const frame = { id: 'chatcmpl-1', created: 1_750_000_000, model: 'm', manifest: { v: 1 } }

t.test('a completion', async (t) => {
  await t.test('has the shape that readers insist on', async (t) => {
    const answer = ChatCompletion.parse(JSON.parse(text(completionBody(completion, frame))))
    t.equal(answer.choices[0]?.message.content, completion.text)
    t.equal(answer.choices[0]?.finish_reason, 'stop')
    t.equal(answer.model, 'm')
    t.equal(answer.usage.total_tokens, 14)
    t.equal(answer.system_fingerprint, completion.fingerprint)
  })

  await t.test('has its text beyond the bytes that gateways search', async (t) => {
    for (const pad of [0, 1, 100, 300, 305, 306, 307, 308, 309, 310, 400, 600]) {
      const manifest = { v: 1, note: '€'.repeat(pad) }
      const body = completionBody(completion, { ...frame, manifest })
      const searched = body.slice(0, 512)
      t.notOk(Buffer.from(searched).includes('choices'), `${pad}: only metadata`)
      t.ok(Buffer.from(body).includes('502 Bad Gateway'), `${pad}: the text is there`)
      const isPadded = Buffer.from(body).includes('"pad"')
      t.equal(isPadded, pad < 100, `${pad}: no more bytes than it takes`)
      t.ok(ChatCompletion.safeParse(JSON.parse(text(body))).success, `${pad}: still the shape`)
    }
  })

  await t.test('has usage, fingerprint and manifest before its choices', async (t) => {
    const keys = Object.keys(JSON.parse(text(completionBody(completion, frame))))
    t.strictSame(keys, [
      'id',
      'object',
      'created',
      'model',
      'system_fingerprint',
      'usage',
      'pocket',
      'choices',
    ])
  })

  await t.test('keeps of an upstream’s answer only what is known', async (t) => {
    const message = {
      tool_calls: null,
      reasoning: 'because',
      refusal: 'I will not',
      content: 'of the upstream',
      annotations: [],
    }
    const raw = {
      error: null,
      provider: 'x',
      choices: [{ message, finish_reason: 'content_filter', matched_stop: 1 }],
    }
    const body = text(completionBody({ ...completion, raw }, frame))
    const answer = ChatCompletion.parse(JSON.parse(body))
    t.notMatch(body, /"error"|tool_calls|provider|annotations|matched_stop|of the upstream/)
    t.strictSame(answer.choices[0]?.message, {
      role: 'assistant',
      content: completion.text,
      refusal: 'I will not',
      reasoning: 'because',
      reasoning_content: 'because',
    })
    t.equal(answer.choices[0]?.finish_reason, 'content_filter')
  })

  await t.test('takes an odd upstream’s choice for none', async (t) => {
    const oddities = [{}, { choices: null }, { choices: [null] }, { choices: [{ message: 'x' }] }]
    for (const raw of oddities) {
      const body = text(completionBody({ ...completion, raw }, frame))
      t.ok(ChatCompletion.safeParse(JSON.parse(body)).success, JSON.stringify(raw))
    }
  })
})

t.test('models', async (t) => {
  const entry = { id: 'm', created: 1, contextSize: 8 }
  t.equal(Model.parse(JSON.parse(text(modelBody(entry)))).id, 'm')
  t.strictSame(ModelList.parse(JSON.parse(text(modelListBody([entry])))).data.length, 1)
  for (const body of [modelBody(entry), modelListBody([entry])])
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
    const reply = errorReply(new InferenceError(name, 'what the operator reads'))
    const { error } = ErrorObject.parse(JSON.parse(text(reply.body)))
    t.equal(reply.status, status, code)
    t.equal(error.type, type, code)
    t.ok((error.code ?? '') !== '', `${code} has a code`)
    const isShown = status === 400 || status === 404 || status === 413
    t.equal(error.message === 'what the operator reads', isShown, `${code}: who sees its message`)
  }
  t.strictSame(Object.keys(expected).sort(), Object.keys(INFERENCE_ERRORS).sort(), 'all of them')

  await t.test('name the field at fault', async (t) => {
    const data = { param: 'top_p', reason: 'bad', status: 422 }
    const reply = errorReply(new InferenceError('BAD_REQUEST', 'no', { data }))
    const { error } = ErrorObject.parse(JSON.parse(text(reply.body)))
    t.strictSame([reply.status, error.param, error.code], [422, 'top_p', 'bad'])
    const long = errorReply(new InferenceError('CONTEXT_LENGTH', 'too long'))
    t.match(text(long.body), /"param":"messages","code":"context_length_exceeded"/)
  })

  await t.test('of an engine carry the code of their cause', async (t) => {
    const cause = Object.assign(new Error('x'), { code: 'ECONNRESET' })
    t.strictSame(engineFailed('broke off', cause).data, { detail: 'ECONNRESET' })
    t.strictSame(engineFailed('broke off').data, {})
    t.equal(engineFailed('broke off').retryable, true)
  })
})

t.test('reading a body', async (t) => {
  t.strictSame(readObject(utf8(' {"a":1}\n')), { a: 1 })
  t.strictSame(readObject(utf8('\ufeff{"a":1}')), { a: 1 }, 'a byte order mark is no fault')
  const bad: Record<string, Uint8Array> = {
    empty: new Uint8Array(),
    spaces: utf8('   '),
    array: utf8('[]'),
    null: utf8('null'),
    string: utf8('"a"'),
    number: utf8('1'),
    'trailing garbage': utf8('{"secret":1} x'),
    'two objects': utf8('{}{}'),
    'trailing NUL': utf8('{}\u0000'),
    'trailing comma': utf8('{"a":1,}'),
    comment: utf8('{} // secret'),
    'single quotes': utf8("{'a':1}"),
    NaN: utf8('{"a":NaN}'),
    unfinished: utf8('{"secret":"wor'),
    'bytes that are not UTF-8': Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d),
    'half a surrogate in UTF-8': Uint8Array.of(
      0x7b,
      0x22,
      0xed,
      0xa0,
      0x80,
      0x22,
      0x3a,
      0x31,
      0x7d,
    ),
  }
  for (const [name, body] of Object.entries(bad)) {
    const error = thrown(() => readObject(body))
    t.match(error, { code: 'BAD_REQUEST', data: { reason: 'invalid_json' } }, name)
    t.notMatch(`${error.message}${String(error.cause)}`, /secret/, name)
  }
  const cut = thrown(() => readObject(utf8(`{"a":"${'x'.repeat(102_400 - 6)}`)))
  t.match(cut.message, /gateway/, 'a body cut at the length that gateways cut at says so')
  const deep = `{"a":${'['.repeat(99_999)}${']'.repeat(99_999)}}`
  t.ok(Array.isArray(readObject(utf8(deep))['a']), 'depth is no danger')
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
