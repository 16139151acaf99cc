/**
 * The one validator of the simulated chain: who it is, and what it gets of settled claims.
 *
 * Source: poktroll x/tokenomics/token_logic_module/distribution_validator.go. Tested by
 * test/devnet/payout.ts.
 */
import { toBech32 } from '@cosmjs/encoding'
import { sha256, utf8 } from '../base/bytes.ts'
import { type Address, type Upokt, upokt } from '../base/units.ts'
import { type Operation, REASONS } from './batch.ts'
import { typedEvent } from './events.ts'
import type { Context } from './state.ts'

/** Staked by nobody but itself. */
const STAKE = 900_000_000_000n

/** Nobody has its key: it only collects. */
const BYTES = sha256(utf8('the validator of the simulated chain')).slice(0, 20)
export const VALIDATOR = toBech32('pokt', BYTES) as Address
export const VALIDATOR_OPERATOR = toBech32('poktvaloper', BYTES)

export function payValidators(
  context: Context,
  proposers: { readonly burnt: Upokt; readonly inflation: Upokt },
  sessionEnd: bigint,
): Operation[] {
  const parts = [
    { reason: 20, amount: proposers.burnt },
    { reason: 21, amount: proposers.inflation },
  ] as const
  const due = parts.filter(({ amount }) => amount > 0n)
  for (const { reason, amount } of due) {
    const commission = amount / 10n
    context.events.push(
      typedEvent('pocket.tokenomics.EventValidatorRewardDistribution', {
        commission_rate: '0.100000000000000000',
        commission_upokt: commission.toString(),
        delegators_reward_upokt: '0',
        num_delegators: 0,
        op_reason: REASONS[reason],
        pool_share_upokt: amount.toString(),
        self_delegation_reward_upokt: (amount - commission).toString(),
        session_end_block_height: sessionEnd,
        total_delegated_stake_upokt: STAKE.toString(),
        validator_account_address: VALIDATOR,
        validator_operator_address: VALIDATOR_OPERATOR,
      }),
    )
  }
  return due.map(({ reason, amount }) => ({
    kind: 'mod_to_acct',
    from: 'tokenomics',
    to: VALIDATOR,
    reason,
    amount: upokt(amount),
  }))
}
