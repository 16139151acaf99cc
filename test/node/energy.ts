import { join } from 'node:path'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { silentLog } from '../../src/base/log.ts'
import { ms } from '../../src/base/units.ts'
import type { GpuSample } from '../../src/gpu/sample.ts'
import { EnergyBook, type EnergyBookDeps, type ServiceCount } from '../../src/node/energy.ts'
import { openStore } from '../../src/store/db.ts'
import { type EnergyFigures, NO_ENERGY, NOBODY } from '../../src/store/energy.ts'
import { StoreError } from '../../src/store/errors.ts'
import { ManualClock } from '../support/clock.ts'
import { recordingLog } from '../support/miner-world.ts'
import { until } from '../support/recorded-node.ts'

const card = (id: string, power?: number, more: Partial<GpuSample> = {}): GpuSample => ({
  ...{ id, vendor: 'nvidia', index: 0, name: 'card', isShared: false, isAsleep: false },
  ...(power === undefined ? {} : { power }),
  ...more,
})

/** A store that is a map. */
class Kept {
  readonly services = new Map<string, EnergyFigures>()
  failure: Error | undefined
  adds = 0

  async add(_at: number, figures: ReadonlyMap<string, EnergyFigures>): Promise<void> {
    this.adds++
    if (this.failure !== undefined) throw this.failure
    for (const [id, more] of figures) {
      const sum = { ...(this.services.get(id) ?? NO_ENERGY) }
      for (const name of Object.keys(sum) as (keyof EnergyFigures)[]) sum[name] += more[name]
      this.services.set(id, sum)
    }
  }

  async totals() {
    return { since: '2026-11-29', services: this.services }
  }
}

type Shares = Record<string, readonly string[]>

function setUp(over: Partial<EnergyBookDeps> = {}) {
  const clock = new ManualClock(1_764_400_000_000)
  const store = new Kept()
  const stats: Record<string, ServiceCount> = {}
  const shares: Shares = { a: ['one'] }
  const busy = new Set<string>()
  const book = new EnergyBook({
    ...{ clock, log: silentLog(), store, stats: () => stats, busy: () => busy },
    shares: () => new Map(Object.entries(shares)),
    ...over,
  })
  const answer = (service: string, answered: number, promptTokens = 0, completionTokens = 0) => {
    const before = stats[service] ?? { answered: 0, promptTokens: 0, completionTokens: 0 }
    stats[service] = {
      answered: before.answered + answered,
      promptTokens: before.promptTokens + promptTokens,
      completionTokens: before.completionTokens + completionTokens,
    }
  }
  /** Looks every 5 s at cards that draw so much. */
  const draw = async (seconds: number, watts: Readonly<Record<string, number | undefined>>) => {
    for (let at = 0; at < seconds; at += 5) {
      await clock.advance(5_000)
      book.sample(
        clock.monotonic(),
        Object.entries(watts).map(([id, power]) => card(id, power)),
      )
    }
  }
  return { clock, store, stats, shares, busy, book, answer, draw }
}

/** Runs until the end of the test. */
function running(t: Test, book: EnergyBook): { stop(): Promise<void> } {
  const over = new AbortController()
  const run = book.run(over.signal)
  const stop = () => {
    over.abort('the end')
    return run
  }
  t.teardown(stop)
  return { stop }
}

t.test('a minute is booked when it has gone by, and what is left at the end', async (t) => {
  const { clock, book, store, answer, draw } = setUp()
  const { stop } = running(t, book)
  book.sample(clock.monotonic(), [card('one', 100)])
  await draw(30, { one: 100 })
  answer('a', 2, 30, 10)
  t.equal(store.adds, 0)
  await draw(30, { one: 100 })
  await until(() => store.adds === 1, 'a booking')
  t.match(store.services.get('a'), { relays: 2, promptTokens: 30, completionTokens: 10 })
  t.equal(store.services.get('a')?.joules, 5_500, 'the last look comes after it')
  answer('a', 1, 5, 5)
  await draw(10, { one: 100 })
  await stop()
  t.match(store.services.get('a'), { relays: 3, promptTokens: 35, joules: 7_000, seconds: 70 })
  t.strictSame([...store.services.keys()], ['a'])
  answer('a', 1, 1, 1)
  await book.close()
  t.match(store.services.get('a'), { relays: 4, joules: 7_000 }, 'also relays of the last seconds')
  const { adds } = store
  await book.close()
  t.equal(store.adds, adds, 'nothing new is no write')
})

t.test('services share a card as they read and wrote', async (t) => {
  const { book, shares, store, answer, draw } = setUp()
  Object.assign(shares, { a: ['one'], b: ['one', 'two'], c: ['two'] })
  await draw(65, { one: 100, two: 50 })
  answer('a', 5, 100, 200)
  answer('b', 1, 60, 40)
  await book.close()
  const { services } = store
  t.match(services.get('a'), { joules: 6_000 * 0.75, seconds: 45 })
  t.match(services.get('b'), { joules: 6_000 * 0.25 + 3_000, seconds: 15 + 60 })
  t.notOk(services.has('c'), 'who did nothing pays nothing')
  t.notOk(services.has(NOBODY))
})

t.test('answers count where an engine tells no tokens', async (t) => {
  const { book, shares, store, answer, draw } = setUp()
  Object.assign(shares, { a: ['one'], b: ['one'] })
  await draw(65, { one: 100 })
  answer('a', 3)
  answer('b', 1)
  await book.close()
  t.match(store.services.get('a'), { joules: 4_500, promptTokens: 0 })
  t.match(store.services.get('b'), { joules: 1_500 })
})

t.test('what a card drew while it waited stands under no name', async (t) => {
  const { book, store, draw } = setUp()
  await draw(5, { one: 20 })
  await book.close()
  t.equal(store.adds, 0, 'one look measures nothing')
  await draw(60, { one: 20 })
  await book.close()
  t.strictSame([...store.services.keys()], [NOBODY])
  t.match(store.services.get(NOBODY), { relays: 0, joules: 1_200, joulesAbove: 0, seconds: 60 })
})

t.test('what the owner draws is not ours', async (t) => {
  const { book, shares, store, draw, answer } = setUp()
  await draw(65, { one: 20, two: 300 })
  t.equal(book.watts, 20)
  delete shares['a']
  await draw(60, { one: 300, two: 300 })
  t.equal(book.watts, undefined)
  shares['a'] = ['one']
  await draw(5, { one: 300 })
  answer('a', 1, 1, 1)
  await book.close()
  t.match(store.services.get('a'), { joules: 1_200 + 1_500, seconds: 65 })
  t.equal(store.services.size, 1)
})

t.test('the joules of a long answer wait for its end', async (t) => {
  const { clock, book, busy, store, answer, draw } = setUp()
  running(t, book)
  busy.add('a')
  await draw(125, { one: 100 })
  await clock.advance(0)
  t.equal(store.adds, 0, 'nobody has answered, but somebody will')
  busy.clear()
  answer('a', 1, 10, 10)
  await draw(60, { one: 100 })
  await until(() => store.adds > 0, 'a booking')
  t.notOk(store.services.has(NOBODY))
  t.match(store.services.get('a'), { joules: 17_000, seconds: 170 })
})

t.test('but not for ever', async (t) => {
  const { book, busy, store, draw } = setUp()
  running(t, book)
  busy.add('a')
  await draw(9 * 60 + 5, { one: 100 })
  t.equal(store.adds, 0)
  await draw(60, { one: 100 })
  await until(() => store.adds === 1, 'a booking')
  t.match(store.services.get(NOBODY), { joules: 59_000, seconds: 590 })
})

t.test('above rest is what work adds, from nothing up to all', async (t) => {
  const { book, store, answer, draw } = setUp()
  const above = () => store.services.get('a')?.joulesAbove
  await draw(65, { one: 20 })
  await book.close()
  await draw(60, { one: 320 })
  answer('a', 1, 1, 1)
  await book.close()
  t.match(store.services.get('a'), { joules: 170 * 5 + 320 * 55, seconds: 60 })
  t.equal(above(), 170 * 5 + 320 * 55 - 20 * 60)
  await draw(5, { one: 5 })
  await book.close()
  const before = above()
  await draw(10, { one: 5 })
  answer('a', 1, 1, 1)
  await book.close()
  t.equal(above(), before, 'what is drawn below rest takes nothing back')
  await draw(20, { one: 5 })
  await book.close()
  await draw(5, { one: 5 })
  answer('a', 1, 1, 1)
  await book.close()
  t.equal(above(), before, 'nor does a lower rest')
})

t.test('a machine that tells no power has relays and tokens', async (t) => {
  const { book, store, answer, draw } = setUp()
  t.equal(await book.report(), undefined, 'nothing to tell')
  await draw(65, { one: undefined })
  answer('a', 2, 3, 4)
  answer('elsewhere', 1, 1, 1)
  await book.close()
  t.strictSame(store.services.get('a'), {
    ...NO_ENERGY,
    ...{ relays: 2, promptTokens: 3, completionTokens: 4 },
  })
  t.match(store.services.get('elsewhere'), { relays: 1, joules: 0 })
  t.match(await book.report(0.3), {
    measured: false,
    watts: null,
    joulesPerToken: null,
    cost: null,
  })
})

t.test('watts of now are those of the cards that serve, while they are new', async (t) => {
  const { clock, book, shares, answer, draw } = setUp()
  t.equal(book.watts, undefined)
  Object.assign(shares, { b: ['one', 'two'], c: ['asleep'] })
  book.sample(clock.monotonic(), [
    card('one', 100),
    card('two', 50),
    card('owner', 400),
    card('asleep', undefined, { isAsleep: true }),
  ])
  t.equal(book.watts, 150, 'each card once')
  await clock.advance(30_000)
  t.equal(book.watts, 150)
  await clock.advance(1)
  t.equal(book.watts, undefined)
  await draw(65, { one: 100, two: 50 })
  answer('b', 3, 60, 30)
  await book.close()
  const report = await book.report(0.5)
  t.match(report, { measured: true, watts: 150, joulesPerToken: 100, joulesPerRelay: 3_000 })
  t.equal(report?.cost, (9_000 / 3_600_000) * 0.5)
})

t.test('a disk that refuses costs a minute of figures, and is told once', async (t) => {
  const { log, lines } = recordingLog()
  const { book, store, answer } = setUp({ log })
  store.failure = new StoreError('DISK', 'full', { retryable: true })
  for (const _ of [1, 2, 3]) {
    answer('a', 1, 1, 1)
    await book.close()
  }
  t.equal(store.adds, 3)
  t.equal(lines.length, 1)
  store.failure = undefined
  answer('a', 5, 1, 1)
  await book.close()
  t.match(store.services.get('a'), { relays: 5 }, 'what may be on the disk is not added twice')
})

t.test('counts that began anew are not taken away', async (t) => {
  const { book, store, stats } = setUp()
  stats['a'] = { answered: 5, promptTokens: 50, completionTokens: 50 }
  await book.close()
  stats['a'] = { answered: 0, promptTokens: 0, completionTokens: 0 }
  await book.close()
  stats['a'] = { answered: 1, promptTokens: 2, completionTokens: 3 }
  await book.close()
  t.match(store.services.get('a'), { relays: 6, promptTokens: 52, completionTokens: 53 })
})

t.test('whatever happens, the joules that are booked are those that were drawn', async () => {
  const step = fc.record({
    watts: fc.integer({ min: 0, max: 500 }),
    answers: fc.array(fc.constantFrom('a', 'b', 'c'), { maxLength: 3 }),
    books: fc.boolean(),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 20 }), async (steps) => {
      const { clock, book, shares, store, answer } = setUp()
      Object.assign(shares, { a: ['one'], b: ['one', 'two'], c: ['two'] })
      let drawn = 0
      let last: number | undefined
      let now = clock.monotonic() as number
      for (const { watts, answers, books } of steps) {
        now += 5_000
        book.sample(ms(now), [card('one', watts), card('two', watts)])
        if (last !== undefined) drawn += (last + watts) * 5
        last = watts
        for (const service of answers) answer(service, 1, watts % 3, watts % 2)
        if (books) await book.close()
      }
      await book.close()
      const all = [...store.services.values()]
      const booked = all.reduce((sum, { joules }) => sum + joules, 0)
      const isRight = Math.abs(booked - drawn) < 1e-6
      return isRight && all.every(({ joules, joulesAbove }) => joulesAbove <= joules + 1e-9)
    }),
    { numRuns: 50 },
  )
})

t.test('it comes back from a real disk', async (t) => {
  const clock = new ManualClock(Date.parse('2026-11-29T12:00:00Z'))
  const path = join(t.testdir(), 'db')
  const store = await openStore(path, { log: silentLog(), clock })
  const { book, answer } = setUp({ clock, store: store.energy })
  for (const _ of [0, 1, 2]) {
    book.sample(clock.monotonic(), [card('one', 360)])
    await clock.advance(5_000)
  }
  answer('a', 2, 30, 6)
  await book.close()
  await store.close()
  const again = await openStore(path, { log: silentLog(), clock })
  t.teardown(() => again.close())
  const { book: next } = setUp({ clock, store: again.energy })
  t.match(await next.report(1), {
    ...{ measured: true, watts: null, joulesPerToken: 100, joulesPerRelay: 1_800 },
    ...{ kWh: 0.001, cost: 0.001, since: '2026-11-29' },
  })
})
