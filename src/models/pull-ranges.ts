/** Which bytes of a file are there: ranges that never touch, in order. Pure. Tested by test/models/pull-ranges.ts. */

/** From `start` up to but without `end`. */
export interface Range {
  readonly start: number
  readonly end: number
}

export class Ranges {
  #all: Range[] = []

  get all(): readonly Range[] {
    return this.#all
  }

  /** Bytes. */
  get size(): number {
    return this.#all.reduce((sum, { start, end }) => sum + end - start, 0)
  }

  /** Where the bytes from the first one on end. */
  get prefix(): number {
    const [first] = this.#all
    return first?.start === 0 ? first.end : 0
  }

  /** May overlap with what is there. */
  add({ start, end }: Range): void {
    if (end <= start) return
    const before = this.#all.filter((range) => range.end < start)
    const after = this.#all.filter((range) => range.start > end)
    const met = this.#all.slice(before.length, this.#all.length - after.length)
    const whole = {
      start: Math.min(start, met[0]?.start ?? start),
      end: Math.max(end, met.at(-1)?.end ?? end),
    }
    this.#all = [...before, whole, ...after]
  }

  /** What is missing of the first `total` bytes, in pieces that end at multiples of `chunk`. */
  missing(total: number, chunk: number): Range[] {
    const gaps: Range[] = []
    let at = 0
    for (const { start, end } of [...this.#all, { start: total, end: total }]) {
      while (at < Math.min(start, total)) {
        const until = Math.min((Math.floor(at / chunk) + 1) * chunk, start, total)
        gaps.push({ start: at, end: until })
        at = until
      }
      at = Math.max(at, end)
    }
    return gaps
  }

  clear(): void {
    this.#all = []
  }
}
