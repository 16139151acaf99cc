/**
 * Closest proofs: made from a fold, held to strict rules, and judged as the chain judges them.
 *
 * A proof says: in the tree with this root, the leaf with `closestPath` is where the target `path`
 * leads, and it holds this relay. Siblings that are placeholders are left out and marked in
 * `bitMask`. `closestValueHash` is, despite its name, the relay itself with weight and count. The Go
 * field SiblingData (the deepest sibling's encoding, often a whole foreign relay) proves nothing,
 * costs fees and is not sent. Source: pokt-network/smt proofs.go. Tested by test/smst/proof.ts.
 */
import { concat, equal, readU64, u64 } from '../base/bytes.ts'
import { SmstError } from './errors.ts'
import type { Closest } from './fold.ts'
import type { WireProof } from './gob.ts'
import {
  bitAt,
  DIGEST_BYTES,
  digestOf,
  innerDigest,
  leafDigest,
  META_BYTES,
  PATH_BITS,
  PATH_BYTES,
  PLACEHOLDER,
} from './node.ts'

export interface CompactProof {
  /** The target, 32 bytes. */
  readonly path: Uint8Array
  readonly flippedBits: readonly number[]
  /** Of the leaf: equal to `numSideNodes`. */
  readonly depth: number
  readonly closestPath: Uint8Array
  /** `relay ‖ BE8(weight) ‖ BE8(1)` */
  readonly closestValueHash: Uint8Array
  /** Siblings that are not placeholders, deepest first. */
  readonly sideNodes: readonly Uint8Array[]
  /** Bit i, most significant first, is set where sibling i is a placeholder; ⌈numSideNodes / 8⌉ bytes. */
  readonly bitMask: Uint8Array
  readonly numSideNodes: number
  /** The deepest sibling's encoding, as Go fills it in; we don't. */
  readonly siblingData?: Uint8Array
}

/**
 * @param value the relay stored for `closest.path`
 * @param siblingData only to be compared with Go byte for byte
 * @throws SmstError LEAF if the relay and its weight are not what the tree was made of
 */
export function compactProof(
  closest: Closest,
  value: Uint8Array,
  weight: bigint,
  siblingData?: Uint8Array,
): CompactProof {
  if (!equal(leafDigest(closest.path, value, weight), closest.digest))
    throw new SmstError('LEAF', 'the stored relay does not give the leaf in the tree')
  const bitMask = new Uint8Array(Math.ceil(closest.sideNodes.length / 8))
  const sideNodes: Uint8Array[] = []
  for (const [i, node] of closest.sideNodes.entries()) {
    if (equal(node, PLACEHOLDER)) bitMask[i >> 3] = (bitMask[i >> 3] ?? 0) | (0x80 >> (i & 7))
    else sideNodes.push(node)
  }
  return {
    path: closest.target,
    flippedBits: closest.flippedBits,
    depth: closest.sideNodes.length,
    closestPath: closest.path,
    closestValueHash: concat(value, u64(weight), u64(1)),
    sideNodes,
    bitMask,
    numSideNodes: closest.sideNodes.length,
    ...(siblingData !== undefined && { siblingData }),
  }
}

/** The relay's bytes. @throws SmstError PROOF if there is no room for weight and count after them */
export function provenValue(proof: { readonly closestValueHash: Uint8Array }): Uint8Array {
  const length = proof.closestValueHash.length - META_BYTES
  if (length < 0) throw new SmstError('PROOF', 'a proof without weight and count')
  return new Uint8Array(proof.closestValueHash.subarray(0, length))
}

/**
 * True only for a proof as `compactProof` makes it, which is more than the chain asks for: nothing in
 * it can be changed. The one thing a proof cannot vouch for is the target's bits from `depth` on, for
 * a proof is the same for every target that leads to its leaf: compare `path` with the one expected.
 * Whether `closestPath` belongs to the relay is for the caller, too. Never throws.
 */
export function verifyProof(proof: CompactProof, root: Uint8Array): boolean {
  const { closestPath, closestValueHash, siblingData } = proof
  if (root.length !== DIGEST_BYTES || closestPath.length !== PATH_BYTES) return false
  const siblings = siblingsOf(proof)
  if (siblings === undefined || !leadsToLeaf(proof, siblings)) return false
  const length = closestValueHash.length - META_BYTES
  if (length < 0 || readU64(closestValueHash, length + 8) !== 1n) return false
  const value = closestValueHash.subarray(0, length)
  const weight = readU64(closestValueHash, length)
  if (length === 0 && weight === 0n) return false
  if (siblingData !== undefined && !isSibling(siblingData, siblings[0])) return false
  return equal(climb(leafDigest(closestPath, value, weight), closestPath, siblings), root)
}

/** All siblings, deepest first, if the compact form says them in its one right way. */
function siblingsOf(proof: CompactProof): Uint8Array[] | undefined {
  const { sideNodes, bitMask, numSideNodes } = proof
  if (!Number.isInteger(numSideNodes) || numSideNodes < 0 || numSideNodes > PATH_BITS) return
  if (proof.depth !== numSideNodes || bitMask.length !== Math.ceil(numSideNodes / 8)) return
  if (sideNodes.some((node) => node.length !== DIGEST_BYTES || equal(node, PLACEHOLDER))) return
  const siblings: Uint8Array[] = []
  let used = 0
  for (let i = 0; i < 8 * bitMask.length; i++) {
    const masked = bitAt(bitMask, i) === 1
    if (i >= numSideNodes && masked) return
    if (i >= numSideNodes) continue
    const node = masked ? PLACEHOLDER : sideNodes[used++]
    if (node === undefined) return
    siblings.push(node)
  }
  // The deepest sibling is why the leaf lies so deep.
  if (used !== sideNodes.length || siblings[0] === PLACEHOLDER) return
  return siblings
}

/** Whether target and leaf part exactly where the flipped bits say, each time for want of a leaf. */
function leadsToLeaf(proof: CompactProof, siblings: readonly Uint8Array[]): boolean {
  const { path, closestPath, depth, flippedBits } = proof
  if (path.length !== PATH_BYTES) return false
  let flips = 0
  for (let d = 0; d < depth; d++) {
    if (bitAt(path, d) === bitAt(closestPath, d)) continue
    if (flippedBits[flips++] !== d || siblings[depth - 1 - d] !== PLACEHOLDER) return false
  }
  return flips === flippedBits.length
}

/** The root that follows from a digest at the end of `path` and its siblings, deepest first. */
function climb(digest: Uint8Array, path: Uint8Array, siblings: readonly Uint8Array[]): Uint8Array {
  let current = digest
  for (const [i, sibling] of siblings.entries()) {
    const left = bitAt(path, siblings.length - 1 - i) === 0
    current = left ? innerDigest(current, sibling) : innerDigest(sibling, current)
  }
  return current
}

const EXTENSION_PREFIX = 0x02
const EXTENSION_CHILD_AT = 3 + PATH_BYTES
const EXTENSION_BYTES = EXTENSION_CHILD_AT + DIGEST_BYTES + META_BYTES

/** Whether an encoding has this digest; an extension stands for a chain of one-sided inner nodes. */
function isSibling(encoding: Uint8Array, digest: Uint8Array | undefined): boolean {
  if (digest === undefined || encoding.length < META_BYTES) return false
  if (encoding[0] !== EXTENSION_PREFIX) return equal(digestOf(encoding), digest)
  if (encoding.length !== EXTENSION_BYTES) return false
  const [, start = 0, end = 0] = encoding
  const path = encoding.subarray(3, EXTENSION_CHILD_AT)
  let current: Uint8Array = encoding.subarray(EXTENSION_CHILD_AT, EXTENSION_CHILD_AT + DIGEST_BYTES)
  for (let d = end - 1; d >= start; d--)
    current =
      bitAt(path, d) === 0 ? innerDigest(current, PLACEHOLDER) : innerDigest(PLACEHOLDER, current)
  return equal(current, digest)
}

/** What the chain keeps of a proof between the transaction that brings it and the end of the block. */
export interface ChainProof {
  readonly path: Uint8Array
  readonly flippedBits: readonly number[]
  readonly depth: number
  readonly closestPath: Uint8Array
  readonly closestValueHash: Uint8Array
  readonly sideNodes: readonly Uint8Array[]
  readonly nonMembershipLeafData: Uint8Array
  readonly siblingData: Uint8Array
}

/** The chain's first step, in the transaction: lengths and counts only. @throws SmstError PROOF */
export function decompactProof(wire: WireProof): ChainProof {
  const siblings = wire.closestProof
  if (siblings === undefined) throw new SmstError('PROOF', 'a proof without siblings')
  const count = Number(siblings.numSideNodes)
  const tooLong = [wire.depth, ...wire.flippedBits].some((digits) => digits.length > 2)
  if (wire.path.length !== PATH_BYTES || tooLong || count < 0 || count > PATH_BITS)
    throw new SmstError('PROOF', 'a path, depth or number of siblings out of range')
  const { bitMask } = siblings
  let masked = 0
  for (let i = 0; i < 8 * bitMask.length; i++) masked += bitAt(bitMask, i)
  if (bitMask.length !== Math.ceil(count / 8))
    throw new SmstError('PROOF', 'a bit mask of another length')
  if (count > 0 && siblings.sideNodes.length !== count - masked)
    throw new SmstError('PROOF', 'siblings and bit mask do not add up')
  const given = siblings.sideNodes.values()
  const sideNodes = Array.from({ length: count }, (_, i) => {
    const node = bitAt(bitMask, i) === 1 ? PLACEHOLDER : given.next().value
    if (node === undefined) throw new SmstError('PROOF', 'a bit mask with bits past its end')
    return node
  })
  return {
    path: wire.path,
    flippedBits: wire.flippedBits.map(bigEndian),
    depth: bigEndian(wire.depth),
    closestPath: wire.closestPath,
    closestValueHash: wire.closestValueHash,
    sideNodes,
    nonMembershipLeafData: siblings.nonMembershipLeafData,
    siblingData: siblings.siblingData,
  }
}

/**
 * The chain's second step, at the end of the block, with all that its library lets pass: what the
 * simulated chain decides by, and nothing that we make may rely on. Where the library panics, the
 * answer is no. Never throws.
 */
export function verifyProofLenient(proof: ChainProof, root: Uint8Array): boolean {
  const { depth, sideNodes, siblingData, nonMembershipLeafData: foreign } = proof
  if (depth > PATH_BITS || proof.closestPath.length < PATH_BYTES) return false
  const path = new Uint8Array(proof.path)
  for (const bit of proof.flippedBits) {
    if (bit > depth || bit === PATH_BITS) return false
    path[bit >> 3] = (path[bit >> 3] ?? 0) ^ (0x80 >> (bit & 7))
  }
  for (let d = 0; d < depth; d++) if (bitAt(path, d) !== bitAt(proof.closestPath, d)) return false
  if (foreign.length > 0 && foreign.length < 1 + PATH_BYTES) return false
  if (siblingData.length > 0 && sideNodes.length > 0) {
    if (sideNodes.some((node) => node.length !== DIGEST_BYTES)) return false
    if (!isSibling(siblingData, sideNodes[0])) return false
  }
  const leaf = lenientLeaf(proof)
  const cut = sideNodes.map((node) => concat(node, PLACEHOLDER).subarray(0, DIGEST_BYTES))
  return leaf !== undefined && equal(climb(leaf, proof.closestPath, cut), root)
}

/** An empty relay of no weight means "no leaf here", or the foreign leaf that is there instead. */
function lenientLeaf(proof: ChainProof): Uint8Array | undefined {
  const { closestValueHash: data, nonMembershipLeafData: foreign } = proof
  const path = proof.closestPath.subarray(0, PATH_BYTES)
  if (data.length > 0 && data.length < META_BYTES) return
  const absent = data.length === 0 || (data.length === META_BYTES && readU64(data) === 0n)
  if (!absent) return digestOf(concat(new Uint8Array(1), path, data))
  if (foreign.length === 0) return PLACEHOLDER
  const another = !equal(foreign.subarray(1, 1 + PATH_BYTES), path)
  return foreign[0] === 0 && another ? digestOf(foreign) : undefined
}

function bigEndian(digits: Uint8Array): number {
  return digits.reduce((value, digit) => 256 * value + digit, 0)
}
