/**
 * The chain as a stream of blocks: every height in order, exactly once for each consumer.
 *
 * `run` finds the head (chain/heads.ts): it looks when a WebSocket announces a header and every
 * `pollEvery` in any case, so a silent or dropped socket delays the head by one poll and no more. With
 * several endpoints the socket is with another one than the one that is asked, so that neither can be
 * silent unnoticed. Consumers pull and fetch the heights they have not seen, so a slow one buffers
 * nothing and misses nothing. The head never goes back.
 * Tested by test/chain/{blocks,nodes,forks}.ts.
 */
import type { Clock } from '../base/clock.ts'
import { isAbort, SupplierError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { type Height, type Ms, ms, offset } from '../base/units.ts'
import type { Block } from './block.ts'
import { Heads } from './heads.ts'
import type { Rpc } from './rpc.ts'
import { HeaderSocket } from './socket.ts'
import { Trail } from './trail.ts'

export type { Block }

export interface BlocksDeps {
  readonly rpc: Rpc
  readonly clock: Clock
  readonly random: () => number
  readonly log: Log
}

export interface BlocksOptions {
  readonly pollEvery: Ms
  /** False: polling only. */
  readonly subscribe: boolean
  /** Heads found by polling in a row, after which a subscription that said nothing is renewed. */
  readonly silentHeadsMax: number
  /** Blocks kept in memory; about 200 bytes each. */
  readonly keptMax: number
}

export const BLOCKS_DEFAULTS: BlocksOptions = {
  pollEvery: ms(3_000),
  subscribe: true,
  silentHeadsMax: 3,
  keptMax: 1_024,
}

/** After an announcement that `status` does not know yet: a node may be slower than its news. */
const LAG = ms(250)
type Trouble = 'head' | 'block'
const RETRY_FIRST = ms(250)
const RETRY_MAX = ms(10_000)

export class Blocks {
  readonly #deps: BlocksDeps
  readonly #options: BlocksOptions
  readonly #trail: Trail
  readonly #heads: Heads
  /** One for each consumer that waits for the next head. */
  readonly #waiting = new Set<() => void>()
  /** The latest height announced, until it was looked for. */
  #announced = 0
  /** The same, looked for or not. */
  #heard = 0
  #silentHeads = 0
  #nudge = new AbortController()
  /** What was complained about last, by kind of trouble. */
  readonly #complaints = new Map<Trouble, string>()

  constructor(deps: BlocksDeps, options: Partial<BlocksOptions> = {}) {
    this.#deps = deps
    this.#options = { ...BLOCKS_DEFAULTS, ...options }
    this.#trail = new Trail(deps, this.#options.keptMax)
    this.#heads = new Heads({ ...deps, trail: this.#trail })
  }

  /** The latest block known; undefined until `run` has found the first. */
  head(): Block | undefined {
    return this.#heads.head
  }

  /** The chain that is followed; undefined until `run` has found the first head. */
  get chainId(): string | undefined {
    return this.#heads.chainId
  }

  /** Finds the head until aborted. A failing node is asked again; nothing is thrown for it. */
  async run(signal: AbortSignal): Promise<void> {
    const socket = this.#options.subscribe ? new HeaderSocket(this.#deps) : undefined
    const failed = new AbortController()
    const both = AbortSignal.any([signal, failed.signal])
    const loops = [this.#poll(socket, both)]
    if (socket !== undefined)
      loops.push(
        socket.run(
          () => this.#deps.rpc.socketUrls,
          (at) => this.#announce(at),
          both,
        ),
      )
    for (const loop of loops) loop.catch((error: unknown) => failed.abort(error))
    const ends = await Promise.allSettled(loops)
    if (!signal.aborted) throw ends.find((end) => end.status === 'rejected')?.reason
  }

  /**
   * The block of one height; remembered.
   * @throws ChainError HEIGHT_UNAVAILABLE (pruned; or not there yet, then retryable), RPC_UNREACHABLE,
   *   FORK (retryable: no endpoint has one that fits what is believed)
   */
  at(height: Height, signal?: AbortSignal): Promise<Block> {
    return this.#trail.at(height, signal)
  }

  /** The block of `height` as soon as it is there, however long that takes. @throws as `follow` */
  async waitFor(height: Height, signal: AbortSignal): Promise<Block> {
    while (this.#headHeight < height) await this.#nextHead(signal)
    return await this.#persistently(height, signal)
  }

  /**
   * Every height from `from` on (default: the head at the first pull), in order, once, without end.
   * Each consumer has its own place; the next height is fetched when it is pulled. An unreachable
   * node makes it wait. @throws `signal.reason`; ChainError HEIGHT_UNAVAILABLE if `from` was pruned
   */
  async *follow(signal: AbortSignal, from?: Height): AsyncGenerator<Block, never, undefined> {
    let head = this.head()
    for (; head === undefined; head = this.head()) await this.#nextHead(signal)
    for (let next = from ?? head.height; ; next = offset(next, 1)) {
      yield await this.waitFor(next, signal)
      signal.throwIfAborted()
    }
  }

  async #poll(socket: HeaderSocket | undefined, signal: AbortSignal): Promise<never> {
    for (let isUrgent = false; ; ) {
      try {
        isUrgent ||= this.#announced > this.#headHeight
        if (await this.#heads.look(isUrgent, signal)) {
          for (const wake of this.#waiting) wake()
          this.#waiting.clear()
          this.#noteSilence(socket)
        }
        this.#complaints.delete('head')
      } catch (error) {
        if (isAbort(error, signal) || !(error instanceof SupplierError)) throw error
        this.#complain('head', error)
      }
      isUrgent = this.#announced > this.#headHeight
      this.#announced = 0
      // News are not heard meanwhile: somebody who makes them up must not keep us asking.
      if (isUrgent) await this.#deps.clock.sleep(LAG, signal)
      else await this.#pause(this.#options.pollEvery, signal)
    }
  }

  /** 0 before the first. */
  get #headHeight(): number {
    return this.#heads.head?.height ?? 0
  }

  #announce(at: Height): void {
    this.#heard = at
    if (at <= this.#headHeight) return
    this.#announced = at
    this.#nudge.abort()
  }

  /** A subscription that misses head after head is dead, or its node is behind. */
  #noteSilence(socket: HeaderSocket | undefined): void {
    const isHeard = this.#heard >= this.#headHeight
    if (isHeard) this.#silentHeads = 0
    if (isHeard || socket?.isSubscribed !== true) return
    if (++this.#silentHeads < this.#options.silentHeadsMax) return
    this.#silentHeads = 0
    this.#deps.log.debug({ height: this.#headHeight }, 'block subscription is silent')
    socket.restart()
  }

  /** Until `duration` has passed or something is announced. */
  async #pause(duration: Ms, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    const nudge = new AbortController()
    this.#nudge = nudge
    const stop = () => nudge.abort()
    signal.addEventListener('abort', stop, { once: true })
    try {
      await this.#deps.clock.sleep(duration, nudge.signal)
    } catch (error) {
      signal.throwIfAborted()
      if (!nudge.signal.aborted) throw error
    } finally {
      signal.removeEventListener('abort', stop)
    }
  }

  #nextHead(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason)
      const wake = () => {
        signal.removeEventListener('abort', leave)
        resolve()
      }
      const leave = () => {
        this.#waiting.delete(wake)
        reject(signal.reason)
      }
      this.#waiting.add(wake)
      signal.addEventListener('abort', leave, { once: true })
    })
  }

  /** A block that is known to exist: asked for until a node gives it. */
  async #persistently(height: Height, signal: AbortSignal): Promise<Block> {
    const { clock, random } = this.#deps
    for (let attempt = 0; ; attempt++) {
      try {
        const block = await this.at(height, signal)
        this.#complaints.delete('block')
        return block
      } catch (error) {
        if (!(error instanceof SupplierError) || !error.retryable) throw error
        this.#complain('block', error)
        const ceiling = Math.min(RETRY_MAX, RETRY_FIRST * 2 ** Math.min(attempt, 10))
        await clock.sleep(ms(ceiling * random()), signal)
      }
    }
  }

  /** Once, not once a poll. */
  #complain(trouble: Trouble, error: SupplierError): void {
    if (this.#complaints.get(trouble) === error.code) return
    this.#complaints.set(trouble, error.code)
    const message = {
      head: 'the head of the chain is not known',
      block: 'a block is not to be had',
    }
    this.#deps.log.warn({ err: error }, message[trouble])
  }
}
