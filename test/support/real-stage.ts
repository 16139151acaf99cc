/**
 * A real chain for one test file, if there is a program to make it with; and what the chain pays, by the
 * formulas of the protocol.
 */
import type { Test } from 'tap'
import { ChainEvents } from './chain-events.ts'
import { Localnet, type LocalnetOptions } from './localnet.ts'
import { findPocketd, NO_POCKETD } from './pocketd.ts'

export interface RealStage {
  readonly chain: Localnet
  readonly events: ChainEvents
}

/** Undefined where there is no program: the file is then skipped, and says so. */
export async function realChain(
  t: Test,
  options: Partial<LocalnetOptions> = {},
): Promise<RealStage | undefined> {
  const pocketd = await findPocketd()
  if (pocketd === undefined) {
    t.plan(0, NO_POCKETD)
    return undefined
  }
  t.setTimeout(300_000)
  const chain = await Localnet.start({ ...options, pocketd })
  t.teardown(() => chain.close())
  // A test that takes too long is told to end: what it has started must not outlive it.
  const end = () => process.exit(143)
  process.once('SIGTERM', end)
  t.teardown(() => process.removeListener('SIGTERM', end))
  return { chain, events: new ChainEvents(chain) }
}

/** floor(relays × units × price / 10^6) */
export function worth(relays: number, units = 4_000n, multiplier = 145_990n): bigint {
  return (BigInt(relays) * units * multiplier) / 1_000_000n
}

/** Of a settled amount: 97.5 % is minted, 79 % of that goes to the supplier's shareholders. */
export function reward(settled: bigint): bigint {
  return (((settled * 975n) / 1_000n) * 79n) / 100n
}

/** The end of the session that a height lies in, on a grid of `blocks` from height 1 on. */
export function sessionEnd(height: number, blocks = 10): number {
  return Math.ceil(height / blocks) * blocks
}

/** Waits for the next session to begin. @returns its end */
export async function freshSession(chain: Localnet): Promise<number> {
  const { session } = chain.options
  const end = sessionEnd(await chain.height(), session)
  await chain.waitFor(end + 1)
  return end + session
}
