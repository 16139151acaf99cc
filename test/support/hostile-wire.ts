/**
 * Bytes that are almost a relay request: what no encoder writes, and what decoders differ about. Of a
 * good request, so that what is not refused is served: unknown fields are dropped, the last of a doubled
 * field counts, a doubled message is merged, as in the chain's own code.
 */
import { concat, utf8 } from '../../src/base/bytes.ts'
import { encodeRelayRequest, type RelayRequest } from '../../src/protocol/relay.ts'
import { asking, type Hostile, SERVED } from './hostile.ts'

const UNDECODABLE = 'relayer_proxy 14'
const INVALID = 'service 1111'
const RING = 'rings 3'
const NOTHING = new Uint8Array(0)

/** @param width groups of seven bits to write at least, needless ones too */
export function varint(value: number | bigint, width = 1): Uint8Array {
  const out: number[] = []
  let rest = BigInt.asUintN(64, BigInt(value))
  while (rest > 0x7fn || out.length + 1 < width) {
    out.push(Number(rest & 0x7fn) | 0x80)
    rest >>= 7n
  }
  return Uint8Array.of(...out, Number(rest))
}

const tag = (field: number, wire: number) => varint(field * 8 + wire)
const int = (field: number, value: number | bigint) => concat(tag(field, 0), varint(value))
export const block = (field: number, value: Uint8Array): Uint8Array =>
  concat(tag(field, 2), varint(value.length), value)
const text = (field: number, value: string) => block(field, utf8(value))
const filled = (byte: number, length: number) => new Uint8Array(length).fill(byte)
const many = (times: number, piece: Uint8Array) => {
  const out = new Uint8Array(times * piece.length)
  for (let at = 0; at < out.length; at += piece.length) out.set(piece, at)
  return out
}

/** The fields of a request, each with its tag, to be put together wrongly. */
interface Fields {
  readonly app: Uint8Array
  readonly service: Uint8Array
  readonly session: Uint8Array
  readonly start: Uint8Array
  readonly end: Uint8Array
  readonly header: Uint8Array
  readonly signature: Uint8Array
  readonly supplier: Uint8Array
  readonly meta: Uint8Array
  readonly payload: Uint8Array
  /** The whole, as an encoder writes it. */
  readonly good: Uint8Array
}

function fieldsOf(request: RelayRequest): Fields {
  const { meta, payload } = request
  const header = meta?.sessionHeader
  if (meta === undefined || header === undefined) throw new RangeError('no header')
  const app = text(1, header.applicationAddress)
  const service = text(2, header.serviceId)
  const session = text(3, header.sessionId)
  const start = int(4, header.sessionStartBlockHeight)
  const end = int(5, header.sessionEndBlockHeight)
  const inHeader = block(1, concat(app, service, session, start, end))
  const signature = block(2, meta.signature)
  const supplier = text(3, meta.supplierOperatorAddress)
  return {
    app,
    service,
    session,
    start,
    end,
    header: inHeader,
    signature,
    supplier,
    meta: block(1, concat(inHeader, signature, supplier)),
    payload: block(2, payload),
    good: encodeRelayRequest(request),
  }
}

const made = (name: string, outcome: string, make: (f: Fields) => Uint8Array): Hostile => ({
  name: `wire: ${name}`,
  make: (b) => make(fieldsOf(asking(b))),
  outcome,
})
/** Something before and behind a good request, at each of the three depths. */
const beside = (name: string, outcome: string, bytes: Uint8Array): Hostile[] => [
  made(`${name}, behind the request`, outcome, ({ good }) => concat(good, bytes)),
  made(`${name}, in the meta`, outcome, (f) =>
    concat(block(1, concat(bytes, f.header, f.signature, f.supplier)), f.payload),
  ),
  made(`${name}, in the header`, outcome, (f) => headed(f, bytes)),
]

function headed(f: Fields, ...more: Uint8Array[]): Uint8Array {
  const header = block(1, concat(f.app, f.service, f.session, f.start, f.end, ...more))
  return concat(block(1, concat(header, f.signature, f.supplier)), f.payload)
}

const metaOf = (...parts: Uint8Array[]) => block(1, concat(...parts))

/** What is tried at every depth. */
const BESIDE: readonly Hostile[] = [
  ...beside('an unknown number', SERVED, int(15, 7)),
  ...beside('unknown bytes', SERVED, text(99, 'unknown')),
  ...beside('an unknown field of 8 bytes', SERVED, concat(tag(9, 1), filled(7, 8))),
  ...beside('an unknown field of 4 bytes', SERVED, concat(tag(9, 5), filled(7, 4))),
  ...beside('the highest field number', SERVED, int(2 ** 29 - 1, 7)),
  ...beside('a group', SERVED, concat(tag(9, 3), int(1, 1), tag(9, 4))),
  ...beside('a number of ten bytes', SERVED, concat(tag(9, 0), filled(255, 9), filled(1, 1))),
  ...beside('a number with needless bytes', SERVED, concat(tag(9, 0), varint(7, 10))),
  ...beside('a tag with needless bytes', SERVED, concat(varint(9 * 8, 5), varint(7))),
  ...beside('groups in groups', SERVED, concat(many(10_000, tag(9, 3)), many(10_000, tag(9, 4)))),
  ...beside(
    'a number of eleven bytes',
    UNDECODABLE,
    concat(tag(9, 0), filled(255, 10), filled(1, 1)),
  ),
  ...beside('a number without end', UNDECODABLE, concat(tag(9, 0), filled(255, 5_000))),
  ...beside('field number 0', UNDECODABLE, concat(tag(0, 0), varint(7))),
  ...beside('a field number beyond 29 bits', UNDECODABLE, concat(varint(2 ** 32 + 8), varint(7))),
  ...beside('a tag of 64 bits', UNDECODABLE, concat(varint(2n ** 64n - 8n), varint(7))),
  ...beside('wire type 6', UNDECODABLE, concat(tag(9, 6), varint(7))),
  ...beside('wire type 7', UNDECODABLE, concat(tag(9, 7), varint(7))),
  ...beside('a lone end of a group', UNDECODABLE, tag(9, 4)),
  ...beside('a group without end', UNDECODABLE, concat(tag(9, 3), int(1, 1))),
  ...beside('100,000 groups without end', UNDECODABLE, many(100_000, tag(9, 3))),
  ...beside('a length past the end', UNDECODABLE, concat(tag(9, 2), varint(1_000_000))),
  ...beside('a length of 2^31', UNDECODABLE, concat(tag(9, 2), varint(2 ** 31))),
  ...beside('a length of 2^63', UNDECODABLE, concat(tag(9, 2), varint(2n ** 63n))),
  ...beside('a length below 0', UNDECODABLE, concat(tag(9, 2), varint(-1))),
  ...beside('a million fields', UNDECODABLE, many(500_000, int(9, 0))),
]

const FIELDS: readonly Hostile[] = [
  made('nothing', INVALID, () => NOTHING),
  made('an empty meta', INVALID, () => block(1, NOTHING)),
  made('a payload alone', INVALID, ({ payload }) => payload),
  made('an empty header', INVALID, (f) =>
    concat(metaOf(block(1, NOTHING), f.signature, f.supplier), f.payload),
  ),
  made('a zero byte', UNDECODABLE, () => filled(0, 1)),
  made('zeros', UNDECODABLE, () => filled(0, 10_000)),
  made('ones', UNDECODABLE, () => filled(255, 10_000)),
  made('a response', UNDECODABLE, (f) => concat(f.good, block(2, f.good), tag(4, 4))),
  made('JSON', UNDECODABLE, () => utf8('{"meta":{},"payload":""}')),
  made('the request in hex', UNDECODABLE, ({ good }) => utf8(Buffer.from(good).toString('hex'))),
  made('a length before the request', UNDECODABLE, ({ good }) => concat(varint(good.length), good)),
  made('as a field of another message', INVALID, ({ good }) => block(15, good)),
  made('as gRPC frames it', UNDECODABLE, ({ good }) =>
    concat(filled(0, 4), varint(good.length), good),
  ),
  made('the meta as a number', UNDECODABLE, ({ payload }) => concat(int(1, 1), payload)),
  made('the meta as a group', UNDECODABLE, (f) =>
    concat(tag(1, 3), f.header, tag(1, 4), f.payload),
  ),
  made('the payload as a number', UNDECODABLE, ({ meta }) => concat(meta, int(2, 1))),
  made('the payload as 8 bytes', UNDECODABLE, ({ meta }) => concat(meta, tag(2, 1), filled(0, 8))),
  made('the payload as 4 bytes', UNDECODABLE, ({ meta }) => concat(meta, tag(2, 5), filled(0, 4))),
  made('a height as text', UNDECODABLE, (f) => headed(f, text(4, '11'))),
  made('a height as 8 bytes', UNDECODABLE, (f) => headed(f, tag(5, 1), filled(0, 8))),
  made('an address as a number', UNDECODABLE, (f) => headed(f, int(1, 11))),
  made('the signature as a number', UNDECODABLE, (f) =>
    concat(metaOf(f.header, int(2, 7), f.supplier), f.payload),
  ),
  ...[1, 2, 3].map((field) =>
    made(`text ${field} of the header is not UTF-8`, UNDECODABLE, (f) =>
      headed(f, block(field, Uint8Array.of(0x61, 0xff))),
    ),
  ),
  made('half a surrogate pair in the session id', UNDECODABLE, (f) =>
    headed(f, block(3, Uint8Array.of(0xed, 0xa0, 0x80))),
  ),
  made('a NUL in two bytes in the session id', UNDECODABLE, (f) =>
    headed(f, block(3, Uint8Array.of(0xc0, 0x80))),
  ),
  made('the supplier is not UTF-8', UNDECODABLE, (f) =>
    concat(metaOf(f.header, f.signature, block(3, filled(0x80, 43))), f.payload),
  ),

  made('fields in the opposite order', SERVED, (f) =>
    concat(
      f.payload,
      metaOf(
        f.supplier,
        f.signature,
        block(1, concat(f.end, f.start, f.session, f.service, f.app)),
      ),
    ),
  ),
  made('a meta in three parts', SERVED, (f) =>
    concat(metaOf(f.signature), f.payload, metaOf(f.header), metaOf(f.supplier)),
  ),
  made('a header in two parts', SERVED, (f) =>
    concat(
      metaOf(block(1, concat(f.app, f.end)), f.signature, f.supplier),
      metaOf(block(1, concat(f.service, f.session, f.start))),
      f.payload,
    ),
  ),
  made('lengths with needless bytes', SERVED, (f) =>
    concat(tag(1, 2), varint(f.meta.length - 3, 9), f.meta.subarray(3), f.payload),
  ),
  made('a height with needless bytes', SERVED, (f) => headed(f, tag(4, 0), varint(11, 10))),
  made('a height with bits past 64', SERVED, (f) =>
    headed(
      f,
      tag(4, 0),
      varint(11, 9).map((byte, i) => (i === 8 ? 0x80 : byte)),
      filled(0x7e, 1),
    ),
  ),
  made('the payload twice, the true one last', SERVED, (f) =>
    concat(text(2, 'another'), f.meta, f.payload),
  ),
  made('the payload twice, another last', RING, (f) =>
    concat(f.meta, f.payload, text(2, 'another')),
  ),
  made('an empty payload behind', RING, ({ good }) => concat(good, block(2, NOTHING))),
  made('every field twice, the true one last', SERVED, (f) =>
    concat(
      metaOf(
        block(1, concat(text(1, 'a'), text(2, 'b'), text(3, 'c'), int(4, 1), int(5, 2))),
        text(2, 'd'),
        text(3, 'e'),
      ),
      f.good,
    ),
  ),
  made('the signature twice, another last', RING, (f) =>
    concat(metaOf(f.header, f.signature, text(2, 's'), f.supplier), f.payload),
  ),
  made('the supplier twice, another last', 'relayer_proxy 9', (f) =>
    concat(metaOf(f.header, f.signature, f.supplier, text(3, 's')), f.payload),
  ),
  made('the session twice, another last', 'relay_authenticator 1', (f) => headed(f, text(3, 'ab'))),
  made('the start twice, another last', 'relay_authenticator 1', (f) => headed(f, int(4, 12))),
  made('the service twice, none last', INVALID, (f) => headed(f, text(2, ''))),
  made('the payload cut', RING, (f) => concat(f.meta, block(2, f.payload.subarray(2, 20)))),
]

export const WIRES: readonly Hostile[] = [...FIELDS, ...BESIDE]
