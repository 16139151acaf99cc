/**
 * What the simulated chain remembers: blocks, where transactions are, and the state of every height
 * that is kept. Tested by test/devnet/archive.ts.
 */
import type { Height } from '../base/units.ts'
import type { Event } from './events.ts'
import type { TxResult } from './machine.ts'
import { type State, stateOver, TABLE_NAMES, type Tables } from './state.ts'
import { History } from './store.ts'
import type { Transaction } from './tx.ts'

export interface Block {
  readonly height: Height
  /** 32 bytes. */
  readonly hash: Uint8Array
  /** Nanoseconds since 1970. */
  readonly time: bigint
  readonly previous: Uint8Array
  /** Of the transactions; of nothing for an empty block. */
  readonly dataHash: Uint8Array
  /** Of the state before the block, as in every header. */
  readonly appHash: Uint8Array
  /** Of the state after the block. */
  readonly nextAppHash: Uint8Array
  readonly transactions: readonly Transaction[]
  readonly results: readonly TxResult[]
  readonly events: readonly Event[]
}

const PRUNE_EVERY = 100

export class Archive {
  readonly #keep: number
  readonly #blocks = new Map<number, Block>()
  readonly #places = new Map<string, { height: Height; index: number }>()
  readonly #histories = new Map<keyof Tables, History<unknown>>(
    TABLE_NAMES.map((name) => [name, new History()]),
  )

  /** @param keep how many heights can be asked for */
  constructor(keep: number) {
    this.#keep = keep
  }

  block(at: number): Block | undefined {
    return this.#blocks.get(at)
  }

  /** By the transaction's hash in upper-case hex. */
  find(hash: string): { block: Block; index: number } | undefined {
    const place = this.#places.get(hash)
    const block = place && this.#blocks.get(place.height)
    return block && place && { block, index: place.index }
  }

  /** The state that the block of `at` left. What is written to it is seen by nobody else. */
  stateAt(at: number): State {
    return stateOver((name) => this.#history(name).at(at))
  }

  /** @returns how many values were written */
  commit(state: State, at: number): number {
    let writes = 0
    for (const name of TABLE_NAMES) {
      const changes = state[name].changes()
      writes += changes.size
      this.#history(name).write(at, changes)
    }
    return writes
  }

  /** Adds a block and drops the one that is too old now. */
  add(block: Block): void {
    this.#blocks.set(block.height, block)
    for (const [index, tx] of block.transactions.entries())
      this.#places.set(tx.hash, { height: block.height, index })
    const old = block.height - this.#keep
    for (const tx of this.#blocks.get(old)?.transactions ?? []) this.#places.delete(tx.hash)
    this.#blocks.delete(old)
    if (old > 0 && old % PRUNE_EVERY === 0)
      for (const history of this.#histories.values()) history.prune(old)
  }

  #history(name: keyof Tables): History<unknown> {
    const history = this.#histories.get(name)
    if (history === undefined) throw new RangeError(`no table ${name}`)
    return history
  }
}
