import t, { type Test } from 'tap'
import { hex, utf8 } from '../../src/base/bytes.ts'
import { ms } from '../../src/base/units.ts'
import { decodeRelayResponse, encodeRelayRequest } from '../../src/protocol/relay.ts'
import { SERVICE_RULES, STREAMING, type Streaming } from '../../src/relay/rules.ts'
import { ManualClock } from '../support/clock.ts'
import { sharedParams } from '../support/params.ts'
import { type BenchOptions, bench, pending, until } from '../support/relay-bench.ts'
import { checkSigned } from '../support/relay-checks.ts'
import { call, open } from '../support/relay-client.ts'
import { errorOf, innerOf, isSigned, signed } from '../support/relay-gateway.ts'
import { chatOf, echoEngine, readStream, saidIn, says, textIn } from '../support/relay-stream.ts'

/** The whole path but the chain: the inference is real, and its engine is the echo. */
async function setUp(
  t: Test,
  options: BenchOptions = {},
  inference: Parameters<typeof echoEngine>[2] = {},
) {
  const clock = new ManualClock()
  const engine = await echoEngine(t, clock, inference)
  const b = await bench(t, { ...options, engine: engine.inference, clock })
  const { port } = await open(t, b.handler)
  return { b, port, clock, ...engine }
}

const CHAT = says('one two three', { stream: true, temperature: 0 })
const streaming = (how: Streaming) => ({ rules: { streaming: how } })

t.test('a service that refuses streams names the field, and is paid for saying so', async (t) => {
  const { b, runs } = await setUp(t)
  t.equal(SERVICE_RULES.streaming, 'refuse', 'which is the default')
  const response = await b.send(chatOf(b, CHAT))
  checkSigned(t, b, response, 400, undefined)
  t.match(JSON.parse(innerOf(response).body), { error: { param: 'stream' } })
  t.strictSame([runs.count, await b.served()], [0, 1])
})

t.test('single: all events in one signed answer', async (t) => {
  const { b } = await setUp(t, streaming('single'))
  const response = await b.send(chatOf(b, CHAT))
  checkSigned(t, b, response, 200, undefined)
  const { headers, body } = innerOf(response)
  t.equal(headers['Content-Type'], 'text/event-stream')
  t.match(body, /data: \[DONE\]\n\n$/)
  t.equal(saidIn(body), 'You said: one two three')
  t.equal(await b.served(), 1)
})

for (const how of STREAMING)
  t.test(`frames: by the header, or by the setting (${how})`, async (t) => {
    const { b, port } = await setUp(t, streaming(how))
    const relayed = await readStream(port, chatOf(b, CHAT))
    t.equal(relayed.fault, '', how)
    t.ok(relayed.frames >= 1, how)
    t.match(textIn(relayed), /"one ".*"two ".*"three".*data: \[DONE\]\n\n$/s, how)
    t.strictSame([await b.served(), (await b.mined()).length], [1, 1], how)
    const { headers } = await call(port, { body: encodeRelayRequest(chatOf(b, CHAT)) })
    const kind = how === 'batched' ? 'text/event-stream' : 'application/x-protobuf'
    t.equal(headers['content-type'], kind, `${how}, not asked for by name`)
    const other = await call(port, {
      body: encodeRelayRequest(chatOf(b, CHAT)),
      headers: { 'Pokt-Stream': 'other' },
    })
    t.equal(other.headers['content-type'], kind, how)
  })

t.test('what is no stream is an ordinary answer, also where frames were asked for', async (t) => {
  const { b, port } = await setUp(t, streaming('batched'))
  const cases = [
    [says('one two'), 200],
    [says('one two', { stream: true, temperature: 9 }), 400],
    ['{"messages"', 400],
  ] as const
  for (const [body, status] of cases) {
    const relayed = await readStream(port, chatOf(b, body))
    t.match(relayed, { fault: '', frames: 0, inner: { status } })
    t.match(relayed.inner?.headers, [['Content-Type', 'application/json']])
  }
  t.equal(await b.served(), 3)
})

t.test('a text that holds the delimiter comes whole', async (t) => {
  const { b, port } = await setUp(t)
  const text = `a||POKT_STREAM||b ${'||POKT_STREAM||'.repeat(20)} c`
  const relayed = await readStream(port, chatOf(b, { ...CHAT, ...says(text) }))
  t.equal(relayed.fault, '')
  t.equal(saidIn(textIn(relayed)), `You said: ${text}`)
})

for (const how of STREAMING)
  t.test(`a message of a WebSocket gets a stream in one piece (${how})`, async (t) => {
    const { signal } = new AbortController()
    const { b } = await setUp(t, streaming(how))
    const message = signed({ ...b.draft(), payload: utf8(JSON.stringify(CHAT)) })
    const bytes = await b.handler.handle(encodeRelayRequest(message), signal, { form: 'bare' })
    const text = new TextDecoder().decode(decodeRelayResponse(bytes).payload)
    if (how === 'refuse') t.match(JSON.parse(text), { error: { param: 'stream' } })
    else t.match(text, /^data: {.*data: \[DONE\]\n\n$/s, how)
    t.equal(await b.served(), 1, how)
  })

t.test('two copies of a slow request are computed once, and are two relays', async (t) => {
  const hold = pending<void>()
  const { b, port, runs } = await setUp(t, { relaysMax: 5 }, { echo: { gate: () => hold.done } })
  const body = says('what is asked', { temperature: 0 })
  const copies = [chatOf(b, body), chatOf(b, body), chatOf(b, body)]
  t.equal(new Set(copies.map(({ payload }) => hex(payload))).size, 1)
  const loser = new AbortController()
  const lost = t.rejects(b.send(copies[2] ?? utf8(''), loser.signal), new RangeError('lost'))
  const both = copies.slice(0, 2).map((copy) => call(port, { body: encodeRelayRequest(copy) }))
  await until(() => b.gate.inFlight(b.key()) === 3 && runs.count === 1)
  loser.abort(new RangeError('lost'))
  await lost
  hold.end()
  const responses = (await Promise.all(both)).map(({ body }) => decodeRelayResponse(body))
  for (const response of responses) {
    checkSigned(t, b, response, 200, undefined)
    t.match(JSON.parse(innerOf(response).body).choices[0].message.content, 'what is asked')
  }
  t.equal(runs.count, 1)
  t.equal(new Set((await b.mined()).map((relay) => hex(relay))).size, 2)
  t.strictSame([await b.served(), await b.left()], [2, 3], 'who hung up pays nothing')
})

t.test('a copy that comes late to a stream gets it from its beginning', async (t) => {
  const { b, port, clock, runs } = await setUp(t, streaming('batched'), {
    echo: { tokenDelay: ms(1_000) },
  })
  const body = says('one two three four', { stream: true, seed: 7 })
  const texts: string[] = []
  const first = readStream(port, chatOf(b, body), { onText: (text) => texts.push(text) })
  await until(() => runs.count === 1)
  for (let n = 0; n < 30 && texts.length < 2; n++) await clock.advance(500)
  t.ok(texts.length >= 2)
  const second = readStream(port, chatOf(b, body))
  await until(() => b.gate.inFlight(b.key()) === 2)
  const advancing = (async () => {
    for (let n = 0; n < 30 && b.handler.counts.mined < 2; n++) await clock.advance(500)
  })()
  const [one, two] = await Promise.all([first, second, advancing])
  t.equal(textIn(one), textIn(two))
  t.match(textIn(one), /"four"/)
  t.ok(one.frames > 2)
  t.strictSame([runs.count, await b.served()], [1, 2])
  t.equal(new Set((await b.mined()).map((relay) => hex(relay))).size, 2)
})

t.test(
  'copies of other sessions and applications, and what is left to chance, are not shared',
  async (t) => {
    const hold = pending<void>()
    const { b, runs } = await setUp(t, {}, { echo: { gate: () => hold.done } })
    const fixed = says('x', { temperature: 0 })
    const free = says('x', { temperature: 1 })
    const sent = [chatOf(b, fixed), chatOf(b, free), chatOf(b, free)].map((one) => b.send(one))
    await until(() => runs.count === 3)
    b.chain.reach(21)
    sent.push(b.send(chatOf(b, fixed)))
    await until(() => runs.count === 4)
    hold.end()
    for (const response of await Promise.all(sent)) t.equal(errorOf(response), undefined)
  },
)

t.test(
  'a full engine refuses at once, signed, with the time after which to come again',
  async (t) => {
    const hold = pending<void>()
    const { b, port, runs } = await setUp(
      t,
      { relaysMax: 5 },
      { echo: { slots: 1, gate: () => hold.done }, pool: { queueMax: 0 } },
    )
    const running = b.send(chatOf(b, says('long')))
    await until(() => runs.count === 1)
    // The first of a connection pays for more than itself.
    await call(port, { body: encodeRelayRequest(chatOf(b, says('first'))) })
    const times: number[] = []
    for (let n = 0; n < 5; n++) {
      const body = encodeRelayRequest(chatOf(b, says(`next ${n}`)))
      const started = performance.now()
      const response = decodeRelayResponse((await call(port, { body })).body)
      times.push(performance.now() - started)
      checkSigned(t, b, response, 429, 'relayer_proxy 10')
      t.match(innerOf(response).headers, { 'Retry-After': /^[1-9]\d*$/ })
    }
    t.ok(Math.min(...times) < 50, `${times.map(Math.round)} ms`)
    hold.end()
    t.ok(isSigned(await running))
    t.equal(await b.left(), 4)
  },
)

/** Blocks of 20 s and an engine of a token a second; sessions end with 20, and claims open with `open`. */
async function slowChain(t: Test, open: bigint) {
  const made = await setUp(t, { relaysMax: 9 }, { echo: { tokenDelay: ms(1_000) } })
  const { b, clock } = made
  const start = clock.now()
  b.chain.params = sharedParams({ claimWindowOpenOffsetBlocks: open - 21n })
  b.chain.timeOf = (at) => ms(start + (at - 16) * 20_000)
  b.chain.reach(15)
  const asked = async (prompt: string) => {
    const answer = b.send(chatOf(b, says(prompt), '/v1/chat/completions', b.header(15)))
    // The next token and the deadline.
    await until(() => clock.sleeping >= 2)
    const startedAt = clock.monotonic()
    for (let n = 0; n < 100 && clock.sleeping > 0; n++) await clock.advance(1_000)
    return { response: await answer, seconds: (clock.monotonic() - startedAt) / 1_000 }
  }
  const known = await asked('one '.repeat(20))
  t.ok(known.seconds >= 20, 'how fast the engine is')
  await clock.advance(Math.max(0, start + (21 - 15) * 20_000 - clock.now()))
  b.chain.reach(21)
  return { ...made, asked }
}

t.test('an answer is cut so that it ends while its session still pays', async (t) => {
  const { b, asked } = await slowChain(t, 22n)
  // A block is left: 20 s, not 55.
  const { response, seconds } = await asked('one '.repeat(40))
  checkSigned(t, b, response, 200, undefined)
  const { choices, usage } = JSON.parse(innerOf(response).body)
  t.equal(choices[0].finish_reason, 'length')
  t.ok(usage.completion_tokens >= 8, `${usage.completion_tokens} tokens`)
  t.ok(seconds < 20, `${seconds} s`)
  t.equal(await b.served(15), 2)
})

t.test('what cannot end in its session is refused before any work is done', async (t) => {
  const { b, runs } = await slowChain(t, 21n)
  const before = runs.count
  const response = await b.send(signed(b.draft(b.header(15))))
  checkSigned(t, b, response, 429, 'relayer_proxy 10')
  t.match(JSON.parse(innerOf(response).body), { error: { code: 'session_ending' } })
  t.equal(innerOf(response).headers['Retry-After'], '1')
  t.equal(runs.count, before)
  t.equal(await b.served(15), 1)
})
