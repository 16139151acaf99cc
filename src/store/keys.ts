/**
 * The key under which everything of a session lies, in every sublevel:
 *
 *   session end (8 bytes, big-endian) || operator address (20) || session id (32)
 *
 * Order of keys is order of heights. Two operators of one process share a session id, never a key:
 * trees keyed by the session id alone have cost other miners their proofs. Tested by
 * test/store/keys.ts.
 */
import { toBech32 } from '@cosmjs/encoding'
import { concat, hex, readU64, u64, unhex } from '../base/bytes.ts'
import { assert } from '../base/errors.ts'
import { type Address, type Height, height } from '../base/units.ts'
import { addressBytes } from '../protocol/address.ts'
import { StoreError } from './errors.ts'

export interface SessionKey {
  readonly end: Height
  readonly operator: Address
  /** 64 lower-case hex characters, as the chain writes it. */
  readonly sessionId: string
}

export const SESSION_KEY_BYTES = 60
/** A leaf's path and a replay key: what follows the session key in the relay sublevels. */
export const HASH_BYTES = 32

/** From `gte` on, up to but without `lt`. */
export interface Range {
  readonly gte?: Uint8Array
  readonly lt?: Uint8Array
}

/** Session end heights, both included. */
export interface HeightRange {
  readonly from?: Height
  readonly to?: Height
}

/** For maps, locks and messages. */
export function sessionKeyText(key: SessionKey): string {
  return `${key.end}/${key.operator}/${key.sessionId}`
}

/** 60 bytes. @throws StoreError KEY_INVALID */
export function encodeSessionKey(key: SessionKey): Uint8Array {
  const operator = operatorBytes(key)
  const end = Number.isSafeInteger(key.end) && key.end >= 1
  if (!end || operator?.length !== 20 || !/^[0-9a-f]{64}$/.test(key.sessionId))
    throw new StoreError('KEY_INVALID', `not a session key: ${sessionKeyText(key).slice(0, 200)}`)
  return concat(u64(key.end), operator, unhex(key.sessionId))
}

/** Reads the first 60 bytes of a key. @throws StoreError CORRUPT */
export function decodeSessionKey(bytes: Uint8Array): SessionKey {
  const end = bytes.length < SESSION_KEY_BYTES ? 0n : readU64(bytes)
  if (end < 1n || end > BigInt(Number.MAX_SAFE_INTEGER))
    throw new StoreError('CORRUPT', `not a session key: ${hex(bytes)}`, {
      data: { key: hex(bytes) },
    })
  return {
    end: height(end),
    operator: toBech32('pokt', bytes.subarray(8, 28)) as Address,
    sessionId: hex(bytes.subarray(28, SESSION_KEY_BYTES)),
  }
}

/** All keys that begin with `prefix`. */
export function prefixRange(prefix: Uint8Array): Required<Range> {
  return { gte: prefix, lt: successor(prefix) }
}

/**
 * The keys that begin with `prefix`, cut into 256 ranges by the byte after it: about equal parts,
 * since a hash follows.
 */
export function hashRanges(prefix: Uint8Array): Required<Range>[] {
  const { lt } = prefixRange(prefix)
  const starts = Array.from({ length: 256 }, (_, byte) => concat(prefix, Uint8Array.of(byte)))
  return starts.map((gte, byte) => ({ gte, lt: starts[byte + 1] ?? lt }))
}

/** All keys of sessions that end in `range`. */
export function heightRange(range: HeightRange): Range {
  return {
    ...(range.from !== undefined && { gte: u64(range.from) }),
    ...(range.to !== undefined && { lt: u64(range.to + 1) }),
  }
}

/** The lowest key above every key that begins with `prefix`. */
export function successor(prefix: Uint8Array): Uint8Array {
  const last = prefix.findLastIndex((byte) => byte < 0xff)
  assert(last >= 0, 'a key prefix has a successor: it begins with a height')
  const out = prefix.slice(0, last + 1)
  out[last] = (out[last] ?? 0) + 1
  return out
}

function operatorBytes(key: SessionKey): Uint8Array | undefined {
  try {
    return addressBytes(key.operator)
  } catch {
    return undefined
  }
}
