import { gzipSync } from 'node:zlib'
import t from 'tap'
import { utf8 } from '../../src/base/bytes.ts'
import { decodeRelayResponse, encodeRelayRequest } from '../../src/protocol/relay.ts'
import { answered, bench, hang, pending, turn, until } from '../support/relay-bench.ts'
import { minedAs } from '../support/relay-checks.ts'
import { call } from '../support/relay-client.ts'
import { errorOf, isRefusal, isSigned, operator } from '../support/relay-gateway.ts'
import { messageOf, openSockets } from '../support/ws-client.ts'

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes)

t.test('a message is a relay, and a body is its whole payload', async (t) => {
  const b = await bench(t)
  const { open } = await openSockets(t, b)
  const client = await open({ 'rpc-type': '2', 'target-service-id': 'text' })
  const request = messageOf(b, '{"messages":[]}')
  const response = await client.send(request).answer(0)
  t.ok(isSigned(response))
  t.equal(text(response.payload), '{"choices":[]}', 'the body of the answer, and nothing around it')
  t.equal(response.relayMinerError, undefined)
  t.strictSame(response.meta?.sessionHeader, b.header())
  t.ok(await minedAs(b, request, response), 'the leaf is the pair that was sent')
  t.match(b.inference.requests[0], { method: 'POST', url: '/' }, 'as posted to the bare URL')
  t.equal(text(b.inference.requests[0]?.body ?? utf8('')), '{"messages":[]}')
})

t.test('an answer goes in the kind of frame that its request came in', async (t) => {
  const b = await bench(t)
  const { open } = await openSockets(t, b)
  const client = await open()
  client.send(messageOf(b), false).send(messageOf(b), true).send(messageOf(b), false)
  t.ok(isSigned(await client.answer(2)), 'bytes that are no text come and go in text frames')
  t.strictSame(
    client.received.map(({ isBinary }) => isBinary),
    [false, true, false],
  )
})

t.test('relays run beside each other and are answered in the order they came', async (t) => {
  const b = await bench(t)
  const { open, server } = await openSockets(t, b)
  const holds = [pending<void>(), pending<void>(), pending<void>()]
  b.inference.reply = async () => {
    const at = b.inference.requests.length - 1
    await holds[at]?.done
    return answered({ body: utf8(`{"answer":${at}}`) })
  }
  const client = await open()
  for (let n = 0; n < 3; n++) {
    client.send(messageOf(b))
    await until(() => b.inference.requests.length === n + 1)
  }
  t.equal(server.inFlight, 3)
  holds[2]?.end()
  holds[1]?.end()
  await until(() => b.handler.counts.mined === 2)
  await turn()
  t.equal(client.received.length, 0, 'the first is waited for')
  holds[0]?.end()
  await client.answer(2)
  t.strictSame(
    client.received.map(({ bytes }) => text(decodeRelayResponse(bytes).payload)),
    ['{"answer":0}', '{"answer":1}', '{"answer":2}'],
  )
  t.equal(await b.served(), 3)
  await until(() => server.inFlight === 0)
})

t.test('only relays that run are told that the client has left', async (t) => {
  const b = await bench(t)
  const signals: AbortSignal[] = []
  const handle: typeof b.handler.handle = (bytes, signal, carrier) => {
    signals.push(signal)
    return b.handler.handle(bytes, signal, carrier)
  }
  const { open, server } = await openSockets(t, b, {}, { handle })
  const client = await open()
  for (let n = 0; n < 3; n++) t.ok(isSigned(await client.send(messageOf(b)).answer(n)), `${n}`)
  b.inference.reply = hang
  client.send(messageOf(b))
  await until(() => b.inference.requests.length === 4)
  client.socket.terminate()
  await until(() => server.inFlight === 0)
  const told = signals.map(({ aborted }) => aborted)
  t.strictSame(told, [false, false, false, true], 'others leave nothing on the connection')
})

t.test('no answer leaves before its leaf is on the disk', async (t) => {
  const b = await bench(t)
  const { open } = await openSockets(t, b)
  const disk = pending<void>()
  b.disk = disk.done
  const client = await open()
  client.send(messageOf(b))
  await until(() => b.writes === 1)
  await turn()
  t.equal(client.received.length + (await b.served()), 0)
  disk.end()
  await client.answer(0)
  t.equal(await b.served(), 1)
})

t.test('relays of HTTP and of WebSockets are of one session', async (t) => {
  const b = await bench(t, { relaysMax: 5 })
  const { open, port } = await openSockets(t, b)
  const [one, other] = [await open(), await open()]
  t.ok(isSigned(await one.send(messageOf(b)).answer(0)))
  t.ok(isSigned(decodeRelayResponse((await call(port, { body: b.bytes() })).body)))
  t.ok(isSigned(await other.send(messageOf(b)).answer(0)))
  t.ok(isSigned(await one.send(messageOf(b)).answer(1)))
  t.equal((await b.mined()).length, 4)
  t.equal(await b.left(), 1)
})

t.test('what is signed but not mined is a body too, and the connection stays', async (t) => {
  const b = await bench(t, { relaysMax: 1 })
  const { open } = await openSockets(t, b)
  const client = await open()
  const code = (payload: Uint8Array) => JSON.parse(text(payload)).error?.code
  const large = await client.send(messageOf(b, new Uint8Array(512 * 1024))).answer(0)
  t.equal(code(large.payload), 'request_too_large')
  t.equal(errorOf(large), 'relayer_proxy 10')
  b.chain.fall(true, 'difficulty')
  const silent = await client.send(messageOf(b)).answer(1)
  b.chain.fall(false)
  t.equal(code(silent.payload), 'unavailable')
  b.inference.reply = () => Promise.reject(new TypeError('a bug that quotes a prompt'))
  const broken = await client.send(messageOf(b)).answer(2)
  t.equal(code(broken.payload), 'internal_error')
  t.equal(errorOf(broken), 'relayer_proxy 5')
  b.inference.reply = async () => answered({ status: 400, body: utf8('{"error":{}}') })
  const bad = await client.send(messageOf(b, '')).answer(3)
  t.equal(text(bad.payload), '{"error":{}}', 'a fault of the request counts')
  const over = await client.send(messageOf(b)).answer(4)
  t.equal(code(over.payload), 'session_limit')
  t.equal(errorOf(over), 'relayer_proxy 7')
  for (const [n, one] of [large, silent, broken, bad, over].entries())
    t.ok(isSigned(one), `answer ${n}`)
  t.equal(await b.served(), 1)
})

t.test('a relay of another session is refused, and is the last', async (t) => {
  const b = await bench(t)
  const { open } = await openSockets(t, b)
  const headers = {
    'another session': b.header(5),
    'another application': { ...b.header(), applicationAddress: operator.address },
    'another service': { ...b.header(), serviceId: 'other' },
    'another end': { ...b.header(), sessionEndBlockHeight: 21n },
  }
  for (const [name, header] of Object.entries(headers)) {
    const hold = pending<void>()
    const before = b.inference.requests.length
    b.inference.reply = async () => {
      await hold.done
      return answered()
    }
    const client = await open()
    client.send(messageOf(b))
    await until(() => b.inference.requests.length === before + 1)
    client.send(messageOf(b, '{}', header)).send(messageOf(b))
    await turn()
    hold.end()
    t.ok(isSigned(await client.answer(0)), `${name}: what had begun is answered`)
    const refusal = await client.answer(1)
    t.ok(isRefusal(refusal), name)
    t.equal(errorOf(refusal), 'relay_authenticator 1', name)
    const reason = 'this connection is of another session: invalid session in relayer request'
    t.strictSame(await client.closed, [4001, reason], name)
    t.ok(b.inference.requests.length <= before + 2, `${name}: at most what came along has begun`)
  }
  t.equal(b.chain.count('session'), 1, 'and nothing was asked about it')
})

t.test('what is not authorised gets its reply and ends the connection', async (t) => {
  const b = await bench(t)
  const { open } = await openSockets(t, b)
  const good = messageOf(b)
  const forged = { ...good, payload: utf8('{"other":1}') }
  const foreign = { ...b.header(), serviceId: 'foreign-'.repeat(5) }
  for (const [name, message, error] of [
    ['garbage', utf8('garbage'), 'relayer_proxy 14'],
    ['nothing', new Uint8Array(0), 'service 1111'],
    ['a request of a web page', utf8('{"jsonrpc":"2.0"}'), 'relayer_proxy 14'],
    ['a signature of something else', encodeRelayRequest(forged), 'rings 3'],
    ['a foreign service', encodeRelayRequest(messageOf(b, '{}', foreign)), 'relayer_proxy 3'],
  ] as const) {
    const client = await open()
    const refusal = await client.send(message).answer(0)
    t.ok(isRefusal(refusal), name)
    t.equal(errorOf(refusal), error, name)
    const [code, reason] = await client.closed
    t.equal(code, 4001, name)
    t.ok(reason.length > 10 && utf8(reason).length <= 123, `${name}: ${reason}`)
  }
  t.equal(b.inference.requests.length, 0)
})

t.test('a refusal that passes leaves the connection open', async (t) => {
  const b = await bench(t)
  const { open } = await openSockets(t, b)
  const client = await open()
  const request = messageOf(b)
  b.chain.fall(true)
  t.equal(errorOf(await client.send(request).answer(0)), 'relayer_proxy 5')
  b.chain.fall(false)
  t.ok(isSigned(await client.send(request).answer(1)))
  t.equal(errorOf(await client.send(request).answer(2)), 'relay_authenticator 4', 'a replay')
  t.ok(isSigned(await client.send(messageOf(b)).answer(3)))
  t.equal(await b.served(), 2)
})

t.test('a session past its grace period closes its connections', async (t) => {
  const b = await bench(t)
  const { open, sockets } = await openSockets(t, b)
  const [old, stranger] = [await open(), await open()]
  t.ok(isSigned(await old.send(messageOf(b)).answer(0)))
  const end = Number(b.header(15).sessionEndBlockHeight)
  const grace = end + Number(b.chain.params.gracePeriodEndOffsetBlocks)
  b.chain.reach(grace)
  t.ok(isSigned(await old.send(messageOf(b, '{}', b.header(15))).answer(1)), 'in grace')
  const young = await open()
  t.ok(isSigned(await young.send(messageOf(b)).answer(0)))
  t.equal(sockets.size, 3)
  const hold = pending<void>()
  b.inference.reply = async () => {
    await hold.done
    return answered()
  }
  const asked = b.inference.requests.length
  old.send(messageOf(b, '{"late":1}', b.header(15)))
  await until(() => b.inference.requests.length === asked + 1)
  b.chain.reach(grace + 1)
  await until(() => b.chain.waiting === 1)
  hold.end()
  t.ok(isSigned(await old.answer(2)), 'what runs is still answered')
  t.strictSame(await old.closed, [4000, `session ended at ${end}, open another connection`])
  await until(() => sockets.size === 2)
  t.equal(young.socket.readyState, young.socket.OPEN, 'others stay')
  stranger.socket.terminate()
  const late = await open()
  t.equal(
    errorOf(await late.send(messageOf(b, '{}', b.header(15))).answer(0)),
    'relay_authenticator 1',
  )
  t.equal((await late.closed)[0], 4000, 'who comes later is told the same')
})

t.test('a client that leaves is not served; what is recorded stays', async (t) => {
  const b = await bench(t)
  const { open, server } = await openSockets(t, b)
  b.inference.reply = hang
  const early = await open()
  early.send(messageOf(b)).send(messageOf(b))
  await until(() => b.inference.requests.length === 2)
  early.socket.terminate()
  await until(() => server.inFlight === 0)
  t.equal(b.handler.counts.gone, 2)
  t.equal(await b.served(), 0)
  const disk = pending<void>()
  b.disk = disk.done
  b.inference.reply = async () => answered()
  const late = await open()
  late.send(messageOf(b))
  await until(() => b.writes === 1)
  late.socket.close()
  await late.closed
  disk.end()
  await until(() => server.inFlight === 0)
  t.equal(await b.served(), 1)
})

t.test('a relay of HTTP may name any type or none, and is itself never compressed', async (t) => {
  const b = await bench(t)
  const { port } = await openSockets(t, b)
  const types = [
    {},
    ...['0', '2', '3', '4', '9', '', 'json_rpc'].map((type) => ({ 'rpc-type': type })),
  ]
  for (const headers of types)
    for (const method of ['GET', 'POST']) {
      const { body } = await call(port, { method, headers, body: b.bytes() })
      t.ok(isSigned(decodeRelayResponse(body)), `${method} ${JSON.stringify(headers)}`)
    }
  const headers = { 'content-encoding': 'gzip' }
  const { status, body } = await call(port, { headers, body: gzipSync(b.bytes()) })
  t.equal(status, 200)
  t.equal(errorOf(decodeRelayResponse(body)), 'relayer_proxy 14', 'no gateway does this')
  t.equal(await b.served(), 2 * types.length)
})
