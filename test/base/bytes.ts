import fc from 'fast-check'
import t from 'tap'
import * as b from '../../src/base/bytes.ts'

t.test('joining and comparing', async (t) => {
  t.strictSame(b.concat(b.unhex('01'), b.unhex(''), b.unhex('0203')), new Uint8Array([1, 2, 3]))
  t.ok(b.compare(b.unhex('01ff'), b.unhex('02')) < 0)
  t.ok(b.equal(b.unhex('ab'), b.unhex('ab')))
  t.notOk(b.equal(b.unhex('ab'), b.unhex('abab')))
  t.notOk(b.equalConstantTime(b.unhex('ab'), b.unhex('abab')))
  t.ok(b.equalConstantTime(b.unhex('ab'), b.unhex('ab')))
})

t.test('integers in keys sort as they count', async (t) => {
  fc.assert(
    fc.property(
      fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      (x, y) => {
        const order = b.compare(b.u64(x), b.u64(y))
        return b.readU64(b.u64(x)) === x && Math.sign(order) === (x < y ? -1 : x > y ? 1 : 0)
      },
    ),
  )
  t.throws(() => b.u64(-1), RangeError)
  t.throws(() => b.u64(2n ** 64n), RangeError)
})

t.test('text forms are strict', async (t) => {
  for (const bad of ['0', 'zz', '0x00', ' 00']) t.throws(() => b.unhex(bad), RangeError, bad)
  for (const bad of ['a', 'ab=c', '%%%%']) t.throws(() => b.unbase64(bad), RangeError, bad)
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => {
      return b.equal(b.unhex(b.hex(bytes)), bytes) && b.equal(b.unbase64(b.base64(bytes)), bytes)
    }),
  )
})

t.test('hashes are the standard ones', async (t) => {
  t.equal(
    b.hex(b.sha256(b.utf8(''))),
    'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  )
  t.equal(
    b.hex(b.sha3_256(b.utf8(''))),
    'a7ffc6f8bf1ed76651c14756a061d662f580ff4de43b49fa82d80a4b80f8434a',
  )
})
