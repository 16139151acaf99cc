/**
 * Nodes of the sparse Merkle sum trie, named by 48-byte digests.
 *
 * A digest is `sha256(encoding) ‖ BE8(sum) ‖ BE8(count)`; the encodings are
 * `00 ‖ path ‖ value ‖ BE8(weight) ‖ BE8(1)` for a leaf and
 * `01 ‖ left ‖ right ‖ BE8(sum) ‖ BE8(count)` for an inner node. The last 16 bytes of an encoding
 * are therefore hashed and repeated in clear. Sums and counts wrap at 2^64, as the chain's do.
 * Source: pokt-network/smt node_encoders.go, hasher.go. Tested by test/smst/node.ts.
 */
import { hash } from 'node:crypto'
import { readU64, u64 } from '../base/bytes.ts'
import { SmstError } from './errors.ts'

export const PATH_BYTES = 32
export const PATH_BITS = 256
export const DIGEST_BYTES = 48
/** Sum and count, at the end of every digest and of every encoding. */
export const META_BYTES = 16

const HASH_BYTES = 32
const LEAF_PREFIX = 0x00
const INNER_PREFIX = 0x01
const LEFT_AT = 1
const RIGHT_AT = LEFT_AT + DIGEST_BYTES
const SUM_AT = RIGHT_AT + DIGEST_BYTES
const COUNT_AT = SUM_AT + 8

/** The digest of an empty subtree, and the root of an empty trie: 48 zero bytes. */
export const PLACEHOLDER: Uint8Array = new Uint8Array(DIGEST_BYTES)

/**
 * @param path 32 bytes
 * @param value the relay's bytes, kept whole in the leaf
 * @param weight compute units of the relay; RangeError outside 0 … 2^64−1
 */
export function leafDigest(path: Uint8Array, value: Uint8Array, weight: bigint): Uint8Array {
  const encoding = new Uint8Array(1 + PATH_BYTES + value.length + META_BYTES)
  encoding[0] = LEAF_PREFIX
  encoding.set(path, 1)
  encoding.set(value, 1 + PATH_BYTES)
  encoding.set(u64(weight), encoding.length - META_BYTES)
  encoding[encoding.length - 1] = 1
  return digestOf(encoding)
}

export function innerDigest(left: Uint8Array, right: Uint8Array): Uint8Array {
  const node = new InnerNode()
  node.setLeft(left)
  node.setRight(right)
  const digest = new Uint8Array(DIGEST_BYTES)
  node.digestInto(digest)
  return digest
}

/** The digest of any encoding but an extension's: its hash, then its last 16 bytes. */
export function digestOf(encoding: Uint8Array): Uint8Array {
  const digest = new Uint8Array(DIGEST_BYTES)
  hashInto(encoding, digest)
  digest.set(encoding.subarray(encoding.length - META_BYTES), HASH_BYTES)
  return digest
}

/** The compute units of all leaves below `root`. @throws SmstError DIGEST */
export function sumOf(root: Uint8Array): bigint {
  return readU64(checked(root), HASH_BYTES)
}

/** The number of leaves below `root`. @throws SmstError DIGEST */
export function countOf(root: Uint8Array): bigint {
  return readU64(checked(root), HASH_BYTES + 8)
}

/** Bit `depth` of a path, most significant bit first: 0 goes left, 1 goes right. */
export function bitAt(path: Uint8Array, depth: number): 0 | 1 {
  return (((path[depth >> 3] ?? 0) >> (7 - (depth & 7))) & 1) as 0 | 1
}

/** An inner node's encoding, to be filled again and again: folding a million leaves allocates nothing. */
export class InnerNode {
  readonly #encoding = new Uint8Array(COUNT_AT + 8)
  readonly #view = new DataView(this.#encoding.buffer)

  constructor() {
    this.#encoding[0] = INNER_PREFIX
  }

  /** The left child's digest, as a view that the next `setLeft` changes. */
  readonly left: Uint8Array = this.#encoding.subarray(LEFT_AT, RIGHT_AT)

  setLeft(digest: Uint8Array): void {
    this.#encoding.set(digest, LEFT_AT)
  }

  setRight(digest: Uint8Array): void {
    this.#encoding.set(digest, RIGHT_AT)
  }

  /** Adds up sums and counts and writes the node's digest; `out` may be one of the children's. */
  digestInto(out: Uint8Array): void {
    this.#add(SUM_AT, HASH_BYTES)
    this.#add(COUNT_AT, HASH_BYTES + 8)
    hashInto(this.#encoding, out)
    for (let i = 0; i < META_BYTES; i++) out[HASH_BYTES + i] = this.#encoding[SUM_AT + i] ?? 0
  }

  /** 64-bit addition in two halves: a bigint for each node would cost more than the hash. */
  #add(at: number, offset: number): void {
    const view = this.#view
    const low = view.getUint32(LEFT_AT + offset + 4) + view.getUint32(RIGHT_AT + offset + 4)
    const high = view.getUint32(LEFT_AT + offset) + view.getUint32(RIGHT_AT + offset)
    view.setUint32(at, high + (low > 0xffff_ffff ? 1 : 0))
    view.setUint32(at + 4, low)
  }
}

/** The hash as a string of 32 bytes: three times as fast as one that allocates a buffer. */
function hashInto(encoding: Uint8Array, out: Uint8Array): void {
  const bytes = hash('sha256', encoding, 'binary')
  for (let i = 0; i < HASH_BYTES; i++) out[i] = bytes.charCodeAt(i)
}

function checked(root: Uint8Array): Uint8Array {
  if (root.length === DIGEST_BYTES) return root
  throw new SmstError('DIGEST', `a digest has ${DIGEST_BYTES} bytes, not ${root.length}`, {
    data: { bytes: root.length },
  })
}
