import t, { type Test } from 'tap'
import { systemClock } from '../../../src/base/clock.ts'
import { createLog } from '../../../src/base/log.ts'
import { ms } from '../../../src/base/units.ts'
import type { InferenceError } from '../../../src/inference/errors.ts'
import { OllamaBackend } from '../../../src/inference/ollama/backend.ts'
import type { PullProgress } from '../../../src/inference/ollama/client.ts'
import type { OllamaLimits, OllamaOptions } from '../../../src/inference/ollama/options.ts'
import { ask, codeOf, complete, never } from '../../contract/backend-asks.ts'
import { ManualClock } from '../../support/clock.ts'
import { DIGEST, FakeOllama, type FakeOllamaOptions } from '../../support/fake-ollama.ts'
import { type Behaviour, MISBEHAVIOURS, status } from '../../support/upstream.ts'

type Wishes = Partial<OllamaOptions & OllamaLimits> & {
  fake?: Partial<FakeOllamaOptions>
  clock?: ManualClock
  environment?: Record<string, string>
  onPull?: (progress: PullProgress) => void
}

async function opened(t: Test, wishes: Wishes = {}) {
  const { fake, clock = systemClock, environment = {}, onPull, ...options } = wishes
  const server = new FakeOllama(fake)
  await server.open()
  t.teardown(() => server.close().catch(() => {}))
  const lines: string[] = []
  const log = createLog('trace', { write: (line) => lines.push(line) })
  const backend = new OllamaBackend(
    { clock, log, random: () => 0.5, environment, ...(onPull === undefined ? {} : { onPull }) },
    { url: server.host, model: 'echo', contextSize: 256, slots: 2, ...options },
  )
  t.teardown(() => backend.stop())
  return { server, backend, lines }
}

const caught = async (work: Promise<unknown>) =>
  (await work.catch((e: unknown) => e)) as InferenceError

t.test('starting', async (t) => {
  await t.test('loads the model and takes nothing else from its owner', async (t) => {
    const { server, backend, lines } = await opened(t)
    await backend.start()
    t.strictSame(server.paths(), [
      'GET /api/version',
      'GET /api/version',
      'GET /api/tags',
      'POST /api/show',
      'POST /api/generate',
      'GET /api/ps',
    ])
    t.strictSame(server.loaded, ['echo:latest'])
    const { contextSize, slots, device, facts, fingerprint } = backend.info()
    t.strictSame([contextSize, slots, device], [256, 2, 'cpu and gpu'])
    t.strictSame(facts, {}, 'what Ollama says of its weights is not ours to claim')
    t.match(fingerprint, /^pk1-[0-9a-f]{16}$/)
    t.match(lines.join(''), new RegExp(`"digest":"${DIGEST}"`))
    await backend.stop()
    t.strictSame(server.loaded, ['echo:latest'], 'and leaves it there')
    t.match(backend.stats().servers ?? [], [{ state: 'ok', inFlight: 0 }])
  })

  await t.test('unloads at the end where that is configured', async (t) => {
    const { server, backend } = await opened(t, { unload: true })
    await backend.start()
    await backend.stop()
    t.strictSame(server.loaded, [])
  })

  await t.test('does not download a model unless that is configured', async (t) => {
    const { server, backend } = await opened(t, { fake: { models: [] } })
    const error = await caught(backend.start())
    t.match(error, { code: 'MODEL_LOAD', message: /run: ollama pull echo/ })
    t.notOk(server.paths().includes('POST /api/pull'))
    const progress: PullProgress[] = []
    const onPull = (line: PullProgress) => void progress.push(line)
    const pulling = await opened(t, { fake: { models: [] }, pull: true, onPull })
    await pulling.backend.start()
    t.strictSame(progress[1], {
      status: 'pulling abab',
      digest: `sha256:${DIGEST}`,
      total: 10,
      completed: 4,
    })
    t.equal(progress.at(-1)?.status, 'success')
    t.equal(backend.stats().state, 'starting')
    t.equal(pulling.backend.stats().state, 'ready')
  })

  await t.test('wants the digest that is configured', async (t) => {
    const right = await opened(t, { digest: `sha256:${DIGEST.slice(0, 12)}` })
    await right.backend.start()
    const wrong = await opened(t, { digest: 'cd' })
    const error = await caught(wrong.backend.start())
    t.match(error, { code: 'MODEL_LOAD', data: { expected: 'cd', found: DIGEST } })
  })

  await t.test('fails where nobody answers, and may be tried later', async (t) => {
    const { server, backend } = await opened(t)
    await server.close()
    t.match(await caught(backend.start()), { code: 'ENGINE_FAILED', retryable: true })
  })

  await t.test('finds the server by OLLAMA_HOST', async (t) => {
    const { server } = await opened(t)
    const environment = { OLLAMA_HOST: server.host }
    const deps = {
      clock: systemClock,
      log: createLog('silent', { write: () => {} }),
      random: () => 0,
    }
    const options = { model: 'echo', contextSize: 256, slots: 1 }
    const backend = new OllamaBackend({ ...deps, environment }, options)
    t.teardown(() => backend.stop())
    await backend.start()
    t.equal(backend.stats().state, 'ready')
  })
})

t.test('features are those of the version and of the model', async (t) => {
  const rows: [fake: Partial<FakeOllamaOptions>, there: string[]][] = [
    [
      {},
      [
        'chat',
        'completions',
        'suffix',
        'logprobs',
        'tools',
        'jsonObject',
        'jsonSchema',
        'embeddings',
        'thinking',
      ],
    ],
    [
      { capabilities: ['completion'], version: '0.12.10' },
      ['chat', 'completions', 'jsonObject', 'jsonSchema'],
    ],
    [{ capabilities: ['embedding'], version: '0.13.0' }, ['embeddings']],
  ]
  for (const [fake, there] of rows) {
    const { backend } = await opened(t, { fake })
    await backend.start()
    const { features } = backend.info()
    const found = Object.entries(features).filter(([, isThere]) => isThere)
    t.strictSame(found.map(([name]) => name).sort(), there.sort())
  }
  const { backend } = await opened(t, { features: { tools: false } })
  await backend.start()
  t.equal(backend.info().features.tools, false, 'or what the operator says')
})

t.test('an Ollama that misbehaves', async (t) => {
  const { server, backend, lines } = await opened(t, {
    breaker: { failuresMax: 99, rateMax: 2, rateWindow: 9, restFirst: ms(1), restMax: ms(1) },
  })
  await backend.start()
  const stream = (...list: unknown[]): Behaviour => {
    const text = list.map((line) => (typeof line === 'string' ? line : JSON.stringify(line)))
    return (response) =>
      response
        .writeHead(200, { 'content-type': 'application/x-ndjson' })
        .end(`${text.join('\n')}\n`)
  }
  const part = { message: { content: 'secret' }, done: false }
  const done = { message: { content: '' }, done: true, done_reason: 'stop' }
  const table: Record<string, Behaviour> = {
    ...MISBEHAVIOURS,
    streamGarbage: stream(part, 'secret words'),
    streamError: stream(part, { error: 'secret words' }),
    streamEnds: stream(part),
    streamArray: stream([1]),
    streamWithoutCounts: stream(part, done),
    notFound: status(404, { error: "model 'echo' not found" }),
  }
  delete table['silent']
  for (const [name, behave] of Object.entries(table)) {
    server.behave = behave
    const error = await caught(backend.generate(ask('a'), { signal: never() }))
    t.equal(error.code, 'ENGINE_FAILED', name)
    t.notMatch(`${error.message} ${String(error.cause)}`, /secret/, name)
    t.equal(backend.stats().active, 0, `${name}: the slot is free`)
  }
  t.notMatch(lines.join(''), /secret/)
  server.behave = status(503, { error: 'server busy, please try again' })
  t.equal(await codeOf(backend.generate(ask('a'), { signal: never() })), 'BUSY', 'a full queue')
  server.behave = status(400, { error: "'echo' does not support this" })
  t.match(await caught(backend.generate(ask('a'), { signal: never() })), {
    code: 'BAD_REQUEST',
    message: "'the model' does not support this",
  })
  server.behave = undefined
  t.equal((await backend.generate(ask('a'), { signal: never() })).finishReason, 'stop')
})

t.test('a prompt that was cut is not answered', async (t) => {
  const { backend } = await opened(t, { fake: { cutsPrompts: true } })
  await backend.start()
  const long = ask('word '.repeat(300))
  const error = await caught(backend.generate(long, { signal: never() }))
  t.match(error, { code: 'CONTEXT_LENGTH', data: { param: 'messages' } })
})

t.test('a stream that falls silent is ended, and so is one that nobody waits for', async (t) => {
  const clock = new ManualClock()
  const { server, backend } = await opened(t, { clock, idleTimeout: ms(1_000) })
  await backend.start()
  let closed = 0
  server.behave = (response) => {
    response.on('close', () => closed++)
    response.writeHead(200, { 'content-type': 'application/x-ndjson' })
    response.write('{"message":{"content":"a "},"done":false}\n')
  }
  const controller = new AbortController()
  for (const end of [() => clock.advance(1_000), async () => controller.abort(new Error('gone'))]) {
    let came = () => {}
    const first = new Promise<void>((resolve) => {
      came = resolve
    })
    const { signal } = controller
    const work = codeOf(backend.generate(ask('a'), { signal, onDelta: () => came() }))
    await first
    await end()
    t.match(await work, /^(ENGINE_FAILED|Error: gone)$/)
  }
  server.behave = (response) => {
    response.on('close', () => closed++)
    response
      .writeHead(200, { 'content-type': 'application/x-ndjson' })
      .write('{"message":{"content":7}}\n')
  }
  t.equal(await codeOf(backend.generate(ask('a'), { signal: never() })), 'ENGINE_FAILED')
  for (let turn = 0; turn < 100 && closed < 3; turn++)
    await new Promise((resolve) => setTimeout(resolve, 5))
  t.equal(closed, 3, 'and every connection is closed')
})

t.test('completions are raw, unless a gap is to be filled', async (t) => {
  const { server, backend } = await opened(t)
  await backend.start()
  const answer = await backend.generate(complete('one two'), { signal: never() })
  t.equal(answer.text, 'You said: one two')
  t.match(server.received.at(-1)?.json, { raw: true, prompt: 'one two', truncate: false })
  await backend.generate(complete('one', { suffix: 'three' }), { signal: never() })
  t.match(server.received.at(-1)?.json, { suffix: 'three' })
  t.notOk('raw' in (server.received.at(-1)?.json ?? {}))
})

t.test('inputs in tokens are refused by name', async (t) => {
  const { backend } = await opened(t)
  await backend.start()
  const error = await caught(backend.embed({ inputs: ['a', [1]] }, { signal: never() }))
  t.match(error, { code: 'BAD_REQUEST', data: { param: 'input[1]' } })
  const wide = backend.embed({ inputs: ['a'], dimensions: 99 }, { signal: never() })
  t.match(await caught(wide), { code: 'BAD_REQUEST', data: { param: 'dimensions' } })
})
