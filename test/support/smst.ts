/** Tries from the golden files, and the trie by its plain definition: slow, recursive, obvious. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { compare, concat, equal, sha256, u64, unhex } from '../../src/base/bytes.ts'
import { packageRoot } from '../../src/config/root.ts'
import type { Closest } from '../../src/smst/fold.ts'
import { leafDigest, PLACEHOLDER } from '../../src/smst/node.ts'

export interface TestLeaf {
  path: Uint8Array
  value: Uint8Array
  weight: bigint
  digest: Uint8Array
}

export function testLeaf(path: Uint8Array, value: Uint8Array, weight: bigint): TestLeaf {
  return { path, value, weight, digest: leafDigest(path, value, weight) }
}

/** What a store would hold: one leaf for each path, the last one put there, in order. */
export function sorted(leaves: readonly TestLeaf[]): TestLeaf[] {
  const kept = new Map(leaves.map((leaf) => [String(leaf.path), leaf]))
  return [...kept.values()].sort((a, b) => compare(a.path, b.path))
}

export interface ProofRow {
  path: string
  flipped_bits: number[]
  depth: number
  closest_path: string
  closest_value_hash: string
  side_nodes: string[]
  sibling_data: string
  compact?: { bit_mask: string; num_side_nodes: number; side_nodes_count: number }
  gob?: string
  gob_len: number
  gob_sha256: string
  gob_bare_len: number
  gob_bare_sha256: string
  verify: boolean
  verify_bare: boolean
}

export interface TrieRow {
  id: string
  kind: string
  path_mode: 'sha256' | 'identity'
  leaves?: { key: string; value: string; weight: string }[]
  leaves_by_seed?: { seed: string; n: number; vlen: number; weight?: string }
  root: string
  sum: string
  count: string
  proofs?: ProofRow[]
}

/** The rows with a trie; rows of kind `verdict` have none. */
export async function trieRows(): Promise<TrieRow[]> {
  const text = await readFile(join(packageRoot(), 'test/vectors/smst.jsonl'), 'utf8')
  const rows = text.trimEnd().split('\n')
  return rows.map((line) => JSON.parse(line) as TrieRow).filter(({ kind }) => kind !== 'verdict')
}

export function leavesOf(row: TrieRow): TestLeaf[] {
  const given = (row.leaves ?? []).map(({ key, value, weight }) => {
    const path = row.path_mode === 'identity' ? unhex(key) : sha256(unhex(key))
    return testLeaf(path, unhex(value), BigInt(weight))
  })
  return sorted([...given, ...seeded(row.leaves_by_seed)])
}

function seeded(from: TrieRow['leaves_by_seed']): TestLeaf[] {
  if (from === undefined) return []
  const seed = unhex(from.seed)
  return Array.from({ length: from.n }, (_, i) => {
    const number = u64(i).subarray(4)
    const digest = sha256(concat(seed, number))
    const value = new Uint8Array(from.vlen).map((_, at) => digest[at % 32] ?? 0)
    const drawn = 1 + (new DataView(digest.buffer, digest.byteOffset).getUint32(0) % 1000)
    const path = sha256(sha256(concat(value, number)))
    return testLeaf(path, value, BigInt(from.weight ?? drawn))
  })
}

export function plainBit(path: Uint8Array, depth: number): string {
  const bits = (path[Math.floor(depth / 8)] ?? 0).toString(2).padStart(8, '0')
  return bits[depth % 8] ?? ''
}

/** An inner node's digest with nothing shared with the code under test but the hash. */
export function plainInner(left: Uint8Array, right: Uint8Array): Uint8Array {
  const number = (digest: Uint8Array, at: number) => Buffer.from(digest).readBigUInt64BE(at)
  const total = (at: number) => u64(BigInt.asUintN(64, number(left, at) + number(right, at)))
  const meta = concat(total(32), total(40))
  return concat(sha256(concat(new Uint8Array([1]), left, right, meta)), meta)
}

export function plainRoot(leaves: readonly TestLeaf[], depth = 0): Uint8Array {
  const [first, second] = leaves
  if (first === undefined) return PLACEHOLDER
  if (second === undefined) return first.digest
  const side = (bit: string) => leaves.filter(({ path }) => plainBit(path, depth) === bit)
  return plainInner(plainRoot(side('0'), depth + 1), plainRoot(side('1'), depth + 1))
}

export function plainClosest(leaves: readonly TestLeaf[], target: Uint8Array): Closest {
  const flippedBits: number[] = []
  const sideNodes: Uint8Array[] = []
  let here = [...leaves]
  for (let depth = 0; here.length > 1; depth++) {
    const wanted = plainBit(target, depth)
    let near = here.filter(({ path }) => plainBit(path, depth) === wanted)
    let far = here.filter(({ path }) => plainBit(path, depth) !== wanted)
    if (near.length === 0) {
      flippedBits.push(depth)
      near = far
      far = []
    }
    sideNodes.unshift(plainRoot(far, depth + 1))
    here = near
  }
  const [leaf] = here
  if (leaf === undefined) throw new RangeError('no leaves')
  const { path, digest } = leaf
  return { target, path, digest, flippedBits, sideNodes, root: plainRoot(leaves) }
}

export function leafAt(leaves: readonly TestLeaf[], path: Uint8Array): TestLeaf {
  const leaf = leaves.find((each) => equal(each.path, path))
  if (leaf === undefined) throw new RangeError('no such leaf')
  return leaf
}

/** `{0 … count−1}` of the Go examples: relay-i under the hash of its hash, weight 100. */
export function exampleLeaves(count: number): TestLeaf[] {
  return sorted(
    Array.from({ length: count }, (_, i) => {
      const value = new TextEncoder().encode(`relay-${i}`)
      return testLeaf(sha256(sha256(value)), value, 100n)
    }),
  )
}
