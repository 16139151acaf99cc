/**
 * A body of `POST /v1/completions` becomes what is asked of an engine, a request for each prompt.
 *
 * Prompts come as a text, a list of texts, token ids or a list of lists of token ids. Graders score
 * answers with `echo`, `logprobs` and `max_tokens: 0`. Tested by test/inference/read/completion.ts.
 */
import { badRequest } from '../errors.ts'
import type { CompletionRequest, JsonObject } from '../request.ts'
import type { ReadRules } from './chat.ts'
import {
  checkModel,
  fieldOf,
  type Harmless,
  isZero,
  MISSING,
  never,
  readBoolean,
  readInteger,
  readMaxTokens,
  readSampling,
  readStream,
  readText,
  refuseFields,
  type StreamWish,
  wellFormed,
} from './fields.ts'

export interface CompletionAsked extends StreamWish {
  readonly kind: 'completion'
  /** One for each prompt, in order. */
  readonly requests: readonly CompletionRequest[]
  /** Choices of each prompt that are given back. */
  readonly n: number
  /** Choices of each prompt that are made; the ones with the best mean log-probability are given back. */
  readonly bestOf: number
  /** False: the scores that `bestOf` needs are not shown. */
  readonly showScores: boolean
}

/** What an absent `max_tokens` means in this API. */
const TOKENS_DEFAULT = 16
const TOP_LOGPROBS_MAX = 20
const TOKEN_ID_MAX = 2 ** 31 - 1
const PROMPTS_MAX = 128

const NOT_SERVED: Readonly<Record<string, Harmless>> = {
  min_tokens: isZero,
  use_beam_search: (value) => value === false,
  response_format: (value) =>
    typeof value === 'object' && value !== null && (value as JsonObject)['type'] === 'text',
  tools: (value) => Array.isArray(value) && value.length === 0,
  prompt_logprobs: never,
  top_logprobs: isZero,
}

/** @throws InferenceError BAD_REQUEST (`data.param`), NOT_FOUND (a strict model) */
export function readCompletion(body: JsonObject, rules: ReadRules): CompletionAsked {
  checkModel(body, rules)
  const prompts = readPrompts(body, 'prompt')
  const wish = readStream(body, rules.canStream)
  refuseFields(body, NOT_SERVED)
  const echo = readBoolean(body, 'echo') ?? false
  const wished = readMaxTokens(body, ['max_tokens', 'max_completion_tokens'], {
    least: echo ? 0 : 1,
    allowed: undefined,
  })
  const n = readInteger(body, 'n', [1, rules.choicesMax]) ?? 1
  const bestOf = readInteger(body, 'best_of', [1, rules.choicesMax]) ?? n
  checkChoices({ prompts: prompts.length, n, bestOf, stream: wish.stream }, rules.choicesMax)
  const topLogprobs = readInteger(body, 'logprobs', [0, TOP_LOGPROBS_MAX])
  const suffix = readText(body, 'suffix')
  if (echo && suffix !== undefined && suffix !== '')
    throw badRequest('suffix', "'suffix' does not go with 'echo'.")
  const scores = topLogprobs ?? (bestOf > n ? 0 : undefined)
  const base = {
    kind: 'completion' as const,
    echo,
    ...readSampling(body),
    maxTokens: Math.min(wished ?? TOKENS_DEFAULT, rules.answerTokensMax ?? TOKEN_ID_MAX),
    ...(scores === undefined ? {} : { topLogprobs: scores }),
    ...(suffix === undefined || suffix === '' ? {} : { suffix }),
    ...(readBoolean(body, 'deterministic') === true ? { deterministic: true } : {}),
  }
  const requests = prompts.map((prompt) => ({ ...base, prompt }))
  return { kind: 'completion', requests, n, bestOf, showScores: topLogprobs !== undefined, ...wish }
}

function checkChoices(
  asked: { prompts: number; n: number; bestOf: number; stream: boolean },
  choicesMax: number,
): void {
  const { prompts, n, bestOf, stream } = asked
  if (bestOf < n) throw badRequest('best_of', "'best_of' must not be less than 'n'.")
  if (stream && bestOf > n)
    throw badRequest('best_of', "'best_of' above 'n' does not go with 'stream'.")
  if (prompts * bestOf <= choicesMax) return
  const [param, what] = bestOf > n ? ['best_of', 'best_of'] : n > 1 ? ['n', 'n'] : ['prompt', '1']
  throw badRequest(
    param,
    `${prompts} prompts times ${what} are more than the ${choicesMax} choices that one request may ask for.`,
  )
}

/** A text, a list of texts, token ids, or a list of lists of token ids. */
export function readPrompts(body: JsonObject, param: string): (string | number[])[] {
  const value = fieldOf(body, param)
  if (value === undefined) throw badRequest(param, `'${param}' is missing.`, MISSING)
  if (typeof value === 'string') return [wellFormed(value)]
  if (!Array.isArray(value))
    throw badRequest(param, `'${param}' must be a string, token ids, or a list of these.`)
  if (value.length === 0) throw badRequest(param, `'${param}' must not be empty.`)
  if (value.every((entry) => typeof entry === 'number')) return [readTokens(value, param)]
  if (value.length > PROMPTS_MAX)
    throw badRequest(param, `'${param}' must not have more than ${PROMPTS_MAX} entries.`)
  return value.map((entry, index) => {
    const at = `${param}[${index}]`
    if (typeof entry === 'string') return wellFormed(entry)
    if (Array.isArray(entry)) return readTokens(entry, at)
    throw badRequest(at, `'${at}' must be a string or a list of token ids.`)
  })
}

/** Whether the model has such tokens is the engine's to say. */
export function readTokens(value: readonly unknown[], at: string): number[] {
  if (value.length === 0) throw badRequest(at, `'${at}' must not be empty.`)
  return value.map((token, index) => {
    const isId = typeof token === 'number' && Number.isInteger(token)
    if (isId && token >= 0 && token <= TOKEN_ID_MAX) return token
    throw badRequest(`${at}[${index}]`, `'${at}[${index}]' must be a token id.`)
  })
}
