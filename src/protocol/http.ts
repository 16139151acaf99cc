/**
 * The HTTP message inside a relay's payload: POKTHTTPRequest and POKTHTTPResponse.
 *
 * Written as protobuf-go does when told to be deterministic: ascending fields, header entries sorted
 * bytewise by name, key and value of an entry always there, valid UTF-8 only. Nothing recomputes these
 * bytes, so this makes answers reproducible and is no rule of the chain. Read as protobuf-go does: a
 * field of another wire type counts as unknown, the last entry of a name wins.
 * Source: pokt-network/shannon-sdk proto/types/http.proto, types/. Tested by test/protocol/http.ts.
 */
import { compare, utf8 } from '../base/bytes.ts'
import { Reader, requireUnicode, type Tag, WIRE_BYTES, WIRE_VARINT, Writer } from './wire.ts'

/** A name and its values in order. */
export type HttpHeader = readonly [name: string, ...values: string[]]

export interface HttpRequest {
  readonly method: string
  /** As the gateway wrote it, mostly absolute with a host that is not ours: read path and query only. */
  readonly url: string
  readonly headers: readonly HttpHeader[]
  readonly body: Uint8Array
}

export interface HttpResponse {
  readonly status: number
  readonly headers: readonly HttpHeader[]
  readonly body: Uint8Array
}

/** Names are put in canonical form; those that become equal are joined. @throws ProtocolError WIRE */
export function encodeHttpRequest(request: HttpRequest): Uint8Array {
  requireUnicode(request.method)
  requireUnicode(request.url)
  const writer = new Writer().string(1, request.method)
  for (const entry of writeHeaders(request.headers)) writer.message(2, entry)
  return writer.string(3, request.url).bytes(4, request.body).finish()
}

/** Headers come out by their map key, in the order of the wire. @throws ProtocolError WIRE */
export function decodeHttpRequest(bytes: Uint8Array): HttpRequest {
  let [method, url] = ['', '']
  let body: Uint8Array = new Uint8Array(0)
  const headers = new Map<string, string[]>()
  const reader = new Reader(bytes)
  for (const tag of reader) {
    if (isField(tag, 1, WIRE_BYTES)) method = reader.string(tag)
    else if (isField(tag, 2, WIRE_BYTES)) readEntry(reader.message(tag), headers)
    else if (isField(tag, 3, WIRE_BYTES)) url = reader.string(tag)
    else if (isField(tag, 4, WIRE_BYTES)) body = reader.bytes(tag)
    else reader.skip(tag)
  }
  return { method, url, headers: listOf(headers), body }
}

/** Names are put in canonical form; those that become equal are joined. @throws ProtocolError WIRE */
export function encodeHttpResponse(response: HttpResponse): Uint8Array {
  const writer = new Writer().varint(1, response.status)
  for (const entry of writeHeaders(response.headers)) writer.message(2, entry)
  return writer.bytes(3, response.body).finish()
}

/** Headers come out by their map key, in the order of the wire. @throws ProtocolError WIRE */
export function decodeHttpResponse(bytes: Uint8Array): HttpResponse {
  let status = 0
  let body: Uint8Array = new Uint8Array(0)
  const headers = new Map<string, string[]>()
  const reader = new Reader(bytes)
  for (const tag of reader) {
    if (isField(tag, 1, WIRE_VARINT)) status = reader.uint32(tag)
    else if (isField(tag, 2, WIRE_BYTES)) readEntry(reader.message(tag), headers)
    else if (isField(tag, 3, WIRE_BYTES)) body = reader.bytes(tag)
    else reader.skip(tag)
  }
  return { status, headers: listOf(headers), body }
}

/** `content-type` → `Content-Type`; a name with a byte that no header name may have stays as it is. */
export function canonicalHeader(name: string): string {
  if (!/^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(name)) return name
  return name.toLowerCase().replace(/(^|-)[a-z]/g, (start) => start.toUpperCase())
}

function writeHeaders(headers: readonly HttpHeader[]): Writer[] {
  const joined = new Map<string, string[]>()
  for (const [name, ...values] of headers) {
    for (const text of [name, ...values]) requireUnicode(text)
    const canonical = canonicalHeader(name)
    joined.set(canonical, [...(joined.get(canonical) ?? []), ...values])
  }
  return [...joined]
    .sort(([a], [b]) => compare(utf8(a), utf8(b)))
    .map(([name, values]) => {
      const header = new Writer().string(1, name)
      for (const value of values) header.element(2, value)
      return new Writer().element(1, name).message(2, header)
    })
}

function readEntry(entry: Reader, headers: Map<string, string[]>): void {
  let name = ''
  const values: string[] = []
  for (const tag of entry) {
    if (isField(tag, 1, WIRE_BYTES)) name = entry.string(tag)
    else if (isField(tag, 2, WIRE_BYTES)) readHeader(entry.message(tag), values)
    else entry.skip(tag)
  }
  headers.set(name, values)
}

/** Field 1 repeats the name, which the entry's key has said already; it must be UTF-8 all the same. */
function readHeader(header: Reader, values: string[]): void {
  for (const tag of header) {
    if (isField(tag, 1, WIRE_BYTES)) header.string(tag)
    else if (isField(tag, 2, WIRE_BYTES)) values.push(header.string(tag))
    else header.skip(tag)
  }
}

function isField(tag: Tag, field: number, wire: number): boolean {
  return tag.field === field && tag.wire === wire
}

function listOf(headers: Map<string, string[]>): HttpHeader[] {
  return [...headers].map(([name, values]) => [name, ...values] as const)
}
