import fc from 'fast-check'
import t from 'tap'
import { upokt } from '../../src/base/units.ts'
import { Params as TokenomicsParams } from '../../src/protocol/gen/pocket/tokenomics/tokenomics.ts'
import {
  ceilShare,
  floorShare,
  fraction,
  revenueShares,
  supplierReward,
} from '../../src/protocol/shares.ts'
import { rows } from '../support/vectors.ts'

t.test('floats become the fraction that their shortest text says', async (t) => {
  const all = rows<{ float: number; num: string; denom: string }>(
    'proof.jsonl',
    'float-to-fraction',
  )
  t.equal(all.length, 20)
  for (const row of all) {
    const { numerator, denominator } = fraction(row.float)
    t.strictSame([`${numerator}`, `${denominator}`], [row.num, row.denom], `${row.id} ${row.float}`)
  }
  for (const value of [-0.5, Number.NaN, Number.POSITIVE_INFINITY])
    t.throws(() => fraction(value), { code: 'REWARD' }, String(value))
})

t.test('a fraction is a decimal that reads as the float it came from', async () => {
  fc.assert(
    fc.property(fc.double({ min: 0, max: 1e6, noNaN: true }), (value) => {
      const { numerator, denominator } = fraction(value)
      const scaled = numerator * 10n ** 400n
      return scaled % denominator === 0n && Number(`${scaled / denominator}e-400`) === value
    }),
  )
})

t.test('every allocation of the Go implementation', async (t) => {
  const all = rows<{ amount: string; fraction: number; floor: string; ceil: string }>(
    'proof.jsonl',
    'allocation',
  )
  t.equal(all.length, 136)
  for (const row of all) {
    const what = `${row.id} ${row.fraction} of ${row.amount}`
    t.equal(floorShare(BigInt(row.amount), fraction(row.fraction)), BigInt(row.floor), what)
    t.equal(ceilShare(BigInt(row.amount), fraction(row.fraction)), BigInt(row.ceil), what)
  }
})

t.test('every split among shareholders', async (t) => {
  const all = rows<{
    amount: string
    rev_share: { address: string; rev_share_percentage: string }[] | null
    amounts?: Record<string, string>
    error?: string
  }>('proof.jsonl', 'rev-share')
  t.equal(all.length, 70)
  for (const row of all) {
    const shares = (row.rev_share ?? []).map((share) => ({
      address: share.address,
      percentage: BigInt(share.rev_share_percentage),
    }))
    const amounts = revenueShares(upokt(row.amount), shares)
    if (row.error) {
      t.equal(amounts, undefined, `${row.id} ${row.error}`)
      continue
    }
    const got = Object.fromEntries([...(amounts ?? [])].map(([a, amount]) => [a, `${amount}`]))
    t.strictSame(got, row.amounts, row.id)
  }
  const twice = [
    { address: 'a', percentage: 50n },
    { address: 'a', percentage: 50n },
  ]
  t.equal(revenueShares(upokt(100), twice), undefined, 'an address twice')
})

t.test('nothing is lost between shareholders', async () => {
  const percentages = fc.array(fc.integer({ min: 0, max: 30 }), { maxLength: 3 })
  fc.assert(
    fc.property(percentages, fc.bigInt({ min: 0n, max: 10n ** 18n }), (others, amount) => {
      const rest = 100 - others.reduce((sum, share) => sum + share, 0)
      const shares = [rest, ...others].map((share, i) => ({
        address: `a${i}`,
        percentage: BigInt(share),
      }))
      const amounts = [...(revenueShares(upokt(amount), shares)?.values() ?? [])]
      return amounts.reduce((sum, share) => sum + share, 0n) === amount
    }),
  )
})

t.test('the reward of a settled claim', async (t) => {
  const main = TokenomicsParams.fromPartial({
    mintAllocationPercentages: { dao: 0.1, supplier: 0.8, sourceOwner: 0.1 },
    globalInflationPerClaim: 0.000001,
    mintEqualsBurnClaimDistribution: {
      dao: 0.045,
      proposer: 0.14,
      supplier: 0.79,
      sourceOwner: 0.025,
    },
    mintRatio: 0.975,
  })
  t.equal(supplierReward(upokt(145990), main), 112448n)
  t.equal(supplierReward(upokt(0), main), 0n)
  t.equal(supplierReward(upokt(1), main), 0n, 'less than one upokt is minted')
  // floor(floor(10^13 × 0.975) × 0.79) and floor(10^7 × 0.8)
  t.equal(supplierReward(upokt(10n ** 13n), main), 7_702_500_000_000n + 8_000_000n)
  t.equal(supplierReward(upokt(1000), TokenomicsParams.fromPartial({ mintRatio: 1 })), 0n)
})
