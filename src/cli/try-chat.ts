/**
 * A conversation with one model on a terminal: answers as they come, and after each what it took. What a model
 * writes cannot command the terminal. Tests: test/cli/try.ts.
 */
import { following } from '../base/abort.ts'
import type { Clock } from '../base/clock.ts'
import { SupplierError } from '../base/errors.ts'
import type { InferenceBackend } from '../inference/backend.ts'
import { InferenceError } from '../inference/errors.ts'
import type { ChatMessage, Delta, Generation } from '../inference/request.ts'
import { number } from './models-fit.ts'
import type { Drawn, Watts } from './try-watts.ts'

export interface ChatDeps {
  readonly clock: Clock
  readonly backend: InferenceBackend
  readonly watts: Watts
  /** The answer, as it comes. */
  readonly write: (text: string) => void
  /** What is told beside it. */
  readonly say: (text: string) => void
  /** Thoughts, as they come; undefined: they are not shown. */
  readonly think: ((text: string) => void) | undefined
  /** Has the next Ctrl-C call `stop` and do nothing else; a further one does what it always does. */
  readonly onInterrupt: (stop: () => void) => Disposable
}

/** Seconds and tokens of one answer, or of several together. */
export interface Figures {
  readonly promptTokens: number
  readonly promptSeconds: number
  /** Those after the first one, which the prompt's time brings. */
  readonly answerTokens: number
  readonly answerSeconds: number
}

export interface Answer {
  readonly figures: Figures
  readonly generation: Generation
  readonly drawn?: Drawn
}

class Stopped extends SupplierError<'STOPPED'> {}

export class Chat {
  readonly #deps: ChatDeps
  readonly #signal: AbortSignal
  #messages: ChatMessage[] = []

  constructor(deps: ChatDeps, signal: AbortSignal) {
    this.#deps = deps
    this.#signal = signal
  }

  /**
   * @returns undefined: somebody stopped it, and what came is a part of the conversation
   * @throws InferenceError; `signal.reason`
   */
  async ask(question: string): Promise<Answer | undefined> {
    const { write, say } = this.#deps
    this.#messages.push({ role: 'user', content: question })
    let came = ''
    using stopping = following(this.#signal)
    using _taken = this.#deps.onInterrupt(() => stopping.abort(new Stopped('STOPPED', 'stopped')))
    try {
      const answer = await this.#answer((text) => {
        came += text
      }, stopping.signal)
      this.#messages.push({ role: 'assistant', content: answer.generation.text })
      write('\n')
      return answer
    } catch (error) {
      if (came !== '') write('\n')
      if (!(error instanceof Stopped)) throw error
      this.#messages.push({ role: 'assistant', content: came })
      say('(stopped)')
      return undefined
    }
  }

  /** Forgets the eldest turns where the conversation has become longer than the context. */
  async #answer(heard: (text: string) => void, signal: AbortSignal): Promise<Answer> {
    for (;;) {
      try {
        return await this.#once(heard, signal)
      } catch (error) {
        const isFull = error instanceof InferenceError && error.code === 'CONTEXT_LENGTH'
        if (!isFull || this.#messages.length < 3) throw error
        this.#messages = this.#messages.slice(2)
        this.#deps.say('(the eldest question is forgotten: the context is full)')
      }
    }
  }

  async #once(heard: (text: string) => void, signal: AbortSignal): Promise<Answer> {
    const { clock, backend, watts, write, think } = this.#deps
    let [began, first, ended] = [0, 0, 0]
    const onDelta = ({ text, reasoning }: Delta) => {
      if (first === 0) first = clock.monotonic()
      if (reasoning !== undefined) think?.(plain(reasoning))
      if (text === undefined) return
      heard(text)
      write(plain(text))
    }
    const work = async () => {
      began = clock.monotonic()
      const generation = await backend.generate(
        {
          kind: 'chat',
          messages: this.#messages,
          tools: [],
          toolChoice: 'none',
          parallelToolCalls: true,
          format: { kind: 'text' },
          stop: [],
        },
        { signal, onDelta },
      )
      ended = clock.monotonic()
      return generation
    }
    const { value: generation, drawn } = await watts.during(work, signal)
    const { promptTokens, cachedTokens = 0, completionTokens } = generation.usage
    if (first === 0) first = ended
    const figures = {
      promptTokens: promptTokens - cachedTokens,
      promptSeconds: (first - began) / 1_000,
      answerTokens: Math.max(0, completionTokens - 1),
      answerSeconds: (ended - first) / 1_000,
    }
    return { figures, generation, ...(drawn === undefined ? {} : { drawn }) }
  }
}

/** Tokens a second; undefined where there is too little to tell. */
export function rates({ promptTokens, promptSeconds, answerTokens, answerSeconds }: Figures): {
  decode: number | undefined
  prefill: number | undefined
} {
  const rate = (tokens: number, seconds: number) =>
    tokens > 0 && seconds > 0 ? tokens / seconds : undefined
  return { decode: rate(answerTokens, answerSeconds), prefill: rate(promptTokens, promptSeconds) }
}

export function together(all: readonly Figures[]): Figures {
  const sum = (of: (one: Figures) => number) => all.reduce((total, one) => total + of(one), 0)
  return {
    promptTokens: sum((one) => one.promptTokens),
    promptSeconds: sum((one) => one.promptSeconds),
    answerTokens: sum((one) => one.answerTokens),
    answerSeconds: sum((one) => one.answerSeconds),
  }
}

/** One line: what an answer took. */
export function figuresText({ figures, generation, drawn }: Answer): string {
  const { decode, prefill } = rates(figures)
  const { completionTokens, promptTokens, cachedTokens = 0 } = generation.usage
  const speed = decode === undefined ? '' : ` at ${number(decode)} tokens/s`
  const reading = prefill === undefined ? '' : ` at ${number(prefill)} tokens/s`
  const known = cachedTokens === 0 ? '' : `, ${cachedTokens} of them known`
  const parts = [
    `${completionTokens} tokens of answer${speed}`,
    `${promptTokens} of prompt${known}${reading}`,
    `first after ${figures.promptSeconds.toFixed(2)} s`,
  ]
  if (drawn !== undefined && completionTokens > 0) {
    const { joules, seconds } = drawn
    parts.push(`${number(joules / seconds)} W`, `${number(joules / completionTokens)} J a token`)
  }
  if (generation.finishReason === 'length') parts.push('cut: the context is full')
  return `(${parts.join('; ')})`
}

/** Without what a terminal would obey. */
function plain(text: string): string {
  return text.replace(/(?![\n\t])\p{Cc}/gu, '')
}
