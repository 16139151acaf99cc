import fc from 'fast-check'
import t from 'tap'
import { coin, upokt } from '../../src/base/units.ts'
import { grant, inStakeTerms, newBudget, reserve } from '../../src/devnet/budget.ts'
import { Application } from '../../src/protocol/gen/pocket/application/application.ts'
import { fraction } from '../../src/protocol/shares.ts'

const INFLATION = fraction(0.000001)

function application(stake: bigint, limit?: bigint): Application {
  return Application.fromPartial({
    stake: coin(upokt(stake)),
    ...(limit !== undefined && { perSessionSpendLimit: coin(upokt(limit)) }),
  })
}

t.test('the stake is divided by sessions, then by claims', async (t) => {
  t.match(newBudget(application(1_000n), 3, 2), { floor: 166n, isLimitExceeded: false })
  t.match(newBudget(application(1_000n, 300n), 3, 2), { floor: 150n, isLimitExceeded: true })
  t.match(newBudget(application(1_000n, 333n), 3, 2), { floor: 166n, isLimitExceeded: false })
  t.match(newBudget(application(1_000n, 0n), 3, 2), { floor: 166n, isLimitExceeded: false })
})

t.test('a claim within the floor is paid whole, one above it is cut', async (t) => {
  const budget = newBudget(application(2_000_000n), 1, 1)
  t.match(grant(budget, upokt(1_000n), INFLATION, 1n), { settled: 1_000n, asked: 1_001n })
  t.match(
    grant(budget, upokt(3_386_968n), INFLATION, 1n),
    { settled: 1_999_998n, asked: 3_386_972n, cap: 2_000_000n },
    'what a real chain paid',
  )
  t.match(grant(budget, upokt(3_386_968n), INFLATION, 0n), { settled: 1_999_998n }, '0 counts as 1')
})

t.test('with a multiplier, what others left is shared out', async (t) => {
  const budget = newBudget(application(3_000n), 1, 3)
  for (const claimed of [100n, 1_500n, 1_800n]) reserve(budget, upokt(claimed), INFLATION)
  t.match(budget, { floor: 1_000n, unused: 899n, excess: 1_302n })
  t.match(grant(budget, upokt(1_500n), INFLATION, 2n), { cap: 1_345n, settled: 1_344n })
  t.match(grant(budget, upokt(1_800n), INFLATION, 2n), { cap: 1_553n, settled: 1_552n })
  t.match(grant(budget, upokt(1_800n), INFLATION, 1n), { cap: 1_000n, settled: 999n })
})

t.test('all claims of a session together never take more than its budget', async () => {
  const amounts = fc.array(fc.bigInt({ min: 1n, max: 10n ** 12n }), { minLength: 1, maxLength: 8 })
  fc.assert(
    fc.property(
      amounts,
      fc.bigInt({ min: 0n, max: 10n ** 12n }),
      fc.integer({ min: 1, max: 4 }),
      fc.bigInt({ min: 0n, max: 9n }),
      (claims, stake, pending, multiplier) => {
        const budget = newBudget(application(stake), pending, claims.length)
        for (const claimed of claims) reserve(budget, upokt(claimed), INFLATION)
        let taken = 0n
        for (const claimed of claims) {
          const { settled } = grant(budget, upokt(claimed), INFLATION, multiplier)
          if (settled > claimed) return false
          taken += inStakeTerms(settled, INFLATION)
        }
        return taken <= stake / BigInt(pending)
      },
    ),
  )
})
