import { randomBytes } from 'node:crypto'
import t, { type Test } from 'tap'
import { hex, sha256, utf8 } from '../../src/base/bytes.ts'
import { createLog } from '../../src/base/log.ts'
import { ms } from '../../src/base/units.ts'
import type { InferenceBackend } from '../../src/inference/backend.ts'
import { engineFailed, type INFERENCE_ERRORS, InferenceError } from '../../src/inference/errors.ts'
import { ALL_FEATURES } from '../../src/inference/features.ts'
import {
  type AnswerOptions,
  Inference,
  type InferenceAnswer,
  type InferenceService,
} from '../../src/inference/inference.ts'
import { ManualClock } from '../support/clock.ts'
import { EchoBackend } from '../support/echo-backend.ts'
import {
  ChatCompletion,
  EmbeddingList,
  ErrorObject,
  ModelList,
  TextCompletion,
} from '../support/openai-schema.ts'

const SECRET = 'the password is swordfish'

async function setUp(t: Test, backend: InferenceBackend, more: Partial<InferenceService> = {}) {
  const clock = new ManualClock(1_750_000_000_500)
  const lines: string[] = []
  const log = createLog('trace', { write: (line) => void lines.push(line) })
  const services = [{ serviceId: 'llm', backend, ...more }]
  const deps = { clock, log, services, randomBytes: (n: number) => new Uint8Array(randomBytes(n)) }
  const inference = new Inference(deps, { queueMax: 1 })
  t.teardown(() => inference.stop())
  await inference.start()
  const send = (
    method: string,
    url: string,
    body: unknown = '',
    options: Partial<AnswerOptions> = {},
  ) => {
    const bytes =
      body instanceof Uint8Array
        ? body
        : utf8(typeof body === 'string' ? body : JSON.stringify(body))
    const request = { method, url, headers: [], body: bytes }
    return inference.answer('llm', request, {
      signal: new AbortController().signal,
      deadline: ms(clock.monotonic() + 10_000),
      ...options,
    })
  }
  const chat = (fields: Record<string, unknown> = {}, options: Partial<AnswerOptions> = {}) => {
    const messages = [{ role: 'user', content: SECRET }]
    return send('POST', '/v1/chat/completions', { messages, ...fields }, options)
  }
  return { clock, inference, lines, send, chat }
}

const json = (answer: InferenceAnswer) => JSON.parse(new TextDecoder().decode(answer.body))
const flags = ({ status, refused, failed, retryAfterSeconds, usage }: InferenceAnswer) => ({
  status,
  ...(refused === undefined ? {} : { refused }),
  ...(failed === undefined ? {} : { failed }),
  ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
  ...(usage === undefined ? {} : { usage }),
})

/** Fails with `error`, after its text has been told to it. */
function failing(error: unknown): EchoBackend {
  return new EchoBackend({
    gate: async () => {
      throw error
    },
  })
}

t.test('a chat', async (t) => {
  await t.test('is answered in the shape of OpenAI, with usage', async (t) => {
    const { chat } = await setUp(t, new EchoBackend(), { model: 'public-name' })
    const answer = await chat({ model: 'pocket_network', temperature: 0 })
    const counted = { promptTokens: 5, completionTokens: 7 }
    const usage = { ...counted, cachedTokens: 0, reasoningTokens: 0 }
    t.strictSame(flags(answer), { status: 200, usage })
    t.equal(answer.contentType, 'application/json')
    const body = ChatCompletion.parse(json(answer))
    t.equal(body.choices[0]?.message.content, `You said: ${SECRET}`)
    t.equal(body.model, 'public-name')
    t.equal(body.created, 1_750_000_000)
    t.match(body.id, /^chatcmpl-[0-9a-f]{24}$/)
    t.equal(body.pocket['out_sha256'], hex(sha256(utf8(`You said: ${SECRET}`))))
    t.notOk(Buffer.from(answer.body.slice(0, 512)).includes('You said'))
  })

  await t.test('differs from an equal one by its id only', async (t) => {
    const { chat } = await setUp(t, new EchoBackend())
    const [a, b] = [json(await chat()), json(await chat())]
    t.not(a.id, b.id)
    t.strictSame({ ...a, id: '' }, { ...b, id: '' })
  })

  await t.test('at the bare path, below a base path, with a GET body', async (t) => {
    const rules = { basePath: '/llm' }
    const { send } = await setUp(t, new EchoBackend(), { rules })
    const body = { messages: [{ role: 'user', content: 'a' }] }
    for (const url of ['http://h', 'http://h/llm', 'http://h/llm/v1/chat/completions'])
      t.equal((await send('POST', url, body)).status, 200, url)
    const models = ModelList.parse(json(await send('GET', 'http://h/llm/v1/models', body)))
    t.equal(models.data[0]?.id, 'echo')
  })
})

/** Of the events of a stream, the chunks. */
const chunksOf = (events: string) =>
  events
    .split('\n\n')
    .filter((event) => event.startsWith('data: {'))
    .map((event) => JSON.parse(event.slice(6)))

t.test('several choices are several requests, and one usage', async (t) => {
  const { chat, send } = await setUp(t, new EchoBackend({ slots: 4 }))
  const three = await chat({ n: 3, temperature: 0 })
  const body = ChatCompletion.parse(json(three))
  t.equal(body.choices.length, 3)
  t.strictSame(body.usage.prompt_tokens, 5, 'the prompt once')
  t.equal(body.usage.completion_tokens, 21)
  const prompts = { prompt: ['a', 'b c'], max_tokens: 50, temperature: 0 }
  const lists = TextCompletion.parse(json(await send('POST', '/v1/completions', prompts)))
  t.equal(lists.choices.length, 2)
  const sole = TextCompletion.parse(
    json(await send('POST', '/completions', { ...prompts, prompt: 'b c', n: 2 })),
  )
  t.equal(sole.choices[0]?.text, lists.choices[1]?.text)
  t.equal(sole.choices.length, 2)
  const best = { prompt: 'b c', best_of: 3, temperature: 1, seed: 1, max_tokens: 5 }
  const [one, ...others] = TextCompletion.parse(
    json(await send('POST', '/v1/completions', best)),
  ).choices
  t.equal(others.length, 0)
  t.equal(one?.logprobs, null, 'scores that nobody asked for are not shown')
})

t.test('the first choice that fails ends the others', async (t) => {
  let calls = 0
  const backend = new EchoBackend({
    slots: 4,
    gate: async (_, signal) => {
      if (++calls === 2) throw engineFailed('broke')
      await new Promise((_, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason))
      })
    },
  })
  const { chat } = await setUp(t, backend)
  t.strictSame(flags(await chat({ n: 3 })), { status: 502, failed: 'engine' })
  t.equal(backend.stats().active, 0)
})

t.test('a stream', async (t) => {
  await t.test('is told as it comes and is the answer as a whole', async (t) => {
    const { chat } = await setUp(t, new EchoBackend())
    const told: string[] = []
    const answer = await chat(
      { stream: true, stream_options: { include_usage: true }, temperature: 0 },
      { onEvents: (events) => told.push(events) },
    )
    t.equal(answer.contentType, 'text/event-stream')
    t.equal(told.join(''), new TextDecoder().decode(answer.body))
    t.ok(told.length > 5)
    const chunks = chunksOf(told.join(''))
    const text = chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join('')
    t.equal(text, `You said: ${SECRET}`)
    t.equal(chunks.at(-1).usage.completion_tokens, 7)
    t.match(told.at(-1), /data: \[DONE\]\n\n$/)
  })

  await t.test('is refused by name where nobody listens', async (t) => {
    const { chat } = await setUp(t, new EchoBackend())
    const answer = await chat({ stream: true })
    t.strictSame(flags(answer), { status: 400 })
    t.equal(ErrorObject.parse(json(answer)).error.param, 'stream')
  })

  await t.test('that fails before it begins is an ordinary refusal', async (t) => {
    const { chat } = await setUp(t, failing(engineFailed('broke')))
    const told: string[] = []
    const answer = await chat({ stream: true }, { onEvents: (events) => told.push(events) })
    t.strictSame(flags(answer), { status: 502, failed: 'engine' })
    t.equal(answer.contentType, 'application/json')
    t.strictSame(told, [])
  })

  await t.test('that breaks off ends with an error and is not mined', async (t) => {
    const backend = new EchoBackend()
    const { generate } = backend
    backend.generate = async (request, options) => {
      await generate.call(backend, request, options)
      throw engineFailed('broke')
    }
    const { chat } = await setUp(t, backend)
    const told: string[] = []
    const answer = await chat({ stream: true }, { onEvents: (events) => told.push(events) })
    t.strictSame(flags(answer), { status: 200, failed: 'engine' })
    t.match(told.at(-1), /^data: \{"error":\{/)
    t.notMatch(told.join(''), /DONE/)
  })
})

t.test('equal requests in flight share one computation', async (t) => {
  let calls = 0
  const ends: (() => void)[] = []
  const gate = (_: unknown, signal: AbortSignal) =>
    new Promise<void>((resolve, reject) => {
      calls++
      ends.push(resolve)
      signal.addEventListener('abort', () => reject(signal.reason))
    })
  const turn = () => new Promise((resolve) => setTimeout(resolve, 5))

  await t.test('where the answer is a function of the request', async (t) => {
    const { chat } = await setUp(t, new EchoBackend({ slots: 4, gate }))
    const scope = 'session 1 app 1'
    const works = [
      chat({ temperature: 0 }, { scope }),
      chat({ temperature: 0 }, { scope }),
      chat({ seed: 1 }, { scope }),
      chat({}, { scope }),
      chat({ temperature: 0 }, { scope: 'session 2' }),
    ]
    await turn()
    t.equal(calls, 4, 'two of five are the same')
    for (const end of ends.splice(0)) end()
    const bodies = (await Promise.all(works)).map(({ body }) => new TextDecoder().decode(body))
    t.equal(bodies[0], bodies[1], 'the same bytes')
    t.not(bodies[0], bodies[2])
  })

  await t.test('until nobody waits any more', async (t) => {
    calls = 0
    const backend = new EchoBackend({ slots: 4, gate })
    const { chat } = await setUp(t, backend)
    const [first, second] = [new AbortController(), new AbortController()]
    const ask = ({ signal }: AbortController) => chat({ temperature: 0 }, { scope: 's', signal })
    const works = [ask(first), ask(second)].map((work) => work.catch((error: unknown) => error))
    await turn()
    first.abort(new Error('hedge lost'))
    t.match(await works[0], { message: 'hedge lost' })
    await turn()
    t.equal(backend.stats().active, 1, 'the other one waits')
    second.abort(new Error('gone'))
    t.match(await works[1], { message: 'gone' })
    await turn()
    t.equal(backend.stats().active, 0)
    t.equal(calls, 1)
  })

  await t.test('as the service says', async (t) => {
    calls = 0
    for (const [coalesce, expected] of [
      ['off', 2],
      ['always', 1],
      ['exact', 2],
    ] as const) {
      calls = 0
      ends.length = 0
      const { chat } = await setUp(t, new EchoBackend({ slots: 4, gate }), { coalesce })
      const fields = coalesce === 'off' ? { temperature: 0 } : {}
      const works = [chat(fields, { scope: 's' }), chat(fields, { scope: 's' })]
      await turn()
      t.equal(calls, expected, coalesce)
      for (const end of ends) end()
      await Promise.all(works)
    }
  })

  await t.test('a late comer is told a stream from its beginning', async (t) => {
    const backend = new EchoBackend({ slots: 4, gate })
    const { chat } = await setUp(t, backend)
    ends.length = 0
    const told: [string[], string[]] = [[], []]
    const ask = (at: 0 | 1) =>
      chat(
        { stream: true, temperature: 0 },
        { scope: 's', onEvents: (events) => told[at].push(events) },
      )
    const first = ask(0)
    await turn()
    ends[0]?.()
    const second = ask(1)
    await Promise.all([first, second])
    t.equal(told[1].join(''), told[0].join(''))
    t.equal(ends.length, 1)
  })
})

t.test('vectors, tokens and documents', async (t) => {
  const { send } = await setUp(t, new EchoBackend())
  const vectors = EmbeddingList.parse(
    json(await send('POST', '/v1/embeddings', { input: ['a b', 'c'] })),
  )
  t.equal(vectors.data.length, 2)
  const tokens = json(await send('POST', '/tokenize', { content: 'a b' })).tokens
  t.equal(json(await send('POST', '/detokenize', { tokens })).content, 'a b')
  t.match(json(await send('GET', '/pokt/config')), { config: { model_name: 'echo' } })
  t.match(json(await send('GET', '/pokt/config-hash')).hash, /^[0-9a-f]{64}$/)
  t.strictSame(flags(await send('GET', '/pokt/tokenizer')), { status: 404 })
})

t.test('what a backend cannot do is refused by name', async (t) => {
  const features = { ...ALL_FEATURES, logprobs: false, embeddings: false, completions: false }
  const { chat, send } = await setUp(t, new EchoBackend({ features }))
  const refused = await chat({ logprobs: true })
  t.strictSame(flags(refused), { status: 400 })
  t.hasStrict(ErrorObject.parse(json(refused)).error, {
    param: 'logprobs',
    code: 'unsupported_parameter',
  })
  t.equal((await send('POST', '/v1/embeddings', { input: 'a' })).status, 404)
  t.equal((await send('POST', '/v1/completions', { prompt: 'a' })).status, 404)
})

t.test('models', async (t) => {
  const { send } = await setUp(t, new EchoBackend({ contextSize: 99 }), { model: 'org/m' })
  const list = await send('GET', '/v1/models')
  t.strictSame(flags(list), { status: 200 })
  t.ok(list.body.length >= 100)
  t.match(ModelList.parse(json(list)).data, [{ id: 'org/m', created: 1_750_000_000 }])
  t.match(json(await send('GET', '/models/org/m')), { id: 'org/m', context_length: 99 })
  const other = await send('GET', '/v1/models/other')
  t.strictSame(flags(other), { status: 404 })
  t.equal(ErrorObject.parse(json(other)).error.code, 'model_not_found')
})

t.test('outcomes', async (t) => {
  await t.test('a fault of the request has neither flag', async (t) => {
    const { send, chat } = await setUp(t, new EchoBackend({ contextSize: 8 }))
    t.strictSame(flags(await chat({ n: 0 })), { status: 400 })
    const long = await chat({ messages: [{ role: 'user', content: 'a '.repeat(99) }] })
    t.strictSame(flags(long), { status: 400 })
    t.equal(json(long).error.code, 'context_length_exceeded')
    t.strictSame(flags(await send('POST', '/v1/audio', {})), { status: 404 })
    t.strictSame(flags(await send('GET', '/v1/chat/completions')), { status: 405 })
  })

  await t.test('a body too large is refused', async (t) => {
    const { send } = await setUp(t, new EchoBackend(), { rules: { bodyBytesMax: 10 } })
    const answer = await send('POST', '/v1/chat/completions', '12345678901')
    t.strictSame(flags(answer), { status: 413, refused: true })
    ErrorObject.parse(json(answer))
  })

  await t.test('by the code of what went wrong', async (t) => {
    const retryAfterSeconds = 1
    const expected: Record<keyof typeof INFERENCE_ERRORS, object> = {
      BAD_REQUEST: { status: 400 },
      CONTEXT_LENGTH: { status: 400 },
      NOT_FOUND: { status: 404 },
      TOO_LARGE: { status: 413, refused: true },
      BUSY: { status: 429, refused: true, retryAfterSeconds },
      YIELDING: { status: 429, refused: true, retryAfterSeconds },
      STOPPED: { status: 429, refused: true, retryAfterSeconds },
      ENGINE_FAILED: { status: 502, failed: 'engine' },
      ENGINE_MISSING: { status: 502, failed: 'engine' },
      MODEL_LOAD: { status: 502, failed: 'engine' },
      ENGINE_TIMEOUT: { status: 504, failed: 'timeout' },
    }
    for (const [code, outcome] of Object.entries(expected)) {
      const error = new InferenceError(code as keyof typeof INFERENCE_ERRORS, 'inside')
      const { chat } = await setUp(t, failing(error))
      const answer = await chat()
      t.strictSame(flags(answer), outcome, code)
      t.ok(ErrorObject.safeParse(json(answer)).success, code)
    }
  })

  await t.test('an engine that throws anything at all', async (t) => {
    const oddities = [
      new TypeError(SECRET),
      new Error(`a\n    at ${SECRET}`),
      SECRET,
      undefined,
      null,
      { toString: null },
    ]
    for (const thrown of oddities) {
      const { chat, lines } = await setUp(t, failing(thrown))
      t.strictSame(flags(await chat()), { status: 502, failed: 'engine' }, typeof thrown)
      t.notMatch(lines.join(''), /swordfish/, 'the log does not quote it')
      t.match(lines.join(''), /"level":"warn".*inference failed/, 'but tells of it')
      if (thrown instanceof Error) t.match(lines.join(''), /\.ts:\d+:\d+/, 'and where')
    }
  })

  await t.test('the deadline is 504', async (t) => {
    const backend = new EchoBackend({
      gate: (_, signal) =>
        new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
    })
    const { clock, chat, inference } = await setUp(t, backend)
    const work = chat()
    await clock.advance(10_000)
    t.strictSame(flags(await work), { status: 504, failed: 'timeout' })
    t.equal(inference.stats().services['llm']?.failed, 1)
  })

  await t.test('a service that nobody serves is refused', async (t) => {
    const { inference, clock } = await setUp(t, new EchoBackend())
    const request = { method: 'GET', url: '/models', headers: [], body: new Uint8Array() }
    const options = { signal: new AbortController().signal, deadline: ms(clock.monotonic() + 1) }
    t.match(flags(await inference.answer('other', request, options)), {
      status: 429,
      refused: true,
    })
    t.strictSame(Object.keys(inference.stats().services), ['llm'], 'and leaves no trace')
  })
})

t.test('an abort is thrown, and only that', async (t) => {
  const reason = new Error('gone')
  const { chat, inference, lines } = await setUp(t, new EchoBackend())
  await t.rejects(chat({}, { signal: AbortSignal.abort(reason) }), reason)
  const controller = new AbortController()
  const work = chat({}, { signal: controller.signal })
  controller.abort(reason)
  await t.rejects(work, reason)
  t.strictSame(inference.stats().services['llm']?.answered, 0, 'it is not counted')
  t.notMatch(lines.join(''), /"level":"(warn|error)"/, 'it is not a failure')
})

t.test('yielding and stopping refuse', async (t) => {
  const { chat, inference } = await setUp(t, new EchoBackend())
  await inference.pause({ cancel: false })
  t.strictSame(flags(await chat()), { status: 429, refused: true, retryAfterSeconds: 30 })
  inference.resume()
  t.equal((await chat()).status, 200)
  await inference.stop()
  t.strictSame(flags(await chat()), { status: 429, refused: true, retryAfterSeconds: 30 })
})

t.test('what it did is counted', async (t) => {
  const { chat, inference } = await setUp(t, new EchoBackend())
  await chat()
  await chat({ n: 0 })
  await chat()
  await inference.pause({ cancel: false })
  await chat()
  const { services, backends } = inference.stats()
  t.strictSame(services['llm'], {
    answered: 3,
    refused: 1,
    failed: 0,
    promptTokens: 10,
    completionTokens: 14,
  })
  t.match(backends, [{ services: ['llm'], state: 'yielding', info: { kind: 'echo' } }])
})

t.test('nothing of a prompt or an answer is logged', async (t) => {
  const { chat, send, lines } = await setUp(t, new EchoBackend())
  await chat()
  await chat({ stop: SECRET, model: SECRET, [SECRET]: 1 })
  await chat({ messages: [{ role: SECRET, content: SECRET }] })
  await send('POST', `/${SECRET}`, `{"messages": ${SECRET}`)
  await send('GET', `/v1/models/${encodeURIComponent(SECRET)}`)
  await (await setUp(t, failing(engineFailed('broke', new Error(SECRET))))).chat()
  t.ok(lines.length >= 5, 'there are lines')
  t.notMatch(lines.join(''), /swordfish/)
})
