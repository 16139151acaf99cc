/**
 * From messages to a transaction in a block.
 *
 * Transactions are unordered: no sequence to coordinate between claims, proofs and a command line
 * beside the daemon. What makes one unique is its timeout, latest BLOCK time plus nine and a half
 * minutes (the chain allows ten), with 30 random bits of nanoseconds: never a counter, which repeats
 * after a crash. The account number is still part of what is signed.
 *
 * The simulated transaction carries a fee: without one the chain skips its deduction and the estimate
 * is 17,000 gas short. CheckTx says nothing about windows, sums or sessions, and a node that has seen
 * the bytes refuses them even after inclusion: only a block, or the module's state, is an answer.
 * Source: cosmos-sdk v0.53 x/auth/ante/unordered.go, cometbft mempool. Tested by test/chain/broadcast.ts.
 */
import { base64, unhex } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
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
import { Json } from './json.ts'
import { METHODS } from './methods.ts'
import type { Query } from './query.ts'
import type { NodeStatus, Rpc } from './rpc.ts'
import { plainText, simulationError } from './simulation.ts'
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
  /** The gas limit if the simulation is refused only because the window opens with the next block. */
  readonly fallbackGas?: bigint
  readonly memo?: string
}

/** Of a simulated transaction, where the real one is not known yet: sizes matter a little. */
const SIMULATED_GAS = 200_000n
/** Of the gas limit, with each attempt, up to twice the first. */
const GAS_GROWTH = 0.25
const GAS_GROWTH_MAX = 2

export class Broadcaster {
  readonly #deps: BroadcasterDeps
  readonly #options: BroadcasterOptions

  constructor(
    deps: BroadcasterDeps,
    options: Pick<BroadcasterOptions, 'chainId'> & Partial<BroadcasterOptions>,
  ) {
    this.#deps = deps
    this.#options = { ...BROADCASTER_DEFAULTS, ...options }
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
    const account = await this.#deps.query.account(signer.address, signal)
    if (account === undefined) throw accountMissing(signer.address)
    const timeoutAt = this.#timeout(status.time, options.lifetime)
    const { timeoutHeight, memo = '' } = options
    const plan = { messages, memo, timeoutHeight, timeoutAt, unordered: true, sequence: 0n }
    const simulated = await this.#gas(signer.publicKey, plan, options.fallbackGas, signal)
    // One that ran out of gas would be estimated alike again.
    const gas = scaleUp(simulated, gasGrowth(options.attempt ?? 1))
    const fee = feeFor(gas, this.#options.gasPrice, options.feeFactor)
    const { chainId } = this.#options
    const bytes = signTx(signer, { ...plan, gas, fee }, { chainId, accountNumber: account.number })
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
  async simulate(txBytes: Uint8Array, signal?: AbortSignal): Promise<bigint> {
    const { path, encode, decode } = METHODS.simulate
    const question = encode({ txBytes })
    try {
      return decode(await this.#deps.rpc.abciQuery(path, question, undefined, signal)).gasUsed
    } catch (error) {
      const log = error instanceof ChainError ? error.data['log'] : undefined
      if (typeof log === 'string') throw simulationError(log, error)
      throw error
    }
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

  async #latest(timeoutHeight: Height, signal: AbortSignal | undefined): Promise<NodeStatus> {
    const status = await this.#deps.rpc.status(signal)
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
    try {
      const tx = { ...plan, gas: SIMULATED_GAS, fee: upokt(1) }
      const gas = scaleUp(await this.simulate(unsignedTx(publicKey, tx), signal), gasFactor)
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

function accountMissing(address: string): ChainError {
  const text = `${address} has no account on the chain: it never received anything`
  return new ChainError('ACCOUNT_MISSING', text, { data: { address } })
}

function tooLate(timeoutHeight: Height, latest: Height): ChainError {
  const text = `the last block that could hold it is ${timeoutHeight}, the chain is at ${latest}`
  return new ChainError('TX_TOO_LATE', text, { data: { timeoutHeight, height: latest } })
}

function failed(hash: string, { height, code, codespace, log }: TxResult): ChainError {
  const data = { txHash: hash, height, code, codespace, log }
  return new ChainError('TX_FAILED', plainText(log), { data })
}
