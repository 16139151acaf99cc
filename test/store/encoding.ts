import { deepEqual } from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { z } from 'zod'
import { concat, hex, utf8 } from '../../src/base/bytes.ts'
import type { Height, upokt } from '../../src/base/units.ts'
import { decodeValue, encodeValue, stored } from '../../src/store/encoding.ts'
import { anyOf } from '../support/store-any.ts'

const fields = z.object({ text: stored.text, count: stored.count, uint: stored.uint })
const key = Uint8Array.of(7, 8, 9)
const value = { text: 'grüße', count: 3, uint: 2n ** 64n - 1n }

t.test('a value is its format, its check and JSON with integers as text', async (t) => {
  const bytes = encodeValue(fields, key, value)
  t.equal(bytes[0], 1)
  t.equal(
    new TextDecoder().decode(bytes.subarray(5)),
    '{"text":"grüße","count":3,"uint":"18446744073709551615"}',
  )
  t.strictSame(decodeValue(fields, key, bytes), value)
})

t.test('every kind of field comes back as it went in', async () => {
  const all = z.object(stored)
  const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length })
  const uint = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })
  const any = anyOf({
    text: fc.string({ unit: 'grapheme' }),
    count: fc.nat({ max: Number.MAX_SAFE_INTEGER }),
    uint,
    units: uint,
    money: fc.bigInt({ min: 0n, max: 10n ** 60n }),
    height: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
    time: fc.nat(),
    bytes: fc.uint8Array(),
    hash: bytes(32),
    root: bytes(48),
  }) as fc.Arbitrary<z.output<typeof all>>
  fc.assert(
    fc.property(any, fc.uint8Array(), (value, key) =>
      deepEqual(decodeValue(all, key, encodeValue(all, key, value)), value),
    ),
  )
})

t.test('one changed, missing or added bit is never a value', async (t) => {
  const bytes = encodeValue(fields, key, value)
  const refused = (other: Uint8Array) => {
    try {
      decodeValue(fields, key, other)
      return false
    } catch (error) {
      return (error as { code?: string }).code === 'CORRUPT'
    }
  }
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const other = bytes.slice()
    other[bit >> 3] = (other[bit >> 3] ?? 0) ^ (1 << (bit & 7))
    t.ok(refused(other), `bit ${bit}`)
  }
  for (let length = 0; length < bytes.length; length++)
    t.ok(refused(bytes.slice(0, length)), `${length} bytes of it`)
  t.ok(refused(concat(bytes, Uint8Array.of(0))))
  fc.assert(fc.property(fc.uint8Array(), refused), { numRuns: 1_000 })
})

t.test('a value under another key is refused, and the error names the key', async (t) => {
  const bytes = encodeValue(fields, key, value)
  const other = Uint8Array.of(7, 8, 10)
  const expected = { code: 'CORRUPT', retryable: false, data: { key: hex(other) } }
  t.throws(() => decodeValue(fields, other, bytes), expected)
})

t.test('a value with a right check and wrong fields is refused', async (t) => {
  /** Sealed as a value of any shape, so that the check is right. */
  const sealed = (json: Record<string, unknown>) => {
    const shape = z.object(Object.fromEntries(Object.keys(json).map((name) => [name, z.unknown()])))
    return encodeValue(shape, key, json)
  }
  const good = { text: 'x', count: 1, uint: '1' }
  t.strictSame(decodeValue(fields, key, sealed(good)), { ...good, uint: 1n })
  const bad: Record<string, Record<string, unknown>> = {
    'a missing field': { text: 'x', count: 1 },
    'a broken count': { ...good, count: 1.5 },
    'a negative count': { ...good, count: -1 },
    'a leading zero': { ...good, uint: '01' },
    'a sign': { ...good, uint: '-1' },
    'no digits': { ...good, uint: '' },
    'a number for text': { ...good, uint: 1 },
    'a text for a number': { ...good, count: '1' },
  }
  for (const [what, json] of Object.entries(bad))
    t.throws(() => decodeValue(fields, key, sealed(json)), { code: 'CORRUPT' }, what)

  const one = (name: string, kind: z.ZodType, json: unknown) => {
    const read = () => decodeValue(z.object({ v: kind }), key, sealed({ v: json }))
    t.throws(read, { code: 'CORRUPT' }, name)
  }
  one('a height of 0', stored.height, 0)
  one('bytes that are not base64', stored.bytes, 'a*==')
  one('a hash of 31 bytes', stored.hash, Buffer.alloc(31).toString('base64'))
  one('a root of 32 bytes', stored.root, Buffer.alloc(32).toString('base64'))
})

t.test('what does not fit is our bug, and never written', async (t) => {
  const bug = { name: 'AssertionError' }
  t.throws(() => encodeValue(fields, key, { ...value, count: -1 }), bug)
  t.throws(() => encodeValue(fields, key, { ...value, uint: -1n }), bug)
  t.throws(() => encodeValue(z.object({ v: stored.root }), key, { v: new Uint8Array(47) }), bug)
  t.throws(() => encodeValue(z.object({ v: stored.height }), key, { v: Number.NaN as Height }), bug)
  t.throws(
    () => encodeValue(z.object({ v: stored.money }), key, { v: -5n as ReturnType<typeof upokt> }),
    bug,
  )
})

t.test('fields that the kind of value does not have are left out', async (t) => {
  const bytes = encodeValue(fields, key, { ...value, extra: utf8('x') } as typeof value)
  t.strictSame(decodeValue(fields, key, bytes), value)
})
