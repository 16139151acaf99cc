/**
 * Scalars that cannot be mixed up: a height is not an amount, an amount is not a duration.
 *
 * `bigint` for money and every protobuf uint64 that is not a height; `number`, checked where it
 * enters, for heights, milliseconds and bytes. Tested by test/base/units.ts.
 */

declare const unit: unique symbol
export type Unit<T, Name extends string> = T & { readonly [unit]: Name }

/** A block height, 1-based. */
export type Height = Unit<number, 'Height'>
/** Money: 1 POKT = 1,000,000 upokt. */
export type Upokt = Unit<bigint, 'Upokt'>
/** Work as the chain counts it: `compute_units_per_relay` for each relay. */
export type ComputeUnits = Unit<bigint, 'ComputeUnits'>
/** A bech32 account address with the prefix `pokt`, lower case. */
export type Address = Unit<string, 'Address'>
export type Ms = Unit<number, 'Ms'>
export type Bytes = Unit<number, 'Bytes'>

/** @throws RangeError unless `value` is a safe integer of at least 1 */
export function height(value: number | bigint): Height {
  const number = Number(value)
  if (!Number.isSafeInteger(number) || number < 1)
    throw new RangeError(`not a block height: ${value}`)
  return number as Height
}

/** The height `blocks` after `from` (before, if negative), never below 1. */
export function offset(from: Height, blocks: number): Height {
  return height(Math.max(1, from + blocks))
}

/** @throws RangeError for a negative amount */
export function upokt(value: bigint | number | string): Upokt {
  const amount = BigInt(value)
  if (amount < 0n) throw new RangeError(`not an amount of upokt: ${value}`)
  return amount as Upokt
}

export function computeUnits(value: bigint | number): ComputeUnits {
  const units = BigInt(value)
  if (units < 0n) throw new RangeError(`not compute units: ${value}`)
  return units as ComputeUnits
}

export function ms(value: number): Ms {
  if (!Number.isFinite(value) || value < 0) throw new RangeError(`not a duration: ${value}`)
  return value as Ms
}

const DENOM = 'upokt'

/** Reads `"145990upokt"`; a bare integer or another denomination is refused. @throws RangeError */
export function parseCoin(text: string): Upokt {
  const match = /^(\d+)upokt$/.exec(text)
  if (match?.[1] === undefined) throw new RangeError(`not an amount in ${DENOM}: ${text}`)
  return upokt(match[1])
}

/** The protobuf form of an amount. */
export function coin(amount: Upokt): { denom: string; amount: string } {
  return { denom: DENOM, amount: amount.toString() }
}

/** An absent coin or another denomination counts as nothing. */
export function fromCoin(value: { denom: string; amount: string } | undefined): Upokt {
  return value === undefined || value.denom !== DENOM ? upokt(0) : upokt(value.amount)
}

/** `1234567n` → `"1.234567 POKT"`, exact. */
export function formatPokt(amount: Upokt): string {
  const text = amount.toString().padStart(7, '0')
  const fraction = text.slice(-6).replace(/0+$/, '')
  return `${text.slice(0, -6)}${fraction === '' ? '' : `.${fraction}`} POKT`
}
