/**
 * Budgets: how much of what was claimed an application's stake pays for.
 *
 * The stake at the settlement's start is divided by the sessions that can be unsettled and by the
 * claims of the session; that is what each claim is sure of. With a bonus multiplier above 1, what
 * others left unused may be shared out on top. Amounts are in stake terms: with the inflation that is
 * taken from the stake too. Source: poktroll x/tokenomics/keeper/settlement_context.go,
 * token_logic_modules.go (ensureClaimAmountLimits). Tested by test/devnet/budget.ts.
 */
import { fromCoin, type Upokt, upokt } from '../base/units.ts'
import type { Application } from '../protocol/gen/pocket/application/application.ts'
import { ceilShare, type Fraction } from '../protocol/shares.ts'

export interface Budget {
  /** What every claim of the session may take at least. */
  readonly floor: bigint
  readonly isLimitExceeded: boolean
  /** What claims below the floor leave. */
  unused: bigint
  /** What claims ask above the floor, in all. */
  excess: bigint
}

/**
 * @param application with its stake before any claim of the block was paid
 * @param pending sessions that can be unsettled, by the parameters of the session's end
 * @param claims of the application's session that are collected in this block, whatever their fate
 */
export function newBudget(application: Application, pending: number, claims: number): Budget {
  const stake = fromCoin(application.stake)
  const perSession = stake / BigInt(pending)
  let floor = perSession / BigInt(claims)
  let isLimitExceeded = false
  const limit = fromCoin(application.perSessionSpendLimit)
  if (limit > 0n) {
    const capped = lesser(limit, perSession) / BigInt(claims)
    isLimitExceeded = capped < floor
    if (isLimitExceeded) floor = capped
  }
  return { floor, isLimitExceeded, unused: 0n, excess: 0n }
}

/** What `amount` takes from the stake. */
export function inStakeTerms(amount: Upokt, inflation: Fraction): bigint {
  return amount + ceilShare(amount, inflation)
}

/** Reckons with a claim that will be settled. */
export function reserve(budget: Budget, claimed: Upokt, inflation: Fraction): void {
  const asked = inStakeTerms(claimed, inflation)
  if (asked < budget.floor) budget.unused += budget.floor - asked
  else budget.excess += asked - budget.floor
}

export interface Granted {
  readonly settled: Upokt
  /** In stake terms: what was asked and what it was capped to. */
  readonly asked: bigint
  readonly cap: bigint
}

/** @param multiplier 0 counts as 1 */
export function grant(
  budget: Budget,
  claimed: Upokt,
  inflation: Fraction,
  multiplier: bigint,
): Granted {
  const asked = inStakeTerms(claimed, inflation)
  const times = multiplier < 1n ? 1n : multiplier
  let most = budget.floor
  if (times > 1n && budget.excess > 0n && asked > budget.floor)
    most += (budget.unused * (asked - budget.floor)) / budget.excess
  if (most > budget.floor * times) most = budget.floor * times
  const { numerator, denominator } = inflation
  const payable = (most * denominator) / (denominator + numerator)
  return { settled: upokt(lesser(claimed, payable)), asked, cap: lesser(asked, most) }
}

export function lesser(a: bigint, b: bigint): bigint {
  if (a < b) return a
  return b
}
