/**
 * A body of `POST /v1/chat/completions` becomes what is asked of an engine.
 *
 * Unknown fields are ignored; a known one that would change the answer and is not served is refused by
 * name. Tested by test/inference/read/chat.ts.
 */
import { badRequest } from '../errors.ts'
import type { ChatRequest, JsonObject } from '../request.ts'
import {
  checkModel,
  type Harmless,
  isEmptyArray,
  isZero,
  never,
  readBoolean,
  readChoice,
  readInteger,
  readMaxTokens,
  readObject,
  readSampling,
  readStream,
  refuseFields,
  type StreamWish,
} from './fields.ts'
import { readMessages } from './messages.ts'
import { CHAT_PLACES, readFormat, readToolChoice, readTools } from './tools.ts'

/** What a service allows, whatever its engine can do. */
export interface ReadRules {
  /** The name under which the service offers its model. */
  readonly model: string
  /** Refuse other names. Without it every name means the service's model. */
  readonly strictModel: boolean
  /** False: `stream: true` is refused by name. */
  readonly canStream: boolean
  /** A larger wish is lowered to this without a word; the answer then ends with `length`. */
  readonly answerTokensMax?: number
  /** Choices of one request together: `n`, or prompts times `best_of`. */
  readonly choicesMax: number
}

export interface ChatAsked extends StreamWish {
  readonly kind: 'chat'
  readonly request: ChatRequest
  /** Choices, at least 1. */
  readonly n: number
}

const TOP_LOGPROBS_MAX = 20

const isText: Harmless = (value) =>
  Array.isArray(value) && value.length > 0 && value.every((mode) => mode === 'text')

/** Fields that would change the answer and are not served, each with the values that ask for nothing. */
const NOT_SERVED: Readonly<Record<string, Harmless>> = {
  functions: isEmptyArray,
  function_call: (value) => value === 'none' || value === 'auto',
  modalities: isText,
  audio: never,
  web_search_options: never,
  min_tokens: isZero,
  best_of: (value) => value === 1,
  use_beam_search: (value) => value === false,
  echo: (value) => value === false,
}

/** @throws InferenceError BAD_REQUEST (`data.param`), NOT_FOUND (a strict model) */
export function readChat(body: JsonObject, rules: ReadRules): ChatAsked {
  checkModel(body, rules)
  const messages = readMessages(body['messages'])
  const wish = readStream(body, rules.canStream)
  refuseFields(body, NOT_SERVED)
  const tools = readTools(body)
  const toolChoice = readToolChoice(body, tools, CHAT_PLACES)
  const format = readFormat(body)
  const topLogprobs = readLogprobs(body)
  const maxTokens = readMaxTokens(body, ['max_tokens', 'max_completion_tokens'], {
    least: 1,
    allowed: rules.answerTokensMax,
  })
  const thinking = readThinking(body)
  const request: ChatRequest = {
    kind: 'chat',
    messages,
    tools,
    toolChoice,
    parallelToolCalls: readBoolean(body, 'parallel_tool_calls') ?? true,
    format,
    ...readSampling(body),
    ...(maxTokens === undefined ? {} : { maxTokens }),
    ...(topLogprobs === undefined ? {} : { topLogprobs }),
    ...(thinking === undefined ? {} : { thinking }),
    ...(readBoolean(body, 'deterministic') === true ? { deterministic: true } : {}),
  }
  return { kind: 'chat', request, n: readInteger(body, 'n', [1, rules.choicesMax]) ?? 1, ...wish }
}

/** `logprobs: true` with `top_logprobs`; the number alone asks for nothing that could be shown. */
function readLogprobs(body: JsonObject): number | undefined {
  const isWanted = readBoolean(body, 'logprobs') ?? false
  const top = readInteger(body, 'top_logprobs', [0, TOP_LOGPROBS_MAX])
  if (isWanted) return top ?? 0
  if (top !== undefined && top > 0)
    throw badRequest('top_logprobs', "'top_logprobs' goes with 'logprobs: true' only.")
  return undefined
}

const EFFORTS = ['none', 'minimal', 'low', 'medium', 'high', 'xhigh'] as const

/** Tokens of thought that an effort stands for; what is absent is not bounded. */
const EFFORT_TOKENS: Readonly<Record<(typeof EFFORTS)[number], number | undefined>> = {
  none: 0,
  minimal: 256,
  low: 1_024,
  medium: 4_096,
  high: 16_384,
  xhigh: undefined,
}

export type Effort = (typeof EFFORTS)[number]

/** @param at the field as the caller wrote it */
export function readEffort(body: JsonObject, param: string, at = param): Effort | undefined {
  return readChoice(body, param, EFFORTS, at)
}

export function thinkingOf(effort: Effort | undefined): ChatRequest['thinking'] {
  if (effort === undefined) return undefined
  const tokensMax = EFFORT_TOKENS[effort]
  if (tokensMax === 0) return { enabled: false }
  return tokensMax === undefined ? { enabled: true } : { enabled: true, tokensMax }
}

/** By OpenAI's name, by those of vLLM and llama.cpp, or by a budget in tokens. */
function readThinking(body: JsonObject): ChatRequest['thinking'] {
  const byEffort = thinkingOf(readEffort(body, 'reasoning_effort'))
  const at = 'chat_template_kwargs'
  const kwargs = readObject(body, at)
  const asked =
    readBoolean(body, 'enable_thinking') ??
    (kwargs === undefined
      ? undefined
      : readBoolean(kwargs, 'enable_thinking', `${at}.enable_thinking`))
  const budget = readInteger(body, 'thinking_budget') ?? readInteger(body, 'thinking_budget_tokens')
  if (byEffort === undefined && asked === undefined && budget === undefined) return undefined
  const enabled = asked ?? (budget === undefined ? byEffort?.enabled : budget > 0)
  const tokensMax = budget ?? byEffort?.tokensMax
  return {
    ...(enabled === undefined ? {} : { enabled }),
    ...(tokensMax === undefined || enabled === false ? {} : { tokensMax }),
  }
}
