/**
 * Questions that nobody has asked before, made on the spot by the model that is to be checked.
 *
 * A random word of its vocabulary, and what the model itself says after it by chance: text as people send
 * it to that model, of changing length, without any list that a server could look for. Half of them are
 * texts to go on with, half are a user's turn. Tested by test/inference/audit.ts.
 */
import type { InferenceBackend } from '../backend.ts'

export interface Question {
  readonly kind: 'text' | 'chat'
  readonly text: string
  /** Tokens of the answer. */
  readonly tokensMax: number
  readonly topLogprobs: number
}

export interface QuestionDeps {
  readonly backend: InferenceBackend
  /** To begin with. */
  readonly words: readonly string[]
  /** At least 0 and below 1. */
  readonly random: () => number
}

/** Of an answer: short enough for small contexts, and for being one request of many. */
const ANSWER_TOKENS = [32, 64] as const
const PROMPT_TOKENS = [6, 40] as const
const TOP_LOGPROBS_MAX = 3
/** Of a text that is to be gone on with, in hundredths. */
const SHARE = [30, 80] as const

/** @throws what the backend throws */
export async function newQuestion(
  { backend, words, random }: QuestionDeps,
  kind: Question['kind'],
  signal: AbortSignal,
): Promise<Question> {
  const between = ([least, most]: readonly [number, number]) =>
    least + Math.floor(random() * (most - least + 1))
  const { contextSize } = backend.info()
  const first = words[between([0, words.length - 1])] ?? 'The'
  const { text } = await backend.generate(
    {
      kind: 'completion',
      prompt: first,
      echo: false,
      temperature: 1,
      topP: 1,
      topK: 0,
      minP: 0,
      maxTokens: Math.min(between(PROMPT_TOKENS), Math.floor(contextSize / 4)),
      stop: [],
    },
    { signal },
  )
  // Half a character at the end would not survive the way.
  const whole = `${first}${text}`.replaceAll('\ufffd', '').trimEnd()
  return {
    kind,
    // What the model has ended itself it would not go on with.
    text: kind === 'chat' ? whole : beginning(whole, between(SHARE) / 100),
    tokensMax: Math.min(between(ANSWER_TOKENS), Math.floor(contextSize / 4)),
    topLogprobs: between([1, TOP_LOGPROBS_MAX]),
  }
}

/** About so much of it, up to the end of a word. */
function beginning(text: string, share: number): string {
  const words = text.split(/(?<=\S)(?=\s)/)
  return words.slice(0, Math.max(1, Math.ceil(words.length * share))).join('')
}
