/**
 * What a session is, where it stands, and since when: one record for each, written before and after
 * every step, so that a restart goes on where the last process stopped.
 *
 * Failing never destroys evidence: a record is removed only after its session is done. Tested by
 * test/store/sessions.ts.
 */
import { z } from 'zod'
import { assert } from '../base/errors.ts'
import type { ComputeUnits, Height, Ms } from '../base/units.ts'
import type { SessionHeader } from '../protocol/gen/pocket/session/session.ts'
import type { Price } from '../protocol/rewards.ts'
import type { Operation, Table, Write } from './disk.ts'
import { decodeValue, encodeValue, stored } from './encoding.ts'
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
  'expired',
  'discarded',
  'claim-missed',
  'proof-missed',
  'unprofitable',
  'unaffordable',
  'empty',
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

export class SessionStore {
  readonly #deps: SessionStoreDeps

  constructor(deps: SessionStoreDeps) {
    this.#deps = deps
  }

  /** Inserts or replaces; resolves when it is on disk. */
  async put(record: SessionRecord): Promise<void> {
    await this.#deps.write([this.putting(record)])
  }

  /** `put` as a part of a larger batch. */
  putting(record: SessionRecord): Operation {
    const key = encodeSessionKey(record.key)
    return this.#deps.sessions.put(key, encodeRecord(key, record))
  }

  /** @throws StoreError CORRUPT */
  async get(key: SessionKey): Promise<SessionRecord | undefined> {
    const bytes = encodeSessionKey(key)
    const value = await this.#deps.sessions.get(bytes)
    return value === undefined ? undefined : decodeRecord(bytes, value)
  }

  /** In order of session end. @throws StoreError CORRUPT */
  async all(): Promise<SessionRecord[]> {
    return await this.#scan({})
  }

  /** Those that are not done, in order of session end. @throws StoreError CORRUPT */
  async open(): Promise<SessionRecord[]> {
    return (await this.#scan({})).filter((record) => record.state.at !== 'done')
  }

  /** Done sessions that ended before the height. @throws StoreError CORRUPT */
  async doneBefore(before: Height): Promise<SessionRecord[]> {
    const { lt } = heightRange({ to: before })
    const ended = await this.#scan(lt === undefined ? {} : { lt })
    return ended.filter((record) => record.state.at === 'done' && record.key.end < before)
  }

  async delete(key: SessionKey): Promise<void> {
    await this.#deps.write([this.deleting(key)])
  }

  /** `delete` as a part of a larger batch. */
  deleting(key: SessionKey): Operation {
    return this.#deps.sessions.del(encodeSessionKey(key))
  }

  async #scan(range: Range): Promise<SessionRecord[]> {
    const records: SessionRecord[] = []
    for await (const [key, value] of this.#deps.sessions.entries(range))
      records.push(decodeRecord(key, value))
    return records
  }
}
