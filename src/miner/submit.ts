/**
 * One transaction's way to the chain, the same for claims and proofs.
 *
 * Its bytes are written down before they are sent, so that a crash in between sends the same bytes
 * again and never a second transaction by mistake: sending them twice costs nothing. An answer of a
 * node says nothing about inclusion; the module's state does, block by block. Absent after two blocks:
 * the same bytes again, to every node. After two more, or when it can no longer be included: a new
 * transaction at 1.5 times the fee. In the last block that can still help, the same bytes once more.
 * A message that spoils the others is parted from them, before or after a block has seen it.
 * Tests: test/miner/submit.ts, test/miner/follow.ts, test/miner/batches.ts and test/e2e.
 */
import { errorText, SupplierError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { inParallel, LruMap } from '../base/queue.ts'
import { type Height, height, ms } from '../base/units.ts'
import type { Block } from '../chain/blocks.ts'
import type { SendResult } from '../chain/broadcast.ts'
import type { Signer } from '../keys/keyring.ts'
import type { Any } from '../protocol/gen/google/protobuf/any.ts'
import type { SessionRecord, SessionState, Submission } from '../store/sessions.ts'
import { batches, gasFor, type Item } from './batch.ts'
import { MinerError } from './errors.ts'
import { grouped } from './group.ts'
import { afterFailure, halves, type Part, type SentSession, sift } from './split.ts'

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
  readonly sessions: { putAll(records: readonly SessionRecord[]): Promise<void> }
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

export type Progress = 'wait' | 'resend' | 'renew'

/** What is known of bytes that were given to a node. `unknown`: they may or may not be there. */
type Answer = 'taken' | 'unknown' | 'refused' | 'too-large'

const RESEND_AFTER_BLOCKS = 2
const RENEW_AFTER_BLOCKS = 4
const FEE_GROWTH = 1.5
/** A fee that grows without end would empty the account that has to pay for proofs. */
const FEE_STEPS_MAX = 8
/** Transactions known to be with a node; more than can be under way. */
const TAKEN_MAX = 10_000
/** Transactions of one operator that are looked after at the same time. */
const FOLLOWED_MAX = 8
const TOO_LARGE = /too large/i

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
    const failure =
      signer === undefined
        ? await this.#refuse(items, keyMissing(items))
        : await this.#sendParts(signer, batches(items), options, signal)
    if (failure !== undefined) throw failure
  }

  /**
   * Looks after the transactions of sessions whose effect is not in the state of `block`: sends their
   * bytes again if that is due. @returns the sessions that are due for a new transaction instead
   */
  async follow(
    sessions: readonly SentSession[],
    block: Block,
    signal: AbortSignal,
  ): Promise<Part[]> {
    const parts: Part[] = []
    const groups = grouped(sessions, ({ state }) => state.tx.txHash)
    await inParallel(FOLLOWED_MAX, groups, async (group) => {
      const [first] = group
      if (first !== undefined)
        parts.push(...(await this.#follow(first.state.tx, group, block, signal)))
    })
    return parts
  }

  /** @param sessions those of the transaction */
  async #follow(
    tx: Submission,
    sessions: readonly SentSession[],
    block: Block,
    signal: AbortSignal,
  ): Promise<Part[]> {
    const { txHash } = tx
    const result = await this.#result(tx, signal)
    if (result !== undefined && result.code !== 0) {
      const { code, log: reason } = result
      const fields = { txHash, code, reason, sessions: sessions.length }
      this.#deps.log.warn(fields, 'transaction failed in a block')
      return afterFailure(sessions, tx, reason, block)
    }
    // A node that is ahead of `block` knows more than the state we looked at.
    if (result !== undefined && result.height > block.height) return []
    const next = progress(tx, block)
    if (next === 'renew') return [{ sessions, attempt: tx.attempt + 1 }]
    if (next === 'resend' || this.#taken.get(txHash) === undefined)
      await this.#resend(tx, sessions, block, signal)
    return []
  }

  async #resend(
    tx: Submission,
    sessions: readonly SentSession[],
    block: Block,
    signal: AbortSignal,
  ): Promise<void> {
    const answer = await this.#send(tx, 'resend', signal)
    const fields = { txHash: tx.txHash, sessions: sessions.length }
    this.#deps.log.info(fields, 'transaction sent again')
    const isDue = block.height - tx.sentAt >= RESEND_AFTER_BLOCKS
    const isRefused = answer === 'refused' || answer === 'too-large'
    if (!isDue && !isRefused) return
    const sent = { ...(isRefused ? refused(tx) : tx), resent: tx.resent + (isDue ? 1 : 0) }
    await this.#deps.sessions.putAll(
      sessions.map((session) => ({ ...session, state: { ...session.state, tx: sent } })),
    )
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

  /** One after the other. @returns the first retryable error that left something unsent */
  async #sendParts(
    signer: Signer,
    parts: readonly (readonly Item[])[],
    options: SendOptions,
    signal: AbortSignal,
  ): Promise<SupplierError | undefined> {
    let failure: SupplierError | undefined
    for (const part of parts) {
      const error = await this.#sendBatch(signer, part, options, signal)
      failure ??= error
    }
    return failure
  }

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
      const { refused: bad, parts } = sift(batch, error)
      const failure = await this.#refuse(bad, error)
      return (await this.#sendParts(signer, parts, options, signal)) ?? failure
    }
    const sentAt = height(Math.max(prepared.sentAt, options.block.height))
    const tx: Submission = { ...prepared, sentAt }
    await this.#write(batch, tx, options)
    const answer = await this.#send(tx, 'send', signal)
    if (answer === 'too-large' && batch.length > 1)
      return await this.#sendParts(signer, halves(batch), options, signal)
    if (answer === 'refused' || answer === 'too-large')
      await this.#write(batch, refused(tx), options)
    return undefined
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
    const since = options.block.height
    await this.#deps.sessions.putAll(
      batch.map(({ session }) => {
        const { reason: _, ...record } = session
        return { ...record, state: options.next(tx, session), since }
      }),
    )
  }

  async #send(tx: Submission, how: 'send' | 'resend', signal: AbortSignal): Promise<Answer> {
    const { broadcaster, log } = this.#deps
    const { txHash } = tx
    try {
      const result = await broadcaster[how](tx.bytes, signal)
      if (result.kind !== 'rejected') {
        this.#taken.set(txHash, true)
        return 'taken'
      }
      const { code, codespace, log: reason } = result
      log.warn({ txHash, code, codespace, reason }, 'transaction refused by the node')
      if (result.retryable) return 'unknown'
      return codespace === 'rpc' && TOO_LARGE.test(reason) ? 'too-large' : 'refused'
    } catch (err) {
      signal.throwIfAborted()
      log.warn({ txHash, err }, 'whether a transaction was taken is not known')
      return 'unknown'
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
    }
    const told = batch.filter(({ session }) => session.reason !== reason)
    await this.#deps.sessions.putAll(told.map(({ session }) => ({ ...session, reason })))
    return err instanceof SupplierError && err.retryable ? err : undefined
  }
}

function keyMissing(batch: readonly Item[]): MinerError {
  const operator = batch[0]?.session.key.operator ?? ''
  return new MinerError('KEY_MISSING', `the key of ${operator} is not configured`, {
    data: { operator },
  })
}
