/** Relay messages as the golden data writes them: proto JSON, bytes in base64. */
import { unbase64 } from '../../src/base/bytes.ts'
import type { RelayRequest, RelayResponse, SessionHeader } from '../../src/protocol/relay.ts'

export interface HeaderJson {
  application_address: string
  service_id: string
  session_id: string
  session_start_block_height: string
  session_end_block_height: string
}

export interface RequestJson {
  meta: {
    session_header: HeaderJson | null
    signature: string | null
    supplier_operator_address: string
  }
  payload: string | null
}

export interface ResponseJson {
  meta: { session_header: HeaderJson | null; supplier_operator_signature: string | null }
  payload: string | null
  payload_hash: string | null
  relay_miner_error: {
    codespace: string
    code: number
    description: string
    message: string
  } | null
}

const base64 = (text: string | null) => (text === null ? new Uint8Array(0) : unbase64(text))

export function headerOf(header: HeaderJson | null): SessionHeader | undefined {
  if (header === null) return undefined
  return {
    applicationAddress: header.application_address,
    serviceId: header.service_id,
    sessionId: header.session_id,
    sessionStartBlockHeight: BigInt(header.session_start_block_height),
    sessionEndBlockHeight: BigInt(header.session_end_block_height),
  }
}

export function requestOf(source: RequestJson): RelayRequest {
  return {
    meta: {
      sessionHeader: headerOf(source.meta.session_header),
      signature: base64(source.meta.signature),
      supplierOperatorAddress: source.meta.supplier_operator_address,
    },
    payload: base64(source.payload),
  }
}

export function responseOf(source: ResponseJson): RelayResponse {
  return {
    meta: {
      sessionHeader: headerOf(source.meta.session_header),
      supplierOperatorSignature: base64(source.meta.supplier_operator_signature),
    },
    payload: base64(source.payload),
    payloadHash: source.payload_hash === null ? undefined : base64(source.payload_hash),
    relayMinerError: source.relay_miner_error ?? undefined,
  }
}
