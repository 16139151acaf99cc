import t from 'tap'
import { ms } from '../../src/base/units.ts'
import type { BackendInfo, InferenceBackend } from '../../src/inference/backend.ts'
import { Berth } from '../../src/inference/berth.ts'
import { InferenceError } from '../../src/inference/errors.ts'
import { NO_FEATURES } from '../../src/inference/features.ts'
import { ask, never } from '../contract/backend-asks.ts'
import { ManualClock } from '../support/clock.ts'
import { EchoBackend } from '../support/echo-backend.ts'

const BEFORE: BackendInfo = {
  kind: 'echo',
  model: 'before',
  contextSize: 0,
  slots: 1,
  device: '',
  features: NO_FEATURES,
  fingerprint: '',
  facts: {},
}

function setUp(make: () => InferenceBackend | Promise<InferenceBackend> = () => new EchoBackend()) {
  const clock = new ManualClock()
  const made: InferenceBackend[] = []
  const create = async () => {
    const backend = await make()
    made.push(backend)
    return backend
  }
  return { clock, made, berth: new Berth({ clock, create }, BEFORE) }
}

const say = async (berth: Berth) => (await berth.generate(ask('a'), { signal: never() })).text

t.test('a model comes, goes and comes back', async (t) => {
  const { berth, made } = setUp()
  t.match(berth.info(), { model: 'before' })
  t.equal(berth.stats().state, 'starting')
  t.equal(berth.isKnown, false)
  await t.rejects(say(berth), { code: 'BUSY', data: { reason: 'model_loading' } })
  await Promise.all([berth.start(), berth.load()])
  t.equal(made.length, 1, 'loaded once for all who ask')
  t.equal(await say(berth), 'You said: a')
  t.match(berth.info(), { model: 'echo', slots: 2 })
  await berth.unload()
  t.equal(made[0]?.stats().state, 'stopped', 'its process is ended')
  t.equal(berth.stats().state, 'unloaded')
  t.match(berth.info(), { model: 'echo', slots: 2 }, 'what is known stays known')
  t.equal(berth.isKnown, true)
  await berth.load()
  t.equal(made.length, 2)
  t.equal(await say(berth), 'You said: a')
  await berth.stop()
  t.equal(berth.stats().state, 'stopped')
  await t.rejects(say(berth), { code: 'STOPPED' })
  await t.rejects(berth.load(), { code: 'STOPPED' })
})

t.test('a load that fails can be tried again, and leaves nothing behind', async (t) => {
  const failure = new InferenceError('MODEL_LOAD', 'no weights')
  let isBroken = true
  const { berth, made } = setUp(() => {
    const backend = new EchoBackend()
    if (isBroken)
      backend.start = async () => {
        throw failure
      }
    return backend
  })
  await t.rejects(berth.load(), failure)
  t.match(berth.stats(), { state: 'failed', failure: 'MODEL_LOAD: no weights' })
  t.equal(made[0]?.stats().state, 'stopped')
  isBroken = false
  await berth.load()
  t.equal(berth.stats().state, 'ready')
  t.equal(berth.failure, undefined)
})

t.test('what looks at a model that has just started can refuse it', async (t) => {
  const { clock } = setUp()
  const backend = new EchoBackend()
  const seen: InferenceBackend[] = []
  const loaded = async (one: InferenceBackend) => {
    seen.push(one)
    throw new InferenceError('MODEL_LOAD', 'not this one')
  }
  const berth = new Berth({ clock, create: async () => backend, loaded }, BEFORE)
  await t.rejects(berth.load(), { code: 'MODEL_LOAD' })
  t.strictSame(seen, [backend])
  t.equal(backend.stats().state, 'stopped')
})

t.test('unloading ends a load, waiting does not', async (t) => {
  let isStarted: () => void = () => {}
  const begun = new Promise<void>((resolve) => {
    isStarted = resolve
  })
  const { berth, made } = setUp(() => {
    const backend = new EchoBackend()
    backend.start = (signal) =>
      new Promise((_, reject) => {
        isStarted()
        signal?.addEventListener('abort', () => reject(signal.reason))
      })
    return backend
  })
  const impatient = new AbortController()
  const first = berth.load(impatient.signal)
  const second = berth.load()
  await begun
  impatient.abort(new Error('no patience'))
  await t.rejects(first, { message: 'no patience' })
  t.equal(berth.isLoading, true)
  await Promise.all([t.rejects(second, { code: 'YIELDING' }), berth.unload()])
  t.equal(made[0]?.stats().state, 'stopped')
  t.equal(berth.stats().state, 'unloaded')
})

t.test('a load waits until the model is quite gone', async (t) => {
  let release: () => void = () => {}
  const order: string[] = []
  const { berth } = setUp(() => {
    const backend = new EchoBackend()
    order.push('made')
    backend.stop = () =>
      new Promise((resolve) => {
        release = () => {
          order.push('gone')
          resolve()
        }
      })
    return backend
  })
  await berth.load()
  const gone = berth.unload()
  const back = berth.load()
  await new Promise((resolve) => setImmediate(resolve))
  release()
  await Promise.all([gone, back])
  t.strictSame(order, ['made', 'gone', 'made'])
})

t.test(
  'another program lets go of the model when the owner comes, and not at a stop',
  async (t) => {
    const calls: string[] = []
    const { berth } = setUp(() => {
      const backend: EchoBackend & Pick<InferenceBackend, 'release'> = new EchoBackend()
      backend.release = async () => void calls.push('release')
      const { stop } = backend
      backend.stop = async () => {
        calls.push('stop')
        await stop.call(backend)
      }
      return backend
    })
    await berth.load()
    await berth.unload()
    t.strictSame(calls, ['release', 'stop'])
    await berth.load()
    await berth.stop()
    t.strictSame(calls, ['release', 'stop', 'stop'])
  },
)

t.test('the time of a load is known after it', async (t) => {
  let end: () => void = () => {}
  const { berth, clock } = setUp(() => {
    const backend = new EchoBackend()
    const { start } = backend
    backend.start = async () => {
      await new Promise<void>((resolve) => {
        end = resolve
      })
      await start.call(backend)
    }
    return backend
  })
  t.equal(berth.loadTime, undefined)
  const load = berth.load()
  await clock.advance(4_000)
  end()
  await load
  t.equal(berth.loadTime, ms(4_000))
})
