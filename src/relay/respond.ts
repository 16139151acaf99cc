/**
 * What goes back to the gateway: a signed response for a relay that was authorised, an unsigned error
 * reply for what was not. Nothing unverified is ever signed.
 *
 * Inner headers are Content-Type and, where due, Retry-After: never one that changes by itself, since
 * the response is hashed. Source: poktroll pkg/relayer/proxy/error_reply.go. Tests:
 * test/relay/respond.ts.
 */
import { utf8 } from '../base/bytes.ts'
import { BODY_BYTES_MIN } from '../inference/write/frame.ts'
import type { Signer } from '../keys/keyring.ts'
import { encodeHttpResponse } from '../protocol/http.ts'
import {
  encodeRelayResponse,
  payloadHash,
  type RelayMinerError,
  type RelayRequest,
  type RelayResponse,
  responseDigest,
  type SessionHeader,
} from '../protocol/relay.ts'
import { type RelayError, wireError } from './errors.ts'

export interface InnerAnswer {
  readonly status: number
  readonly contentType: string
  readonly body: Uint8Array
  readonly retryAfterSeconds?: number
}

export const EVENT_STREAM = 'text/event-stream'

const NOTHING = new Uint8Array(0)
/** All texts of a true header together have 150 characters. */
const HEADER_TEXT_MAX = 1_000
const NO_HEADER: SessionHeader = {
  applicationAddress: '',
  serviceId: '',
  sessionId: '',
  sessionStartBlockHeight: 0n,
  sessionEndBlockHeight: 0n,
}

/**
 * How a payload is put: as a message of HTTP; over a WebSocket, as its body alone; as a piece of a stream,
 * which is a message of HTTP without headers.
 */
export type PayloadForm = 'http' | 'bare' | 'piece'

/** The response of an authorised relay, with the operator's signature over its header and payload hash. */
export function signedResponse(
  signer: Signer,
  header: SessionHeader,
  answer: InnerAnswer,
  relayMinerError?: RelayMinerError,
  form: PayloadForm = 'http',
): RelayResponse {
  const payload = payloadOf(answer, form)
  const unsigned: RelayResponse = {
    meta: { sessionHeader: header, supplierOperatorSignature: NOTHING },
    payload,
    relayMinerError,
    payloadHash: payloadHash(payload),
  }
  const supplierOperatorSignature = signer.sign(responseDigest(unsigned))
  return { ...unsigned, meta: { sessionHeader: header, supplierOperatorSignature } }
}

function payloadOf(
  { status, contentType, body, retryAfterSeconds }: InnerAnswer,
  form: PayloadForm,
): Uint8Array {
  if (form === 'bare') return body
  if (form === 'piece') return encodeHttpResponse({ status, headers: [], body })
  const headers: [string, string][] = [['Content-Type', contentType]]
  if (retryAfterSeconds !== undefined) headers.push(['Retry-After', String(retryAfterSeconds)])
  return encodeHttpResponse({ status, headers, body })
}

/**
 * Unsigned. Nothing in it has been checked: it carries the header that came, if that is one by size.
 * @param request what was decoded of it; without one the reply carries an empty header
 */
export function errorReply(error: RelayError, request: RelayRequest | undefined): Uint8Array {
  const relayMinerError = wireError(error.code, error.message)
  const header = request?.meta?.sessionHeader
  return encodeRelayResponse({
    meta: {
      sessionHeader: header !== undefined && isSmall(header) ? header : NO_HEADER,
      supplierOperatorSignature: NOTHING,
    },
    payload: utf8(relayMinerError.message),
    relayMinerError,
    payloadHash: undefined,
  })
}

function isSmall({ applicationAddress, serviceId, sessionId }: SessionHeader): boolean {
  return applicationAddress.length + serviceId.length + sessionId.length <= HEADER_TEXT_MAX
}

/** A small OpenAI-shaped error for a relay that we do not answer ourselves. */
export function innerError(
  status: number,
  message: string,
  code: string,
  retryAfterSeconds?: number,
): InnerAnswer {
  const type =
    status === 429 ? 'rate_limit_error' : status < 500 ? 'invalid_request_error' : 'server_error'
  const text = JSON.stringify({ error: { message, type, param: null, code } })
  return {
    status,
    contentType: 'application/json',
    body: utf8(text.padEnd(BODY_BYTES_MIN)),
    ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
  }
}
