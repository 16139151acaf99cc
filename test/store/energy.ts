import { deepEqual } from 'node:assert/strict'
import { join } from 'node:path'
import fc from 'fast-check'
import { Level } from 'level'
import t, { type Test } from 'tap'
import { utf8 } from '../../src/base/bytes.ts'
import { silentLog } from '../../src/base/log.ts'
import { ms } from '../../src/base/units.ts'
import { openStore, type Store } from '../../src/store/db.ts'
import type { Operation, Write } from '../../src/store/disk.ts'
import {
  addEnergy,
  type DayRange,
  type EnergyEntry,
  type EnergyFigures,
  EnergyStore,
  NO_ENERGY,
  NOBODY,
} from '../../src/store/energy.ts'
import { relay, sessionKey, storeDeps } from '../support/store.ts'
import { anyOf } from '../support/store-any.ts'

const DAY = 86_400_000
const at = (text: string) => ms(Date.parse(text))
const NOON = at('2026-11-29T12:00:00Z')

async function open(t: Test, path = join(t.testdir(), 'db')): Promise<Store> {
  const store = await openStore(path, storeDeps())
  t.teardown(() => store.close())
  return store
}

const figures = (over: Partial<EnergyFigures> = {}): EnergyFigures => ({
  ...{ relays: 2, promptTokens: 30, completionTokens: 40 },
  ...{ joules: 500.5, joulesAbove: 100.25, seconds: 60 },
  ...over,
})

async function read(energy: EnergyStore, range?: DayRange): Promise<EnergyEntry[]> {
  const entries: EnergyEntry[] = []
  for await (const one of energy.days(range)) entries.push(one)
  return entries
}

t.test('what is added on one day becomes one figure for each service', async (t) => {
  const { energy } = await open(t)
  t.strictSame(await energy.totals(), { services: new Map() }, 'nothing before')
  await energy.add(NOON, new Map([['llm', figures()]]))
  await energy.add(
    ms(NOON + 60_000),
    new Map([
      ['llm', figures({ relays: 1, joules: 0.25 })],
      ['embed', figures({ joules: 7 })],
    ]),
  )
  const day = '2026-11-29'
  const llm = addEnergy(figures(), figures({ relays: 1, joules: 0.25 }))
  t.strictSame(await read(energy), [
    { day, serviceId: 'embed', ...figures({ joules: 7 }) },
    { day, serviceId: 'llm', ...llm },
  ])
  t.match(llm, { relays: 3, joules: 500.75, seconds: 120 })
})

t.test('a day is one of UTC, and days are read in order, both ends included', async (t) => {
  const { energy } = await open(t)
  const moments = ['2026-12-01T00:00:00Z', '2026-11-30T23:59:59.999Z', '2026-09-09T05:00:00Z']
  for (const moment of moments) await energy.add(at(moment), new Map([['llm', figures()]]))
  await energy.add(at('2026-11-30T00:00:00Z'), new Map([[NOBODY, figures({ relays: 0 })]]))
  const days = async (range?: DayRange) =>
    (await read(energy, range)).map(({ day, serviceId }) => `${day} ${serviceId}`)
  const all = ['2026-09-09 llm', '2026-11-30 ', '2026-11-30 llm', '2026-12-01 llm']
  t.strictSame(await days(), all)
  t.strictSame(await days({ from: '2026-11-30', to: '2026-11-30' }), all.slice(1, 3))
  t.strictSame(await days({ from: '2026-11-30' }), all.slice(1))
  t.strictSame(await days({ to: '2026-11-29' }), all.slice(0, 1))
  t.match(await energy.totals({ from: '2026-10-01' }), { since: '2026-11-30' })
  const { since, services } = await energy.totals()
  t.equal(since, '2026-09-09')
  t.match(services.get('llm'), { relays: 6, joules: 1_501.5 })
  t.match(services.get(NOBODY), { relays: 0, joules: 500.5 })
})

t.test('it is there after the next start, and old databases have none', async (t) => {
  const path = join(t.testdir(), 'db')
  const first = await openStore(path, storeDeps())
  await first.relays.record(sessionKey(), relay('one'))
  await first.close()
  const second = await openStore(path, storeDeps())
  t.strictSame(await second.energy.totals(), { services: new Map() })
  await second.energy.add(NOON, new Map([['größe', figures()]]))
  await second.close()
  await t.rejects(second.energy.add(NOON, new Map([['llm', figures()]])), { code: 'STORE_CLOSED' })
  const third = await open(t, path)
  t.match(await read(third.energy), [{ serviceId: 'größe', ...figures() }])
  t.equal(await third.relays.served(sessionKey()), 1)
})

t.test('figures are no evidence that something was served', async (t) => {
  const store = await open(t)
  await store.energy.add(NOON, new Map([[NOBODY, figures({ relays: 0 })]]))
  t.equal(await store.isEmpty(), true)
})

t.test('nothing is lost when several add at once', async (t) => {
  const { energy } = await open(t)
  const one = new Map([['llm', figures({ joules: 1 })]])
  await Promise.all(Array.from({ length: 50 }, () => energy.add(NOON, one)))
  t.match((await energy.totals()).services.get('llm'), { relays: 100, joules: 50 })
})

t.test('days are kept for 400 days', async (t) => {
  const { energy } = await open(t)
  const one = new Map([['llm', figures()]])
  for (const days of [402, 401, 400]) await energy.add(ms(NOON - days * DAY), one)
  t.equal((await read(energy)).length, 3)
  await energy.add(NOON, one)
  t.equal((await energy.totals()).since, '2025-10-25')
  t.equal((await read(energy)).length, 2)
  await energy.add(ms(5_000), one)
  t.equal((await read(energy)).length, 3, 'a clock that was never set drops nothing')
})

t.test('one write each time, and none for nothing', async (t) => {
  const writes: (readonly Operation[])[] = []
  const write: Write = async (operations) => void writes.push(operations)
  const values = new Map<string, Uint8Array>()
  const table = {
    get: async (key: Uint8Array) => values.get(String(key)),
    put: (key: Uint8Array, value: Uint8Array) => ({ type: 'put', key, value }),
    async *keys() {},
  }
  const energy = new EnergyStore({ energy: table as never, write, log: silentLog() })
  await energy.add(NOON, new Map())
  t.equal(writes.length, 0)
  const both = new Map(['a', 'b'].map((id) => [id, figures()]))
  await energy.add(NOON, both)
  t.strictSame(
    writes.map((operations) => operations.length),
    [2],
  )
})

t.test('a damaged figure is passed over and begun anew', async (t) => {
  const path = join(t.testdir(), 'db')
  const store = await openStore(path, storeDeps())
  for (const id of ['a', 'b']) await store.energy.add(NOON, new Map([[id, figures()]]))
  await store.close()
  const level = new Level<Uint8Array, Uint8Array>(path, {
    keyEncoding: 'view',
    valueEncoding: 'view',
  })
  const part = level.sublevel<Uint8Array, Uint8Array>('energy', {
    keyEncoding: 'view',
    valueEncoding: 'view',
  })
  const key = utf8('2026-11-29a')
  const value = await part.get(key)
  if (value !== undefined) value[value.length - 3] = (value[value.length - 3] ?? 0) ^ 1
  await part.put(key, value ?? new Uint8Array())
  await level.close()
  const { energy } = await open(t, path)
  t.strictSame([...(await energy.totals()).services.keys()], ['b'])
  await energy.add(NOON, new Map([['a', figures({ relays: 9 })]]))
  t.match((await energy.totals()).services.get('a'), { relays: 9 })
})

t.test('sums are sums, and what is no figure is a bug of ours', async (t) => {
  const { energy } = await open(t)
  for (const joules of [-1, Number.NaN, Number.POSITIVE_INFINITY])
    await t.rejects(energy.add(NOON, new Map([['llm', figures({ joules })]])), { name: /Assert/ })
  await t.rejects(read(energy, { from: '2026' }), { name: /Assert/ })
  t.equal((await read(energy)).length, 0)
  const any = anyOf({
    ...{ relays: fc.nat(), promptTokens: fc.nat(), completionTokens: fc.nat() },
    ...{ joules: fc.nat(), joulesAbove: fc.nat(), seconds: fc.nat() },
  })
  fc.assert(
    fc.property(any, any, (a, b) => {
      deepEqual(addEnergy(a, NO_ENERGY), a)
      deepEqual(addEnergy(a, b), addEnergy(b, a))
    }),
  )
})
