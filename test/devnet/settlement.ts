import t, { type Test } from 'tap'
import { unhex } from '../../src/base/bytes.ts'
import { upokt } from '../../src/base/units.ts'
import { countOf, requirementOf, sumOf } from '../../src/devnet/claims.ts'
import { sharedAt, withValue } from '../../src/devnet/state.ts'
import { unstakeSupplier } from '../../src/devnet/suppliers.ts'
import { Claim } from '../../src/protocol/gen/pocket/proof/proof.ts'
import { Settling, WHO } from '../support/settling.ts'
import { CUPR, SERVICE, typed } from '../support/simchain.ts'
import { json } from '../support/vectors.ts'

const POKT = 1_000_000n
const STAKE = 10_000n * POKT
const URL = 'http://127.0.0.1:8545'

const SETTLED = 'pocket.tokenomics.EventClaimSettled'
const EXPIRED = 'pocket.tokenomics.EventClaimExpired'
const DISCARDED = 'pocket.tokenomics.EventClaimDiscarded'
const OVERSERVICED = 'pocket.tokenomics.EventApplicationOverserviced'
const LEAVING = 'pocket.application.EventApplicationUnbondingBegin'

t.test('claims are settled in the one block after their proof window', async (t) => {
  const chain = new Settling()
  chain.claim({ relays: 250n })
  t.same(chain.settle(9).events, [])
  t.equal(chain.state.claims.values().length, 1)
  t.equal(typed(chain.settle(10).events, SETTLED).length, 1)
})

t.test('what was lengthened or shortened since does not move older sessions', async (t) => {
  for (const proofWindowCloseOffsetBlocks of [1n, 5n]) {
    const chain = new Settling()
    const old = sharedAt(chain.state, 1)
    const changed = { ...old, proofWindowCloseOffsetBlocks }
    chain.state.sharedHistory.set('', withValue(withValue([], 1, old), 9, changed))
    const params = chain.state.params.get('')
    if (params !== undefined) chain.state.params.set('', { ...params, shared: changed })
    chain.claim({ relays: 250n, start: 5, end: 8 })
    chain.claim({ relays: 250n, start: 9, end: 12 })
    const settled = (at: number) =>
      typed(chain.settle(at).events, SETTLED).map((event) => event['session_end_block_height'])
    const expected: Record<number, string[]> = {
      14: ['8'],
      [16 + Number(proofWindowCloseOffsetBlocks)]: ['12'],
    }
    for (let at = 9; at <= 24; at++)
      t.same(settled(at), expected[at] ?? [], `${proofWindowCloseOffsetBlocks}: ${at}`)
  }
})

interface Drawn {
  readonly claim_hex: string
  readonly session_id: string
  readonly seed_height: number
  readonly seed_block_hash: string
  readonly status_samples: readonly { claim_proof_status: 0 | 1 | 2; sample: number }[]
  readonly requirement_at_settlement: string
  readonly status_at_settlement: string
}

/** The chain of the drawn claims, where nothing is too much to be left to chance. */
function drawing(claim: Claim): Settling {
  const { supplierOperatorAddress: operator, sessionHeader, rootHash } = claim
  const address = sessionHeader?.applicationAddress ?? ''
  return new Settling({
    services: [{ id: SERVICE, computeUnitsPerRelay: sumOf(rootHash) / countOf(rootHash) }],
    applications: [{ address, serviceId: SERVICE }],
    suppliers: [{ operator, services: [SERVICE], url: URL }],
    params: {
      shared: {
        numBlocksPerSession: 10n,
        claimWindowCloseOffsetBlocks: 6n,
        supplierUnbondingPeriodSessions: 1n,
      },
      proof: {
        proofRequestProbability: 0.5,
        proofRequirementThreshold: { denom: 'upokt', amount: '1000000000000' },
      },
    },
  })
}

t.test('whether a proof was due is drawn anew, with the status of then', async (t) => {
  for (const row of json<Drawn[]>('chain/lottery.json'))
    for (const { claim_proof_status: status, sample } of row.status_samples) {
      const pending = Claim.decode(unhex(row.claim_hex))
      const claim = { ...pending, proofValidationStatus: status }
      const chain = drawing(claim)
      const { state } = chain
      state.blockHashes.set(String(row.seed_height), unhex(row.seed_block_hash))
      const name = `${row.session_id.slice(0, 8)}, status ${status}`
      const expected = sample <= 0.5 ? 'probabilistic' : 'not-required'
      t.equal(requirementOf(state, claim), expected, name)
      chain.put(claim)
      const { events } = chain.settle(row.seed_height + 3)
      const isDue = expected === 'probabilistic'
      const isPaid = status === 1 || !isDue
      t.equal(typed(events, SETTLED).length, isPaid ? 1 : 0, `${name}: paid`)
      t.equal(typed(events, EXPIRED).length, isPaid ? 0 : 1, `${name}: expired`)
      if (isPaid) t.match(typed(events, SETTLED), [{ proof_requirement_int: isDue ? 1 : 0 }], name)
      const recorded = row.requirement_at_settlement === 'NOT_REQUIRED'
      if (status === (row.status_at_settlement === 'VALIDATED' ? 1 : 0))
        t.equal(!isDue, recorded, `${name}: as recorded`)
    }
})

t.test('an application pays no more than its budget', async (t) => {
  const application = { address: WHO.application, serviceId: SERVICE, stake: upokt(8n * POKT) }
  const params = { application: { minStake: { denom: 'upokt', amount: '1000000' } } }
  const chain = new Settling({ applications: [application], params })
  chain.claim({ relays: 5_800n })
  chain.claim({ relays: 100n, operator: WHO.rival })
  const { events, leaves } = chain.settle()
  const paid = Object.fromEntries(
    typed(events, SETTLED).map((event) => [event['supplier_operator_address'], event]),
  )
  t.match(paid[WHO.operator], {
    claimed_upokt: '3386968upokt',
    settled_upokt: '1999998upokt',
    overservicing_loss_upokt: '1386970upokt',
  })
  t.match(paid[WHO.rival], { claimed_upokt: '58396upokt', settled_upokt: '58396upokt' })
  t.match(typed(events, OVERSERVICED), [
    {
      expected_burn: '3386972upokt',
      effective_burn: '2000000upokt',
      spend_limit_exceeded: false,
      supplier_operator_addr: WHO.operator,
    },
  ])
  t.equal(leaves.get(SERVICE), 5_900n)
})

t.test('an application without a budget left settles for nothing', async (t) => {
  const limit = upokt(1n)
  const application = { address: WHO.application, serviceId: SERVICE, spendLimit: limit }
  const chain = new Settling({ applications: [application] })
  chain.claim({ relays: 250n })
  chain.claim({ relays: 250n, operator: WHO.rival })
  const before = chain.supply()
  const { events, leaves } = chain.settle()
  t.match(typed(events, SETTLED), [
    { settled_upokt: '0upokt', reward_distribution: {} },
    { settled_upokt: '0upokt', reward_distribution: {} },
  ])
  t.match(typed(events, OVERSERVICED)[0], { spend_limit_exceeded: true })
  t.equal(chain.supply(), before)
  t.equal(leaves.get(SERVICE), 500n, 'its relays count')
})

t.test('an application that falls below the minimum leaves', async (t) => {
  const application = { address: WHO.application, serviceId: SERVICE, stake: upokt(1_000n * POKT) }
  const chain = new Settling({ applications: [application] })
  chain.claim({ relays: 250n })
  const { events } = chain.settle()
  t.match(typed(events, LEAVING), [
    {
      reason: 'APPLICATION_UNBONDING_REASON_BELOW_MIN_STAKE',
      session_end_height: '12',
      unbonding_end_height: '20',
    },
  ])
  t.equal(chain.state.applications.get(WHO.application)?.unstakeSessionEndHeight, 12n)
})

t.test('what makes a claim worthless', async (t) => {
  const refused = (t: Test, chain: Settling) => {
    const before = chain.supply()
    const { events, leaves } = chain.settle()
    t.equal(chain.supply(), before, 'nobody is paid')
    t.same(chain.state.claims.values(), [], 'and the claim is gone')
    t.equal(leaves.get(SERVICE), undefined)
    t.equal(chain.stakeOf(WHO.operator), 60_000n * POKT, 'and nobody slashed')
    return typed(events, DISCARDED).map((event) => String(event['error']))
  }

  await t.test('unstaking before it is settled', async (t) => {
    const chain = new Settling()
    chain.claim({ relays: 250n })
    const message = { signer: WHO.operator, operatorAddress: WHO.operator }
    unstakeSupplier(chain.context(6), message)
    const [error] = refused(t, chain)
    t.match(
      error,
      'SHOULD NEVER HAPPEN: service \\"text-gen\\" not found for supplier'.replaceAll('\\', ''),
    )
    t.match(error, 'Claim will be discarded to prevent chain halt: TLM "TLMRelayBurnEqualsMint"')
    t.equal(chain.stakeOf(WHO.application), STAKE - 145_990n, 'which the application pays')
  })

  await t.test('a worth that mints nothing', async (t) => {
    const service = { id: SERVICE, computeUnitsPerRelay: 1n }
    const chain = new Settling({ services: [service] })
    chain.claim({ relays: 7n, computeUnitsPerRelay: 1n })
    t.match(
      refused(t, chain)[0],
      'mint amount truncated to zero for settlement 1 with mint_ratio 0.975',
    )
    t.equal(chain.stakeOf(WHO.application), STAKE - 1n)
  })

  await t.test('another weight than the service has', async (t) => {
    const chain = new Settling()
    chain.claim({ relays: 250n, computeUnitsPerRelay: CUPR + 1n })
    t.match(
      refused(t, chain)[0],
      'mismatch: claim compute units (1000250) != number of relays (250)',
    )
    t.equal(chain.stakeOf(WHO.application), STAKE)
  })

  for (const [table, address] of [
    ['applications', WHO.application],
    ['suppliers', WHO.operator],
    ['services', SERVICE],
  ] as const)
    await t.test(`its ${table} gone`, async (t) => {
      const chain = new Settling()
      chain.claim({ relays: 250n })
      chain.state[table].delete(address)
      const { events } = chain.settle()
      t.match(typed(events, DISCARDED)[0]?.['error'], 'not found')
      t.same(chain.state.claims.values(), [])
    })
})
