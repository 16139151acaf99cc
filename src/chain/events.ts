/**
 * How claims ended: the tokenomics events of a block's end.
 *
 * An attribute's value is JSON text in itself: strings are quoted, 64-bit integers are quoted strings,
 * 32-bit ones bare, coins text such as "583upokt". The attribute `mode` alone is plain text. Events of
 * an expired or discarded claim and of a slash carry no session id: supplier, application, service
 * and session end say which claim it was.
 * Source: poktroll proto/pocket/tokenomics/event.proto, cosmos-sdk types/events.go. Tested by
 * test/chain/events.ts.
 */
import {
  type Address,
  type ComputeUnits,
  computeUnits,
  type Height,
  parseCoin,
  type Upokt,
} from '../base/units.ts'
import { Json } from './json.ts'

/** What names the claim in every one of these events. */
export interface ClaimName {
  readonly operator: Address
  readonly application: Address
  readonly serviceId: string
  readonly sessionEnd: Height
  /** What the chain knew of the proof when it settled. */
  readonly proofStatus: ProofStatus
}

export type ProofStatus = 'pending' | 'validated' | 'invalid'

/** What the claim said, and what the chain made of it. */
export interface ClaimSize {
  /** Leaves of the tree. */
  readonly relays: bigint
  /** The root's sum. */
  readonly computeUnits: ComputeUnits
  /** Scaled up by the difficulty: what is paid for. */
  readonly estimatedRelays: bigint
  readonly estimatedComputeUnits: ComputeUnits
  /** Worth of the estimated compute units. */
  readonly claimed: Upokt
}

export interface ClaimSettled extends ClaimName, ClaimSize {
  readonly kind: 'settled'
  readonly sessionId: string
  readonly owner: Address
  readonly proofRequirement: 'not-required' | 'probabilistic' | 'threshold'
  /** Burnt from the application's stake: `claimed` cut to what its stake bears. */
  readonly settled: Upokt
  /** `settled` times the mint ratio: what is distributed. */
  readonly minted: Upokt
  readonly mintRatio: string
  readonly overservicingLoss: Upokt
  readonly deflationLoss: Upokt
  /** Who got how much, all reasons together. */
  readonly rewards: ReadonlyMap<string, Upokt>
  /** The same by reason (`TLM_RELAY_BURN_EQUALS_MINT_SUPPLIER_SHAREHOLDER_REWARD_DISTRIBUTION` …). */
  readonly rewardDetails: readonly RewardDetail[]
}

export interface RewardDetail {
  readonly recipient: string
  readonly reason: string
  readonly amount: Upokt
}

export interface ClaimExpired extends ClaimName, ClaimSize {
  readonly kind: 'expired'
  /** `PROOF_MISSING` or `PROOF_INVALID`. */
  readonly reason: string
}

/** The chain could not judge the claim: nobody is paid, nobody is slashed. */
export interface ClaimDiscarded extends ClaimName {
  readonly kind: 'discarded'
  readonly error: string
}

/** One for each expired claim. */
export interface SupplierSlashed extends ClaimName {
  readonly kind: 'slashed'
  readonly penalty: Upokt
  readonly stakeAfter: Upokt
}

export type SettlementEvent = ClaimSettled | ClaimExpired | ClaimDiscarded | SupplierSlashed

const READERS: ReadonlyMap<string, (event: Json) => SettlementEvent> = new Map<
  string,
  (event: Json) => SettlementEvent
>([
  ['pocket.tokenomics.EventClaimSettled', readSettled],
  ['pocket.tokenomics.EventClaimExpired', readExpired],
  ['pocket.tokenomics.EventClaimDiscarded', readDiscarded],
  ['pocket.tokenomics.EventSupplierSlashed', readSlashed],
])

/**
 * @param events `finalize_block_events` of `block_results`
 * @returns in the chain's order; events of other kinds are skipped
 * @throws ChainError RESPONSE
 */
export function readSettlements(events: Json): SettlementEvent[] {
  const out: SettlementEvent[] = []
  for (const event of events.list()) {
    const read = READERS.get(event.get('type').text())
    if (read !== undefined) out.push(read(readAttributes(event)))
  }
  return out
}

/** One object of all attributes, each parsed. */
function readAttributes(event: Json): Json {
  const fields: Record<string, unknown> = {}
  for (const attribute of event.get('attributes').list()) {
    const key = attribute.get('key').text()
    const value = attribute.get('value')
    if (key !== 'mode') fields[key] = value.as('JSON', () => JSON.parse(value.text()) as unknown)
  }
  return new Json(fields, event.path)
}

function readSettled(event: Json): ClaimSettled {
  const requirement = event.get('proof_requirement_int')
  return {
    kind: 'settled',
    ...readName(event),
    ...readSize(event),
    sessionId: event.get('session_id').text(),
    owner: event.get('supplier_owner_address').text() as Address,
    proofRequirement: pick(requirement, ['not-required', 'probabilistic', 'threshold'] as const),
    settled: coin(event.get('settled_upokt')),
    minted: coin(event.get('minted_upokt')),
    mintRatio: event.get('mint_ratio').text(),
    overservicingLoss: coin(event.get('overservicing_loss_upokt')),
    deflationLoss: coin(event.get('deflation_loss_upokt')),
    rewards: readRewards(event.get('reward_distribution')),
    rewardDetails: readDetails(event.get('reward_distribution_detailed')),
  }
}

function readRewards(distribution: Json): Map<string, Upokt> {
  return new Map(distribution.entries().map(([recipient, amount]) => [recipient, coin(amount)]))
}

function readDetails(details: Json): RewardDetail[] {
  if (details.isNull) throw details.wrong('a list')
  return details.list().map((detail) => ({
    recipient: detail.get('recipient_address').text(),
    reason: detail.get('op_reason').text(),
    amount: coin(detail.get('amount')),
  }))
}

function readExpired(event: Json): ClaimExpired {
  const reason = event.get('expiration_reason').text()
  return { kind: 'expired', ...readName(event), ...readSize(event), reason }
}

function readDiscarded(event: Json): ClaimDiscarded {
  return { kind: 'discarded', ...readName(event), error: event.get('error').text() }
}

function readSlashed(event: Json): SupplierSlashed {
  return {
    kind: 'slashed',
    ...readName(event),
    penalty: coin(event.get('proof_missing_penalty')),
    stakeAfter: coin(event.get('supplier_stake_after_slash')),
  }
}

function readName(event: Json): ClaimName {
  const status = event.get('claim_proof_status_int')
  return {
    operator: event.get('supplier_operator_address').text() as Address,
    application: event.get('application_address').text() as Address,
    serviceId: event.get('service_id').text(),
    sessionEnd: event.get('session_end_block_height').height(),
    proofStatus: pick(status, ['pending', 'validated', 'invalid'] as const),
  }
}

function readSize(event: Json): ClaimSize {
  return {
    relays: event.get('num_relays').big(),
    computeUnits: units(event.get('num_claimed_compute_units')),
    estimatedRelays: event.get('num_estimated_relays').big(),
    estimatedComputeUnits: units(event.get('num_estimated_compute_units')),
    claimed: coin(event.get('claimed_upokt')),
  }
}

function coin(field: Json): Upokt {
  return field.as('an amount in upokt', () => parseCoin(field.text()))
}

function units(field: Json): ComputeUnits {
  return field.as('compute units', () => computeUnits(field.big()))
}

/** An enum by its number. */
function pick<T>(field: Json, names: readonly T[]): T {
  const name = names[field.integer()]
  if (name === undefined) throw field.wrong('a known number')
  return name
}
