import fc from 'fast-check'
import t from 'tap'
import { concat, hex, sha256, unhex } from '../../src/base/bytes.ts'
import { upokt } from '../../src/base/units.ts'
import { Claim, MsgCreateClaim } from '../../src/protocol/gen/pocket/proof/proof.ts'
import { firstInt63s, goVarint, seededFloat64 } from '../../src/protocol/rand.ts'
import {
  BASE_TARGET,
  claimedUpokt,
  estimatedComputeUnits,
  estimatedRelays,
  isApplicable,
  meterLimit,
  proofPath,
  proofRequirement,
  relayCost,
} from '../../src/protocol/rewards.ts'
import { pendingSessions } from '../../src/protocol/windows.ts'
import { json, type ParamsJson, paramsOf, rows } from '../support/vectors.ts'

const MAIN = { computeUnitsToTokensMultiplier: 145990n, computeUnitCostGranularity: 1_000_000n }

t.test('which relays count', async (t) => {
  const all = rows<{
    target: string
    cases: { hash: string; applicable: boolean }[]
    multiplier_floor: string
  }>('relay.jsonl', 'difficulty')
  t.equal(all.length, 21)
  for (const row of all) {
    const target = unhex(row.target)
    for (const { hash, applicable } of row.cases)
      t.equal(isApplicable(unhex(hash), target), applicable, `${row.id} ${hash} < ${row.target}`)
    const low64 = BigInt.asUintN(64, BigInt(row.multiplier_floor))
    t.equal(estimatedComputeUnits(1n, target), low64, `${row.id} multiplier`)
  }
  const target = unhex(`00${'ff'.repeat(31)}`)
  t.notOk(isApplicable(target, target), 'the target itself does not count')
  t.notOk(isApplicable(unhex('ff'.repeat(32)), BASE_TARGET))
})

t.test('what claims are worth', async (t) => {
  const all = rows<{
    sum: string
    count: string
    cuttm: string
    granularity: string
    target: string
    claimed_upokt?: string
    error?: string
    panic?: string
    estimated_compute_units?: string
    estimated_relays?: string
  }>('proof.jsonl', 'reward')
  t.equal(all.length, 216)
  let refused = 0
  for (const row of all) {
    const [sum, count, target] = [BigInt(row.sum), BigInt(row.count), unhex(row.target)]
    const price = {
      computeUnitsToTokensMultiplier: BigInt(row.cuttm),
      computeUnitCostGranularity: BigInt(row.granularity),
    }
    const claimed = () => claimedUpokt(sum, target, price)
    if (row.error || row.panic) {
      refused++
      t.throws(claimed, { code: 'REWARD' }, row.id)
    } else t.equal(claimed(), BigInt(row.claimed_upokt ?? -1), row.id)
    for (const [estimate, expected] of [
      [() => estimatedComputeUnits(sum, target), row.estimated_compute_units],
      [() => estimatedRelays(sum, count, target), row.estimated_relays],
    ] as const)
      if (expected === undefined) t.throws(estimate, { code: 'REWARD' }, `${row.id} estimate`)
      else t.equal(estimate(), BigInt(expected), `${row.id} estimate`)
  }
  t.ok(refused > 20, `${refused} rows are refused`)
  t.equal(claimedUpokt(1000n, BASE_TARGET, MAIN), 145n)
  t.equal(claimedUpokt(1000n, unhex(`7f${'ff'.repeat(31)}`), MAIN), 291n)
})

t.test('what a relay costs an application', async (t) => {
  const all = rows<{
    compute_units_per_relay: string
    cuttm: string
    granularity: string
    upokt: string
  }>('proof.jsonl', 'relay-cost')
  for (const row of all) {
    const price = {
      computeUnitsToTokensMultiplier: BigInt(row.cuttm),
      computeUnitCostGranularity: BigInt(row.granularity),
    }
    t.equal(relayCost(BigInt(row.compute_units_per_relay), price), BigInt(row.upokt), row.id)
  }
  const free = { ...MAIN, computeUnitCostGranularity: 0n }
  t.throws(() => relayCost(1n, free), { code: 'REWARD' })
})

t.test('what an application can spend on one supplier', async (t) => {
  const all = rows<{
    app_stake: string
    num_suppliers_per_session: string
    shared_params: ParamsJson
    upokt: string
  }>('proof.jsonl', 'meter-limit')
  t.equal(all.length, 11)
  for (const row of all) {
    const limit = meterLimit({
      applicationStake: upokt(row.app_stake),
      suppliersPerSession: BigInt(row.num_suppliers_per_session),
      pendingSessions: pendingSessions(paramsOf(row.shared_params)),
    })
    t.equal(limit, BigInt(row.upokt), row.id)
  }
  const documented = {
    applicationStake: upokt(1_000_000_000),
    suppliersPerSession: 50n,
    pendingSessions: 2,
  }
  t.equal(meterLimit(documented), 6_666_666n)
  t.equal(meterLimit({ ...documented, spendLimit: upokt(0) }), 6_666_666n, '0 is no limit')
  t.equal(meterLimit({ ...documented, spendLimit: upokt(1_000_049) }), 20_000n, 'its share')
  t.equal(meterLimit({ ...documented, spendLimit: upokt(10n ** 12n) }), 6_666_666n, 'a high one')
  t.throws(() => meterLimit({ ...documented, suppliersPerSession: 0n }), { code: 'REWARD' })
})

const REASONS: Record<string, string> = {
  NOT_REQUIRED: 'not-required',
  PROBABILISTIC: 'probabilistic',
  THRESHOLD: 'threshold',
}

t.test('which claims must be proved', async (t) => {
  const all = rows<{
    claim: string
    claimed_upokt: string
    proof_request_probability: number
    proof_requirement_threshold: string
    seed_block_hash: string
    reason: string
    sample: number
    status: number
    target: string
    shared_params: ParamsJson
  }>('proof.jsonl', 'requirement')
  t.equal(all.length, 220)
  const seen = new Set<string>()
  for (const row of all) {
    const claim = Claim.decode(unhex(row.claim))
    t.equal(hex(Claim.encode(claim).finish()), row.claim, `${row.id} claim`)
    const seed = unhex(row.seed_block_hash)
    const sum = BigInt(`0x${hex(claim.rootHash.slice(32, 40))}`)
    const claimed = claimedUpokt(sum, unhex(row.target), paramsOf(row.shared_params))
    t.equal(claimed, BigInt(row.claimed_upokt), `${row.id} worth`)
    const sample = seededFloat64(concat(sha256(unhex(row.claim)), seed))
    t.equal(sample, row.sample, `${row.id} sample`)
    const params = {
      proofRequestProbability: row.proof_request_probability,
      proofRequirementThreshold: { denom: 'upokt', amount: row.proof_requirement_threshold },
      proofMissingPenalty: undefined,
      proofSubmissionFee: undefined,
    }
    const requirement = proofRequirement(claim, claimed, params, seed)
    t.equal(requirement, REASONS[row.reason], `${row.id} ${row.reason}`)
    seen.add(requirement)
  }
  t.equal(seen.size, 3)
})

t.test('the threshold and the probability themselves call for a proof', async (t) => {
  const [row] = rows<{ claim: string; seed_block_hash: string; rows: { sample: number }[] }>(
    'proof.jsonl',
    'sample',
  )
  const claim = Claim.decode(unhex(row?.claim ?? ''))
  const sample = row?.rows[0]?.sample ?? 0
  const seed = unhex(row?.seed_block_hash ?? '')
  const required = (claimed: bigint, proofRequestProbability: number) =>
    proofRequirement(
      claim,
      upokt(claimed),
      {
        proofRequestProbability,
        proofRequirementThreshold: { denom: 'upokt', amount: '100' },
        proofMissingPenalty: undefined,
        proofSubmissionFee: undefined,
      },
      seed,
    )
  t.equal(required(100n, 0), 'threshold')
  t.equal(required(99n, 0), 'not-required')
  t.equal(required(99n, sample), 'probabilistic')
  t.equal(required(99n, sample - Number.EPSILON), 'not-required')
})

t.test('a draw depends on the claim’s status', async (t) => {
  const all = rows<{
    claim: string
    msg_create_claim: string
    seed_block_hash: string
    rows: { status: 0 | 1 | 2; claim_hash: string; sample: number }[]
  }>('proof.jsonl', 'sample')
  t.equal(all.length, 60)
  for (const row of all) {
    const claim = Claim.decode(unhex(row.claim))
    t.equal(row.claim, row.msg_create_claim, `${row.id} a fresh claim is its message`)
    const message = MsgCreateClaim.decode(unhex(row.msg_create_claim))
    t.equal(hex(MsgCreateClaim.encode(message).finish()), row.msg_create_claim, row.id)
    for (const draw of row.rows) {
      const bytes = Claim.encode({ ...claim, proofValidationStatus: draw.status }).finish()
      t.equal(hex(sha256(bytes)), draw.claim_hash, `${row.id} status ${draw.status}`)
      const sample = seededFloat64(concat(sha256(bytes), unhex(row.seed_block_hash)))
      t.equal(sample, draw.sample, `${row.id} status ${draw.status}`)
    }
  }
})

t.test('the documented claim', async (t) => {
  const { sampledClaim } = json<{
    sampledClaim: {
      claim: string
      seedBlockHash: string
      byStatus: { claimHash: string; sample: number; int63: string; seed: string }[]
    }
  }>('documented.json')
  const claim = Claim.decode(unhex(sampledClaim.claim))
  const statuses = [0, 1, 2] as const
  for (const status of statuses) {
    const expected = sampledClaim.byStatus[status]
    const bytes = Claim.encode({ ...claim, proofValidationStatus: status }).finish()
    t.equal(hex(bytes), sampledClaim.claim + (status === 0 ? '' : `200${status}`))
    t.equal(hex(sha256(bytes)), expected?.claimHash)
    const input = concat(sha256(bytes), unhex(sampledClaim.seedBlockHash))
    const seed = goVarint(sha256(input))
    t.equal(`${seed}`, expected?.seed)
    t.equal(`${firstInt63s(seed)[0]}`, expected?.int63)
    t.equal(seededFloat64(input), expected?.sample)
  }
})

t.test('the path to prove', async (t) => {
  const all = rows<{ block_hash: string; session_id: string; path: string }>(
    'proof.jsonl',
    'proof-path',
  )
  t.equal(all.length, 44)
  for (const row of all)
    t.equal(hex(proofPath(unhex(row.block_hash), row.session_id)), row.path, row.id)
})

t.test('a harder target never makes a claim worth less', async () => {
  const target = fc.uint8Array({ minLength: 32, maxLength: 32 }).filter((bytes) => bytes[0] !== 0)
  fc.assert(
    fc.property(target, target, fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (a, b, sum) => {
      const [hard, easy] = isApplicable(a, b) ? [a, b] : [b, a]
      return claimedUpokt(sum, hard, MAIN) >= claimedUpokt(sum, easy, MAIN)
    }),
  )
})
