/**
 * Tables with a past: every value of every height, and overlays to try things on.
 *
 * The chain reads and writes `Table`s. A table lies over another one or over the history of what was
 * committed; its writes are seen by nobody else until they are applied. So a transaction that fails
 * leaves nothing behind, and a query may ask for any height that is still kept. Values are never
 * changed in place: whoever changes one puts a new one. Tested by test/devnet/store.ts.
 */

export interface Source<V> {
  get(key: string): V | undefined
  /** Every key that may have a value; may name keys that have none. */
  keys(): Iterable<string>
}

/** `undefined` stands for a deleted value. */
export type Changes<V> = ReadonlyMap<string, V | undefined>

const UNCHANGED: Changes<never> = new Map()

export class Table<V> implements Source<V> {
  readonly #below: Source<V>
  #writes: Map<string, V | undefined> | undefined

  constructor(below: Source<V>) {
    this.#below = below
  }

  get(key: string): V | undefined {
    if (this.#writes?.has(key)) return this.#writes.get(key)
    return this.#below.get(key)
  }

  set(key: string, value: V): void {
    this.#put(key, value)
  }

  delete(key: string): void {
    this.#put(key, undefined)
  }

  #put(key: string, value: V | undefined): void {
    this.#writes ??= new Map()
    this.#writes.set(key, value)
  }

  *keys(): Iterable<string> {
    yield* this.#below.keys()
    if (this.#writes !== undefined) yield* this.#writes.keys()
  }

  /** In ascending order of their keys, compared by UTF-16 units (every key here is ASCII). */
  entries(): [key: string, value: V][] {
    const found: [string, V][] = []
    for (const key of [...new Set(this.keys())].sort()) {
      const value = this.get(key)
      if (value !== undefined) found.push([key, value])
    }
    return found
  }

  values(): V[] {
    return this.entries().map(([, value]) => value)
  }

  /** What was written here and not below. */
  changes(): Changes<V> {
    return this.#writes ?? UNCHANGED
  }

  apply(changes: Changes<V>): void {
    for (const [key, value] of changes) this.#put(key, value)
  }
}

interface Version<V> {
  readonly height: number
  readonly value: V | undefined
}

/** What was committed of one table, height by height. */
export class History<V> {
  readonly #versions = new Map<string, Version<V>[]>()

  /** Heights must not go down. */
  write(height: number, changes: Changes<V>): void {
    for (const [key, value] of changes) {
      const versions = this.#versions.get(key)
      if (versions === undefined) this.#versions.set(key, [{ height, value }])
      else if (versions.at(-1)?.height === height) versions[versions.length - 1] = { height, value }
      else versions.push({ height, value })
    }
  }

  /** The table as the block of `height` left it. */
  at(height: number): Source<V> {
    return {
      get: (key) => this.#find(key, height),
      keys: () => this.#versions.keys(),
    }
  }

  #find(key: string, height: number): V | undefined {
    const versions = this.#versions.get(key)
    for (let at = (versions?.length ?? 0) - 1; at >= 0; at--) {
      const version = versions?.[at]
      if (version !== undefined && version.height <= height) return version.value
    }
    return undefined
  }

  /** Forgets what only heights below `height` need. */
  prune(height: number): void {
    for (const [key, versions] of this.#versions) {
      let kept = versions.length - 1
      while (kept > 0 && (versions[kept]?.height ?? 0) > height) kept--
      if (kept > 0) versions.splice(0, kept)
      const last = versions.at(-1)
      if (versions.length === 1 && last?.value === undefined && (last?.height ?? 0) <= height)
        this.#versions.delete(key)
    }
  }
}
