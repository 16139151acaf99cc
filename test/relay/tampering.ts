import t from 'tap'
import { utf8 } from '../../src/base/bytes.ts'
import { addressOf } from '../../src/protocol/address.ts'
import {
  encodeRelayRequest,
  type RelayRequest,
  type RelayResponse,
  type SessionHeader,
} from '../../src/protocol/relay.ts'
import { type Bench, bench } from '../support/relay-bench.ts'
import {
  curve,
  errorOf,
  isRefusal,
  isSigned,
  operator,
  randomBytes,
  signed,
  type Who,
  withSignature,
} from '../support/relay-gateway.ts'

const SESSION = 'relay_authenticator 1'
const RING = 'rings 3'
const someone = addressOf(curve.publicKey(randomBytes(32)))

type Tamper = (request: RelayRequest, bench: Bench) => RelayRequest | Uint8Array

/** Signs what was altered: only the chain's own header can tell. */
const headed =
  (over: Partial<SessionHeader>): Tamper =>
  (request, bench) => {
    const meta = request.meta ?? bench.request().meta
    const header = { ...bench.header(), ...over }
    return signed({
      ...request,
      meta: {
        signature: utf8('s'),
        supplierOperatorAddress: meta?.supplierOperatorAddress ?? '',
        sessionHeader: header,
      },
    })
  }
const supplied =
  (supplierOperatorAddress: string): Tamper =>
  (request) =>
    signed({
      ...request,
      meta: {
        signature: utf8('s'),
        sessionHeader: request.meta?.sessionHeader,
        supplierOperatorAddress,
      },
    })
const signedBy =
  (members: readonly Who[], by: Who): Tamper =>
  (request) =>
    signed(request, members, by)
/** Alters the good signature. */
const resigned =
  (alter: (signature: Uint8Array) => Uint8Array): Tamper =>
  (request) =>
    withSignature(request, alter(request.meta?.signature.slice() ?? utf8('')))
const flipped = (at: number) =>
  resigned((signature) => {
    signature[at] = (signature[at] ?? 0) ^ 1
    return signature
  })

/** What is done to a good request; what comes back: codespace and code. */
const CASES: Record<string, [tamper: Tamper, error: string]> = {
  'another application': [headed({ applicationAddress: someone }), 'query 3'],
  'application in capitals': [
    (request, bench) =>
      headed({ applicationAddress: bench.application.toUpperCase() })(request, bench),
    'query 3',
  ],
  'application is no address': [headed({ applicationAddress: 'nonsense' }), 'service 1111'],
  'another service of ours': [headed({ serviceId: 'other' }), 'query 3'],
  'a service that is not ours': [headed({ serviceId: 'nope' }), 'relayer_proxy 3'],
  'another session id': [headed({ sessionId: 'ab'.repeat(32) }), SESSION],
  'no session id': [headed({ sessionId: '' }), 'service 1111'],
  'start one later': [headed({ sessionStartBlockHeight: 12n }), SESSION],
  'start one earlier': [headed({ sessionStartBlockHeight: 10n }), SESSION],
  'start 0': [headed({ sessionStartBlockHeight: 0n }), 'service 1111'],
  'end one later': [headed({ sessionEndBlockHeight: 21n }), SESSION],
  'end one earlier': [headed({ sessionEndBlockHeight: 19n }), SESSION],
  'end before start': [headed({ sessionEndBlockHeight: 11n }), 'service 1111'],
  'a header without anything': [
    headed({ applicationAddress: '', serviceId: '', sessionId: '' }),
    'service 1111',
  ],
  'another supplier': [supplied(someone), 'relayer_proxy 9'],
  'no supplier': [supplied(''), 'service 1111'],
  'no signature': [(request) => withSignature(request, utf8('')), 'service 1111'],
  'signature: size': [flipped(3), RING],
  'signature: first challenge': [flipped(35), RING],
  'signature: key image': [flipped(40), RING],
  'signature: answer of the first': [flipped(100), RING],
  'signature: first key': [flipped(101), RING],
  'signature: answer of the second': [flipped(165), RING],
  'signature: second key': [flipped(198), RING],
  'a byte behind the ring': [resigned((bytes) => Uint8Array.of(...bytes, 0)), RING],
  'a byte less': [resigned((bytes) => bytes.subarray(0, -1)), RING],
  'a ring of one': [
    resigned((bytes) => {
      bytes[3] = 1
      return bytes.subarray(0, 134)
    }),
    RING,
  ],
  'a ring of 65': [
    resigned((bytes) => {
      const long = new Uint8Array(69 + 65 * 65)
      long.set(bytes)
      long[3] = 65
      return long
    }),
    RING,
  ],
  'a ring of 64 that is well signed': [
    signedBy(
      Array.from({ length: 64 }, () => 'app'),
      'app',
    ),
    RING,
  ],
  'a stranger in the ring': [signedBy(['app', 'stranger'], 'app'), RING],
  'a gateway without a delegation': [signedBy(['app', 'gateway'], 'gateway'), RING],
  'a ring of strangers': [signedBy(['stranger', 'stranger'], 'stranger'), RING],
  'another payload': [(request) => ({ ...request, payload: utf8('x') }), RING],
  'no payload': [(request) => ({ ...request, payload: utf8('') }), RING],
  'signed for another supplier': [
    (request, bench) => {
      const other = supplied(someone)(request, bench) as RelayRequest
      return withSignature(request, other.meta?.signature ?? utf8(''))
    },
    RING,
  ],
  'cut in the middle': [
    (request) => encodeRelayRequest(request).subarray(0, 200),
    'relayer_proxy 14',
  ],
  garbage: [() => utf8('garbage'), 'relayer_proxy 14'],
  'no bytes': [() => utf8(''), 'service 1111'],
  'a text that is not UTF-8': [
    () => Uint8Array.of(0x0a, 0x05, 0x0a, 0x03, 0x0a, 0x01, 0xff),
    'relayer_proxy 14',
  ],
}

/** Refused, and as if it had never been there. */
async function refused(t: Tap, b: Bench, response: RelayResponse, error: string, name: string) {
  t.equal(errorOf(response), error, name)
  t.ok(isRefusal(response), `${name}: not signed`)
  t.equal(b.inference.requests.length, 0, `${name}: not served`)
  t.equal((await b.mined()).length + (await b.served()), 0, `${name}: not mined`)
  t.equal(await b.record(), undefined, `${name}: no session was opened for it`)
}
type Tap = Pick<typeof t, 'equal' | 'ok'>

t.test('whatever is altered in a relay, it is refused before anything is done', async (t) => {
  const b = await bench(t, { relaysMax: 3 })
  for (const [name, [tamper, error]] of Object.entries(CASES))
    await refused(t, b, await b.send(tamper(b.request(), b)), error, name)
  t.equal(b.handler.counts.rejected, Object.keys(CASES).length)
  t.equal(await b.left(), 3, 'the meter was not touched')
  const good = await b.send(b.request())
  t.ok(isSigned(good), 'what was not altered is served')
  t.equal(b.inference.requests.length, 1)
})

t.test('the header that came is what goes back', async (t) => {
  const b = await bench(t)
  const header = { ...b.header(), sessionId: 'ab'.repeat(32) }
  t.strictSame((await b.send(b.request(header))).meta?.sessionHeader, header)
})

t.test('each of the five fields must be that of the header on the chain', async (t) => {
  const b = await bench(t)
  const fields: Partial<SessionHeader>[] = [
    { applicationAddress: someone },
    { serviceId: 'other' },
    { sessionId: 'ab'.repeat(32) },
    { sessionStartBlockHeight: 12n },
    { sessionEndBlockHeight: 21n },
  ]
  const request = b.request()
  for (const [index, over] of fields.entries()) {
    // Another height each time: what was answered for a session is remembered.
    b.chain.reach(11 + 10 * index)
    const other = b.request()
    b.chain.headerOver = over
    await refused(t, b, await b.send(other), SESSION, Object.keys(over).join())
    b.chain.headerOver = {}
  }
  b.chain.reach(61)
  t.ok(isSigned(await b.send(b.request())))
  t.equal(errorOf(await b.send(request)), SESSION)
})

t.test('an account without a public key on the chain cannot sign', async (t) => {
  const b = await bench(t)
  b.chain.publicKeys.set(b.application, undefined)
  await refused(t, b, await b.send(b.request()), 'rings 2', 'no key')
  b.chain.publicKeys.delete(b.application)
  b.chain.reach(16)
  await refused(t, b, await b.send(b.request()), 'rings 2', 'no account')
})

t.test('a supplier that was not chosen refuses', async (t) => {
  const b = await bench(t)
  b.chain.suppliers = [someone]
  await refused(t, b, await b.send(b.request()), 'relay_authenticator 2', 'not chosen')
})

t.test('while the chain is silent nothing is served, and then it is', async (t) => {
  const b = await bench(t)
  const request = b.request()
  for (const method of ['sharedParams', 'session', 'application', 'account']) {
    b.chain.fall(true, method)
    await refused(t, b, await b.send(request), 'relayer_proxy 5', method)
  }
  b.chain.fall(false)
  t.ok(isSigned(await b.send(request)))
})

t.test('a session that is over or not yet there is refused', async (t) => {
  const b = await bench(t, { head: 22 })
  await refused(t, b, await b.send(b.request(b.header(15))), SESSION, 'past grace')
  await refused(t, b, await b.send(b.request(b.header(31))), SESSION, 'after next')
  const header = b.header(15)
  const text = (await b.send(b.request(header))).relayMinerError?.message
  t.equal(text, 'session expired, expecting: 20, got: 22.: invalid session in relayer request')
})

/** Texts that programs of others look for. */
const TEXTS: Record<string, [tamper: Tamper, text: RegExp]> = {
  header: [() => utf8(''), /^missing session header: invalid relay request$/],
  address: [
    headed({ applicationAddress: 'nonsense' }),
    /^invalid session header: "nonsense"; \(.*\): invalid application address for session: invalid relay request$/,
  ],
  signature: [
    (request) => withSignature(request, utf8('')),
    /^missing application signature: invalid relay request$/,
  ],
  supplier: [
    supplied(''),
    /^relay metadata missing supplier operator address: invalid relay request$/,
  ],
  'session id': [
    headed({ sessionId: 'cd'.repeat(32) }),
    /^session ID mismatch, expecting: [0-9a-f]{64}, got: (cd){32}\.: invalid session in relayer request$/,
  ],
  service: [
    headed({ serviceId: 'nope' }),
    /^service "nope" not configured: service endpoint not handled by relayer proxy$/,
  ],
  'another supplier': [supplied(someone), /supplier\(s\) not reachable$/],
  ring: [
    flipped(100),
    /^invalid relay request signature or bytes: invalid relay request signature$/,
  ],
  garbage: [() => utf8('garbage'), /: failed to unmarshal relay request$/],
}

t.test('the texts are those that gateways know', async (t) => {
  const b = await bench(t)
  for (const [name, [tamper, text]] of Object.entries(TEXTS))
    t.match((await b.send(tamper(b.request(), b))).relayMinerError?.message, text, name)
  b.chain.reach(21)
  b.chain.suppliers = [someone]
  t.equal(
    (await b.send(b.request())).relayMinerError?.message,
    `supplier ${operator.address}: supplier does not belong to session`,
  )
})
