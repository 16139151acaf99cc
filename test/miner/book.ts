import t from 'tap'
import { height, upokt } from '../../src/base/units.ts'
import { Book, type BookDeps, byValue, claimValue, requireRoot } from '../../src/miner/book.ts'
import type { LedgerEntry } from '../../src/store/ledger.ts'
import type { SessionRecord } from '../../src/store/sessions.ts'
import { Stage } from '../support/miner-stage.ts'
import { recordingLog } from '../support/miner-world.ts'
import { root, session } from '../support/sessions.ts'

const proven = session({ at: 'proven', root: root(5_000n, 5n) })

function book(over: Partial<BookDeps['store']> = {}) {
  const written: { record: SessionRecord; entry: LedgerEntry }[] = []
  const steps: string[] = []
  const pruned: number[] = []
  const { log, lines } = recordingLog()
  const made = new Book({
    store: {
      finish: async (record, entry) => {
        steps.push('written')
        written.push({ record, entry })
      },
      prune: async (before) => pruned.push(before),
      relays: { served: async () => 7 },
      ...over,
    },
    forget: () => void steps.push('forgotten'),
    log,
  })
  return { book: made, written, steps, pruned, lines }
}

t.test('what was paid is booked, and what was not is a loss', async (t) => {
  const { book: made, written, steps, lines } = book()
  const settled = upokt(4_000)
  const reason = "the application's stake bore no more"
  const rewards = upokt(2_800)
  await made.finish(proven, height(20), { outcome: 'settled', reason, settled, rewards })
  t.match(written, [
    {
      record: { state: { at: 'done', outcome: 'settled' }, since: 20, reason },
      entry: {
        key: proven.key,
        serviceId: 'text',
        served: 7,
        count: 5n,
        sum: 5_000n,
        claimed: 5_000n,
        settled: 4_000n,
        rewards: 2_800n,
        lost: 1_000n,
        height: 20,
      },
    },
  ])
  t.strictSame(steps, ['written', 'forgotten'])
  t.match(lines, [{ level: 'info', msg: 'session settled', upokt: '4000' }])
})

t.test('a loss is an error in the log, with its amount and reason', async (t) => {
  const { book: made, written, lines } = book()
  await made.finish(proven, height(20), { outcome: 'expired', reason: 'PROOF_MISSING' })
  t.match(written[0]?.entry, { settled: 0n, rewards: 0n, lost: 5_000n, outcome: 'expired' })
  t.match(lines, [{ level: 'error', msg: 'session lost', upokt: '5000', reason: 'PROOF_MISSING' }])
})

t.test('what nobody saw is neither paid nor lost', async (t) => {
  const { book: made, written, lines } = book()
  await made.finish(proven, height(40), { outcome: 'unseen', reason: 'no node tells' })
  t.match(written[0]?.entry, { claimed: 5_000n, settled: 0n, lost: 0n, outcome: 'unseen' })
  t.match(lines, [{ level: 'warn', msg: 'session ended unseen', upokt: '5000' }])
})

t.test('a session without a root has nothing to lose', async (t) => {
  const { book: made, written, lines } = book()
  const serving = session({ at: 'serving' })
  await made.finish(serving, height(12), { outcome: 'empty', reason: 'no relay was mined' })
  t.match(written[0]?.entry, { served: 7, count: 0n, sum: 0n, claimed: 0n, lost: 0n })
  t.equal(written[0]?.record.state.at === 'done' && written[0].record.state.root, undefined)
  t.match(lines, [{ level: 'info', msg: 'session ended' }])
})

t.test('what could not be written is not forgotten', async (t) => {
  const { book: made, steps } = book({ finish: () => Promise.reject(new Error('disk full')) })
  await t.rejects(made.finish(proven, height(20), { outcome: 'expired', reason: '' }), {
    message: 'disk full',
  })
  t.strictSame(steps, [])
})

t.test('records of sessions that are long done do not pile up', async (t) => {
  const { book: made, pruned } = book()
  await made.finish(proven, height(100), { outcome: 'expired', reason: '' })
  t.strictSame(pruned, [])
  await made.finish(proven, height(180), { outcome: 'expired', reason: '' })
  t.strictSame(pruned, [80])
  for (const at of [180, 179, 180])
    await made.finish(proven, height(at), { outcome: 'settled', reason: '' })
  t.strictSame(pruned, [80], 'once a block, however many sessions end in it')
  await made.finish(proven, height(181), { outcome: 'settled', reason: '' })
  t.strictSame(pruned, [80, 81])
  const failing = book({ prune: () => Promise.reject(new Error('disk full')) })
  await failing.book.finish(proven, height(180), { outcome: 'expired', reason: '' })
  t.strictSame(failing.steps, ['written', 'forgotten'], 'that can wait')
})

t.test('the relays are dropped with the entry, and not before', async (t) => {
  const stage = await Stage.open(t, 12)
  const sealed = await stage.sealed('a', 3)
  t.equal(await stage.store.relays.served(sealed.key), 3)
  await stage.world.book.finish(sealed, height(20), { outcome: 'expired', reason: 'x' })
  t.equal(await stage.store.relays.served(sealed.key), 0)
  t.match(await stage.entry(sealed), { served: 3, lost: 3_000n })
  t.strictSame(await stage.store.sessions.open(), [])
  const { gate, intake, meter } = stage.world
  t.equal(gate.size + intake.size + meter.size, 0)
})

t.test('what a session is worth', async (t) => {
  t.equal(claimValue(proven), 5_000n)
  t.equal(claimValue(session({ at: 'serving' })), 0n)
  const half = { ...proven, target: new Uint8Array(32).fill(255).fill(127, 0, 1) }
  t.equal(claimValue(half), 10_000n, 'a harder target makes each leaf stand for more')
  const small = session({ at: 'sealed', root: root(1n, 1n) })
  t.strictSame([small, proven, small].sort(byValue), [proven, small, small])
  t.throws(() => requireRoot(session({ at: 'serving' })), { name: 'AssertionError' })
})
