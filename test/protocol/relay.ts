import t from 'tap'
import { concat, hex, sha256, unhex, utf8 } from '../../src/base/bytes.ts'
import { decodeHttpRequest, decodeHttpResponse } from '../../src/protocol/http.ts'
import {
  decodeRelay,
  decodeRelayRequest,
  decodeRelayResponse,
  dehydrate,
  encodeRelay,
  encodeRelayRequest,
  encodeRelayResponse,
  leafPath,
  payloadHash,
  type RelayRequest,
  type RelayResponse,
  relayHash,
  requestSignableHash,
  responseDigest,
  responseSignableHash,
  validateRequest,
  validateResponse,
} from '../../src/protocol/relay.ts'
import { isApplicable } from '../../src/protocol/rewards.ts'
import {
  type HeaderJson,
  headerOf,
  type RequestJson,
  type ResponseJson,
  requestOf,
  responseOf,
} from '../support/relays.ts'
import { json, rows } from '../support/vectors.ts'

type Seed = { seed: string; len: number }

interface RelayRow {
  request_json?: RequestJson
  response_json?: ResponseJson
  header: HeaderJson
  request_payload_by_seed: Seed
  response_payload_by_seed: Seed
  request_len: number
  request_sha256: string
  response_len: number
  response_sha256: string
  relay_len: number
  ring_signature: string
  supplier_operator_signature: string
  request_unsigned: string
  request_signable_hash: string
  request: string
  response: string
  payload_hash: string
  response_signable_bytes: string
  response_signable_hash: string
  response_ecdsa_digest: string
  relay: string
  relay_hash: string
  relay_not_dehydrated_sha256: string
  applicable: Record<string, boolean>
  request_valid_basic: string
  response_valid_basic: string
}

function bytesOfSeed({ seed, len }: Seed): Uint8Array {
  const parts: Uint8Array[] = []
  for (let i = 0; parts.length * 32 < len; i++) {
    const counter = Buffer.alloc(4)
    counter.writeUInt32BE(i)
    parts.push(sha256(concat(utf8(seed), counter)))
  }
  return concat(...parts).slice(0, len)
}

const relayRows = rows<RelayRow>('relay.jsonl', 'relay')

/** A row's two messages; where the row leaves a large payload out, made from its seed. */
function messagesOf(row: RelayRow): [RelayRequest, RelayResponse] {
  if (row.request_json !== undefined && row.response_json !== undefined)
    return [requestOf(row.request_json), responseOf(row.response_json)]
  const sessionHeader = headerOf(row.header)
  const payload = bytesOfSeed(row.response_payload_by_seed)
  return [
    {
      meta: {
        sessionHeader,
        signature: unhex(row.ring_signature),
        supplierOperatorAddress: relayRows[0]?.request_json?.meta.supplier_operator_address ?? '',
      },
      payload: bytesOfSeed(row.request_payload_by_seed),
    },
    {
      meta: { sessionHeader, supplierOperatorSignature: unhex(row.supplier_operator_signature) },
      payload,
      payloadHash: payloadHash(payload),
      relayMinerError: undefined,
    },
  ]
}

t.test('every relay of the Go implementation', async (t) => {
  t.equal(relayRows.length, 65)
  for (const row of relayRows) {
    const [request, response] = messagesOf(row)
    const requestBytes = encodeRelayRequest(request)
    const responseBytes = encodeRelayResponse(response)
    if (row.request_json === undefined) {
      t.equal(requestBytes.length, row.request_len, `${row.id} request length`)
      t.equal(hex(sha256(requestBytes)), row.request_sha256, `${row.id} request`)
      t.equal(responseBytes.length, row.response_len, `${row.id} response length`)
      t.equal(hex(sha256(responseBytes)), row.response_sha256, `${row.id} response`)
    } else {
      t.equal(hex(requestBytes), row.request, `${row.id} request`)
      t.equal(hex(responseBytes), row.response, `${row.id} response`)
      t.strictSame(decodeRelayRequest(unhex(row.request)), request, `${row.id} reads its request`)
      t.strictSame(decodeRelayResponse(unhex(row.response)), response, `${row.id} its response`)
      t.equal(hex(dehydrate(request, response)), row.relay, `${row.id} relay`)
    }
    t.equal(hex(requestSignableHash(request)), row.request_signable_hash, `${row.id} request hash`)
    t.equal(
      hex(responseSignableHash(response)),
      row.response_signable_hash,
      `${row.id} response hash`,
    )
    t.equal(hex(sha256(unhex(row.response_signable_bytes))), row.response_signable_hash, row.id)
    t.equal(hex(responseDigest(response)), row.response_ecdsa_digest, `${row.id} digest`)
    if (row.payload_hash !== '')
      t.equal(hex(payloadHash(response.payload)), row.payload_hash, `${row.id} payload hash`)
    const relay = dehydrate(request, response)
    t.equal(hex(relayHash(relay)), row.relay_hash, `${row.id} relay hash`)
    const whole = encodeRelay({ req: request, res: response })
    t.equal(hex(sha256(whole)), row.relay_not_dehydrated_sha256, `${row.id} with its payload`)
    for (const [target, applicable] of Object.entries(row.applicable))
      t.equal(isApplicable(relayHash(relay), unhex(target)), applicable, `${row.id} ${target}`)
  }
})

/** The text an error was thrown with, or nothing. */
function refusal(work: () => void): string {
  try {
    work()
  } catch (error) {
    return (error as Error).message
  }
  return ''
}

t.test('what a request and a response must have', async (t) => {
  for (const row of relayRows) {
    const [request, response] = messagesOf(row)
    t.equal(
      refusal(() => validateRequest(request)),
      row.request_valid_basic,
      row.id,
    )
    t.equal(
      refusal(() => validateResponse(response)),
      row.response_valid_basic,
      row.id,
    )
  }
  const requests = rows<{ request: string; error: string }>('relay.jsonl', 'request-validate')
  for (const row of requests) {
    const check = () => validateRequest(decodeRelayRequest(unhex(row.request)))
    t.equal(refusal(check), row.error, `${row.id} ${row.note}`)
    if (row.error !== '') t.throws(check, { code: 'REQUEST_INVALID' }, row.id)
  }
  t.throws(() => validateRequest({ meta: undefined, payload: new Uint8Array(0) }), {
    message: 'missing session header: invalid relay request',
  })
  t.throws(() => validateResponse(decodeRelayResponse(new Uint8Array(0))), {
    code: 'RESPONSE_INVALID',
    message: 'missing session header: invalid relay response',
  })
})

t.test('unsigned error replies', async (t) => {
  const replies = rows<{
    response: string
    response_json: ResponseJson
    response_valid_basic: string
  }>('relay.jsonl', 'error-reply')
  for (const row of replies) {
    const response = responseOf(row.response_json)
    t.equal(hex(encodeRelayResponse(response)), row.response, `${row.id} ${row.note}`)
    t.strictSame(decodeRelayResponse(unhex(row.response)), response, row.id)
    t.equal(
      refusal(() => validateResponse(response)),
      row.response_valid_basic,
      row.id,
    )
  }
})

t.test('the documented relay', async (t) => {
  const { relay: row } = json<{ relay: Record<string, string> }>('documented.json')
  const bytes = (name: string) => unhex(row[name] ?? '')
  const request = decodeRelayRequest(bytes('request'))
  const response = decodeRelayResponse(bytes('response'))
  const { meta } = request
  t.ok(meta)
  const unsigned = { ...request, meta: meta && { ...meta, signature: new Uint8Array(0) } }
  t.equal(hex(encodeRelayRequest(unsigned)), row['requestUnsigned'])
  t.equal(hex(requestSignableHash(request)), row['requestSignableHash'])
  t.equal(hex(encodeRelayRequest(request)), row['request'])
  t.equal(hex(response.payload), row['responsePayload'])
  t.equal(hex(payloadHash(response.payload)), row['payloadHash'])
  t.equal(hex(responseSignableHash(response)), row['responseSignableHash'])
  t.equal(hex(sha256(bytes('responseSignable'))), row['responseSignableHash'])
  t.equal(hex(responseDigest(response)), row['responseDigest'])
  t.equal(hex(encodeRelayResponse(response)), row['response'])
  const relay = dehydrate(request, response)
  t.equal(hex(relay), row['relay'])
  t.equal(hex(relayHash(relay)), row['relayHash'])
  t.equal(decodeHttpRequest(request.payload).method, 'POST')
  t.equal(decodeHttpResponse(response.payload).status, 200)
})

t.test('the documented replies, frame and dehydrated relays', async (t) => {
  const row = json<{
    relay: Record<string, string>
    rateLimitReply: string
    smallestReply: string
    frame: Record<'payload' | 'payloadHash' | 'signableHash' | 'signature', string> & {
      responseBytes: number
    }
    fixture: { relay: string; relayHash: string; target: string }
    handMadeRelay: { relay: string; relayHash: string; path: string }
  }>('documented.json')
  const { meta } = decodeRelayResponse(unhex(row.relay['response'] ?? ''))
  const limited: RelayResponse = {
    meta: meta && { ...meta, supplierOperatorSignature: new Uint8Array(0) },
    payload: utf8('offchain rate limit hit by relayer proxy'),
    relayMinerError: {
      codespace: 'relayer_proxy',
      code: 7,
      description: 'offchain rate limit hit by relayer proxy',
      message: 'offchain rate limit hit by relayer proxy',
    },
  }
  t.equal(hex(encodeRelayResponse(limited)), row.rateLimitReply)
  const smallest = decodeRelayResponse(unhex(row.smallestReply))
  t.equal(hex(encodeRelayResponse(smallest)), row.smallestReply)

  const payload = unhex(row.frame.payload)
  t.equal(hex(payloadHash(payload)), row.frame.payloadHash)
  const frame: RelayResponse = {
    meta: meta && { ...meta, supplierOperatorSignature: unhex(row.frame.signature) },
    payload,
    payloadHash: payloadHash(payload),
    relayMinerError: undefined,
  }
  t.equal(hex(responseSignableHash(frame)), row.frame.signableHash)
  t.equal(encodeRelayResponse(frame).length, row.frame.responseBytes)

  const fixture = unhex(row.fixture.relay)
  t.equal(hex(encodeRelay(decodeRelay(fixture))), row.fixture.relay)
  t.equal(hex(relayHash(fixture)), row.fixture.relayHash)
  t.ok(isApplicable(relayHash(fixture), unhex(row.fixture.target)))

  const made = unhex(row.handMadeRelay.relay)
  const { req, res } = decodeRelay(made)
  t.ok(req && res)
  if (req && res)
    t.equal(hex(dehydrate(req, { ...res, payload: utf8('x') })), row.handMadeRelay.relay)
  t.equal(hex(relayHash(made)), row.handMadeRelay.relayHash)
  t.equal(hex(leafPath(relayHash(made))), row.handMadeRelay.path)
})

t.test('making a leaf leaves the messages alone', async (t) => {
  const row = relayRows[0]
  t.ok(row)
  if (row === undefined) return
  const [request, response] = messagesOf(row)
  const [requestBefore, responseBefore] = messagesOf(row)
  dehydrate(request, response)
  requestSignableHash(request)
  responseSignableHash(response)
  t.strictSame(request, requestBefore)
  t.strictSame(response, responseBefore)
})
