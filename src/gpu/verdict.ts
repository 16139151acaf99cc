/** Whether the owner's machine may be used now, card by card, and if not, why: in names and in words. */
import type { Ms } from '../base/units.ts'

export const REASONS = [
  'paused',
  'schedule',
  'battery',
  'input',
  'busy',
  'program',
  'gpu-load',
  'gpu-memory',
  'heat',
  'unknown',
] as const

/**
 * paused: by hand; schedule: outside of its hours; battery: not on mains; input: somebody types or moves the
 * mouse; busy: a film, a meeting or a game keeps the screen awake; program: a listed program runs; gpu-load,
 * gpu-memory: others use the card; heat: too hot; unknown: it cannot be told yet.
 */
export type ReasonName = (typeof REASONS)[number]

export interface Reason {
  readonly name: ReasonName
  /** A sentence for the owner, without the name of the card. */
  readonly text: string
  /** It holds no more; the machine, or the card, rests before it is used again. */
  readonly isOver?: boolean
}

export interface Verdict {
  /** Against using the machine at all, CPU and every card; none: it may be used. */
  readonly machine: readonly Reason[]
  /** Against using one card, by its id; a card that is not in here may be used. */
  readonly gpus: ReadonlyMap<string, readonly Reason[]>
  /** Since when it is as it is; a value of `clock.now()`. */
  readonly since: Ms
  /** When it will be looked at again if nothing changes, where that is known: end of a pause or of a rest. */
  readonly until?: Ms
}

/** @param gpuIds the cards that are needed; none: only the CPU */
export function reasonsAgainst(verdict: Verdict, gpuIds: readonly string[]): readonly Reason[] {
  return [...verdict.machine, ...gpuIds.flatMap((id) => verdict.gpus.get(id) ?? [])]
}
