/**
 * The chain's dice: Go's `math/rand`, seeded from a hash, as a number in [0, 1).
 *
 * Go's generator is an additive lagged Fibonacci one whose 607 words come from a linear congruential
 * one; the first two outputs need four of those words, and each of them has a closed form. Half of all
 * hashes give one of only 128 seeds, because the seed is read as a varint: that is the chain's way and
 * must not be mended.
 * Source: pokt-network/poktroll pkg/crypto/rand; Go math/rand/rng.go, encoding/binary/varint.go.
 * Tested by test/protocol/rand.ts.
 */
import { sha256 } from '../base/bytes.ts'
import { assert } from '../base/errors.ts'

const MODULUS = 2n ** 31n - 1n
const MULTIPLIER = 48271n
/** Stands in for a seed that is 0 modulo MODULUS. */
const SEED_FOR_ZERO = 89482311n

interface Word {
  /** The multiplier to the powers of the three draws that make the word. */
  readonly powers: readonly bigint[]
  readonly cooked: bigint
}

const WORD_332 = word(332, 0x3b7fc3ad0d1cd36bn)
const WORD_333 = word(333, 0xbfb2f4d968b759c3n)
const WORD_605 = word(605, 0x7e57a19b735ef03bn)
const WORD_606 = word(606, 0x39a00a3a31c025c6n)
/** The words that add up to the first and to the second output. */
const DRAWS = [
  [WORD_333, WORD_606],
  [WORD_332, WORD_605],
] as const

/** In [0, 1), equal to Go's to the last bit. */
export function seededFloat64(input: Uint8Array): number {
  const seed = goVarint(sha256(input))
  for (const value of firstInt63s(seed)) {
    // Exact but for the one rounding of the integer, which can reach 2^63.
    const float = Number(value) / 2 ** 63
    if (float !== 1) return float
  }
  assert(false, 'Go would draw a third time: once in 2^108 seeds')
}

/** What `rand.New(rand.NewSource(seed))` gives for its first two calls of `Int63`. */
export function firstInt63s(seed: bigint): readonly [bigint, bigint] {
  let start = seed % MODULUS
  if (start < 0n) start += MODULUS
  if (start === 0n) start = SEED_FOR_ZERO
  const draw = ([a, b]: readonly [Word, Word]) =>
    BigInt.asUintN(63, wordAt(a, start) + wordAt(b, start))
  return [draw(DRAWS[0]), draw(DRAWS[1])]
}

/** A signed varint at the start of `bytes` (zig-zag); 0 if it does not fit 64 bits, as in Go. */
export function goVarint(bytes: Uint8Array): bigint {
  let unsigned = 0n
  for (const [i, byte] of bytes.entries()) {
    if (i === 10 || (i === 9 && byte > 1 && byte < 0x80)) return 0n
    unsigned |= BigInt(byte & 0x7f) << BigInt(7 * i)
    if (byte < 0x80) return unsigned & 1n ? -(unsigned >> 1n) - 1n : unsigned >> 1n
  }
  return 0n
}

function word(index: number, cooked: bigint): Word {
  const first = 20 + 3 * index + 1
  return { powers: [power(first), power(first + 1), power(first + 2)], cooked }
}

function wordAt({ powers: [a = 0n, b = 0n, c = 0n], cooked }: Word, start: bigint): bigint {
  const draw = (power: bigint) => (start * power) % MODULUS
  return BigInt.asUintN(64, (draw(a) << 40n) ^ (draw(b) << 20n) ^ draw(c)) ^ cooked
}

function power(exponent: number): bigint {
  let result = 1n
  for (let i = 0; i < exponent; i++) result = (result * MULTIPLIER) % MODULUS
  return result
}
