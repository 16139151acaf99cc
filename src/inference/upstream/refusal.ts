/**
 * A status other than 2xx of an upstream, and whose fault it is.
 *
 * 401, 403, 404 and the like speak of how we call it, 429 and 503 of what it has room for: none of these
 * is the caller's, who would pay for an answer that says so. The rest of 4xx is passed on with its
 * status and its text, cut to size and without the upstream's name for the model.
 * Tested by test/inference/upstream/limits.ts.
 */
import { badRequest, InferenceError } from '../errors.ts'
import { isObject } from '../json.ts'

/** Client errors that speak of our credentials, our URL or our way of asking. */
const OURS = new Set([401, 402, 403, 404, 405, 407, 408, 411, 414, 415, 421, 425, 426, 431])
const MESSAGE_LENGTH_MAX = 500
const RETRY_AFTER_MAX_SECONDS = 3_600
const NAME = /^[\w.[\]-]{1,64}$/
const CONTEXT = /context.{0,20}(length|size|window)|maximum context|too many tokens/i

export type Headers = Readonly<Record<string, string | string[] | undefined>>

/** The error that a status other than 2xx means. */
export function refusalOf(
  status: number,
  headers: Headers,
  body: Uint8Array,
  model: string,
): InferenceError {
  if (status === 429 || status === 503)
    return new InferenceError('BUSY', 'the upstream has no capacity', {
      data: { retryAfterSeconds: readRetryAfter(headers['retry-after']), upstreamStatus: status },
      retryable: true,
    })
  if (status === 401 || status === 403)
    return new InferenceError('ENGINE_FAILED', 'the upstream refused our credentials', {
      data: { upstreamStatus: status },
    })
  if (status < 400 || status > 499 || OURS.has(status))
    return new InferenceError('ENGINE_FAILED', `the upstream answered with status ${status}`, {
      data: { upstreamStatus: status },
      retryable: status > 499,
    })
  const { message, param, code } = readError(body, model)
  if (status === 413) return new InferenceError('TOO_LARGE', message)
  if (code?.includes('context') === true || CONTEXT.test(message))
    return new InferenceError('CONTEXT_LENGTH', message)
  const error = badRequest(param, message, code)
  return new InferenceError('BAD_REQUEST', message, { data: { ...error.data, status } })
}

/** Adds the field that is too long to a refusal for its length. @param param `prompt` */
export async function naming<T>(param: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof InferenceError) || error.code !== 'CONTEXT_LENGTH') throw error
    throw new InferenceError('CONTEXT_LENGTH', error.message, { data: { ...error.data, param } })
  }
}

/** The upstream is well and answered, but not what it was asked for: that says nothing about its state. */
export function unkept(message: string): InferenceError {
  return new InferenceError('ENGINE_FAILED', message, { data: { kept: false }, retryable: true })
}

/** How many tokens the prompt has, if a refusal for its length says so. */
export function promptTokensIn(message: string): number | undefined {
  const told =
    /(\d+) (?:tokens )?(?:in|from) the (?:messages|prompt|input)|(\d+) input tokens/i.exec(message)
  const number = told?.[1] ?? told?.[2]
  return number === undefined ? undefined : Number(number)
}

export function readRetryAfter(value: string | string[] | undefined): number {
  const seconds = typeof value === 'string' && /^\d{1,9}$/.test(value) ? Number(value) : 1
  return Math.min(RETRY_AFTER_MAX_SECONDS, Math.max(1, seconds))
}

interface Told {
  readonly message: string
  readonly param: string | undefined
  readonly code: string | undefined
}

/** `{"error":{…}}`, `{"error":"…"}` or `{"message":"…"}`; anything else says nothing. */
function readError(body: Uint8Array, model: string): Told {
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder().decode(body))
  } catch {
    value = undefined
  }
  const inner = isObject(value) ? (value['error'] ?? value) : undefined
  const error = isObject(inner) ? inner : { message: inner }
  return {
    message: readMessage(error['message'], model),
    param: readName(error['param']),
    code: readName(error['code'] ?? error['type']),
  }
}

/** A text of theirs that a caller may see. */
export function readMessage(value: unknown, model: string): string {
  if (typeof value !== 'string' || value === '') return 'The request was not accepted.'
  // A model's name of a letter or two would be found inside other words.
  const anonymous = model.length < 4 ? value : value.replaceAll(model, 'the model')
  return anonymous.replace(/\p{Cc}/gu, ' ').slice(0, MESSAGE_LENGTH_MAX)
}

function readName(value: unknown): string | undefined {
  return typeof value === 'string' && NAME.test(value) ? value : undefined
}
