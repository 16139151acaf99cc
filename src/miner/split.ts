/**
 * Which messages go on together when a transaction is refused, or has failed in a block. Pure.
 *
 * A transaction is carried out as a whole or not at all, so one bad message takes the others with it.
 * The chain names the message that it stopped at: that one goes alone, the others together. A second
 * failure, or one that leaves no block for another repair, parts them all: many small fees against
 * the pay of every session. Tests: test/miner/split.ts.
 */
import { SupplierError } from '../base/errors.ts'
import type { Block } from '../chain/blocks.ts'
import { ChainError } from '../chain/errors.ts'
import { offendingMessage } from '../chain/simulation.ts'
import { messagesOf } from '../chain/tx.ts'
import { MsgCreateClaim } from '../protocol/gen/pocket/proof/proof.ts'
import type { SessionRecord, SessionState, Submission } from '../store/sessions.ts'
import type { Item } from './batch.ts'

/** With a transaction under way. */
export type SentSession = SessionRecord & {
  readonly state: Extract<SessionState, { readonly tx: Submission }>
}

export function isSent(session: SessionRecord): session is SentSession {
  return 'tx' in session.state
}

/** Sessions that get a new transaction, apart from others. */
export interface Part {
  readonly sessions: readonly SessionRecord[]
  /** Of the new transaction. */
  readonly attempt: number
}

/** What is left out of a transaction that would fail, and what is tried again. */
export interface Sifted {
  readonly refused: readonly Item[]
  readonly parts: readonly (readonly Item[])[]
}

/** Faults that no other choice of messages mends. */
const OF_ALL: ReadonlySet<string> = new Set(['ACCOUNT_MISSING', 'CHAIN_ID', 'TX_TOO_LATE'])
/** A transaction sent at a height, the block that takes it, and one more to see how it went. */
const REPAIR_BLOCKS = 2

/** Of a batch that could not be prepared because of `error`. */
export function sift(batch: readonly Item[], error: unknown): Sifted {
  const known = error instanceof SupplierError
  if (batch.length === 1 || (known && (error.retryable || OF_ALL.has(error.code))))
    return { refused: batch, parts: [] }
  const isSimulated = error instanceof ChainError && error.code === 'SIMULATION'
  const index = isSimulated ? error.data['messageIndex'] : undefined
  const isPoor = isSimulated && error.data['refusal'] === 'funds'
  if (typeof index !== 'number' || index >= batch.length)
    return isPoor ? { refused: batch, parts: [] } : { refused: [], parts: halves(batch) }
  // The money reached for those before it; what comes after costs as much.
  if (isPoor) return { refused: batch.slice(index), parts: full([batch.slice(0, index)]) }
  const rest = batch.filter((_, at) => at !== index)
  return { refused: batch.slice(index, index + 1), parts: [rest] }
}

export function halves<T>(items: readonly T[]): (readonly T[])[] {
  const middle = Math.ceil(items.length / 2)
  return full([items.slice(0, middle), items.slice(middle)])
}

/** @param sessions of `tx`, which a block took and which failed with this log */
export function afterFailure(
  sessions: readonly SessionRecord[],
  tx: Submission,
  log: string,
  { height }: Pick<Block, 'height'>,
): Part[] {
  const attempt = tx.attempt + 1
  const part = (some: readonly SessionRecord[]): Part => ({ sessions: some, attempt })
  if (sessions.length === 1) return [part(sessions)]
  if (tx.attempt > 1 || height + REPAIR_BLOCKS > tx.timeoutHeight)
    return sessions.map((session) => part([session]))
  const culprit = sessionOf(tx, offendingMessage(log))
  const isBad = ({ key }: SessionRecord) => key.sessionId === culprit
  const groups = [sessions.filter((session) => !isBad(session)), sessions.filter(isBad)]
  return full(groups).map(part)
}

/** The session that a message of the transaction is for: claim and proof name it in the same field. */
function sessionOf(tx: Submission, index: number | undefined): string | undefined {
  if (index === undefined) return undefined
  const message = messagesOf(tx.bytes)[index]
  return message && MsgCreateClaim.decode(message.value).sessionHeader?.sessionId
}

function full<T>(groups: readonly (readonly T[])[]): (readonly T[])[] {
  return groups.filter((group) => group.length > 0)
}
