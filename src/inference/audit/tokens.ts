/**
 * Tokens by their bytes: what a server names becomes the ids that the weights know.
 *
 * Servers show text or bytes of a token, not its id. Where two tokens have the same bytes, the ordinary one
 * is meant. Tested by test/inference/audit/verdict.ts.
 */
import { type GgufMetadata, numbersOf, textOf, textsOf } from '../../models/gguf.ts'
import { Vocabulary } from '../llamacpp/vocabulary.ts'

/** `tokenizer.ggml.token_type`. */
const NORMAL = 1
const WORD = /^ \p{L}{3,}$/u
const LETTERS = /^\p{L}{3,}$/u

export class TokenIds {
  readonly #ids: ReadonlyMap<string, number>
  /** Tokens that are whole words, without the space before them; where there are none, other letters. */
  readonly words: readonly string[]

  /** @param metadata of the weights */
  constructor(metadata: GgufMetadata) {
    const tokens = textsOf(metadata, 'tokenizer.ggml.tokens')
    const types = numbersOf(metadata, 'tokenizer.ggml.token_type')
    const vocabulary = new Vocabulary({
      kind: textOf(metadata, 'tokenizer.ggml.model') ?? '',
      tokens,
      types,
      text: (token) => tokens[token] ?? '',
      isEnd: () => false,
    })
    const ids = new Map<string, number>()
    const words: string[] = []
    const letters: string[] = []
    for (const id of tokens.keys()) {
      const bytes = vocabulary.shownBytes(id)
      if (bytes.length === 0) continue
      const key = keyOf(bytes)
      if (!ids.has(key) || types[id] === NORMAL) ids.set(key, id)
      const text = types[id] === NORMAL ? Buffer.from(bytes).toString() : ''
      if (WORD.test(text)) words.push(text.trimStart())
      else if (LETTERS.test(text)) letters.push(text)
    }
    this.#ids = ids
    this.words = words.length > 0 ? words : letters
  }

  /** Undefined: no token of these weights. */
  idOf(bytes: Uint8Array): number | undefined {
    return this.#ids.get(keyOf(bytes))
  }
}

function keyOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')
}
