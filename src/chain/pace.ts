/** How fast blocks come, by this machine's own clock. Tested by test/chain/standing.ts. */
import { type Height, type Ms, ms } from '../base/units.ts'

interface Arrival {
  readonly height: Height
  /** A value of `clock.monotonic()`. */
  readonly at: Ms
}

/** Before two blocks have been seen; half of what the main network takes. */
const UNKNOWN = ms(30_000)
const ARRIVALS_MAX = 16

export class Pace {
  readonly #arrivals: Arrival[] = []

  note(height: Height, at: Ms): void {
    this.#arrivals.push({ height, at })
    if (this.#arrivals.length > ARRIVALS_MAX) this.#arrivals.shift()
  }

  /** From block to block. */
  get usual(): Ms {
    const [first, last] = [this.#arrivals[0], this.#arrivals.at(-1)]
    if (first === undefined || last === undefined || first === last) return UNKNOWN
    return ms((last.at - first.at) / (last.height - first.height))
  }

  /** Since the latest block came; 0 before the first. */
  elapsed(now: Ms): Ms {
    return ms(now - (this.#arrivals.at(-1)?.at ?? now))
  }
}
