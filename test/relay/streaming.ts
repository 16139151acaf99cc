import t, { type Test } from 'tap'
import { utf8 } from '../../src/base/bytes.ts'
import { parseRing } from '../../src/crypto/ring.ts'
import type { AnswerOptions, InferenceAnswer } from '../../src/inference/inference.ts'
import {
  decodeRelayResponse,
  encodeRelayRequest,
  type RelayRequest,
  requestSignableHash,
} from '../../src/protocol/relay.ts'
import { signedResponse } from '../../src/relay/respond.ts'
import { replayKeyOf } from '../../src/relay/ringkeys.ts'
import type { Streaming } from '../../src/relay/rules.ts'
import { StoreError } from '../../src/store/errors.ts'
import { type Bench, bench, hang, pending, until } from '../support/relay-bench.ts'
import { minedAs } from '../support/relay-checks.ts'
import { call, open, Raw } from '../support/relay-client.ts'
import { errorOf, innerOf, isSigned, operator } from '../support/relay-gateway.ts'
import { readStream, textIn } from '../support/relay-stream.ts'

const MAX = 5
const ASKED = 'Pokt-Stream: batched\r\n'

/** An engine that says what a test tells it to, and the port before it. */
async function setUp(t: Test, streaming: Streaming = 'batched') {
  const b = await bench(t, { relaysMax: MAX, rules: { streaming } })
  const { port } = await open(t, b.handler)
  const told: AnswerOptions[] = []
  let resolve: (answer: InferenceAnswer) => void = () => {}
  b.inference.reply = (signal, options) => {
    told.push(options)
    const answer = new Promise<InferenceAnswer>((done) => {
      resolve = done
    })
    return Promise.race([answer, hang(signal)])
  }
  const asked = () => until(() => told.length > 0)
  const say = (text: string) => told.at(-1)?.onEvents?.(text)
  let all = ''
  /** An event that comes, and leaves with the next tick. */
  const event = async (text: string) => {
    const data = `data: ${text}\n\n`
    all += data
    say(data)
    await b.clock.advance(100)
  }
  /** The last event and the answer, in one turn as engines give them. */
  const finish = (text = '[DONE]', over: Partial<InferenceAnswer> = {}) => {
    const data = `data: ${text}\n\n`
    all += data
    say(data)
    resolve({ status: 200, contentType: 'text/event-stream', body: utf8(all), ...over })
  }
  return { b, port, asked, event, finish, told }
}

/** One relay on the disk, and it is what would have been sent in one piece. */
async function minedWhole(b: Bench, request: RelayRequest, text: string): Promise<boolean> {
  const answer = { status: 200, contentType: 'text/event-stream', body: utf8(text) }
  return await minedAs(b, request, signedResponse(operator, b.header(15), answer))
}

t.test('frames leave while events come; one relay is mined, over all of the text', async (t) => {
  const { b, port, asked, event, finish, told } = await setUp(t)
  const request = b.request()
  const texts: string[] = []
  const reading = readStream(port, request, { onText: (text) => texts.push(text) })
  await asked()
  await event('1')
  await until(() => texts.length === 1)
  await event('2')
  await until(() => texts.length === 2)
  t.equal(b.writes, 0, 'nothing is written before the end')
  finish()
  const relayed = await reading
  t.strictSame(texts, ['data: 1\n\n', 'data: 2\n\n', 'data: [DONE]\n\n'])
  t.match(relayed, { verified: true, fault: '', frames: 3, error: undefined })
  t.ok(await minedWhole(b, request, texts.join('')))
  t.equal(await b.left(), MAX - 1)
  t.equal(b.handler.counts.mined, 1)
  const { applicationAddress, sessionId } = b.header()
  t.match(told[0], { party: applicationAddress, scope: `${sessionId} ${applicationAddress}` })
})

t.test('the head of a stream, and its end', async (t) => {
  const { b, port, asked, event, finish } = await setUp(t, 'refuse')
  const raw = new Raw(port).send(b.bytes(), 'POST', ASKED)
  await asked()
  await event('1')
  await raw.sees((text) => text.includes('||POKT_STREAM||'))
  const head = raw.text.slice(0, raw.text.indexOf('\r\n\r\n'))
  t.match(head, /^HTTP\/1\.1 200 OK\r\n/)
  t.match(head, /\r\nContent-Type: text\/event-stream\r\n/)
  t.match(head, /\r\nTransfer-Encoding: chunked/)
  t.match(head, /\r\nConnection: close\r\n/)
  finish()
  await raw.closed
  t.match(raw.text, /\|\|POKT_STREAM\|\|\r\n0\r\n\r\n$/, 'a delimiter is the last that is read')
})

t.test('the last frame leaves only when the relay is on the disk', async (t) => {
  const { b, port, asked, event, finish } = await setUp(t)
  const disk = pending<void>()
  b.disk = disk.done
  const texts: string[] = []
  const reading = readStream(port, b.request(), { onText: (text) => texts.push(text) })
  await asked()
  await event('1')
  finish()
  await until(() => b.writes === 1)
  for (let n = 0; n < 5; n++) await b.clock.advance(1_000)
  t.equal((await call(port, { body: utf8('garbage') })).status, 200, 'a whole round by the port')
  t.strictSame(texts, ['data: 1\n\n'])
  disk.end()
  t.equal((await reading).frames, 2)
  t.equal(texts.at(-1), 'data: [DONE]\n\n')
  t.equal(await b.served(), 1)
})

t.test('who leaves in the middle cancels the work, and pays nothing', async (t) => {
  const { b, port, asked, event, told } = await setUp(t)
  const gone = new AbortController()
  const texts: string[] = []
  const reading = readStream(port, b.request(), {
    signal: gone.signal,
    onText: (text) => texts.push(text),
  })
  await asked()
  await event('1')
  await until(() => texts.length === 1)
  gone.abort(new RangeError('gone'))
  await t.rejects(reading, new RangeError('gone'))
  await until(() => b.handler.counts.gone === 1)
  t.equal(told[0]?.signal.aborted, true)
  t.equal((await b.mined()).length + (await b.served()), 0)
  t.equal(await b.left(), MAX)
  t.equal(b.gate.inFlight(b.key()), 0)
})

t.test('who leaves while the relay is written changes nothing', async (t) => {
  const { b, port, asked, event, finish } = await setUp(t)
  const disk = pending<void>()
  b.disk = disk.done
  const request = b.request()
  const raw = new Raw(port).send(encodeRelayRequest(request))
  await asked()
  await event('1')
  finish()
  await until(() => b.writes === 1)
  raw.socket.destroy()
  disk.end()
  await until(() => b.handler.counts.mined === 1)
  t.ok(await minedWhole(b, request, 'data: 1\n\ndata: [DONE]\n\n'))
  t.equal(await b.left(), MAX - 1)
})

const BROKEN = '{"error":{"message":"x"}}'
const FAILURES = {
  engine: { error: 'relayer_proxy 5', status: 502 },
  timeout: { error: 'relayer_proxy 10', status: 504 },
} as const

for (const [failed, { error, status }] of Object.entries(FAILURES)) {
  t.test(`after the first frame, a fault of the ${failed} is told in the last one`, async (t) => {
    const { b, port, asked, event, finish } = await setUp(t)
    const reading = readStream(port, b.request())
    await asked()
    await event('1')
    finish(BROKEN, { failed: failed as 'engine' })
    const relayed = await reading
    t.equal(relayed.fault, '')
    t.equal(textIn(relayed), `data: 1\n\ndata: ${BROKEN}\n\n`)
    t.equal(errorOf(relayed.response), error)
    t.equal((await b.mined()).length + (await b.served()), 0)
    t.equal(await b.left(), MAX)
    t.equal(b.handler.counts.failed, 1)
  })

  for (const streaming of ['single', 'batched'] as const)
    t.test(`before it, the same is an ordinary answer (${failed}, ${streaming})`, async (t) => {
      const { b, port, asked, finish } = await setUp(t, streaming)
      const reading = readAnswer(port, b)
      await asked()
      finish(BROKEN, { failed: failed as 'engine' })
      const { headers, response } = await reading
      t.equal(headers['content-type'], 'application/x-protobuf')
      t.ok(isSigned(response))
      t.match(innerOf(response), { status, headers: { 'Content-Type': 'application/json' } })
      t.type(JSON.parse(innerOf(response).body).error.message, 'string')
      t.equal(errorOf(response), error)
      t.equal(await b.left(), MAX)
    })
}

t.test('an engine that yields in the middle refuses in the last frame', async (t) => {
  const { b, port, asked, event, finish } = await setUp(t)
  const reading = readStream(port, b.request())
  await asked()
  await event('1')
  finish(BROKEN, { refused: true })
  t.equal(errorOf((await reading).response), 'relayer_proxy 10')
  t.strictSame([b.handler.counts.refused, await b.served()], [1, 0])
})

t.test('a session that is sealed in the middle ends its streams', async (t) => {
  const { b, port, asked, event } = await setUp(t)
  const reading = readStream(port, b.request())
  await asked()
  await event('1')
  await b.gate.seal(b.key(), true, async () => 'root')
  const relayed = await reading
  t.match(textIn(relayed), /^data: 1\n\ndata: {"error":{.*"code":"session_ended"}} *\n\n$/)
  t.equal(errorOf(relayed.response), 'relayer_proxy 10')
  t.equal(await b.left(), MAX)
})

t.test('a disk that does not take the relay lets nobody have the end of it', async (t) => {
  const { b, port, asked, event, finish } = await setUp(t)
  b.disk = Promise.reject(new StoreError('DISK', 'full', { retryable: true }))
  b.disk.catch(() => {})
  const reading = readStream(port, b.request())
  await asked()
  await event('1')
  finish()
  const relayed = await reading
  t.match(textIn(relayed), /^data: 1\n\ndata: {"error":{.*"code":"internal_error"}} *\n\n$/)
  t.equal(errorOf(relayed.response), 'relayer_proxy 5')
  t.equal(await b.left(), MAX)
})

t.test('a stream that has begun ends with a signed frame, whatever is found out', async (t) => {
  const { b, port, asked, event, finish } = await setUp(t)
  const disk = pending<void>()
  b.disk = disk.done
  const request = b.request()
  const reading = readStream(port, request)
  await asked()
  await event('1')
  finish()
  await until(() => b.writes === 1)
  const ring = parseRing(request.meta?.signature ?? utf8(''))
  const replayKey = replayKeyOf(requestSignableHash(request), ring)
  await b.store.relays.record(b.key(), { replayKey })
  disk.end()
  const relayed = await reading
  t.equal(relayed.fault, '', 'an ordinary answer would be an unsigned refusal')
  t.equal(errorOf(relayed.response), 'relayer_proxy 5')
  t.strictSame([relayed.frames, b.handler.counts.mined], [2, 0])
})

t.test('a reader that does not read is cut off, and its relay is as if it had left', async (t) => {
  const { b, port, asked, told } = await setUp(t)
  const raw = new Raw(port).send(b.bytes())
  raw.socket.pause()
  await asked()
  const { onEvents, signal } = told[0] as AnswerOptions
  const event = `data: ${'x'.repeat(256 * 1024)}\n\n`
  let sent = 0
  for (; sent < 200 && !signal.aborted; sent++) {
    onEvents?.(event)
    await b.clock.advance(100)
  }
  t.ok(sent < 100, `after ${sent / 4} MiB, most of which the system holds`)
  await until(() => b.handler.counts.gone === 1)
  t.equal(await b.served(), 0)
  t.equal(await b.left(), MAX)
  raw.socket.destroy()
})

async function readAnswer(port: number, b: Bench) {
  const { headers, body } = await call(port, { body: b.bytes() })
  return { headers, response: decodeRelayResponse(body) }
}
