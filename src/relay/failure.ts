/**
 * Errors of lower floors in our words; what the operator may have to mend is told in the log.
 *
 * Tests: test/relay/interruptions.ts, test/relay/streaming.ts.
 */
import { SupplierError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { ChainError } from '../chain/errors.ts'
import type { InferenceAnswer } from '../inference/inference.ts'
import { RelayError } from './errors.ts'
import { EVENT_STREAM, type InnerAnswer, innerError } from './respond.ts'

export function refusalOf(error: unknown, log: Log): RelayError {
  if (error instanceof RelayError) return error
  const code = error instanceof SupplierError ? error.code : undefined
  if (code === 'SESSION_SEALED')
    return new RelayError('EXPIRED', 'session expired: it takes no more relays', { cause: error })
  if (code === 'METER' || error instanceof ChainError) {
    log.warn({ err: error }, 'relay refused, the chain does not answer')
    return new RelayError('CHAIN_SILENT', 'the relay cannot be taken now', { cause: error })
  }
  log.error({ err: error }, 'relay failed')
  return new RelayError('ENGINE', 'the relay could not be completed', { cause: error })
}

/** Of an authorised relay: one that is not to be answered at all, here or again. */
export function isUnsigned({ code }: RelayError): boolean {
  return code === 'REPLAYED' || code === 'EXPIRED'
}

/** A stream that broke off before any of it left is a failure like any other. */
export function asWhole(answer: InferenceAnswer): InnerAnswer {
  if (answer.contentType !== EVENT_STREAM) return answer
  if (answer.refused === true)
    return innerError(429, 'there is no capacity at the moment', 'unavailable', 1)
  if (answer.failed === 'timeout')
    return innerError(504, 'the model did not end in time', 'timeout')
  return innerError(502, 'the model could not answer', 'engine_failed')
}
