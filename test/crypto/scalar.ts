import fc from 'fast-check'
import t from 'tap'
import { hex, unhex, utf8 } from '../../src/base/bytes.ts'
import {
  alignLeft,
  hashToScalar,
  ORDER,
  readInteger,
  reduce,
  writeInteger,
} from '../../src/crypto/scalar.ts'

t.test('a hash becomes the scalar of the reference, leading zeros moved to the end', async (t) => {
  const rows = {
    pocket: '43913f269ab77ad581e23102878c906eacd55fd9e973714f0ebbe9b55ad56fef',
    'relay-msg-349': 'bd133cd1452701ae1d3910e3ad3fb1a3dddd7fc62cce0521503d6f6e658dd600',
    'relay-msg-12952': 'c701cddcce1d3a096b307027374db9b334687e6934d11f20dafa23fccacf0000',
  }
  for (const [input, scalar] of Object.entries(rows))
    t.equal(hex(writeInteger(hashToScalar(utf8(input)))), scalar, input)
})

t.test('a scalar is moved by whole bytes, and zero stays', async (t) => {
  t.equal(alignLeft(0n), 0n)
  t.equal(alignLeft(1n), 1n << 248n)
  t.equal(alignLeft(0x1234n), 0x1234n << 240n)
  t.equal(alignLeft(1n << 248n), 1n << 248n, 'a full one is left alone')
  t.equal(alignLeft((1n << 248n) - 1n), ((1n << 248n) - 1n) * 256n - ORDER, 'never N or above')
})

t.test('32 bytes are an integer and back', async (t) => {
  t.equal(readInteger(unhex(`${'00'.repeat(31)}ff`)), 255n)
  t.equal(readInteger(unhex(`aa01${'00'.repeat(31)}`), 1), 1n << 248n)
  t.throws(() => readInteger(new Uint8Array(31)), RangeError)
  t.throws(() => writeInteger(1n << 256n), RangeError)
  t.throws(() => writeInteger(-1n), RangeError)
  const bytes = fc.uint8Array({ minLength: 32, maxLength: 32 })
  fc.assert(fc.property(bytes, (given) => hex(writeInteger(readInteger(given))) === hex(given)))
})

t.test('reduce gives 0 to N-1 for every integer', async (t) => {
  t.equal(reduce(ORDER), 0n)
  t.equal(reduce(-1n), ORDER - 1n)
  t.equal(reduce(-ORDER), 0n)
  const integer = fc.bigInt({ min: -(1n << 520n), max: 1n << 520n })
  fc.assert(
    fc.property(integer, (value) => {
      const rest = reduce(value)
      return rest >= 0n && rest < ORDER && (value - rest) % ORDER === 0n
    }),
  )
})
