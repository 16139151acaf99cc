/**
 * secp256k1 in plain `bigint`, a few lines and slow: what the fast libraries are compared with.
 * A point is `[x, y]`; undefined is the point at infinity.
 */
const P = 2n ** 256n - 2n ** 32n - 977n
const G = [
  0x79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798n,
  0x483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8n,
] as const

export type Affine = readonly [x: bigint, y: bigint] | undefined
export const GENERATOR: Affine = G

function power(base: bigint, exponent: bigint): bigint {
  let result = 1n
  let square = base % P
  for (let e = exponent; e > 0n; e >>= 1n) {
    if (e & 1n) result = (result * square) % P
    square = (square * square) % P
  }
  return result
}

/** Euclid: ten times as fast as a power, and every addition needs one. */
function inverse(value: bigint): bigint {
  let [low, high] = [((value % P) + P) % P, P]
  let [u, v] = [1n, 0n]
  while (low > 1n) {
    const quotient = high / low
    ;[low, high] = [high - quotient * low, low]
    ;[u, v] = [v - quotient * u, u]
  }
  return ((u % P) + P) % P
}

export function plus(a: Affine, b: Affine): Affine {
  if (a === undefined || b === undefined) return a ?? b
  const [ax, ay] = a
  const [bx, by] = b
  if (ax === bx && (ay + by) % P === 0n) return undefined
  const slope = ax === bx ? 3n * ax * ax * inverse(2n * ay) : (by - ay) * inverse(bx - ax)
  const x = (((slope * slope - ax - bx) % P) + P) % P
  return [x, (((slope * (ax - x) - ay) % P) + P) % P]
}

export function times(scalar: bigint, point: Affine): Affine {
  let result: Affine
  let double = point
  for (let k = scalar; k > 0n; k >>= 1n) {
    if (k & 1n) result = plus(result, double)
    double = plus(double, double)
  }
  return result
}

/** The point with this x whose y is odd or even, if there is one. */
export function lift(x: bigint, isOdd: boolean): Affine {
  if (x >= P) return undefined
  const square = (x ** 3n + 7n) % P
  const y = power(square, (P + 1n) / 4n)
  if ((y * y) % P !== square) return undefined
  return [x, (y & 1n) === (isOdd ? 1n : 0n) ? y : P - y]
}

/** 33 bytes in hex; infinity as 02 and zeros. */
export function text(point: Affine): string {
  if (point === undefined) return `02${'00'.repeat(32)}`
  return `${point[1] & 1n ? '03' : '02'}${point[0].toString(16).padStart(64, '0')}`
}
