/**
 * Claims that expire for want of a good proof, and what that costs the supplier.
 *
 * A supplier that falls below the minimum is marked as unbonding, but the chain neither enters it in its
 * list of those to pay out nor ends its services: it stays as it is, serves on, and can only be staked
 * anew by its owner. Source: poktroll x/tokenomics/keeper/settle_pending_claims.go (slashSupplierStake).
 * Tested by test/devnet/slashing.ts.
 */
import { fromCoin, upokt } from '../base/units.ts'
import type { Claim } from '../protocol/gen/pocket/proof/proof.ts'
import type { Supplier, SupplierServiceConfig } from '../protocol/gen/pocket/shared/shared.ts'
import { burn, moduleAddress, transfer } from './bank.ts'
import { lesser } from './budget.ts'
import { claimFields, headerOf, type Worth } from './claims.ts'
import { coinText, typedEvent } from './events.ts'
import { type Context, liveGrid, paramsOf } from './state.ts'
import { unbonding } from './suppliers.ts'

export interface Slash {
  readonly claim: Claim
  /** The supplier's active services, as the event shows them. */
  readonly services: SupplierServiceConfig[]
}

export function expire(context: Context, claim: Claim, worth: Worth): void {
  const reason = claim.proofValidationStatus === 2 ? 'PROOF_INVALID' : 'PROOF_MISSING'
  context.events.push(
    typedEvent('pocket.tokenomics.EventClaimExpired', {
      ...claimFields(claim, worth, headerOf(claim).serviceId),
      expiration_reason: reason,
    }),
  )
}

/** Takes the penalty, at most the stake, from the supplier and burns it. */
export function slash(context: Context, { claim, services }: Slash): void {
  const { state, events } = context
  const params = paramsOf(state)
  const supplier = state.suppliers.get(claim.supplierOperatorAddress)
  if (supplier === undefined) return
  const stake = fromCoin(supplier.stake)
  const penalty = fromCoin(params.proof.proofMissingPenalty)
  const taken = upokt(lesser(stake, penalty))
  transfer(context, moduleAddress('supplier'), moduleAddress('tokenomics'), taken)
  burn(context, 'tokenomics', taken)
  const left = upokt(stake - taken)
  const { end } = liveGrid(context)
  const isForced =
    left < fromCoin(params.supplier.minStake) && supplier.unstakeSessionEndHeight === 0n
  const slashed: Supplier = {
    ...supplier,
    stake: { denom: 'upokt', amount: left.toString() },
    unstakeSessionEndHeight: isForced ? BigInt(end) : supplier.unstakeSessionEndHeight,
  }
  state.suppliers.set(supplier.operatorAddress, slashed)
  if (isForced) {
    const heights = { session_end_height: BigInt(end), unbonding_end_height: BigInt(end) }
    events.push(unbonding('Begin', { ...slashed, services }, 'BELOW_MIN_STAKE', heights))
  }
  const header = headerOf(claim)
  events.push(
    typedEvent('pocket.tokenomics.EventSupplierSlashed', {
      application_address: header.applicationAddress,
      claim_proof_status_int: claim.proofValidationStatus,
      proof_missing_penalty: coinText(taken),
      service_id: header.serviceId,
      session_end_block_height: header.sessionEndBlockHeight,
      supplier_operator_address: claim.supplierOperatorAddress,
      supplier_stake_after_slash: coinText(left),
    }),
  )
}
