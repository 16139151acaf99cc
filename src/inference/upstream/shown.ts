/**
 * Text of a server as it comes, and what of it may be shown: nothing of a stop string, and the scores of
 * the tokens behind it. Tested by test/inference/upstream/answer.ts.
 */
import { concat } from '../../base/bytes.ts'
import { StopFilter } from '../llamacpp/output.ts'
import type { Delta, TokenScore } from '../request.ts'
import { unkept } from './refusal.ts'

export class ShownText {
  readonly #stops: StopFilter
  readonly #onDelta: (delta: Delta) => void
  readonly #wantsScores: boolean
  /** Characters of an echoed prompt that are still to come; stop strings in it mean nothing. */
  #echoLeft: number
  #text = ''
  #shownBytes = 0
  #scoredBytes = 0
  #waiting: { readonly start: number; readonly score: TokenScore }[] = []
  readonly #scores: TokenScore[] = []

  constructor(options: {
    readonly stop: readonly string[]
    readonly wantsScores: boolean
    readonly echo: string
    readonly onDelta: (delta: Delta) => void
  }) {
    this.#stops = new StopFilter(options.stop)
    this.#wantsScores = options.wantsScores
    this.#echoLeft = options.echo.length
    this.#onDelta = options.onDelta
  }

  get text(): string {
    return this.#text
  }

  get scores(): readonly TokenScore[] {
    return this.#scores
  }

  get isStopped(): boolean {
    return this.#stops.stopped
  }

  push(text: string, scores: readonly TokenScore[]): void {
    for (const score of scores) {
      this.#waiting.push({ start: this.#scoredBytes, score })
      this.#scoredBytes += score.bytes.length
    }
    const echoed = text.slice(0, this.#echoLeft)
    this.#echoLeft -= echoed.length
    this.#show(echoed + this.#stops.push(text.slice(echoed.length)))
  }

  /** @throws InferenceError ENGINE_FAILED: scores that are not those of the text */
  end(): void {
    this.#show(this.#stops.end())
    if (!this.#wantsScores || this.#scores.length === 0) return
    const joined = concat(...this.#scores.map(({ bytes }) => bytes))
    const decoded = new TextDecoder().decode(joined)
    // The last character may be cut off, and some servers write halves of characters as U+FFFD.
    const told = this.#text.replace(/\ufffd+$/, '')
    if (!decoded.startsWith(told) && !decoded.includes('\ufffd'))
      throw unkept('the upstream answered with log-probabilities of another text')
  }

  #show(text: string): void {
    this.#text += text
    this.#shownBytes += Buffer.byteLength(text)
    const ready = this.#waiting.filter(({ start }) => start < this.#shownBytes)
    this.#waiting = this.#waiting.slice(ready.length)
    const scores = ready.map(({ score }) => score)
    this.#scores.push(...scores)
    if (text === '' && scores.length === 0) return
    this.#onDelta({
      ...(text === '' ? {} : { text }),
      ...(scores.length === 0 ? {} : { scores }),
    })
  }
}
