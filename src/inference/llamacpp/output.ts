/**
 * Tokens to text that may be shown: whole characters only, and never a part of a stop string.
 *
 * A token can end inside a UTF-8 character, and a stop string can be spread over several tokens. Both
 * are held back until it is clear what they are. Tested by test/inference/llamacpp/output.ts.
 */
import type { Token } from 'node-llama-cpp'

/**
 * Text of `tokens`; bytes that are no whole character become U+FFFD.
 * @param isFirst no token was before these
 */
export type Detokenize = (tokens: readonly Token[], isFirst: boolean) => string

/** So many tokens in a row without one end of a character are not text: shown as they are. */
const PENDING_MAX = 16
const REPLACEMENT = '\ufffd'

/** Text that became certain, and whatever was handed in with the tokens that it comes from. */
export interface Shown<T> {
  readonly text: string
  readonly notes: readonly T[]
}

/** @typeParam T what is handed in with a token and comes out with its text: its score */
export class TextStream<T = never> {
  readonly #detokenize: Detokenize
  readonly #stops: StopFilter
  #pending: Token[] = []
  #isFirst = true
  /** Characters decoded, and shown, since the start. */
  #decoded = 0
  #shown = 0
  /** Not yet shown, with where the text of their tokens begins. */
  #notes: { readonly start: number; readonly note: T }[] = []

  constructor(deps: { detokenize: Detokenize }, stop: readonly string[]) {
    this.#detokenize = deps.detokenize
    this.#stops = new StopFilter(stop)
  }

  /** True once a stop string was seen: nothing after it counts. */
  get stopped(): boolean {
    return this.#stops.stopped
  }

  /** What became certain with `token`; often all of its text, sometimes none. */
  push(token: Token, note?: T): Shown<T> {
    this.#pending.push(token)
    if (note !== undefined) this.#notes.push({ start: this.#decoded, note })
    const text = this.#detokenize(this.#pending, this.#isFirst)
    if (text.endsWith(REPLACEMENT) && this.#pending.length < PENDING_MAX)
      return { text: '', notes: [] }
    this.#isFirst = false
    this.#pending = []
    this.#decoded += text.length
    return this.#show(this.#stops.push(text))
  }

  /** What was held back, when no more tokens come; a character that was cut off is left out. */
  end(): Shown<T> {
    const text = this.#detokenize(this.#pending, this.#isFirst).replace(/\ufffd+$/, '')
    this.#pending = []
    this.#decoded += text.length
    return this.#show(this.#stops.push(text) + this.#stops.end())
  }

  #show(text: string): Shown<T> {
    this.#shown += text.length
    const certain = this.#notes.filter(({ start }) => start < this.#shown)
    this.#notes = this.#notes.filter(({ start }) => start >= this.#shown)
    return { text, notes: certain.map(({ note }) => note) }
  }
}

/** Lets text through up to the stop string that is complete first. */
export class StopFilter {
  readonly #stop: readonly string[]
  #held = ''
  #stopped = false

  constructor(stop: readonly string[]) {
    this.#stop = stop.filter((text) => text !== '')
  }

  get stopped(): boolean {
    return this.#stopped
  }

  push(text: string): string {
    if (this.#stopped) return ''
    const seen = this.#held + text
    const start = this.#firstStop(seen)
    if (start !== undefined) {
      this.#stopped = true
      this.#held = ''
      return seen.slice(0, start)
    }
    const kept = this.#possibleStart(seen)
    this.#held = seen.slice(kept)
    return seen.slice(0, kept)
  }

  end(): string {
    const rest = this.#held
    this.#held = ''
    return rest
  }

  /** Where the stop string begins that ends first, so that the cut does not depend on how text arrives. */
  #firstStop(text: string): number | undefined {
    let best: { start: number; end: number } | undefined
    for (const stop of this.#stop) {
      const start = text.indexOf(stop)
      if (start === -1) continue
      const end = start + stop.length
      if (best === undefined || end < best.end || (end === best.end && start < best.start))
        best = { start, end }
    }
    return best?.start
  }

  /** The first position from which the rest of `text` could still become a stop string. */
  #possibleStart(text: string): number {
    const longest = Math.max(0, ...this.#stop.map((stop) => stop.length - 1))
    for (let at = Math.max(0, text.length - longest); at < text.length; at++) {
      const rest = text.slice(at)
      if (this.#stop.some((stop) => stop.startsWith(rest))) return at
    }
    return text.length
  }
}
