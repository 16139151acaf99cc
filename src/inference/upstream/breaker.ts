/**
 * Whether a server is worth another request: closed, open for a while, then one request as a probe.
 *
 * It opens after some failures in a row or when too large a share of the latest requests failed. Each
 * time the probe fails as well, the rest is twice as long. Tested by test/inference/upstream/limits.ts.
 */
import type { Clock } from '../../base/clock.ts'
import { type Ms, ms } from '../../base/units.ts'

export interface BreakerOptions {
  /** In a row. */
  readonly failuresMax: number
  /** Share of failures among the latest `rateWindow` requests. */
  readonly rateMax: number
  readonly rateWindow: number
  readonly restFirst: Ms
  readonly restMax: Ms
}

export type BreakerState = 'closed' | 'open' | 'half-open'

export class Breaker {
  readonly #clock: Clock
  readonly #options: BreakerOptions
  /** The latest, true for a failure. */
  #outcomes: boolean[] = []
  #inRow = 0
  #rests = 0
  /** A value of `clock.monotonic()`; undefined while closed. */
  #openUntil: Ms | undefined
  #isProbing = false

  constructor(deps: { clock: Clock }, options: BreakerOptions) {
    this.#clock = deps.clock
    this.#options = options
  }

  get state(): BreakerState {
    if (this.#openUntil === undefined) return 'closed'
    return this.restLeft > 0 ? 'open' : 'half-open'
  }

  /** 0 unless open. */
  get restLeft(): Ms {
    return ms(Math.max(0, (this.#openUntil ?? 0) - this.#clock.monotonic()))
  }

  /** Whether a request may be sent now. */
  get allows(): boolean {
    const { state } = this
    return state === 'closed' || (state === 'half-open' && !this.#isProbing)
  }

  /** A request is sent; one of the three below follows. */
  begin(): void {
    if (this.state === 'half-open') this.#isProbing = true
  }

  succeeded(): void {
    this.#note(false)
    this.#inRow = 0
    this.#rests = 0
    this.#openUntil = undefined
    this.#isProbing = false
  }

  failed(): void {
    this.#note(true)
    this.#inRow++
    const wasProbe = this.#isProbing
    this.#isProbing = false
    // What was sent before it opened says nothing new.
    if (this.#openUntil !== undefined && !wasProbe) return
    if (wasProbe || this.#inRow >= this.#options.failuresMax || this.#isOftenFailing()) this.#open()
  }

  /** It ended for a reason that says nothing about the server. */
  left(): void {
    this.#isProbing = false
  }

  #open(): void {
    const { restFirst, restMax } = this.#options
    const rest = Math.min(restMax, restFirst * 2 ** this.#rests)
    this.#rests = Math.min(this.#rests + 1, 32)
    this.#outcomes = []
    this.#openUntil = ms(this.#clock.monotonic() + rest)
  }

  #note(failed: boolean): void {
    this.#outcomes = [...this.#outcomes, failed].slice(-this.#options.rateWindow)
  }

  #isOftenFailing(): boolean {
    const { rateMax, rateWindow } = this.#options
    const failures = this.#outcomes.filter(Boolean).length
    return this.#outcomes.length >= rateWindow && failures / rateWindow >= rateMax
  }
}
