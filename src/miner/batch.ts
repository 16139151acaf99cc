/**
 * Which messages go into one transaction, and how much gas it may use where that cannot be simulated.
 * Tests: test/miner/split.ts.
 */
import { bytesInTx } from '../chain/tx.ts'
import type { Any } from '../protocol/gen/google/protobuf/any.ts'
import type { SessionRecord } from '../store/sessions.ts'

/** One message and the session that it is for. */
export interface Item {
  readonly session: SessionRecord
  readonly message: Any
}

/**
 * Far below what a stock node simulates (half a megabyte), since every session of a transaction is
 * written down with all of its bytes. Some seventy usual proofs, or more claims than messages.
 */
const BATCH_BYTES_MAX = 200_000
const BATCH_MESSAGES_MAX = 100
/** Of each byte: read, signed for, and stored with the proof. */
const GAS_PER_BYTE = 60

/** As few transactions as fit, in the order of the items. A message that is too large goes alone. */
export function batches(items: readonly Item[]): Item[][] {
  const out: Item[][] = []
  let bytes = Number.POSITIVE_INFINITY
  for (const item of items) {
    const size = bytesInTx(item.message)
    const last = out.at(-1)
    if (last === undefined || bytes + size > BATCH_BYTES_MAX || last.length >= BATCH_MESSAGES_MAX) {
      out.push([item])
      bytes = size
    } else {
      last.push(item)
      bytes += size
    }
  }
  return out
}

/** Where nothing can be simulated: well above what claims and proofs were seen to use. */
export function gasFor(batch: readonly Item[]): bigint {
  const bytes = batch.reduce((sum, { message }) => sum + bytesInTx(message), 0)
  return BigInt(100_000 + 200_000 * batch.length + GAS_PER_BYTE * bytes)
}
