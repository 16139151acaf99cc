import { deepEqual } from 'node:assert/strict'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { height, upokt } from '../../src/base/units.ts'
import { openStore } from '../../src/store/db.ts'
import { encodeSessionKey, type HeightRange, sessionKeyText } from '../../src/store/keys.ts'
import { decodeEntry, encodeEntry, type Ledger, type LedgerEntry } from '../../src/store/ledger.ts'
import { entry, sessionKey, storeDeps } from '../support/store.ts'
import { anyEntry } from '../support/store-any.ts'

async function openLedger(t: Test): Promise<Ledger> {
  const store = await openStore(`${t.testdir()}/db`, storeDeps())
  t.teardown(() => store.close())
  return store.ledger
}

async function read(ledger: Ledger, range?: HeightRange): Promise<LedgerEntry[]> {
  const entries: LedgerEntry[] = []
  for await (const one of ledger.entries(range)) entries.push(one)
  return entries
}

t.test('any entry comes back as it went in', async () => {
  fc.assert(
    fc.property(anyEntry, (entry) => {
      const key = encodeSessionKey(entry.key)
      deepEqual(decodeEntry(key, encodeEntry(key, entry)), entry)
    }),
  )
})

t.test('a session is booked once, however often', async (t) => {
  const ledger = await openLedger(t)
  await ledger.book(entry(sessionKey(), { rewards: upokt(1) }))
  await ledger.book(entry(sessionKey(), { rewards: upokt(2) }))
  t.strictSame(await read(ledger), [entry(sessionKey(), { rewards: upokt(2) })])
  t.match(await ledger.totals(), { sessions: 1, rewards: 2n })
})

t.test('entries are read by range of session ends, both included', async (t) => {
  const ledger = await openLedger(t)
  for (const end of [300, 60, 120, 180]) await ledger.book(entry(sessionKey(end)))
  const ends = async (range?: HeightRange) => (await read(ledger, range)).map(({ key }) => key.end)
  t.strictSame(await ends(), [60, 120, 180, 300])
  t.strictSame(await ends({ from: height(120), to: height(180) }), [120, 180])
  t.strictSame(await ends({ from: height(121) }), [180, 300])
  t.strictSame(await ends({ to: height(119) }), [60])
  t.match(await ledger.totals({ from: height(120) }), { sessions: 3, served: 30 })
})

t.test('totals are the sums, and losses are told by outcome and reason', async (t) => {
  const ledger = await openLedger(t)
  const nothing = await ledger.totals()
  t.strictSame(nothing, {
    sessions: 0,
    served: 0,
    claimed: 0n,
    settled: 0n,
    rewards: 0n,
    lost: 0n,
    unseen: 0n,
    losses: [],
  })
  const lost = (outcome: LedgerEntry['outcome'], reason: string, amount: number) => ({
    outcome,
    reason,
    settled: upokt(0),
    rewards: upokt(0),
    lost: upokt(amount),
  })
  await ledger.book(entry(sessionKey(60)))
  await ledger.book(entry(sessionKey(60, 'b'), lost('claim-missed', 'node down', 100)))
  await ledger.book(entry(sessionKey(120), lost('expired', 'proof missing', 500)))
  await ledger.book(entry(sessionKey(180), lost('claim-missed', 'node down', 250)))
  await ledger.book(entry(sessionKey(180, 'c'), lost('claim-missed', 'no money', 50)))
  await ledger.book(entry(sessionKey(240), { ...lost('unseen', 'no results', 0) }))
  t.strictSame(await ledger.totals(), {
    sessions: 6,
    served: 60,
    claimed: 6_000n,
    settled: 900n,
    rewards: 630n,
    lost: 900n,
    unseen: 1_000n,
    losses: [
      { outcome: 'expired', reason: 'proof missing', sessions: 1, lost: 500n },
      { outcome: 'claim-missed', reason: 'node down', sessions: 2, lost: 350n },
      { outcome: 'claim-missed', reason: 'no money', sessions: 1, lost: 50n },
    ],
  })
})

t.test('the list of losses stays short, its sum whole', async (t) => {
  const ledger = await openLedger(t)
  const lost = { outcome: 'expired', lost: upokt(3) } as const
  const booked = Array.from({ length: 150 }, (_, i) =>
    ledger.book(entry(sessionKey(i + 1), { ...lost, reason: `reason ${i}` })),
  )
  await Promise.all(booked)
  const { losses } = await ledger.totals()
  t.equal(losses.length, 101)
  t.equal(
    losses.reduce((sum, loss) => sum + loss.lost, 0n),
    450n,
  )
  t.strictSame(losses[0], {
    outcome: 'expired',
    reason: 'other reasons',
    sessions: 50,
    lost: 150n,
  })
})

t.test('totals of any entries are what a plain sum gives', async (t) => {
  const ledger = await openLedger(t)
  const booked = new Map<string, LedgerEntry>()
  for (const one of fc.sample(anyEntry, 50)) {
    booked.set(sessionKeyText(one.key), one)
    await ledger.book(one)
  }
  const sum = (of: (entry: LedgerEntry) => bigint) =>
    [...booked.values()].reduce((all, one) => all + of(one), 0n)
  const totals = await ledger.totals()
  t.equal(totals.sessions, booked.size)
  t.equal(
    BigInt(totals.served),
    sum((one) => BigInt(one.served)),
  )
  t.equal(
    totals.claimed,
    sum((one) => one.claimed),
  )
  t.equal(
    totals.settled,
    sum((one) => one.settled),
  )
  t.equal(
    totals.rewards,
    sum((one) => one.rewards),
  )
  t.equal(
    totals.lost,
    sum((one) => one.lost),
  )
})
