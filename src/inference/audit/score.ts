/**
 * An answer held against the weights: what they think of each of its tokens.
 *
 * The prompt and the tokens of the answer are read in one go, so that an early difference does not make
 * everything after it incomparable: each token is judged after the tokens that really came before it.
 * Tested by test/inference/audit.ts.
 */
import type { InferenceBackend } from '../backend.ts'
import type { Question } from './question.ts'
import type { Heard } from './target.ts'
import type { TokenIds } from './tokens.ts'

/** One token of an answer. Natural logarithms. */
export interface Position {
  /** What the server says. */
  readonly theirs?: number
  /** What the weights say of the same token. */
  readonly ours: number
  /** What they say of the likeliest one. */
  readonly best: number
}

export interface Scored {
  readonly kind: Question['kind']
  readonly positions: readonly Position[]
  /** So many of the first tokens are the ones that the weights would choose. */
  readonly matchedPrefix: number
}

/** Equal, but for the last digits. */
const EQUAL = 1e-6

/** @returns why it can't be compared, or how it compares. @throws what the backend throws */
export async function scoreAnswer(
  deps: { readonly backend: InferenceBackend; readonly ids: TokenIds },
  question: Question,
  heard: Heard,
  signal: AbortSignal,
): Promise<Scored | string> {
  const { kind } = question
  if (heard.isThinking) return 'it thought first, and thoughts have no scores'
  const read = await readTokens(deps, question, heard, signal)
  if (typeof read === 'string') return read
  const { backend } = deps
  const room = backend.info().contextSize - read.prompt.length
  const answer = read.answer.slice(0, Math.max(0, room))
  if (answer.length === 0) return 'it is empty'
  const { scores = [] } = await backend.generate(
    {
      kind: 'completion',
      prompt: [...read.prompt, ...answer],
      echo: true,
      maxTokens: 0,
      temperature: 0,
      topLogprobs: 1,
      deterministic: true,
      stop: [],
    },
    { signal },
  )
  const positions = scores.slice(-answer.length).map(({ logprob, top }, at): Position => {
    const ours = logprob ?? 0
    const theirs = read.isTheirs ? heard.tokens?.[at]?.logprob : undefined
    const best = Math.max(ours, top[0]?.logprob ?? ours)
    return { ours, best, ...(theirs === undefined ? {} : { theirs }) }
  })
  const first = positions.findIndex(({ ours, best }) => best - ours > EQUAL)
  return { kind, positions, matchedPrefix: first === -1 ? positions.length : first }
}

interface Tokens {
  readonly prompt: readonly number[]
  readonly answer: readonly number[]
  /** They are the server's own, one by one. */
  readonly isTheirs: boolean
}

async function readTokens(
  { backend, ids }: { readonly backend: InferenceBackend; readonly ids: TokenIds },
  { kind, text }: Question,
  heard: Heard,
  signal: AbortSignal,
): Promise<Tokens | string> {
  const chat = [{ role: 'user' as const, content: text }]
  const prompt = await backend.tokenize(kind === 'chat' ? chat : text, true, { signal })
  if (heard.tokens !== undefined) {
    const all = heard.tokens.map(({ bytes }) => ids.idOf(bytes))
    const unknown = all.indexOf(undefined)
    const known = (unknown === -1 ? all : all.slice(0, unknown)).filter((id) => id !== undefined)
    if (known.length > 0) return { prompt, answer: known, isTheirs: true }
    if (all.length > 0) return 'its tokens are not of this vocabulary'
  }
  if (kind === 'chat')
    return {
      prompt,
      answer: await backend.tokenize(heard.text, false, { signal }),
      isTheirs: false,
    }
  // Together, as the last token of a prompt may swallow the first letters after it.
  const both = await backend.tokenize(`${text}${heard.text}`, true, { signal })
  const same = prompt.findIndex((token, at) => both[at] !== token)
  const from = same === -1 ? prompt.length : same + 1
  return { prompt: both.slice(0, from), answer: both.slice(from), isTheirs: false }
}
