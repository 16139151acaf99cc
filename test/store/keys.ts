import { deepEqual, equal } from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { compare, concat, hex } from '../../src/base/bytes.ts'
import { type Address, type Height, height } from '../../src/base/units.ts'
import { StoreError } from '../../src/store/errors.ts'
import {
  decodeSessionKey,
  encodeSessionKey,
  hashRanges,
  heightRange,
  prefixRange,
  sessionKeyText,
  successor,
} from '../../src/store/keys.ts'
import { sessionKey } from '../support/store.ts'
import { anyKey } from '../support/store-any.ts'

const hash = fc.uint8Array({ minLength: 32, maxLength: 32 })

t.test('a session key is end, operator and session id', async (t) => {
  const key = {
    end: height(0x0102),
    operator: 'pokt1qyqszqgpqyqszqgpqyqszqgpqyqszqgp04723y' as Address,
    sessionId: 'ab'.repeat(32),
  }
  const expected = `0000000000000102${'01'.repeat(20)}${'ab'.repeat(32)}`
  t.equal(hex(encodeSessionKey(key)), expected)
  t.equal(sessionKeyText(key), `258/${key.operator}/${key.sessionId}`)
})

t.test('a session key comes back as it went in', async () => {
  fc.assert(
    fc.property(anyKey, hash, (key, path) => {
      const bytes = encodeSessionKey(key)
      deepEqual(decodeSessionKey(bytes), key)
      deepEqual(decodeSessionKey(concat(bytes, path)), key, 'with a path behind it')
    }),
  )
})

t.test('order of keys is order of heights', async () => {
  const near = fc.integer({ min: 1, max: 70_000 }).map(height)
  fc.assert(
    fc.property(anyKey, anyKey, near, near, (a, b, low, high) => {
      const ends: [Height, Height][] = [
        [a.end, b.end],
        [low, high],
      ]
      for (const [x, y] of ends) {
        if (x === y) continue
        const order = compare(
          encodeSessionKey({ ...a, end: x }),
          encodeSessionKey({ ...b, end: y }),
        )
        equal(order < 0, x < y, `${x} and ${y}`)
      }
    }),
  )
})

t.test('two operators of one session have two keys', async (t) => {
  const [one, other] = [sessionKey(60, 's', 'one'), sessionKey(60, 's', 'other')]
  t.equal(one.sessionId, other.sessionId)
  t.not(hex(encodeSessionKey(one)), hex(encodeSessionKey(other)))
})

t.test('what is not a session key is refused', async (t) => {
  const good = sessionKey()
  const bad = {
    'an end of 0': { ...good, end: 0 as Height },
    'a broken end': { ...good, end: 1.5 as Height },
    'an end beyond exact numbers': { ...good, end: (2 ** 53) as Height },
    'an address of another chain': {
      ...good,
      operator: 'cosmos1qyqszqgpqyqszqgpqyqszqgpqyqszqgpjnp7du' as Address,
    },
    'no address': { ...good, operator: '' as Address },
    'a short address': { ...good, operator: 'pokt1qyqsm25c2f' as Address },
    'a short session id': { ...good, sessionId: 'ab' },
    'an upper-case session id': { ...good, sessionId: 'AB'.repeat(32) },
  }
  for (const [what, key] of Object.entries(bad))
    t.throws(() => encodeSessionKey(key), { code: 'KEY_INVALID' }, what)
  for (const bytes of [new Uint8Array(59), new Uint8Array(60), new Uint8Array(60).fill(0xff)])
    t.throws(() => decodeSessionKey(bytes), { code: 'CORRUPT', data: { key: hex(bytes) } })
  t.throws(() => decodeSessionKey(new Uint8Array(0)), StoreError)
})

t.test('the range of a prefix has its keys and no other', async () => {
  fc.assert(
    fc.property(anyKey, anyKey, hash, (key, other, path) => {
      const prefix = encodeSessionKey(key)
      const { gte, lt } = prefixRange(prefix)
      const inside = (bytes: Uint8Array) => compare(bytes, gte) >= 0 && compare(bytes, lt) < 0
      const least = concat(prefix, new Uint8Array(32))
      const greatest = concat(prefix, new Uint8Array(32).fill(0xff))
      const foreign = concat(encodeSessionKey(other), path)
      return (
        inside(concat(prefix, path)) &&
        inside(least) &&
        inside(greatest) &&
        !inside(foreign) &&
        !inside(lt)
      )
    }),
  )
})

t.test('the successor of a prefix carries', async (t) => {
  t.strictSame(successor(Uint8Array.of(1, 2)), Uint8Array.of(1, 3))
  t.strictSame(successor(Uint8Array.of(1, 0xff, 0xff)), Uint8Array.of(2))
  t.throws(() => successor(Uint8Array.of(0xff)), { name: 'AssertionError' })
})

t.test('the 256 parts of a session are the whole, each key in one', async (t) => {
  const prefix = encodeSessionKey({ ...sessionKey(), sessionId: 'ff'.repeat(32) })
  const parts = hashRanges(prefix)
  t.equal(parts.length, 256)
  fc.assert(
    fc.property(hash, (path) => {
      const key = concat(prefix, path)
      const holding = parts.filter(
        (part) => compare(key, part.gte) >= 0 && compare(key, part.lt) < 0,
      )
      return holding.length === 1
    }),
  )
})

t.test('a range of heights has both its ends', async (t) => {
  const at = (end: number) => encodeSessionKey(sessionKey(end))
  const { gte, lt } = heightRange({ from: height(10), to: height(20) })
  t.ok(gte !== undefined && compare(at(9), gte) < 0 && compare(at(10), gte) > 0)
  t.ok(lt !== undefined && compare(at(20), lt) < 0 && compare(at(21), lt) > 0)
  t.strictSame(heightRange({}), {}, 'and without ends it has all')
})
