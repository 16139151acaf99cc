/**
 * Numbers modulo the order of secp256k1, and the hash that makes challenges from them.
 *
 * Public values only, but for the signing of rings: `bigint` takes a time that depends on its value.
 * Source: SEC 2 (the curve), athanorlabs/go-dleq secp256k1/curve_decred.go (hash to scalar).
 * Tested by test/crypto/scalar.ts.
 */
import { createHash } from 'node:crypto'
import { readU64, u64 } from '../base/bytes.ts'

/** N: how many points the curve has. */
export const ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n
/** p: the coordinates are numbers modulo this. */
export const FIELD = 0xfffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2fn

/** 32 bytes from `offset` on, big-endian, not reduced. @throws RangeError if there are fewer */
export function readInteger(bytes: Uint8Array, offset = 0): bigint {
  return (
    (readU64(bytes, offset) << 192n) |
    (readU64(bytes, offset + 8) << 128n) |
    (readU64(bytes, offset + 16) << 64n) |
    readU64(bytes, offset + 24)
  )
}

/** 32 bytes, big-endian. @throws RangeError outside 0 … 2^256−1 */
export function writeInteger(value: bigint): Uint8Array {
  const out = new Uint8Array(32)
  out.set(u64(value >> 192n), 0)
  out.set(u64((value >> 128n) & 0xffff_ffff_ffff_ffffn), 8)
  out.set(u64((value >> 64n) & 0xffff_ffff_ffff_ffffn), 16)
  out.set(u64(value & 0xffff_ffff_ffff_ffffn), 24)
  return out
}

/** `value` modulo N, also for negative values. */
export function reduce(value: bigint): bigint {
  const rest = value % ORDER
  return rest < 0n ? rest + ORDER : rest
}

/**
 * A challenge: SHA3-512 modulo N, with its leading zero bytes moved to the end.
 *
 * The move is a defect of the reference that has become the rule: it copies the shortest big-endian
 * form of the number to the FRONT of 32 bytes. It concerns one challenge in 256; a verifier without
 * it refuses one honest ring of two in 128.
 * @returns 0 … N−1
 */
export function hashToScalar(bytes: Uint8Array): bigint {
  const digest = createHash('sha3-512').update(bytes).digest()
  return alignLeft(((readInteger(digest, 0) << 256n) | readInteger(digest, 32)) % ORDER)
}

/** The number whose 32 bytes are those of `scalar` without its leading zero bytes, zeros after them. */
export function alignLeft(scalar: bigint): bigint {
  if (scalar === 0n) return 0n
  let aligned = scalar
  while (aligned >> 248n === 0n) aligned <<= 8n
  // At most N−1 unless a shifted value begins with sixteen bytes ff, where the reference panics.
  return aligned % ORDER
}
