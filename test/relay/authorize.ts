import t from 'tap'
import { hex, sha256, utf8 } from '../../src/base/bytes.ts'
import { signRing } from '../../src/crypto/ring.ts'
import { addressOf } from '../../src/protocol/address.ts'
import {
  encodeRelayRequest,
  type RelayRequest,
  type SessionHeader,
} from '../../src/protocol/relay.ts'
import { Authorizer } from '../../src/relay/authorize.ts'
import { sharedParams } from '../support/params.ts'
import { Bench, bench, until } from '../support/relay-bench.ts'
import { FakeChain } from '../support/relay-chain.ts'
import {
  curve,
  keys,
  operator,
  randomBytes,
  signed,
  withSignature,
} from '../support/relay-gateway.ts'

/** Sessions of ten blocks, 11 to 20 and so on; a grace period of one block. */
const authorize = (bench: Bench, request: RelayRequest) =>
  bench.authorizer.authorize(request, new AbortController().signal)

/** Well-formed, but signed for another: whoever asks the chain for much of it asks too early. */
function invented(bench: Bench, over: Partial<SessionHeader>): RelayRequest {
  return withSignature(bench.draft({ ...bench.header(), ...over }), SIGNATURE)
}

const SIGNATURE = signRing(
  { curve, randomBytes },
  sha256(utf8('another')),
  [keys.app.publicKey, keys.app.publicKey],
  keys.app.privateKey,
)

const heights = (start: bigint, end: bigint) => ({
  sessionStartBlockHeight: start,
  sessionEndBlockHeight: end,
})

t.test('a good relay is authorised with the header of the chain', async (t) => {
  const b = await bench(t)
  const request = b.request()
  const relay = await authorize(b, request)
  t.equal(relay.request, request)
  t.strictSame(relay.header, b.header())
  t.equal(relay.signer.address, operator.address)
  t.equal(relay.now, 15)
  t.equal(relay.replayKey.length, 32)
  t.not(hex((await authorize(b, b.request())).replayKey), hex(relay.replayKey))
})

t.test('a session is served from its first block to the last of its grace period', async (t) => {
  const b = await bench(t, { head: 11 })
  const request = b.request()
  for (const at of [11, 15, 20, 21]) {
    b.chain.reach(at)
    t.equal((await authorize(b, request)).now, at)
  }
  for (const at of [22, 23, 41, 1_000_000]) {
    b.chain.reach(at)
    await t.rejects(
      authorize(b, request),
      { code: 'EXPIRED', message: `session expired, expecting: 20, got: ${at}.` },
      `at ${at}`,
    )
  }
})

t.test('the grace period is that of the session, whatever was decided since', async (t) => {
  const b = await bench(t, { head: 20 })
  const request = b.request()
  b.chain.params = sharedParams({ gracePeriodEndOffsetBlocks: 5n })
  b.chain.paramsAt.push({ from: 21, params: sharedParams({ gracePeriodEndOffsetBlocks: 0n }) })
  b.chain.reach(25)
  t.equal((await authorize(b, request)).now, 25)
  b.chain.reach(26)
  await t.rejects(authorize(b, request), { code: 'EXPIRED' })
})

t.test('sessions of another length follow their own grid', async (t) => {
  const b = await bench(t, { head: 20 })
  const old = b.request()
  const params = sharedParams({ numBlocksPerSession: 4n, sessionGridAnchorHeight: 21n })
  b.chain.paramsAt.push({ from: 21, params })
  b.chain.reach(21)
  t.equal((await authorize(b, old)).header.sessionStartBlockHeight, 11n, 'ten blocks, in grace')
  t.equal((await authorize(b, b.request())).header.sessionEndBlockHeight, 24n, 'four blocks')
})

t.test('a relay of the session that starts with the next block waits for it', async (t) => {
  const b = await bench(t, { head: 20 })
  const request = b.request(b.header(21))
  const waiting = authorize(b, request)
  await until(() => b.chain.waiting > 0)
  t.equal(b.chain.count('session'), 0)
  b.chain.reach(21)
  t.equal((await waiting).now, 21)
  t.equal(b.clock.sleeping, 0, 'no timer is left')
})

t.test('a next block that does not come ends the wait', async (t) => {
  const b = await bench(t, { head: 20 })
  const request = b.request(b.header(21))
  const refused = t.rejects(authorize(b, request), { code: 'SESSION_MISMATCH', retryable: true })
  await until(() => b.clock.sleeping > 0)
  await b.clock.advance(5_000)
  await refused
  t.equal(b.chain.count('session'), 0)
  const gone = new AbortController()
  const left = t.rejects(b.authorizer.authorize(request, gone.signal), new RangeError('gone'))
  await until(() => b.clock.sleeping > 0)
  gone.abort(new RangeError('gone'))
  await left
  t.equal(b.clock.sleeping, 0)
})

t.test('heights that no session has now are refused without a question for them', async (t) => {
  const b = await bench(t)
  const max = 2n ** 63n - 1n
  const strange = [
    heights(1n, 10n),
    heights(1n, 20n),
    heights(11n, 21n),
    heights(12n, 20n),
    heights(11n, max),
    heights(21n, 30n),
    heights(31n, 40n),
    heights(1_000_001n, 1_000_010n),
    heights(max - 9n, max),
    heights(max - 10n, max - 1n),
  ]
  for (const over of strange)
    await t.rejects(
      authorize(b, invented(b, over)),
      { code: /^(SESSION_MISMATCH|EXPIRED)$/ },
      `${over.sessionStartBlockHeight} to ${over.sessionEndBlockHeight}`,
    )
  t.strictSame(b.chain.asked, ['sharedParams 15', 'sharedParams 10'])
})

t.test('however many heights are made up, few are asked for', async (t) => {
  const b = await bench(t, { head: 5_000 })
  for (let start = 1n; start < 6_000n; start += 7n)
    for (const end of [start + 9n, 4_995n, 5_000n])
      if (end > start) await authorize(b, invented(b, heights(start, end))).catch(() => {})
  t.equal(b.chain.count('session'), 0)
  // At most one for each height from the last block back over the sessions that may be in grace.
  t.ok(b.chain.count() <= 22, `${b.chain.count()} questions for 2,000 requests`)
})

t.test('a thousand invented session ids cost one question', async (t) => {
  const b = await bench(t)
  for (let i = 0; i < 1_000; i++) {
    const sessionId = i.toString(16).padStart(64, '0')
    await t.rejects(authorize(b, invented(b, { sessionId })), { code: 'SESSION_MISMATCH' }, `${i}`)
  }
  t.strictSame(b.chain.asked, ['sharedParams 15', `session ${b.application} text 11`])
})

t.test('invented applications share a number of questions at each height', async (t) => {
  const b = await bench(t, { strangersMax: 20 })
  const names = Array.from({ length: 1_000 }, () => addressOf(curve.publicKey(randomBytes(32))))
  const ask = async (applicationAddress: string) =>
    await authorize(b, invented(b, { applicationAddress })).catch(({ code }) => code)
  const codes: string[] = []
  for (const name of names) codes.push(await ask(name))
  t.equal(codes.filter((code) => code === 'SESSION_UNKNOWN').length, 20)
  t.equal(codes.filter((code) => code === 'REFUSED').length, 980)
  t.equal(b.chain.count('session'), 20)
  for (const name of names.slice(0, 20)) t.equal(await ask(name), 'SESSION_UNKNOWN', name)
  t.equal(b.chain.count('session'), 20, 'what was refused is not asked for again')
  await t.rejects(authorize(b, b.request()), { code: 'REFUSED', retryable: true }, 'not known yet')
  b.chain.reach(16)
  t.ok(await authorize(b, b.request()), 'at the next height')
  t.equal(await ask(names[0] ?? ''), 'SESSION_UNKNOWN')
  t.equal(b.chain.count('session'), 22)
})

t.test('a session is counted once, whatever its application signs', async (t) => {
  const b = await bench(t, { strangersMax: 1 })
  const forged = withSignature(b.draft(), SIGNATURE)
  for (let i = 0; i < 3; i++)
    await t.rejects(authorize(b, forged), { code: 'RING_INVALID' }, `time ${i}`)
  t.ok(await authorize(b, b.request()))
})

t.test('an application with a good relay is served whatever strangers do', async (t) => {
  const b = await bench(t, { strangersMax: 3 })
  await authorize(b, b.request())
  b.chain.reach(21)
  for (let i = 0; i < 10; i++) {
    const applicationAddress = addressOf(curve.publicKey(randomBytes(32)))
    await authorize(b, invented(b, { applicationAddress })).catch(() => {})
  }
  t.equal(b.chain.count('session'), 1 + 3)
  t.equal((await authorize(b, b.request())).now, 21, 'its next session')
})

t.test('so is one that was served before the start', async (t) => {
  const b = await bench(t, { strangersMax: 0 })
  await t.rejects(authorize(b, b.request()), { code: 'REFUSED', retryable: true })
  const again = new Bench(b.store, { strangersMax: 0, served: [b.application] })
  t.ok(await authorize(again, again.request()))
})

t.test('a hundred relays at once of a session that is not known yet ask once', async (t) => {
  const b = await bench(t)
  const relays = await Promise.all(Array.from({ length: 100 }, () => authorize(b, b.request())))
  t.equal(relays.length, 100)
  for (const method of ['session', 'application', 'account'])
    t.equal(b.chain.count(method), 1, method)
  b.chain.reach(16)
  await Promise.all(Array.from({ length: 100 }, () => authorize(b, b.request())))
  t.equal(b.chain.count('session'), 1, 'a session stays the same')
  t.ok(b.chain.count() <= 8, `${b.chain.count()} questions`)
})

t.test('a chain that does not answer refuses, and the next time is asked again', async (t) => {
  const b = await bench(t)
  const request = b.request()
  for (const method of ['sharedParams', 'session', 'application', 'account']) {
    b.chain.fall(true, method)
    await t.rejects(authorize(b, request), { code: 'CHAIN_SILENT', retryable: true }, method)
  }
  b.chain.fall(false)
  t.ok(await authorize(b, request))
})

t.test('before the first block nothing can be checked', async (t) => {
  const b = await bench(t)
  const request = b.request()
  const chain = new FakeChain(undefined)
  const blind = new Authorizer({
    blocks: chain,
    chain,
    rings: b.rings,
    signers: new Map([[operator.address, operator]]),
    services: new Set(['text']),
    deadline: (signal, work) => work(signal),
  })
  await t.rejects(blind.authorize(request, new AbortController().signal), {
    code: 'CHAIN_SILENT',
    retryable: true,
  })
})

t.test('what the chain refused is remembered for the height only', async (t) => {
  const b = await bench(t)
  const request = b.request()
  const staked = b.chain.applications.get(b.application)
  b.chain.applications.clear()
  for (let i = 0; i < 5; i++)
    await t.rejects(authorize(b, request), { code: 'SESSION_UNKNOWN' }, `time ${i}`)
  t.equal(b.chain.count('session'), 1)
  if (staked !== undefined) b.chain.applications.set(b.application, staked)
  b.chain.reach(16)
  t.ok(await authorize(b, request))
})

t.test('a client that leaves is not checked to the end', async (t) => {
  const b = await bench(t)
  const gone = new AbortController()
  gone.abort(new RangeError('gone'))
  const request = b.request()
  await t.rejects(b.authorizer.authorize(request, gone.signal), new RangeError('gone'))
  await authorize(b, request)
  await t.rejects(
    b.authorizer.authorize(request, gone.signal),
    new RangeError('gone'),
    'not even when all that it takes is known',
  )
})

t.test('a bug of ours is not taken for a silent chain', async (t) => {
  const b = await bench(t)
  b.chain.silence = { error: new TypeError('a bug') }
  await t.rejects(authorize(b, b.request()), new TypeError('a bug'))
})

t.test('the replay key is that of the request, not of its bytes', async (t) => {
  const b = await bench(t)
  const request = b.request()
  const known = encodeRelayRequest(request)
  // An unknown field behind, as a newer gateway may send it.
  const other = b.authorizer.decode(Uint8Array.of(...known, 0x7a, 0x01, 0x61))
  t.equal(hex((await authorize(b, other)).replayKey), hex((await authorize(b, request)).replayKey))
  const resigned = signed(request)
  t.not(
    hex((await authorize(b, resigned)).replayKey),
    hex((await authorize(b, request)).replayKey),
    'signed anew, it is another relay',
  )
})
