/**
 * EventClaimSettled: what a claim was, what it was settled for, and who got how much of it.
 *
 * Source: poktroll x/tokenomics/types/event_claim_settled.go. Tested by test/devnet/payout.ts.
 */
import type { Upokt } from '../base/units.ts'
import type { Claim } from '../protocol/gen/pocket/proof/proof.ts'
import type { Supplier } from '../protocol/gen/pocket/shared/shared.ts'
import type { Params as TokenomicsParams } from '../protocol/gen/pocket/tokenomics/tokenomics.ts'
import type { ProofRequirement } from '../protocol/rewards.ts'
import { floorShare, fraction } from '../protocol/shares.ts'
import { type Operation, REASONS } from './batch.ts'
import { claimFields, headerOf, type Worth } from './claims.ts'
import { coinText, type Event, typedEvent } from './events.ts'

const REQUIREMENTS = { 'not-required': 0, probabilistic: 1, threshold: 2 } as const

export interface Settled {
  readonly claim: Claim
  readonly worth: Worth
  readonly requirement: ProofRequirement
  readonly settled: Upokt
  readonly operations: readonly Operation[]
  readonly params: TokenomicsParams
  readonly supplier: Supplier
}

export function settledEvent(of: Settled): Event {
  const { claim, worth, settled, params } = of
  const minted = floorShare(settled, fraction(params.mintRatio))
  const paid = of.operations.filter(({ kind }) => kind === 'mod_to_acct')
  return typedEvent('pocket.tokenomics.EventClaimSettled', {
    ...claimFields(claim, worth, headerOf(claim).serviceId),
    deflation_loss_upokt: coinText(settled - minted),
    mint_ratio: String(params.mintRatio),
    minted_upokt: coinText(minted),
    overservicing_loss_upokt: coinText(worth.claimed - settled),
    proof_requirement_int: REQUIREMENTS[of.requirement],
    reward_distribution: byRecipient(paid),
    reward_distribution_detailed: paid.map(({ to, reason, amount }) => ({
      recipient_address: to,
      op_reason: REASONS[reason],
      amount: coinText(amount),
    })),
    session_id: headerOf(claim).sessionId,
    settled_upokt: coinText(settled),
    supplier_owner_address: of.supplier.ownerAddress,
  })
}

/** Sorted by address, as Go writes a map. */
function byRecipient(paid: readonly Operation[]): Record<string, string> {
  const totals = new Map<string, bigint>()
  for (const { to, amount } of paid) totals.set(to, (totals.get(to) ?? 0n) + amount)
  return Object.fromEntries(
    [...totals].sort(([a], [b]) => (a < b ? -1 : 1)).map(([to, sum]) => [to, coinText(sum)]),
  )
}
