/**
 * One file from one address into a part: ranges side by side, or one stream where the source knows no
 * ranges; again after failures, from the beginning when the file has changed.
 *
 * Tested by test/models/pull.ts, test/models/pull-hostile.ts and test/models/pull-cuts.ts.
 */
import { following } from '../base/abort.ts'
import { OVER } from '../base/retry.ts'
import { passing } from './errors.ts'
import { drop, type Reply, shownUrl } from './http.ts'
import { ask, Changed, type Origin, receive, type Sink } from './pull-fetch.ts'
import type { PullDeps, PullOptions } from './pull-options.ts'
import type { Pace } from './pull-pace.ts'
import type { Part } from './pull-part.ts'
import type { Range } from './pull-ranges.ts'
import { persist } from './pull-retry.ts'

const STEP_MAX = 512 * 1024
const STEP_MIN = 4 * 1024

export interface Fetching {
  readonly part: Part
  readonly origin: Origin
  readonly pace: Pace
  /** The digest will tell whether it is the right file, whatever the source calls it. */
  readonly isPinned: boolean
  readonly onBytes: (length: number) => void
}

export class FileFetch {
  readonly #deps: PullDeps
  readonly #options: PullOptions
  readonly #fetching: Fetching
  readonly #sink: Sink
  /** Tags of one file that differ from server to server say nothing. */
  #ignoresTags = false

  constructor(deps: PullDeps, options: PullOptions, fetching: Fetching) {
    this.#deps = deps
    this.#options = options
    this.#fetching = fetching
    const { part, pace, onBytes } = fetching
    // What a sudden end loses is what is held, by all ranges together: half a chunk.
    const step = Math.floor(options.chunkBytes / (2 * options.parallel))
    this.#sink = {
      http: deps.http,
      part,
      pace,
      step: Math.max(STEP_MIN, Math.min(STEP_MAX, step)),
      onBytes,
    }
  }

  /** Ends when every byte is there. @throws ModelError of a source or the disk; `signal.reason` */
  async run(signal: AbortSignal): Promise<void> {
    const { part, origin, isPinned } = this.#fetching
    for (let restarts = 0; !part.isWhole; ) {
      const changed = await this.#round(signal)
      if (changed === undefined) continue
      restarts++
      if (restarts > this.#options.restartsMax)
        throw passing('DOWNLOAD_BROKEN', `${shownUrl(origin.url)} changes again and again`)
      this.#options.onNotice?.(
        `${shownUrl(origin.url)} has changed while it was fetched: starting over`,
      )
      this.#ignoresTags = isPinned
      await part.restart(changed.etag === undefined ? {} : this.#header(changed.etag))
    }
    await part.hashOn(signal)
  }

  get #etag(): string | undefined {
    const { part, origin } = this.#fetching
    return this.#ignoresTags || part.url !== origin.url ? undefined : part.etag
  }

  #header(etag: string): { etag: string; url: string } {
    return { etag, url: this.#fetching.origin.url }
  }

  async #round(signal: AbortSignal): Promise<Changed | undefined> {
    const { part } = this.#fetching
    const [first, ...rest] = part.missing(this.#options.chunkBytes)
    if (first === undefined) return undefined
    const answer = await this.#persist(signal, { work: () => this.#ask(first, signal) })
    if (answer instanceof Changed) return answer
    try {
      if (answer.etag !== undefined && answer.etag !== this.#etag && !this.#ignoresTags)
        await part.note(this.#header(answer.etag))
    } catch (error) {
      drop(answer.reply)
      throw error
    }
    return answer.kind === 'whole'
      ? await this.#stream(answer.reply, signal)
      : await this.#ranges(first, answer.reply, rest, signal)
  }

  #ask(range: Range, signal: AbortSignal) {
    return ask(this.#deps.http, this.#fetching.origin, range, this.#etag, signal)
  }

  #persist<T>(
    signal: AbortSignal,
    work: { work: () => Promise<T>; progress?: () => number },
  ): Promise<T> {
    return persist(this.#deps, this.#options.retry, signal, work)
  }

  /** From the first byte on, again and again; from where it was, should the source learn ranges. */
  async #stream(opened: Reply, signal: AbortSignal): Promise<Changed | undefined> {
    const { part, origin } = this.#fetching
    const { bytes } = origin
    let reply: Reply | undefined = opened
    let furthest = 0
    return await this.#persist(signal, {
      progress: () => furthest,
      work: async () => {
        let range: Range = { start: 0, end: bytes }
        if (reply === undefined) {
          const [gap] = part.missing(bytes)
          if (gap === undefined) return undefined
          const answer = await this.#ask(gap, signal)
          if (answer instanceof Changed) return answer
          reply = answer.reply
          if (answer.kind === 'range') range = gap
        }
        const body = reply
        reply = undefined
        const onWritten = (next: number) => {
          furthest = Math.max(furthest, next)
        }
        await receive(this.#sink, body, range, onWritten, signal)
        return undefined
      },
    })
  }

  async #ranges(
    first: Range,
    opened: Reply,
    rest: readonly Range[],
    signal: AbortSignal,
  ): Promise<Changed | undefined> {
    using both = following(signal)
    const waiting = [...rest]
    const failures: unknown[] = []
    const changes: Changed[] = []
    const worker = async (range: Range | undefined, reply: Reply | undefined) => {
      for (let next = range; next !== undefined; next = waiting.shift()) {
        const changed = await this.#chunk(next, next === range ? reply : undefined, both.signal)
        if (changed === undefined) continue
        changes.push(changed)
        both.abort(OVER)
        return
      }
    }
    const starts: [Range | undefined, Reply | undefined][] = [[first, opened]]
    while (starts.length < this.#options.parallel && waiting.length > 0)
      starts.push([waiting.shift(), undefined])
    await Promise.all(
      starts.map(([range, reply]) =>
        worker(range, reply).catch((error: unknown) => {
          if (both.signal.aborted) return
          // The others end what they are at: what is on its way would be asked for again.
          waiting.length = 0
          failures.push(error)
        }),
      ),
    )
    signal.throwIfAborted()
    if (failures.length > 0) throw failures[0]
    return changes[0]
  }

  async #chunk(
    { start, end }: Range,
    opened: Reply | undefined,
    signal: AbortSignal,
  ): Promise<Changed | undefined> {
    const { part, origin } = this.#fetching
    let reply = opened
    let at = start
    const changed = await this.#persist(signal, {
      progress: () => at,
      work: async () => {
        if (at === end) return undefined
        if (reply === undefined) {
          const answer = await this.#ask({ start: at, end }, signal)
          if (answer instanceof Changed) return answer
          reply = answer.reply
          if (answer.kind === 'whole') {
            drop(answer.reply)
            reply = undefined
            throw passing('SOURCE_UNREACHABLE', `${shownUrl(origin.url)} knows no ranges any more`)
          }
        }
        const body = reply
        reply = undefined
        const onWritten = (next: number) => {
          at = next
        }
        await receive(this.#sink, body, { start: at, end }, onWritten, signal)
        return undefined
      },
    })
    if (changed === undefined) await part.hashOn(signal)
    return changed
  }
}
