/**
 * Asks endpoints what they say about themselves, and waits for those that usually answer, not for long.
 *
 * Who is later is heard at the next look: an answer is noted when it comes. Tested by test/chain/nodes.ts.
 */
import type { Clock } from '../base/clock.ts'
import { OVER } from '../base/retry.ts'
import { type Ms, ms } from '../base/units.ts'
import type { Rpc } from './rpc.ts'

export interface InquiryDeps {
  readonly rpc: Pick<Rpc, 'panel' | 'statusOn'>
  readonly clock: Clock
}

/** How long a new head waits for what the others say. */
const WAIT = ms(1_000)

export class Inquiry {
  readonly #deps: InquiryDeps
  /** Endpoints whose answer is still awaited. */
  readonly #asking = new Set<number>()
  #askedAt: Ms

  constructor(deps: InquiryDeps) {
    this.#deps = deps
    this.#askedAt = deps.clock.monotonic()
  }

  /** Since the endpoints were asked last. */
  elapsed(now: Ms): Ms {
    return ms(now - this.#askedAt)
  }

  /** @param but the one that has just been asked, if any @throws `signal.reason` */
  async ask(but: number | undefined, signal: AbortSignal): Promise<void> {
    const { rpc, clock } = this.#deps
    this.#askedAt = clock.monotonic()
    const awaited: Promise<void>[] = []
    for (const [index, endpoint] of rpc.panel.endpoints.entries()) {
      if (index === but || this.#asking.has(index)) continue
      const asked = this.#one(index, signal)
      if (endpoint.standing.state === 'ok' && !endpoint.isResting) awaited.push(asked)
    }
    if (awaited.length === 0) return
    const ended = new AbortController()
    const late = clock.sleep(WAIT, ended.signal).catch(() => {})
    await Promise.race([Promise.all(awaited), late])
    ended.abort(OVER)
    signal.throwIfAborted()
  }

  /** Never rejects: who does not answer is told by its health. */
  async #one(index: number, signal: AbortSignal): Promise<void> {
    this.#asking.add(index)
    await this.#deps.rpc.statusOn(index, signal).catch(() => {})
    this.#asking.delete(index)
  }
}
