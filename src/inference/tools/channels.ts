/**
 * The channels of gpt-oss: an answer is a row of messages, each with a header and a body.
 *
 * `<|channel|>analysis<|message|>…<|end|><|start|>assistant<|channel|>final<|message|>…`: `analysis` are thoughts,
 * a header with `to=functions.name` begins a call, everything else is text. The prompt ends inside the
 * first header. A call is given as text in one spelling, which readers.ts reads. Source: OpenAI's harmony format.
 * Tested by test/inference/thoughts.ts.
 */
import { HARMONY_OPEN } from './readers.ts'
import { certain, firstOf, type ThoughtDelta, type ThoughtStream } from './stream.ts'

const MESSAGE = '<|message|>'
const ENDS = ['<|end|>', '<|call|>', '<|return|>', '<|start|>'] as const
const HEADER_MAX = 300

/** Control tokens that the text must show. */
export const CHANNEL_TOKENS = [...ENDS, MESSAGE, '<|channel|>', '<|constrain|>'] as const

type Kind = 'reasoning' | 'text' | 'call'

export class ChannelStream implements ThoughtStream {
  #held = ''
  /** Of the message whose body comes; undefined: its header comes. */
  #kind: Kind | undefined
  #messages = 0
  /** Kinds of which something was given. */
  readonly #given = new Set<Kind>()
  #first = true

  get isInside(): boolean {
    return this.#kind === 'reasoning'
  }

  push(text: string): ThoughtDelta {
    this.#held += text
    return this.#advance(false)
  }

  end(): ThoughtDelta {
    return this.#advance(true)
  }

  #advance(ended: boolean): ThoughtDelta {
    const out = { reasoning: '', text: '' }
    while (this.#held !== '') {
      if (this.#kind === undefined) {
        const header = this.#header(ended)
        if (header === undefined) break
        out.text += header
      } else {
        const kind = this.#kind
        const body = this.#body(ended)
        out[kind === 'reasoning' ? 'reasoning' : 'text'] += this.#parted(kind, body)
        if (this.#kind !== undefined) break
      }
    }
    return out
  }

  /** What a header gives as text; undefined: it is not whole yet. */
  #header(ended: boolean): string | undefined {
    const end = this.#held.indexOf(MESSAGE)
    const isOne = end === -1 ? this.#held.length <= HEADER_MAX && !ended : end <= HEADER_MAX
    if (!mayBeHeader(this.#held) || !isOne) {
      // An answer without channels, or one that broke off between two messages.
      if (ended && (this.#messages > 0 || /^\s*<\|/.test(this.#held))) this.#held = ''
      this.#begin('text')
      return ''
    }
    if (end === -1) return undefined
    const header = this.#held.slice(0, end)
    this.#held = this.#held.slice(end + MESSAGE.length)
    const name = /to=functions\.([^\s<]+)/.exec(header)?.[1]
    if (name === undefined) {
      this.#begin(header.includes('analysis') ? 'reasoning' : 'text')
      return ''
    }
    this.#begin('call')
    return `${HARMONY_OPEN}${name}${MESSAGE}`
  }

  #begin(kind: Kind): void {
    this.#kind = kind
    this.#messages += 1
    this.#first = true
  }

  #body(ended: boolean): string {
    const end = firstOf(this.#held, ENDS)
    const length = end?.at ?? (ended ? this.#held.length : certain(this.#held, ENDS))
    const body = this.#held.slice(0, length)
    this.#held = this.#held.slice(length + (end?.mark.length ?? 0))
    if (end === undefined) return body
    const closing = this.#kind === 'call' ? '<|call|>' : ''
    this.#kind = undefined
    return body + closing
  }

  /** Messages of one kind are parted by a line. */
  #parted(kind: Kind, body: string): string {
    if (body === '' || kind === 'call') return body
    const parting = this.#first && this.#given.has(kind) ? '\n' : ''
    this.#first = false
    this.#given.add(kind)
    return parting + body
  }
}

function mayBeHeader(text: string): boolean {
  const words = text.trimStart()
  return ['<|', 'assistant', 'to='].some(
    (start) => words.startsWith(start) || start.startsWith(words),
  )
}
