/**
 * The end of a session: what it earned or why not, written in one batch with the dropping of its
 * relays, so that nothing is dropped before the ledger knows. Tests: test/miner/book.ts and test/e2e.
 */
import { assert } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { type Height, type Upokt, upokt } from '../base/units.ts'
import { claimedUpokt } from '../protocol/rewards.ts'
import { countOf, sumOf } from '../smst/node.ts'
import type { LedgerEntry } from '../store/ledger.ts'
import type { Outcome, SessionKey, SessionRecord } from '../store/sessions.ts'

export interface BookDeps {
  readonly store: {
    finish(record: SessionRecord, entry: LedgerEntry): Promise<void>
    readonly relays: { served(key: SessionKey): Promise<number> }
  }
  /** Told of each session that has ended, so that nobody keeps it in memory. */
  readonly forget: (key: SessionKey) => void
  readonly log: Log
}

export interface Ending {
  readonly outcome: Outcome
  readonly reason: string
  readonly settled?: Upokt
  readonly rewards?: Upokt
}

/** What the session's root would be paid before any cap: 0 for a session without a root. */
export function claimValue(session: SessionRecord): Upokt {
  const root = rootOf(session)
  return root === undefined ? upokt(0) : claimedUpokt(sumOf(root), session.target, session.price)
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

  constructor(deps: BookDeps) {
    this.#deps = deps
  }

  async finish(session: SessionRecord, at: Height, ending: Ending): Promise<void> {
    const { key, header } = session
    const root = rootOf(session)
    const claimed = claimValue(session)
    const settled = ending.settled ?? upokt(0)
    const paid = ending.outcome === 'settled'
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
      lost: upokt(claimed > settled ? claimed - settled : 0n),
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
    const fields = {
      sessionId: key.sessionId,
      sessionEnd: key.end,
      supplier: key.operator,
      service: header.serviceId,
      relays: entry.count,
      upokt: paid ? settled : entry.lost,
      reason: ending.reason,
    }
    if (paid) this.#deps.log.info(fields, 'session settled')
    else if (ending.outcome === 'empty' || entry.lost === 0n)
      this.#deps.log.info({ ...fields, outcome: ending.outcome }, 'session ended')
    else this.#deps.log.error({ ...fields, outcome: ending.outcome }, 'session lost')
  }
}
