import t from 'tap'
import { hex, unhex, utf8 } from '../../src/base/bytes.ts'
import { secretFromHex, signerOf } from '../../src/keys/keyring.ts'
import {
  decodeRelayRequest,
  decodeRelayResponse,
  encodeRelayResponse,
  type SessionHeader,
} from '../../src/protocol/relay.ts'
import { RelayError, wireError } from '../../src/relay/errors.ts'
import { errorReply, innerError, signedResponse } from '../../src/relay/respond.ts'
import { answered } from '../support/relay-bench.ts'
import { curve, errorOf, innerOf, isRefusal, isSigned, operator } from '../support/relay-gateway.ts'
import { json, rows } from '../support/vectors.ts'

/** The header of a whole relay that was made with the reference's libraries. */
const HEADER: SessionHeader = {
  applicationAddress: 'pokt1mrqt5f7qh8uxs27cjm9t7v9e74a9vvdnq5jva4',
  serviceId: 'svc1',
  sessionId: '4e6dc08e1c8e3b0a7a0a2b6d3c5f1e9d8c7b6a5f4e3d2c1b0a99887766554433',
  sessionStartBlockHeight: 1001n,
  sessionEndBlockHeight: 1020n,
}
const { rateLimitReply: RATE_LIMIT, smallestReply: MINIMAL } = json<{
  /** Unsigned, code 7, that header: as the reference sends it. */
  rateLimitReply: string
  /** An empty header and the payload `x`. */
  smallestReply: string
}>('documented.json')

const requestOf = (header: SessionHeader | undefined) => ({
  meta: { sessionHeader: header, signature: utf8('s'), supplierOperatorAddress: 'pokt1' },
  payload: utf8('p'),
})

interface ReplyRow {
  response: string
}

t.test('an error reply has the bytes of the reference', async (t) => {
  const overserviced = errorReply(new RelayError('OVERSERVICED', ''), requestOf(HEADER))
  t.equal(hex(overserviced), RATE_LIMIT)
  const unknown = rows<ReplyRow>('relay.jsonl', 'error-reply').find(
    ({ note }) => note === 'unknown service',
  )
  const bytes = unhex(unknown?.response ?? '')
  const header = decodeRelayResponse(bytes).meta?.sessionHeader
  t.equal(header?.serviceId, 'foo', 'the golden row is there')
  const reply = errorReply(
    new RelayError('FOREIGN_SERVICE', 'service "foo" not configured'),
    requestOf(header),
  )
  t.equal(hex(reply), hex(bytes))
})

t.test('a reply to what could not be decoded has an empty header that is there', async (t) => {
  const bytes = errorReply(new RelayError('UNDECODABLE', 'no'), undefined)
  const reply = decodeRelayResponse(bytes)
  t.equal(hex(bytes.subarray(0, 4)), '0a020a00')
  t.ok(isRefusal(reply))
  const smallest = { ...reply, payload: utf8('x'), relayMinerError: undefined }
  t.equal(hex(encodeRelayResponse(smallest)), MINIMAL)
})

t.test('a refusal is not signed and does not echo what cannot be a header', async (t) => {
  const request = decodeRelayRequest(unhex('0a00'))
  t.strictSame(request.meta?.sessionHeader, undefined)
  t.equal(hex(errorReply(new RelayError('INVALID', 'x'), request).subarray(0, 4)), '0a020a00')
  for (const field of ['applicationAddress', 'serviceId', 'sessionId'] as const) {
    const huge = { ...HEADER, [field]: 'a'.repeat(1_000_000) }
    const bytes = errorReply(new RelayError('INVALID', huge[field]), requestOf(huge))
    t.ok(bytes.length < 2_000, `${field}: ${bytes.length} bytes come back`)
  }
})

t.test('a response is signed by the operator over header, payload hash and error', async (t) => {
  const plain = signedResponse(operator, HEADER, answered())
  t.ok(isSigned(plain))
  t.strictSame(plain.meta?.sessionHeader, HEADER)
  t.equal(plain.relayMinerError, undefined)
  const refused = signedResponse(operator, HEADER, answered(), wireError('REFUSED', ''))
  t.ok(isSigned(refused))
  t.equal(errorOf(refused), 'relayer_proxy 10')
  const altered = [
    { ...plain, payload: utf8('other') },
    { ...plain, relayMinerError: refused.relayMinerError },
    { ...refused, relayMinerError: undefined },
    {
      ...plain,
      meta: { ...refused.meta, ...plain.meta, sessionHeader: { ...HEADER, serviceId: 'x' } },
    },
  ]
  for (const [index, response] of altered.entries())
    t.notOk(isSigned(response as never), `${index}`)
  const other = signerOf(secretFromHex('22'.repeat(32), curve), curve)
  t.notOk(isSigned(signedResponse(other, HEADER, answered())), 'another key')
})

t.test(
  'inside are a content type, a retry hint where due, and nothing that changes by itself',
  async (t) => {
    const answer = { ...answered(), status: 429, retryAfterSeconds: 7 }
    const response = signedResponse(operator, HEADER, answer)
    t.strictSame(innerOf(response), {
      status: 429,
      headers: { 'Content-Type': 'application/json', 'Retry-After': '7' },
      body: '{"choices":[]}',
    })
    t.strictSame(innerOf(signedResponse(operator, HEADER, answered())).headers, {
      'Content-Type': 'application/json',
    })
    const again = signedResponse(operator, HEADER, answer)
    t.equal(hex(encodeRelayResponse(again)), hex(encodeRelayResponse(response)), 'deterministic')
  },
)

t.test('errors of ours have the shape that clients of the API know', async (t) => {
  const shape = (status: number) => {
    const { body, ...rest } = innerError(status, 'why', 'code', 3)
    return { ...rest, ...JSON.parse(new TextDecoder().decode(body)) }
  }
  const error = (type: string) => ({ message: 'why', type, param: null, code: 'code' })
  const common = { contentType: 'application/json', retryAfterSeconds: 3 }
  t.strictSame(shape(429), { status: 429, ...common, error: error('rate_limit_error') })
  t.strictSame(shape(413), { status: 413, ...common, error: error('invalid_request_error') })
  t.strictSame(shape(502), { status: 502, ...common, error: error('server_error') })
  t.notOk('retryAfterSeconds' in innerError(400, 'why', 'code'))
})
