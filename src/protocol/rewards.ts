/**
 * What relays are worth: which count, what a claim pays, what a relay costs an application, and
 * whether a claim must be proved and where.
 *
 * Exact rational arithmetic with one floor at the end. Prices and the target are those of the session's
 * START height; whether a proof is due depends on the parameters at the time the proof is judged.
 * Source: pokt-network/poktroll x/proof/types/claim.go, pkg/crypto/protocol/relay_difficulty.go,
 * pkg/relayer/proxy/relay_meter.go, x/proof/keeper/proof_validation.go. Tested by test/protocol/rewards.ts.
 */
import { compare, concat, hex, sha256, utf8 } from '../base/bytes.ts'
import { fromCoin, type Upokt, upokt } from '../base/units.ts'
import { ProtocolError } from './errors.ts'
import { Claim, type Params as ProofParams } from './gen/pocket/proof/proof.ts'
import { seededFloat64 } from './rand.ts'

export type { Claim, ProofParams }

/** The easiest target: every relay counts but one whose hash is this very number. */
export const BASE_TARGET = new Uint8Array(32).fill(0xff)

const BASE = 2n ** 256n - 1n

/** Does a relay count? Strictly below the target, as unsigned big-endian numbers. */
export function isApplicable(relayHash: Uint8Array, target: Uint8Array): boolean {
  return compare(relayHash, target) < 0
}

/** Shared parameters as of the session's START height. */
export interface Price {
  /** upokt for `computeUnitCostGranularity` compute units. */
  computeUnitsToTokensMultiplier: bigint
  computeUnitCostGranularity: bigint
}

/**
 * What a claim asks for, before the application's budget caps it.
 * @param sum of the root @throws ProtocolError REWARD where the chain cannot compute it either
 */
export function claimedUpokt(sum: bigint, target: Uint8Array, price: Price): Upokt {
  const { multiplier, granularity } = signedPrice(price)
  const numerator = sum * BASE * multiplier
  const denominator = targetNumber(target) * granularity
  if (numerator < 0n !== denominator < 0n && numerator !== 0n)
    throw new ProtocolError('REWARD', `negative amount for ${sum} compute units`)
  const amount = numerator / denominator
  if (amount > BASE) throw new ProtocolError('REWARD', 'amount of more than 256 bits')
  return upokt(amount)
}

/** The work that the sum stands for under the target; its low 64 bits, as on the chain. */
export function estimatedComputeUnits(sum: bigint, target: Uint8Array): bigint {
  return BigInt.asUintN(64, (sum * BASE) / targetNumber(target))
}

export function estimatedRelays(sum: bigint, count: bigint, target: Uint8Array): bigint {
  const perRelay = count === 0n ? 0n : sum / count
  return perRelay === 0n ? 0n : estimatedComputeUnits(sum, target) / perRelay
}

/** What one served relay takes from an application's budget. Can be 0. @throws ProtocolError REWARD */
export function relayCost(cupr: bigint, price: Price): Upokt {
  const { computeUnitsToTokensMultiplier: multiplier, computeUnitCostGranularity: per } = price
  if (per === 0n) throw new ProtocolError('REWARD', 'cost granularity is 0')
  return upokt((cupr * multiplier) / per)
}

/**
 * What one supplier may serve one application in one session for: its part of the stake, shared with
 * the sessions that are not settled yet and the running one.
 *
 * @param m.suppliersPerSession live parameter
 * @param m.pendingSessions what `pendingSessions` gives for parameters as of the session's END height
 * @param m.spendLimit the application's own cap for a session; absent or 0 = none
 * @throws ProtocolError REWARD
 */
export function meterLimit(m: {
  applicationStake: Upokt
  suppliersPerSession: bigint
  pendingSessions: number
  spendLimit?: Upokt
}): Upokt {
  if (m.suppliersPerSession < 1n) throw new ProtocolError('REWARD', 'sessions have no suppliers')
  const share = m.applicationStake / m.suppliersPerSession / BigInt(m.pendingSessions + 1)
  if (m.spendLimit === undefined || m.spendLimit === 0n) return upokt(share)
  const cap = m.spendLimit / m.suppliersPerSession
  return upokt(cap < share ? cap : share)
}

export type ProofRequirement = 'not-required' | 'probabilistic' | 'threshold'

/**
 * Must this claim be proved? The chain draws at the proof and again at settlement, when the claim's
 * status has changed and with it the draw.
 *
 * @param claim as stored; its status is part of what is hashed
 * @param claimed `claimedUpokt` of it
 * @param params live
 * @param seedBlockHash hash of the block at `Windows.seed`
 */
export function proofRequirement(
  claim: Claim,
  claimed: Upokt,
  params: ProofParams,
  seedBlockHash: Uint8Array,
): ProofRequirement {
  if (claimed >= fromCoin(params.proofRequirementThreshold)) return 'threshold'
  const claimHash = sha256(Claim.encode(claim).finish())
  const sample = seededFloat64(concat(claimHash, seedBlockHash))
  return sample <= params.proofRequestProbability ? 'probabilistic' : 'not-required'
}

/**
 * The path whose closest leaf is to be proved: 32 bytes, used as a path and not hashed again.
 * @param seedBlockHash hash of the block at `Windows.seed`
 */
export function proofPath(seedBlockHash: Uint8Array, sessionId: string): Uint8Array {
  return sha256(concat(seedBlockHash, utf8(sessionId)))
}

/** The chain reads both as int64. */
function signedPrice(price: Price): { multiplier: bigint; granularity: bigint } {
  const multiplier = BigInt.asIntN(64, price.computeUnitsToTokensMultiplier)
  const granularity = BigInt.asIntN(64, price.computeUnitCostGranularity)
  if (granularity === 0n) throw new ProtocolError('REWARD', 'cost granularity is 0')
  return { multiplier, granularity }
}

function targetNumber(target: Uint8Array): bigint {
  const number = target.length === 0 ? 0n : BigInt(`0x${hex(target)}`)
  if (number === 0n) throw new ProtocolError('REWARD', 'difficulty target is 0')
  return number
}
