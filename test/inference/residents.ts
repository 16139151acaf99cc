import t, { type Test } from 'tap'
import { silentLog } from '../../src/base/log.ts'
import { ms } from '../../src/base/units.ts'
import { Berth } from '../../src/inference/berth.ts'
import { InferenceError } from '../../src/inference/errors.ts'
import { NO_FEATURES } from '../../src/inference/features.ts'
import { type Memory, Residents } from '../../src/inference/residents.ts'
import { ManualClock } from '../support/clock.ts'
import { EchoBackend } from '../support/echo-backend.ts'

interface Model {
  readonly bytes: number
  readonly priority?: number
  /** Milliseconds on the clock that a load takes. */
  readonly load?: number
  broken?: boolean
}

/** Models of one memory of 10 bytes. */
function setUp(t: Test, models: Record<string, Model>) {
  const clock = new ManualClock()
  const berths = new Map<string, Berth>()
  for (const [name, model] of Object.entries(models)) {
    const create = async () => {
      const backend = new EchoBackend()
      const { start } = backend
      backend.start = async (signal) => {
        if (model.load !== undefined) await clock.sleep(ms(model.load), signal)
        if (model.broken === true) throw new InferenceError('MODEL_LOAD', 'broken')
        await start.call(backend)
      }
      return backend
    }
    const info = { kind: 'echo', model: name, contextSize: 0, slots: 1, device: '' } as const
    berths.set(
      name,
      new Berth({ clock, create }, { ...info, features: NO_FEATURES, fingerprint: '', facts: {} }),
    )
  }
  const modelOf = (berth: Berth) => [...berths].find(([, one]) => one === berth)?.[0] ?? ''
  const memory: Memory = {
    needOf: (berth) => {
      const { bytes = 0, priority = 0 } = models[modelOf(berth)] ?? {}
      return { shares: [{ place: 'card', bytes }], priority }
    },
    budgetOf: () => 10,
  }
  const residents = new Residents({ clock, log: silentLog(), memory }, [...berths.values()])
  const ended = new AbortController()
  t.teardown(() => ended.abort('over'))
  residents.run(ended.signal).catch(() => {})
  const berth = (name: string) => {
    const one = berths.get(name)
    if (one === undefined) throw new Error(name)
    return one
  }
  /** Lets time pass until the work is done. */
  const during = async <T>(work: Promise<T>): Promise<T> => {
    let isOver = false
    const over = () => {
      isOver = true
    }
    work.then(over, over)
    while (!isOver) await clock.advance(500)
    return await work
  }
  /** What becomes of a request: a function that ends it, or why it was refused. */
  const use = async (name: string, time = 55_000) => {
    const deadline = ms(clock.monotonic() + time)
    const signal = new AbortController().signal
    try {
      return await residents.use(berth(name), { signal, deadline })
    } catch (error) {
      if (error instanceof InferenceError) return String(error.data['reason'])
      throw error
    }
  }
  const pass = async (milliseconds: number) => {
    for (let left = milliseconds; left > 0; left -= 500) await clock.advance(Math.min(left, 500))
    for (let n = 0; n < 5; n++) await clock.advance(0)
  }
  const loaded = () => [...berths].filter(([, one]) => one.isLoaded).map(([name]) => name)
  return { residents, berth, use, pass, during, loaded, clock }
}

type Use = Awaited<ReturnType<ReturnType<typeof setUp>['use']>>
const end = (use: Use) => {
  if (typeof use === 'string') throw new Error(`refused: ${use}`)
  use()
}

t.test('what fits is loaded at the start, the most important first', async (t) => {
  const models = { a: { bytes: 5 }, b: { bytes: 6 }, c: { bytes: 4, priority: 1 } }
  const { residents, loaded } = setUp(t, models)
  await residents.start()
  t.strictSame(loaded(), ['a', 'c'])
})

t.test('a model that is asked for comes, and the one that was used least goes', async (t) => {
  const { residents, use, pass, loaded } = setUp(t, {
    a: { bytes: 5 },
    b: { bytes: 5 },
    c: { bytes: 5, load: 2_000 },
  })
  await residents.start()
  await pass(61_000)
  end(await use('a'))
  t.equal(await use('c'), 'model_loading', 'nobody knows how long that takes')
  await pass(2_500)
  t.strictSame(loaded(), ['a', 'c'])
  end(await use('c'))
})

t.test('two that need the same memory do not chase each other', async (t) => {
  const { residents, use, pass, loaded } = setUp(t, { a: { bytes: 10 }, b: { bytes: 10 } })
  await residents.start()
  t.equal(await use('b'), 'model_waiting', 'a has just come')
  await pass(59_000)
  t.strictSame(loaded(), ['a'])
  await pass(2_000)
  t.strictSame(loaded(), ['b'], 'the wish was remembered')
})

t.test('a wish that nobody repeats is forgotten', async (t) => {
  const { residents, use, pass, loaded } = setUp(t, { a: { bytes: 10 }, b: { bytes: 10 } })
  await residents.start()
  const run = await use('a')
  t.equal(await use('b'), 'model_waiting')
  await pass(70_000)
  end(run)
  await pass(5_000)
  t.strictSame(loaded(), ['a'])
})

t.test('one that is always asked for gives way after a while', async (t) => {
  const { residents, use, pass, loaded } = setUp(t, { a: { bytes: 10 }, b: { bytes: 10 } })
  await residents.start()
  await pass(61_000)
  const first = await use('a')
  t.equal(await use('b'), 'model_waiting')
  await pass(10_000)
  const second = await use('a')
  end(first)
  await pass(11_000)
  t.equal(await use('a'), 'model_waiting', 'b has waited 21 s')
  end(second)
  await pass(1_000)
  t.strictSame(loaded(), ['b'])
  t.equal(await use('a'), 'model_waiting', 'now b stays for a while')
})

t.test('a less important one waits as long as it takes', async (t) => {
  const models = { a: { bytes: 10, priority: 1 }, b: { bytes: 10 } }
  const { residents, use, pass, loaded } = setUp(t, models)
  await residents.start()
  await pass(61_000)
  t.equal(await use('b'), 'model_waiting')
  await pass(30_000)
  end(await use('a'))
  t.strictSame(loaded(), ['a'])
})

t.test(
  'a request waits for a load that ends in time, and is refused where it would not',
  async (t) => {
    const { residents, berth, use, pass } = setUp(t, { a: { bytes: 1, load: 4_000 } })
    const start = residents.start()
    await pass(4_500)
    await start
    await residents.close(berth('a'))
    t.equal(await use('a'), 'model_waiting', 'not while it is closed')
    residents.open(berth('a'))
    t.equal(await use('a', 7_000), 'model_loading')
    const patient = use('a', 9_000)
    await pass(4_000)
    end(await patient)
  },
)

t.test('what cannot be loaded is tried again, less and less often', async (t) => {
  const model: Model = { bytes: 1, broken: true }
  const { residents, berth, use, pass, loaded } = setUp(t, { a: model, b: { bytes: 1 } })
  await t.rejects(residents.start(), { code: 'MODEL_LOAD' })
  t.strictSame(loaded(), ['b'], 'the others serve')
  t.equal(await use('a'), 'model_loading')
  t.match(berth('a').stats(), { state: 'failed', failure: 'MODEL_LOAD: broken' })
  await pass(5_500)
  model.broken = false
  await pass(9_000)
  t.strictSame(loaded(), ['b'], 'the second pause is 10 s')
  await pass(2_000)
  t.strictSame(loaded(), ['a', 'b'])
})

t.test('what was closed comes back, and drives nobody out', async (t) => {
  const { residents, berth, use, pass, loaded } = setUp(t, { a: { bytes: 10 }, b: { bytes: 10 } })
  await residents.start()
  await residents.close(berth('a'))
  t.strictSame(loaded(), [])
  t.equal(await use('b'), 'model_loading')
  await pass(1_000)
  t.strictSame(loaded(), ['b'])
  residents.open(berth('a'))
  await pass(100_000)
  t.strictSame(loaded(), ['b'])
})

t.test('one that is closed at the start is loaded when it may', async (t) => {
  const { residents, berth, pass, loaded } = setUp(t, { a: { bytes: 1 } })
  await residents.close(berth('a'))
  await residents.start()
  await pass(2_000)
  t.strictSame(loaded(), [])
  residents.open(berth('a'))
  await pass(1_000)
  t.strictSame(loaded(), ['a'])
})
