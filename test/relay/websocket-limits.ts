import { constants } from 'node:http2'
import t from 'tap'
import { utf8 } from '../../src/base/bytes.ts'
import { ms } from '../../src/base/units.ts'
import { decodeRelayResponse } from '../../src/protocol/relay.ts'
import { closeReason } from '../../src/relay/channel.ts'
import { answered, bench, hang, pending, turn, until } from '../support/relay-bench.ts'
import { call, Raw } from '../support/relay-client.ts'
import { errorOf, innerOf, isRefusal, isSigned } from '../support/relay-gateway.ts'
import {
  Client,
  frame,
  HANDSHAKE,
  messageOf,
  openSockets,
  rawSocket,
} from '../support/ws-client.ts'

const BINARY = 2
const PING = 9
const PONG = 10

t.test('so many relays run at a time, so many wait, and then nothing is read', async (t) => {
  const b = await bench(t)
  const { open, server } = await openSockets(t, b, { runningMax: 2, waitingMax: 40 })
  const hold = pending<void>()
  b.inference.reply = async () => {
    await hold.done
    return answered()
  }
  const client = await open()
  // More than the system keeps for both ends, so that something is left that cannot be sent.
  const padding = 'x'.repeat(500_000)
  const messages = Array.from({ length: 30 }, (_, n) => messageOf(b, `{"n":${n},"x":"${padding}"}`))
  for (const message of messages) client.send(message)
  await until(() => b.inference.requests.length === 2)
  let left = 0
  await until(() => {
    const isSame = client.socket.bufferedAmount === left
    left = client.socket.bufferedAmount
    return isSame
  })
  t.ok(left > 0, 'the client has to wait')
  t.equal(server.inFlight, 2)
  t.equal(b.inference.requests.length, 2)
  hold.end()
  await client.answer(29)
  t.equal(await b.served(), 30, 'all are answered in the end')
})

t.test('a flood of small messages ends its connection and no other', async (t) => {
  const b = await bench(t)
  const { open, port, sockets } = await openSockets(t, b)
  b.inference.reply = hang
  const good = await open()
  good.send(messageOf(b))
  await until(() => b.inference.requests.length === 1)
  b.chain.fall(true)
  const flood = await rawSocket(port)
  flood.write(Buffer.concat(Array.from({ length: 3_000 }, () => frame(BINARY, utf8('x')))))
  await new Promise((resolve) => flood.once('close', resolve))
  await until(() => sockets.size === 1)
  t.equal(good.socket.readyState, good.socket.OPEN)
  t.ok(b.handler.counts.rejected <= 16, 'no more than run at a time were looked at')
})

t.test('a message over the limit closes the connection with 1009', async (t) => {
  const b = await bench(t)
  const { open, port, sockets } = await openSockets(t, b, { messageMax: 2_000 })
  const client = await open()
  client.send(new Uint8Array(2_001))
  t.equal((await client.closed)[0], 1009)
  const parts = await open()
  for (let n = 0; n < 21; n++) parts.socket.send(new Uint8Array(100), { binary: true, fin: false })
  t.equal((await parts.closed)[0], 1009, 'in parts')
  const announced = await rawSocket(port)
  announced.write(frame(BINARY, new Uint8Array(0), 2 ** 40))
  await new Promise((resolve) => announced.once('close', resolve))
  const crumbs = await open()
  for (let n = 0; n < 1_025; n++) crumbs.socket.send(utf8(''), { binary: true, fin: false })
  t.equal((await crumbs.closed)[0], 1008, 'in parts without end')
  await until(() => sockets.size === 0)
  t.ok(isSigned(await (await open()).send(messageOf(b)).answer(0)))
})

t.test('messages that do not fit into memory are turned away', async (t) => {
  const b = await bench(t)
  const { open, port } = await openSockets(t, b, { messageMax: 10_000, messagesBytesMax: 1 })
  const good = await open()
  const message = () => messageOf(b, `{"n":${Math.random()},"x":"${'x'.repeat(8_000)}"}`)
  for (let n = 0; n < 5; n++) t.ok(isSigned(await good.send(message()).answer(n)), `${n} fits`)
  b.inference.reply = hang
  good.send(messageOf(b))
  await until(() => b.inference.requests.length === 6)
  const half = await rawSocket(port)
  half.write(frame(BINARY, new Uint8Array(9_000), 9_900))
  await until(() => half.bytesWritten > 9_000)
  const client = await open()
  client.send(new Uint8Array(9_500))
  t.strictSame(await client.closed, [1013, 'too many messages in memory'])
  half.destroy()
  const next = await open()
  next.send(message())
  await until(() => b.inference.requests.length === 7)
  t.equal(good.socket.readyState, good.socket.OPEN, 'what was given back is there for others')
})

t.test('who says nothing, and who gives no sign of life, has to go', async (t) => {
  const b = await bench(t)
  const beat = { beatEvery: ms(1_000), strangerMax: ms(5_000) }
  const { open, port, sockets } = await openSockets(t, b, beat)
  const [known, silent] = [await open(), await open()]
  const dead = await rawSocket(port)
  let isDead = false
  dead.once('close', () => {
    isDead = true
  })
  t.ok(isSigned(await known.send(messageOf(b)).answer(0)))
  let pings = 0
  known.socket.on('ping', () => pings++)
  for (let n = 1; n <= 4; n++) {
    await b.clock.advance(1_000)
    await until(() => pings === n)
    // The pong that ws gives of itself, behind which this one comes.
    await new Promise<void>((resolve) => known.socket.ping(() => resolve()))
    await new Promise((resolve) => known.socket.once('pong', resolve))
    if (n === 1) await until(() => sockets.size === 3)
    silent.socket.ping()
    await new Promise((resolve) => silent.socket.once('pong', resolve))
    t.equal(isDead, n > 1, `beat ${n}: who does not answer is cut off at the second`)
  }
  await b.clock.advance(1_000)
  t.strictSame(await silent.closed, [1008, 'no relay came'])
  t.equal(known.socket.readyState, known.socket.OPEN)
  t.ok(isSigned(await known.send(messageOf(b)).answer(1)))
})

t.test('a message that does not come to its end does not hold its memory', async (t) => {
  const b = await bench(t)
  const { port, sockets } = await openSockets(t, b, { beatEvery: ms(1_000) })
  const raw = await rawSocket(port)
  const beat = async () => {
    raw.write(frame(PING, utf8('x')))
    raw.write(frame(PONG, utf8('')))
    await new Promise((resolve) => raw.once('data', resolve))
    await b.clock.advance(1_000)
  }
  for (let n = 0; n < 3; n++) await beat()
  t.equal(sockets.size, 1, 'pings are no part of a message')
  const part = frame(BINARY, new Uint8Array(50))
  part[0] = BINARY
  raw.write(part)
  await beat()
  t.equal(sockets.size, 1)
  await beat()
  await until(() => sockets.size === 0)
  raw.destroy()
})

t.test('who does not take an answer is cut off; its relay stays', async (t) => {
  const b = await bench(t)
  const { open, sockets } = await openSockets(t, b, { sendTimeout: ms(5_000) })
  const client = await open()
  b.inference.reply = async () => answered({ body: new Uint8Array(30_000_000).fill(32) })
  client.socket.pause()
  client.send(messageOf(b))
  await until(() => b.handler.counts.mined === 1)
  await turn()
  await b.clock.advance(4_999)
  t.equal(sockets.size, 1)
  await b.clock.advance(1)
  await until(() => sockets.size === 0)
  t.equal(await b.served(), 1)
})

t.test('a stop lets what runs end, and closes the others at once', async (t) => {
  const b = await bench(t)
  const { open, port, server } = await openSockets(t, b, { runningMax: 1 })
  const hold = pending<void>()
  b.inference.reply = async () => {
    await hold.done
    return answered()
  }
  const [running, idle] = [await open(), await open()]
  running.send(messageOf(b)).send(messageOf(b))
  await until(() => b.inference.requests.length === 1)
  const lines = Object.entries(HANDSHAKE).map(([name, value]) => `${name}: ${value}\r\n`)
  const kept = new Raw(port).write('GET / HTTP/1.1\r\nHost: x\r\n')
  await until(() => kept.socket.bytesWritten > 0)
  await call(port, { body: utf8('garbage') })
  const stopped = server.stop()
  t.strictSame(await idle.closed, [1001, 'the supplier is stopping'])
  running.send(messageOf(b))
  kept.write(`${lines.join('')}\r\n`)
  await kept.closed
  const reply = kept.received.subarray(kept.text.indexOf('\r\n\r\n') + 4)
  t.equal(errorOf(decodeRelayResponse(reply)), 'relayer_proxy 10', 'a late handshake')
  hold.end()
  t.ok(isSigned(await running.answer(0)))
  t.strictSame(await running.closed, [1001, 'the supplier is stopping'])
  await stopped
  t.equal(running.received.length, 1, 'what had not begun is dropped')
  t.equal(await b.served(), 1)
})

t.test('what runs past the limit of a stop is cut, and costs nothing', async (t) => {
  const b = await bench(t, { relaysMax: 5 })
  const { open, server } = await openSockets(t, b, { drainMax: ms(50) })
  b.inference.reply = hang
  const client = await open()
  client.send(messageOf(b))
  await until(() => b.inference.requests.length === 1)
  await server.stop()
  t.equal((await client.closed)[0], 1006)
  await until(() => server.inFlight === 0)
  t.equal(await b.served(), 0)
  t.equal(await b.left(), 5)
})

t.test('connections of both kinds share one limit', async (t) => {
  const b = await bench(t)
  const { open, port } = await openSockets(t, b, { connectionsMax: 2 })
  b.inference.reply = hang
  const [busy, waiting] = [await open(), await open()]
  busy.send(messageOf(b))
  await until(() => b.inference.requests.length === 1)
  const { body } = await call(port, { body: utf8('garbage') })
  t.equal(errorOf(decodeRelayResponse(body)), 'relayer_proxy 14')
  t.equal((await waiting.closed)[0], 1006, 'who made us wait longest made room')
  t.equal(busy.socket.readyState, busy.socket.OPEN)
})

t.test('a handshake is refused like a relay when what it names is not here', async (t) => {
  const b = await bench(t)
  const { port, sockets } = await openSockets(t, b)
  const shake = (headers: Record<string, string>) =>
    call(port, { method: 'GET', headers: { ...HANDSHAKE, ...headers } })
  for (const [headers, error] of [
    [{ 'target-service-id': 'foreign' }, 'relayer_proxy 3'],
    [{ 'pocket-service-id': 'foreign' }, 'relayer_proxy 3'],
    [{ 'target-service-id': 'text', 'pocket-supplier-address': 'pokt1x' }, 'relayer_proxy 9'],
  ] as const) {
    const { status, body, headers: got } = await shake(headers)
    t.equal(status, 200, error)
    t.equal(got['content-type'], 'application/x-protobuf')
    t.ok(isRefusal(decodeRelayResponse(body)), error)
    t.equal(errorOf(decodeRelayResponse(body)), error)
  }
  t.equal((await shake({ 'sec-websocket-version': '7' })).status, 400)
  t.equal((await shake({ 'sec-websocket-key': 'short' })).status, 400)
  t.equal(sockets.size, 0)
})

t.test('nothing is compressed, whatever is offered', async (t) => {
  const b = await bench(t)
  const { port } = await openSockets(t, b)
  const client = new Client(port, { perMessageDeflate: true })
  await client.opened
  t.equal(client.socket.extensions, '')
  t.ok(isSigned(await client.send(messageOf(b)).answer(0)))
  client.socket.terminate()
  const headers = { [constants.HTTP2_HEADER_ACCEPT_ENCODING]: 'gzip, br' }
  const answer = await call(port, { body: b.bytes(), headers })
  t.equal(answer.headers['content-encoding'], undefined)
  t.equal(innerOf(decodeRelayResponse(answer.body)).headers['Content-Encoding'], undefined)
})

t.test('another offer to change the protocol is declined, and its relay served', async (t) => {
  const b = await bench(t)
  const { port, server } = await openSockets(t, b)
  const h2c = { connection: 'Upgrade, HTTP2-Settings', upgrade: 'h2c', 'http2-settings': '' }
  const posted = { ...HANDSHAKE, 'content-type': 'application/json' }
  for (const [name, headers] of Object.entries({ h2c, posted })) {
    const { status, body } = await call(port, { headers, body: b.bytes() })
    t.equal(status, 200, name)
    t.ok(isSigned(decodeRelayResponse(body)), name)
  }
  const body = b.bytes()
  const chunks = Array.from(body, (byte) => Uint8Array.of(byte))
  const slow = await call(port, { headers: h2c, body: chunks })
  t.ok(isSigned(decodeRelayResponse(slow.body)), 'a body in chunks')
  b.inference.reply = hang
  const lines = Object.entries(HANDSHAKE).map(([name, value]) => `${name}: ${value}\r\n`)
  const ahead = new Raw(port).send(b.bytes())
  await until(() => server.inFlight === 1)
  ahead.write(`GET / HTTP/1.1\r\nHost: x\r\n${lines.join('')}\r\n`)
  await ahead.closed
  t.equal(ahead.text, '', 'not while another answer is due on the connection')
  await until(() => server.inFlight === 0)
})

t.test('a reason is cut between two characters', async (t) => {
  t.equal(closeReason('short'), 'short')
  t.equal(closeReason('x'.repeat(124)), 'x'.repeat(123))
  t.equal(closeReason(`${'x'.repeat(122)}é`), 'x'.repeat(122))
  t.equal(closeReason(`x${'🦊'.repeat(31)}`), `x${'🦊'.repeat(30)}`)
  t.equal(closeReason('é'.repeat(61)), 'é'.repeat(61), '122 bytes')
})
