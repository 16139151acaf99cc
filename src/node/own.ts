/**
 * The processes of our engines, those that have just ended too: a look at the cards, and a list of who uses them
 * that is kept for a minute, may be older than the end of an engine. Tested by test/node/own.ts.
 */
import type { Clock } from '../base/clock.ts'
import { type Ms, ms } from '../base/units.ts'

/** Longer than a probe keeps what it knows of processes. */
const KEEP = ms(90_000)
const PIDS_MAX = 256

export class OwnProcesses {
  readonly #clock: Clock
  readonly #now: () => ReadonlySet<number>
  readonly #seen = new Map<number, Ms>()

  /** @param deps.now those that are there */
  constructor(deps: { clock: Clock; now: () => ReadonlySet<number> }) {
    this.#clock = deps.clock
    this.#now = deps.now
  }

  all(): ReadonlySet<number> {
    const at = this.#clock.monotonic()
    for (const pid of this.#now()) {
      this.#seen.delete(pid)
      this.#seen.set(pid, at)
    }
    for (const [pid, seen] of this.#seen)
      if (at - seen > KEEP || this.#seen.size > PIDS_MAX) this.#seen.delete(pid)
    return new Set(this.#seen.keys())
  }
}
