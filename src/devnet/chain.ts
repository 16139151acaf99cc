/**
 * The simulated chain: one validator, one process, no network; blocks by the clock or by hand.
 *
 * It keeps the rules of the real one for accounts, stakes, sessions, claims, proofs, settlement and
 * difficulty, and checks every signature. It reads those rules by itself: nothing of the miner's is
 * imported here, or a fault in them would be confirmed by itself. A block's hash is a real one over
 * its content, so the same history gives the same sessions. Tested by test/devnet/chain.ts.
 */
import { concat, sha256, u64, unhex, utf8 } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import { type Height, height, type Ms, ms, type Upokt, upokt } from '../base/units.ts'
import { RingVerifier } from '../crypto/ring.ts'
import type { Curve } from '../crypto/secp256k1.ts'
import { Archive, type Block } from './archive.ts'
import { ensureAccount } from './bank.ts'
import { Refusal } from './errors.ts'
import { type Genesis, writeGenesis } from './genesis.ts'
import {
  admit,
  beginBlock,
  drained,
  endBlock,
  execute,
  type MachineDeps,
  type TxResult,
} from './machine.ts'
import { MEMPOOL_DEFAULTS, Mempool, type MempoolOptions } from './mempool.ts'
import { changeParams, type ModuleName } from './params.ts'
import { type AllParams, balanceOf, type Context, fork, type State } from './state.ts'
import { hashOf, readTransaction, type Transaction } from './tx.ts'

export interface DevnetDeps {
  readonly clock: Clock
  readonly curve: Curve
  readonly log: Log
}

export interface DevnetOptions {
  readonly chainId: string
  readonly genesis: Genesis
  /** How often `run` makes a block; `manual`: only `mine` does. */
  readonly blockTime: Ms | 'manual'
  /** By how much a block is later than the one before, with `manual`. */
  readonly blockStep: Ms
  /** Blocks and states that can be asked for. */
  readonly keep: number
  readonly mempool: MempoolOptions
}

export const DEVNET_DEFAULTS = {
  chainId: 'pocket-devnet',
  blockTime: 'manual',
  blockStep: ms(1_000),
  keep: 5_000,
  mempool: MEMPOOL_DEFAULTS,
} as const satisfies Omit<DevnetOptions, 'genesis'>

export interface CheckResult {
  readonly code: number
  readonly codespace: string
  readonly log: string
  readonly hash: string
}

const NS_PER_MS = 1_000_000n
const NOTHING = new Uint8Array(0)

export class Devnet {
  readonly options: DevnetOptions
  readonly #clock: Clock
  readonly #log: Log
  readonly #machine: MachineDeps
  readonly #mempool: Mempool
  readonly #archive: Archive
  readonly #watchers = new Set<(block: Block) => void>()
  #orders: ((context: Context) => void)[] = []
  #pending: State
  #head: Block

  /** Makes the first block at once: there is always one to ask for. @throws DevnetError GENESIS, PARAMS */
  constructor(deps: DevnetDeps, options: Partial<DevnetOptions> & { genesis: Genesis }) {
    this.options = { ...DEVNET_DEFAULTS, ...options }
    this.#clock = deps.clock
    this.#log = deps.log.child({ component: 'devnet' })
    const rings = new RingVerifier({ curve: deps.curve })
    this.#machine = { curve: deps.curve, rings, chainId: this.options.chainId }
    this.#mempool = new Mempool(this.options.mempool)
    this.#archive = new Archive(this.options.keep)
    const start = this.#archive.stateAt(0)
    writeGenesis(start, options.genesis)
    this.#archive.commit(start, 0)
    const time = BigInt(Math.floor(options.genesis.time ?? deps.clock.now())) * NS_PER_MS
    this.#head = this.#produce(undefined, time)
    this.#pending = this.#resetPending()
  }

  get head(): Block {
    return this.#head
  }

  /** The first block that is kept. */
  get lowest(): Height {
    return height(Math.max(1, this.#head.height - this.options.keep + 1))
  }

  get mempool(): Mempool {
    return this.#mempool
  }

  block(at: number): Block | undefined {
    return this.#archive.block(at)
  }

  /** Where a transaction is, by its hash in upper-case hex. */
  find(hash: string): { block: Block; index: number } | undefined {
    return this.#archive.find(hash)
  }

  /** To ask questions of the block at `at`, which must be kept. */
  contextAt(at: Height): Context {
    const time = this.block(at)?.time ?? 0n
    return { state: this.#archive.stateAt(at), height: at, time, events: [] }
  }

  /** Called after each block, in order. @returns ends it */
  watch(watcher: (block: Block) => void): () => void {
    this.#watchers.add(watcher)
    return () => this.#watchers.delete(watcher)
  }

  /** Money out of nothing, in the next block. */
  fund(address: string, amount: Upokt): void {
    this.#orders.push(({ state }) => {
      ensureAccount(state, address)
      state.balances.set(address, upokt(balanceOf(state, address) + amount))
    })
  }

  /** What governance would decide in the next block. @throws DevnetError PARAMS */
  setParams<M extends ModuleName>(module: M, change: Partial<AllParams[M]>): void {
    const order = (context: Context) => changeParams(context, module, change)
    const trial = this.contextAt(this.#head.height)
    for (const earlier of [...this.#orders, order]) earlier(trial)
    this.#orders.push(order)
  }

  /** CheckTx. @throws DevnetError REFUSED for what the node refuses without a code */
  broadcast(bytes: Uint8Array): CheckResult {
    const hash = hashOf(bytes)
    this.#mempool.receive(hash, bytes.length)
    try {
      const tx = readTransaction(bytes)
      admit(this.#pendingContext(), tx, 'check', this.#machine)
      this.#mempool.add(tx)
      return { code: 0, codespace: '', log: '', hash }
    } catch (error) {
      this.#mempool.forget(hash)
      if (!(error instanceof Refusal)) throw error
      return { code: error.number, codespace: error.codespace, log: error.message, hash }
    }
  }

  /** Runs a transaction on the latest state and throws away what it did. @throws Refusal */
  simulate(bytes: Uint8Array): TxResult {
    const tx = readTransaction(bytes)
    const context = this.#pendingContext()
    return execute({ ...context, state: fork(context.state) }, tx, 'simulate', this.#machine)
  }

  /** Makes one block of what waits. */
  async mine(): Promise<Block> {
    const before = this.#head.time
    const { blockTime, blockStep } = this.options
    const now = BigInt(Math.floor(this.#clock.now())) * NS_PER_MS
    const step = BigInt(Math.floor(blockStep)) * NS_PER_MS
    const time = blockTime === 'manual' ? before + step : now > before ? now : before + NS_PER_MS
    this.#head = this.#produce(this.#head, time)
    this.#pending = this.#resetPending()
    for (const watcher of this.#watchers) watcher(this.#head)
    return this.#head
  }

  /** Mines by the clock until `signal`; with `manual` there is nothing to do. */
  async run(signal: AbortSignal): Promise<void> {
    const { blockTime } = this.options
    if (blockTime === 'manual') return
    while (!signal.aborted) {
      try {
        await this.#clock.sleep(blockTime, signal)
      } catch (error) {
        if (signal.aborted) return
        throw error
      }
      await this.mine()
    }
  }

  #produce(parent: Block | undefined, time: bigint): Block {
    const at = height((parent?.height ?? 0) + 1)
    const state = this.#archive.stateAt(at - 1)
    const context: Context = { state, height: at, time, events: [] }
    for (const order of this.#orders.splice(0)) order(context)
    const transactions = this.#propose(context)
    const previous = parent?.hash ?? NOTHING
    const appHash = parent?.nextAppHash ?? sha256(NOTHING)
    const dataHash = sha256(concat(...transactions.map((tx) => unhex(tx.hash))))
    const content = [u64(at), previous, u64(time), utf8(this.options.chainId), dataHash, appHash]
    const hash = sha256(concat(...content))
    beginBlock(context)
    const events = drained(context, 'BeginBlock')
    const results = transactions.map((tx) => execute(context, tx, 'deliver', this.#machine))
    endBlock(context, hash, this.#machine)
    events.push(...drained(context, 'EndBlock'))
    const writes = this.#archive.commit(state, at)
    const nextAppHash = sha256(concat(appHash, hash, u64(writes)))
    const block: Block = {
      height: at,
      hash,
      time,
      previous,
      dataHash,
      appHash,
      nextAppHash,
      transactions,
      results,
      events,
    }
    this.#keep(block)
    return block
  }

  /** Those that would pass now, in order; the others stay where they are until they are checked again. */
  #propose(context: Context): Transaction[] {
    const trial = { ...context, state: fork(context.state) }
    return this.#mempool.waiting.filter((tx) => {
      try {
        admit(trial, tx, 'deliver', this.#machine)
        return true
      } catch (error) {
        if (error instanceof Refusal) return false
        throw error
      }
    })
  }

  #keep(block: Block): void {
    this.#archive.add(block)
    for (const [index, tx] of block.transactions.entries()) {
      if (block.results[index]?.code === 0) this.#mempool.taken(tx.hash)
      else this.#mempool.forget(tx.hash)
    }
    this.#log.debug(
      { height: block.height, txs: block.transactions.length, events: block.events.length },
      'block made',
    )
  }

  #pendingContext(): Context {
    const { height: at, time } = this.#head
    return { state: this.#pending, height: at, time, events: [] }
  }

  /** The state that new transactions are checked on: the head's, with what waits already admitted. */
  #resetPending(): State {
    this.#pending = this.#archive.stateAt(this.#head.height)
    for (const tx of this.#mempool.waiting) {
      try {
        admit(this.#pendingContext(), tx, 'check', this.#machine)
      } catch (error) {
        if (!(error instanceof Refusal)) throw error
        this.#mempool.forget(tx.hash)
      }
    }
    return this.#pending
  }
}
