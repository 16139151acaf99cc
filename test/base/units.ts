import fc from 'fast-check'
import t from 'tap'
import * as u from '../../src/base/units.ts'

t.test('a height is a whole number from 1 on', async (t) => {
  t.equal(u.height(5n), 5)
  for (const bad of [0, -1, 1.5, Number.NaN, 2 ** 53])
    t.throws(() => u.height(bad), RangeError, `${bad}`)
  t.equal(u.offset(u.height(3), -7), 1, 'never below 1')
  t.equal(u.offset(u.height(3), 4), 7)
})

t.test('money is never negative and never rounded', async (t) => {
  t.throws(() => u.upokt(-1), RangeError)
  t.throws(() => u.computeUnits(-1), RangeError)
  t.throws(() => u.ms(-1), RangeError)
  t.equal(u.parseCoin('145990upokt'), 145990n)
  for (const bad of ['', '5', '5 upokt', '-5upokt', '5pokt', '1.5upokt'])
    t.throws(() => u.parseCoin(bad), RangeError, bad)
  t.equal(u.formatPokt(u.upokt(1)), '0.000001 POKT')
  t.equal(u.formatPokt(u.upokt(2_500_000)), '2.5 POKT')
  t.equal(u.formatPokt(u.upokt(3_000_000)), '3 POKT')
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 2n ** 100n }), (amount) => {
      const coin = u.coin(u.upokt(amount))
      return u.fromCoin(coin) === amount && u.parseCoin(coin.amount + coin.denom) === amount
    }),
  )
  t.equal(u.fromCoin(undefined), 0n)
  t.equal(u.fromCoin({ denom: 'mact', amount: '7' }), 0n, 'another denomination counts as nothing')
})
