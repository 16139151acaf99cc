/**
 * How tokens are shown: as text, and as log-probabilities whose bytes join to that text.
 *
 * Both are made from the vocabulary's bytes, not from the engine's own text: that drops spaces at the beginning
 * of every piece, and for some models before punctuation. A vocabulary that puts a space before every text
 * has it dropped again at the beginning. Tested by test/inference/llamacpp/display.ts.
 */
import type { Token } from 'node-llama-cpp'
import { concat } from '../../base/bytes.ts'
import type { Delta, TokenScore } from '../request.ts'
import { type Detokenize, TextStream } from './output.ts'
import type { Score } from './scores.ts'
import type { Vocabulary } from './vocabulary.ts'

export interface DisplayDeps {
  readonly vocabulary: Vocabulary
  /** What the model puts before every text, if anything. */
  readonly bos: Token | null
  /** The space before the first word of a text is the vocabulary's and not the text's. */
  readonly addsSpace: boolean
}

export class Display {
  readonly #deps: DisplayDeps

  constructor(deps: DisplayDeps) {
    this.#deps = deps
  }

  /** Control tokens by their names. */
  textOf(tokens: readonly Token[]): string {
    const { vocabulary } = this.#deps
    return this.#text(
      tokens.map((token) => vocabulary.shownBytes(token)),
      true,
    )
  }

  /** What a prompt says, without the token that the model puts before every text. */
  plainText(tokens: readonly Token[]): string {
    return this.textOf(tokens[0] === this.#deps.bos ? tokens.slice(1) : tokens)
  }

  /** Whether a text that goes on from these begins, to a reader, with its own first token. */
  isSilent(tokens: readonly Token[]): boolean {
    return tokens.every((token) => this.#deps.vocabulary.bytesOf(token).length === 0)
  }

  /** Of an answer. @param beginsText nothing is before it to a reader */
  answerText(stop: readonly string[], beginsText: boolean): TextStream<TokenScore> {
    const { vocabulary } = this.#deps
    const detokenize: Detokenize = (tokens, isFirst) =>
      this.#text(
        tokens.map((token) => vocabulary.bytesOf(token)),
        isFirst && beginsText,
      )
    return new TextStream<TokenScore>({ detokenize }, stop)
  }

  /** Of an echoed prompt. @param isGiven every token is the caller's: there is a score for each */
  echo(onDelta: (delta: Delta) => void, isGiven: boolean): EchoStream {
    const { vocabulary, bos } = this.#deps
    const detokenize: Detokenize = (tokens, isFirst) =>
      this.#text(
        tokens.map((token) => vocabulary.shownBytes(token)),
        isFirst,
      )
    return new EchoStream({ display: this, detokenize, bos, isGiven, onDelta })
  }

  /**
   * @param isFirst nothing is before it in the text
   * @param isEcho control tokens are part of the text; in an answer they are not
   */
  scoreOf({ token, logprob, top }: Score, isFirst: boolean, isEcho = false): TokenScore {
    const { vocabulary } = this.#deps
    const bytes = isEcho ? vocabulary.shownBytes(token) : vocabulary.bytesOf(token)
    return {
      ...this.#named(bytes, isFirst),
      logprob,
      top: top.map((other) => ({
        ...this.#named(vocabulary.shownBytes(other.token), isFirst),
        logprob: other.logprob,
      })),
    }
  }

  #named(all: Uint8Array, isFirst: boolean): { text: string; bytes: Uint8Array } {
    const bytes = this.#trimmed(all, isFirst)
    return { text: Buffer.from(bytes).toString('utf8'), bytes }
  }

  #text(parts: readonly Uint8Array[], isFirst: boolean): string {
    return Buffer.from(this.#trimmed(concat(...parts), isFirst)).toString('utf8')
  }

  #trimmed(bytes: Uint8Array, isFirst: boolean): Uint8Array {
    return isFirst && this.#deps.addsSpace && bytes[0] === SPACE ? bytes.subarray(1) : bytes
  }
}

const SPACE = 0x20

/**
 * An echoed prompt, piece by piece, as it is scored. The token that the model puts before every text is
 * not shown, and the first one that is has no score: nothing of the caller's is before it. Where the caller
 * wrote that token himself, scorers count on an entry for it.
 */
export class EchoStream {
  readonly #deps: {
    readonly display: Display
    readonly bos: Token | null
    readonly isGiven: boolean
    readonly onDelta: (delta: Delta) => void
  }
  readonly #text: TextStream<TokenScore>
  #isFirst = true
  #isBegun = false

  constructor(deps: {
    display: Display
    detokenize: Detokenize
    bos: Token | null
    isGiven: boolean
    onDelta: (delta: Delta) => void
  }) {
    this.#deps = deps
    this.#text = new TextStream<TokenScore>({ detokenize: deps.detokenize }, [])
  }

  push(scores: readonly Score[]): void {
    const { display, bos, isGiven, onDelta } = this.#deps
    const notes: TokenScore[] = []
    let text = ''
    for (const score of scores) {
      if (score.logprob === null && score.token === bos) {
        if (isGiven) notes.push({ text: '', bytes: new Uint8Array(0), logprob: null, top: [] })
        this.#isBegun = isGiven
        continue
      }
      const said = this.#isBegun ? score : { ...score, logprob: null, top: [] }
      this.#isBegun = true
      const shown = this.#text.push(said.token, display.scoreOf(said, this.#isFirst, true))
      this.#isFirst = false
      text += shown.text
      notes.push(...shown.notes)
    }
    if (text !== '' || notes.length > 0) onDelta({ text, scores: notes })
  }

  end(): void {
    const { text, notes } = this.#text.end()
    if (text !== '' || notes.length > 0) this.#deps.onDelta({ text, scores: notes })
  }
}
