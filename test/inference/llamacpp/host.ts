import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { access, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { startTime } from '../../../src/base/process-time.ts'
import { type Ms, ms } from '../../../src/base/units.ts'
import { LLAMACPP_DEFAULTS, type LlamaCppOptions } from '../../../src/inference/llamacpp/options.ts'
import { recordEngine } from '../../../src/inference/llamacpp/orphan.ts'
import type { Delta } from '../../../src/inference/request.ts'
import { ManualClock } from '../../support/clock.ts'
import { fakeEngine, until } from '../../support/fake-engine.ts'
import { llamaCpp } from '../../support/llamacpp.ts'
import { request, TINY_MODEL } from '../../support/tiny-model.ts'

const signal = new AbortController().signal
const { restartDelayFirst, restartDelayMax, outageMax } = LLAMACPP_DEFAULTS

const isThere = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  )

/** Says nothing to a chat and dies of `die`. */
const DIES = `on.generate = ({ prompt }) => { if (prompt.messages[0].content === 'die') process.exit(9) }`

t.test('an answer comes through the child, whole and in pieces', async (t) => {
  const backend = llamaCpp(t, { entry: fakeEngine(t) })
  t.equal(backend.stats().state, 'starting')
  await backend.start()
  t.match(backend.info(), {
    kind: 'llamacpp',
    model: 'tiny-chat',
    contextSize: 256,
    slots: 4,
    device: 'fake',
    features: { chat: true, suffix: false, thinking: false },
    facts: { format: 'gguf', quantisation: 'Q8_0', build: 'fake 1', repeatable: true },
  })
  const pieces: string[] = []
  const onDelta = ({ text = '' }: Delta) => pieces.push(text)
  const answer = await backend.generate(request('one two'), { signal, onDelta })
  t.match(answer, { text: 'onetwo', finishReason: 'stop', fingerprint: /^fp_[0-9a-f]{12}$/ })
  t.strictSame(answer.usage, {
    promptTokens: 1,
    completionTokens: 2,
    cachedTokens: 0,
    reasoningTokens: 0,
  })
  t.strictSame(pieces, ['one', 'two'])
  t.hasStrict(backend.stats(), { active: 0, queued: 0, state: 'ready' })
})

t.test('the fingerprint changes with what answers depend on', async (t) => {
  const options = [
    {},
    {},
    { modelSha256: 'ab'.repeat(32) },
    { modelPath: import.meta.filename },
    { chatTemplate: 'x' },
    { templateArguments: { enable_thinking: false } },
  ]
  const prints: string[] = []
  const entry = fakeEngine(t)
  for (const more of options) {
    const backend = llamaCpp(t, { entry, ...more })
    await backend.start()
    prints.push((await backend.generate(request('Hi'), { signal })).fingerprint)
    await backend.stop()
  }
  t.equal(prints[0], prints[1])
  t.equal(new Set(prints).size, options.length - 1)
})

t.test('what does not fit anywhere is refused', async (t) => {
  const backend = llamaCpp(t, { entry: fakeEngine(t, DIES), slots: 1, queueMax: 1 })
  await backend.start()
  const running = backend.generate(request('wait'), { signal })
  const waiting = backend.generate(request('wait'), { signal })
  await t.rejects(backend.generate(request('wait'), { signal }), { code: 'BUSY', retryable: true })
  t.hasStrict(backend.stats(), { active: 1, queued: 1 })
  const huge = request('x'.repeat(5 * 1024 * 1024))
  await t.rejects(backend.generate(huge, { signal }), { code: 'BAD_REQUEST' })
  const both = Promise.allSettled([running, waiting])
  await backend.stop()
  t.match(await both, [{ reason: { code: 'STOPPED' } }, { reason: { code: 'STOPPED' } }])
  await t.rejects(backend.generate(request('Hi'), { signal }), { code: 'STOPPED', retryable: true })
})

t.test('a child that dies takes only what was out, and a new one serves the rest', async (t) => {
  const clock = new ManualClock()
  const fault = `const chat = on.generate; on.generate = (m) => {
    if (m.prompt.messages[0].content === 'die') process.exit(9)
    if (m.prompt.messages[0].content !== 'wait') chat(m)
  }`
  const backend = llamaCpp(t, { entry: fakeEngine(t, fault), slots: 2, clock })
  await backend.start()
  const out = Promise.allSettled([
    backend.generate(request('wait'), { signal }),
    backend.generate(request('die'), { signal }),
  ])
  const waiting = backend.generate(request('later on'), { signal })
  t.match(await out, [
    { reason: { code: 'ENGINE_FAILED', retryable: true, message: /status 9/ } },
    { reason: { code: 'ENGINE_FAILED' } },
  ])
  t.hasStrict(backend.stats(), { state: 'restarting', active: 0, queued: 1 })
  const late = backend.generate(request('too'), { signal })
  await clock.advance(restartDelayFirst)
  t.equal((await waiting).text, 'lateron')
  t.equal((await late).text, 'too')
  t.equal(backend.stats().state, 'ready')
})

/** A clock on which the delays of restarts are over at once and written down, and limits never pass. */
class ImpatientClock extends ManualClock {
  readonly delays: number[] = []
  override sleep(duration: Ms, signal?: AbortSignal): Promise<void> {
    if (duration > restartDelayMax) return super.sleep(duration, signal)
    this.delays.push(duration)
    return Promise.resolve()
  }
}

t.test('restarts come later and later, up to a limit, until an engine was steady', async (t) => {
  const clock = new ImpatientClock()
  // Of the first six starts only the first goes well.
  const fault = `
    import { appendFileSync, statSync } from 'node:fs'
    appendFileSync(import.meta.dirname + '/starts', 'x')
    const starts = statSync(import.meta.dirname + '/starts').size
    if (starts > 1 && starts < 6) process.exit(1)
    const chat = on.generate
    on.generate = (m) => m.prompt.messages[0].content.startsWith('die') ? process.exit(1) : chat(m)`
  const never = ms(restartDelayMax + 1)
  const limits = { heartbeatEvery: never, answerLimit: never, loadLimit: never, outageMax: never }
  const options = { restartDelayMax: ms(1_000), steadyAfter: ms(5_000), ...limits }
  const backend = llamaCpp(t, { entry: fakeEngine(t, fault), clock, ...options })
  await backend.start()
  let deaths = 0
  const die = async () => {
    const another = request(`die ${deaths++}`)
    await t.rejects(backend.generate(another, { signal }), { code: 'ENGINE_FAILED' })
    t.equal((await backend.generate(request('and again'), { signal })).text, 'andagain')
    return clock.delays.splice(0)
  }
  t.strictSame(await die(), [200, 400, 800, 1_000, 1_000])
  t.strictSame(await die(), [1_000], 'it had not lived long')
  await clock.advance(5_000)
  t.strictSame(await die(), [200], 'now it had')
})

t.test('a child that stays gone lets nobody wait', async (t) => {
  const clock = new ManualClock()
  const fault = `${DIES}
    import { existsSync, writeFileSync } from 'node:fs'
    const mark = import.meta.dirname + '/started'
    if (existsSync(mark)) on.load = () => {}
    writeFileSync(mark, '')`
  const backend = llamaCpp(t, { entry: fakeEngine(t, fault), clock })
  await backend.start()
  await t.rejects(backend.generate(request('die'), { signal }), { code: 'ENGINE_FAILED' })
  const waiting = t.rejects(backend.generate(request('Hi'), { signal }), { code: 'ENGINE_FAILED' })
  await clock.advance(outageMax)
  await waiting
  await t.rejects(backend.generate(request('Hi'), { signal }), { code: 'ENGINE_FAILED' }, 'at once')
  t.equal(backend.stats().queued, 0)
  await backend.stop()
  t.equal(clock.sleeping, 0, 'nothing goes on after the stop')
})

t.test('the engine is written down while it runs', async (t) => {
  const path = join(t.testdirName, 'engine.json')
  const backend = llamaCpp(t, { entry: fakeEngine(t), recordFile: path })
  await backend.start()
  const { pid = 0 } = backend.stats()
  t.strictSame(JSON.parse(await readFile(path, 'utf8')), { pid, started: await startTime(pid) })
  await backend.stop()
  t.equal(await startTime(pid), undefined, 'the process is gone')
  t.equal(await isThere(path), false)
  await backend.stop()
})

t.test('what an earlier run left is ended first', async (t) => {
  const entry = fakeEngine(t)
  const path = join(t.testdirName, 'engine.json')
  const stray = spawn('sleep', ['1000'], { stdio: 'ignore' })
  t.teardown(() => stray.kill('SIGKILL'))
  await once(stray, 'spawn')
  await recordEngine(path, stray.pid ?? 0)
  const exited = once(stray, 'exit')
  await llamaCpp(t, { entry, recordFile: path }).start()
  t.equal((await exited)[1], 'SIGKILL')
})

t.test('a start that fails leaves nothing behind', async (t) => {
  const fault = `on.load = () => say({ type: 'unready', code: 'MODEL_LOAD', message: 'no' })`
  const backend = llamaCpp(t, { entry: fakeEngine(t, fault) })
  await t.rejects(backend.start(), { code: 'MODEL_LOAD', retryable: false })
  t.equal(backend.stats().state, 'stopped')
  t.equal(await startTime(backend.stats().pid ?? 0), undefined)
  t.equal(await isThere(join(t.testdirName, 'engine.json')), false)

  const gone = llamaCpp(t, { entry: fakeEngine(t), modelPath: `${TINY_MODEL}.gone` })
  await t.rejects(gone.start(), { code: 'ENGINE_FAILED' }, 'weights that vanish meanwhile')
})

t.test('a start may be given up, by its caller or by a stop', async (t) => {
  const entry = fakeEngine(t, 'on.load = () => {}')
  const controller = new AbortController()
  const left = llamaCpp(t, { entry })
  const starting = left.start(controller.signal)
  const rejected = t.rejects(starting, { message: 'not needed' })
  await until(() => left.stats().pid !== undefined)
  controller.abort(new Error('not needed'))
  await rejected
  t.equal(await startTime(left.stats().pid ?? 0), undefined)

  const stopped = llamaCpp(t, { entry })
  const ended = t.rejects(stopped.start(), { code: 'STOPPED' })
  await stopped.stop()
  await ended
  t.equal(stopped.stats().state, 'stopped')
  await t.rejects(stopped.generate(request('Hi'), { signal }), { code: 'STOPPED' })

  const never = llamaCpp(t, { entry })
  await never.stop()
  await t.rejects(never.start(), { code: 'STOPPED' })
})

t.test('a request that killed two engines is refused, its neighbours are not', async (t) => {
  const fault = `const chat = on.generate; on.generate = (m) => {
    if (m.prompt.messages[0].content === 'die') process.exit(9)
    if (m.prompt.messages[0].content !== 'wait' || m.prompt.messages.length > 1) chat(m)
  }`
  const backend = llamaCpp(t, { entry: fakeEngine(t, fault), restartDelayFirst: ms(1) })
  await backend.start()
  const die = () => backend.generate(request('die', { temperature: 1, seed: 5n }), { signal })
  const neighbour = backend.generate(request('wait'), { signal })
  await t.rejects(die(), { code: 'ENGINE_FAILED' })
  await t.rejects(neighbour, { code: 'ENGINE_FAILED' })
  await t.rejects(die(), { code: 'ENGINE_FAILED' }, 'once may be chance')
  const again = request('die', { temperature: 1, seed: 6n })
  await t.rejects(backend.generate(again, { signal }), {
    code: 'BAD_REQUEST',
    data: { reason: 'unprocessable' },
  })
  t.equal((await backend.generate(request('and on'), { signal })).text, 'andon')
  await backend.stop()
})

t.test('a graphics card that is not used is told', async (t) => {
  const cases: [string, Partial<LlamaCppOptions>, boolean][] = [
    ['', { gpu: false }, false],
    ['', { gpu: 'auto' }, false],
    ['ready = { hasGpu: true }', { gpu: 'auto' }, true],
    ['', { gpu: 'cuda' }, true],
    ['ready = { hasGpu: true, onCpu: false }', { gpu: 'cuda' }, false],
    ['ready = { hasGpu: true }', { gpu: 'cuda', gpuLayers: 0 }, false],
  ]
  for (const [fault, options, isDegraded] of cases) {
    const backend = llamaCpp(t, { entry: fakeEngine(t, fault), ...options })
    await backend.start()
    t.equal(backend.stats().degraded !== undefined, isDegraded, `${fault} ${options.gpu}`)
    await backend.stop()
  }
})

t.test('slots and context that the engine chose', async (t) => {
  const fault = `const load = on.load; on.load = (m) => load({ slots: m.slots === 'auto' ? 2 : 0 })`
  const options = { slots: 'auto', contextSize: 'auto' } as const
  const backend = llamaCpp(t, { entry: fakeEngine(t, `${DIES}\n${fault}`), ...options })
  t.hasStrict(backend.info(), { slots: 0, contextSize: 0 })
  await backend.start()
  t.hasStrict(backend.info(), { slots: 2, contextSize: 256 })
  const all = [1, 2, 3].map(() => backend.generate(request('wait'), { signal }))
  t.hasStrict(backend.stats(), { active: 2, queued: 1 })
  const ended = Promise.allSettled(all)
  await backend.stop()
  await ended
})
