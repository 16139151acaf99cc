/**
 * Where served relays become durable: what a claim is made of, and what proves it.
 *
 * A relay is three entries in one synced batch: its replay key, its leaf and its bytes. Batches are
 * group commits without a timer: what was queued while one batch was being synced goes into the
 * next, and `record` resolves when its own is on disk. The tree is never kept: its root is a
 * function of the leaves, which lie here in its order. Tested by test/store/relays.ts and, with a
 * process that is killed, test/store/crash.ts.
 */
import { concat } from '../base/bytes.ts'
import { assert } from '../base/errors.ts'
import { BoundedQueue, LruMap } from '../base/queue.ts'
import type { Leaf } from '../smst/fold.ts'
import type { Operation, Table, Write } from './disk.ts'
import { corrupt } from './encoding.ts'
import { StoreError, storeClosed } from './errors.ts'
import {
  decodeSessionKey,
  encodeSessionKey,
  HASH_BYTES,
  prefixRange,
  SESSION_KEY_BYTES,
  type SessionKey,
  sessionKeyText,
  successor,
} from './keys.ts'
import { ReplayKeys } from './replays.ts'

export interface ServedRelay {
  /** 32 bytes that name the request, however its bytes are put. */
  readonly replayKey: Uint8Array
  /** Absent if the relay's hash is not under the session's target: it was served, and counts no more. */
  readonly leaf?: {
    readonly path: Uint8Array
    readonly digest: Uint8Array
    /** The dehydrated relay, as the proof publishes it. */
    readonly relay: Uint8Array
  }
}

export interface RelayStoreDeps {
  readonly leaves: Table
  readonly relays: Table
  readonly replays: Table
  readonly write: Write
}

export interface RelayStoreOptions {
  /** Relays that may wait for the disk. */
  readonly queueMax: number
  /** Their bytes together. */
  readonly queueBytesMax: number
  /** Relays, and their bytes, that go into one batch. */
  readonly groupMax: number
  readonly groupBytesMax: number
}

export const RELAY_STORE_DEFAULTS: RelayStoreOptions = {
  queueMax: 10_000,
  queueBytesMax: 256 << 20,
  groupMax: 1_000,
  groupBytesMax: 8 << 20,
}

const DIGEST_BYTES = 48
/** Session keys whose bytes are remembered: more than a process serves at a time. */
const PREFIXES_MAX = 1_000
const NOTHING = new Uint8Array(0)

interface Job {
  readonly prefix: Uint8Array
  readonly served: ServedRelay
  /** session key || replay key: the bytes, and as text for the set of pending ones. */
  readonly replay: Uint8Array
  readonly id: string
  readonly bytes: number
  readonly resolve: (outcome: 'recorded' | 'replayed') => void
  readonly reject: (error: unknown) => void
}

export class RelayStore {
  readonly #deps: RelayStoreDeps
  readonly #options: RelayStoreOptions
  readonly #queue: BoundedQueue<Job>
  readonly #prefixes = new LruMap<string, Uint8Array>(PREFIXES_MAX)
  /** Replay keys that are queued or being written. */
  readonly #pending = new Set<string>()
  readonly #replays: ReplayKeys
  #queuedBytes = 0
  #last: Promise<unknown> = Promise.resolve()
  #writing: Promise<void> | undefined
  #closed = false

  constructor(deps: RelayStoreDeps, options: RelayStoreOptions = RELAY_STORE_DEFAULTS) {
    this.#deps = deps
    this.#options = options
    this.#queue = new BoundedQueue(options.queueMax)
    this.#replays = new ReplayKeys(deps.replays)
  }

  /**
   * Resolves once the relay is on disk. `replayed`: the replay key is there already, queued or being
   * written, and nothing is written. A leaf whose path is there already replaces it.
   *
   * @throws StoreError QUEUE_FULL (retryable: nothing was taken); DISK (retryable: the relay may be
   *   there or not, and is found out by the next call); STORE_CLOSED; KEY_INVALID
   */
  async record(key: SessionKey, served: ServedRelay): Promise<'recorded' | 'replayed'> {
    if (this.#closed) throw storeClosed()
    assert(served.replayKey.length === HASH_BYTES, 'a replay key has 32 bytes')
    assert((served.leaf?.path.length ?? HASH_BYTES) === HASH_BYTES, 'a path has 32 bytes')
    assert((served.leaf?.digest.length ?? DIGEST_BYTES) === DIGEST_BYTES, 'a digest has 48 bytes')
    const prefix = this.#prefix(key)
    const replay = concat(prefix, served.replayKey)
    const id = idOf(replay)
    if (this.#pending.has(id)) return 'replayed'
    const bytes = served.leaf?.relay.length ?? 0
    this.#refuseAbove(bytes)
    const outcome = new Promise<'recorded' | 'replayed'>((resolve, reject) => {
      this.#enqueue({ prefix, served, replay, id, bytes, resolve, reject })
    })
    this.#last = outcome.catch(() => {})
    return await outcome
  }

  /** Whether a relay with this replay key was recorded, or is about to be. */
  async seen(key: SessionKey, replayKey: Uint8Array): Promise<boolean> {
    const replay = concat(this.#prefix(key), replayKey)
    if (this.#pending.has(idOf(replay))) return true
    return (await this.#replays.known([replay]))[0] === true
  }

  /** Relays answered: replay keys, leaf or not. Reads all of them. */
  async served(key: SessionKey): Promise<number> {
    return await this.#deps.replays.count(prefixRange(this.#prefix(key)))
  }

  /** Ascending by path, as they are when the first is asked for. @throws StoreError CORRUPT */
  async *leaves(key: SessionKey): AsyncGenerator<Leaf> {
    for await (const [at, digest] of this.#deps.leaves.entries(prefixRange(this.#prefix(key)))) {
      if (at.length !== SESSION_KEY_BYTES + HASH_BYTES || digest.length !== DIGEST_BYTES)
        throw corrupt(at, 'not a leaf')
      yield { path: at.subarray(SESSION_KEY_BYTES), digest }
    }
  }

  /** The bytes of the relay at `path`. */
  async relay(key: SessionKey, path: Uint8Array): Promise<Uint8Array | undefined> {
    return await this.#deps.relays.get(concat(this.#prefix(key), path))
  }

  /**
   * Deletes what the session has here, after what is queued was written. Only for a session that is
   * done. Not synced: what a crash brings back is removed when the store is opened.
   */
  async drop(key: SessionKey): Promise<void> {
    await this.#last
    const prefix = this.#prefix(key)
    for (const table of this.#tables()) await table.clear(prefix)
    this.#replays.forget(prefix)
  }

  /** Sessions that have anything here, in no particular order. @throws StoreError CORRUPT */
  async sessions(): Promise<SessionKey[]> {
    const found = new Map<string, SessionKey>()
    for (const table of this.#tables()) {
      let at = await table.first({})
      while (at !== undefined) {
        const key = decodeSessionKey(at)
        found.set(sessionKeyText(key), key)
        at = await table.first({ gte: successor(at.subarray(0, SESSION_KEY_BYTES)) })
      }
    }
    return [...found.values()]
  }

  /** Takes nothing more and resolves when what is queued was written or refused. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true
    await this.#writing
  }

  #tables(): Table[] {
    return [this.#deps.leaves, this.#deps.relays, this.#deps.replays]
  }

  #prefix(key: SessionKey): Uint8Array {
    const text = sessionKeyText(key)
    const known = this.#prefixes.get(text)
    if (known !== undefined) return known
    const prefix = encodeSessionKey(key)
    this.#prefixes.set(text, prefix)
    return prefix
  }

  /** A queue that holds nothing takes one relay of any size. */
  #refuseAbove(bytes: number): void {
    const [queued, queuedBytes] = [this.#queue.size, this.#queuedBytes]
    const { queueMax, queueBytesMax } = this.#options
    if (queued < queueMax && (queued === 0 || queuedBytes + bytes <= queueBytesMax)) return
    throw new StoreError('QUEUE_FULL', `${queued} relays wait for the disk`, {
      data: { queued, queuedBytes },
      retryable: true,
    })
  }

  #enqueue(job: Job): void {
    assert(this.#queue.push(job), 'a queue that is not full takes a job')
    this.#queuedBytes += job.bytes
    this.#pending.add(job.id)
    this.#writing ??= this.#run()
  }

  async #run(): Promise<void> {
    while (this.#queue.size > 0) await this.#commit(this.#take())
    this.#writing = undefined
  }

  /** What is queued, as much of it as one batch may have. */
  #take(): Job[] {
    const group: Job[] = []
    let bytes = 0
    while (group.length < this.#options.groupMax && bytes < this.#options.groupBytesMax) {
      const job = this.#queue.shift()
      if (job === undefined) break
      group.push(job)
      bytes += job.bytes
    }
    this.#queuedBytes -= bytes
    return group
  }

  /** Never rejects: every job of the group hears how it ended. */
  async #commit(group: readonly Job[]): Promise<void> {
    try {
      const known = await this.#replays.known(group.map((job) => job.replay))
      const fresh: Job[] = []
      for (const [index, job] of group.entries())
        if (known[index]) job.resolve('replayed')
        else fresh.push(job)
      if (fresh.length > 0) await this.#deps.write(fresh.flatMap((job) => this.#entries(job)))
      for (const job of fresh) {
        this.#replays.add(job.replay)
        job.resolve('recorded')
      }
    } catch (error) {
      // The others have been answered: rejecting a settled promise changes nothing.
      for (const job of group) {
        this.#replays.forget(job.replay)
        job.reject(error)
      }
    } finally {
      for (const job of group) this.#pending.delete(job.id)
    }
  }

  #entries({ prefix, replay, served: { leaf } }: Job): Operation[] {
    const { replays, leaves, relays } = this.#deps
    const served = replays.put(replay, NOTHING)
    if (leaf === undefined) return [served]
    const at = concat(prefix, leaf.path)
    return [served, leaves.put(at, leaf.digest), relays.put(at, leaf.relay)]
  }
}

function idOf(replay: Uint8Array): string {
  return Buffer.from(replay.buffer, replay.byteOffset, replay.length).toString('latin1')
}
