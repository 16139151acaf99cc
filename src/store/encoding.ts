/**
 * How session records and ledger entries lie in the database:
 *
 *   format (1 byte: 1) || check (4 bytes) || JSON, UTF-8
 *
 * The check is the beginning of sha256(session key || JSON): LevelDB does not verify its own
 * checksums when it reads, and a figure that has changed by one bit is still JSON. The session key
 * is not repeated inside. In the JSON uint64 and money are decimal text, bytes are base64; a field
 * that is absent is left out. Tested by test/store/encoding.ts.
 */
import { z } from 'zod'
import { base64, concat, equal, hex, sha256, unbase64, utf8 } from '../base/bytes.ts'
import { assert } from '../base/errors.ts'
import {
  type ComputeUnits,
  computeUnits,
  type Height,
  height,
  type Ms,
  ms,
  type Upokt,
  upokt,
} from '../base/units.ts'
import { StoreError } from './errors.ts'

const FORMAT = 1
const CHECK_BYTES = 4
const HEAD_BYTES = 1 + CHECK_BYTES

const decimal = z.string().regex(/^(0|[1-9]\d{0,77})$/)
const isAmount = (value: unknown) => typeof value === 'bigint' && value >= 0n
const isNumber = (value: unknown) => typeof value === 'number'

/** The kinds of fields that stored values are made of: what they are in JSON and in memory. */
export const stored = {
  text: z.string(),
  count: z.number().int().nonnegative(),
  uint: z.codec(decimal, z.custom<bigint>(isAmount), { decode: BigInt, encode: String }),
  units: z.codec(decimal, z.custom<ComputeUnits>(isAmount), {
    decode: (text) => computeUnits(BigInt(text)),
    encode: String,
  }),
  money: z.codec(decimal, z.custom<Upokt>(isAmount), { decode: upokt, encode: String }),
  height: z.codec(z.number(), z.custom<Height>(isNumber), { decode: height, encode: Number }),
  time: z.codec(z.number(), z.custom<Ms>(isNumber), { decode: ms, encode: Number }),
  bytes: bytes(),
  hash: bytes(32),
  /** hash (32) || sum (8) || count (8) */
  root: bytes(48),
} as const

function bytes(length?: number) {
  const right = (value: unknown) =>
    value instanceof Uint8Array && (length === undefined || value.length === length)
  return z.codec(z.string(), z.custom<Uint8Array>(right), { decode: unbase64, encode: base64 })
}

/** A value that does not fit `fields` is a bug of ours: AssertionError. Other fields are left out. */
export function encodeValue<T extends z.ZodType>(
  fields: T,
  key: Uint8Array,
  value: z.output<T>,
): Uint8Array {
  const encoded = z.safeEncode(fields, value)
  assert(encoded.success, `what is stored is whole: ${encoded.error?.message}`)
  const json = utf8(JSON.stringify(encoded.data))
  return concat(Uint8Array.of(FORMAT), checkOf(key, json), json)
}

/** @param key under which the value lies. @throws StoreError CORRUPT, with it in hex in `data.key` */
export function decodeValue<T extends z.ZodType>(
  fields: T,
  key: Uint8Array,
  value: Uint8Array,
): z.output<T> {
  if (value[0] !== FORMAT) throw corrupt(key, 'unknown format')
  const json = value.subarray(HEAD_BYTES)
  if (!equal(checkOf(key, json), value.subarray(1, HEAD_BYTES))) throw corrupt(key, 'wrong check')
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(json)
    return fields.parse(JSON.parse(text))
  } catch (cause) {
    throw corrupt(key, 'wrong fields', cause)
  }
}

/** What lies under the key, in hex, is not what we write there. */
export function corrupt(key: Uint8Array, why: string, cause?: unknown): StoreError {
  return new StoreError('CORRUPT', `damaged value in the database: ${why}, key ${hex(key)}`, {
    data: { key: hex(key) },
    ...(cause !== undefined && { cause }),
  })
}

function checkOf(key: Uint8Array, json: Uint8Array): Uint8Array {
  return sha256(concat(key, json)).subarray(0, CHECK_BYTES)
}
