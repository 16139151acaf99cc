import t, { type Test } from 'tap'
import { systemClock } from '../../../src/base/clock.ts'
import { ms } from '../../../src/base/units.ts'
import { OllamaClient } from '../../../src/inference/ollama/client.ts'
import { detectOllama, isAtLeast, ollamaUrl } from '../../../src/inference/ollama/detect.ts'
import { OLLAMA_DEFAULTS } from '../../../src/inference/ollama/options.ts'
import { UpstreamServer } from '../../../src/inference/upstream/server.ts'
import { never } from '../../contract/backend-asks.ts'
import { ManualClock } from '../../support/clock.ts'
import { DIGEST, FakeOllama } from '../../support/fake-ollama.ts'
import { FakeUpstream } from '../../support/upstream.ts'

async function opened(t: Test): Promise<FakeOllama> {
  const server = new FakeOllama()
  await server.open()
  t.teardown(() => server.close())
  return server
}

function clientOf(t: Test, host: string): OllamaClient {
  const endpoint = { url: `http://${host}`, slots: 1, model: 'echo' }
  const limits = { ...OLLAMA_DEFAULTS, healthPath: '//api/version' }
  const server = new UpstreamServer({ clock: systemClock }, endpoint, limits)
  t.teardown(() => server.close())
  return new OllamaClient(server, { eventBytesMax: 10_000, basePath: '' })
}

t.test('what is asked about models', async (t) => {
  const server = await opened(t)
  const client = clientOf(t, server.host)
  t.strictSame(await client.list(never()), [
    {
      name: 'echo:latest',
      digest: DIGEST,
      bytes: 1_000,
      family: 'echo',
      quantisation: 'Q8_0',
      parameters: '1M',
    },
  ])
  const details = await client.show('echo', never())
  t.match(details, { contextSize: 256, template: '{{ .Prompt }}' })
  t.ok(details.capabilities.includes('completion'))
  t.strictSame(await client.loaded(never()), [])
  await client.touch({ model: 'echo', prompt: '' }, never())
  t.strictSame(await client.loaded(never()), [{ name: 'echo:latest', gpuShare: 0.25 }])
  await client.touch({ model: 'echo', prompt: '', keep_alive: 0 }, never())
  t.strictSame(await client.loaded(never()), [])
})

t.test('an abort ends a call that is no stream', async (t) => {
  const server = new FakeUpstream()
  await server.open()
  t.teardown(() => server.close())
  const silent = (await import('node:http')).createServer(() => {})
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    silent.closeAllConnections()
    silent.close()
  })
  const { port } = silent.address() as { port: number }
  const controller = new AbortController()
  const reason = new Error('gone')
  const work = clientOf(t, `127.0.0.1:${port}`).list(controller.signal)
  silent.once('request', () => controller.abort(reason))
  t.equal(await work.catch((error: unknown) => error), reason)
  t.match(
    await clientOf(t, `127.0.0.1:${server.port}`)
      .list(never())
      .catch((e: unknown) => e),
    {
      code: 'ENGINE_FAILED',
    },
  )
})

t.test('where Ollama listens, as it writes it itself', (t) => {
  const rows: [host: string, url: string | undefined][] = [
    ['127.0.0.1', 'http://127.0.0.1:11434'],
    ['0.0.0.0', 'http://127.0.0.1:11434'],
    ['0.0.0.0:8080', 'http://127.0.0.1:8080'],
    [':1234', 'http://127.0.0.1:1234'],
    ['box.lan', 'http://box.lan:11434'],
    ['box.lan:80', 'http://box.lan'],
    ['"box.lan"', 'http://box.lan:11434'],
    ['[::1]:99', 'http://[::1]:99'],
    ['http://box.lan', 'http://box.lan'],
    ['https://box.lan/ollama/', 'https://box.lan/ollama'],
    ['ftp://box.lan', undefined],
    ['not a host', undefined],
    ['', undefined],
  ]
  for (const [host, url] of rows) t.equal(ollamaUrl(host), url, host)
  t.end()
})

t.test('detection', async (t) => {
  const server = await opened(t)
  const other = new FakeUpstream()
  await other.open()
  t.teardown(() => other.close())
  const timeout = ms(500)
  const detect = (places: { url?: string; environment: Record<string, string> }) =>
    detectOllama({ clock: systemClock }, { timeout, ...places }, never())
  const found = { url: `http://${server.host}`, version: '0.12.11' }
  const environment = { OLLAMA_HOST: server.host }
  t.strictSame(await detect({ environment }), found, 'by the environment')
  t.strictSame(await detect({ url: server.host, environment: {} }), found, 'by the configuration')
  const elsewhere = { url: `127.0.0.1:${other.port}`, environment }
  t.equal(await detect(elsewhere), undefined, 'nothing else is asked then')

  const silent = (await import('node:net')).createServer(() => {})
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
  t.teardown(() => silent.close())
  const { port } = silent.address() as { port: number }
  const clock = new ManualClock()
  const url = `http://127.0.0.1:${port}`
  const work = detectOllama({ clock }, { url, environment: {}, timeout }, never())
  await clock.advance(500)
  t.equal(await work, undefined, 'after half a second it is not there')
  const signal = AbortSignal.abort(new Error('gone'))
  await t.rejects(detectOllama({ clock }, { url, environment: {}, timeout }, signal), /gone/)
})

t.test('versions', (t) => {
  const least = [0, 12, 11] as const
  for (const version of ['0.12.11', '0.12.12', '0.13.0', '1.0.0', '0.12.11-rc1'])
    t.ok(isAtLeast(version, least), version)
  for (const version of ['0.12.10', '0.9.99', '0.0.0', ''])
    t.notOk(isAtLeast(version, least), version)
  t.end()
})
