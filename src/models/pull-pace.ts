/** How fast bytes may come, and how fast they do. Tested by test/models/pull-ranges.ts. */
import type { Clock } from '../base/clock.ts'
import { ms } from '../base/units.ts'

/** Bytes per second for all that share it, with a second's worth at once. */
export class Pace {
  readonly #clock: Clock
  readonly #rate: number
  #left: number
  #at: number

  /** @param rate bytes per second; Infinity: no limit */
  constructor(clock: Clock, rate: number) {
    this.#clock = clock
    this.#rate = rate
    this.#left = 0
    this.#at = clock.monotonic()
  }

  /** Waits until these bytes, which have come, are within the rate. @throws `signal.reason` */
  async take(bytes: number, signal: AbortSignal): Promise<void> {
    if (this.#rate === Number.POSITIVE_INFINITY) return
    const now = this.#clock.monotonic()
    this.#left = Math.min(this.#rate, this.#left + ((now - this.#at) * this.#rate) / 1_000)
    this.#at = now
    this.#left -= bytes
    if (this.#left < 0) await this.#clock.sleep(ms((-this.#left * 1_000) / this.#rate), signal)
  }
}

const WINDOW_MS = 5_000
const SAMPLES_MAX = 64

/** Bytes per second over the last seconds. */
export class Speed {
  readonly #clock: Clock
  #samples: { at: number; bytes: number }[] = []

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** @param bytes all that have come until now */
  at(bytes: number): number {
    const at = this.#clock.monotonic()
    this.#samples.push({ at, bytes })
    const fresh = this.#samples.filter((sample) => at - sample.at <= WINDOW_MS)
    this.#samples = fresh.slice(-SAMPLES_MAX)
    const [first] = this.#samples
    if (first === undefined || first.at === at) return 0
    return Math.max(0, ((bytes - first.bytes) * 1_000) / (at - first.at))
  }
}
