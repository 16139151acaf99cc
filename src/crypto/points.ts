/**
 * What a ring signature computes with points: sums of two multiples, and the hash to the curve.
 *
 * Anybody may choose the scalars, so every sum may be the point at infinity: it is a value here
 * (`INFINITY`), never an exception. Source: athanorlabs/go-dleq secp256k1/curve_decred.go,
 * pokt-network/ring-go helpers.go. Tested by test/crypto/points.ts.
 */
import { concat, sha3_256 } from '../base/bytes.ts'
import { FIELD, ORDER, readInteger, reduce, writeInteger } from './scalar.ts'
import type { Curve } from './secp256k1.ts'

/** How the reference writes the point at infinity: 02, then a zero x. */
export const INFINITY: Uint8Array = concat(Uint8Array.of(2), new Uint8Array(32))

/** A point made ready for many multiplications. */
export interface Point {
  /** 65 bytes: 04, x, y: the square root is taken once, not at every use. */
  readonly uncompressed: Uint8Array
  readonly x: bigint
  readonly isOdd: boolean
}

/** Undefined if the bytes are not a compressed point. */
export function readPoint(curve: Curve, compressed: Uint8Array): Point | undefined {
  const uncompressed = curve.decompress(compressed)
  return uncompressed === undefined ? undefined : pointOf(uncompressed)
}

function pointOf(uncompressed: Uint8Array): Point {
  return { uncompressed, x: readInteger(uncompressed, 1), isOdd: isOddY(uncompressed) }
}

function isOddY(uncompressed: Uint8Array): boolean {
  return ((uncompressed[64] ?? 0) & 1) === 1
}

/** 65 bytes to 33. */
export function compress(uncompressed: Uint8Array): Uint8Array {
  return concat(Uint8Array.of(isOddY(uncompressed) ? 3 : 2), uncompressed.subarray(1, 33))
}

/** How often the hash is taken before a key is given up; about half of the tries succeed. */
const HASH_TRIES_MAX = 128

/**
 * The point that belongs to a public key and whose discrete logarithm nobody knows: SHA3-256 again and
 * again until it is an x of the curve, then the even y. Undefined after 128 tries (never seen).
 */
export function hashToCurve(curve: Curve, publicKey: Uint8Array): Point | undefined {
  let hash = sha3_256(publicKey)
  for (let i = 0; i < HASH_TRIES_MAX; i++) {
    const x = writeInteger(readInteger(hash) % FIELD)
    const point = readPoint(curve, concat(Uint8Array.of(2), x))
    if (point !== undefined) return point
    hash = sha3_256(hash)
  }
  return undefined
}

/**
 * s · G + c · P, 33 bytes. Scalars 0 … N−1.
 *
 * ECDSA's key recovery computes r⁻¹ (s' · R − m · G) with one joint multiplication. With R = P, r = x(P),
 * s' = c · r and m = −s · r that is this sum. It saves about a tenth of a whole verification
 * (scripts/bench/ring.ts).
 */
export function sumWithGenerator(curve: Curve, s: bigint, c: bigint, point: Point): Uint8Array {
  const { x } = point
  if (c === 0n) return s === 0n ? INFINITY : curve.publicKey(writeInteger(s))
  // As r, an x of N or above stands for another point.
  if (x >= ORDER) return sumWithGeneratorSlowly(curve, s, c, point)
  const digest = writeInteger(reduce(-s * x))
  const signature = concat(writeInteger(x), writeInteger((c * x) % ORDER))
  return curve.recover(digest, signature, point.isOdd) ?? INFINITY
}

/** The same for every point, by two multiplications. */
export function sumWithGeneratorSlowly(
  curve: Curve,
  s: bigint,
  c: bigint,
  point: Point,
): Uint8Array {
  const left = s === 0n ? undefined : curve.decompress(curve.publicKey(writeInteger(s)))
  return add(curve, left, times(curve, c, point))
}

/** a · A + b · B, 33 bytes. Scalars 0 … N−1. */
export function sum(curve: Curve, a: bigint, A: Point, b: bigint, B: Point): Uint8Array {
  return add(curve, times(curve, a, A), times(curve, b, B))
}

/** 65 bytes; undefined is infinity. */
function times(curve: Curve, scalar: bigint, point: Point): Uint8Array | undefined {
  return scalar === 0n ? undefined : curve.multiply(point.uncompressed, writeInteger(scalar))
}

function add(curve: Curve, a: Uint8Array | undefined, b: Uint8Array | undefined): Uint8Array {
  if (a !== undefined && b !== undefined) return curve.add(a, b) ?? INFINITY
  const only = a ?? b
  return only === undefined ? INFINITY : compress(only)
}
