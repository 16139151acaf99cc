import fc from 'fast-check'
import t from 'tap'
import { moduleAddress } from '../../src/devnet/bank.ts'
import { VALIDATOR } from '../../src/devnet/validators.ts'
import { Settling, WHO } from '../support/settling.ts'
import { SERVICE, typed } from '../support/simchain.ts'

const POKT = 1_000_000n
const STAKE = 10_000n * POKT
const URL = 'http://127.0.0.1:8545'

const SETTLED = 'pocket.tokenomics.EventClaimSettled'
const FALLBACK = 'pocket.tokenomics.EventSupplierRevShareFallbackDistribution'

function sharing(shares: readonly { address: string; percent: bigint }[]) {
  const { operator, owner } = WHO
  return { suppliers: [{ operator, owner, services: [SERVICE], url: URL, shares }] }
}

t.test('a million compute units, to the last upokt', async (t) => {
  const { owner, rival } = WHO
  const shares = [
    { address: owner, percent: 80n },
    { address: rival, percent: 20n },
  ]
  const chain = new Settling(sharing(shares))
  chain.claim({ relays: 250n })
  const before = chain.supply()
  const { events } = chain.settle()
  t.equal(chain.balance(owner), 89_959n)
  t.equal(chain.balance(rival), 22_489n)
  t.equal(chain.balance(VALIDATOR), 19_927n)
  t.equal(chain.balance(WHO.author), 3_558n)
  t.equal(chain.balance(WHO.dao), 6_407n + 1n + 1n, 'with what inflation mints and is asked back')
  t.equal(chain.stakeOf(WHO.application), STAKE - 145_990n - 1n)
  t.equal(chain.balance(moduleAddress('application')), STAKE - 145_990n - 1n)
  t.equal(chain.balance(moduleAddress('tokenomics')), 0n)
  t.equal(chain.balance(moduleAddress('supplier')), chain.stakeOf(WHO.operator))
  t.equal(chain.supply() - before, 142_340n + 1n - 145_990n)
  t.match(typed(events, SETTLED), [
    {
      claimed_upokt: '145990upokt',
      settled_upokt: '145990upokt',
      minted_upokt: '142340upokt',
      deflation_loss_upokt: '3650upokt',
      overservicing_loss_upokt: '0upokt',
      proof_requirement_int: 2,
      claim_proof_status_int: 1,
    },
  ])
  t.same(chain.state.claims.values(), [])
})

t.test('the order of the shareholders decides who gets the remainder', async (t) => {
  const { owner, rival } = WHO
  const shares = [
    { address: rival, percent: 20n },
    { address: owner, percent: 80n },
  ]
  const chain = new Settling(sharing(shares))
  chain.claim({ relays: 250n })
  chain.settle()
  t.equal(chain.balance(owner), 89_958n)
  t.equal(chain.balance(rival), 22_490n)
})

t.test('shares that do not add up go to the owner', async (t) => {
  const chain = new Settling(sharing([{ address: WHO.rival, percent: 90n }]))
  chain.claim({ relays: 250n })
  const { events } = chain.settle()
  t.equal(chain.balance(WHO.owner), 112_448n)
  t.equal(chain.balance(WHO.rival), 0n)
  t.match(typed(events, FALLBACK), [
    { observed_sum_percentage: '90', reason: 'revshare percentage sum 90 != required 100' },
  ])
})

t.test('whatever is settled, no upokt is lost or made', async () => {
  const percent = fc.integer({ min: 0, max: 25 })
  fc.assert(
    fc.property(
      fc.array(fc.bigInt({ min: 1n, max: 10n ** 9n }), { minLength: 2, maxLength: 2 }),
      fc.bigInt({ min: 0n, max: 100n }),
      fc.tuple(percent, percent, percent, percent),
      // A smaller part of one relay's pay is nothing, which the chain refuses.
      fc.integer({ min: 3, max: 1_000 }),
      fc.integer({ min: 0, max: 1_000 }),
      (
        [one = 1n, other = 1n],
        share,
        [supplier, proposer, sourceOwner, application],
        mint,
        rate,
      ) => {
        const parts = {
          supplier: supplier / 100,
          proposer: proposer / 100,
          sourceOwner: sourceOwner / 100,
          application: application / 100,
          dao: 1 - (supplier + proposer + sourceOwner + application) / 100,
        }
        const shares = [
          { address: WHO.owner, percent: share },
          { address: WHO.stranger, percent: 100n - share },
        ]
        const { operator, owner, rival } = WHO
        const tokenomics = {
          mintRatio: mint / 1_000,
          globalInflationPerClaim: rate / 1_000,
          mintEqualsBurnClaimDistribution: parts,
          mintAllocationPercentages: parts,
        }
        const chain = new Settling({
          suppliers: [
            { operator, owner, services: [SERVICE], url: URL, shares },
            { operator: rival, services: [SERVICE], url: URL },
          ],
          params: { tokenomics },
        })
        chain.claim({ relays: one })
        chain.claim({ relays: other, operator: WHO.rival })
        const before = chain.supply()
        const { events } = chain.settle()
        const amounts = (field: string) =>
          typed(events, SETTLED).reduce(
            (sum, event) => sum + BigInt(String(event[field]).replace('upokt', '')),
            0n,
          )
        const inflation = typed(events, 'pocket.tokenomics.EventApplicationReimbursementRequest')
          .map((event) => BigInt(String(event['amount']).replace('upokt', '')))
          .reduce((sum, amount) => sum + amount, 0n)
        const pools = ['supplier', 'application', 'tokenomics'] as const
        const [suppliers, applications, rest] = pools.map((name) =>
          chain.balance(moduleAddress(name)),
        )
        return (
          chain.supply() - before ===
            amounts('minted_upokt') + inflation - amounts('settled_upokt') &&
          suppliers === chain.stakeOf(operator) + chain.stakeOf(rival) &&
          applications === chain.stakeOf(WHO.application) &&
          rest === 0n
        )
      },
    ),
    { numRuns: 60 },
  )
})
