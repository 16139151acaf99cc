/**
 * Tokens of an answer become what is shown of it: text, thoughts, whole calls, and the scores of the text.
 *
 * In this order: bytes to characters and stop strings (output.ts), thoughts apart from the rest, calls apart
 * from text. Scores belong to text only, so those of tokens inside a thought or a call are left out.
 * Tested by test/inference/llamacpp/answer.ts.
 */
import type { Token } from 'node-llama-cpp'
import type { Delta, TokenScore } from '../request.ts'
import type { ToolDelta } from '../tools/calls.ts'
import type { ThoughtStream } from '../tools/stream.ts'
import type { Shown, TextStream } from './output.ts'

/** What of `ToolStream` is used; absent: calls are text. */
export interface CallStream {
  push(text: string): ToolDelta
  end(): ToolDelta
  readonly count: number
  readonly done: boolean
}

export interface AnswerDeps {
  readonly output: TextStream<TokenScore>
  readonly thoughts: ThoughtStream
  readonly calls: CallStream | undefined
  /** False: the answer goes on from a text before it. */
  readonly beginsText: boolean
  /** Called for every piece; the scores of a text come with it or after it. */
  readonly onDelta: (delta: Delta) => void
}

export class AnswerStream {
  readonly #deps: AnswerDeps
  #thoughtTokens = 0
  #isEmpty = true
  /** Of the token by which the model ended. */
  #ending: TokenScore | undefined
  /** Scores since a thought ended, while blank lines are all that came; with how long these are. */
  #early: { length: number; scores: readonly TokenScore[] } | undefined

  constructor(deps: AnswerDeps) {
    this.#deps = deps
  }

  /** Tokens of thoughts so far. */
  get thoughtTokens(): number {
    return this.#thoughtTokens
  }

  get isThinking(): boolean {
    return this.#deps.thoughts.isInside
  }

  /** The next token is the first one of a text. */
  get isAtStart(): boolean {
    return this.#isEmpty && this.#deps.beginsText
  }

  get calls(): number {
    return this.#deps.calls?.count ?? 0
  }

  /** Nothing after this would be shown. */
  get isOver(): boolean {
    return this.#deps.output.stopped || this.#deps.calls?.done === true
  }

  push(token: Token, score?: TokenScore): void {
    this.#isEmpty = false
    if (this.isThinking) this.#thoughtTokens++
    this.#show(this.#deps.output.push(token, score))
  }

  /** The model ends with a token that is scored and not shown. */
  endedBy(score: TokenScore): void {
    this.#ending = { ...score, text: '', bytes: new Uint8Array(0) }
  }

  /** Shows what was held back. */
  end(): void {
    const { output, thoughts, calls } = this.#deps
    this.#show(output.end())
    const { reasoning, text } = thoughts.end()
    this.#emit(reasoning, this.#called(text), [])
    const rest = calls?.end()
    if (rest !== undefined) this.#emit('', rest, [])
    if (this.#ending !== undefined && !output.stopped) this.#emit('', NOTHING, [this.#ending])
  }

  #show({ text: raw, notes }: Shown<TokenScore>): void {
    if (raw === '' && notes.length === 0) return
    const wasThinking = this.isThinking
    const { reasoning, text } = this.#deps.thoughts.push(raw)
    const called = this.#called(text)
    let scores = notes
    if (wasThinking || this.isThinking || called.calls.length > 0) {
      scores = []
      this.#early = { length: 0, scores }
    } else if (this.#early !== undefined) {
      const length = this.#early.length + raw.length
      scores = [...this.#early.scores, ...notes]
      this.#early = text === '' ? { length, scores } : undefined
      // Blank lines between a thought and the text are not shown, so neither are their bytes.
      scores = text === '' ? [] : withoutFirst(scores, length - text.length)
    }
    this.#emit(reasoning, called, scores)
  }

  #called(text: string): ToolDelta {
    return this.#deps.calls?.push(text) ?? { text, calls: [] }
  }

  #emit(reasoning: string, { text, calls }: ToolDelta, scores: readonly TokenScore[]): void {
    const { onDelta } = this.#deps
    if (reasoning !== '') onDelta({ reasoning })
    if (text !== '' || scores.length > 0)
      onDelta({ ...(text === '' ? {} : { text }), ...(scores.length === 0 ? {} : { scores }) })
    for (const toolCall of calls) onDelta({ toolCall })
  }
}

const NOTHING: ToolDelta = { text: '', calls: [] }

/** @param count bytes that are not part of the text */
function withoutFirst(scores: readonly TokenScore[], count: number): TokenScore[] {
  let left = Math.max(0, count)
  return scores.flatMap((score) => {
    const cut = Math.min(left, score.bytes.length)
    left -= cut
    if (cut === 0) return [score]
    const bytes = score.bytes.subarray(cut)
    if (bytes.length === 0) return []
    return [{ ...score, bytes, text: Buffer.from(bytes).toString('utf8') }]
  })
}
