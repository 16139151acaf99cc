/**
 * Exact numbers of the engine: what to ask for them, and the log-probabilities that they are.
 *
 * Values come from behind the engine's sampler. At temperature 0 nothing is cut off and nothing rescaled, so
 * raw logits and the sum of all weights are there, but the likeliest tokens cost a sort of the whole
 * vocabulary (12 ms for 128,000 of them). Without the sum, the sampler's own top-k at temperature 1 gives
 * the same logits twelve times quicker. Tested by test/inference/llamacpp/picker.ts and model.ts.
 */
import type {
  ControlledEvaluateIndexOutput,
  ControlledEvaluateInputItem,
  Token,
} from 'node-llama-cpp'
import { InferenceError } from '../errors.ts'

export type GenerateNext = NonNullable<
  Exclude<ControlledEvaluateInputItem, Token>[1]['generateNext']
>
export type NextOutput = ControlledEvaluateIndexOutput['next']

/** One token's natural log-probability, and the likeliest ones, best first. */
export interface Score {
  readonly token: Token
  /** Null for the first token of a prompt: nothing is before it. */
  readonly logprob: number | null
  readonly top: readonly { readonly token: Token; readonly logprob: number }[]
}

/** The `top` likeliest, likeliest first, with raw logits. */
export function askLikeliest(top: number): GenerateNext {
  return {
    token: true,
    logits: { filter: { tokens: [], includeTop: top } },
    options: { temperature: 1, topK: top, topP: 1, minP: 0, seed: 0 },
  }
}

/** The same, then `tokens` and the likeliest of all, with the sum of all weights. */
export function askWeighed(top: number, tokens: readonly Token[]): GenerateNext {
  return {
    token: true,
    totalLogitWeight: true,
    logits: { filter: { tokens: [...tokens], includeTop: top, includeSelected: true } },
    options: { temperature: 0 },
  }
}

/** @throws InferenceError ENGINE_FAILED */
export function scoreOf(token: Token, next: NextOutput, scale: number, top: number): Score {
  const { logits = new Map<Token, number>() } = next
  const logit = logits.get(token)
  if (logit === undefined) throw noToken('the engine gave no logit')
  const likeliest = top === 0 ? [] : firstOf(logits, top)
  return {
    token,
    logprob: logit - scale,
    top: likeliest.map(([other, value]) => ({ token: other, logprob: value - scale })),
  }
}

/** Likeliest first, of equals the lower token; there may be a thousand, and few are wanted. */
function firstOf(logits: ReadonlyMap<Token, number>, count: number): [Token, number][] {
  const out: [Token, number][] = []
  for (const entry of logits) {
    const [token, logit] = entry
    let at = out.length
    for (; at > 0; at--) {
      const [other, value] = out[at - 1] ?? [0, 0]
      if (value > logit || (value === logit && other < token)) break
    }
    if (at >= count) continue
    out.splice(at, 0, entry)
    if (out.length > count) out.pop()
  }
  return out
}

/**
 * The logarithm of the sum of all weights: what a logit is lowered by to be a log-probability.
 * @throws InferenceError ENGINE_FAILED
 */
export function scaleOf({ logits, totalLogitWeight }: NextOutput): number {
  if (logits === undefined || logits.size === 0 || totalLogitWeight === undefined)
    throw noToken('the engine gave no logits')
  let most = Number.NEGATIVE_INFINITY
  for (const logit of logits.values()) if (logit > most) most = logit
  return most + Math.log(totalLogitWeight)
}

export function noToken(message: string): InferenceError {
  return new InferenceError('ENGINE_FAILED', message, { retryable: true })
}
