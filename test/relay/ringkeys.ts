import t from 'tap'
import { equal, hex, sha256, utf8 } from '../../src/base/bytes.ts'
import { height } from '../../src/base/units.ts'
import { encodeRing, parseRing, type Ring, RingVerifier, signRing } from '../../src/crypto/ring.ts'
import { addressOf } from '../../src/protocol/address.ts'
import { Application } from '../../src/protocol/gen/pocket/application/application.ts'
import { gatewaysOf, RingKeys, replayKeyOf, ringOf } from '../../src/relay/ringkeys.ts'
import { FakeChain } from '../support/relay-chain.ts'
import { curve, keys, randomBytes, turned, type Who } from '../support/relay-gateway.ts'
import { rows } from '../support/vectors.ts'

const { signal } = new AbortController()
const MESSAGE = sha256(utf8('a request'))
const gateway = addressOf(keys.gateway.publicKey)
const stranger = addressOf(keys.stranger.publicKey)

function ring(members: readonly Who[], by: Who, message = MESSAGE): Ring {
  const publicKeys = members.map((who) => keys[who].publicKey)
  return parseRing(signRing({ curve, randomBytes }, message, publicKeys, keys[by].privateKey))
}

/** Sessions of ten blocks; the one of height 15 ends at 20. */
function setup(over: Partial<Application> = {}) {
  const chain = new FakeChain(15)
  const application = chain.stake(keys.app.publicKey, over)
  chain.publicKeys.set(gateway, keys.gateway.publicKey)
  chain.publicKeys.set(stranger, keys.stranger.publicKey)
  const rings = new RingKeys({ chain, verifier: new RingVerifier({ curve }) })
  const check = (signature: Ring, at = 15) =>
    rings.requireMembers(signature, chain.header(application, at), height(at), signal)
  return { chain, application, rings, check }
}

interface MembersRow {
  delegatee_gateway_addresses: string[] | null
  pending_undelegations: Record<string, string[]>
  session_end_height: string
  gateways: string[] | null
}

t.test('the gateways of a session are those of the reference', async (t) => {
  for (const row of rows<MembersRow>('relay.jsonl', 'ring-members')) {
    const pending = Object.entries(row.pending_undelegations)
    const application = Application.fromPartial({
      delegateeGatewayAddresses: row.delegatee_gateway_addresses ?? [],
      pendingUndelegations: new Map(
        pending.map(([at, gatewayAddresses]) => [BigInt(at), { gatewayAddresses }]),
      ),
    })
    const found = gatewaysOf(application, height(BigInt(row.session_end_height)))
    const expected = new Set(row.gateways ?? [])
    t.strictSame(new Set(found), expected, `${row.id} ${row.note}`)
  }
})

t.test('an application without gateways signs with itself or with the placeholder', async (t) => {
  const { check } = setup()
  await check(ring(['app', 'app'], 'app'))
  await check(ring(['placeholder', 'app'], 'app'))
  await check(ring(['placeholder', 'placeholder'], 'placeholder'))
  await t.rejects(check(ring(['app', 'gateway'], 'gateway')), { code: 'RING_INVALID' })
})

t.test('a gateway takes the place of the placeholder; order and size are free', async (t) => {
  const { check } = setup({ delegateeGatewayAddresses: [gateway, stranger] })
  await check(ring(['app', 'gateway'], 'gateway'))
  await check(ring(['gateway', 'app'], 'gateway'))
  await check(ring(['stranger', 'app', 'gateway'], 'gateway'))
  await check(ring(['app', 'app'], 'app'))
  for (const members of [
    ['placeholder', 'app'],
    ['app', 'gateway', 'operator'],
  ] satisfies Who[][])
    await t.rejects(check(ring(members, 'app')), { code: 'RING_INVALID' }, members.join())
})

t.test('keys that may sign make no long ring by being repeated', async (t) => {
  const { check } = setup()
  await check(ring(['app', 'app', 'app'], 'app'))
  const long: Who[] = Array.from({ length: 64 }, () => 'app')
  await t.rejects(check(ring(long, 'app')), { code: 'RING_INVALID', message: /repeats/ })
})

t.test(
  'an undelegated gateway signs for the session in which it went, not for later ones',
  async (t) => {
    const { chain, check } = setup({
      pendingUndelegations: new Map([[20n, { gatewayAddresses: [gateway] }]]),
    })
    await check(ring(['app', 'gateway'], 'gateway'), 15)
    chain.reach(21)
    await check(ring(['app', 'gateway'], 'gateway'), 15)
    await t.rejects(check(ring(['app', 'gateway'], 'gateway'), 21), { code: 'RING_INVALID' })
  },
)

t.test('a fresh delegation is looked for once a height', async (t) => {
  const { chain, application, check } = setup()
  const asked = () => chain.count('application')
  await check(ring(['app', 'app'], 'app'))
  t.equal(asked(), 1)
  const staked = chain.applications.get(application)
  chain.applications.set(
    application,
    Application.fromPartial({ ...staked, delegateeGatewayAddresses: [gateway] }),
  )
  const fresh = ring(['app', 'gateway'], 'gateway')
  await t.rejects(check(fresh, 15), { code: 'RING_INVALID' }, 'looked at that height already')
  t.equal(asked(), 1)
  chain.reach(16)
  await check(fresh, 16)
  t.equal(asked(), 2)
  await check(ring(['app', 'app'], 'app'), 16)
  chain.reach(17)
  await check(fresh, 17)
  t.equal(asked(), 2, 'who is known is not asked for')
  const foreign = ring(['app', 'operator'], 'operator')
  for (let i = 0; i < 50; i++)
    await t.rejects(check(foreign, 17), { code: 'RING_INVALID' }, `time ${i}`)
  t.equal(asked(), 3, 'fifty foreign rings at one height cost one question')
})

t.test('the placeholder goes when the first gateway comes, also within a session', async (t) => {
  const { chain, application, check } = setup()
  const shared = ring(['placeholder', 'app'], 'app')
  await check(shared)
  const staked = chain.applications.get(application)
  chain.applications.set(
    application,
    Application.fromPartial({ ...staked, delegateeGatewayAddresses: [gateway] }),
  )
  chain.reach(16)
  await t.rejects(check(shared, 16), { code: 'RING_INVALID' })
  await check(ring(['app', 'app'], 'app'), 16)
})

t.test('a key that the chain does not have makes the ring unknown, for now', async (t) => {
  const { chain, check, application } = setup({ delegateeGatewayAddresses: [gateway] })
  chain.publicKeys.set(gateway, undefined)
  const mine = ring(['app', 'app'], 'app')
  await t.rejects(check(mine), { code: 'RING_UNKNOWN', message: /no public key/ })
  chain.publicKeys.set(gateway, keys.gateway.publicKey)
  chain.reach(16)
  await check(mine, 16)
  chain.applications.delete(application)
  const other = setup()
  other.chain.applications.clear()
  await t.rejects(other.check(mine), { code: 'RING_UNKNOWN', message: /not staked/ })
})

t.test('a silent chain is an error of the chain, and nothing is remembered of it', async (t) => {
  const mine = ring(['app', 'app'], 'app')
  for (const method of ['application', 'account', 'sharedParams']) {
    const { chain, check } = setup()
    chain.fall(true, method)
    await t.rejects(check(mine), { code: 'RPC_UNREACHABLE' }, method)
    chain.fall(false)
    await check(mine)
  }
})

t.test('only a ring with a good signature passes', async (t) => {
  const { rings } = setup()
  const good = ring(['app', 'app'], 'app')
  rings.requireSignature(MESSAGE, good)
  t.throws(() => rings.requireSignature(sha256(MESSAGE), good), {
    code: 'RING_INVALID',
    message: 'invalid relay request signature or bytes',
  })
})

t.test('what is no ring is refused before anything is asked', async (t) => {
  const bytes = encodeRing(ring(['app', 'app'], 'app'))
  const of = (signature: Uint8Array) => () =>
    ringOf({
      meta: { sessionHeader: undefined, signature, supplierOperatorAddress: '' },
      payload: utf8(''),
    })
  t.equal(of(bytes)().members.length, 2)
  const one = new Uint8Array(69 + 65)
  one[3] = 1
  const many = new Uint8Array(69 + 65 * 65)
  many[3] = 65
  const bad = {
    nothing: utf8(''),
    'one byte more': Uint8Array.of(...bytes, 0),
    'one byte less': bytes.subarray(0, -1),
    'a member': one,
    '65 members': many,
  }
  for (const [name, signature] of Object.entries(bad))
    t.throws(of(signature), { code: 'RING_INVALID' }, name)
})

t.test('a ring that was turned is good, in other bytes, and the same request', async (t) => {
  const verifier = new RingVerifier({ curve })
  for (const members of [
    ['app', 'gateway'],
    ['app', 'app'],
    ['gateway', 'app', 'placeholder'],
  ] satisfies Who[][]) {
    const first = ring(members, 'app')
    let other = first
    for (let i = 1; i < members.length; i++) {
      other = turned(MESSAGE, other)
      const name = `${members.join()} turned by ${i}`
      t.ok(verifier.verify(MESSAGE, other), `${name} is a good signature`)
      t.notOk(equal(encodeRing(other), encodeRing(first)), `${name} has other bytes`)
      t.equal(hex(replayKeyOf(MESSAGE, other)), hex(replayKeyOf(MESSAGE, first)), name)
    }
  }
})

t.test('two signatures of one request, and two requests, are different', async (t) => {
  const first = ring(['app', 'app'], 'app')
  const key = hex(replayKeyOf(MESSAGE, first))
  t.not(hex(replayKeyOf(MESSAGE, ring(['app', 'app'], 'app'))), key, 'a gateway sends again')
  t.not(hex(replayKeyOf(sha256(MESSAGE), first)), key)
  t.equal(replayKeyOf(MESSAGE, first).length, 32)
})
