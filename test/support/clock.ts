/** A clock that stands still until a test moves it. */
import type { Clock } from '../../src/base/clock.ts'
import { type Ms, ms } from '../../src/base/units.ts'

interface Sleeper {
  at: number
  wake: () => void
}

export class ManualClock implements Clock {
  #now: number
  #sleepers: Sleeper[] = []

  constructor(start = 1_750_000_000_000) {
    this.#now = start
  }

  now(): Ms {
    return ms(this.#now)
  }

  monotonic(): Ms {
    return ms(this.#now)
  }

  get sleeping(): number {
    return this.#sleepers.length
  }

  sleep(duration: Ms, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason)
      const onAbort = () => {
        this.#sleepers = this.#sleepers.filter((other) => other !== sleeper)
        reject(signal?.reason)
      }
      const sleeper = {
        at: this.#now + duration,
        wake: () => {
          signal?.removeEventListener('abort', onAbort)
          resolve()
        },
      }
      signal?.addEventListener('abort', onAbort, { once: true })
      this.#sleepers.push(sleeper)
    })
  }

  /** Moves time on and wakes who is due, in order; then lets what they started run. */
  async advance(duration: number): Promise<void> {
    this.#now += duration
    const due = this.#sleepers.filter((sleeper) => sleeper.at <= this.#now)
    this.#sleepers = this.#sleepers.filter((sleeper) => sleeper.at > this.#now)
    for (const sleeper of due.sort((a, b) => a.at - b.at)) sleeper.wake()
    await new Promise((resolve) => setImmediate(resolve))
  }
}
