/**
 * Which models give way when another one needs their memory. Pure: residents.ts does it.
 *
 * Least priority first, then least recently used; a model that answers, that is being loaded or that
 * has just come stays. Tested by test/inference/residency.ts.
 */
import { type Ms, ms } from '../base/units.ts'

/** A part of a model's memory, and which memory that is: a card, or the machine's own. */
export interface Share {
  readonly place: string
  readonly bytes: number
}

export interface Need {
  readonly shares: readonly Share[]
  /** Larger ones are not evicted by smaller ones. */
  readonly priority: number
}

/** A model in memory. */
export interface Seated {
  readonly need: Need
  /** It answers, or it is being loaded. */
  readonly isBusy: boolean
  readonly loadedAt: Ms
  readonly usedAt: Ms
}

export interface ResidentsOptions {
  readonly stayMin: Ms
  readonly turnAfter: Ms
  /** A wish that was not repeated for so long is forgotten. */
  readonly wishMax: Ms
  readonly retryFirst: Ms
  readonly retryMax: Ms
}

export const RESIDENTS_DEFAULTS: ResidentsOptions = {
  stayMin: ms(60_000),
  turnAfter: ms(20_000),
  wishMax: ms(60_000),
  retryFirst: ms(5_000),
  retryMax: ms(300_000),
}

export interface RoomOptions {
  readonly now: Ms
  /** A model stays at least so long, so that two do not chase each other. */
  readonly stayMin: Ms
  /** Bytes for all models together; infinite where nothing is known. */
  budgetOf(place: string): number
}

/**
 * @returns who has to go, in that order; undefined: there is no room now. What needs more than there is at
 *   all gets a memory for itself: budgets and needs are estimates, and the engine has the last word.
 */
export function makeRoom<T extends Seated>(
  want: Need,
  seated: readonly T[],
  options: RoomOptions,
): T[] | undefined {
  const leaving: T[] = []
  const staying = new Set(seated)
  for (const { place, bytes } of want.shares) {
    const others = () => [...staying].filter((seat) => bytesOf(seat, place) > 0)
    const used = () => others().reduce((sum, seat) => sum + bytesOf(seat, place), 0)
    const candidates = others()
      .filter((seat) => mayLeave(seat, want, options))
      .sort((a, b) => a.need.priority - b.need.priority || a.usedAt - b.usedAt)
    while (used() + bytes > options.budgetOf(place) && others().length > 0) {
      const next = candidates.shift()
      if (next === undefined) return undefined
      staying.delete(next)
      leaving.push(next)
    }
  }
  return leaving
}

function bytesOf({ need }: Seated, place: string): number {
  return need.shares.reduce((sum, share) => sum + (share.place === place ? share.bytes : 0), 0)
}

function mayLeave(seat: Seated, want: Need, { now, stayMin }: RoomOptions): boolean {
  if (seat.isBusy || seat.need.priority > want.priority) return false
  return seat.need.priority < want.priority || now - seat.loadedAt >= stayMin
}
