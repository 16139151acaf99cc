/**
 * Shares: how a settled amount is split, in exact fractions.
 *
 * The chain reads its float parameters by their shortest decimal text, so 0.975 is 975/1000 and not
 * the binary number next to it. JavaScript and Go write the same shortest digits.
 * Source: pokt-network/poktroll pkg/encoding, x/tokenomics/token_logic_module. Tested by
 * test/protocol/shares.ts.
 */
import { type Upokt, upokt } from '../base/units.ts'
import { ProtocolError } from './errors.ts'
import type { Params as TokenomicsParams } from './gen/pocket/tokenomics/tokenomics.ts'

export type { TokenomicsParams }

/** In lowest terms; the denominator is positive. */
export interface Fraction {
  numerator: bigint
  denominator: bigint
}

/** The shortest decimal that reads as `value`, exactly. @throws ProtocolError REWARD if negative or not finite */
export function fraction(value: number): Fraction {
  const [, whole, decimals = '', exponent = '0'] =
    /^(\d+)(?:\.(\d+))?(?:e([+-]\d+))?$/.exec(String(value)) ?? []
  if (whole === undefined) throw new ProtocolError('REWARD', `not a share: ${value}`)
  const digits = BigInt(whole + decimals)
  const shift = Number(exponent) - decimals.length
  const numerator = shift > 0 ? digits * 10n ** BigInt(shift) : digits
  const denominator = shift < 0 ? 10n ** BigInt(-shift) : 1n
  const divisor = greatestCommonDivisor(numerator, denominator)
  return { numerator: numerator / divisor, denominator: denominator / divisor }
}

/** For shares and the mint ratio. */
export function floorShare(amount: bigint, f: Fraction): bigint {
  return (amount * f.numerator) / f.denominator
}

/** For the inflation. */
export function ceilShare(amount: bigint, f: Fraction): bigint {
  return (amount * f.numerator + f.denominator - 1n) / f.denominator
}

/**
 * What each address of a service configuration gets, the rest of the division going to the first.
 * Undefined if the list is unusable (empty, an address twice, not 100 in all): then the owner gets it.
 */
export function revenueShares(
  amount: Upokt,
  shares: readonly { address: string; percentage: bigint }[],
): Map<string, Upokt> | undefined {
  const total = shares.reduce((sum, share) => sum + share.percentage, 0n)
  const amounts = new Map<string, Upokt>()
  for (const { address, percentage } of shares)
    amounts.set(address, upokt((amount * percentage) / 100n))
  const [first] = shares
  if (first === undefined || total !== 100n || amounts.size !== shares.length) return undefined
  const given = [...amounts.values()].reduce((sum, share) => sum + share, 0n)
  amounts.set(first.address, upokt((amounts.get(first.address) ?? 0n) + amount - given))
  return amounts
}

/**
 * What the shareholders of one claim get in all: the supplier's part of what is minted for what was
 * burnt, and of the inflation. @param settled what the claim was settled for, after the application's
 * budget @throws ProtocolError REWARD
 */
export function supplierReward(settled: Upokt, params: TokenomicsParams): Upokt {
  const minted = floorShare(settled, fraction(params.mintRatio))
  const inflation = ceilShare(settled, fraction(params.globalInflationPerClaim))
  const ofMinted = fraction(params.mintEqualsBurnClaimDistribution?.supplier ?? 0)
  const ofInflation = fraction(params.mintAllocationPercentages?.supplier ?? 0)
  return upokt(floorShare(minted, ofMinted) + floorShare(inflation, ofInflation))
}

function greatestCommonDivisor(a: bigint, b: bigint): bigint {
  let [x, y] = [a, b]
  while (y !== 0n) [x, y] = [y, x % y]
  return x
}
