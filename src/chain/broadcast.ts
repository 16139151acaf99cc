/**
 * From messages to a transaction in a block.
 *
 * Transactions are unordered: no sequence to coordinate between claims, proofs and a command line
 * beside the daemon. What makes one unique is its timeout, latest BLOCK time plus nine and a half
 * minutes (the chain allows ten), with 30 random bits of nanoseconds: never a counter, which repeats
 * after a crash. The account number is still part of what is signed.
 *
 * The simulated transaction carries a fee: without one the chain skips its deduction and the estimate
 * is 17,000 gas short. A stock node reads calls of up to a million bytes, and a simulation writes the
 * transaction in hex: one above half of that is not simulated where its sender can say what it needs.
 * The head is asked for by several senders at once, an account's number once: it never changes.
 *
 * CheckTx says nothing about windows, sums or sessions, and a node that has seen the bytes refuses
 * them even after inclusion: only a block, or the module's state, is an answer.
 * Source: cosmos-sdk v0.53 x/auth/ante/unordered.go, cometbft mempool, rpc. Tested by
 * test/chain/prepare.ts, test/chain/broadcast.ts.
 */
import { base64, unhex } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { assert } from '../base/errors.ts'
import { LruMap } from '../base/queue.ts'
import { type Height, type Ms, ms, upokt } from '../base/units.ts'
import type { Signer } from '../keys/keyring.ts'
import type { Any } from '../protocol/gen/google/protobuf/any.ts'
import type { Submission } from '../store/sessions.ts'
import {
  isUnknownTx,
  rank,
  readCheck,
  readRefusal,
  readResult,
  type SendResult,
  type TxResult,
} from './answer.ts'
import { ChainError } from './errors.ts'
import { accountMissing, failed, tooLate } from './faults.ts'
import { Flights } from './flight.ts'
import { Json } from './json.ts'
import type { Query } from './query.ts'
import type { NodeStatus, Rpc } from './rpc.ts'
import { simulatedGas } from './simulation.ts'
import {
  feeFor,
  type GasPrice,
  greater,
  millisecondsOf,
  scaleUp,
  signTx,
  type Tx,
  timestampAfter,
  txHash,
  unsignedTx,
} from './tx.ts'

export type { SendResult, TxResult }

export interface BroadcasterDeps {
  readonly rpc: Pick<Rpc, 'call' | 'callOn' | 'endpointCount' | 'abciQuery' | 'status'>
  readonly query: Pick<Query, 'account'>
  readonly clock: Clock
  readonly randomBytes: (length: number) => Uint8Array
}

export interface BroadcasterOptions {
  /** What is signed for; a node of another chain is refused. */
  readonly chainId: string
  readonly gasPrice: GasPrice
  /** Gas limit as a multiple of the simulated gas. */
  readonly gasFactor: number
  /** A gas limit is never below this. */
  readonly gasMin: bigint
  /** From the latest block's time to the timeout; the chain refuses more than ten minutes. */
  readonly lifetime: Ms
  /** How often `confirm` looks. */
  readonly confirmEvery: Ms
}

export const BROADCASTER_DEFAULTS = {
  gasPrice: { numerator: 1n, denominator: 1_000_000n },
  gasFactor: 1.2,
  gasMin: 80_000n,
  lifetime: ms(570_000),
  confirmEvery: ms(2_000),
} satisfies Omit<BroadcasterOptions, 'chainId'>

export interface PrepareOptions {
  /** The last height of a block that may hold it; above the latest height. */
  readonly timeoutHeight: Height
  /** Multiplies the fee: for a transaction that replaces one that was not included. */
  readonly feeFactor?: number
  /** Written into the result. */
  readonly attempt?: number
  /** Shortens the lifetime. */
  readonly lifetime?: Ms
  /**
   * The gas limit if the transaction is too large to be simulated, or its simulation is refused only
   * because the window opens with the next block.
   */
  readonly fallbackGas?: bigint
  readonly memo?: string
}

/** The chain's limit from block time to timeout, and what the random part adds to a lifetime. */
const LIFETIME_MAX = 600_000
const RANDOM_MAX = 1_074
/** CometBFT's `max_body_bytes` is 1,000,000 by default; hex doubles, the call around it is small. */
const SIMULATED_BYTES_MAX = 490_000
/** More accounts than one process signs for. */
const ACCOUNTS_MAX = 4_096
/** Of a simulated transaction, where the real one is not known yet: sizes matter a little. */
const SIMULATED_GAS = 200_000n
/** Of the gas limit, with each attempt, up to twice the first. */
const GAS_GROWTH = 0.25
const GAS_GROWTH_MAX = 2

export class Broadcaster {
  readonly #deps: BroadcasterDeps
  readonly #options: BroadcasterOptions
  readonly #flights = new Flights()
  /** Account numbers by address. */
  readonly #accounts = new LruMap<string, bigint>(ACCOUNTS_MAX)

  constructor(
    deps: BroadcasterDeps,
    options: Pick<BroadcasterOptions, 'chainId'> & Partial<BroadcasterOptions>,
  ) {
    this.#deps = deps
    this.#options = { ...BROADCASTER_DEFAULTS, ...options }
    const { lifetime } = this.#options
    assert(lifetime + RANDOM_MAX <= LIFETIME_MAX, 'the chain takes no longer lifetime')
  }

  /**
   * Simulates, sets gas and fee, signs. Nothing is sent: write the result down first.
   * @throws ChainError SIMULATION (data.refusal, data.messageIndex), ACCOUNT_MISSING, TX_TOO_LATE,
   *   CHAIN_ID, RPC_UNREACHABLE
   */
  async prepare(
    signer: Signer,
    messages: readonly Any[],
    options: PrepareOptions,
    signal?: AbortSignal,
  ): Promise<Submission> {
    const status = await this.#latest(options.timeoutHeight, signal)
    const accountNumber = await this.#accountNumber(signer.address, signal)
    const timeoutAt = this.#timeout(status.time, options.lifetime)
    const { timeoutHeight, memo = '' } = options
    const plan = { messages, memo, timeoutHeight, timeoutAt, unordered: true, sequence: 0n }
    const simulated = await this.#gas(signer.publicKey, plan, options.fallbackGas, signal)
    // One that ran out of gas would be estimated alike again.
    const gas = scaleUp(simulated, gasGrowth(options.attempt ?? 1))
    const fee = feeFor(gas, this.#options.gasPrice, options.feeFactor)
    const { chainId } = this.#options
    const bytes = signTx(signer, { ...plan, gas, fee }, { chainId, accountNumber })
    return {
      txHash: txHash(bytes),
      bytes,
      sentAt: status.height,
      timeoutHeight,
      timeoutAt: millisecondsOf(timeoutAt),
      attempt: options.attempt ?? 1,
      resent: 0,
    }
  }

  /**
   * Gas that the transaction would use on the latest state, whatever its signature.
   * @throws ChainError SIMULATION
   */
  simulate(txBytes: Uint8Array, signal?: AbortSignal): Promise<bigint> {
    return simulatedGas(this.#deps.rpc, txBytes, signal)
  }

  /**
   * Hands the bytes to a node. May be called again with the same bytes.
   * @param endpoint counts in order of preference; undefined is the first that answers
   */
  async send(bytes: Uint8Array, signal?: AbortSignal, endpoint?: number): Promise<SendResult> {
    const { rpc } = this.#deps
    const method = 'broadcast_tx_sync'
    const params = { tx: base64(bytes) }
    try {
      const result =
        endpoint === undefined
          ? await rpc.call(method, params, signal)
          : await rpc.callOn(endpoint, method, params, signal)
      return readCheck(new Json(result, 'result'))
    } catch (error) {
      return readRefusal(error)
    }
  }

  /**
   * Hands the same bytes to every node: the one that took them may have lost them, and it alone would
   * refuse them for knowing them. @returns the best answer @throws the last error if none answered
   */
  async resend(bytes: Uint8Array, signal?: AbortSignal): Promise<SendResult> {
    let best: SendResult | undefined
    let failure: unknown
    for (let endpoint = 0; endpoint < this.#deps.rpc.endpointCount; endpoint++) {
      try {
        const result = await this.send(bytes, signal, endpoint)
        if (best === undefined || rank(result) > rank(best)) best = result
      } catch (error) {
        signal?.throwIfAborted()
        failure = error
      }
    }
    if (best === undefined) throw failure
    return best
  }

  /** How a block executed it; undefined while no block is known to hold it. */
  async result(hash: string, signal?: AbortSignal): Promise<TxResult | undefined> {
    try {
      const params = { hash: base64(unhex(hash)) }
      return readResult(new Json(await this.#deps.rpc.call('tx', params, signal), 'result'))
    } catch (error) {
      if (isUnknownTx(error)) return undefined
      throw error
    }
  }

  /**
   * Waits for a block to hold it: for commands, which have nothing else to look at.
   * @throws ChainError TX_FAILED (data.log), TX_TOO_LATE (no block holds it and none will)
   */
  async confirm(
    tx: Pick<Submission, 'txHash' | 'timeoutHeight'>,
    signal: AbortSignal,
  ): Promise<TxResult> {
    for (;;) {
      try {
        const { height } = await this.#deps.rpc.status(signal)
        const result = await this.result(tx.txHash, signal)
        if (result?.code === 0) return result
        if (result !== undefined) throw failed(tx.txHash, result)
        // One block later than needed: the index of transactions is written after the block.
        if (height > tx.timeoutHeight + 1) throw tooLate(tx.timeoutHeight, height)
      } catch (error) {
        if (!(error instanceof ChainError) || !error.retryable) throw error
      }
      await this.#deps.clock.sleep(this.#options.confirmEvery, signal)
    }
  }

  async #accountNumber(address: string, signal: AbortSignal | undefined): Promise<bigint> {
    const known = this.#accounts.get(address)
    if (known !== undefined) return known
    const account = await this.#deps.query.account(address, signal)
    if (account === undefined) throw accountMissing(address)
    this.#accounts.set(address, account.number)
    return account.number
  }

  async #latest(timeoutHeight: Height, signal: AbortSignal | undefined): Promise<NodeStatus> {
    const ask = (both: AbortSignal) => this.#deps.rpc.status(both)
    const status = await this.#flights.join('status', signal, ask)
    const { chainId } = this.#options
    if (status.chainId !== chainId) {
      const data = { theirs: status.chainId, ours: chainId }
      throw new ChainError('CHAIN_ID', `a node of chain ${status.chainId}, not ${chainId}`, {
        data,
      })
    }
    if (status.height >= timeoutHeight) throw tooLate(timeoutHeight, status.height)
    return status
  }

  #timeout(blockTime: Ms, lifetime = this.#options.lifetime) {
    const bits = new DataView(Uint8Array.from(this.#deps.randomBytes(4)).buffer).getUint32(0)
    const life = BigInt(Math.floor(Math.min(lifetime, this.#options.lifetime))) * 1_000_000n
    return timestampAfter(blockTime, life + BigInt(bits >>> 2))
  }

  async #gas(
    publicKey: Uint8Array,
    plan: Omit<Tx, 'gas' | 'fee'>,
    fallback: bigint | undefined,
    signal: AbortSignal | undefined,
  ): Promise<bigint> {
    const { gasFactor, gasMin } = this.#options
    const bytes = unsignedTx(publicKey, { ...plan, gas: SIMULATED_GAS, fee: upokt(1) })
    if (fallback !== undefined && bytes.length > SIMULATED_BYTES_MAX)
      return greater(fallback, gasMin)
    try {
      const gas = scaleUp(await this.simulate(bytes, signal), gasFactor)
      return greater(gas, gasMin)
    } catch (error) {
      const early = error instanceof ChainError && error.data['refusal'] === 'window-early'
      if (early && fallback !== undefined) return fallback
      throw error
    }
  }
}

function gasGrowth(attempt: number): number {
  return Math.min(GAS_GROWTH_MAX, 1 + GAS_GROWTH * (attempt - 1))
}
