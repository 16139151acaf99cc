/**
 * One fact that is read again and again: never twice at the same time, with a deadline, and kept for a
 * while when a reading fails. Tested by test/gpu/fact.ts.
 */
import { following } from '../base/abort.ts'
import type { Clock } from '../base/clock.ts'
import { OVER, withDeadline } from '../base/retry.ts'
import type { Ms } from '../base/units.ts'

export interface FactOptions {
  /** From the start of one reading to the start of the next. */
  readonly every: Ms
  readonly deadline: Ms
  /** So long it is believed when the readings after it fail. */
  readonly keep: Ms
}

export interface Known<T> {
  readonly value: T
  /** When its reading began, by `clock.monotonic()`. */
  readonly at: Ms
}

export class Fact<T> {
  readonly name: string
  readonly #clock: Clock
  readonly #options: FactOptions
  readonly #read: (signal: AbortSignal) => Promise<T | undefined>
  #known: Known<T> | undefined
  #startedAt: Ms | undefined
  #running: Promise<void> | undefined
  #isTried = false

  /** @param read undefined, or a throw: it cannot be told now */
  constructor(
    name: string,
    deps: { clock: Clock; read: (signal: AbortSignal) => Promise<T | undefined> },
    options: FactOptions,
  ) {
    this.name = name
    this.#clock = deps.clock
    this.#read = deps.read
    this.#options = options
  }

  /** Absent: never read, or too long ago. */
  get known(): Known<T> | undefined {
    const known = this.#known
    if (known === undefined || this.#clock.monotonic() - known.at > this.#options.keep)
      return undefined
    return known
  }

  get isDue(): boolean {
    if (this.#running !== undefined) return false
    const started = this.#startedAt
    return started === undefined || this.#clock.monotonic() - started >= this.#options.every
  }

  /** A first reading has ended, in whatever way, or has missed its deadline. */
  get isTried(): boolean {
    if (this.#isTried || this.#startedAt === undefined) return this.#isTried
    return this.#clock.monotonic() - this.#startedAt >= this.#options.deadline
  }

  /**
   * Reads it now; joins a reading that goes on. Ends at the deadline at the latest, even where a reading
   * hears no signal: that one goes on alone, and until it ends no other is begun.
   * @throws signal.reason
   */
  async read(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    this.#running ??= this.#once(signal).finally(() => {
      this.#running = undefined
    })
    using waiting = following(signal)
    try {
      await Promise.race([this.#running, this.#clock.sleep(this.#options.deadline, waiting.signal)])
    } finally {
      waiting.abort(OVER)
    }
    signal.throwIfAborted()
  }

  async #once(signal: AbortSignal): Promise<void> {
    const at = this.#clock.monotonic()
    this.#startedAt = at
    try {
      const { deadline } = this.#options
      const value = await withDeadline(this.#clock, deadline, signal, this.#read)
      if (value !== undefined) this.#known = { value, at }
    } catch {
      // Who does not answer is not known; what was known before is kept for a while.
    }
    if (!signal.aborted) this.#isTried = true
  }
}
