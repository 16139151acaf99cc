/**
 * What can go wrong between a request and its tokens, as codes.
 *
 * The thrower says whether an error is `retryable`; openai.ts turns codes into statuses, at that one
 * place. Messages of BAD_REQUEST, CONTEXT_LENGTH, NOT_FOUND and TOO_LARGE are shown to the caller, so
 * they name fields and limits; no message quotes a prompt. Tested by test/inference/openai.ts.
 */
import { SupplierError } from '../base/errors.ts'

export const INFERENCE_ERRORS = {
  ENGINE_FAILED:
    'The engine or the upstream server broke off or answered nonsense. Read its log; the relay is not paid.',
  ENGINE_TIMEOUT: 'The engine did not end in the time that the relay had. Allow fewer tokens.',
  ENGINE_MISSING: 'No engine for this platform is installed. Run: pokt-supplier engine install.',
  CONTEXT_LENGTH: 'The request needs more tokens than the context of the model holds.',
  BUSY: 'No slot would be free in time. The relay was refused at once and costs nothing.',
  STOPPED: 'The backend is not running.',
  MODEL_LOAD: 'The weights cannot be loaded. Check the file and the memory that is free.',
  BAD_REQUEST: 'The body asks for something malformed or not offered; data.param names the field.',
  NOT_FOUND: 'There is no such path, method or model.',
  TOO_LARGE: 'The body is larger than the limit of this service.',
  YIELDING: 'The hardware is given back to its owner at the moment.',
} as const

/**
 * `data`, where it is known: `param` (the field at fault), `reason` (an OpenAI error code such as
 * `unsupported_parameter`), `status` (an HTTP status other than the usual one of the code),
 * `retryAfterSeconds` (of BUSY, YIELDING, STOPPED).
 */
export class InferenceError extends SupplierError<keyof typeof INFERENCE_ERRORS> {}

/** @param param the field as the caller would write it: `messages[2].content`; absent: the whole body */
export function badRequest(
  param: string | undefined,
  message: string,
  reason = 'invalid_value',
): InferenceError {
  return new InferenceError('BAD_REQUEST', message, {
    data: param === undefined ? { reason } : { param, reason },
  })
}

/**
 * The engine or the upstream broke off, so that another try may succeed. A cause must not quote the
 * answer; its code, if it has one, becomes `data.detail`.
 */
export function engineFailed(message: string, cause?: unknown): InferenceError {
  const detail = cause instanceof Error && 'code' in cause ? String(cause.code) : undefined
  return new InferenceError('ENGINE_FAILED', message, {
    retryable: true,
    ...(cause === undefined ? {} : { cause }),
    ...(detail === undefined ? {} : { data: { detail } }),
  })
}

/** What is not one of ours is a fault of the engine. */
export function inferenceError(error: unknown): InferenceError {
  if (error instanceof InferenceError) return error
  return new InferenceError('ENGINE_FAILED', 'the engine failed', { cause: error })
}

/** What may be logged of a failure: its kind and where it arose, without any message. */
export function traceOf(error: unknown): Record<string, unknown> {
  if (error instanceof InferenceError) return { code: error.code, ...error.data }
  if (!(error instanceof Error)) return { code: 'ENGINE_FAILED' }
  const { stack = '', message } = error
  const told = stack.indexOf(message)
  const frames = told === -1 ? '' : stack.slice(told + message.length)
  const lines = frames.split('\n').filter((line) => /^\s+at /.test(line))
  return { code: 'ENGINE_FAILED', type: error.name, stack: lines.join('\n') }
}
