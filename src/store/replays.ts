/**
 * Which requests were answered: the replay keys of the sessions in work, kept in memory.
 *
 * Every relay asks twice whether its key is there, and a question to LevelDB costs the event loop as
 * much as half a signature check. So a session's keys are read once, at its first relay, and then
 * known; where they are too many, the table is asked instead. Tested by test/store/replays.ts.
 */
import { LruMap } from '../base/queue.ts'
import type { Table } from './disk.ts'
import { prefixRange, SESSION_KEY_BYTES } from './keys.ts'

export interface ReplayKeysOptions {
  /** Of one session; about 100 bytes each. A session with more is looked up in the table. */
  readonly keysMax: number
  readonly sessionsMax: number
}

export const REPLAY_KEYS_DEFAULTS: ReplayKeysOptions = { keysMax: 100_000, sessionsMax: 256 }

interface Known {
  /** Undefined: too many to keep. */
  keys: Set<string> | undefined
  loaded: Promise<void>
}

export class ReplayKeys {
  readonly #table: Table
  readonly #options: ReplayKeysOptions
  readonly #sessions: LruMap<string, Known>

  constructor(table: Table, options: ReplayKeysOptions = REPLAY_KEYS_DEFAULTS) {
    this.#table = table
    this.#options = options
    this.#sessions = new LruMap(options.sessionsMax)
  }

  /** @param replays session key || replay key, of any sessions @returns for each whether it is there */
  async known(replays: readonly Uint8Array[]): Promise<boolean[]> {
    const sessions = replays.map((replay) => this.#session(replay))
    for (const session of new Set(sessions)) await session.loaded
    if (sessions.some(({ keys }) => keys === undefined)) return await this.#table.hasMany(replays)
    return replays.map((replay, index) => sessions[index]?.keys?.has(keyOf(replay)) === true)
  }

  /** What was just written. */
  add(replay: Uint8Array): void {
    const session = this.#sessions.get(sessionOf(replay))
    if (session?.keys === undefined) return
    session.keys.add(keyOf(replay))
    if (session.keys.size > this.#options.keysMax) session.keys = undefined
  }

  /** After a write whose outcome is not known, and for a session that is dropped: read again if needed. */
  forget(replay: Uint8Array): void {
    this.#sessions.delete(sessionOf(replay))
  }

  #session(replay: Uint8Array): Known {
    const name = sessionOf(replay)
    const known = this.#sessions.get(name)
    if (known !== undefined) return known
    const session: Known = { keys: new Set(), loaded: Promise.resolve() }
    session.loaded = this.#load(replay.subarray(0, SESSION_KEY_BYTES), session).catch((error) => {
      this.#sessions.delete(name)
      throw error
    })
    this.#sessions.set(name, session)
    return session
  }

  /** What `add` brings meanwhile is in the same set. */
  async #load(prefix: Uint8Array, session: Known): Promise<void> {
    for await (const keys of this.#table.keys(prefixRange(prefix))) {
      for (const key of keys) session.keys?.add(keyOf(key))
      if ((session.keys?.size ?? 0) > this.#options.keysMax) session.keys = undefined
      if (session.keys === undefined) return
    }
  }
}

function sessionOf(replay: Uint8Array): string {
  return latin1(replay, 0, SESSION_KEY_BYTES)
}

function keyOf(replay: Uint8Array): string {
  return latin1(replay, SESSION_KEY_BYTES, replay.length)
}

function latin1(bytes: Uint8Array, from: number, to: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + from, to - from).toString('latin1')
}
