import { getEventListeners } from 'node:events'
import t from 'tap'
import { systemClock } from '../../src/base/clock.ts'
import { silentLog } from '../../src/base/log.ts'
import { ms } from '../../src/base/units.ts'
import { Berth } from '../../src/inference/berth.ts'
import { NO_FEATURES } from '../../src/inference/features.ts'
import { Pool } from '../../src/inference/pool.ts'
import { type Memory, Residents } from '../../src/inference/residents.ts'
import { ask } from '../contract/backend-asks.ts'
import { ManualClock } from '../support/clock.ts'
import { EchoBackend } from '../support/echo-backend.ts'

const INFO = {
  kind: 'echo',
  model: 'x',
  contextSize: 0,
  slots: 1,
  device: '',
  features: NO_FEATURES,
  fingerprint: '',
  facts: {},
} as const
const gate = () => {
  let open = () => {}
  const opened = new Promise<void>((resolve) => {
    open = () => resolve()
  })
  return { opened, open }
}
const later = async () => {
  for (let i = 0; i < 50; i++) await Promise.resolve()
}
const never = () => new AbortController().signal

t.test('a model whose place is being cleared does not come after it was closed', async (t) => {
  const clock = new ManualClock()
  const slow = gate()
  const a = new Berth(
    {
      clock,
      create: async () => {
        const backend = new EchoBackend()
        const { stop } = backend
        backend.stop = async () => {
          await slow.opened
          await stop.call(backend)
        }
        return backend
      },
    },
    INFO,
  )
  const b = new Berth({ clock, create: async () => new EchoBackend() }, INFO)
  const memory: Memory = {
    needOf: (one) => ({ shares: [{ place: 'card', bytes: 10 }], priority: one === b ? 1 : 0 }),
    budgetOf: () => 10,
  }
  const residents = new Residents({ clock, log: silentLog(), memory }, [a, b])
  residents.open(a)
  // only a is brought
  await residents.close(b)
  await residents.start()
  t.equal(a.isLoaded, true)
  residents.open(b)
  residents.use(b, { signal: never(), deadline: ms(60_000) }).catch(() => {})
  await later()
  // The owner comes while a is being ended for b.
  const closed = Promise.all([residents.close(a), residents.close(b)])
  await later()
  slow.open()
  await closed
  await later()
  t.equal(b.isLoaded, false, 'the owner has the machine')
})

t.test('an unload that joins another one also withdraws a load that waits for that', async (t) => {
  const clock = new ManualClock()
  const slow = gate()
  const a = new Berth(
    {
      clock,
      create: async () => {
        const backend = new EchoBackend()
        backend.stop = async () => {
          await slow.opened
        }
        return backend
      },
    },
    INFO,
  )
  await a.load()
  const first = a.unload()
  const load = a.load()
  load.catch(() => {})
  const second = a.unload()
  slow.open()
  await Promise.all([first, second])
  await later()
  t.equal(a.isLoaded, false)
})

t.test('who waits for another memory does not stop a model that is not in its way', async (t) => {
  const clock = new ManualClock()
  const make = () => new Berth({ clock, create: async () => new EchoBackend() }, INFO)
  const [a, b, c] = [make(), make(), make()]
  const memory: Memory = {
    needOf: (one) => ({
      shares: [{ place: one === a ? 'card 0' : 'card 1', bytes: 10 }],
      priority: one === c ? 1 : 0,
    }),
    budgetOf: () => 10,
  }
  const residents = new Residents({ clock, log: silentLog(), memory }, [a, b, c])
  await residents.start()
  t.strictSame([a.isLoaded, b.isLoaded, c.isLoaded], [true, false, true])
  const use = (one: Berth) =>
    residents.use(one, { signal: never(), deadline: ms(clock.monotonic() + 60_000) })
  await clock.advance(61_000)
  for (let i = 0; i < 30; i++) {
    await t.rejects(use(b), { code: 'BUSY' })
    await clock.advance(1_000)
  }
  await t.resolves(use(a), 'card 0 is of no use to b')
})

t.test(
  'a load that takes longer than the last one does not hold a request beyond its time',
  async (t) => {
    const clock = new ManualClock()
    let time = 1_000
    const a = new Berth(
      {
        clock,
        create: async () => {
          const backend = new EchoBackend()
          const { start } = backend
          backend.start = async (signal) => {
            await clock.sleep(ms(time), signal)
            await start.call(backend)
          }
          return backend
        },
      },
      INFO,
    )
    const memory: Memory = { needOf: () => undefined, budgetOf: () => 10 }
    const residents = new Residents({ clock, log: silentLog(), memory }, [a])
    const started = residents.start()
    for (let i = 0; i < 4; i++) await clock.advance(500)
    await started
    await residents.close(a)
    time = 600_000
    residents.open(a)
    let ended = false
    residents
      .use(a, { signal: never(), deadline: ms(clock.monotonic() + 55_000) })
      .catch(() => {})
      .finally(() => {
        ended = true
      })
    for (let i = 0; i < 130; i++) await clock.advance(500)
    t.equal(ended, true, '65 s later it was refused')
  },
)

t.test('the process of an engine that is being loaded is known to be ours', async (t) => {
  const clock = new ManualClock()
  const held = gate()
  const a = new Berth(
    {
      clock,
      create: async () => {
        const backend = new EchoBackend()
        const { stats } = backend
        backend.stats = () => ({ ...stats.call(backend), pid: 4711 })
        backend.start = async () => await held.opened
        return backend
      },
    },
    INFO,
  )
  const load = a.load()
  await later()
  t.strictSame(a.pids, [4711])
  held.open()
  await load
})

t.test('start of residents with an aborted signal starts nothing', async (t) => {
  const clock = new ManualClock()
  const a = new Berth({ clock, create: async () => new EchoBackend() }, INFO)
  const residents = new Residents(
    { clock, log: silentLog(), memory: { needOf: () => undefined, budgetOf: () => 1 } },
    [a],
  )
  await t.rejects(residents.start(AbortSignal.abort(new Error('stop'))))
  await later()
  t.equal(a.isLoaded, false)
})

t.test('leaks: 10,000 requests through a pool with a berth', async (t) => {
  const a = new Berth({ clock: systemClock, create: async () => new EchoBackend() }, INFO)
  const pool = new Pool({
    clock: systemClock,
    log: silentLog(),
    services: [{ serviceId: 'a', backend: a }],
  })
  await pool.start()
  const life = new AbortController()
  const one = async (n: number) => {
    const deadline = ms(systemClock.monotonic() + 60_000)
    await pool.generate('a', ask('a'), { signal: life.signal, deadline }).catch((e: unknown) => {
      if (n < 3) t.comment(String(e))
    })
  }
  const heap = () => {
    globalThis.gc?.()
    return process.memoryUsage().heapUsed
  }
  for (let n = 0; n < 1_000; n++) await one(n)
  const before = heap()
  for (let n = 0; n < 10_000; n++) await one(n)
  // a yield and a return among them
  for (let n = 0; n < 200; n++) {
    const running = Array.from({ length: 5 }, () => one(9))
    await pool.pause({ cancel: true }, ['a'])
    await pool.unload(['a'])
    await Promise.all(running)
    await one(9)
    pool.resume(['a'])
    await one(9)
  }
  const after = heap()
  t.comment(`gc ${typeof globalThis.gc}; heap ${before} -> ${after}: ${after - before}`)
  t.equal(getEventListeners(life.signal, 'abort').length, 0)
  if (globalThis.gc !== undefined) t.ok(after - before < 3e6)
  await pool.stop()
})
