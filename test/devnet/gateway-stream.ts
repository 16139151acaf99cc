import type { ServerResponse } from 'node:http'
import t, { type Test } from 'tap'
import { request as httpRequest } from 'undici'
import { systemClock } from '../../src/base/clock.ts'
import { silentLog } from '../../src/base/log.ts'
import { GATEWAY_DEFAULTS, Gateway } from '../../src/devnet/gateway.ts'
import { GatewayServer } from '../../src/devnet/gateway-server.ts'
import { asksForStream, relayStream } from '../../src/devnet/gateway-stream.ts'
import { addressOf } from '../../src/protocol/address.ts'
import { encodeHttpResponse, type HttpRequest } from '../../src/protocol/http.ts'
import { encodeRelayResponse, type RelayResponse } from '../../src/protocol/relay.ts'
import {
  APPLICATION,
  answerTo,
  type Conduct,
  FakeSupplier,
  type ReceivedRelay,
  SERVICE,
  sessionWith,
} from '../support/fake-supplier.ts'
import { curve, keys, operator, randomBytes } from '../support/relay-gateway.ts'

const never = new AbortController().signal
const PUBLIC_KEYS = new Map(
  Object.values(keys).map(({ publicKey }) => [addressOf(publicKey) as string, publicKey]),
)
const MARK = '||POKT_STREAM||'

const INNER: HttpRequest = {
  method: 'POST',
  url: 'http://gateway.test/v1/chat/completions',
  headers: [['Content-Type', 'application/json']],
  body: Buffer.from('{"messages":[],"stream":true}'),
}

async function setUp(t: Test) {
  const supplier = new FakeSupplier()
  const url = await supplier.open()
  t.teardown(() => supplier.close())
  const gateway = new Gateway(
    {
      chain: {
        session: async () => sessionWith([[operator.address, url]]),
        publicKey: async (address) => PUBLIC_KEYS.get(address),
      },
      curve,
      clock: systemClock,
      randomBytes,
    },
    { ...GATEWAY_DEFAULTS, application: APPLICATION, privateKey: keys.app.privateKey },
  )
  const texts: string[] = []
  const onText = (text: Uint8Array) => texts.push(Buffer.from(text).toString())
  const read = async (conduct: Conduct, answerBytesMax = 10_000) => {
    supplier.conduct = conduct
    texts.length = 0
    const { url: at, request } = await gateway.prepare(SERVICE, INNER, never)
    const to = { url: at, request, method: 'POST' }
    return await relayStream(gateway, to, never, { answerBytesMax, onText })
  }
  return { supplier, gateway, read, texts }
}

/** A signed piece of a stream, before its delimiter. */
function piece(
  received: ReceivedRelay,
  text: string,
  change: (response: RelayResponse) => RelayResponse = (response) => response,
): Buffer {
  const payload = encodeHttpResponse({ status: 200, headers: [], body: Buffer.from(text) })
  return Buffer.from(encodeRelayResponse(answerTo(received, { payload, change })))
}

const begin = (response: ServerResponse) =>
  response.writeHead(200, { 'Content-Type': 'text/event-stream' })

t.test('frames are read however they are cut, and their texts are joined', async (t) => {
  const { supplier, read, texts } = await setUp(t)
  for (const size of [1, 7, 100_000]) {
    const relayed = await read((response, received) => {
      const frames = ['data: a\n\n', 'data: ä', '\n\n'].flatMap((text) => [
        piece(received, text),
        Buffer.from(MARK),
      ])
      const bytes = Buffer.concat(frames)
      begin(response)
      for (let at = 0; at < bytes.length; at += size) response.write(bytes.subarray(at, at + size))
      response.end()
    })
    t.strictSame(texts, ['data: a\n\n', 'data: ä', '\n\n'])
    t.match(relayed, { frames: 3, verified: true, fault: '', error: undefined })
    t.equal(Buffer.from(relayed.inner?.body ?? []).toString(), 'data: a\n\ndata: ä\n\n')
    t.match(relayed.inner, { status: 200, headers: [['Content-Type', 'text/event-stream']] })
    t.ok((relayed.firstFrame ?? -1) >= 0 && (relayed.firstFrame ?? 0) <= relayed.duration)
  }
  const [received] = supplier.received
  t.match(received?.headers, { 'pokt-stream': 'batched', 'rpc-type': '4' })
  t.equal(received?.isSigned, true)
})

t.test('a frame without a delimiter at the end is one, and an empty rest is none', async (t) => {
  const { read, texts } = await setUp(t)
  const relayed = await read((response, received) => {
    begin(response)
    response.end(Buffer.concat([piece(received, 'a'), Buffer.from(MARK), piece(received, 'b')]))
  })
  t.strictSame([texts, relayed.frames], [['a', 'b'], 2])
  await t.rejects(
    read((response) => begin(response).end()),
    { code: 'RELAY', message: 'the stream has no frames' },
  )
})

t.test('what the last frame tells is of the whole', async (t) => {
  const { read } = await setUp(t)
  const relayMinerError = { codespace: 'relayer_proxy', code: 10, description: 'd', message: 'm' }
  const relayed = await read((response, received) => {
    const last = piece(received, 'data: {"error":{}}\n\n', (one) => ({ ...one, relayMinerError }))
    begin(response)
    response.end(Buffer.concat([piece(received, 'a'), Buffer.from(MARK), last, Buffer.from(MARK)]))
  })
  t.match(relayed, { verified: true, frames: 2, error: relayMinerError })
})

t.test('nothing is believed from the first bad frame on', async (t) => {
  const { read, texts } = await setUp(t)
  const bad: [string, (one: RelayResponse) => RelayResponse, RegExp][] = [
    ['another payload', (one) => ({ ...one, payload: Buffer.from('x') }), /not the signed one/],
  ]
  for (const [name, change, fault] of bad) {
    const relayed = await read((response, received) => {
      const forged = change(answerTo(received))
      begin(response)
      response.write(Buffer.concat([piece(received, 'a'), Buffer.from(MARK)]))
      response.write(Buffer.concat([Buffer.from(encodeRelayResponse(forged)), Buffer.from(MARK)]))
      response.end(Buffer.concat([piece(received, 'b'), Buffer.from(MARK)]))
    })
    t.strictSame(texts, ['a'], name)
    t.match(relayed, { verified: false, frames: 2, inner: undefined }, name)
    t.match(relayed.fault, fault, name)
  }
  const unread = read((response) => begin(response).end(`not protobuf${MARK}`))
  await t.rejects(unread, { message: "the supplier's response cannot be read" })
})

t.test('an ordinary answer is read as one, whatever is in it', async (t) => {
  const { read, texts } = await setUp(t)
  const body = `{"said":"${MARK}"}`
  const relayed = await read((response, received) =>
    response.end(encodeRelayResponse(answerTo(received, { status: 400, body }))),
  )
  t.match(relayed, { frames: 0, firstFrame: undefined, verified: true, inner: { status: 400 } })
  t.equal(Buffer.from(relayed.inner?.body ?? []).toString(), body)
  t.strictSame(texts, [])
})

t.test('what breaks off, is too large or has another status is no stream', async (t) => {
  const { read, texts } = await setUp(t)
  const broken = read((response, received) => {
    begin(response)
    response.write(Buffer.concat([piece(received, 'a'), Buffer.from(MARK)]), () =>
      response.destroy(),
    )
  })
  await t.rejects(broken, { code: 'RELAY', message: /^the answer of the supplier broke off/ })
  t.strictSame(texts, ['a'])
  const large = read((response) => begin(response).end('x'.repeat(101)), 100)
  await t.rejects(large, { message: 'the answer is larger than 100 bytes' })
  const missing = read((response) => response.writeHead(404).end())
  await t.rejects(missing, { message: 'the supplier answered with status 404' })
})

t.test('what asks for a stream', async (t) => {
  const asks = (body: string) => asksForStream({ ...INNER, body: Buffer.from(body) })
  t.equal(asks('{"stream":true}'), true)
  for (const body of ['{"stream":false}', '{}', 'null', '[true]', '', '{"stream":"true"}', '{'])
    t.equal(asks(body), false, body)
})

t.test('the front hands a stream on as it comes, and breaks off with it', async (t) => {
  const { supplier, gateway } = await setUp(t)
  const server = new GatewayServer(
    { gateway, log: silentLog() },
    { host: '127.0.0.1', port: 0, serviceId: SERVICE, bodyMax: 10_000 },
  )
  const at = await server.listen()
  t.teardown(() => server.stop())
  const ask = () =>
    httpRequest(`${at}/v1/chat/completions`, { method: 'POST', body: INNER.body as Buffer })
  let end = (_isGood: boolean): void => {}
  supplier.conduct = (response, received) => {
    begin(response)
    response.write(Buffer.concat([piece(received, 'data: 1\n\n'), Buffer.from(MARK)]))
    end = (isGood) => {
      const last = piece(received, 'data: [DONE]\n\n')
      if (isGood) response.end(Buffer.concat([last, Buffer.from(MARK)]))
      else response.end(Buffer.concat([last.subarray(0, 20), Buffer.from(MARK)]))
    }
  }
  const good = await ask()
  t.equal(good.statusCode, 200)
  t.match(good.headers, { 'content-type': 'text/event-stream', 'x-supplier': operator.address })
  const texts: string[] = []
  for await (const chunk of good.body) {
    texts.push(String(chunk))
    if (texts.length === 1) end(true)
  }
  t.strictSame(texts, ['data: 1\n\n', 'data: [DONE]\n\n'], 'the first before the last was sent')
  const bad = await ask()
  await t.rejects(async () => {
    for await (const _ of bad.body) end(false)
  }, 'who reads it knows that it is not whole')
  supplier.conduct = (response, received) =>
    response.end(encodeRelayResponse(answerTo(received, { status: 400 })))
  const refused = await ask()
  t.equal(refused.statusCode, 400)
  t.strictSame(await refused.body.json(), { said: 'hello' })
})
