/**
 * What an upstream sent back: a completion, or a refusal and whose fault it is.
 *
 * 401, 403, 404 and the like speak of how we call it, 429 of our own quota there: none of these is
 * the caller's, who would pay for an answer that says so. The rest of 4xx is passed on with its
 * status and its text, cut to size and without the upstream's name for the model.
 * Tested by test/inference/upstream.ts.
 */
import { hex, sha256, utf8 } from '../base/bytes.ts'
import type { Completion } from './backend.ts'
import { badRequest, engineFailed, InferenceError } from './errors.ts'
import { firstChoice, isObject } from './openai.ts'

/** Client errors that speak of our credentials, our URL or our way of asking. */
const OURS = new Set([401, 402, 403, 404, 405, 407, 408, 411, 414, 415, 421, 425, 426, 431])
const MESSAGE_LENGTH_MAX = 500
const RETRY_AFTER_MAX_SECONDS = 3_600
const NAME = /^[\w.[\]-]{1,64}$/
const CONTEXT = /context.{0,20}(length|size|window)|maximum context|too many tokens/i

/** Checks an upstream's `chat.completion`. @throws InferenceError ENGINE_FAILED, without its text */
export function completionOf(body: Uint8Array, stop: readonly string[], model: string): Completion {
  const raw = parse(body)
  const choice = firstChoice(raw)
  const message = choice?.['message']
  if (!isObject(raw) || !isObject(message))
    throw engineFailed('the upstream answered without a choice')
  const content = message['content'] ?? ''
  if (typeof content !== 'string')
    throw engineFailed('the upstream answered with content of another kind')
  const text = untilStop(content, stop)
  return {
    text,
    finishReason: text === content && choice?.['finish_reason'] === 'length' ? 'length' : 'stop',
    usage: readUsage(raw['usage']),
    fingerprint: fingerprintOf(model, raw['system_fingerprint']),
    raw,
  }
}

/** The error that a status other than 2xx means. */
export function refusalOf(
  status: number,
  headers: Readonly<Record<string, string | string[] | undefined>>,
  body: Uint8Array,
  model: string,
): InferenceError {
  if (status === 429) {
    const retryAfterSeconds = readRetryAfter(headers['retry-after'])
    return new InferenceError('BUSY', 'the upstream has no capacity', {
      data: { retryAfterSeconds },
      retryable: true,
    })
  }
  if (status < 400 || status > 499 || OURS.has(status))
    return new InferenceError('ENGINE_FAILED', `the upstream answered with status ${status}`, {
      data: { upstreamStatus: status },
      retryable: status > 499,
    })
  const { message, param, code } = readError(body, model)
  if (status === 413) return new InferenceError('TOO_LARGE', message)
  if (code?.includes('context') === true || CONTEXT.test(message))
    return new InferenceError('CONTEXT_LENGTH', message, { data: { param: 'messages' } })
  const error = badRequest(param, message, code)
  return new InferenceError('BAD_REQUEST', message, { data: { ...error.data, status } })
}

function parse(body: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body)) as unknown
  } catch {
    // Without the cause: its message quotes the answer.
    throw engineFailed('the upstream answered with something other than JSON')
  }
}

function readUsage(value: unknown): Completion['usage'] {
  const count = (name: string) => {
    const tokens = isObject(value) ? value[name] : undefined
    if (typeof tokens !== 'number' || !Number.isSafeInteger(tokens) || tokens < 0)
      throw engineFailed('the upstream answered without counts of tokens')
    return tokens
  }
  return { promptTokens: count('prompt_tokens'), completionTokens: count('completion_tokens') }
}

/** Some servers leave the stop string at the end of the text. */
function untilStop(text: string, stop: readonly string[]): string {
  const ends = stop.map((end) => text.indexOf(end)).filter((at) => at !== -1)
  return ends.length === 0 ? text : text.slice(0, Math.min(...ends))
}

function fingerprintOf(model: string, theirs: unknown): string {
  const told = typeof theirs === 'string' ? theirs : ''
  return `pk1-${hex(sha256(utf8(JSON.stringify([model, told])))).slice(0, 16)}`
}

function readRetryAfter(value: string | string[] | undefined): number {
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

function readMessage(value: unknown, model: string): string {
  if (typeof value !== 'string' || value === '') return 'The request was not accepted.'
  // A model's name of a letter or two would be found inside other words.
  const anonymous = model.length < 4 ? value : value.replaceAll(model, 'the model')
  return anonymous.replace(/\p{Cc}/gu, ' ').slice(0, MESSAGE_LENGTH_MAX)
}

function readName(value: unknown): string | undefined {
  return typeof value === 'string' && NAME.test(value) ? value : undefined
}
