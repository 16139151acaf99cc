/**
 * One transaction's way to the chain, the same for claims and proofs.
 *
 * Its bytes are written down before they are sent, so that a crash in between sends the same bytes
 * again and never a second transaction by mistake. An answer of a node says nothing about inclusion;
 * the module's state does, block by block. Absent after two blocks: the same bytes again. After two
 * more, or when it can no longer be included: a new transaction at 1.5 times the fee.
 * Tests: test/miner/submit.ts and test/e2e.
 */
import { errorText, SupplierError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { type Height, type Ms, ms } from '../base/units.ts'
import type { Block } from '../chain/blocks.ts'
import type { SendResult } from '../chain/broadcast.ts'
import type { Signer } from '../keys/keyring.ts'
import type { Any } from '../protocol/gen/google/protobuf/any.ts'
import type { SessionRecord, SessionState, Submission } from '../store/sessions.ts'

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

/** One message and the session that it is for. */
export interface Item {
  readonly session: SessionRecord
  readonly message: Any
}

export type Progress = 'wait' | 'resend' | 'renew'

const RESEND_AFTER_BLOCKS = 2
const RENEW_AFTER_BLOCKS = 4
const FEE_GROWTH = 1.5
/** Stock nodes refuse transactions above 1 MiB; the rest of a transaction is small. */
const BATCH_BYTES_MAX = 900_000
const BATCH_MESSAGES_MAX = 100

/** What to do about a transaction whose effect is not seen in the state of `block`. Pure. */
export function progress(tx: Submission, block: Pick<Block, 'height' | 'time'>): Progress {
  const age = block.height - tx.sentAt
  if (block.height >= tx.timeoutHeight || block.time > tx.timeoutAt) return 'renew'
  if (age >= RENEW_AFTER_BLOCKS) return 'renew'
  return age >= RESEND_AFTER_BLOCKS && tx.resent === 0 ? 'resend' : 'wait'
}

/** A transaction that no node took can not be included any more: `progress` says `renew`. */
function refused(tx: Submission): Submission {
  return { ...tx, timeoutAt: ms(0) as Ms }
}

export class Submit {
  readonly #deps: TxDeps

  constructor(deps: TxDeps) {
    this.#deps = deps
  }

  /**
   * Sends all items in as few transactions as fit; one that the simulation refuses is tried message by
   * message, so that one bad session does not hold up the others. What could not be prepared is left
   * in its state, with the reason, for the next block.
   */
  async sendAll(
    signer: Signer,
    items: readonly Item[],
    options: {
      block: Block
      timeoutHeight: Height
      attempt: number
      next: (tx: Submission, session: SessionRecord) => SessionState
    },
    signal: AbortSignal,
  ): Promise<void> {
    for (const batch of batches(items)) {
      try {
        await this.#sendBatch(signer, batch, options, signal)
      } catch (error) {
        signal.throwIfAborted()
        if (batch.length > 1 && !(error instanceof SupplierError && error.retryable)) {
          for (const item of batch) await this.sendAll(signer, [item], options, signal)
        } else {
          for (const { session } of batch) await this.#note(session, error)
        }
      }
    }
  }

  /** The same bytes to every node: for a transaction that was taken and is not seen. */
  async resend(session: SessionRecord, tx: Submission, signal: AbortSignal): Promise<Submission> {
    const sent = await this.#send(tx, signal, 'resend')
    this.#deps.log.info(
      { sessionId: session.key.sessionId, txHash: tx.txHash },
      'transaction sent again',
    )
    return { ...sent, resent: tx.resent + 1 }
  }

  /** True when a block took the transaction and it failed: waiting for its effect is in vain. */
  async hasFailed(tx: Submission, signal: AbortSignal): Promise<boolean> {
    const result = await this.#deps.broadcaster.result(tx.txHash, signal)
    if (result === undefined || result.code === 0) return false
    this.#deps.log.warn(
      { txHash: tx.txHash, code: result.code, reason: result.log },
      'transaction failed in a block',
    )
    return true
  }

  async #sendBatch(
    signer: Signer,
    batch: readonly Item[],
    options: Parameters<Submit['sendAll']>[2],
    signal: AbortSignal,
  ): Promise<void> {
    const { block, timeoutHeight, attempt, next } = options
    const prepared = await this.#deps.broadcaster.prepare(
      signer,
      batch.map(({ message }) => message),
      {
        timeoutHeight,
        attempt,
        feeFactor: FEE_GROWTH ** (attempt - 1),
        fallbackGas: gasFor(batch),
      },
      signal,
    )
    const tx: Submission = { ...prepared, sentAt: block.height }
    for (const { session } of batch) {
      const { reason: _, ...record } = session
      await this.#deps.sessions.put({ ...record, state: next(tx, session), since: block.height })
    }
    const sent = await this.#send(tx, signal)
    if (sent === tx) return
    for (const { session } of batch) {
      const { reason: _, ...record } = session
      await this.#deps.sessions.put({ ...record, state: next(sent, session), since: block.height })
    }
  }

  async #send(
    tx: Submission,
    signal: AbortSignal,
    how: 'send' | 'resend' = 'send',
  ): Promise<Submission> {
    try {
      const result = await this.#deps.broadcaster[how](tx.bytes, signal)
      if (result.kind !== 'rejected') return tx
      const { code, codespace, log } = result
      this.#deps.log.warn(
        { txHash: tx.txHash, code, codespace, reason: log },
        'transaction refused by the node',
      )
      return result.retryable ? tx : refused(tx)
    } catch (error) {
      signal.throwIfAborted()
      this.#deps.log.warn(
        { txHash: tx.txHash, err: error },
        'whether a transaction was taken is not known',
      )
      return tx
    }
  }

  async #note(session: SessionRecord, error: unknown): Promise<void> {
    this.#deps.log.warn(
      { sessionId: session.key.sessionId, err: error },
      'transaction not prepared',
    )
    await this.#deps.sessions.put({ ...session, reason: errorText(error) })
  }
}

/** Where a window is too short to simulate inside it: well above what claims and proofs were seen to use. */
function gasFor(batch: readonly Item[]): bigint {
  const bytes = batch.reduce((sum, { message }) => sum + message.value.length, 0)
  return BigInt(100_000 + 200_000 * batch.length + 20 * bytes)
}

function batches(items: readonly Item[]): Item[][] {
  const out: Item[][] = []
  let bytes = Number.POSITIVE_INFINITY
  for (const item of items) {
    const size = item.message.value.length
    const last = out.at(-1)
    if (last === undefined || bytes + size > BATCH_BYTES_MAX || last.length >= BATCH_MESSAGES_MAX) {
      out.push([item])
      bytes = size
    } else {
      last.push(item)
      bytes += size
    }
  }
  return out
}
