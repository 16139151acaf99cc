import { Agent } from 'node:http'
import t from 'tap'
import { utf8 } from '../../src/base/bytes.ts'
import { silentLog } from '../../src/base/log.ts'
import { ms } from '../../src/base/units.ts'
import { decodeRelayResponse } from '../../src/protocol/relay.ts'
import { RELAY_SERVER_DEFAULTS, RelayServer } from '../../src/relay/server.ts'
import { ManualClock } from '../support/clock.ts'
import { answered, bench, hang, pending, turn, until } from '../support/relay-bench.ts'
import { call, FakeHandler, open, Raw } from '../support/relay-client.ts'
import { errorOf, innerOf, isSigned } from '../support/relay-gateway.ts'

t.test('a stop lets running relays end and takes no new connection', async (t) => {
  const b = await bench(t)
  const { port, server } = await open(t, b.handler)
  const hold = pending<void>()
  b.inference.reply = async () => {
    await hold.done
    return answered()
  }
  const kept = new Raw(port).send(b.bytes())
  const agent = new Agent({ keepAlive: true })
  t.teardown(() => agent.destroy())
  const running = call(port, { body: b.bytes(), agent })
  await until(() => b.inference.requests.length === 2)
  let isStopped = false
  const stopped = server.stop().then(() => {
    isStopped = true
  })
  await t.rejects(call(port, { body: b.bytes() }), { code: 'ECONNREFUSED' })
  kept.send(b.bytes())
  await turn()
  t.equal(isStopped, false)
  hold.end()
  const { body, headers } = await running
  t.ok(isSigned(decodeRelayResponse(body)))
  t.equal(headers.connection, 'close', 'no further relay is sent on this connection')
  await stopped
  await kept.closed
  t.match(kept.text, /200 OK/)
  t.equal(server.inFlight, 0)
  t.equal(b.inference.requests.length, 2, 'what came after the stop was not served')
  t.equal(await b.served(), 2)
})

t.test('a relay that comes on a kept connection during the drain is answered 429', async (t) => {
  const b = await bench(t)
  const { port, server } = await open(t, b.handler)
  b.inference.reply = (signal) => hang(signal)
  const running = new Raw(port).send(b.bytes())
  await until(() => b.inference.requests.length === 1)
  // Its request has begun, so the connection is not an idle one.
  const late = b.bytes()
  const kept = new Raw(port)
  kept.write(`POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ${late.length}\r\n\r\n`)
  await until(() => server.inFlight === 2)
  const stopped = server.stop()
  kept.write(late)
  await kept.sees((text) => text.includes('200 OK'))
  await kept.closed
  const response = decodeRelayResponse(kept.received.subarray(kept.text.indexOf('\r\n\r\n') + 4))
  t.ok(isSigned(response))
  t.equal(innerOf(response).status, 429)
  t.equal(errorOf(response), 'relayer_proxy 10')
  running.socket.destroy()
  await stopped
})

t.test('a stop closes connections that wait for nothing', async (t) => {
  const handler = new FakeHandler()
  const { port, server } = await open(t, handler)
  const agent = new Agent({ keepAlive: true })
  t.teardown(() => agent.destroy())
  await call(port, { body: utf8('x'), agent })
  const silent = new Raw(port)
  const half = new Raw(port).write('POST / HTTP/1.1\r\nHo')
  await until(() => silent.socket.readyState === 'open' && half.socket.readyState === 'open')
  await call(port, { body: utf8('y') })
  await server.stop()
  await Promise.all([silent.closed, half.closed])
  t.equal(handler.draining, 1)
  await t.rejects(call(port), { code: 'ECONNREFUSED' })
})

t.test('what does not end is cut at the limit of the drain', async (t) => {
  const handler = new FakeHandler()
  const clock = new ManualClock()
  const { port, server } = await open(t, handler, { drainMax: ms(5_000) }, { clock })
  handler.reply = (_, signal) => hang(signal)
  const raw = new Raw(port).send(utf8('x'))
  const upload = new Raw(port).write('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nab')
  await until(() => handler.bodies.length === 1 && server.inFlight === 2)
  const stopped = server.stop()
  await clock.advance(4_999)
  t.equal(server.inFlight, 2)
  await clock.advance(1)
  await stopped
  await Promise.all([raw.closed, upload.closed])
  t.equal(handler.signals[0]?.reason.code, 'REFUSED')
  t.equal(raw.text + upload.text, '')
  await until(() => server.inFlight === 0)
  t.equal(clock.sleeping, 0)
})

t.test('a relay that is cut at the limit costs nothing and is not mined', async (t) => {
  const b = await bench(t, { relaysMax: 5 })
  const clock = new ManualClock()
  const { port, server } = await open(t, b.handler, { drainMax: ms(5_000) }, { clock })
  b.inference.reply = hang
  const raw = new Raw(port).send(b.bytes())
  await until(() => b.inference.requests.length === 1)
  const stopped = server.stop()
  await clock.advance(5_000)
  await stopped
  await raw.closed
  await until(() => server.inFlight === 0)
  t.equal(await b.served(), 0)
  t.equal(await b.left(), 5)
})

t.test('stopping again waits for the same end', async (t) => {
  const handler = new FakeHandler()
  const { port, server } = await open(t, handler)
  const answer = pending<Uint8Array>()
  handler.reply = () => answer.done
  const raw = new Raw(port).send(utf8('x'))
  await until(() => handler.bodies.length === 1)
  const ends: string[] = []
  const stops = [1, 2].map((n) => server.stop().then(() => ends.push(`stop ${n}`)))
  await turn()
  t.strictSame(ends, [])
  answer.end(utf8('done'))
  await Promise.all(stops)
  await server.stop()
  await raw.closed
  t.match(raw.text, /done$/)
  t.equal(handler.draining, 1)
})

t.test('a port that never opened can be stopped', async (t) => {
  const handler = new FakeHandler()
  const deps = { clock: new ManualClock(), handler, log: silentLog() }
  await new RelayServer(deps, RELAY_SERVER_DEFAULTS).stop()
  t.equal(handler.draining, 1)
})
