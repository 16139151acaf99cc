/**
 * Claims: what MsgCreateClaim is checked for, in the chain's order, and what a claim is worth.
 *
 * The header's start may be any height of the session; the stored claim keeps the header as it was
 * sent. A claim sent again replaces the first and waits for a proof anew.
 * Source: poktroll x/proof/keeper/msg_server_create_claim.go, x/proof/keeper/session.go.
 * Tested by test/devnet/claims.ts.
 */
import { hex, readU64 } from '../base/bytes.ts'
import { type Upokt, upokt } from '../base/units.ts'
import type { Claim, MsgCreateClaim, MsgSubmitProof } from '../protocol/gen/pocket/proof/proof.ts'
import type { SessionHeader } from '../protocol/gen/pocket/session/session.ts'
import {
  claimedUpokt,
  estimatedComputeUnits,
  estimatedRelays,
  type ProofRequirement,
  proofRequirement,
} from '../protocol/rewards.ts'
import { type Windows, windowsOf } from '../protocol/windows.ts'
import { difficultyAt } from './difficulty.ts'
import { type Refusal, registered, status, statusOf } from './errors.ts'
import { coinText, type Json, typedEvent } from './events.ts'
import { sessionOfHeader } from './session.ts'
import {
  blockHashAt,
  type Context,
  claimKey,
  heightOf,
  paramsOf,
  type State,
  sessionEndOf,
  sharedAt,
  valueAt,
} from './state.ts'
import { addressFault, headerFault } from './validate.ts'

export const ROOT_BYTES = 48

export function sumOf(root: Uint8Array): bigint {
  return readU64(root, 32)
}

export function countOf(root: Uint8Array): bigint {
  return readU64(root, 40)
}

/** What holds in transactions of any height: the form. @throws Refusal of codespace proof */
export function checkCreateClaim(message: MsgCreateClaim): void {
  const { supplierOperatorAddress: operator, sessionHeader: header, rootHash: root } = message
  if (addressFault(operator) !== undefined) throw registered('proof', 1101, operator)
  if (header === undefined) throw registered('proof', 1115, 'session header is nil')
  const fault = headerFault(header)
  if (fault !== undefined) throw registered('proof', 1115, `invalid session header: ${fault}`)
  if (root.length !== ROOT_BYTES) {
    const context = `expecting root hash to be ${ROOT_BYTES} bytes, got ${root.length} bytes`
    throw registered('proof', 1104, context)
  }
  if (countOf(root) === 0n)
    throw registered('proof', 1104, `has zero count in Merkle root (hex) ${hex(root)}`)
  if (sumOf(root) === 0n)
    throw registered('proof', 1104, `has zero sum in Merkle root (hex) ${hex(root)}`)
}

/** @throws Refusal as the real handler answers */
export function createClaim(context: Context, message: MsgCreateClaim): void {
  const { state } = context
  const { supplierOperatorAddress: operator, rootHash } = message
  const header = headerOf(message)
  const asked = { ...header, start: header.sessionStartBlockHeight }
  const session = statusOf('InvalidArgument', () => sessionOfHeader(context, asked, operator))
  statusOf('FailedPrecondition', () => checkClaimWindow(context, header))
  const [sum, count] = [sumOf(rootHash), countOf(rootHash)]
  const perRelay = computeUnitsAt(state, header.serviceId, Number(header.sessionStartBlockHeight))
  if (perRelay === undefined)
    throw status(
      'NotFound',
      missingService(missingService(`service ${header.serviceId} not found`)),
    )
  const expected = BigInt.asUintN(64, count * perRelay)
  if (sum !== expected) {
    const reason = `claim compute units: ${sum} is not equal to number of relays ${count} * compute units per relay ${perRelay} for service ${header.serviceId}`
    throw status('InvalidArgument', registered('proof', 1126, reason))
  }
  const key = claimKey(header.sessionId, operator)
  const isKnown = state.claims.get(key) !== undefined
  const claim: Claim = {
    supplierOperatorAddress: operator,
    sessionHeader: header,
    rootHash,
    proofValidationStatus: 0,
  }
  state.claims.set(key, claim)
  const worth = statusOf('Internal', () => worthOf(state, claim))
  context.events.push(
    typedEvent(`pocket.proof.EventClaim${isKnown ? 'Updated' : 'Created'}`, {
      ...claimFields(claim, worth, session.header?.serviceId ?? ''),
      claim_proof_status_int: 0,
      num_estimated_compute_units: expected,
    }),
  )
}

function missingService(reason: Refusal | string): Refusal {
  return registered('proof', 1125, typeof reason === 'string' ? reason : reason.message)
}

/** ValidateBasic has run: there is a header. */
export function headerOf(message: MsgCreateClaim | MsgSubmitProof | Claim): SessionHeader {
  if (message.sessionHeader === undefined) throw registered('proof', 1115, 'session header is nil')
  return message.sessionHeader
}

/** The windows of the session that contains `end`, by the parameters of `end`. */
export function windowsAround(state: State, end: bigint): Windows {
  const at = heightOf(end)
  return windowsOf(sessionEndOf(state, at), sharedAt(state, at))
}

function checkClaimWindow(context: Context, header: SessionHeader): void {
  const { claimOpen, claimClose } = windowsAround(context.state, header.sessionEndBlockHeight)
  const now = context.height
  if (now < claimOpen) {
    const reason = `current block height (${now}) is less than the session's earliest claim commit height (${claimOpen})`
    throw registered('proof', 1121, reason)
  }
  if (now > claimClose) {
    const reason = `current block height (${now}) is greater than session claim window close height (${claimClose})`
    throw registered('proof', 1121, reason)
  }
}

/** Compute units per relay for sessions that start at `at`; undefined for an unknown service. */
export function computeUnitsAt(state: State, serviceId: string, at: number): bigint | undefined {
  const recorded = valueAt(state.computeUnits.get(serviceId), at)
  return recorded ?? state.services.get(serviceId)?.computeUnitsPerRelay
}

export interface Worth {
  readonly sum: bigint
  readonly count: bigint
  readonly claimed: Upokt
  readonly estimatedComputeUnits: bigint
  readonly estimatedRelays: bigint
}

/** By the prices and the difficulty of the session's start. @throws Refusal proof 1104 */
export function worthOf(state: State, claim: Claim): Worth {
  const header = headerOf(claim)
  const start = heightOf(header.sessionStartBlockHeight)
  const { targetHash } = difficultyAt(state, header.serviceId, start)
  const [sum, count] = [sumOf(claim.rootHash), countOf(claim.rootHash)]
  try {
    return {
      sum,
      count,
      claimed: upokt(claimedUpokt(sum, targetHash, sharedAt(state, start))),
      estimatedComputeUnits: estimatedComputeUnits(sum, targetHash),
      estimatedRelays: estimatedRelays(sum, count, targetHash),
    }
  } catch (error) {
    const reason = `failed to calculate claimed uPOKT: ${(error as Error).message}`
    throw registered('proof', 1104, reason)
  }
}

/** Drawn with the claim as it is stored: with another status the draw is another. */
export function requirementOf(state: State, claim: Claim): ProofRequirement {
  const { seed } = windowsAround(state, headerOf(claim).sessionEndBlockHeight)
  const { claimed } = worthOf(state, claim)
  return proofRequirement(claim, claimed, paramsOf(state).proof, blockHashAt(state, seed))
}

/** What every event about a claim tells. */
export function claimFields(claim: Claim, worth: Worth, serviceId: string): Record<string, Json> {
  const header = headerOf(claim)
  return {
    application_address: header.applicationAddress,
    claim_proof_status_int: claim.proofValidationStatus,
    claimed_upokt: coinText(worth.claimed),
    num_claimed_compute_units: worth.sum,
    num_estimated_compute_units: worth.estimatedComputeUnits,
    num_estimated_relays: worth.estimatedRelays,
    num_relays: worth.count,
    service_id: serviceId,
    session_end_block_height: header.sessionEndBlockHeight,
    supplier_operator_address: claim.supplierOperatorAddress,
  }
}
