/**
 * LevelDB, made safe to write to.
 *
 * Every write is synced and every write waits its turn, because LevelDB (1.20) forgets what it has
 * confirmed in one case: a write that fails half way (the disk is full) leaves a torn record in its
 * log, later writes are appended behind it and confirmed, and the next recovery stops reading at the
 * tear. So after a failed write nothing more is written to that log: the database is closed and
 * opened again first, which reads the log up to the tear and begins a new one. What failed may be
 * there afterwards or not, as with any disk. Tested by test/store/disk.ts and, on
 * a disk that is full, test/store/crash.ts.
 */
import type { Level } from 'level'
import type { Log } from '../base/log.ts'
import { Mutex } from '../base/queue.ts'
import { storeClosed, storeError } from './errors.ts'
import { hashRanges, prefixRange, type Range } from './keys.ts'

export type Database = Level<Uint8Array, Uint8Array>
type Sublevel = ReturnType<typeof sublevel>

/** One put or delete of a batch, with LevelDB's own key; made by `Table.put` and `Table.del`. */
export type Operation =
  | { readonly type: 'put'; readonly key: Uint8Array; readonly value: Uint8Array }
  | { readonly type: 'del'; readonly key: Uint8Array }

/** Writes all of it or nothing, and resolves when it is on disk. @throws StoreError DISK, STORE_CLOSED */
export type Write = (operations: readonly Operation[]) => Promise<void>

const SYNCED = { sync: true }
/** Entries read at once: large, since each trip to the database's thread costs what 100 entries do. */
const SCAN_ENTRIES = 1_000
const SCAN_BYTES = 1 << 20
/** A session with more keys than this is deleted in parts, so that a relay never waits for long. */
const CLEAR_WHOLE_MAX = 4_000

export class Disk {
  readonly #level: Database
  readonly #log: Log
  readonly #sublevels: Sublevel[] = []
  readonly #writes = new Mutex()
  /** False from a failed write until the database was opened again. */
  #sound = true
  #closed = false

  /** @param deps.level open; closed by `close()` */
  constructor(deps: { level: Database; log: Log }) {
    this.#level = deps.level
    this.#log = deps.log
  }

  table(name: string): Table {
    const part = sublevel(this.#level, name)
    this.#sublevels.push(part)
    return new Table(this, part)
  }

  readonly write: Write = (operations) =>
    this.alone(async () => {
      // The chained form of a batch takes a fifth of the event loop's time that the array form takes.
      const batch = this.#level.batch()
      for (const operation of operations)
        if (operation.type === 'put') batch.put(operation.key, operation.value)
        else batch.del(operation.key)
      await batch.write(SYNCED)
    })

  /** Runs `work` while nothing else is written; any failure of it counts as a failed write. */
  async alone(work: () => Promise<void>): Promise<void> {
    if (this.#closed) throw storeClosed()
    await this.#writes.run(async () => {
      await this.#heal()
      try {
        await work()
      } catch (error) {
        this.#sound = false
        throw storeError(error)
      }
    })
  }

  async read<T>(work: () => Promise<T>): Promise<T> {
    if (this.#closed) throw storeClosed()
    if (!this.#sound) await this.#writes.run(() => this.#heal())
    try {
      return await work()
    } catch (error) {
      throw this.#closed ? storeClosed() : storeError(error)
    }
  }

  /** Whether there is no key at all, in a sublevel or outside. */
  isEmpty(): Promise<boolean> {
    return this.read(async () => (await this.#level.keys({ limit: 1 }).all()).length === 0)
  }

  /** Gives the space of deleted keys back to the disk; reads and writes go on meanwhile. */
  compact(table: Table, range: Required<Range>): Promise<void> {
    const [from, to] = [table.absolute(range.gte), table.absolute(range.lt)]
    return this.read(async () => {
      if (canCompact(this.#level)) await this.#level.compactRange(from, to)
    })
  }

  /** Waits for the writes that were asked for before. Idempotent. */
  close(): Promise<void> {
    this.#closed = true
    return this.#writes.run(() => this.#level.close())
  }

  async #heal(): Promise<void> {
    if (this.#sound) return
    try {
      await this.#level.close()
      await this.#level.open()
      for (const part of this.#sublevels) await part.open()
    } catch (error) {
      throw storeError(error)
    }
    this.#sound = true
    this.#log.warn('database opened again after a failed write')
  }
}

/** One sublevel: keys and values are bytes, keys are without the sublevel's own prefix. */
export class Table {
  readonly #disk: Disk
  readonly #sublevel: Sublevel

  constructor(disk: Disk, part: Sublevel) {
    this.#disk = disk
    this.#sublevel = part
  }

  put(key: Uint8Array, value: Uint8Array): Operation {
    return { type: 'put', key: this.absolute(key), value }
  }

  del(key: Uint8Array): Operation {
    return { type: 'del', key: this.absolute(key) }
  }

  async get(key: Uint8Array): Promise<Uint8Array | undefined> {
    const value = await this.#disk.read(() => this.#sublevel.get(key))
    return value && plain(value)
  }

  async has(key: Uint8Array): Promise<boolean> {
    return (await this.hasMany([key]))[0] === true
  }

  hasMany(keys: readonly Uint8Array[]): Promise<boolean[]> {
    return this.#disk.read(() => this.#sublevel.hasMany([...keys]))
  }

  /**
   * Ascending by key, as the table was when the first entry was asked for. The bytes belong to the
   * caller: nothing writes into them again.
   */
  async *entries(range: Range): AsyncGenerator<[key: Uint8Array, value: Uint8Array]> {
    const options = { ...range, highWaterMarkBytes: SCAN_BYTES }
    const iterator = await this.#disk.read(async () => this.#sublevel.iterator(options))
    try {
      for (;;) {
        const entries = await this.#disk.read(() => iterator.nextv(SCAN_ENTRIES))
        if (entries.length === 0) return
        for (const [key, value] of entries) yield [plain(key), plain(value)]
      }
    } finally {
      await iterator.close()
    }
  }

  /** The lowest key of the range. */
  async first(range: Range): Promise<Uint8Array | undefined> {
    const keys = await this.#disk.read(() => this.#sublevel.keys({ ...range, limit: 1 }).all())
    return keys[0] && plain(keys[0])
  }

  /** The keys of the range, ascending, some thousand at a time. */
  async *keys(range: Range): AsyncGenerator<Uint8Array[]> {
    const options = { ...range, highWaterMarkBytes: SCAN_BYTES }
    const iterator = await this.#disk.read(async () => this.#sublevel.keys(options))
    try {
      for (;;) {
        const keys = await this.#disk.read(() => iterator.nextv(SCAN_ENTRIES))
        if (keys.length === 0) return
        yield keys.map(plain)
      }
    } finally {
      await iterator.close()
    }
  }

  /** How many keys the range has, counted up to `max`. */
  async count(range: Range, max = Number.MAX_SAFE_INTEGER): Promise<number> {
    let count = 0
    for await (const keys of this.keys(range)) {
      count += keys.length
      if (count >= max) break
    }
    return Math.min(count, max)
  }

  /** Deletes every key that is `prefix` and a hash. Not synced: a crash may bring some of them back. */
  async clear(prefix: Uint8Array): Promise<void> {
    const whole = prefixRange(prefix)
    const many = (await this.count(whole, CLEAR_WHOLE_MAX)) === CLEAR_WHOLE_MAX
    for (const range of many ? hashRanges(prefix) : [whole])
      await this.#disk.alone(() => this.#sublevel.clear({ ...range }))
  }

  /** The key as LevelDB has it, with the sublevel's prefix. */
  absolute(key: Uint8Array): Uint8Array {
    return this.#sublevel.prefixKey(key, 'view')
  }
}

/** `level` promises less than it gives: in Node it is classic-level, which can compact. */
function canCompact(
  level: Database,
): level is Database & { compactRange(start: Uint8Array, end: Uint8Array): Promise<void> } {
  return 'compactRange' in level && typeof level.compactRange === 'function'
}

/** The database gives buffers, whose `slice` does not copy and which equal no other bytes in tests. */
function plain(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length)
}

function sublevel(level: Database, name: string) {
  return level.sublevel<Uint8Array, Uint8Array>(name, {
    keyEncoding: 'view',
    valueEncoding: 'view',
  })
}
