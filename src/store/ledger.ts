/**
 * What each session earned, or why it did not: the figures behind `earnings` and "why no money".
 *
 * One entry a session, booked in the same batch that makes its record done; booking again replaces
 * it, so nothing is counted twice. Entries outlive the session's relays. Tested by
 * test/store/ledger.ts.
 */
import { z } from 'zod'
import { type Height, type Upokt, upokt } from '../base/units.ts'
import type { Operation, Table, Write } from './disk.ts'
import { decodeValue, encodeValue, stored } from './encoding.ts'
import {
  decodeSessionKey,
  encodeSessionKey,
  type HeightRange,
  heightRange,
  type SessionKey,
} from './keys.ts'
import { OUTCOMES, type Outcome } from './sessions.ts'

export interface LedgerEntry {
  readonly key: SessionKey
  readonly serviceId: string
  /** The application's address. */
  readonly application: string
  /** Relays answered, whether or not they became leaves. */
  readonly served: number
  /** Leaves and their compute units, as the root says. */
  readonly count: bigint
  readonly sum: bigint
  /** What the claim asked for. */
  readonly claimed: Upokt
  /** What the chain settled it at. */
  readonly settled: Upokt
  /** The supplier's part of that, paid out to its owner and shareholders. */
  readonly rewards: Upokt
  /** What was served and not paid. */
  readonly lost: Upokt
  readonly outcome: Outcome
  readonly reason: string
  /** Where the outcome was seen. */
  readonly height: Height
}

export interface Loss {
  readonly outcome: Outcome
  readonly reason: string
  readonly sessions: number
  readonly lost: Upokt
}

export interface LedgerTotals {
  readonly sessions: number
  readonly served: number
  readonly claimed: Upokt
  readonly settled: Upokt
  readonly rewards: Upokt
  readonly lost: Upokt
  /** Claimed by sessions that ended `unseen`: paid as far as is known, in neither sum. */
  readonly unseen: Upokt
  /** By outcome and reason, the dearest first; sessions that lost nothing are not in it. */
  readonly losses: readonly Loss[]
}

/** Reasons are few; a list of losses that would grow beyond this puts the rest under `REST`. */
const LOSSES_MAX = 100
const REST = 'other reasons'

const entryFields = z.object({
  serviceId: stored.text,
  application: stored.text,
  served: stored.count,
  count: stored.uint,
  sum: stored.uint,
  claimed: stored.money,
  settled: stored.money,
  rewards: stored.money,
  lost: stored.money,
  outcome: z.enum(OUTCOMES),
  reason: stored.text,
  height: stored.height,
})

/** @param key the bytes of `entry.key`. An unusable entry is a bug of ours: AssertionError */
export function encodeEntry(key: Uint8Array, entry: LedgerEntry): Uint8Array {
  return encodeValue(entryFields, key, entry)
}

/** @throws StoreError CORRUPT */
export function decodeEntry(key: Uint8Array, value: Uint8Array): LedgerEntry {
  return { key: decodeSessionKey(key), ...decodeValue(entryFields, key, value) }
}

export interface LedgerDeps {
  readonly ledger: Table
  readonly write: Write
}

export class Ledger {
  readonly #deps: LedgerDeps

  constructor(deps: LedgerDeps) {
    this.#deps = deps
  }

  /** Inserts or replaces the session's entry; resolves when it is on disk. */
  async book(entry: LedgerEntry): Promise<void> {
    await this.#deps.write([this.booking(entry)])
  }

  /** `book` as a part of a larger batch. */
  booking(entry: LedgerEntry): Operation {
    const key = encodeSessionKey(entry.key)
    return this.#deps.ledger.put(key, encodeEntry(key, entry))
  }

  /** In order of session end. @throws StoreError CORRUPT */
  async *entries(range: HeightRange = {}): AsyncGenerator<LedgerEntry> {
    for await (const [key, value] of this.#deps.ledger.entries(heightRange(range)))
      yield decodeEntry(key, value)
  }

  /** Adds up the entries of the range; all of them by default. @throws StoreError CORRUPT */
  async totals(range: HeightRange = {}): Promise<LedgerTotals> {
    const sum = {
      ...{ sessions: 0, served: 0, claimed: 0n, settled: 0n, rewards: 0n },
      ...{ lost: 0n, unseen: 0n },
    }
    const losses = new Map<string, Loss>()
    for await (const entry of this.entries(range)) {
      sum.sessions++
      sum.served += entry.served
      sum.claimed += entry.claimed
      sum.settled += entry.settled
      sum.rewards += entry.rewards
      sum.lost += entry.lost
      if (entry.outcome === 'unseen') sum.unseen += entry.claimed
      if (entry.lost > 0n) addLoss(losses, entry)
    }
    return {
      ...sum,
      claimed: upokt(sum.claimed),
      settled: upokt(sum.settled),
      rewards: upokt(sum.rewards),
      lost: upokt(sum.lost),
      unseen: upokt(sum.unseen),
      losses: [...losses.values()].sort(
        (a, b) => Number(b.lost > a.lost) - Number(b.lost < a.lost),
      ),
    }
  }
}

function addLoss(losses: Map<string, Loss>, { outcome, reason, lost }: LedgerEntry): void {
  const named = losses.has(`${outcome} ${reason}`) || losses.size < LOSSES_MAX
  const key = named ? `${outcome} ${reason}` : `${outcome} ${REST}`
  const before = losses.get(key) ?? { sessions: 0, lost: 0n }
  losses.set(key, {
    outcome,
    reason: named ? reason : REST,
    sessions: before.sessions + 1,
    lost: upokt(before.lost + lost),
  })
}
