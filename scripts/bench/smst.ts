/**
 * How fast a session's root and its closest proof are folded, and in how much memory.
 *
 * Run with `npx tsc && node dist/scripts/bench/smst.js`. Leaves are made in sorted order, a batch at a
 * time and outside the measured time; the last column compares with the bare hashing of as many
 * inner nodes' encodings on the same machine, which no implementation in JavaScript can beat.
 */
import { hash } from 'node:crypto'
import { sha256, utf8 } from '../../src/base/bytes.ts'
import { systemClock } from '../../src/base/clock.ts'
import { ClosestFold, type Leaf, RootFold } from '../../src/smst/fold.ts'
import { DIGEST_BYTES, PATH_BYTES } from '../../src/smst/node.ts'

const SIZES = [1_000, 100_000, 1_000_000]
const BATCH = 1_000
const INNER_BYTES = 113
/** Random paths need 1.44 inner nodes a leaf: the one that joins it, and some with one child. */
const NODES_PER_LEAF = 1.44
const HASHES = 200_000
/** Small trees are folded again until this many leaves were measured. */
const LEAVES_MIN = 200_000
const MEBIBYTE = 2 ** 20

/** Spread evenly over the first four bytes in ascending order, random after them. */
function fill(batch: readonly Leaf[], from: number, total: number): void {
  const step = 2 ** 32 / total
  for (const [i, { path, digest }] of batch.entries()) {
    path.set(sha256(utf8(`leaf ${from + i}`)))
    digest.set(path)
    digest.fill(0, 32)
    digest[39] = 100
    digest[47] = 1
    const offset = ((path[4] ?? 0) / 256) * step
    new DataView(path.buffer).setUint32(0, Math.floor((from + i) * step + offset))
  }
}

function measure(fold: () => RootFold | ClosestFold, leaves: number): [ms: number, rss: number] {
  const batch = Array.from({ length: Math.min(BATCH, leaves) }, () => ({
    path: new Uint8Array(PATH_BYTES),
    digest: new Uint8Array(DIGEST_BYTES),
  }))
  let elapsed = 0
  let rss = 0
  const tree = fold()
  for (let from = 0; from < leaves; from += batch.length) {
    fill(batch, from, leaves)
    const start = systemClock.monotonic()
    for (const leaf of batch) tree.push(leaf.path, leaf.digest)
    elapsed += systemClock.monotonic() - start
    rss = Math.max(rss, process.memoryUsage.rss())
  }
  const start = systemClock.monotonic()
  tree.finish()
  return [elapsed + systemClock.monotonic() - start, rss]
}

/** Hashes of an inner node's encoding, a second. */
function hashRate(): number {
  const encoding = new Uint8Array(INNER_BYTES)
  for (let i = 0; i < HASHES; i++) hash('sha256', encoding, 'binary')
  const start = systemClock.monotonic()
  for (let i = 0; i < HASHES; i++) hash('sha256', encoding, 'binary')
  return (HASHES / (systemClock.monotonic() - start)) * 1_000
}

function report(name: string, fold: () => RootFold | ClosestFold, base: number): void {
  for (const leaves of SIZES) {
    const rounds = Math.max(1, Math.round(LEAVES_MIN / leaves))
    let elapsed = 0
    let rss = 0
    for (let round = 0; round < rounds; round++) {
      const [ms, peak] = measure(fold, leaves)
      elapsed += ms
      rss = Math.max(rss, peak)
    }
    const rate = (leaves * rounds * 1_000) / elapsed
    const share = (rate * NODES_PER_LEAF) / hashRate()
    const cells = [
      name.padEnd(14),
      `${leaves} leaves`.padStart(15),
      `${(elapsed / rounds).toFixed(1)} ms`.padStart(12),
      `${Math.round(rate)} leaves/s`.padStart(18),
      `+${((rss - base) / MEBIBYTE).toFixed(1)} MiB`.padStart(11),
      `${share.toFixed(2)} of sha256`.padStart(16),
    ]
    process.stdout.write(`${cells.join('')}\n`)
  }
}

const base = process.memoryUsage.rss()
process.stdout.write(`node ${process.version}, ${Math.round(hashRate())} hashes/s\n`)
report('root', () => new RootFold(), base)
report('closest, low', () => new ClosestFold(new Uint8Array(PATH_BYTES)), base)
report('closest, mid', () => new ClosestFold(sha256(utf8('target'))), base)
report('closest, high', () => new ClosestFold(new Uint8Array(PATH_BYTES).fill(0xff)), base)
