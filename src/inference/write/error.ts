/**
 * An error as the caller sees it: always an object, with the field at fault, a type and a code.
 *
 * Tested by test/inference/write/error.ts.
 */
import { utf8 } from '../../base/bytes.ts'
import type { InferenceError } from '../errors.ts'
import type { JsonObject } from '../request.ts'

interface Reply {
  readonly status: number
  readonly type: string
  readonly code: string
  /** Where the thrower names no field. */
  readonly param?: string
  /** In place of the error's own message, which is for the operator. */
  readonly message?: string
}

const INVALID = 'invalid_request_error'
const NOT_NOW = 'The service has no capacity for this request at the moment.'
const FAILED = 'The model could not answer this request.'

const REPLIES: Readonly<Record<InferenceError['code'], Reply>> = {
  BAD_REQUEST: { status: 400, type: INVALID, code: 'invalid_value' },
  CONTEXT_LENGTH: {
    status: 400,
    type: INVALID,
    code: 'context_length_exceeded',
    param: 'messages',
  },
  NOT_FOUND: { status: 404, type: INVALID, code: 'unknown_url' },
  TOO_LARGE: { status: 413, type: INVALID, code: 'request_too_large' },
  BUSY: { status: 429, type: 'rate_limit_error', code: 'queue_full', message: NOT_NOW },
  YIELDING: { status: 429, type: 'rate_limit_error', code: 'unavailable', message: NOT_NOW },
  STOPPED: { status: 429, type: 'rate_limit_error', code: 'unavailable', message: NOT_NOW },
  ENGINE_FAILED: { status: 502, type: 'server_error', code: 'engine_failed', message: FAILED },
  ENGINE_MISSING: { status: 502, type: 'server_error', code: 'engine_failed', message: FAILED },
  MODEL_LOAD: { status: 502, type: 'server_error', code: 'engine_failed', message: FAILED },
  ENGINE_TIMEOUT: {
    status: 504,
    type: 'server_error',
    code: 'timeout',
    message: 'The model did not end within the time that this request had.',
  },
}

export function errorStatus(error: InferenceError): number {
  const { status } = error.data
  return typeof status === 'number' ? status : REPLIES[error.code].status
}

/** `{"error":{message,type,param,code}}`. */
export function errorObject(error: InferenceError): JsonObject {
  const reply = REPLIES[error.code]
  const { param, reason } = error.data
  return {
    error: {
      message: reply.message ?? error.message,
      type: reply.type,
      param: typeof param === 'string' ? param : (reply.param ?? null),
      code: typeof reason === 'string' ? reason : reply.code,
    },
  }
}

export function errorBody(error: InferenceError): Uint8Array {
  return utf8(JSON.stringify(errorObject(error)))
}
