/**
 * Settlement: at the end of a proof window, claims are paid, expire, or are thrown away.
 *
 * Whether a proof was due is drawn anew, with the claim's status of now: the answer may be another than
 * when the proof was sent. What goes wrong with one claim discards it, without pay and without a slash.
 * Source: poktroll x/tokenomics/keeper/settle_pending_claims.go. Tested by test/devnet/settlement.ts.
 */
import { fromCoin, type Upokt, upokt } from '../base/units.ts'
import type { Application } from '../protocol/gen/pocket/application/application.ts'
import type { Claim } from '../protocol/gen/pocket/proof/proof.ts'
import type { Supplier } from '../protocol/gen/pocket/shared/shared.ts'
import { fraction } from '../protocol/shares.ts'
import { pendingSessions } from '../protocol/windows.ts'
import { beginUnbonding } from './applications.ts'
import { carryOut, type Operation } from './batch.ts'
import { type Budget, grant, newBudget, reserve } from './budget.ts'
import { computeUnitsAt, headerOf, requirementOf, type Worth, worthOf } from './claims.ts'
import { quoted, Refusal, registered } from './errors.ts'
import { coinText, typedEvent } from './events.ts'
import { windowBlocks } from './params.ts'
import { type Parties, payOut } from './payout.ts'
import { activeServices } from './session.ts'
import { settledEvent } from './settled.ts'
import { expire, type Slash, slash } from './slashing.ts'
import { type Context, claimKey, heightOf, paramsOf, type State, sharedAt } from './state.ts'
import { payValidators } from './validators.ts'

/** What all claims of one block share while they are settled. */
interface Round {
  readonly context: Context
  readonly applications: Map<string, Application>
  readonly suppliers: Map<string, Supplier>
  readonly budgets: Map<string, Budget>
  readonly claimsOf: Map<string, number>
  readonly operations: Operation[]
  readonly proposers: { burnt: Upokt; inflation: Upokt }
  readonly slashes: Slash[]
  /** Leaves of settled claims, by service. */
  readonly settled: Map<string, bigint>
  firstEnd: bigint | undefined
}

/** @returns leaves of the claims settled, by service: what the difficulty follows */
export function settleClaims(context: Context): ReadonlyMap<string, bigint> {
  const round: Round = {
    context,
    applications: new Map(),
    suppliers: new Map(),
    budgets: new Map(),
    claimsOf: new Map(),
    operations: [],
    proposers: { burnt: upokt(0), inflation: upokt(0) },
    slashes: [],
    settled: new Map(),
    firstEnd: undefined,
  }
  const claims = ripeClaims(context)
  for (const claim of claims) {
    const key = budgetKey(claim)
    round.claimsOf.set(key, (round.claimsOf.get(key) ?? 0) + 1)
  }
  for (const claim of claims) attempt(() => reckon(round, claim))
  for (const claim of claims) {
    const fault = attempt(() => settle(round, claim))
    if (fault !== undefined) discard(context, claim, fault)
    const { sessionId } = headerOf(claim)
    context.state.claims.delete(claimKey(sessionId, claim.supplierOperatorAddress))
  }
  finish(round)
  return round.settled
}

function finish(round: Round): void {
  const { context, operations, proposers } = round
  const { state } = context
  for (const [address, application] of round.applications)
    state.applications.set(address, application)
  const end = round.firstEnd ?? 0n
  operations.push(...payValidators(context, proposers, end))
  carryOut(context, operations, end)
  for (const entry of round.slashes) slash(context, entry)
}

function attempt(work: () => void): string | undefined {
  try {
    work()
    return undefined
  } catch (error) {
    if (error instanceof Refusal) return error.message
    throw error
  }
}

/** Those whose proof window is over, by the parameters of their own session's end. */
function ripeClaims(context: Context): Claim[] {
  const { state, height: now } = context
  const claims = state.claims.values()
  return candidateEnds(context).flatMap((end) =>
    claims.filter((claim) => {
      const { sessionEndBlockHeight: claimed } = headerOf(claim)
      return claimed === end && BigInt(now) > end + windowBlocks(sharedAt(state, Number(end)))
    }),
  )
}

/** Session ends that any parameters still in use would settle now. */
function candidateEnds(context: Context): bigint[] {
  const { state, height } = context
  const now = BigInt(height)
  const ends = new Set([now - windowBlocks(paramsOf(state).shared) - 1n])
  const history = (state.sharedHistory.get('') ?? []).filter((entry) => entry.height <= height)
  let next = now + 1n
  for (const { height: since, value } of history.toReversed()) {
    const tail = windowBlocks(value)
    if (next - 1n + tail + 1n >= now) ends.add(now - tail - 1n)
    next = BigInt(since)
  }
  return [...ends].filter((end) => end >= 0n)
}

function budgetKey(claim: Claim): string {
  const header = headerOf(claim)
  return `${header.applicationAddress}/${header.sessionId}`
}

/** Enters what the claim will take into its session's budget, if it will be settled. */
function reckon(round: Round, claim: Claim): void {
  const { state } = round.context
  partiesOf(round, claim)
  if (!isPaid(state, claim)) return
  const inflation = fraction(paramsOf(state).tokenomics.globalInflationPerClaim)
  reserve(budgetOf(round, claim), worthOf(state, claim).claimed, inflation)
}

function isPaid(state: State, claim: Claim): boolean {
  return claim.proofValidationStatus === 1 || requirementOf(state, claim) === 'not-required'
}

function budgetOf(round: Round, claim: Claim): Budget {
  const key = budgetKey(claim)
  const known = round.budgets.get(key)
  if (known !== undefined) return known
  const header = headerOf(claim)
  const { state } = round.context
  const application = state.applications.get(header.applicationAddress)
  if (application === undefined) throw registered('tokenomics', 1106)
  const params = sharedAt(state, heightOf(header.sessionEndBlockHeight))
  const claims = round.claimsOf.get(key) ?? 1
  const budget = newBudget(application, pendingSessions(params), claims)
  round.budgets.set(key, budget)
  return budget
}

/** @throws Refusal when one of them is gone */
function partiesOf(round: Round, claim: Claim): Parties {
  const { state, height } = round.context
  const { serviceId, applicationAddress: address, sessionStartBlockHeight } = headerOf(claim)
  const service = state.services.get(serviceId)
  if (service === undefined) {
    const reason = `service with ID ${quoted(serviceId)} not found`
    throw registered('tokenomics', 1115, reason)
  }
  if (computeUnitsAt(state, serviceId, Number(sessionStartBlockHeight)) === undefined) {
    const reason = `compute units per relay for service with ID ${quoted(serviceId)} not found`
    throw registered('tokenomics', 1115, reason)
  }
  const application = round.applications.get(address) ?? state.applications.get(address)
  if (application === undefined) throw registered('tokenomics', 1106)
  round.applications.set(address, application)
  const supplier = state.suppliers.get(claim.supplierOperatorAddress)
  if (supplier === undefined) throw registered('tokenomics', 1105)
  return {
    application,
    service,
    supplier: { ...supplier, services: activeServices(supplier, height) },
  }
}

/** @throws Refusal: the claim is discarded */
function settle(round: Round, claim: Claim): void {
  const { context } = round
  const { state } = context
  const parties = partiesOf(round, claim)
  const worth = worthOf(state, claim)
  const requirement = requirementOf(state, claim)
  if (requirement !== 'not-required' && claim.proofValidationStatus !== 1) {
    round.slashes.push({ claim, services: parties.supplier.services })
    expire(context, claim, worth)
    return
  }
  checkComputeUnits(state, claim, worth)
  const settled = granted(round, claim, parties, worth)
  const header = headerOf(claim)
  const params = paramsOf(state).tokenomics
  let operations: readonly Operation[] = []
  if (settled > 0n) {
    try {
      const payout = payOut(context, claim, parties, settled, params)
      operations = payout.operations
      round.operations.push(...operations)
      round.proposers.burnt = upokt(round.proposers.burnt + payout.proposer.burnt)
      round.proposers.inflation = upokt(round.proposers.inflation + payout.proposer.inflation)
    } finally {
      // What was taken from the stake stays taken, even from a claim that fails afterwards.
      round.applications.set(header.applicationAddress, parties.application)
    }
    const least = fromCoin(paramsOf(state).application.minStake)
    if (fromCoin(parties.application.stake) < least)
      round.applications.set(
        header.applicationAddress,
        beginUnbonding(context, parties.application, 'BELOW_MIN_STAKE'),
      )
  }
  context.events.push(
    settledEvent({
      claim,
      worth,
      requirement,
      settled,
      operations,
      params,
      supplier: parties.supplier,
    }),
  )
  round.firstEnd ??= header.sessionEndBlockHeight
  const leaves = round.settled.get(header.serviceId) ?? 0n
  round.settled.set(header.serviceId, leaves + worth.count)
}

function checkComputeUnits(state: State, claim: Claim, { sum, count }: Worth): void {
  const { serviceId, sessionStartBlockHeight } = headerOf(claim)
  const perRelay = computeUnitsAt(state, serviceId, Number(sessionStartBlockHeight)) ?? 0n
  if (claim.rootHash.length !== 48 || sum !== BigInt.asUintN(64, count * perRelay)) {
    const reason = `mismatch: claim compute units (${sum}) != number of relays (${count}) * service compute units per relay (${perRelay})`
    throw registered('tokenomics', 1109, reason)
  }
}

/** What the application's budget leaves of the claim; tells when it is less. */
function granted(round: Round, claim: Claim, parties: Parties, worth: Worth): Upokt {
  const { tokenomics } = paramsOf(round.context.state)
  const inflation = fraction(tokenomics.globalInflationPerClaim)
  const budget = budgetOf(round, claim)
  const multiplier = tokenomics.overservicingBonusMultiplier
  const { settled, asked, cap } = grant(budget, worth.claimed, inflation, multiplier)
  if (settled < worth.claimed)
    round.context.events.push(
      typedEvent('pocket.tokenomics.EventApplicationOverserviced', {
        application_addr: parties.application.address,
        effective_burn: coinText(cap),
        expected_burn: coinText(asked),
        service_id: headerOf(claim).serviceId,
        session_end_block_height: headerOf(claim).sessionEndBlockHeight,
        spend_limit_exceeded: budget.isLimitExceeded,
        supplier_operator_addr: parties.supplier.operatorAddress,
      }),
    )
  return settled
}

function discard(context: Context, claim: Claim, fault: string): void {
  const header = headerOf(claim)
  const reason = `[UNEXPECTED ERROR] Critical error during claim settlement during session ${quoted(header.sessionId)} for operator ${claim.supplierOperatorAddress} and service ${header.serviceId}. Claim will be discarded to prevent chain halt: ${fault}`
  context.events.push(
    typedEvent('pocket.tokenomics.EventClaimDiscarded', {
      application_address: header.applicationAddress,
      claim_proof_status_int: claim.proofValidationStatus,
      error: registered('tokenomics', 1117, reason).message,
      service_id: header.serviceId,
      session_end_block_height: header.sessionEndBlockHeight,
      supplier_operator_address: claim.supplierOperatorAddress,
    }),
  )
}
