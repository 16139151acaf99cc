import t from 'tap'
import { sha256, utf8 } from '../../src/base/bytes.ts'
import { height } from '../../src/base/units.ts'
import { parseRing, type Ring, signRing } from '../../src/crypto/ring.ts'
import { addressOf } from '../../src/protocol/address.ts'
import type { RelayRequest, SessionHeader } from '../../src/protocol/relay.ts'
import { EarlyRelays } from '../../src/relay/early.ts'
import { sharedParams } from '../support/params.ts'
import { type Bench, bench, until } from '../support/relay-bench.ts'
import { curve, keys, randomBytes, signed, withSignature } from '../support/relay-gateway.ts'

/** Sessions of ten blocks, 11 to 20 and so on. */
const LAST = 20
const { signal } = new AbortController()

const authorize = (b: Bench, request: RelayRequest) => b.authorizer.authorize(request, signal)
const forged = (b: Bench, header: SessionHeader) => {
  const members = [keys.app.publicKey, keys.app.publicKey]
  const message = sha256(utf8('another'))
  return withSignature(
    b.draft(header),
    signRing({ curve, randomBytes }, message, members, keys.app.privateKey),
  )
}

t.test('only a session that starts with the next block is waited for', async (t) => {
  const b = await bench(t, { head: 11 })
  for (const at of [11, 15, 19]) {
    b.chain.reach(at)
    const start = BigInt(at + 1)
    const header = { ...b.header(), sessionStartBlockHeight: start }
    for (const end of [start + 9n, start + 1n, 20n, 30n])
      if (end > start)
        await t.rejects(
          authorize(b, signed(b.draft({ ...header, sessionEndBlockHeight: end }))),
          { code: 'SESSION_MISMATCH' },
          `at ${at}, ${start} to ${end}`,
        )
    t.equal(b.chain.waiting, 0, `at ${at}`)
    t.equal(b.chain.asked.at(-1), `sharedParams ${at}`)
  }
  t.equal(b.chain.count(), 3)
  b.chain.reach(LAST)
  for (const sessionEndBlockHeight of [29n, 31n, 22n, 2n ** 63n - 1n])
    await t.rejects(authorize(b, signed(b.draft({ ...b.header(21), sessionEndBlockHeight }))), {
      code: 'SESSION_MISMATCH',
    })
  t.equal(b.chain.waiting, 0)
})

t.test('who has no good signature does not wait', async (t) => {
  const b = await bench(t, { head: LAST })
  const header = b.header(21)
  await t.rejects(authorize(b, forged(b, header)), { code: 'RING_INVALID' })
  await t.rejects(authorize(b, signed(b.draft(header), ['app', 'stranger'], 'stranger')), {
    code: 'RING_INVALID',
  })
  const unknown = { ...header, applicationAddress: b.chain.stake(keys.gateway.publicKey) }
  await t.rejects(authorize(b, signed(b.draft(unknown))), { code: 'RING_INVALID' })
  t.equal(b.chain.waiting, 0)
})

t.test('invented applications cost few questions here too', async (t) => {
  const b = await bench(t, { head: LAST, strangersMax: 5 })
  const header = b.header(21)
  const codes: string[] = []
  for (let i = 0; i < 50; i++) {
    const applicationAddress = addressOf(curve.publicKey(randomBytes(32)))
    const request = forged(b, { ...header, applicationAddress })
    codes.push(await authorize(b, request).catch(({ code }) => code))
  }
  t.equal(codes.filter((code) => code === 'RING_UNKNOWN').length, 5)
  t.equal(codes.filter((code) => code === 'REFUSED').length, 45)
  t.equal(b.chain.count('application'), 5)
})

t.test('what waited is checked again when the session is there', async (t) => {
  const b = await bench(t, { head: LAST })
  const header = { ...b.header(21), sessionId: 'ab'.repeat(32) }
  const waiting = authorize(b, signed(b.draft(header)))
  const refused = t.rejects(waiting, { code: 'SESSION_MISMATCH', message: /^session ID mismatch/ })
  await until(() => b.chain.waiting === 1)
  b.chain.reach(21)
  await refused
})

t.test('a session of another length is refused until it is seen', async (t) => {
  const b = await bench(t, { head: LAST })
  const params = sharedParams({ numBlocksPerSession: 4n, sessionGridAnchorHeight: 21n })
  b.chain.paramsAt.push({ from: 21, params })
  const request = b.request(b.header(21))
  t.equal(request.meta?.sessionHeader?.sessionEndBlockHeight, 24n)
  await t.rejects(authorize(b, request), { code: 'SESSION_MISMATCH' })
  b.chain.reach(21)
  t.equal((await authorize(b, request)).now, 21)
})

t.test('so many wait at a time, and places are given back', async (t) => {
  const b = await bench(t, { head: LAST })
  const { chain, rings } = b
  const early = new EarlyRelays(
    { blocks: chain, chain, rings, deadline: (outer, work) => work(outer) },
    2,
  )
  const relay = () => {
    const request = b.request(b.header(21))
    const ring: Ring = parseRing(request.meta?.signature ?? utf8(''))
    return { request, ring, header: b.header(21) }
  }
  const gone = new AbortController()
  const first = early.wait(relay(), height(LAST), signal)
  const second = t.rejects(early.wait(relay(), height(LAST), gone.signal), new RangeError('gone'))
  await until(() => b.chain.waiting === 2)
  const third = early.wait(relay(), height(LAST), signal)
  await t.rejects(third, { code: 'REFUSED', retryable: true })
  gone.abort(new RangeError('gone'))
  await second
  const fourth = early.wait(relay(), height(LAST), signal)
  await until(() => b.chain.waiting === 3)
  b.chain.reach(21)
  t.strictSame(await Promise.all([first, fourth]), [21, 21])
})
