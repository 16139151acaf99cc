/**
 * The head of a GGUF file that is somewhere else, by pieces of it: nothing is downloaded but the head.
 *
 * Who brings the pieces is handed in, so that the rules of HTTP stay in one place. The pieces grow, because
 * most heads end within some megabytes and each piece costs a round trip. Tested by test/models/gguf-remote.ts.
 */
import {
  broken,
  type GgufHead,
  HEAD_FIRST,
  HEAD_GROWTH,
  HEAD_MAX,
  numberOf,
  parseGgufHead,
} from './gguf.ts'

/**
 * Brings `length` bytes from byte `from` on, fewer only where the file ends.
 * It throws its own errors, and `signal.reason`.
 */
export type RangeReader = (from: number, length: number, signal: AbortSignal) => Promise<Uint8Array>

/** Files of one model. */
const SHARDS_MAX = 512

/**
 * @param headMax bytes: a head that goes on beyond them is refused
 * @throws ModelError MODEL_LOAD: it is not a GGUF, or its head has no end; what `reader` throws; `signal.reason`
 */
export async function readRemoteGguf(
  reader: RangeReader,
  signal: AbortSignal,
  headMax: number = HEAD_MAX,
): Promise<GgufHead> {
  let head = Buffer.alloc(0)
  for (let until = HEAD_FIRST; ; until *= HEAD_GROWTH) {
    signal.throwIfAborted()
    const asked = Math.min(until, headMax) - head.length
    const piece = (await reader(head.length, asked, signal)).subarray(0, asked)
    signal.throwIfAborted()
    head = Buffer.concat([head, piece])
    const parsed = parseGgufHead(head)
    if (parsed !== undefined) return parsed
    if (piece.length < asked) throw broken('it ends within its head')
    if (until >= headMax) throw broken(`its head is longer than ${headMax} bytes`)
  }
}

/**
 * Heads of all files of a model, in order; how many there are is said by the first one.
 * @param readerOf brings bytes of the file with this number, from 0 on
 * @throws as `readRemoteGguf`
 */
export async function readRemoteHeads(
  readerOf: (shard: number) => RangeReader,
  signal: AbortSignal,
): Promise<GgufHead[]> {
  const first = await readRemoteGguf(readerOf(0), signal)
  const count = numberOf(first.metadata, 'split.count') ?? 1
  if (count > SHARDS_MAX) throw broken(`it has ${count} parts`)
  const heads = [first]
  for (let shard = 1; shard < count; shard++) {
    const head = await readRemoteGguf(readerOf(shard), signal)
    const number = numberOf(head.metadata, 'split.no')
    if (number !== shard) throw broken(`part ${shard + 1} of it says that it is another one`)
    heads.push(head)
  }
  return heads
}
