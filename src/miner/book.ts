/**
 * The end of a session: what it earned or why not, written in one batch with the dropping of its
 * relays, so that nothing is dropped before the ledger knows. Tests: test/miner/book.ts and test/e2e.
 */
import { assert } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { type Height, offset, type Upokt, upokt } from '../base/units.ts'
import { claimedUpokt } from '../protocol/rewards.ts'
import { countOf, sumOf } from '../smst/node.ts'
import type { LedgerEntry } from '../store/ledger.ts'
import type { Outcome, SessionKey, SessionRecord } from '../store/sessions.ts'

export interface BookDeps {
  readonly store: {
    finish(record: SessionRecord, entry: LedgerEntry): Promise<void>
    prune(before: Height): Promise<number>
    readonly relays: { served(key: SessionKey): Promise<number> }
  }
  /** Told of each session that has ended, so that nobody keeps it in memory. */
  readonly forget: (key: SessionKey) => void
  readonly log: Log
}

export interface Ending {
  readonly outcome: Outcome
  /** Losses are added up by it: a sentence without figures, wherever that says enough. */
  readonly reason: string
  readonly settled?: Upokt
  readonly rewards?: Upokt
}

/** `what`, and what was known before of its cause. */
export function because(what: string, { reason }: SessionRecord): string {
  return reason === undefined ? what : `${what}: ${reason}`
}

/**
 * How long a done session's record is kept: it refuses a relay that comes late. Every record is read
 * at every block, so they must not pile up; the ledger keeps what is worth knowing.
 */
const KEPT_BLOCKS = 100

/** What the session's root would be paid before any cap: 0 for a session without a root. */
export function claimValue(session: SessionRecord): Upokt {
  const root = rootOf(session)
  return root === undefined ? upokt(0) : claimedUpokt(sumOf(root), session.target, session.price)
}

/** For sorting: the dearest first. */
export function byValue(a: SessionRecord, b: SessionRecord): number {
  const [first, second] = [claimValue(a), claimValue(b)]
  return Number(second > first) - Number(second < first)
}

export function rootOf(session: SessionRecord): Uint8Array | undefined {
  return 'root' in session.state ? session.state.root : undefined
}

/** Of a session that is sealed or beyond. */
export function requireRoot(session: SessionRecord): Uint8Array {
  const root = rootOf(session)
  assert(root !== undefined, `a session that is ${session.state.at} has a root`)
  return root
}

export class Book {
  readonly #deps: BookDeps
  /** The height at which old records were last forgotten: every record is read for that. */
  #pruned: Height | undefined

  constructor(deps: BookDeps) {
    this.#deps = deps
  }

  /** @param at where the end was seen */
  async finish(session: SessionRecord, at: Height, ending: Ending): Promise<void> {
    const { key, header } = session
    const root = rootOf(session)
    const claimed = claimValue(session)
    const settled = ending.settled ?? upokt(0)
    const entry: LedgerEntry = {
      key,
      serviceId: header.serviceId,
      application: header.applicationAddress,
      served: await this.#deps.store.relays.served(key),
      count: root === undefined ? 0n : countOf(root),
      sum: root === undefined ? 0n : sumOf(root),
      claimed,
      settled,
      rewards: ending.rewards ?? upokt(0),
      lost: upokt(ending.outcome !== 'unseen' && claimed > settled ? claimed - settled : 0n),
      outcome: ending.outcome,
      reason: ending.reason,
      height: at,
    }
    const state = {
      at: 'done' as const,
      outcome: ending.outcome,
      ...(root === undefined ? {} : { root }),
    }
    await this.#deps.store.finish({ ...session, state, since: at, reason: ending.reason }, entry)
    this.#deps.forget(key)
    this.#report(entry)
    await this.#prune(at)
  }

  #report(entry: LedgerEntry): void {
    const { key, serviceId, count, claimed, settled, lost, outcome, reason } = entry
    const { log } = this.#deps
    const paid = outcome === 'settled'
    const fields = {
      sessionId: key.sessionId,
      sessionEnd: key.end,
      supplier: key.operator,
      service: serviceId,
      relays: count,
      upokt: paid ? settled : lost,
      reason,
    }
    if (paid) log.info(fields, 'session settled')
    else if (outcome === 'unseen') log.warn({ ...fields, upokt: claimed }, 'session ended unseen')
    else if (lost === 0n) log.info({ ...fields, outcome }, 'session ended')
    else log.error({ ...fields, outcome }, 'session lost')
  }

  /** Once a block. */
  async #prune(at: Height): Promise<void> {
    if (at <= KEPT_BLOCKS || at <= (this.#pruned ?? 0)) return
    this.#pruned = at
    await this.#deps.store.prune(offset(at, -KEPT_BLOCKS)).catch((err: unknown) => {
      this.#deps.log.debug({ err }, 'done sessions not forgotten yet')
    })
  }
}
