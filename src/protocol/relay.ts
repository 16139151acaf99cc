/**
 * Relays: the canonical bytes of a request, a response and the pair of them, and what is hashed and
 * signed.
 *
 * Every hash is over the canonical encoding of the decoded message, never over bytes received. A
 * present but empty message is written (`0a 00`), `meta` always, an empty payload hash never; but a
 * payload hash that was present, even empty, keeps the payload out of what the supplier signs.
 * Source: pokt-network/poktroll proto/pocket/service/relay.proto, x/service/types/relay.go.
 * Tested by test/protocol/relay.ts.
 */
import { sha256 } from '../base/bytes.ts'
import { ProtocolError } from './errors.ts'
import type {
  Relay,
  RelayMinerError,
  RelayRequest,
  RelayResponse,
} from './gen/pocket/service/relay.ts'
import type { SessionHeader } from './gen/pocket/session/session.ts'
import {
  emptyRequest,
  emptyRequestMeta,
  emptyResponse,
  emptyResponseMeta,
  readRequest,
  readResponse,
  writeRequest,
  writeResponse,
} from './messages.ts'
import { validateHeader } from './session.ts'
import { Reader, Writer } from './wire.ts'

export type { Relay, RelayMinerError, RelayRequest, RelayResponse, SessionHeader }

const NOTHING = new Uint8Array(0)

/** Canonical bytes; a missing `meta` is written empty, as Go does. */
export function encodeRelayRequest(request: RelayRequest): Uint8Array {
  return writeRequest(request).finish()
}

/** `meta` is always there in what comes out. @throws ProtocolError WIRE */
export function decodeRelayRequest(bytes: Uint8Array): RelayRequest {
  const request = emptyRequest()
  readRequest(new Reader(bytes), request)
  return request
}

export function encodeRelayResponse(response: RelayResponse): Uint8Array {
  return writeResponse(response).finish()
}

/** `meta` is always there; `payloadHash` is undefined when it was absent. @throws ProtocolError WIRE */
export function decodeRelayResponse(bytes: Uint8Array): RelayResponse {
  const response = emptyResponse()
  readResponse(new Reader(bytes), response)
  return response
}

export function encodeRelay(relay: Relay): Uint8Array {
  return new Writer()
    .message(1, relay.req && writeRequest(relay.req))
    .message(2, relay.res && writeResponse(relay.res))
    .finish()
}

/** @throws ProtocolError WIRE */
export function decodeRelay(bytes: Uint8Array): Relay {
  const relay: Relay = { req: undefined, res: undefined }
  const reader = new Reader(bytes)
  for (const tag of reader) {
    if (tag.field === 1) {
      relay.req ??= emptyRequest()
      readRequest(reader.message(tag), relay.req)
    } else if (tag.field === 2) {
      relay.res ??= emptyResponse()
      readResponse(reader.message(tag), relay.res)
    } else reader.skip(tag)
  }
  return relay
}

/** The message of the ring signature: 32 bytes, over everything but the signature. Not hashed again. */
export function requestSignableHash(request: RelayRequest): Uint8Array {
  const meta = { ...(request.meta ?? emptyRequestMeta()), signature: NOTHING }
  return sha256(encodeRelayRequest({ ...request, meta }))
}

/** 32 bytes, over everything but the signature and, where there is a payload hash, the payload. */
export function responseSignableHash(response: RelayResponse): Uint8Array {
  const meta = { ...(response.meta ?? emptyResponseMeta()), supplierOperatorSignature: NOTHING }
  const payload = response.payloadHash === undefined ? response.payload : NOTHING
  return sha256(encodeRelayResponse({ ...response, meta, payload }))
}

/** What ECDSA signs: the key type of the chain hashes its message, so the hash is hashed once more. */
export function responseDigest(response: RelayResponse): Uint8Array {
  return sha256(responseSignableHash(response))
}

export function payloadHash(payload: Uint8Array): Uint8Array {
  return sha256(payload)
}

/**
 * The bytes that a tree keeps of a relay: the whole request, the response without its payload. The
 * two messages stay as they are. The difference between an absent and an empty payload hash is lost
 * here, as it is on the chain.
 */
export function dehydrate(request: RelayRequest, response: RelayResponse): Uint8Array {
  return encodeRelay({ req: request, res: { ...response, payload: NOTHING } })
}

/** 32 bytes: compared with the difficulty target. */
export function relayHash(relayBytes: Uint8Array): Uint8Array {
  return sha256(relayBytes)
}

/** Where a relay lies in the tree: the trie hashes its keys, and the key is the relay hash. */
export function leafPath(relayHash: Uint8Array): Uint8Array {
  return sha256(relayHash)
}

/**
 * What every request has, in the chain's order and with its texts. The ring signature and the header's
 * truth are not looked at. @throws ProtocolError REQUEST_INVALID
 */
export function validateRequest(request: RelayRequest): void {
  const refuse = (reason: string) =>
    new ProtocolError('REQUEST_INVALID', `${reason}: invalid relay request`)
  checkHeader(request.meta?.sessionHeader, refuse)
  if (!request.meta?.signature.length) throw refuse('missing application signature')
  if (request.meta.supplierOperatorAddress === '')
    throw refuse('relay metadata missing supplier operator address')
}

/** @throws ProtocolError RESPONSE_INVALID */
export function validateResponse(response: RelayResponse): void {
  const refuse = (reason: string) =>
    new ProtocolError('RESPONSE_INVALID', `${reason}: invalid relay response`)
  checkHeader(response.meta?.sessionHeader, refuse)
  if (!response.meta?.supplierOperatorSignature.length)
    throw refuse('missing supplier operator signature')
}

function checkHeader(
  header: SessionHeader | undefined,
  refuse: (reason: string) => ProtocolError,
): void {
  if (header === undefined) throw refuse('missing session header')
  try {
    validateHeader(header)
  } catch (error) {
    throw refuse(`invalid session header: ${(error as Error).message}`)
  }
}
