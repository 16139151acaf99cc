/**
 * What a session is, where it stands, and since when: one record for each, written before and after
 * every step, so that a restart goes on where the last process stopped.
 *
 * Failing never destroys evidence: a record is removed only after its session is done. One that cannot
 * be read is set aside under the key 0xff || its key, its bytes as they are, so that it stops nobody
 * else: above all session keys, which begin with a height. Its relays stay where they are. Tested by
 * test/store/sessions.ts.
 */
import { z } from 'zod'
import { concat, equal, hex } from '../base/bytes.ts'
import { assert } from '../base/errors.ts'
import type { ComputeUnits, Height, Ms } from '../base/units.ts'
import type { SessionHeader } from '../protocol/gen/pocket/session/session.ts'
import type { Price } from '../protocol/rewards.ts'
import type { Operation, Table, Write } from './disk.ts'
import { decodeValue, encodeValue, stored } from './encoding.ts'
import { StoreError } from './errors.ts'
import {
  decodeSessionKey,
  encodeSessionKey,
  heightRange,
  type Range,
  type SessionKey,
} from './keys.ts'

export { type SessionKey, sessionKeyText } from './keys.ts'

/** A transaction as it was first sent: the same bytes may be sent again. */
export interface Submission {
  readonly txHash: string
  readonly bytes: Uint8Array
  readonly sentAt: Height
  readonly timeoutHeight: Height
  /** The time stamp of an unordered transaction: after it no block takes these bytes. */
  readonly timeoutAt: Ms
  /** 1 for the first transaction; a fresh one for the same step counts up. */
  readonly attempt: number
  /** How often these bytes were sent again. */
  readonly resent: number
}

export const OUTCOMES = [
  'settled',
  /** The chain judged the proof invalid, and slashed. */
  'expired',
  'discarded',
  'claim-missed',
  /** No block took a proof that was asked for, and the chain slashed. */
  'proof-missed',
  'unprofitable',
  'unaffordable',
  'empty',
  /** The claim is gone and no node can tell how it ended: neither income nor a loss. */
  'unseen',
] as const
export type Outcome = (typeof OUTCOMES)[number]

/** Each state has only what exists in it. `root` is 48 bytes: hash, sum, count. */
export type SessionState =
  | { readonly at: 'serving' }
  | { readonly at: 'sealed'; readonly root: Uint8Array }
  | { readonly at: 'claiming'; readonly root: Uint8Array; readonly tx: Submission }
  | { readonly at: 'claimed'; readonly root: Uint8Array }
  | { readonly at: 'proving'; readonly root: Uint8Array; readonly tx: Submission }
  | { readonly at: 'proven'; readonly root: Uint8Array }
  /** No proof is required: it settles by itself. */
  | { readonly at: 'unproven'; readonly root: Uint8Array }
  | { readonly at: 'done'; readonly outcome: Outcome; readonly root?: Uint8Array }

export interface SessionRecord {
  readonly key: SessionKey
  /** The chain's own header of the session. */
  readonly header: SessionHeader
  /** As of the session's START, like `target` and `price`. */
  readonly computeUnitsPerRelay: ComputeUnits
  /** 32 bytes: a relay is a leaf if its hash is below. */
  readonly target: Uint8Array
  readonly price: Price
  readonly state: SessionState
  /** The height at which `state` was entered. */
  readonly since: Height
  /** Why it is in this state, for people. */
  readonly reason?: string
}

const { text, count, uint, bytes, root } = stored

const submission = z.object({
  txHash: text,
  bytes,
  sentAt: stored.height,
  timeoutHeight: stored.height,
  timeoutAt: stored.time,
  attempt: count,
  resent: count,
})

const state = z.discriminatedUnion('at', [
  z.object({ at: z.literal('serving') }),
  z.object({ at: z.literal('sealed'), root }),
  z.object({ at: z.literal('claiming'), root, tx: submission }),
  z.object({ at: z.literal('claimed'), root }),
  z.object({ at: z.literal('proving'), root, tx: submission }),
  z.object({ at: z.literal('proven'), root }),
  z.object({ at: z.literal('unproven'), root }),
  z.object({ at: z.literal('done'), outcome: z.enum(OUTCOMES), root: z.exactOptional(root) }),
])

const recordFields = z.object({
  header: z.object({
    applicationAddress: text,
    serviceId: text,
    sessionId: text,
    sessionStartBlockHeight: uint,
    sessionEndBlockHeight: uint,
  }),
  computeUnitsPerRelay: stored.units,
  target: stored.hash,
  price: z.object({ computeUnitsToTokensMultiplier: uint, computeUnitCostGranularity: uint }),
  state,
  since: stored.height,
  reason: z.exactOptional(text),
})

/** @param key the bytes of `record.key`. An unusable record is a bug of ours: AssertionError */
export function encodeRecord(key: Uint8Array, record: SessionRecord): Uint8Array {
  const { sessionId, sessionEndBlockHeight } = record.header
  const same =
    sessionId === record.key.sessionId && sessionEndBlockHeight === BigInt(record.key.end)
  assert(same, 'a session record has the key of its header')
  return encodeValue(recordFields, key, record)
}

/** @throws StoreError CORRUPT */
export function decodeRecord(key: Uint8Array, value: Uint8Array): SessionRecord {
  return { key: decodeSessionKey(key), ...decodeValue(recordFields, key, value) }
}

export interface SessionStoreDeps {
  readonly sessions: Table
  readonly write: Write
}

/** Before the key of a record that was set aside. */
const ASIDE = Uint8Array.of(0xff)
/** In the JSON of a done record, and in no other: quotation marks inside a text are escaped. */
const DONE = Buffer.from('"state":{"at":"done"')

export class SessionStore {
  readonly #deps: SessionStoreDeps
  /** As last read; asked for at every block. */
  #damaged: readonly string[] | undefined

  constructor(deps: SessionStoreDeps) {
    this.#deps = deps
  }

  /** Inserts or replaces; resolves when it is on disk. */
  async put(record: SessionRecord): Promise<void> {
    await this.#deps.write([this.putting(record)])
  }

  /** All of them in one batch, or none. */
  async putAll(records: readonly SessionRecord[]): Promise<void> {
    if (records.length > 0) await this.#deps.write(records.map((record) => this.putting(record)))
  }

  /** `put` as a part of a larger batch. */
  putting(record: SessionRecord): Operation {
    const key = encodeSessionKey(record.key)
    return this.#deps.sessions.put(key, encodeRecord(key, record))
  }

  /** Undefined also for a record that cannot be read: it is set aside. */
  async get(key: SessionKey): Promise<SessionRecord | undefined> {
    const bytes = encodeSessionKey(key)
    const value = await this.#deps.sessions.get(bytes)
    if (value === undefined) return undefined
    const record = readable(bytes, value)
    if (record === undefined) await this.#setAside([[bytes, value]])
    return record
  }

  /** In order of session end, without those that cannot be read: they are set aside. */
  async all(): Promise<SessionRecord[]> {
    return await this.#scan({})
  }

  /** Those that are not done, in order of session end; as `all`. */
  async open(): Promise<SessionRecord[]> {
    const open = await this.#scan({}, (value) => !isDone(value))
    return open.filter((record) => record.state.at !== 'done')
  }

  /** Done sessions that ended before the height; as `all`. */
  async doneBefore(before: Height): Promise<SessionRecord[]> {
    const { lt } = heightRange({ to: before })
    const ended = await this.#scan(lt === undefined ? {} : { lt }, isDone)
    return ended.filter((record) => record.state.at === 'done' && record.key.end < before)
  }

  /** The keys of all records that were ever set aside, in hex. */
  async damaged(): Promise<readonly string[]> {
    if (this.#damaged !== undefined) return this.#damaged
    const keys: string[] = []
    for await (const part of this.#deps.sessions.keys({ gte: ASIDE }))
      for (const key of part) keys.push(hex(key.subarray(ASIDE.length)))
    this.#damaged = keys
    return keys
  }

  async delete(key: SessionKey): Promise<void> {
    await this.#deps.write([this.deleting(key)])
  }

  /** `delete` as a part of a larger batch. */
  deleting(key: SessionKey): Operation {
    return this.#deps.sessions.del(encodeSessionKey(key))
  }

  /** @param wanted tells from the bytes of a record whether it is worth reading */
  async #scan(
    range: Range,
    wanted: (value: Uint8Array) => boolean = () => true,
  ): Promise<SessionRecord[]> {
    const records: SessionRecord[] = []
    const damaged: [key: Uint8Array, value: Uint8Array][] = []
    for await (const [key, value] of this.#deps.sessions.entries({ lt: ASIDE, ...range })) {
      if (!wanted(value)) continue
      const record = readable(key, value)
      if (record === undefined) damaged.push([key, value])
      else records.push(record)
    }
    if (damaged.length > 0) await this.#setAside(damaged)
    return records
  }

  /** Nothing is dropped: the same bytes under another key; unless a good record has replaced them. */
  async #setAside(damaged: readonly [key: Uint8Array, value: Uint8Array][]): Promise<void> {
    const { sessions, write } = this.#deps
    const operations: Operation[] = []
    for (const [key, value] of damaged) {
      const now = await sessions.get(key)
      if (now === undefined || !equal(now, value)) continue
      operations.push(sessions.put(concat(ASIDE, key), value), sessions.del(key))
    }
    if (operations.length > 0) await write(operations)
    this.#damaged = undefined
  }
}

function readable(key: Uint8Array, value: Uint8Array): SessionRecord | undefined {
  try {
    return decodeRecord(key, value)
  } catch (error) {
    if (error instanceof StoreError && error.code === 'CORRUPT') return undefined
    throw error
  }
}

function isDone(value: Uint8Array): boolean {
  return Buffer.from(value.buffer, value.byteOffset, value.length).includes(DONE)
}
