import { Agent } from 'node:http'
import t from 'tap'
import { utf8 } from '../../src/base/bytes.ts'
import { decodeRelayResponse, encodeRelayRequest } from '../../src/protocol/relay.ts'
import { bench, hang, pending, turn, until } from '../support/relay-bench.ts'
import { minedAs } from '../support/relay-checks.ts'
import { call, FakeHandler, open, Raw } from '../support/relay-client.ts'
import { errorOf, isRefusal, isSigned } from '../support/relay-gateway.ts'

const count = (text: string, what: string) => text.split(what).length - 1

t.test('a relay comes and goes by any method and any path', async (t) => {
  const b = await bench(t)
  const { port, server } = await open(t, b.handler)
  const ways = [
    ['POST', '/'],
    ['GET', '/'],
    ['GET', '/v1/models?x=1'],
    ['PUT', '/any/path'],
    ['DELETE', '//'],
    ['PATCH', '/%2e%2e/%00'],
    ['OPTIONS', '*'],
  ] as const
  for (const [method, path] of ways) {
    const { status, headers, body } = await call(port, { method, path, body: b.bytes() })
    t.equal(status, 200, `${method} ${path}`)
    t.equal(headers['content-type'], 'application/x-protobuf')
    t.equal(headers['content-length'], String(body.length))
    t.ok(isSigned(decodeRelayResponse(body)), `${method} ${path}`)
  }
  t.equal(await b.served(), ways.length)
  await until(() => server.inFlight === 0)
})

t.test('a body comes in chunks, without a length, or with one byte at a time', async (t) => {
  const handler = new FakeHandler()
  const { port } = await open(t, handler)
  const body = utf8('a body of some length')
  const chunks = [...body].map((byte) => Uint8Array.of(byte))
  for (const method of ['POST', 'GET', 'DELETE'])
    t.strictSame((await call(port, { method, body: chunks })).body, Buffer.from(body), method)
  t.strictSame((await call(port, { body: [] })).body, Buffer.alloc(0), 'no body at all')
  t.strictSame((await call(port, { method: 'GET' })).body, Buffer.alloc(0), 'not even a length')
  const large = Buffer.alloc(3_000_000, 'x')
  t.strictSame((await call(port, { body: large })).body, large, 'megabytes')
})

t.test('a connection is kept for the next relay', async (t) => {
  const handler = new FakeHandler()
  const { port } = await open(t, handler)
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => agent.destroy())
  for (let i = 0; i < 5; i++) {
    const { headers } = await call(port, { body: utf8(`${i}`), agent })
    t.equal(headers.connection, 'keep-alive', `relay ${i}`)
  }
  t.equal(Object.values(agent.freeSockets).flat().length, 1)
  const [socket] = Object.values(agent.freeSockets).flat()
  agent.destroy()
  await until(() => socket?.closed === true)
  await call(port, { body: utf8('x') })
  t.notOk(
    handler.signals.some(({ aborted }) => aborted),
    'relays that were answered are not cancelled when the connection closes later',
  )
})

t.test('requests sent ahead are answered in their order', async (t) => {
  const handler = new FakeHandler()
  const { port, server } = await open(t, handler)
  const first = pending<Uint8Array>()
  handler.reply = async (body) => (handler.bodies.length === 1 ? await first.done : body)
  const raw = new Raw(port).send(utf8('one')).send(utf8('two'), 'GET').send(utf8('three'), 'PUT')
  await until(() => handler.bodies.length === 3)
  t.equal(raw.text, '', 'the second waits for the first')
  first.end(utf8('uno'))
  await raw.sees((text) => text.endsWith('three'))
  t.match(raw.text, /uno.*two.*three/s)
  t.equal(count(raw.text, '200 OK'), 3)
  await until(() => server.inFlight === 0)
  raw.socket.destroy()
})

t.test('a client that leaves takes all that it sent ahead with it', async (t) => {
  const handler = new FakeHandler()
  const { port, server } = await open(t, handler)
  handler.reply = (_, signal) => hang(signal)
  const raw = new Raw(port)
  for (let i = 0; i < 20; i++) raw.send(utf8(`${i}`))
  await until(() => handler.bodies.length === 20)
  raw.socket.destroy()
  await until(() => server.inFlight === 0)
  t.equal(handler.signals.filter(({ aborted }) => aborted).length, 20)
})

t.test('an answer that waits for its turn goes with the client', async (t) => {
  const handler = new FakeHandler()
  const { port, server } = await open(t, handler)
  handler.reply = async (body, signal) => (handler.bodies.length === 1 ? await hang(signal) : body)
  const raw = new Raw(port).send(utf8('one')).send(utf8('two'))
  await until(() => handler.bodies.length === 2)
  await turn()
  t.equal(server.inFlight, 2)
  raw.socket.destroy()
  await until(() => server.inFlight === 0)
})

t.test('an answer that comes when the client has left ends there', async (t) => {
  const handler = new FakeHandler()
  const { port, server } = await open(t, handler)
  const answer = pending<Uint8Array>()
  handler.reply = () => answer.done
  const raw = new Raw(port).send(utf8('one')).send(utf8('two'))
  await until(() => handler.bodies.length === 2)
  raw.socket.destroy()
  await until(() => handler.signals.every(({ aborted }) => aborted))
  answer.end(utf8('too late'))
  await until(() => server.inFlight === 0)
  t.equal((await call(port, { body: utf8('x') })).status, 200)
})

t.test('no byte of an answer leaves before its leaf is on the disk', async (t) => {
  const b = await bench(t)
  const { port } = await open(t, b.handler)
  const disk = pending<void>()
  b.disk = disk.done
  const request = b.request()
  const raw = new Raw(port).send(encodeRelayRequest(request))
  await until(() => b.writes === 1)
  // Another relay goes in and out by the same loop meanwhile.
  t.equal((await call(port, { body: utf8('garbage') })).status, 200)
  t.equal(raw.text, '')
  t.equal(await b.served(), 0)
  disk.end()
  await raw.sees((text) => text.includes('\r\n\r\n'))
  t.equal(await b.served(), 1)
  const length = Number(/content-length: (\d+)/i.exec(raw.text)?.[1])
  const start = raw.text.indexOf('\r\n\r\n') + 4
  await raw.sees((text) => text.length === start + length)
  const response = decodeRelayResponse(raw.received.subarray(start))
  t.ok(isSigned(response))
  t.ok(await minedAs(b, request, response))
  raw.socket.destroy()
})

t.test(
  'a client that leaves before the record is not served; after it, the relay stays',
  async (t) => {
    const b = await bench(t)
    const { port, server } = await open(t, b.handler)
    b.inference.reply = hang
    const early = new Raw(port).send(b.bytes())
    await until(() => b.inference.requests.length === 1)
    early.socket.destroy()
    await until(() => server.inFlight === 0)
    t.equal(await b.served(), 0)
    t.equal(b.handler.counts.gone, 1)
    const disk = pending<void>()
    b.disk = disk.done
    b.inference.reply = async () => ({ status: 200, contentType: 'text/plain', body: utf8('x') })
    const late = new Raw(port).send(b.bytes())
    await until(() => b.writes === 1)
    late.socket.destroy()
    await late.closed
    disk.end()
    await until(() => server.inFlight === 0)
    t.equal(await b.served(), 1)
    t.equal(b.handler.counts.mined, 1)
  },
)

t.test('a HEAD, whose answer has no body, is not served', async (t) => {
  const b = await bench(t)
  const { port } = await open(t, b.handler)
  const { status, body } = await call(port, { method: 'HEAD', body: b.bytes() })
  t.equal(status, 200)
  t.equal(body.length, 0)
  t.equal(b.inference.requests.length + (await b.served()), 0)
})

t.test('a sender that waits for permission gets it', async (t) => {
  const handler = new FakeHandler()
  const { port } = await open(t, handler)
  let permitted = 0
  const headers = { expect: '100-continue' }
  const onContinue = () => permitted++
  const { body } = await call(port, { body: utf8('body'), headers, onContinue })
  t.equal(body.toString(), 'body')
  t.equal(permitted, 1)
  t.equal((await call(port, { body: utf8('x'), headers: { expect: 'magic' } })).status, 417)
})

t.test('a handshake for a WebSocket gets an ordinary refusal', async (t) => {
  const b = await bench(t)
  const { port } = await open(t, b.handler)
  const headers = {
    connection: 'Upgrade',
    upgrade: 'websocket',
    'rpc-type': '2',
    'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
    'sec-websocket-version': '13',
  }
  const { status, body } = await call(port, { method: 'GET', headers })
  t.equal(status, 200)
  const response = decodeRelayResponse(body)
  t.ok(isRefusal(response))
  t.equal(errorOf(response), 'service 1111')
  const h2c = { connection: 'Upgrade, HTTP2-Settings', upgrade: 'h2c', 'http2-settings': '' }
  const relay = await call(port, { headers: h2c, body: b.bytes() })
  t.ok(isSigned(decodeRelayResponse(relay.body)), 'an offer of HTTP/2 is not taken')
})

t.test('what is no relay is refused inside a 200', async (t) => {
  const b = await bench(t)
  const { port } = await open(t, b.handler)
  for (const [bytes, error] of [
    ['garbage', 'relayer_proxy 14'],
    ['{"jsonrpc":"2.0"}', 'relayer_proxy 14'],
    ['', 'service 1111'],
  ] as const) {
    const { status, body, headers } = await call(port, { body: utf8(bytes) })
    t.equal(status, 200, bytes)
    t.ok(isRefusal(decodeRelayResponse(body)), bytes)
    t.equal(errorOf(decodeRelayResponse(body)), error, bytes)
    t.equal(headers['content-type'], 'application/x-protobuf')
  }
})

t.test('two hundred connections at once are all answered', async (t) => {
  const b = await bench(t)
  const { port, server } = await open(t, b.handler)
  const requests = Array.from({ length: 200 }, () => b.bytes())
  const answers = await Promise.all(requests.map((body) => call(port, { body })))
  t.equal(answers.filter(({ body }) => isSigned(decodeRelayResponse(body))).length, 200)
  t.equal(await b.served(), 200)
  t.equal((await b.mined()).length, 200)
  await until(() => server.inFlight === 0)
})

t.test('a port that is taken is an error of listen', async (t) => {
  const handler = new FakeHandler()
  const { port } = await open(t, handler)
  await t.rejects(open(t, handler, { port }), { code: 'EADDRINUSE' })
})
