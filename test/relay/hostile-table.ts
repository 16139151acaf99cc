/**
 * Whatever a stranger may put into a relay: what comes back, and that nothing else came of it. The real
 * port, from the socket to the disk and the engine.
 */
import { Agent } from 'node:http'
import t from 'tap'
import { encodeRing, parseRing, signRing } from '../../src/crypto/ring.ts'
import { ORDER, readInteger, writeInteger } from '../../src/crypto/scalar.ts'
import {
  decodeRelayResponse,
  encodeRelayRequest,
  type RelayRequest,
  requestSignableHash,
} from '../../src/protocol/relay.ts'
import { chat, fair, type Hostile, meets, stage, untouched } from '../support/hostile.ts'
import { INNERS } from '../support/hostile-inner.ts'
import { RINGS } from '../support/hostile-rings.ts'
import { SESSIONS } from '../support/hostile-sessions.ts'
import { WIRES } from '../support/hostile-wire.ts'
import { call } from '../support/relay-client.ts'
import {
  curve,
  errorOf,
  isRefusal,
  isSigned,
  keys,
  randomBytes,
  withSignature,
} from '../support/relay-gateway.ts'

/** Cases, and the relays that the stake pays for: fewer than a hundred more than are served. */
const CLASSES: Record<string, readonly [cases: readonly Hostile[], relaysMax: number]> = {
  sessions: [SESSIONS, 50],
  rings: [RINGS, 50],
  wires: [WIRES, 90],
  inners: [INNERS, 200],
}

t.test('no two cases have one name', async (t) => {
  const names = Object.values(CLASSES).flatMap(([cases]) => cases.map(({ name }) => name))
  t.equal(new Set(names).size, names.length)
  t.ok(names.length > 400, `${names.length} cases`)
})

for (const [name, [cases, relaysMax]] of Object.entries(CLASSES))
  t.test(name, async (t) => {
    const s = await stage(t, { relaysMax })
    for (const one of cases) await meets(t, s, one)
    await fair(t, s, 'in the end')
    await untouched(t, s, relaysMax)
  })

/** Two answers to one signature: the second scalar is the first and the order of the curve. */
function twice(request: RelayRequest): readonly [RelayRequest, RelayRequest] {
  const members = [keys.app.publicKey, keys.app.publicKey]
  let drawn = 0
  // The nonce of the signer is drawn first; that of the other member is the smallest there is.
  const draw = (length: number) => (drawn++ === 0 ? randomBytes(length) : new Uint8Array(length))
  const message = requestSignableHash(request)
  const good = signRing({ curve, randomBytes: draw }, message, members, keys.app.privateKey)
  const ring = parseRing(good)
  const more = ring.members.map(({ s, key }) => {
    const scalar = readInteger(s)
    return { s: scalar + ORDER < 2n ** 256n ? writeInteger(scalar + ORDER) : s, key }
  })
  const other = encodeRing({ ...ring, members: more })
  return [withSignature(request, good), withSignature(request, other)]
}

t.test('a scalar that is larger by the order of the curve makes no second relay', async (t) => {
  const s = await stage(t, { relaysMax: 50 })
  const [first, second] = twice(chat(s))
  t.notSame(first, second)
  t.ok(isSigned(await s.post(second)), 'the chain takes it as well')
  t.equal(errorOf(await s.post(first)), 'relay_authenticator 4')
  await fair(t, s, 'in the end')
  await untouched(t, s, 50)
})

t.test('a relay cut off at any byte is refused', async (t) => {
  const s = await stage(t, { relaysMax: 50 })
  const whole = encodeRelayRequest(chat(s))
  const before = await s.counts()
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => agent.destroy())
  for (let length = 0; length < whole.length; length++) {
    const { body } = await call(s.port, { body: whole.subarray(0, length), agent })
    const response = decodeRelayResponse(body)
    t.ok(isRefusal(response), `${length} bytes: unsigned`)
    t.match(errorOf(response), /^(relayer_proxy 14|service 1111|rings 3)$/, `${length} bytes`)
  }
  t.strictSame(await s.counts(), before)
  t.ok(isSigned(await s.post(whole)), 'and whole, it is served')
  await untouched(t, s, 50)
})
