import t from 'tap'
import { upokt } from '../../src/base/units.ts'
import { moduleAddress } from '../../src/devnet/bank.ts'
import { unbondSuppliers } from '../../src/devnet/suppliers.ts'
import { Settling, WHO } from '../support/settling.ts'
import { SERVICE, typed } from '../support/simchain.ts'

const POKT = 1_000_000n
const URL = 'http://127.0.0.1:8545'

const EXPIRED = 'pocket.tokenomics.EventClaimExpired'
const SLASHED = 'pocket.tokenomics.EventSupplierSlashed'
const LEAVING = 'pocket.supplier.EventSupplierUnbondingBegin'

function slashing(penalty: bigint, stake = 60_000n * POKT): Settling {
  const { operator, owner, rival } = WHO
  return new Settling({
    suppliers: [
      { operator, owner, services: [SERVICE], url: URL, stake: upokt(stake) },
      { operator: rival, services: [SERVICE], url: URL },
    ],
    params: { proof: { proofMissingPenalty: { denom: 'upokt', amount: penalty.toString() } } },
  })
}

t.test('a claim without a good proof expires, and costs the penalty', async (t) => {
  for (const [status, reason] of [
    [0, 'PROOF_MISSING'],
    [2, 'PROOF_INVALID'],
  ] as const) {
    const chain = slashing(5n * POKT)
    chain.claim({ relays: 250n, status })
    chain.claim({ relays: 250n, operator: WHO.rival })
    const before = chain.supply()
    const { events, leaves } = chain.settle()
    t.match(typed(events, EXPIRED), [
      { expiration_reason: reason, claimed_upokt: '145990upokt', claim_proof_status_int: status },
    ])
    t.match(typed(events, SLASHED), [
      {
        proof_missing_penalty: '5000000upokt',
        supplier_stake_after_slash: '59995000000upokt',
        supplier_operator_address: WHO.operator,
      },
    ])
    t.same(typed(events, LEAVING), [], 'it stays')
    t.equal(chain.stakeOf(WHO.operator), 59_995n * POKT)
    t.equal(chain.balance(moduleAddress('supplier')), 119_995n * POKT, 'also in the pool')
    const rivals = 142_340n + 1n - 145_990n
    t.equal(chain.supply() - before, rivals - 5n * POKT, 'the penalty is burnt')
    t.equal(leaves.get(SERVICE), 250n, 'its relays do not count')
    t.same(chain.state.claims.values(), [])
  }
})

t.test('each expired claim costs a penalty, and none more than the stake', async (t) => {
  const chain = slashing(40_000n * POKT)
  chain.claim({ relays: 1n, status: 0, start: 1, end: 4 })
  chain.claim({ relays: 2n, status: 0, start: 2, end: 4 })
  const { events } = chain.settle()
  t.equal(typed(events, EXPIRED).length, 2)
  t.match(typed(events, SLASHED), [
    { proof_missing_penalty: '40000000000upokt', supplier_stake_after_slash: '20000000000upokt' },
    { proof_missing_penalty: '20000000000upokt', supplier_stake_after_slash: '0upokt' },
  ])
  t.equal(typed(events, LEAVING).length, 1, 'it is forced out once')
})

t.test('below the minimum it is marked as leaving, serves on, and is not paid out', async (t) => {
  const chain = slashing(1n, 59_500n * POKT)
  chain.claim({ relays: 250n, status: 0 })
  const { events } = chain.settle()
  t.match(typed(events, LEAVING), [
    {
      reason: 'SUPPLIER_UNBONDING_REASON_BELOW_MIN_STAKE',
      session_end_height: '12',
      unbonding_end_height: '12',
    },
  ])
  const left = chain.state.suppliers.get(WHO.operator)
  t.equal(left?.unstakeSessionEndHeight, 12n)
  t.equal(left?.serviceConfigHistory[0]?.deactivationHeight, 0n)
  for (const at of [12, 20, 40]) unbondSuppliers(chain.context(at))
  t.equal(chain.state.suppliers.get(WHO.operator), left)
  t.equal(chain.balance(WHO.owner), 0n)
})

t.test('a supplier that is gone is not slashed', async (t) => {
  const chain = slashing(1n)
  chain.claim({ relays: 250n, status: 0 })
  chain.state.suppliers.delete(WHO.operator)
  const { events } = chain.settle()
  t.same(typed(events, SLASHED), [])
})
