/**
 * What settling claims does to the bank: operations are gathered over all claims of a block, added up
 * by who, to whom and why, and carried out in one order.
 *
 * Source: poktroll x/tokenomics/keeper/settle_pending_claims_aggregation.go, settle_pending_claims.go.
 * Tested by test/devnet/payout.ts.
 */
import { type Upokt, upokt } from '../base/units.ts'
import { burn, type Module, mint, moduleAddress, transfer } from './bank.ts'
import { coinText, typedEvent } from './events.ts'
import type { Context } from './state.ts'

/** Reasons by their number on the chain, which also orders them, as text. */
export const REASONS = {
  2: 'TLM_RELAY_BURN_EQUALS_MINT_APPLICATION_STAKE_BURN',
  3: 'TLM_GLOBAL_MINT_INFLATION',
  4: 'TLM_RELAY_BURN_EQUALS_MINT_SUPPLIER_SHAREHOLDER_REWARD_DISTRIBUTION',
  5: 'TLM_GLOBAL_MINT_DAO_REWARD_DISTRIBUTION',
  7: 'TLM_GLOBAL_MINT_SUPPLIER_SHAREHOLDER_REWARD_DISTRIBUTION',
  8: 'TLM_GLOBAL_MINT_SOURCE_OWNER_REWARD_DISTRIBUTION',
  9: 'TLM_GLOBAL_MINT_APPLICATION_REWARD_DISTRIBUTION',
  10: 'TLM_GLOBAL_MINT_REIMBURSEMENT_REQUEST_ESCROW_DAO_TRANSFER',
  14: 'TLM_GLOBAL_MINT_REIMBURSEMENT_REQUEST_ESCROW_MODULE_TRANSFER',
  15: 'TLM_RELAY_BURN_EQUALS_MINT_DAO_REWARD_DISTRIBUTION',
  17: 'TLM_RELAY_BURN_EQUALS_MINT_SOURCE_OWNER_REWARD_DISTRIBUTION',
  18: 'TLM_RELAY_BURN_EQUALS_MINT_APPLICATION_REWARD_DISTRIBUTION',
  19: 'TLM_RELAY_BURN_EQUALS_MINT_TOKENOMICS_CLAIM_DISTRIBUTION_MINT',
  20: 'TLM_RELAY_BURN_EQUALS_MINT_VALIDATOR_REWARD_DISTRIBUTION',
  21: 'TLM_GLOBAL_MINT_VALIDATOR_REWARD_DISTRIBUTION',
} as const
export type Reason = keyof typeof REASONS

/** `to` is a module's name for `mod_to_mod`, an address for `mod_to_acct`, empty otherwise. */
export interface Operation {
  readonly kind: 'mint' | 'mod_to_mod' | 'mod_to_acct' | 'burn'
  readonly from: Module
  readonly to: string
  readonly reason: Reason
  readonly amount: Upokt
}

const ORDER = ['mint', 'mod_to_mod', 'mod_to_acct', 'burn'] as const

interface Batch extends Operation {
  readonly claims: number
}

/** @param sessionEnd what the events name: that of the first claim settled */
export function carryOut(
  context: Context,
  operations: readonly Operation[],
  sessionEnd: bigint,
): void {
  for (const kind of ORDER)
    for (const batch of gathered(operations.filter((operation) => operation.kind === kind))) {
      if (batch.amount === 0n) continue
      move(context, batch)
      context.events.push(
        typedEvent('pocket.tokenomics.EventSettlementBatch', {
          num_claims: batch.claims,
          op_reason: REASONS[batch.reason],
          op_type: kind,
          recipient: batch.to,
          sender_module: batch.from,
          session_end_block_height: sessionEnd,
          total_amount: coinText(batch.amount),
        }),
      )
    }
}

function gathered(operations: readonly Operation[]): Batch[] {
  const batches = new Map<string, Batch>()
  for (const operation of operations) {
    const key = `${operation.from}|${operation.to}|${operation.reason}`
    const before = batches.get(key)
    const amount = upokt((before?.amount ?? 0n) + operation.amount)
    batches.set(key, { ...operation, amount, claims: (before?.claims ?? 0) + 1 })
  }
  return [...batches].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, batch]) => batch)
}

function move(context: Context, { kind, from, to, amount }: Batch): void {
  const source = moduleAddress(from)
  if (kind === 'mint') mint(context, from, amount)
  else if (kind === 'burn') burn(context, from, amount)
  else if (kind === 'mod_to_acct') transfer(context, source, to, amount)
  else transfer(context, source, moduleAddress(to as Module), amount)
}
