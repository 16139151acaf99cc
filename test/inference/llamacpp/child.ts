import t, { type Test } from 'tap'
import { silentLog } from '../../../src/base/log.ts'
import {
  CHILD_DEFAULTS,
  type ChildOptions,
  EngineChild,
  engineEnvironment,
} from '../../../src/inference/llamacpp/child.ts'
import type { AboutTask } from '../../../src/inference/llamacpp/wire.ts'
import { ManualClock } from '../../support/clock.ts'
import { fakeEngine, until } from '../../support/fake-engine.ts'
import { chat, TINY_OPTIONS } from '../../support/tiny-model.ts'

const LOAD = { type: 'load', niceness: 0, ...TINY_OPTIONS } as const
const SIGNAL = new AbortController().signal

function start(t: Test, fault?: string, options: Partial<ChildOptions> = {}) {
  const clock = new ManualClock()
  const heard: AboutTask[] = []
  const child = new EngineChild(
    { clock, log: silentLog(), onMessage: (message) => heard.push(message) },
    { ...CHILD_DEFAULTS, entry: fakeEngine(t, fault), execArgv: [], environment: {}, ...options },
  )
  t.teardown(() => child.kill())
  return { child, clock, heard }
}

/** Heartbeats that are answered. */
async function beats(child: EngineChild, clock: ManualClock, count: number) {
  for (let i = 0; i < count; i++) {
    const before = child.tokensPerSecond
    await clock.advance(CHILD_DEFAULTS.heartbeatEvery)
    await until(() => child.tokensPerSecond > before)
    await new Promise((resolve) => setImmediate(resolve))
  }
}

/** A heartbeat that is not: the ping is sent and its limit passes. */
async function silence(clock: ManualClock) {
  await clock.advance(CHILD_DEFAULTS.heartbeatEvery)
  await clock.advance(CHILD_DEFAULTS.answerLimit)
}

t.test('an engine is given a few names of the environment', async (t) => {
  const all = {
    PATH: '/bin',
    CUDA_VISIBLE_DEVICES: '1',
    POKT_PASSPHRASE: 'x',
    HTTPS_PROXY: 'x',
  }
  t.strictSame(engineEnvironment({ ...all, TZ: undefined }), {
    PATH: '/bin',
    CUDA_VISIBLE_DEVICES: '1',
  })

  const names = `on.generate = ({ id }) => say({ type: 'delta', id, text: Object.keys(process.env).sort().join() })`
  const { child, heard } = start(t, names, { environment: all })
  await child.load(LOAD, SIGNAL)
  child.send(chat('Hi'))
  await until(() => heard.length > 0)
  const [said] = heard
  // The test runner puts some of its own names into every process.
  t.match(said, { text: /CUDA_VISIBLE_DEVICES,.*PATH/ })
  t.notMatch(JSON.stringify(said), /PASSPHRASE|PROXY/)
})

t.test('an engine that is well', async (t) => {
  const { child, clock, heard } = start(t)
  t.hasStrict(await child.load(LOAD, SIGNAL), { type: 'ready', device: 'fake', contextSize: 256 })
  child.send(chat('one two', { id: 3 }))
  await until(() => heard.length === 3)
  t.match(heard, [{ text: 'one' }, { text: 'two' }, { type: 'done', id: 3 }])
  await beats(child, clock, 100)
  t.equal(child.tokensPerSecond, 100)
  await child.kill()
  t.equal(await child.exited, 'was ended')
  await child.kill()
  t.equal(clock.sleeping, 0, 'the watch ended with it')
  child.send({ type: 'ping', id: 0, probe: false })
})

t.test('an engine that does not become ready', async (t) => {
  const unready = `on.load = () => say({ type: 'unready', code: 'MODEL_LOAD', message: 'no such file' })`
  await t.rejects(start(t, unready).child.load(LOAD, SIGNAL), {
    code: 'MODEL_LOAD',
    message: 'no such file',
    retryable: false,
  })
  const dead = start(t, 'process.exit(3)')
  await t.rejects(dead.child.load(LOAD, SIGNAL), {
    code: 'ENGINE_FAILED',
    message: /status 3/,
    retryable: true,
  })
  const odd = start(t, `on.load = () => say({ type: 'ready' })`)
  await t.rejects(odd.child.load(LOAD, SIGNAL), { code: 'ENGINE_FAILED', message: /protocol/ })
  const absent = start(t, '', { entry: new URL('file:///nowhere/engine.js') })
  await t.rejects(absent.child.load(LOAD, SIGNAL), { code: 'ENGINE_FAILED' })
})

t.test('a load that takes too long, or that nobody waits for', async (t) => {
  const slow = start(t, 'on.load = () => {}')
  const loading = slow.child.load(LOAD, SIGNAL)
  const late = t.rejects(loading, { code: 'DEADLINE' })
  await slow.clock.advance(CHILD_DEFAULTS.loadLimit)
  await late

  const controller = new AbortController()
  const left = start(t, 'on.load = () => {}').child.load(LOAD, controller.signal)
  controller.abort(new Error('stopped'))
  await t.rejects(left, { message: 'stopped' })
})

t.test('an engine that talks nonsense is ended', async (t) => {
  const nonsense = [
    `say('hello')`,
    `say({ type: 'delta', id: 0, text: 'x'.repeat(5 << 20) })`,
    `say({ type: 'delta', id: 0, text: 'x', more: 1 })`,
  ]
  for (const words of nonsense) {
    const { child, heard } = start(t, `on.generate = () => ${words}`)
    await child.load(LOAD, SIGNAL)
    child.send(chat('Hi'))
    t.match(await child.exited, /was ended: not a message/, words)
    t.strictSame(heard, [], words)
  }
})

t.test('an engine that does not answer is ended', async (t) => {
  const deaf = 'on.ping = () => {}'
  const blocked = `on.ping = () => { for (;;); }`
  for (const fault of [deaf, blocked]) {
    const { child, clock } = start(t, fault)
    await child.load(LOAD, SIGNAL)
    await silence(clock)
    t.match(await child.exited, /did not answer/, fault)
  }
})

t.test('an engine that is stopped is ended, and its channel is not filled meanwhile', async (t) => {
  const { child, clock } = start(t)
  await child.load(LOAD, SIGNAL)
  process.kill(child.pid ?? 0, 'SIGSTOP')
  await silence(clock)
  t.match(await child.exited, /did not answer/)
})

t.test(
  'an engine that has work and takes no step is ended; one without work may rest',
  async (t) => {
    const resting = start(t)
    await resting.child.load(LOAD, SIGNAL)
    const hanging = start(t, 'active = 1')
    await hanging.child.load(LOAD, SIGNAL)
    const working = start(
      t,
      `active = 1; const pong = on.ping; on.ping = (m) => { steps++; pong(m) }`,
    )
    await working.child.load(LOAD, SIGNAL)
    const count = CHILD_DEFAULTS.stallLimit / CHILD_DEFAULTS.heartbeatEvery
    await beats(hanging.child, hanging.clock, count + 1)
    t.equal(await Promise.race([hanging.child.exited, 'alive']), 'alive', 'not before the limit')
    await hanging.clock.advance(CHILD_DEFAULTS.heartbeatEvery)
    t.match(await hanging.child.exited, /took no step/)
    for (const { clock, child } of [resting, working]) {
      await beats(child, clock, count + 5)
      t.equal(await Promise.race([child.exited, 'alive']), 'alive')
    }
  },
)

t.test(
  'an idle engine is asked for real work now and then; one that hangs in it is ended',
  async (t) => {
    const { heartbeatEvery, probeEvery, answerLimit, stallLimit } = CHILD_DEFAULTS
    const fault = `const pong = on.ping; on.ping = (m) => { if (!m.probe) pong(m) }`
    const { child, clock } = start(t, fault)
    await child.load(LOAD, SIGNAL)
    await beats(child, clock, probeEvery / heartbeatEvery - 1)
    await clock.advance(heartbeatEvery)
    t.equal(await Promise.race([child.exited, 'alive']), 'alive', 'the first pings were only pings')
    await clock.advance(answerLimit)
    t.match(await child.exited, /did not answer/)
    t.ok(probeEvery + answerLimit <= 30_000, 'found within 30 seconds')
    t.ok(stallLimit + heartbeatEvery * 2 <= 30_000, 'and so is a step that does not end')
  },
)
