import t from 'tap'
import { concat } from '../../src/base/bytes.ts'
import { height, ms, upokt } from '../../src/base/units.ts'
import { createClaimMessage, submitProofMessage } from '../../src/chain/stake.ts'
import { signTx, timestampAfter } from '../../src/chain/tx.ts'
import { batches, gasFor, type Item } from '../../src/miner/batch.ts'
import { afterFailure } from '../../src/miner/split.ts'
import type { Submission } from '../../src/store/sessions.ts'
import { bytesOf } from '../support/miner-rules.ts'
import { OPERATOR, root, session, submission } from '../support/sessions.ts'

const R = root(5000n, 5n)
const NODE_BYTES_MAX = 1_048_576
const CALL_BYTES_MAX = 1_000_000

/** Proofs of this many bytes. */
function proofs(size: number, count: number): Item[] {
  return Array.from({ length: count }, (_, n) => {
    const record = session({ at: 'claimed', root: R }, { name: `${n}` })
    const message = submitProofMessage(OPERATOR, record.header, new Uint8Array(size))
    return { session: record, message }
  })
}

/** Of the signed transaction. */
function sizeOf(batch: readonly Item[]): number {
  const signer = { publicKey: new Uint8Array(33), sign: () => new Uint8Array(64) }
  const tx = {
    messages: batch.map(({ message }) => message),
    timeoutHeight: height(2 ** 40),
    timeoutAt: timestampAfter(ms(2_000_000_000_000), 999_999_999n),
    ...{ unordered: true, sequence: 0n, gas: 2n ** 40n, fee: upokt(2n ** 40n) },
  }
  return signTx(signer, tx, { chainId: 'pocket', accountNumber: 2n ** 40n }).length
}

t.test('transactions are as few as fit', async (t) => {
  const counts = (items: Item[]) => batches(items).map((batch) => batch.length)
  t.strictSame(counts([]), [])
  t.strictSame(counts(proofs(10, 100)), [100])
  t.strictSame(counts(proofs(10, 201)), [100, 100, 1], 'no more than a hundred messages')
  t.strictSame(counts(proofs(90_000, 5)), [2, 2, 1], 'nor more bytes than are sensible')
  t.strictSame(counts(proofs(520_000, 2)), [1, 1], 'what fits nowhere goes alone')
  const items = proofs(2_000, 250)
  t.strictSame(batches(items).flat(), items, 'all of them, in order')
})

t.test('what is measured is what is sent: a node takes every batch', async (t) => {
  for (const size of [1, 100, 127, 128, 1_500, 3_000, 16_383, 16_384, 60_000, 199_000]) {
    const sizes = batches(proofs(size, 120)).map(sizeOf)
    const largest = Math.max(...sizes)
    t.ok(largest <= 200_000 + 500, `proofs of ${size} bytes: ${largest}`)
    t.ok(2 * largest + 500 < CALL_BYTES_MAX, `and in hex, to be simulated`)
  }
  const [alone] = batches(proofs(524_288 + 8_000, 1)).map(sizeOf)
  t.ok(alone !== undefined && (alone * 4) / 3 + 500 < CALL_BYTES_MAX && alone < NODE_BYTES_MAX)
})

t.test('gas where nothing is simulated is enough for what is stored', async (t) => {
  const two = proofs(3_000, 2)
  t.ok(gasFor(two) > 600_000n)
  t.ok(gasFor(two) > gasFor(two.slice(1)))
  // Ten for each byte to read, thirty to store it, and what two proofs use beside that.
  const [large] = batches(proofs(530_000, 1))
  t.ok(gasFor(large ?? []) > 530_000n * 40n + 200_000n)
})

const sent = (over: Partial<Submission> = {}): Submission => {
  const messages = ['a', 'b', 'c', 'd'].map((name) =>
    createClaimMessage(OPERATOR, session({ at: 'serving' }, { name }).header, R),
  )
  return submission({ bytes: bytesOf(1, messages), timeoutHeight: height(30), ...over })
}

/** The sessions of the transaction, in another order than its messages. */
const records = ['d', 'b', 'a', 'c'].map((name) => session({ at: 'sealed', root: R }, { name }))
const nameOf = new Map(
  ['a', 'b', 'c', 'd'].map((name) => [session({ at: 'serving' }, { name }).key.sessionId, name]),
)

function parts(tx: Submission, log: string, now: number, some = records): string[] {
  return afterFailure(some, tx, log, { height: height(now) }).map(
    ({ sessions, attempt }) =>
      `${sessions.map(({ key }) => nameOf.get(key.sessionId)).join('')} ${attempt}`,
  )
}

t.test('of a transaction that failed in a block the culprit goes alone', async (t) => {
  const log = 'failed to execute message; message index: 2: mismatch'
  t.strictSame(parts(sent(), log, 13), ['dba 2', 'c 2'], 'named by its place in the transaction')
  t.strictSame(parts(sent(), 'out of gas in location: WriteFlat', 13), ['dbac 2'], 'no culprit')
  t.strictSame(parts(sent(), log, 13, records.slice(0, 1)), ['d 2'])
  const stranger = 'failed to execute message; message index: 9: mismatch'
  t.strictSame(parts(sent(), stranger, 13), ['dbac 2'])
})

t.test('proofs are told apart like claims', async (t) => {
  const messages = ['a', 'b'].map((name) =>
    submitProofMessage(OPERATOR, session({ at: 'serving' }, { name }).header, concat(R, R)),
  )
  const tx = sent({ bytes: bytesOf(1, messages) })
  const log = 'failed to execute message; message index: 0: proof not required'
  const both = records.filter(({ key }) => /[ab]/.test(nameOf.get(key.sessionId) ?? ''))
  t.strictSame(parts(tx, log, 13, both), ['b 2', 'a 2'])
})

t.test('a second failure, or one without time for a third try, parts them all', async (t) => {
  const log = 'failed to execute message; message index: 2: mismatch'
  const alone = (attempt: number) => ['d', 'b', 'a', 'c'].map((name) => `${name} ${attempt}`)
  t.strictSame(parts(sent({ attempt: 2 }), log, 13), alone(3))
  t.strictSame(parts(sent(), log, 28), ['dba 2', 'c 2'], 'block 29 shows it, block 30 mends it')
  t.strictSame(parts(sent(), log, 29), alone(2))
  t.strictSame(parts(sent({ attempt: 2 }), 'out of gas', 13), alone(3))
})
