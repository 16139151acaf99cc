import fc from 'fast-check'
import t from 'tap'
import { concat, hex, unhex, utf8 } from '../../src/base/bytes.ts'
import * as gen from '../../src/protocol/gen/pocket/service/relay.ts'
import { SessionHeader as GenHeader } from '../../src/protocol/gen/pocket/session/session.ts'
import {
  decodeRelay,
  decodeRelayRequest,
  decodeRelayResponse,
  encodeRelay,
  encodeRelayRequest,
  encodeRelayResponse,
  type RelayRequest,
  type RelayResponse,
  requestSignableHash,
  responseSignableHash,
  type SessionHeader,
} from '../../src/protocol/relay.ts'
import { rows } from '../support/vectors.ts'

t.test('non-canonical bytes are put in order or refused', async (t) => {
  const canonical = rows<{
    type: 'RelayRequest' | 'RelayResponse' | 'Relay' | 'SessionHeader'
    bytes: string
    canonical?: string
    error?: string
    signable_hash?: string
    payload_hash_present?: boolean
  }>('relay.jsonl', 'canonical')
  t.equal(canonical.length, 46)
  for (const row of canonical) {
    const what = `${row.id} ${row.note}`
    const bytes = unhex(row.bytes)
    // Go does not look at UTF-8. No address, id or hash is anything else, so ours refuses.
    const refused = row.error !== undefined || row.note?.startsWith('invalid UTF-8')
    const recode = {
      RelayRequest: () => encodeRelayRequest(decodeRelayRequest(bytes)),
      RelayResponse: () => encodeRelayResponse(decodeRelayResponse(bytes)),
      Relay: () => encodeRelay(decodeRelay(bytes)),
      SessionHeader: () => headerThroughRequest(bytes),
    }[row.type]
    if (refused) {
      t.throws(recode, { code: 'WIRE' }, what)
      continue
    }
    t.equal(hex(recode()), row.canonical, what)
    if (row.type === 'RelayRequest')
      t.equal(hex(requestSignableHash(decodeRelayRequest(bytes))), row.signable_hash, what)
    if (row.type === 'RelayResponse') {
      const response = decodeRelayResponse(bytes)
      t.equal(hex(responseSignableHash(response)), row.signable_hash, what)
      t.equal(response.payloadHash !== undefined, row.payload_hash_present, what)
    }
  }
})

/** A header has no codec of its own: it is read and written inside a request. */
function headerThroughRequest(header: Uint8Array): Uint8Array {
  const meta = concat(new Uint8Array([0x0a, header.length]), header)
  const request = decodeRelayRequest(concat(new Uint8Array([0x0a, meta.length]), meta))
  const written = encodeRelayRequest(request)
  t.equal(written[0], 0x0a)
  return written.slice(4)
}

/** Objects like any other: fast-check's own have no prototype. */
const record = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }) =>
  fc.record<T>(model, { noNullPrototype: true })
const text = fc.string({ unit: 'grapheme', maxLength: 50 })
const blob = fc.uint8Array({ maxLength: 300 })
const header: fc.Arbitrary<SessionHeader> = record({
  applicationAddress: text,
  serviceId: text,
  sessionId: text,
  sessionStartBlockHeight: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  sessionEndBlockHeight: fc.bigInt({ min: 0n, max: 2n ** 40n }),
})
const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined })
const request: fc.Arbitrary<RelayRequest> = record({
  meta: record({ sessionHeader: maybe(header), signature: blob, supplierOperatorAddress: text }),
  payload: blob,
})
const response: fc.Arbitrary<RelayResponse> = record({
  meta: record({ sessionHeader: maybe(header), supplierOperatorSignature: blob }),
  payload: blob,
  relayMinerError: maybe(
    record({
      codespace: text,
      code: fc.nat({ max: 0xffff_ffff }),
      description: text,
      message: text,
    }),
  ),
  payloadHash: maybe(fc.uint8Array({ minLength: 1, maxLength: 40 })),
})

t.test('reading gives what was written, and the generated code agrees', async (t) => {
  fc.assert(
    fc.property(request, response, (req, res) => {
      const requestBytes = encodeRelayRequest(req)
      t.strictSame(decodeRelayRequest(requestBytes), req)
      t.equal(hex(gen.RelayRequest.encode(req).finish()), hex(requestBytes))
      t.strictSame(gen.RelayRequest.decode(requestBytes), req)
      const responseBytes = encodeRelayResponse(res)
      t.strictSame(decodeRelayResponse(responseBytes), res)
      t.equal(hex(gen.RelayResponse.encode(res).finish()), hex(responseBytes))
      t.strictSame(gen.RelayResponse.decode(responseBytes), res)
      const relayBytes = encodeRelay({ req, res })
      t.strictSame(decodeRelay(relayBytes), { req, res })
      t.equal(hex(gen.Relay.encode({ req, res }).finish()), hex(relayBytes))
    }),
  )
})

t.test('a cut message is refused, whatever it was', async (t) => {
  fc.assert(
    fc.property(request, fc.nat(), (req, at) => {
      const bytes = encodeRelayRequest({ ...req, payload: utf8('payload') })
      const cut = bytes.slice(0, 1 + (at % (bytes.length - 1)))
      // Between its two fields a message may end; one of them is then missing.
      if (hex(cut) === hex(encodeRelayRequest({ ...req, payload: new Uint8Array(0) }))) return
      t.throws(() => decodeRelayRequest(cut), { code: 'WIRE' })
    }),
  )
})

t.test('the generated header equals ours', async (t) => {
  fc.assert(
    fc.property(header, (sessionHeader) => {
      const inner = GenHeader.encode(sessionHeader).finish()
      const meta = { sessionHeader, signature: new Uint8Array(0), supplierOperatorAddress: '' }
      const ours = encodeRelayRequest({ meta, payload: new Uint8Array(0) })
      t.ok(hex(ours).endsWith(hex(inner)))
    }),
  )
})
