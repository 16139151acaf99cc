/**
 * How long relays of a session can still be paid: until the block at which its claim opens.
 *
 * The claim waits a few blocks more for an answer that is late; whoever plans with these brings the claim
 * itself into danger. Blocks have no fixed time, so this is an estimate from the last ones seen. When the
 * newest one came is known within a block: a header's time is about that of the block before. A block that
 * is overdue may be long in coming; half of it is then still counted on.
 * Heights: windows by the parameters at the session's END, for a running session by those of now, which
 * are the same. Tests: test/relay/remaining.ts.
 */
import type { Clock } from '../base/clock.ts'
import { isAbort, SupplierError } from '../base/errors.ts'
import { type Height, height, type Ms, ms } from '../base/units.ts'
import type { Block } from '../chain/blocks.ts'
import { sealHeights } from '../miner/plan.ts'
import type { Params as SharedParams } from '../protocol/gen/pocket/shared/shared.ts'
import type { SessionHeader } from '../protocol/relay.ts'
import { windowsOf } from '../protocol/windows.ts'

export interface RemainingDeps {
  readonly clock: Clock
  readonly blocks: {
    head(): Block | undefined
    at(height: Height, signal?: AbortSignal): Promise<Block>
  }
  readonly chain: { sharedParams(at: Height, signal?: AbortSignal): Promise<SharedParams> }
}

/** Heads by which the time of a block is told. */
const HEADS_MAX = 20
/** How far back the first of them is looked for. */
const PAST = 20
/** Blocks come faster only on chains that are made by hand or in a hurry: there nothing is foretold. */
const BLOCK_TIME_MIN = 5_000

export class Remaining {
  readonly #deps: RemainingDeps
  /** In order of heights; any number of blocks lie between two of them. */
  #heads: readonly Block[] = []
  /** When the last of them was first seen. */
  #seenAt = ms(0)

  constructor(deps: RemainingDeps) {
    this.#deps = deps
  }

  /** 0 when it is over; undefined where nothing can be told. @throws only `signal.reason` */
  async of(header: SessionHeader, signal: AbortSignal): Promise<Ms | undefined> {
    const head = this.#look()
    const blockTime = this.#blockTime()
    if (head === undefined || blockTime === undefined) return undefined
    const end = height(header.sessionEndBlockHeight)
    try {
      const at = height(Math.min(end, head.height))
      const params = await this.#deps.chain.sharedParams(at, signal)
      const { first } = sealHeights(windowsOf(end, params))
      return ms(Math.max(0, (first - head.height) * blockTime - this.#age(head, blockTime)))
    } catch (error) {
      if (isAbort(error, signal) || !(error instanceof SupplierError)) throw error
      return undefined
    }
  }

  #look(): Block | undefined {
    const head = this.#deps.blocks.head()
    const before = this.#heads.at(-1)
    if (head === undefined || head.height <= (before?.height ?? 0)) return head
    this.#heads = [...this.#heads, head].slice(-HEADS_MAX)
    this.#seenAt = this.#deps.clock.monotonic()
    if (before === undefined && head.height > 1) this.#lookBack(head)
    return head
  }

  /** Nobody waits for it: the first relays after a start go without. */
  #lookBack({ height: now }: Block): void {
    const past = this.#deps.blocks.at(height(Math.max(1, now - PAST)))
    past.then(
      (block) => {
        this.#heads = [block, ...this.#heads].slice(-HEADS_MAX)
      },
      () => {},
    )
  }

  #blockTime(): number | undefined {
    const [oldest, newest] = [this.#heads[0], this.#heads.at(-1)]
    if (oldest === undefined || newest === undefined) return undefined
    const blockTime = (newest.time - oldest.time) / (newest.height - oldest.height)
    return blockTime >= BLOCK_TIME_MIN ? blockTime : undefined
  }

  #age({ time }: Block, blockTime: number): number {
    const { clock } = this.#deps
    const seen = clock.monotonic() - this.#seenAt
    return Math.min(Math.max(seen, clock.now() - time - blockTime), blockTime / 2)
  }
}
