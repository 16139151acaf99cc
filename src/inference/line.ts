/**
 * Those that wait for a slot, by parties: one application cannot keep the others out.
 *
 * A slot goes to the longest waiting of the parties that hold the fewest. A full line makes room for a
 * party that has far fewer places in it than another. Tested by test/inference/slots.ts.
 */
import type { Work } from './pace.ts'

export interface Place {
  readonly party: string
  readonly work: Work
}

export class Line<T extends Place> {
  #places: readonly T[] = []
  readonly #max: number

  constructor(max: number) {
    this.#max = max
  }

  /** In order of arrival. */
  get places(): readonly T[] {
    return this.#places
  }

  get isFull(): boolean {
    return this.#places.length >= this.#max
  }

  /** False when full; the place was not taken. */
  push(place: T): boolean {
    if (this.isFull) return false
    this.#places = [...this.#places, place]
    return true
  }

  /** False if it was not in the line any more. */
  leave(place: T): boolean {
    const before = this.#places.length
    this.#places = this.#places.filter((other) => other !== place)
    return this.#places.length < before
  }

  clear(): readonly T[] {
    const all = this.#places
    this.#places = []
    return all
  }

  /** Takes the next one out. @param heldBy slots that a party has now */
  shift(heldBy: (party: string) => number): T | undefined {
    const least = Math.min(...this.#places.map(({ party }) => heldBy(party)))
    const next = this.#places.find(({ party }) => heldBy(party) === least)
    if (next !== undefined) this.leave(next)
    return next
  }

  /** Takes the last one out of the party that waits most, if it has two more places than `party`. */
  evict(party: string): T | undefined {
    const counts = new Map<string, number>()
    for (const place of this.#places) counts.set(place.party, (counts.get(place.party) ?? 0) + 1)
    const [most] = [...counts].sort(([, a], [, b]) => b - a)
    if (most === undefined || most[1] < (counts.get(party) ?? 0) + 2) return undefined
    const last = this.#places.findLast((place) => place.party === most[0])
    if (last !== undefined) this.leave(last)
    return last
  }
}
