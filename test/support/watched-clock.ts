import type { Ms } from '../../src/base/units.ts'
import { ManualClock } from './clock.ts'
import { until } from './recorded-node.ts'

/** A manual clock that knows how long is waited for: to tell a poll from a deadline. */
export class WatchedClock extends ManualClock {
  readonly #begun = new Map<number, number>()
  readonly #pending = new Map<number, number>()

  begun(duration: number): number {
    return this.#begun.get(duration) ?? 0
  }

  pending(duration: number): number {
    return this.#pending.get(duration) ?? 0
  }

  override async sleep(duration: Ms, signal?: AbortSignal): Promise<void> {
    this.#begun.set(duration, this.begun(duration) + 1)
    this.#pending.set(duration, this.pending(duration) + 1)
    try {
      await super.sleep(duration, signal)
    } finally {
      this.#pending.set(duration, this.pending(duration) - 1)
    }
  }

  /** Lets a wait of exactly `duration` end, once there is one. */
  async pass(duration: number): Promise<void> {
    await until(() => this.pending(duration) > 0, `a wait of ${duration} ms`)
    await this.advance(duration)
  }
}
