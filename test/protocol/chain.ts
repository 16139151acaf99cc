/** The rules of this floor against recordings of a real chain and of its own relayer. */
import t from 'tap'
import { concat, hex, sha256, unhex } from '../../src/base/bytes.ts'
import { height, parseCoin } from '../../src/base/units.ts'
import { Claim, MsgCreateClaim } from '../../src/protocol/gen/pocket/proof/proof.ts'
import { Params as SharedParams } from '../../src/protocol/gen/pocket/shared/shared.ts'
import { Params as TokenomicsParams } from '../../src/protocol/gen/pocket/tokenomics/tokenomics.ts'
import { goVarint, seededFloat64 } from '../../src/protocol/rand.ts'
import {
  decodeRelay,
  decodeRelayRequest,
  decodeRelayResponse,
  dehydrate,
  encodeRelay,
  encodeRelayRequest,
  encodeRelayResponse,
  payloadHash,
  relayHash,
  validateRequest,
  validateResponse,
} from '../../src/protocol/relay.ts'
import {
  claimedUpokt,
  estimatedComputeUnits,
  estimatedRelays,
  isApplicable,
  proofPath,
  proofRequirement,
} from '../../src/protocol/rewards.ts'
import { gridAt, sameHeader, sessionId, sessionPreimage } from '../../src/protocol/session.ts'
import { supplierReward } from '../../src/protocol/shares.ts'
import { windowsOf } from '../../src/protocol/windows.ts'
import { json } from '../support/vectors.ts'

interface Recording {
  tag: string
  app: string
  service: string
  session_id: string
  session_start: number
  session_end: number
  windows: Record<
    'grace_end' | 'claim_open' | 'claim_close' | 'proof_open' | 'proof_close' | 'settle',
    number
  >
  supplier: string
  cupr: number
  difficulty_target: string
  session_start_block_hash: string
  seed_block?: { height: number; hash: string }
  proof_path?: string
  relays?: { request_hex: string; response_hex: string }[]
  wal?: { relay_hash: string; compute_units: number; relay_hex: string }[]
  claims: { code: number; message_hex: string; root_hex: string; claimed_upokt: string | number }[]
  events: { type: string; attributes: Record<string, unknown> }[]
}

const sessions = json<Recording[]>('chain/sessions.json')
/** The chain's parameters when the recording was made. */
const params = SharedParams.fromPartial({
  numBlocksPerSession: 10n,
  gracePeriodEndOffsetBlocks: 1n,
  claimWindowOpenOffsetBlocks: 1n,
  claimWindowCloseOffsetBlocks: 4n,
  proofWindowCloseOffsetBlocks: 4n,
  computeUnitsToTokensMultiplier: 145990n,
  computeUnitCostGranularity: 1_000_000n,
  sessionGridAnchorHeight: 1n,
  sessionNumberAtAnchor: 1n,
})

function headerOf(session: Recording) {
  return {
    applicationAddress: session.app,
    serviceId: session.service,
    sessionId: session.session_id,
    sessionStartBlockHeight: BigInt(session.session_start),
    sessionEndBlockHeight: BigInt(session.session_end),
  }
}

t.test('sessions, windows and paths', async (t) => {
  for (const session of sessions) {
    const grid = gridAt(height(session.session_start), params)
    t.strictSame([grid.start, grid.end], [session.session_start, session.session_end], session.tag)
    const preimage = sessionPreimage({
      blockHash: unhex(session.session_start_block_hash),
      serviceId: session.service,
      applicationAddress: session.app,
      start: grid.start,
    })
    t.equal(sessionId(preimage), session.session_id, `${session.tag} session id`)
    const windows = windowsOf(grid.end, params)
    t.strictSame(
      {
        grace_end: windows.graceEnd,
        claim_open: windows.claimOpen,
        claim_close: windows.claimClose,
        proof_open: windows.proofOpen,
        proof_close: windows.proofClose,
        settle: windows.settlement,
      },
      session.windows,
      `${session.tag} windows`,
    )
    if (session.seed_block === undefined) continue
    t.equal(windows.seed, session.seed_block.height, `${session.tag} seed height`)
    const path = proofPath(unhex(session.seed_block.hash), session.session_id)
    if (session.proof_path) t.equal(hex(path), session.proof_path, `${session.tag} path`)
  }
})

t.test('a relay is a leaf if and only if its hash is under the target', async (t) => {
  let [leaves, others] = [0, 0]
  for (const session of sessions) {
    const target = unhex(session.difficulty_target)
    const wal = new Set(session.wal?.map((entry) => entry.relay_hex))
    for (const [i, relay] of (session.relays ?? []).entries()) {
      const what = `${session.tag} relay ${i}`
      const request = decodeRelayRequest(unhex(relay.request_hex))
      const response = decodeRelayResponse(unhex(relay.response_hex))
      t.equal(hex(encodeRelayRequest(request)), relay.request_hex, `${what} request`)
      t.equal(hex(encodeRelayResponse(response)), relay.response_hex, `${what} response`)
      t.doesNotThrow(() => validateRequest(request), what)
      t.doesNotThrow(() => validateResponse(response), what)
      for (const { meta } of [request, response])
        t.ok(meta?.sessionHeader && sameHeader(meta.sessionHeader, headerOf(session)), what)
      t.same(response.payloadHash, payloadHash(response.payload), `${what} payload hash`)
      // The relayer lost the log of one session when it was ended.
      if (wal.size === 0) continue
      const bytes = dehydrate(request, response)
      const applicable = isApplicable(relayHash(bytes), target)
      t.equal(wal.has(hex(bytes)), applicable, `${what} in the log`)
      if (applicable) leaves++
      else others++
    }
    for (const entry of session.wal ?? []) {
      const bytes = unhex(entry.relay_hex)
      t.equal(hex(relayHash(bytes)), entry.relay_hash, `${session.tag} ${entry.relay_hash}`)
      t.equal(hex(encodeRelay(decodeRelay(bytes))), entry.relay_hex, entry.relay_hash)
      t.equal(entry.compute_units, session.cupr)
    }
  }
  t.ok(leaves > 10, `${leaves} leaves`)
  t.ok(others > 5, `${others} relays above the target`)
})

t.test('claims', async (t) => {
  for (const session of sessions)
    for (const claim of session.claims) {
      const rootHash = unhex(claim.root_hex)
      const message = {
        supplierOperatorAddress: session.supplier,
        sessionHeader: headerOf(session),
        rootHash,
      }
      t.equal(hex(MsgCreateClaim.encode(message).finish()), claim.message_hex, session.tag)
      const target = unhex(session.difficulty_target)
      const sum = BigInt(`0x${hex(rootHash.slice(32, 40))}`)
      const count = BigInt(`0x${hex(rootHash.slice(40))}`)
      t.equal(sum, count * BigInt(session.cupr), `${session.tag} weights`)
      // The proof module's own events leave the estimate unscaled until the claim settles.
      const event = session.events.find(({ type }) => /EventClaim(Settled|Expired)$/.test(type))
      const said = (name: string) => String(event?.attributes[name])
      t.equal(claimedUpokt(sum, target, params), parseCoin(said('claimed_upokt')), session.tag)
      t.equal(`${estimatedComputeUnits(sum, target)}`, said('num_estimated_compute_units'))
      t.equal(`${estimatedRelays(sum, count, target)}`, said('num_estimated_relays'))
    }
})

t.test('rewards', async (t) => {
  const tokenomics = TokenomicsParams.fromPartial({
    mintRatio: 0.975,
    mintEqualsBurnClaimDistribution: { supplier: 0.79 },
    mintAllocationPercentages: { supplier: 0.8 },
    globalInflationPerClaim: 0.000001,
  })
  let settled = 0
  for (const session of sessions)
    for (const { type, attributes } of session.events) {
      if (type !== 'pocket.tokenomics.EventClaimSettled') continue
      settled++
      const amount = parseCoin(String(attributes['settled_upokt'] ?? attributes['claimed_upokt']))
      const rewards = Object.values(attributes['reward_distribution'] as Record<string, string>)
      // The supplier's part is the largest; the others are the service owner's and the proposer's.
      const largest = rewards.map(parseCoin).sort((a, b) => Number(b - a))[0]
      t.equal(supplierReward(amount, tokenomics), largest, session.tag)
    }
  t.ok(settled >= 4, `${settled} settled claims`)
})

t.test('the lottery, drawn for a proof and again at settlement', async (t) => {
  const draws =
    json<
      {
        claim_hex: string
        session_id: string
        seed_block_hash: string
        probability: number
        go_sample: string
        status_samples: { claim_proof_status: 0 | 1 | 2; seed: string; sample: number }[]
        go_submitted_proof: boolean
        requirement_at_settlement: string
        status_at_settlement: keyof typeof STATUS
      }[]
    >('chain/lottery.json')
  t.equal(draws.length, 16)
  const requirement = (draw: (typeof draws)[number], status: 0 | 1 | 2) => {
    const claim = { ...Claim.decode(unhex(draw.claim_hex)), proofValidationStatus: status }
    const proof = {
      proofRequestProbability: draw.probability,
      proofRequirementThreshold: { denom: 'upokt', amount: '1000000000' },
      proofMissingPenalty: undefined,
      proofSubmissionFee: undefined,
    }
    return proofRequirement(claim, parseCoin('1upokt'), proof, unhex(draw.seed_block_hash))
  }
  let redrawn = 0
  for (const draw of draws) {
    const what = draw.session_id.slice(0, 8)
    const claim = Claim.decode(unhex(draw.claim_hex))
    t.equal(hex(Claim.encode(claim).finish()), draw.claim_hex, what)
    for (const { claim_proof_status: status, seed, sample } of draw.status_samples) {
      const bytes = Claim.encode({ ...claim, proofValidationStatus: status }).finish()
      const input = concat(sha256(bytes), unhex(draw.seed_block_hash))
      t.equal(`${goVarint(sha256(input))}`, seed, `${what} seed, status ${status}`)
      t.equal(seededFloat64(input), sample, `${what} sample, status ${status}`)
      if (status === 0) t.equal(sample, Number(draw.go_sample), `${what} as the Go relayer drew`)
    }
    const first = requirement(draw, 0)
    t.equal(first === 'probabilistic', draw.go_submitted_proof, `${what} first draw`)
    const last = requirement(draw, STATUS[draw.status_at_settlement])
    t.equal(last === 'probabilistic', draw.requirement_at_settlement === 'PROBABILISTIC', what)
    if (first !== last) redrawn++
  }
  t.equal(redrawn, 6, 'draws that settlement decided otherwise')
})

const STATUS = { PENDING: 0, VALIDATED: 1, INVALID: 2 } as const
