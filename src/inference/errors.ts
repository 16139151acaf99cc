/**
 * What can go wrong between a request and its tokens, as codes.
 *
 * The thrower says whether a code is `retryable`; `inference.ts` turns codes into HTTP statuses at
 * one place. Messages of BAD_REQUEST, NOT_FOUND and TOO_LARGE are shown to the caller, so they name
 * fields and limits and never quote a prompt. Tested by test/inference/openai.ts and
 * test/inference/inference.ts.
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
 * ENGINE_FAILED, BUSY, STOPPED and YIELDING are thrown with `retryable: true`. BAD_REQUEST and
 * CONTEXT_LENGTH carry `data.param` (the field at fault) and BAD_REQUEST may carry `data.reason`
 * (an OpenAI code such as `unsupported_parameter`); BUSY and YIELDING may carry
 * `data.retryAfterSeconds`.
 */
export class InferenceError extends SupplierError<keyof typeof INFERENCE_ERRORS> {}
