/**
 * How fast a session's root and its closest proof are folded, and in how much memory.
 *
 * Run with `npx tsc && node dist/scripts/bench/smst.js`. Leaves are made in sorted order, a batch at a
 * time and outside the measured time, with paths spread as hashes are. The memory is what the process
 * grew by after all code had run once; the last column is the share of the time that hashing as many
 * inner nodes takes alone, measured right after.
 */
import { hash } from 'node:crypto'
import { sha256, u64 } from '../../src/base/bytes.ts'
import { systemClock } from '../../src/base/clock.ts'
import { ClosestFold, type Leaf, RootFold } from '../../src/smst/fold.ts'
import { DIGEST_BYTES, PATH_BYTES } from '../../src/smst/node.ts'

type Fold = RootFold | ClosestFold

const SIZES = [1_000, 100_000, 1_000_000]
const BATCH = 1_000
const INNER_BYTES = 113
/** In a tree of random paths: one that joins each leaf to the others, and those with one child. */
const NODES_PER_LEAF = 1.44
const HASHES = 200_000
/** Small trees are folded again until this many leaves were measured. */
const LEAVES_MIN = 200_000
const MEBIBYTE = 2 ** 20
const POSITION_BITS = 48
/** Room at the end for gaps that add up to more than was expected. */
const FILL = 0.8

/** Leaves in ascending order, as far apart as sorted random paths are. */
class Source {
  readonly #gap: number
  #position = 0
  #count = 0

  constructor(total: number) {
    this.#gap = (FILL * 2 ** POSITION_BITS) / total
  }

  fill(batch: readonly Leaf[]): void {
    for (const { path, digest } of batch) {
      path.set(sha256(u64(this.#count++)))
      digest.set(path)
      digest.fill(0, 32)
      digest[39] = 100
      digest[47] = 1
      const view = new DataView(path.buffer)
      const chance = (view.getUint32(8) + 1) / 2 ** 32
      this.#position += 1 + Math.floor(-Math.log(chance) * this.#gap)
      view.setUint32(0, Math.floor(this.#position / 2 ** 16))
      view.setUint16(4, this.#position % 2 ** 16)
    }
  }
}

function measure(tree: Fold, leaves: number): { ms: number; rss: number } {
  const batch = Array.from({ length: Math.min(BATCH, leaves) }, () => ({
    path: new Uint8Array(PATH_BYTES),
    digest: new Uint8Array(DIGEST_BYTES),
  }))
  const source = new Source(leaves)
  let ms = 0
  let rss = 0
  for (let done = 0; done < leaves; done += batch.length) {
    source.fill(batch)
    const start = systemClock.monotonic()
    for (const leaf of batch) tree.push(leaf.path, leaf.digest)
    ms += systemClock.monotonic() - start
    rss = Math.max(rss, process.memoryUsage.rss())
  }
  const start = systemClock.monotonic()
  tree.finish()
  return { ms: ms + systemClock.monotonic() - start, rss }
}

/** Hashes of an inner node's encoding in a millisecond. */
function hashRate(): number {
  const encoding = new Uint8Array(INNER_BYTES)
  const start = systemClock.monotonic()
  for (let i = 0; i < HASHES; i++) hash('sha256', encoding, 'binary')
  return HASHES / (systemClock.monotonic() - start)
}

function report(name: string, fold: () => Fold, base: number): void {
  for (const leaves of SIZES) {
    const rounds = Math.max(1, Math.round(LEAVES_MIN / leaves))
    const runs = Array.from({ length: rounds }, () => measure(fold(), leaves))
    const ms = runs.reduce((sum, run) => sum + run.ms, 0) / rounds
    const rss = Math.max(...runs.map((run) => run.rss))
    const share = (leaves * NODES_PER_LEAF) / hashRate() / ms
    const cells = [
      name.padEnd(14),
      `${leaves} leaves`.padStart(15),
      `${ms.toFixed(1)} ms`.padStart(11),
      `${Math.round((leaves / ms) * 1_000)} leaves/s`.padStart(18),
      `+${(Math.max(0, rss - base) / MEBIBYTE).toFixed(1)} MiB`.padStart(11),
      `${share.toFixed(2)} sha256`.padStart(13),
    ]
    process.stdout.write(`${cells.join('')}\n`)
  }
}

const cases: Readonly<Record<string, () => Fold>> = {
  root: () => new RootFold(),
  'closest, low': () => new ClosestFold(new Uint8Array(PATH_BYTES)),
  'closest, mid': () => new ClosestFold(sha256(u64(1))),
  'closest, high': () => new ClosestFold(new Uint8Array(PATH_BYTES).fill(0xff)),
}
for (const fold of Object.values(cases)) measure(fold(), LEAVES_MIN)
process.stdout.write(`node ${process.version}, ${Math.round(hashRate() * 1_000)} hashes/s\n`)
const base = process.memoryUsage.rss()
for (const [name, fold] of Object.entries(cases)) report(name, fold, base)
