import t from 'tap'
import { hex, utf8 } from '../../src/base/bytes.ts'
import type { InferenceAnswer } from '../../src/inference/inference.ts'
import { encodeRelayRequest } from '../../src/protocol/relay.ts'
import { answered, bench, pending, until } from '../support/relay-bench.ts'
import { checkSigned as check, minedAs } from '../support/relay-checks.ts'
import { errorOf, innerOf, isSigned, signed } from '../support/relay-gateway.ts'

const MAX = 5

/** Answers that count: what was asked got an answer, or could not get one. */
const COUNTED: Record<string, InferenceAnswer> = {
  'an answer': answered(),
  'an answer of another kind': answered({ status: 201, contentType: 'text/plain' }),
  'a fault of the request': answered({ status: 400, body: utf8('{"error":{}}') }),
  'a path that is not there': answered({ status: 404 }),
}

for (const [name, answer] of Object.entries(COUNTED))
  t.test(`${name} is signed, mined and paid for`, async (t) => {
    const b = await bench(t, { relaysMax: MAX })
    b.inference.reply = async () => answer
    const request = b.request()
    const response = await b.send(request)
    check(t, b, response, answer.status, undefined)
    t.equal(innerOf(response).headers['Content-Type'], answer.contentType)
    t.ok(await minedAs(b, request, response), 'the leaf is the pair that was sent')
    t.equal(await b.served(), 1)
    t.equal(await b.left(), MAX - 1)
    t.equal(b.handler.counts.mined, 1)
    t.match(await b.record(), { state: { at: 'serving' }, computeUnitsPerRelay: 1_000n })
    t.equal(b.gate.inFlight(b.key()), 0)
  })

t.test('a relay whose hash is not under the target is answered, counted and no leaf', async (t) => {
  const b = await bench(t, { relaysMax: MAX })
  b.chain.target = new Uint8Array(32)
  const response = await b.send(b.request())
  check(t, b, response, 200, undefined)
  t.equal((await b.mined()).length, 0)
  t.equal(await b.served(), 1)
  t.equal(await b.left(), MAX - 1)
})

t.test(
  'a payload that is no request is a fault of the request, without asking the engine',
  async (t) => {
    const b = await bench(t, { relaysMax: MAX })
    const request = signed({ ...b.draft(), payload: utf8('{"not":"protobuf"}') })
    const response = await b.send(request)
    check(t, b, response, 400, undefined)
    t.ok(await minedAs(b, request, response))
    t.notMatch(innerOf(response).body, /HTTP/, 'no word by which gateways know broken connections')
    t.equal(b.inference.requests.length, 0)
  },
)

/** Answers that do not count, with what stands beside them. */
const UNCOUNTED: Record<string, [answer: InferenceAnswer, status: number, error: string]> = {
  'a refusal of ours': [
    answered({ status: 429, refused: true, retryAfterSeconds: 9 }),
    429,
    'relayer_proxy 10',
  ],
  'a body too large for the engine': [
    answered({ status: 413, refused: true }),
    413,
    'relayer_proxy 10',
  ],
  'an engine that failed': [answered({ status: 502, failed: 'engine' }), 502, 'relayer_proxy 5'],
  'an engine that was too slow': [
    answered({ status: 504, failed: 'timeout' }),
    504,
    'relayer_proxy 10',
  ],
  'a status of 500 that says no more': [answered({ status: 500 }), 500, 'relayer_proxy 5'],
}

for (const [name, [answer, status, error]] of Object.entries(UNCOUNTED))
  t.test(`${name} is signed, not mined and costs nothing`, async (t) => {
    const b = await bench(t, { relaysMax: MAX })
    b.inference.reply = async () => answer
    const response = await b.send(b.request())
    check(t, b, response, status, error)
    const retry = answer.retryAfterSeconds
    t.equal(innerOf(response).headers['Retry-After'], retry === undefined ? undefined : `${retry}`)
    t.equal((await b.mined()).length + (await b.served()), 0)
    t.equal(await b.left(), MAX)
    t.equal(b.gate.inFlight(b.key()), 0)
    const { refused, failed, mined } = b.handler.counts
    t.strictSame([refused, failed, mined], answer.refused ? [1, 0, 0] : [0, 1, 0])
  })

t.test('when the stake is used up, relays are answered 429 with code 7', async (t) => {
  const b = await bench(t, { relaysMax: 2 })
  const responses = [await b.send(b.request()), await b.send(b.request())]
  for (const response of responses) check(t, b, response, 200, undefined)
  const over = await b.send(b.request())
  check(t, b, over, 429, 'relayer_proxy 7')
  t.equal(over.relayMinerError?.message, 'offchain rate limit hit by relayer proxy')
  t.match(JSON.parse(innerOf(over).body), { error: { type: 'rate_limit_error' } })
  t.equal(b.inference.requests.length, 2)
  t.equal(await b.served(), 2)
  t.equal(b.handler.counts.overserviced, 1)
  t.equal(b.gate.inFlight(b.key()), 0)
})

t.test('ten at once get no more than the stake pays for', async (t) => {
  const b = await bench(t, { relaysMax: 4 })
  const hold = pending<void>()
  b.inference.reply = async () => {
    await hold.done
    return answered()
  }
  const all = Promise.all(Array.from({ length: 10 }, () => b.send(b.request())))
  await until(() => b.inference.requests.length === 4)
  hold.end()
  const statuses = (await all).map((response) => innerOf(response).status)
  t.strictSame(statuses.sort(), [200, 200, 200, 200, 429, 429, 429, 429, 429, 429])
  t.equal(await b.served(), 4)
})

t.test('a request too large to be proven is answered 413 and not served', async (t) => {
  const b = await bench(t, { relaysMax: MAX })
  const large = signed({ ...b.draft(), payload: new Uint8Array(512 * 1024) })
  const response = await b.send(large)
  check(t, b, response, 413, 'relayer_proxy 10')
  t.match(JSON.parse(innerOf(response).body), { error: { code: 'request_too_large' } })
  t.equal(b.inference.requests.length + (await b.served()), 0)
  t.equal(await b.record(), undefined)
  t.equal(await b.left(), MAX)
  const head = encodeRelayRequest(signed({ ...b.draft(), payload: utf8('') })).length
  const fits = signed({ ...b.draft(), payload: new Uint8Array(512 * 1024 - head - 4) })
  t.equal(encodeRelayRequest(fits).length, 512 * 1024)
  t.equal(errorOf(await b.send(fits)), undefined, 'one of just that size is served')
})

t.test('the time of a relay runs from its arrival', async (t) => {
  const b = await bench(t, { head: 20 })
  const arrived = b.clock.monotonic()
  const waiting = b.send(b.request(b.header(21)))
  await until(() => b.chain.waiting > 0)
  await b.clock.advance(4_000)
  b.chain.reach(21)
  await waiting
  t.strictSame(b.inference.deadlines, [arrived + 55_000])
})

t.test('the engine gets the request as the gateway sent it', async (t) => {
  const b = await bench(t)
  await b.send(b.request())
  const [request] = b.inference.requests
  t.match(request, {
    method: 'POST',
    url: 'https://relayminer.example.com/v1/chat/completions',
    headers: [['Content-Type', 'application/json']],
  })
  t.match(new TextDecoder().decode(request?.body), /^{"messages":\[\],"n":\d+}$/)
})

t.test('the same relay in two sessions is mined in each of them, apart', async (t) => {
  const b = await bench(t)
  t.ok(isSigned(await b.send(b.request())))
  b.chain.reach(21)
  t.ok(isSigned(await b.send(b.request())))
  t.ok(isSigned(await b.send(b.request(b.header(15)))), 'in grace')
  t.strictSame([await b.served(15), await b.served(21)], [2, 1])
  const hashes = [...(await b.mined(15)), ...(await b.mined(21))].map((relay) => hex(relay))
  t.equal(new Set(hashes).size, 3)
})
