/**
 * What leaves behind a gateway that reads answers: it looks for phrases in the first 512 bytes, takes
 * short bodies and events for faults, and waits no longer than 60 s.
 */
import t, { type Test } from 'tap'
import { utf8 } from '../../src/base/bytes.ts'
import { ms } from '../../src/base/units.ts'
import { decodeHttpResponse } from '../../src/protocol/http.ts'
import type { RelayRequest, RelayResponse } from '../../src/protocol/relay.ts'
import { innerError } from '../../src/relay/respond.ts'
import { ManualClock } from '../support/clock.ts'
import { sharedParams } from '../support/params.ts'
import { type BenchOptions, bench, pending, until } from '../support/relay-bench.ts'
import { errorOf, innerOf, isSigned, signed } from '../support/relay-gateway.ts'
import { chatOf, echoEngine, says } from '../support/relay-stream.ts'

const SEARCHED = 512
const BODY_MIN = 100
/** Lower-cased; some are of whole sentences, some of a word that may stand anywhere. */
const PHRASES = [
  ...['supplier', 'certificate', 'rate limit', 'forbidden', 'unauthorized', 'is pruned'],
  ...['502 bad gateway', '"error":null', '"error": null', 'connection refused', 'http:', 'tls'],
]
/** A prompt that makes the echo say all of them. */
const TALK = says(`${PHRASES.join(' ')} `.repeat(3))

async function setUp(
  t: Test,
  options: BenchOptions = {},
  inference: Parameters<typeof echoEngine>[2] = {},
) {
  const clock = new ManualClock()
  const engine = await echoEngine(t, clock, inference)
  const b = await bench(t, { ...options, engine: engine.inference, clock })
  return { b, clock, ...engine }
}

/** Nothing in it is held against whoever sent it. */
function checkHarmless(t: Test, response: RelayResponse, name: string): void {
  t.ok(isSigned(response), `${name}: signed`)
  const { status, headers, body } = decodeHttpResponse(response.payload)
  const searched = new TextDecoder().decode(body.subarray(0, SEARCHED)).toLowerCase()
  for (const phrase of PHRASES) t.notOk(searched.includes(phrase), `${name}: ${phrase}`)
  t.ok(body.length >= BODY_MIN, `${name}: ${body.length} bytes`)
  t.strictSame(headers[0], ['Content-Type', 'application/json'], name)
  const value = JSON.parse(new TextDecoder().decode(body)) as Record<string, unknown>
  if (status < 300) t.notOk('error' in value, `${name}: no error`)
  else t.type((value['error'] as { message?: unknown })?.message, 'string', name)
  t.equal('jsonrpc' in value, false, name)
}

t.test('a completion that talks of faults is none, whatever it took', async (t) => {
  const { b, clock } = await setUp(t, {}, { echo: { tokenDelay: ms(1_000) } })
  for (const seconds of [5, 20, 54]) {
    const body = { ...TALK, max_tokens: seconds }
    const sent = b.send(chatOf(b, body))
    // The next token and the deadline.
    await until(() => clock.sleeping >= 2)
    const started = clock.monotonic()
    for (let n = 0; n < 200 && clock.sleeping > 0; n++) await clock.advance(500)
    const took = (clock.monotonic() - started) / 1_000
    t.ok(took >= Math.min(seconds, 40) && took <= 55, `${took} s of ${seconds}`)
    t.equal(innerOf(await sent).status, 200, `${seconds} s`)
    t.equal(errorOf(await sent), undefined)
    checkHarmless(t, await sent, `${seconds} s`)
    t.match(innerOf(await sent).body, /"content":"You said: supplier/)
  }
})

t.test('answers of every kind, and faults of the request', async (t) => {
  const { b } = await setUp(t)
  const bodies: [name: string, body: unknown, path?: string][] = [
    ['a chat', TALK],
    ['a short chat', says('x', { max_tokens: 1 })],
    ['a completion', { prompt: PHRASES.join(' ') }, '/v1/completions'],
    ['a response', { input: PHRASES.join(' ') }, '/v1/responses'],
    ['an embedding', { input: 'x' }, '/v1/embeddings'],
    ['tokens', { prompt: 'x' }, '/tokenize'],
    ['broken JSON', '{"messages": supplier certificate'],
    ['no JSON of 102400 bytes', '['.repeat(102_400)],
    ['an unknown path', {}, '/v1/supplier/certificate'],
    ['a stream', says('x', { stream: true })],
    ['a foreign model', { ...says('x'), model: 'forbidden supplier' }],
    ['a wrong type', says('x', { temperature: 'unauthorized' })],
    ['too long', says('x '.repeat(5_000))],
  ]
  for (const [name, body, path] of bodies) {
    const response = await b.send(chatOf(b, body, path))
    t.equal(errorOf(response), undefined, name)
    checkHarmless(t, response, name)
  }
  t.equal(await b.served(), bodies.length, 'all of them count')
  const unread = await b.send(signed({ ...b.draft(), payload: utf8('x') }))
  checkHarmless(t, unread, 'no request at all')
})

t.test('refusals', async (t) => {
  const hold = pending<void>()
  const { b, inference, runs } = await setUp(
    t,
    { relaysMax: 3 },
    { echo: { slots: 1, gate: () => hold.done }, pool: { queueMax: 0 } },
  )
  const refused = async (name: string, request: RelayRequest, error = 'relayer_proxy 10') => {
    const response = await b.send(request)
    t.equal(errorOf(response), error, name)
    checkHarmless(t, response, name)
    t.ok([413, 429].includes(innerOf(response).status), name)
  }
  const running = b.send(chatOf(b, says('x')))
  await until(() => runs.count === 1)
  await refused('full', chatOf(b, says('x')))
  const paused = inference.pause({ cancel: false })
  await refused('yielding', chatOf(b, says('x')))
  hold.end()
  await Promise.all([running, paused])
  inference.resume()
  await refused('too large', signed({ ...b.draft(), payload: new Uint8Array(600_000) }))
  b.chain.fall(true, 'difficulty')
  b.chain.reach(21)
  await refused('a chain that is silent', chatOf(b, says('x')))
  b.chain.fall(false)
  for (let n = 0; n < 3; n++) t.equal(errorOf(await b.send(chatOf(b, says('x')))), undefined)
  await refused('used up', chatOf(b, says('x')), 'relayer_proxy 7')
  b.handler.drain()
  await refused('stopping', chatOf(b, says('x')))
})

t.test("across a session's end", async (t) => {
  const hold = pending<void>()
  const { b, clock, runs } = await setUp(t, {}, { echo: { gate: () => hold.done } })
  const start = clock.now()
  b.chain.timeOf = (at) => ms(start + (at - 20) * 20_000)
  b.chain.reach(20)
  const running = b.send(chatOf(b, TALK))
  const cut = b.send(chatOf(b, says('cut')))
  await until(() => runs.count === 2)
  b.chain.reach(21)
  hold.end()
  checkHarmless(t, await running, 'an answer that comes in grace')
  t.equal(errorOf(await running), undefined)
  t.equal(errorOf(await cut), undefined)
  const header = b.header(20)
  checkHarmless(t, await b.send(signed(b.draft(header))), 'a relay of the last session')
  checkHarmless(t, await b.send(chatOf(b, TALK)), 'a relay of the next')
})

t.test('in a session that ends too soon', async (t) => {
  const { b, clock } = await setUp(t)
  const start = clock.now()
  b.chain.params = sharedParams({ claimWindowOpenOffsetBlocks: 0n })
  b.chain.timeOf = (at) => ms(start + (at - 20) * 20_000)
  b.chain.reach(20)
  const header = b.header()
  t.equal(errorOf(await b.send(chatOf(b, TALK))), undefined)
  b.chain.reach(21)
  const late = await b.send(chatOf(b, TALK, undefined, header))
  t.match(innerOf(late).body, /session_ending/)
  checkHarmless(t, late, 'late')
})

t.test('an error of our own is never too short to be believed', async (t) => {
  t.equal(innerError(429, 'x', 'y').body.length, BODY_MIN)
  const long = innerError(413, 'x'.repeat(200), 'y').body
  t.equal(new TextDecoder().decode(long).trimEnd().length, long.length)
})

t.test('an engine that fails', async (t) => {
  const failing = async () => {
    throw new TypeError('502 bad gateway of the supplier')
  }
  const { b } = await setUp(t, {}, { echo: { gate: failing } })
  const broken = await b.send(chatOf(b, says('x')))
  t.equal(innerOf(broken).status, 502)
  checkHarmless(t, broken, 'broken')
})

t.test('an engine that hangs is given up after 55 s', async (t) => {
  const hold = pending<void>()
  const { b, clock, runs } = await setUp(t, {}, { echo: { gate: () => hold.done } })
  const sent = b.send(chatOf(b, says('x')))
  await until(() => runs.count === 1)
  await clock.advance(54_999)
  t.equal(b.handler.counts.failed, 0)
  await clock.advance(1)
  const slow = await sent
  t.equal(innerOf(slow).status, 504)
  checkHarmless(t, slow, 'slow')
  hold.end()
})
