import t from 'tap'
import { utf8 } from '../../../src/base/bytes.ts'
import { systemClock } from '../../../src/base/clock.ts'
import { silentLog } from '../../../src/base/log.ts'
import { ms } from '../../../src/base/units.ts'
import { Inference } from '../../../src/inference/inference.ts'
import { UpstreamBackend } from '../../../src/inference/upstream/backend.ts'
import { backendContract } from '../../contract/backend.ts'
import { FakeUpstream, type FakeUpstreamOptions, status } from '../../support/upstream.ts'

const deps = { clock: systemClock, log: silentLog(), random: Math.random }

const WIRES: Record<string, Partial<FakeUpstreamOptions>> = {
  plain: {},
  'cut anywhere': { chunkBytes: 7, lineEnd: '\r\n', pings: true },
}

for (const [name, wire] of Object.entries(WIRES))
  t.test(`an upstream keeps the backend contract: ${name}`, async (t) => {
    const server = new FakeUpstream(wire)
    await server.open()
    t.teardown(() => server.close())
    const endpoints = [{ url: server.url, slots: 3 }]
    const options = { endpoints, model: 'their-name', contextSize: 256 }
    const factory = () => new UpstreamBackend(deps, options)
    await backendContract(t, name, factory, { streams: true })
  })

t.test('an upstream that does not stream keeps the backend contract', async (t) => {
  const servers = [new FakeUpstream(), new FakeUpstream()]
  for (const server of servers) {
    await server.open()
    t.teardown(() => server.close())
  }
  const endpoints = servers.map(({ url }) => ({ url, slots: 2 }))
  const options = { endpoints, model: 'their-name', contextSize: 256, stream: false }
  await backendContract(t, 'whole', () => new UpstreamBackend(deps, options))
})

t.test('what is answered shows nothing of the upstream', async (t) => {
  const server = new FakeUpstream()
  await server.open()
  t.teardown(() => server.close())
  const endpoints = [{ url: server.url, slots: 2 }]
  const backend = new UpstreamBackend(deps, { endpoints, model: 'their-name', contextSize: 256 })
  const services = [{ serviceId: 'llm', backend, model: 'ours' }]
  const inference = new Inference({ ...deps, services, randomBytes: (n) => new Uint8Array(n) })
  t.teardown(() => inference.stop())
  await inference.start()
  const ask = async (path: string, body: object) => {
    const request = {
      method: 'POST',
      url: `/v1${path}`,
      headers: [],
      body: utf8(JSON.stringify(body)),
    }
    const deadline = ms(systemClock.monotonic() + 10_000)
    const options = { signal: new AbortController().signal, deadline, onEvents: () => {} }
    const answer = await inference.answer('llm', request, options)
    return { ...answer, text: new TextDecoder().decode(answer.body) }
  }
  const messages = [{ role: 'user', content: 'one two' }]
  for (const stream of [false, true])
    for (const [path, body] of [
      ['/chat/completions', { messages, logprobs: true, seed: 7 }],
      ['/completions', { prompt: 'one two', logprobs: 1, echo: true }],
    ] as const) {
      const { status, text, usage } = await ask(path, { ...body, stream })
      t.equal(status, 200, text)
      t.match(text, /"model":"ours"/)
      t.notMatch(text, /their-name|of the upstream|"error"|tool_calls/)
      t.ok((usage?.completionTokens ?? 0) > 0)
    }
  server.behave = status(503, 'their-name')
  const busy = await ask('/chat/completions', { messages })
  t.match(busy, { status: 429, refused: true, retryAfterSeconds: 1 })
  server.behave = status(500, 'their-name')
  t.match(await ask('/chat/completions', { messages }), { status: 502, failed: 'engine' })
})

const url = process.env['OPENAI_BASE_URL']
const skip = url === undefined ? 'OPENAI_BASE_URL is not set' : false

t.test('a real server keeps the backend contract', { skip }, async (t) => {
  const model = process.env['OPENAI_MODEL'] ?? 'default'
  const key = process.env['OPENAI_API_KEY']
  const headers = key === undefined ? {} : { headers: { authorization: `Bearer ${key}` } }
  const options = {
    endpoints: [{ url: url ?? '', slots: 2, ...headers }],
    model,
    contextSize: 4_096,
  }
  await backendContract(t, 'real', () => new UpstreamBackend(deps, options), {
    streams: true,
    repeatable: false,
  })
})
