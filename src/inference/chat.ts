/**
 * A body of `POST /v1/chat/completions` becomes a checked `ChatRequest`.
 *
 * The rules: `null` means absent, zero is a value, unknown fields are ignored, and a known field that
 * would change the answer but is not served is refused by name, never ignored. Limits of values are
 * those of the OpenAI API. Tested by test/inference/chat.ts.
 */
import type { ChatMessage, ChatRequest } from './backend.ts'
import { badRequest, InferenceError } from './errors.ts'
import { isObject, type JsonObject } from './openai.ts'

export interface ChatRules {
  /** The name under which the service offers its model. */
  readonly model: string
  /** Refuse other names. Without it every name means the service's model. */
  readonly strictModel: boolean
  /** Answer `stream: true` with one whole completion, for services whose callers know. */
  readonly streamAsWhole: boolean
  /** A larger wish is lowered to this without a word; the answer then ends with `length`. */
  readonly answerTokensMax?: number
}

const STOP_MAX = 4
const UNSUPPORTED = 'unsupported_parameter'

/** @throws InferenceError BAD_REQUEST (data.param), NOT_FOUND (a strict model) */
export function readChat(body: JsonObject, rules: ChatRules): ChatRequest {
  checkModel(body['model'], rules)
  const messages = readMessages(body['messages'])
  checkStream(body['stream'], rules)
  for (const [param, harmless] of Object.entries(NOT_SERVED)) {
    const value = body[param] ?? undefined
    if (value !== undefined && !harmless(value))
      throw badRequest(param, `This value of '${param}' is not supported here.`, UNSUPPORTED)
  }
  const maxTokens = readMaxTokens(body, rules.answerTokensMax)
  const temperature = readNumber(body, 'temperature', 'between 0 and 2', (n) => n >= 0 && n <= 2)
  const topP = readNumber(body, 'top_p', 'above 0 and at most 1', (n) => n > 0 && n <= 1)
  const seed = readSeed(body['seed'])
  return {
    messages,
    ...(maxTokens === undefined ? {} : { maxTokens }),
    ...(temperature === undefined ? {} : { temperature }),
    ...(topP === undefined ? {} : { topP }),
    ...(seed === undefined ? {} : { seed }),
    stop: readStop(body['stop']),
    body,
  }
}

const isZero = (value: unknown) => value === 0
const isEmptyArray = (value: unknown) => Array.isArray(value) && value.length === 0
const isIdleChoice = (value: unknown) => value === 'auto' || value === 'none'
const never = () => false

/** Fields that would change the answer and are not served, each with the values that ask for nothing. */
const NOT_SERVED: Readonly<Record<string, (value: unknown) => boolean>> = {
  n: (value) => value === 1,
  tools: isEmptyArray,
  functions: isEmptyArray,
  tool_choice: isIdleChoice,
  function_call: isIdleChoice,
  response_format: (value) => isObject(value) && value['type'] === 'text',
  logprobs: (value) => value === false,
  top_logprobs: isZero,
  logit_bias: (value) => isObject(value) && Object.keys(value).length === 0,
  presence_penalty: isZero,
  frequency_penalty: isZero,
  modalities: (value) => Array.isArray(value) && value.every((mode) => mode === 'text'),
  audio: never,
  web_search_options: never,
}

function checkModel(value: unknown, rules: ChatRules): void {
  if (value === undefined || value === null) return
  if (typeof value !== 'string') throw badRequest('model', "'model' must be a string.")
  if (rules.strictModel && value !== rules.model)
    throw new InferenceError('NOT_FOUND', `The model here is '${rules.model}'.`, {
      data: { param: 'model', reason: 'model_not_found' },
    })
}

function checkStream(value: unknown, rules: ChatRules): void {
  if (value === undefined || value === null || value === false) return
  if (value !== true) throw badRequest('stream', "'stream' must be true or false.")
  if (!rules.streamAsWhole)
    throw badRequest('stream', 'streaming is not supported through this endpoint', UNSUPPORTED)
}

function readMessages(value: unknown): ChatMessage[] {
  if (value === undefined || value === null)
    throw badRequest('messages', "'messages' is missing.", 'missing_required_parameter')
  if (!Array.isArray(value)) throw badRequest('messages', "'messages' must be an array.")
  if (value.length === 0) throw badRequest('messages', "'messages' must not be empty.")
  return value.map(readMessage)
}

function readMessage(value: unknown, index: number): ChatMessage {
  const at = `messages[${index}]`
  if (!isObject(value)) throw badRequest(at, `'${at}' must be an object.`)
  for (const param of ['tool_calls', 'function_call', 'audio']) {
    const asked = value[param] ?? undefined
    if (asked !== undefined && !isEmptyArray(asked))
      throw badRequest(`${at}.${param}`, `'${at}.${param}' is not supported here.`, UNSUPPORTED)
  }
  const role = readRole(value['role'], `${at}.role`)
  return { role, content: readContent(value['content'], `${at}.content`) }
}

function readRole(value: unknown, at: string): ChatMessage['role'] {
  if (value === 'system' || value === 'user' || value === 'assistant') return value
  if (value === 'developer') return 'system'
  if (value === 'tool' || value === 'function')
    throw badRequest(at, 'Messages of tools are not supported here.', UNSUPPORTED)
  throw badRequest(at, `'${at}' must be one of: system, developer, user, assistant.`)
}

function readContent(value: unknown, at: string): string {
  if (typeof value === 'string') return wellFormed(value)
  if (!Array.isArray(value) || value.length === 0)
    throw badRequest(at, `'${at}' must be a string or a list of text parts.`)
  return value.map((part, index) => readPart(part, `${at}[${index}]`)).join('\n')
}

function readPart(part: unknown, at: string): string {
  if (!isObject(part)) throw badRequest(at, `'${at}' must be an object.`)
  if (typeof part['type'] !== 'string')
    throw badRequest(`${at}.type`, `'${at}.type' must be a string.`)
  if (part['type'] !== 'text')
    throw badRequest(at, 'Only parts of type text are supported here.', UNSUPPORTED)
  if (typeof part['text'] !== 'string')
    throw badRequest(`${at}.text`, `'${at}.text' must be a string.`)
  return wellFormed(part['text'])
}

/** JSON can carry half a character (`"\ud800"`); engines and UTF-8 cannot. */
function wellFormed(text: string): string {
  return text.replace(/\p{Surrogate}/gu, '\ufffd')
}

function readNumber(
  body: JsonObject,
  param: string,
  range: string,
  isRight: (value: number) => boolean,
): number | undefined {
  const value = body[param] ?? undefined
  if (value === undefined) return undefined
  if (typeof value !== 'number' || !isRight(value))
    throw badRequest(param, `'${param}' must be a number ${range}.`)
  return value
}

/** The smaller of what the caller wishes (by its old and its new name) and what the service allows. */
function readMaxTokens(body: JsonObject, allowed: number | undefined): number | undefined {
  const wishes = ['max_tokens', 'max_completion_tokens'].map((param) => {
    const value = body[param] ?? undefined
    if (value === undefined) return undefined
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 1)
      throw badRequest(param, `'${param}' must be an integer of at least 1.`)
    return value
  })
  const least = Math.min(...[...wishes, allowed].map((wish) => wish ?? Number.POSITIVE_INFINITY))
  return Number.isFinite(least) ? least : undefined
}

/**
 * Any 64-bit integer, signed or unsigned, folded into the 32 bits that engines take; what fits them
 * stays as it is. JSON numbers carry 53 bits, so longer ones arrive rounded, but always alike.
 */
function readSeed(value: unknown): number | undefined {
  if (value === undefined || value === null) return undefined
  const isRight =
    typeof value === 'number' && Number.isInteger(value) && value >= -(2 ** 63) && value < 2 ** 64
  if (!isRight) throw badRequest('seed', "'seed' must be an integer of 64 bits.")
  const bits = BigInt.asUintN(64, BigInt(value))
  return Number((bits ^ (bits >> 32n)) & 0xffff_ffffn)
}

function readStop(value: unknown): string[] {
  if (value === undefined || value === null) return []
  const stops: unknown[] = Array.isArray(value) ? value : [value]
  if (stops.length > STOP_MAX)
    throw badRequest('stop', `'stop' must not have more than ${STOP_MAX} entries.`)
  return stops.map((stop, index) => {
    const at = Array.isArray(value) ? `stop[${index}]` : 'stop'
    if (typeof stop !== 'string') throw badRequest(at, `'${at}' must be a string.`)
    if (stop === '') throw badRequest(at, `'${at}' must not be empty.`)
    return stop
  })
}
