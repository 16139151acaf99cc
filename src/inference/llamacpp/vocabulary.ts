/**
 * The bytes of every token, from the weights' own list.
 *
 * The engine gives text, in which half a character is a replacement mark; log-probabilities and grammars
 * need bytes. A `gpt2` list spells bytes as printable letters, a `llama` list marks spaces with U+2581
 * and spells lone bytes as `<0xE2>`. Other kinds of lists fall back to the engine's text.
 * Tested by test/inference/llamacpp/vocabulary.ts.
 */
import { utf8 } from '../../base/bytes.ts'

export interface VocabularySource {
  /** `tokenizer.ggml.model`: `gpt2`, `llama`, … */
  readonly kind: string
  /** `tokenizer.ggml.tokens`. */
  readonly tokens: readonly string[]
  /** `tokenizer.ggml.token_type`: 1 normal, 2 unknown, 3 control, 4 user defined, 5 unused, 6 byte. */
  readonly types: readonly number[]
  /** The engine's own word for a token, control tokens included. */
  text(token: number): string
  isEnd(token: number): boolean
}

const UNKNOWN = 2
const CONTROL = 3
const USER_DEFINED = 4
const UNUSED = 5
const BYTE = 6
/** `<0x41>` names one byte. */
const SINGLE_NAME_MAX = 6

export class Vocabulary {
  readonly #source: VocabularySource
  readonly #ends = new Map<number, boolean>()
  readonly #bytes = new Map<number, Uint8Array>()
  readonly #letters: ReadonlyMap<string, number>
  #singles: readonly number[] | undefined

  constructor(source: VocabularySource) {
    this.#source = source
    this.#letters = source.kind === 'gpt2' ? byteLetters() : new Map()
  }

  get size(): number {
    return this.#source.tokens.length
  }

  isEnd(token: number): boolean {
    const known = this.#ends.get(token)
    if (known !== undefined) return known
    const isEnd = this.#source.isEnd(token)
    this.#ends.set(token, isEnd)
    return isEnd
  }

  /** Ends an answer, opens a turn, or the like: no text, and never part of what a grammar allows. */
  isControl(token: number): boolean {
    const type = this.#source.types[token]
    return type === CONTROL || type === UNKNOWN || type === UNUSED
  }

  /** What `token` adds to a text; nothing for a control token. */
  bytesOf(token: number): Uint8Array {
    const known = this.#bytes.get(token)
    if (known !== undefined) return known
    const bytes = this.isControl(token) ? new Uint8Array(0) : this.#read(token)
    this.#bytes.set(token, bytes)
    return bytes
  }

  /** As log-probabilities show it: of control tokens too. */
  shownBytes(token: number): Uint8Array {
    return this.isControl(token) ? utf8(this.#source.tokens[token] ?? '') : this.bytesOf(token)
  }

  /**
   * Tokens that end an answer, then one for each byte, by byte: with these there is always one that a
   * grammar allows.
   */
  get singles(): readonly number[] {
    this.#singles ??= this.#readSingles()
    return this.#singles
  }

  #readSingles(): number[] {
    const ends: number[] = []
    const byByte: number[] = []
    for (const [token, name] of this.#source.tokens.entries()) {
      if (this.isEnd(token)) ends.push(token)
      if (name.length > SINGLE_NAME_MAX || this.isControl(token)) continue
      const bytes = this.#read(token)
      if (bytes.length === 1) byByte[bytes[0] ?? 0] ??= token
    }
    return [...ends, ...byByte.filter((token) => token !== undefined)]
  }

  #read(token: number): Uint8Array {
    const { kind, tokens, types } = this.#source
    const name = tokens[token] ?? ''
    const byte = types[token] === BYTE ? /^<0x([0-9A-Fa-f]{2})>$/.exec(name)?.[1] : undefined
    if (byte !== undefined) return Uint8Array.of(Number.parseInt(byte, 16))
    if (types[token] === USER_DEFINED) return utf8(name)
    if (kind === 'llama') return utf8(name.replaceAll('\u2581', ' '))
    if (kind === 'gpt2') {
      const bytes = [...name].map((letter) => this.#letters.get(letter))
      if (bytes.every((value) => value !== undefined)) return Uint8Array.from(bytes)
      return utf8(name)
    }
    return utf8(this.#source.text(token))
  }
}

/** GPT-2's alphabet: printable bytes are themselves, the others follow from U+0100 on. */
function byteLetters(): Map<string, number> {
  const letters = new Map<string, number>()
  let next = 0x100
  for (let byte = 0; byte < 256; byte++) {
    const isPrintable =
      (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae
    letters.set(String.fromCodePoint(isPrintable ? byte : next++), byte)
  }
  return letters
}
