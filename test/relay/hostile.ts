import t from 'tap'
import { utf8 } from '../../src/base/bytes.ts'
import { ms } from '../../src/base/units.ts'
import { decodeRelayResponse } from '../../src/protocol/relay.ts'
import { ManualClock } from '../support/clock.ts'
import { hang, pending, until } from '../support/relay-bench.ts'
import { call, FakeHandler, open, Raw } from '../support/relay-client.ts'
import { errorOf, isRefusal } from '../support/relay-gateway.ts'

const SHORT = { headersTimeout: ms(60), receiveTimeout: ms(120), keepAlive: ms(60) }
const HEAD = 'POST / HTTP/1.1\r\nHost: x\r\n'

/** Whether the port still answers somebody decent. */
async function lives(port: number): Promise<boolean> {
  return (await call(port, { body: utf8('alive') })).body.toString() === 'alive'
}

t.test('who does not send a request to its end is cut off', async (t) => {
  const handler = new FakeHandler()
  const { port, server } = await open(t, handler, SHORT)
  const senders: Record<string, Raw> = {
    nothing: new Raw(port),
    'half a line': new Raw(port).write('POST / HT'),
    'half of the headers': new Raw(port).write(`${HEAD}Content-Length: 5\r\n`),
    'no body': new Raw(port).write(`${HEAD}Content-Length: 5\r\n\r\n`),
    'half a body': new Raw(port).write(`${HEAD}Content-Length: 5\r\n\r\nab`),
    'half a chunk': new Raw(port).write(`${HEAD}Transfer-Encoding: chunked\r\n\r\n5\r\nab`),
    'no last chunk': new Raw(port).write(`${HEAD}Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n`),
    'nothing after a request': new Raw(port).send(utf8('x')),
  }
  await Promise.all(Object.values(senders).map((raw) => raw.closed))
  t.equal(handler.bodies.length, 1, 'only what was whole got to the handler')
  for (const [name, raw] of Object.entries(senders))
    t.equal(raw.text.includes('200 OK'), name === 'nothing after a request', name)
  await until(() => server.inFlight === 0)
  t.ok(await lives(port))
})

t.test('who sends a byte now and then is cut off all the same', async (t) => {
  const handler = new FakeHandler()
  const { port } = await open(t, handler, SHORT)
  const slow = [
    new Raw(port).write(`${HEAD}X: `),
    new Raw(port).write(`${HEAD}Content-Length: 9999\r\n\r\n`),
  ]
  const dripping = slow.map(async (raw) => {
    while (!raw.isClosed) {
      raw.write('a')
      await Promise.race([raw.closed, new Promise((resolve) => setTimeout(resolve, 10))])
    }
  })
  await Promise.all(dripping)
  t.equal(handler.bodies.length, 0)
  t.ok(await lives(port))
})

t.test('what is not HTTP costs its sender the connection', async (t) => {
  const handler = new FakeHandler()
  const { port } = await open(t, handler)
  const bad: Record<string, string> = {
    garbage: '\x00\x01\x02\xff\xfe garbage\r\n\r\n',
    'a TLS hello': '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
    'the preface of HTTP/2': 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
    'an unknown version': 'POST / HTTP/9.9\r\nHost: x\r\n\r\n',
    'two lengths': `${HEAD}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab`,
    'a length and chunks': `${HEAD}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    'a negative length': `${HEAD}Content-Length: -1\r\n\r\n`,
    'a chunk without a size': `${HEAD}Transfer-Encoding: chunked\r\n\r\nzz\r\n`,
    'no host': 'POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n',
    'a name with a line end': `${HEAD}X\n: y\r\n\r\n`,
    'a tunnel': 'CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n',
  }
  for (const [name, bytes] of Object.entries(bad)) {
    const raw = new Raw(port).write(Buffer.from(bytes, 'latin1'))
    await raw.closed
    t.notMatch(raw.text, /200 OK/, name)
  }
  t.equal(handler.bodies.length, 0)
  t.ok(await lives(port))
})

t.test('headers without end are refused', async (t) => {
  const handler = new FakeHandler()
  const { port } = await open(t, handler)
  const flood = new Raw(port).write(`${HEAD}${'X: y\r\n'.repeat(20_000)}\r\n`)
  const long = new Raw(port).write(`${HEAD}X: ${'y'.repeat(40_000)}\r\n\r\n`)
  const path = new Raw(port).write(`POST /${'y'.repeat(40_000)} HTTP/1.1\r\nHost: x\r\n\r\n`)
  for (const raw of [flood, long, path]) {
    await raw.closed
    t.match(raw.text, /^HTTP\/1.1 431 /)
  }
  const many = Object.fromEntries(Array.from({ length: 900 }, (_, i) => [`x-${i}`, 'y']))
  t.equal((await call(port, { headers: many, body: utf8('many') })).body.toString(), 'many')
  t.equal(handler.bodies.length, 1)
})

t.test('a body over the limit is refused with code 13 and the connection closes', async (t) => {
  const handler = new FakeHandler()
  const { port, server } = await open(t, handler, { bodyMax: 1_000 })
  const piece = Buffer.alloc(100, 'x')
  const most = Array.from({ length: 10 }, () => piece)
  t.equal((await call(port, { body: Buffer.concat(most) })).body.length, 1_000, 'just fits')
  t.equal((await call(port, { body: most })).body.length, 1_000, 'just fits, in chunks')
  const over: Record<string, Parameters<typeof call>[1]> = {
    'announced, one more': { body: Buffer.alloc(1_001) },
    'announced, twice as much': { body: Buffer.alloc(2_000) },
    'announced, much more': { body: Buffer.alloc(50_000) },
    'in chunks, one more': { body: [...most, Buffer.alloc(1)] },
    'in chunks, much more': { body: Array.from({ length: 100 }, () => piece) },
  }
  for (const [name, options] of Object.entries(over)) {
    const { status, headers, body } = await call(port, options)
    const reply = decodeRelayResponse(body)
    t.equal(status, 200, name)
    t.equal(errorOf(reply), 'relayer_proxy 13', name)
    t.ok(isRefusal(reply), name)
    t.equal(headers.connection, 'close', name)
  }
  const announced = new Raw(port).write(`${HEAD}Content-Length: 50000\r\n\r\n`)
  await announced.closed
  t.match(announced.text, /200 OK.*request limit exceed/s, 'without waiting for what is announced')
  t.equal(handler.bodies.length, 2)
  await until(() => server.inFlight === 0)
})

t.test('a body without end is not read to its end', async (t) => {
  const handler = new FakeHandler()
  const { port, server } = await open(t, handler, { bodyMax: 10_000 })
  const raw = new Raw(port).write(`${HEAD}Transfer-Encoding: chunked\r\n\r\n`)
  const chunk = `2710\r\n${'x'.repeat(10_000)}\r\n`
  let sent = 0
  while (!raw.isClosed && sent < 10_000) {
    raw.write(chunk)
    sent++
    await new Promise((resolve) => setImmediate(resolve))
  }
  await raw.closed
  t.ok(sent < 10_000, `cut off after ${sent} chunks`)
  await until(() => server.inFlight === 0)
  t.equal(handler.bodies.length, 0)
})

t.test('all bodies together have a limit, and it is given back', async (t) => {
  const handler = new FakeHandler()
  const { port, server } = await open(t, handler, { bodyMax: 1_000, bodiesMax: 2_500 })
  const answer = pending<Uint8Array>()
  handler.reply = () => answer.done
  const body = Buffer.alloc(1_000)
  const held = [new Raw(port).send(body), new Raw(port).send(body)]
  await until(() => handler.bodies.length === 2)
  const third = new Raw(port).send(body)
  await third.closed
  t.equal(third.text, '', 'too much at once: cut off')
  const small = new Raw(port).send(Buffer.alloc(400))
  await until(() => handler.bodies.length === 3)
  answer.end(utf8('done'))
  for (const raw of [...held, small]) await raw.sees((text) => text.endsWith('done'))
  await until(() => server.inFlight === 0)
  for (let i = 0; i < 5; i++)
    t.equal((await call(port, { body })).body.toString(), 'done', `time ${i}`)
  for (const raw of [...held, small]) raw.socket.destroy()
})

t.test('connections, and requests sent ahead on one, have a limit', async (t) => {
  const handler = new FakeHandler()
  const { port, server } = await open(t, handler, { connectionsMax: 3 })
  handler.reply = (_, signal) => hang(signal)
  const held = [1, 2, 3].map((n) => new Raw(port).send(utf8(`${n}`)))
  await until(() => handler.bodies.length === 3)
  const fourth = new Raw(port).send(utf8('4'))
  await fourth.closed
  for (const raw of held) raw.socket.destroy()
  await until(() => server.inFlight === 0)
  const greedy = new Raw(port)
  for (let i = 0; i < 10; i++) greedy.send(utf8(`${i}`))
  await greedy.closed
  t.ok(handler.bodies.length <= 6, `${handler.bodies.length} reached the handler`)
  await until(() => server.inFlight === 0)
  handler.reply = async (body) => body
  t.ok(await lives(port))
})

t.test('who does not take its answer is cut off', async (t) => {
  const handler = new FakeHandler()
  const clock = new ManualClock()
  const { port, server } = await open(t, handler, { sendTimeout: ms(1_000) }, { clock })
  handler.reply = async () => Buffer.alloc(32_000_000, 'x')
  const raw = new Raw(port)
  raw.socket.pause()
  raw.send(utf8('x'))
  await until(() => clock.sleeping === 1)
  await clock.advance(999)
  t.equal(server.inFlight, 1)
  await clock.advance(1)
  await until(() => server.inFlight === 0)
  raw.socket.resume()
  await raw.closed
  t.ok(raw.received.length < 32_000_000, `${raw.received.length} bytes were taken`)
})

t.test('who leaves while it takes its answer holds nothing up', async (t) => {
  const handler = new FakeHandler()
  const { port, server } = await open(t, handler)
  handler.reply = async () => Buffer.alloc(32_000_000, 'x')
  const raw = new Raw(port)
  raw.socket.pause()
  raw.send(utf8('x'))
  await until(() => handler.bodies.length === 1)
  t.equal(server.inFlight, 1)
  raw.socket.destroy()
  await until(() => server.inFlight === 0)
})
