/**
 * One transaction's way to the chain, the same for claims and proofs.
 *
 * Its bytes are written down before they are sent, so that a crash in between sends the same bytes
 * again and never a second transaction by mistake: sending them twice costs nothing. An answer of a
 * node says nothing about inclusion; the module's state does, block by block. Absent after two blocks:
 * the same bytes again, to every node. After two more, or when it can no longer be included: a new
 * transaction at 1.5 times the fee. In the last block that can still help, the same bytes once more.
 * Tests: test/miner/submit.ts and test/e2e.
 */
import { errorText, SupplierError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { LruMap } from '../base/queue.ts'
import { type Height, height, ms } from '../base/units.ts'
import type { Block } from '../chain/blocks.ts'
import type { SendResult } from '../chain/broadcast.ts'
import type { Signer } from '../keys/keyring.ts'
import type { Any } from '../protocol/gen/google/protobuf/any.ts'
import type { SessionRecord, SessionState, Submission } from '../store/sessions.ts'
import { batches, gasFor, type Item } from './batch.ts'
import { MinerError } from './errors.ts'

export interface TxDeps {
  readonly broadcaster: {
    prepare(
      signer: Signer,
      messages: readonly Any[],
      options: {
        timeoutHeight: Height
        feeFactor?: number
        attempt?: number
        fallbackGas?: bigint
      },
      signal: AbortSignal,
    ): Promise<Submission>
    send(bytes: Uint8Array, signal: AbortSignal): Promise<SendResult>
    resend(bytes: Uint8Array, signal: AbortSignal): Promise<SendResult>
    result(
      txHash: string,
      signal: AbortSignal,
    ): Promise<{ height: Height; code: number; log: string } | undefined>
  }
  readonly sessions: { put(record: SessionRecord): Promise<void> }
  readonly log: Log
}

export interface SendOptions {
  readonly block: Block
  /** The last block of the window. */
  readonly timeoutHeight: Height
  /** 1 for a first transaction. */
  readonly attempt: number
  /** The state of a session whose message is in `tx`. */
  readonly next: (tx: Submission, session: SessionRecord) => SessionState
}

/** A state with a transaction under way. */
type Sent = Extract<SessionState, { readonly tx: Submission }>

export type Progress = 'wait' | 'resend' | 'renew'

const RESEND_AFTER_BLOCKS = 2
const RENEW_AFTER_BLOCKS = 4
const FEE_GROWTH = 1.5
/** A fee that grows without end would empty the account that has to pay for proofs. */
const FEE_STEPS_MAX = 8
/** Transactions known to be with a node; more than can be under way. */
const TAKEN_MAX = 10_000

/** What to do about a transaction whose effect is not seen in the state of `block`. Pure. */
export function progress(tx: Submission, block: Pick<Block, 'height' | 'time'>): Progress {
  const age = block.height - tx.sentAt
  if (block.height >= tx.timeoutHeight || block.time > tx.timeoutAt) return 'renew'
  if (age >= RENEW_AFTER_BLOCKS) return 'renew'
  if (age >= RESEND_AFTER_BLOCKS && tx.resent === 0) return 'resend'
  return age > 0 && block.height === tx.timeoutHeight - 1 ? 'resend' : 'wait'
}

/** A transaction that no node took can not be included any more: `progress` says `renew`. */
function refused(tx: Submission): Submission {
  return { ...tx, timeoutAt: ms(0) }
}

export class Submit {
  readonly #deps: TxDeps
  /**
   * By hash, since the start of the process. What is not here may never have reached a node: it was
   * written down before a crash, or the node was full or silent.
   */
  readonly #taken = new LruMap<string, true>(TAKEN_MAX)

  constructor(deps: TxDeps) {
    this.#deps = deps
  }

  /**
   * Sends all items in as few transactions as fit; without a message that the simulation refuses, so
   * that one bad session does not hold up the others. What could not be prepared is left in its state,
   * with the reason. @param signer undefined: its key is not configured
   * @throws the first retryable error of a preparation, when everything else is sent; StoreError
   */
  async sendAll(
    signer: Signer | undefined,
    items: readonly Item[],
    options: SendOptions,
    signal: AbortSignal,
  ): Promise<void> {
    const failures: SupplierError[] = []
    for (const batch of batches(items)) {
      const failure =
        signer === undefined
          ? await this.#refuse(batch, keyMissing(batch))
          : await this.#sendBatch(signer, batch, options, signal)
      if (failure !== undefined) failures.push(failure)
    }
    if (failures[0] !== undefined) throw failures[0]
  }

  /**
   * Looks after the transaction of a session whose effect is not in the state of `block`: sends its
   * bytes again if that is due. @returns true if a new transaction is due instead
   */
  async follow(
    session: SessionRecord & { readonly state: Sent },
    block: Block,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { state } = session
    const next = await this.#next(state.tx, block, signal)
    if (next !== 'resend') return next === 'renew'
    const { tx } = state
    const sent = await this.#send(tx, 'resend', signal)
    const due = block.height - tx.sentAt >= RESEND_AFTER_BLOCKS
    const { sessionId } = session.key
    this.#deps.log.info({ sessionId, txHash: tx.txHash }, 'transaction sent again')
    if (!due && sent === tx) return false
    const resent = tx.resent + (due ? 1 : 0)
    await this.#deps.sessions.put({ ...session, state: { ...state, tx: { ...sent, resent } } })
    return false
  }

  async #next(tx: Submission, block: Block, signal: AbortSignal): Promise<Progress> {
    const result = await this.#result(tx, signal)
    if (result !== undefined && result.code !== 0) {
      const { code, log } = result
      this.#deps.log.warn({ txHash: tx.txHash, code, reason: log }, 'transaction failed in a block')
      return 'renew'
    }
    // A node that is ahead of `block` knows more than the state we looked at.
    if (result !== undefined && result.height > block.height) return 'wait'
    const next = progress(tx, block)
    return next === 'wait' && this.#taken.get(tx.txHash) === undefined ? 'resend' : next
  }

  /** Undefined also where a node cannot say: many keep no index of transactions. */
  async #result(tx: Submission, signal: AbortSignal) {
    try {
      return await this.#deps.broadcaster.result(tx.txHash, signal)
    } catch (err) {
      signal.throwIfAborted()
      this.#deps.log.debug({ txHash: tx.txHash, err }, 'the fate of a transaction is not known')
      return undefined
    }
  }

  /** @returns a retryable error that left something unsent */
  async #sendBatch(
    signer: Signer,
    batch: readonly Item[],
    options: SendOptions,
    signal: AbortSignal,
  ): Promise<SupplierError | undefined> {
    let prepared: Submission
    try {
      prepared = await this.#prepare(signer, batch, options, signal)
    } catch (error) {
      signal.throwIfAborted()
      if (batch.length === 1 || isRetryable(error)) return await this.#refuse(batch, error)
      return await this.#sendWithout(error, signer, batch, options, signal)
    }
    const sentAt = height(Math.max(prepared.sentAt, options.block.height))
    const tx: Submission = { ...prepared, sentAt }
    await this.#write(batch, tx, options)
    const sent = await this.#send(tx, 'send', signal)
    if (sent !== tx) await this.#write(batch, sent, options)
    return undefined
  }

  /** All but the message that the chain complains of; one by one if it does not say which. */
  async #sendWithout(
    error: unknown,
    signer: Signer,
    batch: readonly Item[],
    options: SendOptions,
    signal: AbortSignal,
  ): Promise<SupplierError | undefined> {
    const at = error instanceof SupplierError ? error.data['messageIndex'] : undefined
    const bad = batch.filter((_, index) => index === at)
    const rest = batch.filter((_, index) => index !== at)
    await this.#refuse(bad, error)
    const parts = bad.length > 0 ? [rest] : rest.map((item) => [item])
    const failures: SupplierError[] = []
    for (const part of parts) {
      const failure = await this.#sendBatch(signer, part, options, signal)
      if (failure !== undefined) failures.push(failure)
    }
    return failures[0]
  }

  #prepare(
    signer: Signer,
    batch: readonly Item[],
    { timeoutHeight, attempt }: SendOptions,
    signal: AbortSignal,
  ): Promise<Submission> {
    const messages = batch.map(({ message }) => message)
    const feeFactor = FEE_GROWTH ** Math.min(attempt - 1, FEE_STEPS_MAX)
    const options = { timeoutHeight, attempt, feeFactor, fallbackGas: gasFor(batch) }
    return this.#deps.broadcaster.prepare(signer, messages, options, signal)
  }

  /** The same transaction for every session whose message is in it. */
  async #write(batch: readonly Item[], tx: Submission, options: SendOptions): Promise<void> {
    for (const { session } of batch) {
      const { reason: _, ...record } = session
      const state = options.next(tx, session)
      await this.#deps.sessions.put({ ...record, state, since: options.block.height })
    }
  }

  async #send(tx: Submission, how: 'send' | 'resend', signal: AbortSignal): Promise<Submission> {
    const { broadcaster, log } = this.#deps
    const { txHash } = tx
    try {
      const result = await broadcaster[how](tx.bytes, signal)
      if (result.kind !== 'rejected') {
        this.#taken.set(txHash, true)
        return tx
      }
      const { code, codespace, log: reason } = result
      log.warn({ txHash, code, codespace, reason }, 'transaction refused by the node')
      return result.retryable ? tx : refused(tx)
    } catch (err) {
      signal.throwIfAborted()
      log.warn({ txHash, err }, 'whether a transaction was taken is not known')
      return tx
    }
  }

  /** Leaves sessions in their state and says why. @returns the error if it is a retryable one */
  async #refuse(batch: readonly Item[], err: unknown): Promise<SupplierError | undefined> {
    const reason = errorText(err)
    const level = err instanceof MinerError ? 'error' : 'warn'
    for (const { session } of batch) {
      const { sessionId, end, operator } = session.key
      const fields = { sessionId, sessionEnd: end, supplier: operator, err }
      this.#deps.log[level](fields, 'transaction not prepared')
      if (session.reason !== reason) await this.#deps.sessions.put({ ...session, reason })
    }
    return isRetryable(err) ? err : undefined
  }
}

function isRetryable(error: unknown): error is SupplierError {
  return error instanceof SupplierError && error.retryable
}

function keyMissing(batch: readonly Item[]): MinerError {
  const operator = batch[0]?.session.key.operator ?? ''
  return new MinerError('KEY_MISSING', `the key of ${operator} is not configured`, {
    data: { operator },
  })
}
