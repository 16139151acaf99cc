/**
 * The text of an answer as it comes, told apart into thoughts and what is meant for the reader.
 *
 * Models write thoughts first, between two markers; the opening one may already be part of the prompt. The blank
 * lines around the markers belong to them. gpt-oss writes channels instead, of which `analysis` are thoughts.
 * The result does not depend on how the text is cut. Tested by test/inference/thoughts.ts.
 */
import { CHANNEL_TOKENS, ChannelStream } from './channels.ts'
import { certain, type ThoughtDelta, type ThoughtStream } from './stream.ts'

export type ThoughtForm = 'none' | 'think' | 'brackets' | 'channels'

const MARKERS = {
  think: ['<think>', '</think>'],
  brackets: ['[THINK]', '[/THINK]'],
} as const

/** Control tokens that the text must show, where the vocabulary has them as such. */
export function thoughtMarkers(form: ThoughtForm): readonly string[] {
  if (form === 'none') return []
  return form === 'channels' ? CHANNEL_TOKENS : MARKERS[form]
}

/** @param template the source of the chat template */
export function thoughtFormOf(template: string | undefined): ThoughtForm {
  if (template === undefined) return 'none'
  if (template.includes('<|channel|>') && template.includes('analysis')) return 'channels'
  if (template.includes('[THINK]')) return 'brackets'
  return /<\/?think>/.test(template) ? 'think' : 'none'
}

/** What stands around a thought, for a grammar. */
export interface ThoughtPassages {
  readonly open: string
  readonly close: string
  /** What may come between a thought and the answer, in GBNF. */
  readonly after: string
  /** Before the answer itself, with or without a thought. */
  readonly header: string
  /** The model may answer without a thought. */
  readonly optional: boolean
}

/** @returns undefined: the model writes no thoughts */
export function thoughtPassages(
  form: ThoughtForm,
  inside: boolean,
  isCall: boolean,
): ThoughtPassages | undefined {
  if (form === 'none') return undefined
  if (form === 'channels') {
    const header = isCall ? '' : '<|channel|>final<|message|>'
    const [open, close] = ['<|channel|>analysis<|message|>', '<|end|><|start|>assistant']
    return { open, close, after: '""', header, optional: true }
  }
  const [open, close] = MARKERS[form]
  const after = '"\\n"{0,2}'
  if (inside) return { open: '', close, after, header: '', optional: false }
  return { open, close, after, header: '', optional: true }
}

/** Whether the answer to this prompt begins inside a thought. */
export function beginsInside(form: ThoughtForm, prompt: string): boolean {
  if (form === 'none' || form === 'channels') return false
  return prompt.trimEnd().endsWith(MARKERS[form][0])
}

/** @param inside the opening marker was part of the prompt */
export function thoughtStream(form: ThoughtForm, inside: boolean): ThoughtStream {
  if (form === 'channels') return new ChannelStream()
  if (form !== 'none') return new MarkerStream(MARKERS[form], inside)
  return { isInside: false, push: (text) => ({ reasoning: '', text }), end: () => NOTHING }
}

const NOTHING: ThoughtDelta = { reasoning: '', text: '' }

/** Lets text through without the blank lines at its beginning and the blanks at its end. */
class Trimmed {
  #blanks = ''
  #begun = false

  push(text: string): string {
    const all = this.#begun ? this.#blanks + text : (this.#blanks + text).replace(/^\s*\n/, '')
    const words = all.trimEnd()
    if (words === '') {
      this.#blanks = all
      return ''
    }
    this.#begun = true
    this.#blanks = all.slice(words.length)
    return words
  }
}

class MarkerStream implements ThoughtStream {
  readonly #open: string
  readonly #close: string
  readonly #thought = new Trimmed()
  #held = ''
  #at: 'start' | 'thought' | 'after' | 'text'

  constructor([open, close]: readonly [string, string], inside: boolean) {
    this.#open = open
    this.#close = close
    this.#at = inside ? 'thought' : 'start'
  }

  get isInside(): boolean {
    return this.#at === 'thought'
  }

  push(text: string): ThoughtDelta {
    this.#held += text
    return this.#advance(false)
  }

  end(): ThoughtDelta {
    return this.#advance(true)
  }

  #advance(ended: boolean): ThoughtDelta {
    if (this.#at === 'start') this.#start(ended)
    const reasoning = this.#at === 'thought' ? this.#think(ended) : ''
    if (this.#at === 'after') this.#skipBlankLines(ended)
    return { reasoning, text: this.#at === 'text' ? this.#take(this.#held.length) : '' }
  }

  #take(length: number): string {
    const taken = this.#held.slice(0, length)
    this.#held = this.#held.slice(length)
    return taken
  }

  /** Only the first words can be a marker: later ones are quoted by a text. */
  #start(ended: boolean): void {
    const words = this.#held.trimStart()
    if (words.startsWith(this.#open)) {
      this.#held = words.slice(this.#open.length)
      this.#at = 'thought'
    } else if (ended || !this.#open.startsWith(words)) this.#at = 'text'
  }

  #think(ended: boolean): string {
    const close = this.#held.indexOf(this.#close)
    if (close !== -1) {
      const thought = this.#thought.push(this.#take(close))
      this.#take(this.#close.length)
      this.#at = 'after'
      return thought
    }
    const length = ended ? this.#held.length : certain(this.#held, [this.#close])
    return this.#thought.push(this.#take(length))
  }

  /** After a thought: blank lines, not the spaces of a first line. */
  #skipBlankLines(ended: boolean): void {
    this.#held = this.#held.replace(/^\s*\n/, '')
    if (ended || /\S/.test(this.#held)) this.#at = 'text'
  }
}
