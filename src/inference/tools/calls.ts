/**
 * The text of an answer as it comes, told apart into text and calls.
 *
 * What could begin a call is held back; what turns out to be none is given as text. A call is given only when it
 * is whole, names one of the tools and its arguments are a JSON object. The result does not depend on how the
 * text is cut. Blanks just before a call belong to it. Tested by test/inference/tools.ts.
 */
import type { Tool, ToolCall } from '../request.ts'
import type { ToolFormat } from './format.ts'
import { Depth } from './json.ts'
import type { RawCall } from './readers.ts'
import { certain, firstOf } from './stream.ts'

export interface ToolStreamOptions {
  readonly format: ToolFormat
  /** Calls of others are text. */
  readonly tools: readonly Tool[]
  /** False: the first call is the only one, and nothing after it counts. */
  readonly parallel: boolean
}

export interface ToolStreamDeps {
  /** At least 0 and below 1; for the ids of calls. */
  random(): number
}

export interface ToolDelta {
  readonly text: string
  readonly calls: readonly ToolCall[]
}

const ID_LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'
const ID_LENGTH = 24
/** No call ends without one of these: while one is read, other text is not worth another look. */
const WORTH = /[}\]>]/
/** Up to here every delta is worth it: what is no call is to be shown soon. */
const SHORT = 64
/** A call that is longer is taken as text. */
const CALL_CHARS_MAX = 256 * 1024

export class ToolStream {
  readonly #deps: ToolStreamDeps
  readonly #options: ToolStreamOptions
  readonly #names: ReadonlySet<string>
  #held = ''
  /** Blanks at the end of the text so far. */
  #blanks = ''
  #reading = false
  /** Of what is held, while a call is read. */
  #depth = new Depth()
  #calls = 0
  #hasText = false

  constructor(deps: ToolStreamDeps, options: ToolStreamOptions) {
    this.#deps = deps
    this.#options = options
    this.#names = new Set(options.tools.map(({ name }) => name))
  }

  /** Calls so far. */
  get count(): number {
    return this.#calls
  }

  /** Nothing after this counts: the model can be stopped. */
  get done(): boolean {
    return !this.#options.parallel && this.#calls > 0
  }

  push(text: string): ToolDelta {
    if (this.done) return { text: '', calls: [] }
    this.#held += text
    this.#depth.push(text)
    const idle = this.#reading && this.#held.length > SHORT && (this.#isOpen || !WORTH.test(text))
    return idle ? { text: '', calls: [] } : this.#advance(false)
  }

  /** Inside an object or list, which no call ends with; where arguments are no JSON, this says nothing. */
  get #isOpen(): boolean {
    return this.#depth.inside && this.#options.format.name !== 'elements'
  }

  /** What was held back, when no more text comes. */
  end(): ToolDelta {
    const last = this.#advance(true)
    const blanks = this.#calls > 0 ? '' : this.#blanks
    this.#blanks = ''
    return { text: last.text + blanks, calls: last.calls }
  }

  #advance(ended: boolean): ToolDelta {
    const { format, tools } = this.#options
    const calls: ToolCall[] = []
    let text = ''
    while (this.#held !== '' && !this.done) {
      if (!this.#reading) {
        text += this.#plain(ended)
        if (!this.#reading) break
      }
      let reading = format.read(this.#held, ended, tools)
      if (reading === 'more' && (ended || this.#held.length > CALL_CHARS_MAX))
        reading = { length: this.#held.length, calls: [], text: true }
      if (reading === 'more') break
      const { length } = reading
      const raw = this.#held.slice(0, length)
      this.#held = this.#held.slice(length)
      this.#reading = false
      const known = reading.calls.every(({ name }) => this.#names.has(name))
      if (reading.text || !known) text += this.#shown(raw)
      else calls.push(...this.#made(reading.calls))
    }
    if (this.done) {
      this.#held = ''
      this.#reading = false
    }
    return { text, calls }
  }

  /** The text before the next opening, which is then the beginning of what is held. */
  #plain(ended: boolean): string {
    const { openings, bare } = this.#options.format
    if (bare && !this.#hasText) {
      // Calls one after the other are parted by these.
      if (this.#calls > 0) this.#held = this.#held.replace(/^[\s;]+/, '')
      const at = this.#held.search(/\S/)
      if (this.#held[at] === '{') {
        this.#blanks += this.#held.slice(0, at)
        this.#begin(this.#held.slice(at), '')
        return ''
      }
    }
    const start = firstOf(this.#held, openings)
    if (start !== undefined) {
      const text = this.#shown(this.#held.slice(0, start.at))
      this.#begin(this.#held.slice(start.at), start.mark)
      return text
    }
    const end = ended ? this.#held.length : certain(this.#held, openings)
    const text = this.#shown(this.#held.slice(0, end))
    this.#held = this.#held.slice(end)
    return text
  }

  #begin(held: string, opening: string): void {
    this.#held = held
    this.#reading = true
    this.#depth = new Depth()
    this.#depth.push(held.slice(opening.length))
  }

  #shown(text: string): string {
    const words = text.trimEnd()
    if (words === '') {
      this.#blanks += text
      return ''
    }
    const shown = this.#blanks + words
    this.#blanks = text.slice(words.length)
    this.#hasText = true
    return shown
  }

  #made(raw: readonly RawCall[]): ToolCall[] {
    if (raw.length === 0) return []
    this.#blanks = ''
    const wanted = this.#options.parallel ? raw : raw.slice(0, 1)
    this.#calls += wanted.length
    return wanted.map((call) => ({ id: this.#id(), ...call }))
  }

  #id(): string {
    const letters = Array.from(
      { length: ID_LENGTH },
      () => ID_LETTERS[Math.floor(this.#deps.random() * ID_LETTERS.length)] ?? 'A',
    )
    return `call_${letters.join('')}`
  }
}
