/**
 * The parts of an open store, and what concerns more than one of them: a session's end, what a crash
 * left of it, and giving its disk space back. Tested by test/store/store.ts.
 */
import { assert } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import type { Height } from '../base/units.ts'
import type { Tables } from './db.ts'
import type { Disk } from './disk.ts'
import { EnergyStore } from './energy.ts'
import { removePid } from './folder.ts'
import { encodeSessionKey, type SessionKey, sessionKeyText, successor } from './keys.ts'
import { Ledger, type LedgerEntry } from './ledger.ts'
import { RelayStore, type RelayStoreOptions } from './relays.ts'
import { type SessionRecord, SessionStore } from './sessions.ts'

export interface Store extends AsyncDisposable {
  readonly sessions: SessionStore
  readonly relays: RelayStore
  readonly ledger: Ledger
  readonly energy: EnergyStore
  /** Sessions with relays and without a record, when the store was opened: evidence, never dropped. */
  readonly strays: readonly SessionKey[]
  /**
   * Writes the done record and its ledger entry in one synced batch, then drops the session's relays.
   * Once it is on disk the call succeeds: what cannot be dropped now is dropped at the next open.
   */
  finish(record: SessionRecord, entry: LedgerEntry): Promise<void>
  /** Forgets done sessions that ended before the height; their ledger entries stay. @returns how many */
  prune(before: Height): Promise<number>
  /** Whether nothing was ever served or booked: a new folder, or a lost one. */
  isEmpty(): Promise<boolean>
  /** Waits for the relays that are queued and frees the lock. Idempotent. */
  close(): Promise<void>
}

export interface OpenStoreDeps {
  readonly folder: string
  readonly disk: Disk
  readonly tables: Tables
  readonly log: Log
}

export class OpenStore implements Store {
  readonly sessions: SessionStore
  readonly relays: RelayStore
  readonly ledger: Ledger
  readonly energy: EnergyStore
  readonly #deps: OpenStoreDeps
  #strays: readonly SessionKey[] = []
  /** Dropped sessions whose disk space was not given back yet. */
  #dropped: Uint8Array[] = []
  #compacting: Promise<void> | undefined
  #closing: Promise<void> | undefined

  constructor(deps: OpenStoreDeps, options: RelayStoreOptions) {
    const { disk, tables, log } = deps
    const parts = { ...tables, write: disk.write }
    this.#deps = deps
    this.sessions = new SessionStore(parts)
    this.relays = new RelayStore(parts, options)
    this.ledger = new Ledger(parts)
    this.energy = new EnergyStore({ ...parts, log })
  }

  get strays(): readonly SessionKey[] {
    return this.#strays
  }

  /** What a crash in `finish` left is dropped; relays without a record are kept and reported. */
  async recover(): Promise<void> {
    const strays: SessionKey[] = []
    for (const key of await this.relays.sessions()) {
      const record = await this.sessions.get(key)
      if (record === undefined) strays.push(key)
      else if (record.state.at === 'done') await this.#drop(key)
    }
    this.#strays = strays
    for (const key of strays)
      this.#deps.log.warn(
        { sessionId: key.sessionId, sessionEnd: key.end, supplier: key.operator },
        'relays without a session record kept',
      )
  }

  async finish(record: SessionRecord, entry: LedgerEntry): Promise<void> {
    assert(record.state.at === 'done', 'only a done session is finished')
    assert(
      sessionKeyText(record.key) === sessionKeyText(entry.key),
      'a session is booked under its own key',
    )
    const { disk, log } = this.#deps
    await disk.write([this.sessions.putting(record), this.ledger.booking(entry)])
    try {
      await this.#drop(record.key)
    } catch (err) {
      log.warn({ err, sessionId: record.key.sessionId }, 'relays of a done session not dropped yet')
    }
  }

  async prune(before: Height): Promise<number> {
    const done = await this.sessions.doneBefore(before)
    // First the relays: without their record they would look like evidence.
    for (const { key } of done) await this.relays.drop(key)
    if (done.length > 0)
      await this.#deps.disk.write(done.map(({ key }) => this.sessions.deleting(key)))
    return done.length
  }

  async isEmpty(): Promise<boolean> {
    // Energy is booked while nothing is served, too.
    const { meta: _, energy: __, ...tables } = this.#deps.tables
    for (const table of Object.values(tables))
      if ((await table.first({})) !== undefined) return false
    return true
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #close(): Promise<void> {
    const { folder, disk } = this.#deps
    this.#dropped = []
    await this.relays.close()
    await this.#compacting
    try {
      await removePid(folder)
    } finally {
      await disk.close()
    }
  }

  async #drop(key: SessionKey): Promise<void> {
    await this.relays.drop(key)
    this.#dropped.push(encodeSessionKey(key))
    this.#compacting ??= this.#compact()
  }

  /**
   * LevelDB gives the space of deleted keys back when newer keys of the same range push them out.
   * Ours only ever grow with the height, so without this the folder would grow for months.
   */
  async #compact(): Promise<void> {
    const { disk, tables, log } = this.#deps
    for (;;) {
      const keys = this.#dropped.sort(Buffer.compare)
      this.#dropped = []
      const [gte, last] = [keys[0], keys.at(-1)]
      if (gte === undefined || last === undefined) break
      try {
        for (const table of [tables.relays, tables.leaves, tables.replays])
          await disk.compact(table, { gte, lt: successor(last) })
      } catch (err) {
        log.debug({ err }, 'disk space not given back')
      }
    }
    this.#compacting = undefined
  }
}
