/**
 * A cap on tokens that are paid for elsewhere: so many an hour, so many a day.
 *
 * Kept in memory: after a restart it counts from nothing. Tested by test/inference/upstream/limits.ts.
 */
import type { Clock } from '../../base/clock.ts'
import { type Ms, ms } from '../../base/units.ts'
import { InferenceError } from '../errors.ts'

/** Tokens of prompts and completions together; absent: without a limit. */
export interface SpendLimits {
  readonly perHour?: number
  readonly perDay?: number
}

const HOUR = ms(3_600_000)
const DAY = ms(24 * HOUR)
/** Steps in which a window moves on. */
const STEPS = 60

export class Spend {
  readonly #windows: readonly Window[]

  constructor(deps: { clock: Clock }, limits: SpendLimits) {
    this.#windows = [
      new Window(deps.clock, HOUR, limits.perHour),
      new Window(deps.clock, DAY, limits.perDay),
    ]
  }

  /** Tokens of the last hour and of the last day. */
  get spent(): { readonly hour: number; readonly day: number } {
    const [hour, day] = this.#windows.map((window) => window.spent)
    return { hour: hour ?? 0, day: day ?? 0 }
  }

  /** @throws InferenceError BUSY (`spend_cap`): nothing more is bought for now */
  check(): void {
    const wait = Math.max(...this.#windows.map((window) => window.wait))
    if (wait > 0)
      throw new InferenceError('BUSY', 'the cap on tokens is reached', {
        data: { reason: 'spend_cap', retryAfterSeconds: Math.ceil(wait / 1_000) },
        retryable: true,
      })
  }

  add(tokens: number): void {
    for (const window of this.#windows) window.add(tokens)
  }
}

/** The sum over the latest stretch of time, kept in steps. */
class Window {
  readonly #clock: Clock
  readonly #step: number
  readonly #max: number
  /** The number of a step to its tokens, oldest first. */
  #steps = new Map<number, number>()

  constructor(clock: Clock, length: Ms, max = Number.POSITIVE_INFINITY) {
    this.#clock = clock
    this.#step = length / STEPS
    this.#max = max
  }

  get spent(): number {
    this.#forget()
    return [...this.#steps.values()].reduce((sum, tokens) => sum + tokens, 0)
  }

  /** Until it is below its limit again; 0 if it is. */
  get wait(): Ms {
    let left = this.spent
    if (left < this.#max) return ms(0)
    const now = this.#clock.monotonic()
    for (const [step, tokens] of this.#steps) {
      left -= tokens
      if (left < this.#max) return ms((step + STEPS + 1) * this.#step - now)
    }
    return ms(STEPS * this.#step)
  }

  add(tokens: number): void {
    this.#forget()
    const step = this.#now()
    this.#steps.set(step, (this.#steps.get(step) ?? 0) + tokens)
  }

  #now(): number {
    return Math.floor(this.#clock.monotonic() / this.#step)
  }

  #forget(): void {
    const oldest = this.#now() - STEPS
    for (const step of this.#steps.keys()) if (step < oldest) this.#steps.delete(step)
  }
}
