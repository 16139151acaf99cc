/** Things that say no, or make one wait for another. Tested by test/base/queue.ts. */

/** A queue with a limit. `push` never waits: the caller decides what a full queue means. */
export class BoundedQueue<T> {
  readonly #items: T[] = []
  readonly #max: number

  constructor(max: number) {
    this.#max = max
  }

  get size(): number {
    return this.#items.length
  }

  /** False when full; the item was not taken. */
  push(item: T): boolean {
    if (this.#items.length >= this.#max) return false
    this.#items.push(item)
    return true
  }

  shift(): T | undefined {
    return this.#items.shift()
  }

  /** Takes out the items for which `match` holds, in order. */
  remove(match: (item: T) => boolean): T[] {
    const taken = this.#items.filter(match)
    if (taken.length > 0) {
      const kept = this.#items.filter((item) => !match(item))
      this.#items.splice(0, this.#items.length, ...kept)
    }
    return taken
  }
}

/** One at a time, in order of arrival. */
export class Mutex {
  #last: Promise<unknown> = Promise.resolve()

  /** Runs `work` when all that came before has ended, whether well or not. */
  run<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#last.then(work)
    this.#last = mine.catch(() => {})
    return mine
  }
}

/** A mutex for each key; a key that nobody holds takes no memory. */
export class KeyedMutex {
  readonly #locks = new Map<string, { mutex: Mutex; waiting: number }>()

  async run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const lock = this.#locks.get(key) ?? { mutex: new Mutex(), waiting: 0 }
    this.#locks.set(key, lock)
    lock.waiting++
    try {
      return await lock.mutex.run(work)
    } finally {
      if (--lock.waiting === 0) this.#locks.delete(key)
    }
  }
}

/** A map that forgets what was used longest ago. */
export class LruMap<K, V> {
  readonly #entries = new Map<K, V>()
  readonly #max: number

  constructor(max: number) {
    this.#max = max
  }

  get size(): number {
    return this.#entries.size
  }

  get(key: K): V | undefined {
    const value = this.#entries.get(key)
    if (value === undefined) return undefined
    this.#entries.delete(key)
    this.#entries.set(key, value)
    return value
  }

  set(key: K, value: V): void {
    this.#entries.delete(key)
    this.#entries.set(key, value)
    if (this.#entries.size <= this.#max) return
    const oldest = this.#entries.keys().next()
    if (!oldest.done) this.#entries.delete(oldest.value)
  }

  delete(key: K): void {
    this.#entries.delete(key)
  }

  /** Forgets every entry for which `match` holds. */
  prune(match: (key: K, value: V) => boolean): void {
    for (const [key, value] of this.#entries) if (match(key, value)) this.#entries.delete(key)
  }
}

/** Runs `work` for every item, at most `limit` at a time, and waits for all. Failures reject at the end. */
export async function inParallel<T>(
  limit: number,
  items: readonly T[],
  work: (item: T) => Promise<void>,
): Promise<void> {
  const waiting = [...items]
  const failures: unknown[] = []
  const worker = async () => {
    for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) {
      await work(item).catch((error: unknown) => failures.push(error))
    }
  }
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, worker))
  if (failures.length > 0) throw failures[0]
}
