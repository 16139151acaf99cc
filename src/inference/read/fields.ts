/**
 * One field of a body: its type, its range, its name in the refusal.
 *
 * `null` means absent and zero is a value. A value of the wrong type or out of range is refused with the
 * field's name, before any work is done. Limits are those of the OpenAI API, and of llama.cpp's and
 * vLLM's servers for what they add. Tested by test/inference/read/fields.ts.
 */
import { badRequest, InferenceError } from '../errors.ts'
import { isObject } from '../json.ts'
import type { GenerationWishes, JsonObject } from '../request.ts'

export const UNSUPPORTED = 'unsupported_parameter'
export const MISSING = 'missing_required_parameter'

const STOP_MAX = 4
const STOP_LENGTH_MAX = 1_024
const BIAS_MAX = 1_024
const INT32_MAX = 2 ** 31 - 1

/** The value of a field; undefined where it is absent or null. */
export function fieldOf(body: JsonObject, param: string): unknown {
  return Object.hasOwn(body, param) ? (body[param] ?? undefined) : undefined
}

/** A number within both ends. */
export function readNumber(
  body: JsonObject,
  param: string,
  [least, most]: readonly [number, number],
  at = param,
): number | undefined {
  const value = fieldOf(body, param)
  if (value === undefined) return undefined
  if (typeof value !== 'number' || value < least || value > most)
    throw badRequest(at, `'${at}' must be a number from ${least} to ${most}.`)
  return value
}

export function readInteger(
  body: JsonObject,
  param: string,
  [least, most]: readonly [number, number] = [0, INT32_MAX],
  at = param,
): number | undefined {
  const value = fieldOf(body, param)
  if (value === undefined) return undefined
  if (typeof value !== 'number' || !Number.isInteger(value) || value < least || value > most)
    throw badRequest(
      at,
      most === INT32_MAX
        ? `'${at}' must be an integer of at least ${least}.`
        : `'${at}' must be an integer from ${least} to ${most}.`,
    )
  return value
}

export function readBoolean(body: JsonObject, param: string, at = param): boolean | undefined {
  const value = fieldOf(body, param)
  if (value === undefined || typeof value === 'boolean') return value
  throw badRequest(at, `'${at}' must be true or false.`)
}

export function readText(body: JsonObject, param: string, at = param): string | undefined {
  const value = fieldOf(body, param)
  if (value === undefined) return undefined
  if (typeof value === 'string') return wellFormed(value)
  throw badRequest(at, `'${at}' must be a string.`)
}

export function readChoice<T extends string>(
  body: JsonObject,
  param: string,
  choices: readonly T[],
  at = param,
): T | undefined {
  const value = fieldOf(body, param)
  if (value === undefined) return undefined
  const found = choices.find((choice) => choice === value)
  if (found === undefined) throw badRequest(at, `'${at}' must be one of: ${choices.join(', ')}.`)
  return found
}

export function readObject(body: JsonObject, param: string, at = param): JsonObject | undefined {
  const value = fieldOf(body, param)
  if (value === undefined || isObject(value)) return value
  throw badRequest(at, `'${at}' must be an object.`)
}

export function readArray(
  body: JsonObject,
  param: string,
  at = param,
): readonly unknown[] | undefined {
  const value = fieldOf(body, param)
  if (value === undefined || Array.isArray(value)) return value
  throw badRequest(at, `'${at}' must be an array.`)
}

/** JSON can carry half a character (`"\ud800"`); engines and UTF-8 cannot. */
export function wellFormed(text: string): string {
  return text.replace(/\p{Surrogate}/gu, '\ufffd')
}

/** Refuses fields that would change the answer and are not served, each unless its value asks for nothing. */
export function refuseFields(body: JsonObject, table: Readonly<Record<string, Harmless>>): void {
  for (const [param, isHarmless] of Object.entries(table)) {
    const value = fieldOf(body, param)
    if (value !== undefined && !isHarmless(value))
      throw badRequest(param, `This value of '${param}' is not supported here.`, UNSUPPORTED)
  }
}

export type Harmless = (value: unknown) => boolean

export const isZero: Harmless = (value) => value === 0
export const isFalse: Harmless = (value) => value === false
export const isEmptyArray: Harmless = (value) => Array.isArray(value) && value.length === 0
export const never: Harmless = () => false

/** @param param `model`. @throws InferenceError BAD_REQUEST, NOT_FOUND where other names are refused */
export function checkModel(
  body: JsonObject,
  rules: { readonly model: string; readonly strictModel: boolean },
): void {
  const value = fieldOf(body, 'model')
  if (value === undefined) return
  if (typeof value !== 'string') throw badRequest('model', "'model' must be a string.")
  if (rules.strictModel && value !== rules.model)
    throw new InferenceError('NOT_FOUND', `The model here is '${rules.model}'.`, {
      data: { param: 'model', reason: 'model_not_found' },
    })
}

/** Everything about sampling but `max_tokens` and log-probabilities. */
export function readSampling(body: JsonObject): GenerationWishes {
  const repeat =
    readNumber(body, 'repeat_penalty', [0.01, 10]) ??
    readNumber(body, 'repetition_penalty', [0.01, 10])
  const wishes = {
    temperature: readNumber(body, 'temperature', [0, 2]),
    topP: readTopP(body),
    topK: readTopK(body),
    minP: readNumber(body, 'min_p', [0, 1]),
    presencePenalty: readNumber(body, 'presence_penalty', [-2, 2]),
    frequencyPenalty: readNumber(body, 'frequency_penalty', [-2, 2]),
    repeatPenalty: repeat,
    logitBias: readLogitBias(body),
    seed: readSeed(body),
  }
  return { ...defined(wishes), stop: readStop(body) }
}

/** Without the fields that are undefined. */
export function defined<T extends object>(value: T): Defined<T> {
  return Object.fromEntries(
    Object.entries(value).filter(([, entry]) => entry !== undefined),
  ) as Defined<T>
}

type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> }

function readTopP(body: JsonObject): number | undefined {
  const value = readNumber(body, 'top_p', [0, 1])
  if (value === 0) throw badRequest('top_p', "'top_p' must be above 0 and at most 1.")
  return value
}

/** -1 and 0 both keep every token. */
function readTopK(body: JsonObject): number | undefined {
  const value = readInteger(body, 'top_k', [-1, INT32_MAX])
  return value === -1 ? 0 : value
}

/** Keys are token ids as text. */
function readLogitBias(body: JsonObject): ReadonlyMap<number, number> | undefined {
  const value = readObject(body, 'logit_bias')
  if (value === undefined) return undefined
  const entries = Object.entries(value)
  if (entries.length === 0) return undefined
  if (entries.length > BIAS_MAX)
    throw badRequest('logit_bias', `'logit_bias' must not have more than ${BIAS_MAX} entries.`)
  return new Map(
    entries.map(([token, bias]) => {
      const at = `logit_bias.${token.slice(0, 32)}`
      if (!/^\d{1,9}$/.test(token)) throw badRequest(at, `'${at}' does not name a token by its id.`)
      if (typeof bias !== 'number' || bias < -100 || bias > 100)
        throw badRequest(at, `'${at}' must be a number from -100 to 100.`)
      return [Number(token), bias]
    }),
  )
}

/**
 * Any 64-bit integer, signed or unsigned. JSON numbers carry 53 bits, so longer ones arrive rounded, the
 * largest to 2^64, but always alike.
 */
function readSeed(body: JsonObject): bigint | undefined {
  const value = fieldOf(body, 'seed')
  if (value === undefined) return undefined
  const isRight =
    typeof value === 'number' && Number.isInteger(value) && value >= -(2 ** 63) && value <= 2 ** 64
  if (!isRight) throw badRequest('seed', "'seed' must be an integer of 64 bits.")
  return BigInt.asUintN(64, BigInt(value))
}

function readStop(body: JsonObject): string[] {
  const value = fieldOf(body, 'stop')
  if (value === undefined) return []
  const stops: unknown[] = Array.isArray(value) ? value : [value]
  if (stops.length > STOP_MAX)
    throw badRequest('stop', `'stop' must not have more than ${STOP_MAX} entries.`)
  return stops.map((stop, index) => {
    const at = Array.isArray(value) ? `stop[${index}]` : 'stop'
    if (typeof stop !== 'string') throw badRequest(at, `'${at}' must be a string.`)
    if (stop === '') throw badRequest(at, `'${at}' must not be empty.`)
    if (stop.length > STOP_LENGTH_MAX)
      throw badRequest(at, `'${at}' must not be longer than ${STOP_LENGTH_MAX} characters.`)
    return stop
  })
}

/** The smallest of what the caller wishes, by each of the names, and what the service allows. */
export function readMaxTokens(
  body: JsonObject,
  params: readonly string[],
  { least, allowed }: { least: number; allowed: number | undefined },
): number | undefined {
  const wishes = params.map((param) => readInteger(body, param, [least, INT32_MAX]))
  const smallest = Math.min(...[...wishes, allowed].map((wish) => wish ?? Number.POSITIVE_INFINITY))
  return Number.isFinite(smallest) ? smallest : undefined
}

/** What is asked about the way an answer is sent. */
export interface StreamWish {
  readonly stream: boolean
  /** One more chunk with the usage at the end. */
  readonly includeUsage: boolean
}

/** @param canStream false: `stream: true` is refused by name */
export function readStream(body: JsonObject, canStream: boolean): StreamWish {
  const stream = readBoolean(body, 'stream') ?? false
  if (stream && !canStream)
    throw badRequest('stream', 'Streaming is not supported through this endpoint.', UNSUPPORTED)
  const options = readObject(body, 'stream_options')
  const includeUsage =
    options === undefined
      ? false
      : (readBoolean(options, 'include_usage', 'stream_options.include_usage') ?? false)
  return { stream, includeUsage }
}
