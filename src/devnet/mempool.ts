/**
 * Transactions that wait for a block, and the memory of those that were seen.
 *
 * Bytes that are known are refused before anybody looks into them, also when a block has taken them
 * long ago; bytes that failed are forgotten and may come again. Source: cometbft mempool/clist_mempool.go.
 * Tested by test/devnet/mempool.ts.
 */
import { LruMap } from '../base/queue.ts'
import { DevnetError } from './errors.ts'
import type { Transaction } from './tx.ts'

export interface MempoolOptions {
  readonly transactionsMax: number
  readonly transactionBytesMax: number
  /** Hashes that are remembered. */
  readonly cacheMax: number
}

export const MEMPOOL_DEFAULTS: MempoolOptions = {
  transactionsMax: 5_000,
  transactionBytesMax: 1_048_576,
  cacheMax: 10_000,
}

const MEMPOOL_BYTES_MAX = 1_073_741_824

export class Mempool {
  readonly #options: MempoolOptions
  readonly #seen: LruMap<string, true>
  #waiting: Transaction[] = []

  constructor(options: MempoolOptions = MEMPOOL_DEFAULTS) {
    this.#options = options
    this.#seen = new LruMap(options.cacheMax)
  }

  get waiting(): readonly Transaction[] {
    return this.#waiting
  }

  get bytes(): number {
    return this.#waiting.reduce((sum, tx) => sum + tx.bytes.length, 0)
  }

  /** Remembers the bytes. @throws DevnetError REFUSED with what the node tells as an RPC error */
  receive(hash: string, length: number): void {
    const { transactionsMax: most, transactionBytesMax: longest } = this.#options
    if (this.#waiting.length >= most)
      throw new DevnetError(
        'REFUSED',
        `mempool is full: number of txs ${this.#waiting.length} (max: ${most}), total txs bytes ${this.bytes} (max: ${MEMPOOL_BYTES_MAX})`,
      )
    if (length > longest)
      throw new DevnetError('REFUSED', `Tx too large. Max size is ${longest}, but got ${length}`)
    if (this.#seen.get(hash) !== undefined)
      throw new DevnetError('REFUSED', 'tx already exists in cache')
    this.#seen.set(hash, true)
  }

  add(tx: Transaction): void {
    this.#waiting.push(tx)
  }

  /** It may be sent again. */
  forget(hash: string): void {
    this.#seen.delete(hash)
    this.#waiting = this.#waiting.filter((tx) => tx.hash !== hash)
  }

  /** A block has it: no longer waiting, still known. */
  taken(hash: string): void {
    this.#waiting = this.#waiting.filter((tx) => tx.hash !== hash)
  }
}
