/**
 * The chain as a stream of blocks: every height in order, exactly once for each consumer.
 *
 * `run` finds the head: it asks `status` when a WebSocket announces a header and every `pollEvery` in
 * any case, so a silent or dropped socket delays the head by one poll and no more. Consumers pull and
 * fetch the heights they have not seen, so a slow one buffers nothing and misses nothing. The head
 * never goes back: a node that is behind, that replays old blocks or that belongs to another chain is
 * not followed.
 *
 * A block's hash is `block_id.hash` of exactly that height (it seeds sessions, proof draws and proof
 * paths), read from `commit`, which has no transactions in it; a node without that method is asked
 * for the whole `block`. Source: cometbft rpc/core/{status,blocks}.go. Tested by test/chain/blocks.ts.
 */
import type { Clock } from '../base/clock.ts'
import { isAbort, SupplierError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { LruMap } from '../base/queue.ts'
import { type Height, height, type Ms, ms, offset } from '../base/units.ts'
import { ChainError } from './errors.ts'
import { Flights } from './flight.ts'
import { Json } from './json.ts'
import type { Rpc } from './rpc.ts'
import { HeaderSocket } from './socket.ts'

export interface Block {
  readonly height: Height
  /** 32 bytes: the header's hash. */
  readonly hash: Uint8Array
  /** Block time, unix milliseconds. */
  readonly time: Ms
}

export interface BlocksDeps {
  readonly rpc: Pick<Rpc, 'call' | 'status' | 'socketUrls'>
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
  readonly #kept: LruMap<Height, Block>
  readonly #flights = new Flights()
  /** One for each consumer that waits for the next head. */
  readonly #waiting = new Set<() => void>()
  #head: Block | undefined
  #chainId: string | undefined
  #announced = 0
  #silentHeads = 0
  #nudge = new AbortController()
  /** What was complained about last, by kind of trouble. */
  readonly #complaints = new Map<Trouble, string>()
  #commitMethod: 'commit' | 'block' = 'commit'

  constructor(deps: BlocksDeps, options: Partial<BlocksOptions> = {}) {
    this.#deps = deps
    this.#options = { ...BLOCKS_DEFAULTS, ...options }
    this.#kept = new LruMap(this.#options.keptMax)
  }

  /** The latest block known; undefined until `run` has found the first. */
  head(): Block | undefined {
    return this.#head
  }

  /** The chain that is followed; undefined until `run` has found the first head. */
  get chainId(): string | undefined {
    return this.#chainId
  }

  /** Finds the head until aborted. A failing node is asked again; nothing is thrown for it. */
  async run(signal: AbortSignal): Promise<void> {
    const socket = this.#options.subscribe ? new HeaderSocket(this.#deps) : undefined
    const failed = new AbortController()
    const both = AbortSignal.any([signal, failed.signal])
    const loops = [this.#poll(socket, both)]
    if (socket !== undefined)
      loops.push(socket.run(this.#deps.rpc.socketUrls, (at) => this.#announce(at), both))
    for (const loop of loops) loop.catch((error: unknown) => failed.abort(error))
    const ends = await Promise.allSettled(loops)
    if (!signal.aborted) throw ends.find((end) => end.status === 'rejected')?.reason
  }

  /**
   * The block of one height; remembered.
   * @throws ChainError HEIGHT_UNAVAILABLE (pruned; or not there yet, then retryable), RPC_UNREACHABLE
   */
  async at(height: Height, signal?: AbortSignal): Promise<Block> {
    const known = this.#kept.get(height)
    if (known !== undefined) return known
    return await this.#flights.join(String(height), signal, async (both) => {
      const block = await this.#load(height, both)
      this.#kept.set(height, block)
      return block
    })
  }

  /** The block of `height` as soon as it is there, however long that takes. @throws as `follow` */
  async waitFor(height: Height, signal: AbortSignal): Promise<Block> {
    while (this.#head === undefined || this.#head.height < height) await this.#nextHead(signal)
    return await this.#persistently(height, signal)
  }

  /**
   * Every height from `from` on (default: the head at the first pull), in order, once, without end.
   * Each consumer has its own place; the next height is fetched when it is pulled. An unreachable
   * node makes it wait. @throws `signal.reason`; ChainError HEIGHT_UNAVAILABLE if `from` was pruned
   */
  async *follow(signal: AbortSignal, from?: Height): AsyncGenerator<Block, never, undefined> {
    while (this.#head === undefined) await this.#nextHead(signal)
    for (let next = from ?? this.#head.height; ; next = offset(next, 1)) {
      yield await this.waitFor(next, signal)
      signal.throwIfAborted()
    }
  }

  async #poll(socket: HeaderSocket | undefined, signal: AbortSignal): Promise<never> {
    for (;;) {
      try {
        const before = this.#head?.height ?? 0
        await this.#look(signal)
        this.#noteSilence(before, socket)
        this.#complaints.delete('head')
      } catch (error) {
        if (isAbort(error, signal) || !(error instanceof SupplierError)) throw error
        this.#complain('head', error)
      }
      const lagging = this.#announced > (this.#head?.height ?? 0)
      if (lagging) this.#announced = 0
      await this.#pause(lagging ? LAG : this.#options.pollEvery, signal)
    }
  }

  /** One question for the head; moves it if it is new and can be believed. */
  async #look(signal: AbortSignal): Promise<void> {
    const status = await this.#deps.rpc.status(signal)
    const head = this.#head
    if (status.catchingUp) throw catchingUp(status.height)
    if (this.#chainId !== undefined && status.chainId !== this.#chainId)
      throw foreign(status.chainId, this.#chainId)
    if (head !== undefined && status.height <= head.height) {
      if (status.height < offset(head.height, -1)) throw behind(status.height, head.height)
      return
    }
    const block = await this.at(status.height, signal)
    this.#chainId = status.chainId
    this.#head = block
    for (const wake of this.#waiting) wake()
    this.#waiting.clear()
  }

  #announce(at: Height): void {
    this.#silentHeads = 0
    if (at <= (this.#head?.height ?? 0)) return
    this.#announced = at
    this.#nudge.abort()
  }

  /** A subscription that misses head after head is dead, whatever its connection says. */
  #noteSilence(before: number, socket: HeaderSocket | undefined): void {
    const moved = (this.#head?.height ?? 0) > before
    if (socket?.isSubscribed !== true || !moved) return
    if (++this.#silentHeads < this.#options.silentHeadsMax) return
    this.#silentHeads = 0
    this.#deps.log.debug({ height: this.#head?.height }, 'block subscription is silent')
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

  async #load(at: Height, signal: AbortSignal): Promise<Block> {
    const method = this.#commitMethod
    try {
      return readBlock(
        method,
        await this.#deps.rpc.call(method, { height: String(at) }, signal),
        at,
      )
    } catch (error) {
      const unknown = error instanceof ChainError && error.data['code'] === -32601
      if (!unknown || method === 'block') throw error
      this.#commitMethod = 'block'
      return await this.#load(at, signal)
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

/** The answer of `commit` or `block`. @throws ChainError RESPONSE, also for another height's block */
export function readBlock(method: 'commit' | 'block', result: unknown, at: Height): Block {
  const answer = new Json(result, 'result')
  const part = answer.get(method === 'commit' ? 'signed_header' : 'block')
  const blockId = (method === 'commit' ? part.get('commit') : answer).get('block_id')
  const header = part.get('header')
  const theirs = header.get('height')
  if (theirs.height() !== at) throw theirs.wrong(String(at))
  return { height: height(at), hash: blockId.get('hash').hash(), time: header.get('time').time() }
}

function catchingUp(at: Height): ChainError {
  const text = `the node is still catching up, at height ${at}`
  return new ChainError('HEIGHT_UNAVAILABLE', text, { data: { height: at }, retryable: true })
}

function behind(at: Height, head: Height): ChainError {
  const text = `the node is at height ${at}, ${head} was seen before`
  return new ChainError('HEIGHT_UNAVAILABLE', text, { data: { height: at, head }, retryable: true })
}

function foreign(theirs: string, ours: string): ChainError {
  const text = `a node of chain ${theirs} among those of ${ours}`
  return new ChainError('CHAIN_ID', text, { data: { theirs, ours } })
}
