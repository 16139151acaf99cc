/**
 * Which messages go into one transaction, and how much gas it may use where that cannot be simulated.
 * Tests: test/miner/submit.ts.
 */
import type { Any } from '../protocol/gen/google/protobuf/any.ts'
import type { SessionRecord } from '../store/sessions.ts'

/** One message and the session that it is for. */
export interface Item {
  readonly session: SessionRecord
  readonly message: Any
}

/** Stock nodes refuse transactions above 1 MiB; the rest of a transaction is small. */
const BATCH_BYTES_MAX = 900_000
const BATCH_MESSAGES_MAX = 100

/** As few transactions as fit, in the order of the items. A message that is too large goes alone. */
export function batches(items: readonly Item[]): Item[][] {
  const out: Item[][] = []
  let bytes = Number.POSITIVE_INFINITY
  for (const item of items) {
    const size = item.message.value.length
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

/** Where a window is too short to simulate inside it: well above what claims and proofs were seen to use. */
export function gasFor(batch: readonly Item[]): bigint {
  const bytes = batch.reduce((sum, { message }) => sum + message.value.length, 0)
  return BigInt(100_000 + 200_000 * batch.length + 20 * bytes)
}
