/**
 * The blocks that are believed, and others asked for that fit them.
 *
 * A block fits if it names the block that is kept before it and is named by the one kept after it. One
 * that does not is asked for at the next endpoint. Where all of them name another block before it than
 * the one that is kept, that one was wrong. A single endpoint has nobody beside it: its newer word
 * holds, and it is said that it contradicts itself.
 *
 * Read from `commit`, which has no transactions in it; a node without that method is asked for the
 * whole `block`. Tested by test/chain/{blocks,nodes,forks}.ts.
 */
import { equal } from '../base/bytes.ts'
import type { Log } from '../base/log.ts'
import { LruMap } from '../base/queue.ts'
import { type Height, offset } from '../base/units.ts'
import { type LinkedBlock, readBlock } from './block.ts'
import { ChainError } from './errors.ts'
import { Flights } from './flight.ts'
import type { Rpc } from './rpc.ts'

export interface TrailDeps {
  readonly rpc: Pick<Rpc, 'ask' | 'askOn' | 'endpointCount'>
  readonly log: Log
}

type Ask = (
  method: string,
  params: Readonly<Record<string, unknown>>,
  read: (result: unknown) => LinkedBlock,
) => Promise<LinkedBlock>

export class Trail {
  readonly #deps: TrailDeps
  readonly #kept: LruMap<Height, LinkedBlock>
  readonly #flights = new Flights()
  #method: 'commit' | 'block' = 'commit'
  /** How often what was believed was given up. */
  #turn = 0

  /** @param keptMax blocks; about 250 bytes each */
  constructor(deps: TrailDeps, keptMax: number) {
    this.#deps = deps
    this.#kept = new LruMap(keptMax)
  }

  known(at: Height): LinkedBlock | undefined {
    return this.#kept.get(at)
  }

  keep(block: LinkedBlock): void {
    this.#kept.set(block.height, block)
  }

  /** What was believed was wrong. */
  forget(): void {
    this.#turn++
    this.#kept.prune(() => true)
  }

  /**
   * The block of one height, of any endpoint whose answer fits; kept.
   * @throws ChainError HEIGHT_UNAVAILABLE, FORK, RPC_UNREACHABLE
   */
  async at(at: Height, signal?: AbortSignal): Promise<LinkedBlock> {
    const known = this.#kept.get(at)
    if (known !== undefined) return known
    return await this.#flights.join(String(at), signal, async (both) => {
      const options = { signal: both, at }
      let turn = this.#turn
      const load = () =>
        this.#load(at, (method, params, read) =>
          this.#deps.rpc.ask(method, params, (result) => this.#fitting(read(result)), options),
        )
      const block = await load().catch((error: unknown) => {
        if (!isRefuted(error, at)) throw error
        this.#deps.log.error({ height: at - 1 }, 'a block that was believed was wrong')
        this.forget()
        turn = this.#turn
        return load()
      })
      // An answer to a question of before may be of somebody who is not believed any more.
      if (turn === this.#turn) this.keep(block)
      return block
    })
  }

  /** As one endpoint has it, whether it fits or not; not kept. @throws as `at` */
  async from(index: number, at: Height, signal: AbortSignal): Promise<LinkedBlock> {
    return await this.#load(at, (method, params, read) =>
      this.#deps.rpc.askOn(index, method, params, read, signal),
    )
  }

  /**
   * An endpoint's own blocks from `block` down to the one after `head`, the lowest last; not kept.
   * @returns also whether each of them names the next
   */
  async down(
    index: number,
    block: LinkedBlock,
    head: Height,
    signal: AbortSignal,
  ): Promise<{ readonly path: readonly LinkedBlock[]; readonly isWhole: boolean }> {
    const path = [block]
    let isWhole = true
    for (let last = block; isWhole && last.height > head + 1; ) {
      const before = await this.from(index, offset(last.height, -1), signal)
      isWhole = equal(before.hash, last.parent)
      path.push(before)
      last = before
    }
    return { path, isWhole }
  }

  async #load(at: Height, ask: Ask): Promise<LinkedBlock> {
    const method = this.#method
    const params = { height: String(at) }
    try {
      return await ask(method, params, (result) => readBlock(method, result, at))
    } catch (error) {
      const unknown = error instanceof ChainError && error.data['code'] === -32601
      if (!unknown || method === 'block') throw error
      this.#method = 'block'
      return await this.#load(at, ask)
    }
  }

  /** @throws ChainError FORK */
  #fitting(block: LinkedBlock): LinkedBlock {
    const at = this.#misfit(block)
    if (at === undefined) return block
    const text = `block ${block.height} does not fit block ${at} that is believed`
    if (this.#deps.rpc.endpointCount > 1)
      throw new ChainError('FORK', text, { data: { neighbour: at }, retryable: true })
    this.#deps.log.error(
      { height: block.height, reason: text },
      'the chain endpoint contradicts itself',
    )
    this.forget()
    return block
  }

  /** The height of a neighbour that it contradicts. */
  #misfit({ height, hash, parent }: LinkedBlock): Height | undefined {
    const before = height > 1 ? this.#kept.get(offset(height, -1)) : undefined
    if (before !== undefined && !equal(before.hash, parent)) return before.height
    const after = this.#kept.get(offset(height, 1))
    return after !== undefined && !equal(after.parent, hash) ? after.height : undefined
  }
}

/** True where every endpoint names another block before `at` than the one that is kept. */
function isRefuted(error: unknown, at: Height): boolean {
  if (!(error instanceof ChainError) || error.code !== 'FORK') return false
  const { isUnanimous, neighbour } = error.data
  return isUnanimous === true && Number(neighbour) < at
}
