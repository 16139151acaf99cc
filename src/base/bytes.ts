/**
 * Bytes without surprises: join, compare, big-endian integers, hashes.
 *
 * Hex and base64 are for logs, the command line and JSON-RPC. Integers in keys are 8 bytes,
 * big-endian, so that order in the database is order in time. Tested by test/base/bytes.ts.
 */
import { createHash, hash, timingSafeEqual } from 'node:crypto'

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  let length = 0
  for (const part of parts) length += part.length
  const out = new Uint8Array(length)
  let at = 0
  for (const part of parts) {
    out.set(part, at)
    at += part.length
  }
  return out
}

/** Unsigned lexicographic order: negative, 0 or positive. */
export function compare(a: Uint8Array, b: Uint8Array): number {
  return Buffer.compare(a, b)
}

export function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && Buffer.compare(a, b) === 0
}

/** For secrets: takes the same time wherever the first difference is. */
export function equalConstantTime(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b)
}

/** uint64 as 8 bytes, big-endian. @throws RangeError outside 0 … 2^64−1 */
export function u64(value: bigint | number): Uint8Array {
  const big = BigInt(value)
  if (big < 0n || big > 0xffff_ffff_ffff_ffffn) throw new RangeError(`not a uint64: ${value}`)
  const out = new Uint8Array(8)
  new DataView(out.buffer).setBigUint64(0, big)
  return out
}

export function readU64(bytes: Uint8Array, offset = 0): bigint {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getBigUint64(offset)
}

export function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex')
}

/** @throws RangeError for anything but an even number of hex digits */
export function unhex(text: string): Uint8Array {
  if (text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text)) throw new RangeError('not hex')
  return new Uint8Array(Buffer.from(text, 'hex'))
}

export function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
}

/** @throws RangeError for anything but padded standard base64 */
export function unbase64(text: string): Uint8Array {
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text))
    throw new RangeError('not base64')
  return new Uint8Array(Buffer.from(text, 'base64'))
}

/** 32 bytes. */
export function sha256(bytes: Uint8Array): Uint8Array {
  return plain(hash('sha256', bytes, 'buffer'))
}

/** FIPS 202, not the older Keccak padding; 32 bytes. */
export function sha3_256(bytes: Uint8Array): Uint8Array {
  return plain(createHash('sha3-256').update(bytes).digest())
}

/** A Buffer's `slice` is a view and not a copy, so none leaves this file under the name of Uint8Array. */
function plain(buffer: Buffer): Uint8Array {
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.length)
}
