/**
 * Joules out of the watts that cards tell now and then. Pure.
 *
 * Between two looks the power is taken to change evenly; a longer gap (a machine that slept, a driver that hung) is
 * not counted. What a card draws without us is the lowest power that it held for some looks: what is above it is
 * the price of work. Tested by test/gpu/energy.ts.
 */
import type { Ms } from '../base/units.ts'
import type { GpuSample } from './sample.ts'

export interface Energy {
  /** Drawn since the first look, without the gaps. */
  readonly joules: number
  /** That were counted. */
  readonly seconds: number
  /** Watts; absent: the card was never steady. */
  readonly idleWatts?: number
  /** Above what the card draws while it does nothing; absent with `idleWatts`. */
  readonly joulesAbove?: number
}

const GAP_MAX = 30_000
const CARDS_MAX = 64
/** Looks that must be alike. */
const STEADY_LOOKS = 4
/** How far apart they may be: this, or a tenth, whichever is more. */
const STEADY_WATTS = 3
const STEADY_SHARE = 0.1

interface Count {
  at: Ms
  watts: number
  joules: number
  seconds: number
  idleWatts: number | undefined
  readonly recent: number[]
}

export class EnergyMeter {
  readonly #cards = new Map<string, Count>()

  /** @param at of a clock that never goes back. Cards that tell no power are passed over. */
  add(at: Ms, samples: readonly GpuSample[]): void {
    for (const { id, power, isAsleep } of samples) {
      const watts = power ?? (isAsleep ? 0 : undefined)
      if (watts === undefined || !Number.isFinite(watts) || watts < 0) continue
      const count = this.#cards.get(id)
      if (count !== undefined) step(count, at, watts, isAsleep)
      else if (this.#cards.size < CARDS_MAX) this.#cards.set(id, begun(at, watts, isAsleep))
    }
  }

  /** @returns undefined: that card has told no power yet */
  of(id: string): Energy | undefined {
    const count = this.#cards.get(id)
    if (count === undefined) return undefined
    const { joules, seconds, idleWatts } = count
    if (idleWatts === undefined) return { joules, seconds }
    return { joules, seconds, idleWatts, joulesAbove: Math.max(0, joules - idleWatts * seconds) }
  }
}

function begun(at: Ms, watts: number, isAsleep: boolean): Count {
  const recent = isAsleep ? [] : [watts]
  return { at, watts, joules: 0, seconds: 0, idleWatts: undefined, recent }
}

function step(count: Count, at: Ms, watts: number, isAsleep: boolean): void {
  const apart = at - count.at
  if (apart < 0) return
  const isGap = apart > GAP_MAX
  if (!isGap) {
    count.joules += ((count.watts + watts) / 2) * (apart / 1_000)
    count.seconds += apart / 1_000
  }
  count.at = at
  count.watts = watts
  // A card that sleeps cannot work: what it draws then is no measure for one that is ready.
  if (isGap || isAsleep) count.recent.length = 0
  if (isAsleep) return
  count.recent.push(watts)
  if (count.recent.length > STEADY_LOOKS) count.recent.shift()
  const steady = steadyOf(count.recent)
  if (steady !== undefined) count.idleWatts = Math.min(count.idleWatts ?? steady, steady)
}

function steadyOf(recent: readonly number[]): number | undefined {
  if (recent.length < STEADY_LOOKS) return undefined
  const mean = recent.reduce((sum, one) => sum + one, 0) / recent.length
  const spread = Math.max(...recent) - Math.min(...recent)
  return spread <= Math.max(STEADY_WATTS, mean * STEADY_SHARE) ? mean : undefined
}
