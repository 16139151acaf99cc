/**
 * Gas: what transactions cost, near what a real node was seen to charge.
 *
 * A model, not the SDK's metering: a fixed part, the bytes, and so much for each message. What matters
 * to a sender is kept: a transaction without a fee amount is simulated too low, an unordered one is
 * cheaper than an ordered one, a proof grows with its bytes. Tested by test/devnet/gas.ts.
 */
import { Refusal } from './errors.ts'

const BASE = 35_000n
/** The sequence that an ordered transaction writes. */
const ORDERED = 9_515n
const FEE = 17_000n
const PUBLIC_KEY = 13_130n
/** What a handler has used when it refuses. */
export const GAS_OF_REFUSAL = 12_000n

export interface AnteUse {
  readonly bytes: number
  readonly isOrdered: boolean
  readonly hasFee: boolean
  readonly storesKey: boolean
}

/** Everything before the first message. */
export function anteGas(use: AnteUse): bigint {
  let gas = BASE + BigInt(use.bytes)
  if (use.isOrdered) gas += ORDERED
  if (!use.hasFee) gas -= FEE
  if (use.storesKey) gas += PUBLIC_KEY
  return gas
}

/** Counts up to a limit. */
export class GasMeter {
  readonly #limit: bigint | undefined
  #used = 0n

  /** @param limit undefined: as much as it takes */
  constructor(limit: bigint | undefined) {
    this.#limit = limit
  }

  get used(): bigint {
    return this.#used
  }

  /** @throws Refusal sdk 11 once more is used than the limit */
  use(amount: bigint, where: string): void {
    this.#used += amount
    if (this.#limit === undefined || this.#used <= this.#limit) return
    const log = `out of gas in location: ${where}; gasWanted: ${this.#limit}, gasUsed: ${this.#used}: out of gas`
    throw new Refusal('sdk', 11, log)
  }
}
