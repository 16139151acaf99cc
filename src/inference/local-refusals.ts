/**
 * What the owner's port answers by itself: always an error object. Tested by test/inference/local.ts.
 */
import { STATUS_CODES } from 'node:http'
import { concat, utf8 } from '../base/bytes.ts'
import { askedOf } from './api.ts'
import { badRequest, InferenceError } from './errors.ts'
import { RULES_DEFAULTS } from './inference.ts'
import type { LocalAnswer } from './local-exchange.ts'
import { errorBody, errorStatus } from './write/error.ts'

export function refusal(error: InferenceError): LocalAnswer {
  const status = errorStatus(error)
  const { retryAfterSeconds } = error.data
  return {
    status,
    contentType: 'application/json',
    body: errorBody(error),
    ...(status === 429 ? { retryAfterSeconds: Number(retryAfterSeconds ?? 1) } : {}),
    ...(status === 401 ? { headers: { 'WWW-Authenticate': 'Bearer' } } : {}),
  }
}

export function badPath(): InferenceError {
  return badRequest('url', 'The path of a request begins with a slash.', 'invalid_url')
}

/** The methods of a path. */
export function allowAt(url: string): string {
  const rules = { ...RULES_DEFAULTS, model: '', canStream: false }
  try {
    askedOf({ method: 'GET', url, headers: [], body: new Uint8Array() }, rules)
    return 'GET, HEAD, OPTIONS'
  } catch {
    return url === '*' ? 'GET, HEAD, POST, OPTIONS' : 'POST, OPTIONS'
  }
}

type Broken = readonly [status: number, reason: string, message: string]

const MALFORMED: Broken = [400, 'malformed_request', 'This is not an HTTP request.']

/** By the codes of Node's parser. */
const BROKEN: Readonly<Record<string, Broken>> = {
  HPE_HEADER_OVERFLOW: [431, 'headers_too_large', 'The headers are too long.'],
  HPE_CHUNK_EXTENSIONS_OVERFLOW: [413, 'request_too_large', 'The chunks have long extensions.'],
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'timeout', 'The request did not come in time.'],
}

/** The whole reply to what is not HTTP, too long or too slow to become a request. */
export function brokenReply(error: NodeJS.ErrnoException): Uint8Array {
  const [status, reason, message] = BROKEN[error.code ?? ''] ?? MALFORMED
  const body = errorBody(new InferenceError('BAD_REQUEST', message, { data: { status, reason } }))
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    'Content-Type: application/json',
    `Content-Length: ${body.length}`,
    'Connection: close',
  ]
  return concat(utf8(`${head.join('\r\n')}\r\n\r\n`), body)
}
