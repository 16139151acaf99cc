import { randomBytes } from 'node:crypto'
import t, { type Test } from 'tap'
import { hex, sha256, utf8 } from '../../src/base/bytes.ts'
import { createLog } from '../../src/base/log.ts'
import { ms } from '../../src/base/units.ts'
import type { InferenceBackend } from '../../src/inference/backend.ts'
import { engineFailed, type INFERENCE_ERRORS, InferenceError } from '../../src/inference/errors.ts'
import {
  Inference,
  type InferenceAnswer,
  type InferenceService,
} from '../../src/inference/inference.ts'
import { UpstreamBackend } from '../../src/inference/upstream.ts'
import { ManualClock } from '../support/clock.ts'
import { EchoBackend } from '../support/echo-backend.ts'
import { ChatCompletion, ErrorObject, ModelList } from '../support/openai-schema.ts'
import { FakeUpstream, status } from '../support/upstream.ts'

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
    signal = new AbortController().signal,
  ) => {
    const bytes =
      body instanceof Uint8Array
        ? body
        : utf8(typeof body === 'string' ? body : JSON.stringify(body))
    const deadline = ms(clock.monotonic() + 10_000)
    return inference.answer('llm', { method, url, headers: [], body: bytes }, { signal, deadline })
  }
  const chat = (fields: Record<string, unknown> = {}, signal?: AbortSignal) => {
    const messages = [{ role: 'user', content: SECRET }]
    return send('POST', '/v1/chat/completions', { messages, ...fields }, signal)
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
    const usage = { promptTokens: 5, completionTokens: 7 }
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
    const rules = { basePath: '/llm', streamAsWhole: true }
    const { send } = await setUp(t, new EchoBackend(), { rules })
    const body = { messages: [{ role: 'user', content: 'a' }], stream: true }
    for (const url of ['http://h', 'http://h/llm', 'http://h/llm/v1/chat/completions'])
      t.equal((await send('POST', url, body)).status, 200, url)
    const models = ModelList.parse(json(await send('GET', 'http://h/llm/v1/models', body)))
    t.equal(models.data[0]?.id, 'echo')
  })

  await t.test('of an upstream is put in order and renamed', async (t) => {
    const server = new FakeUpstream()
    await server.open()
    t.teardown(() => server.close())
    const clock = new ManualClock()
    const options = { url: server.url, model: 'their-name', contextSize: 256, slots: 1 }
    const backend = new UpstreamBackend({ clock }, options)
    const { chat, lines } = await setUp(t, backend, { model: 'ours' })
    const answer = await chat()
    t.strictSame(flags(answer), { status: 200, usage: { promptTokens: 5, completionTokens: 7 } })
    const text = JSON.stringify(ChatCompletion.parse(json(answer)))
    t.match(text, /"model":"ours"/)
    t.notMatch(
      new TextDecoder().decode(answer.body),
      /their-name|name of the upstream|"error"|tool_calls/,
    )
    server.behave = status(503, SECRET)
    t.strictSame(flags(await chat()), { status: 502, failed: 'engine' })
    server.behave = status(422, { error: { message: SECRET, param: 'top_k' } })
    const refused = await chat()
    t.strictSame(flags(refused), { status: 422 }, 'a fault of the request, passed on')
    t.equal(ErrorObject.parse(json(refused)).error.param, 'top_k')
    server.behave = status(429, '', { 'retry-after': '7' })
    t.strictSame(flags(await chat()), { status: 429, refused: true, retryAfterSeconds: 7 })
    t.notMatch(lines.join(''), /swordfish/)
  })
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
    t.strictSame(flags(await chat({ n: 2 })), { status: 400 })
    const long = await chat({ messages: [{ role: 'user', content: 'a '.repeat(99) }] })
    t.strictSame(flags(long), { status: 400 })
    t.equal(json(long).error.code, 'context_length_exceeded')
    t.strictSame(flags(await send('POST', '/v1/embeddings', {})), { status: 404 })
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
      t.match(lines.join(''), /"level":"warn".*engine failed/, 'but tells of it')
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
  await t.rejects(chat({}, AbortSignal.abort(reason)), reason)
  const controller = new AbortController()
  const work = chat({}, controller.signal)
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
  await chat({ n: 2 })
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
