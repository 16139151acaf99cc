/**
 * A node's JSON, read field by field.
 *
 * Each value knows its path, so that the error names the field (`result.block_id.hash`) and not only
 * that something was wrong. Only what is read is checked: a field we have no use for may look as it
 * likes. int64 travels as a decimal string in CometBFT's JSON. Tested by test/chain/json.ts.
 */
import { fromRfc3339WithNanoseconds } from '@cosmjs/tendermint-rpc'
import { unbase64, unhex } from '../base/bytes.ts'
import { type Height, height, type Ms, ms } from '../base/units.ts'
import { ChainError } from './errors.ts'

export class Json {
  readonly value: unknown
  readonly path: string

  constructor(value: unknown, path: string) {
    this.value = value
    this.path = path
  }

  /** The field `name` of an object; absent counts as `null`, which every reader below refuses. */
  get(name: string): Json {
    const object = this.value
    if (typeof object !== 'object' || object === null || Array.isArray(object))
      throw this.wrong('an object')
    const path = `${this.path}.${name}`
    return new Json(Object.hasOwn(object, name) ? Reflect.get(object, name) : null, path)
  }

  /** The fields of an object, in the order sent. */
  entries(): [name: string, field: Json][] {
    const object = this.value
    if (typeof object !== 'object' || object === null || Array.isArray(object))
      throw this.wrong('an object')
    return Object.entries(object).map(([name, field]) => [
      name,
      new Json(field, `${this.path}.${name}`),
    ])
  }

  /** True for null and for a field that is not there. */
  get isNull(): boolean {
    return this.value === null || this.value === undefined
  }

  /** Go writes an empty list as null. */
  list(): Json[] {
    if (this.isNull) return []
    if (!Array.isArray(this.value)) throw this.wrong('a list')
    return this.value.map((item: unknown, index) => new Json(item, `${this.path}[${index}]`))
  }

  text(): string {
    if (typeof this.value !== 'string') throw this.wrong('text')
    return this.value
  }

  boolean(): boolean {
    if (typeof this.value !== 'boolean') throw this.wrong('true or false')
    return this.value
  }

  /** An int32, which is a JSON number: codes, indexes. */
  integer(): number {
    if (!Number.isSafeInteger(this.value)) throw this.wrong('an integer')
    return this.value as number
  }

  /** An int64 or uint64, which is a decimal string. */
  big(): bigint {
    if (typeof this.value !== 'string' || !/^-?\d{1,20}$/.test(this.value))
      throw this.wrong('a 64-bit integer as text')
    return BigInt(this.value)
  }

  /** A block height of at least 1. */
  height(): Height {
    const value = this.big()
    return this.as('a block height', () => height(value))
  }

  hex(): Uint8Array {
    const text = this.text()
    return this.as('hexadecimal', () => unhex(text))
  }

  /** 32 bytes in hexadecimal. */
  hash(): Uint8Array {
    const bytes = this.hex()
    if (bytes.length !== 32) throw this.wrong('a hash of 32 bytes')
    return bytes
  }

  /** Go writes empty bytes as null or as an empty string. */
  base64(): Uint8Array {
    if (this.isNull) return new Uint8Array(0)
    const text = this.text()
    return this.as('base64', () => unbase64(text))
  }

  /** RFC 3339 in UTC, cut to milliseconds. */
  time(): Ms {
    const text = this.text()
    return this.as('a time', () => ms(fromRfc3339WithNanoseconds(text).getTime()))
  }

  /** What `read` gives; its failure is a fault of this field. */
  as<T>(expected: string, read: () => T): T {
    try {
      return read()
    } catch (error) {
      throw this.wrong(expected, error)
    }
  }

  wrong(expected: string, cause?: unknown): ChainError {
    return new ChainError('RESPONSE', `${this.path} is not ${expected}`, {
      data: { field: this.path, expected },
      cause,
    })
  }
}
