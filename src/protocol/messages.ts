/**
 * The fields of the relay messages, read and written as Go's generated code does: in ascending order,
 * `meta` always, a message that comes twice merged field by field.
 *
 * The readers therefore take the message so far. Source: pokt-network/poktroll
 * proto/pocket/service/relay.proto, proto/pocket/session/types.proto. Tested by test/protocol/messages.ts.
 */
import type {
  RelayMinerError,
  RelayRequest,
  RelayRequestMetadata,
  RelayResponse,
  RelayResponseMetadata,
} from './gen/pocket/service/relay.ts'
import type { SessionHeader } from './gen/pocket/session/session.ts'
import { type Reader, Writer } from './wire.ts'

export function writeRequest(request: RelayRequest): Writer {
  const meta = request.meta ?? emptyRequestMeta()
  const written = new Writer()
    .message(1, meta.sessionHeader && writeHeader(meta.sessionHeader))
    .bytes(2, meta.signature)
    .string(3, meta.supplierOperatorAddress)
  return new Writer().message(1, written).bytes(2, request.payload)
}

export function readRequest(reader: Reader, request: RelayRequest): void {
  for (const tag of reader) {
    if (tag.field === 1) {
      request.meta ??= emptyRequestMeta()
      readRequestMeta(reader.message(tag), request.meta)
    } else if (tag.field === 2) request.payload = reader.bytes(tag)
    else reader.skip(tag)
  }
}

export function writeResponse(response: RelayResponse): Writer {
  const meta = response.meta ?? emptyResponseMeta()
  const written = new Writer()
    .message(1, meta.sessionHeader && writeHeader(meta.sessionHeader))
    .bytes(2, meta.supplierOperatorSignature)
  return new Writer()
    .message(1, written)
    .bytes(2, response.payload)
    .message(3, response.relayMinerError && writeError(response.relayMinerError))
    .bytes(4, response.payloadHash)
}

export function readResponse(reader: Reader, response: RelayResponse): void {
  for (const tag of reader) {
    if (tag.field === 1) {
      response.meta ??= emptyResponseMeta()
      readResponseMeta(reader.message(tag), response.meta)
    } else if (tag.field === 2) response.payload = reader.bytes(tag)
    else if (tag.field === 3) {
      response.relayMinerError ??= { codespace: '', code: 0, description: '', message: '' }
      readError(reader.message(tag), response.relayMinerError)
    } else if (tag.field === 4) response.payloadHash = reader.bytes(tag)
    else reader.skip(tag)
  }
}

/** What Go makes before it reads: `meta` is a value there, never absent. */
export function emptyRequest(): RelayRequest {
  return { meta: emptyRequestMeta(), payload: new Uint8Array(0) }
}

export function emptyRequestMeta(): RelayRequestMetadata {
  return { sessionHeader: undefined, signature: new Uint8Array(0), supplierOperatorAddress: '' }
}

export function emptyResponse(): RelayResponse {
  return {
    meta: emptyResponseMeta(),
    payload: new Uint8Array(0),
    relayMinerError: undefined,
    payloadHash: undefined,
  }
}

export function emptyResponseMeta(): RelayResponseMetadata {
  return { sessionHeader: undefined, supplierOperatorSignature: new Uint8Array(0) }
}

function emptyHeader(): SessionHeader {
  return {
    applicationAddress: '',
    serviceId: '',
    sessionId: '',
    sessionStartBlockHeight: 0n,
    sessionEndBlockHeight: 0n,
  }
}

function writeHeader(header: SessionHeader): Writer {
  return new Writer()
    .string(1, header.applicationAddress)
    .string(2, header.serviceId)
    .string(3, header.sessionId)
    .varint(4, header.sessionStartBlockHeight)
    .varint(5, header.sessionEndBlockHeight)
}

function writeError(error: RelayMinerError): Writer {
  return new Writer()
    .string(1, error.codespace)
    .varint(2, error.code)
    .string(3, error.description)
    .string(4, error.message)
}

function readRequestMeta(reader: Reader, meta: RelayRequestMetadata): void {
  for (const tag of reader) {
    if (tag.field === 1) {
      meta.sessionHeader ??= emptyHeader()
      readHeader(reader.message(tag), meta.sessionHeader)
    } else if (tag.field === 2) meta.signature = reader.bytes(tag)
    else if (tag.field === 3) meta.supplierOperatorAddress = reader.string(tag)
    else reader.skip(tag)
  }
}

function readResponseMeta(reader: Reader, meta: RelayResponseMetadata): void {
  for (const tag of reader) {
    if (tag.field === 1) {
      meta.sessionHeader ??= emptyHeader()
      readHeader(reader.message(tag), meta.sessionHeader)
    } else if (tag.field === 2) meta.supplierOperatorSignature = reader.bytes(tag)
    else reader.skip(tag)
  }
}

function readHeader(reader: Reader, header: SessionHeader): void {
  for (const tag of reader) {
    if (tag.field === 1) header.applicationAddress = reader.string(tag)
    else if (tag.field === 2) header.serviceId = reader.string(tag)
    else if (tag.field === 3) header.sessionId = reader.string(tag)
    else if (tag.field === 4) header.sessionStartBlockHeight = reader.int64(tag)
    else if (tag.field === 5) header.sessionEndBlockHeight = reader.int64(tag)
    else reader.skip(tag)
  }
}

function readError(reader: Reader, error: RelayMinerError): void {
  for (const tag of reader) {
    if (tag.field === 1) error.codespace = reader.string(tag)
    else if (tag.field === 2) error.code = reader.uint32(tag)
    else if (tag.field === 3) error.description = reader.string(tag)
    else if (tag.field === 4) error.message = reader.string(tag)
    else reader.skip(tag)
  }
}
