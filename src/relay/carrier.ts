/** How a relay came, and so how its answer goes. */
import { decodeHttpRequest, type HttpRequest } from '../protocol/http.ts'
import type { RelayRequest } from '../protocol/relay.ts'
import type { RelayError } from './errors.ts'
import type { PayloadForm } from './respond.ts'
import type { FrameSink } from './stream.ts'

/** What a relay came by. */
export interface Carrier {
  readonly form: PayloadForm
  /** Whether it takes this relay; asked before anything is looked up. @throws RelayError */
  admit?(request: RelayRequest): void
  /** Why the reply is an unsigned one. */
  rejected?(error: RelayError): void
  /** Absent: a stream can only go as one answer. */
  readonly frames?: FrameSink
}

const JSON_HEADERS = [['Content-Type', 'application/json']] as const

/** A body alone is what would be posted to the bare URL: it tells by itself what is asked. */
export function innerRequest(payload: Uint8Array, form: PayloadForm): HttpRequest | undefined {
  if (form === 'bare') return { method: 'POST', url: '/', headers: JSON_HEADERS, body: payload }
  try {
    return decodeHttpRequest(payload)
  } catch {
    return undefined
  }
}
