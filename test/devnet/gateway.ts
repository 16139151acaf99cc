import { createServer, request as httpRequest } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { Client, request } from 'undici'
import { systemClock } from '../../src/base/clock.ts'
import { silentLog } from '../../src/base/log.ts'
import { ms } from '../../src/base/units.ts'
import { GATEWAY_DEFAULTS, Gateway, type GatewayOptions } from '../../src/devnet/gateway.ts'
import { GatewayServer } from '../../src/devnet/gateway-server.ts'
import { addressOf } from '../../src/protocol/address.ts'
import type { HttpRequest } from '../../src/protocol/http.ts'
import {
  encodeRelayRequest,
  encodeRelayResponse,
  type RelayResponse,
} from '../../src/protocol/relay.ts'
import { ManualClock } from '../support/clock.ts'
import {
  APPLICATION,
  answerTo,
  FakeSupplier,
  GATEWAY,
  SERVICE,
  sessionWith,
} from '../support/fake-supplier.ts'
import { curve, keys, operator, randomBytes } from '../support/relay-gateway.ts'

const never = new AbortController().signal
const OTHER_GATEWAY = addressOf(keys.stranger.publicKey)
const PUBLIC_KEYS = new Map(
  Object.values(keys).map(({ publicKey }) => [addressOf(publicKey) as string, publicKey]),
)

const INNER: HttpRequest = {
  method: 'POST',
  url: 'http://gateway.test/v1/chat/completions',
  headers: [['Content-Type', 'application/json']],
  body: Buffer.from('{"messages":[]}'),
}

async function setUp(
  t: Test,
  options: Partial<GatewayOptions> & {
    readonly gateways?: readonly string[]
    readonly suppliers?: (url: string) => readonly (readonly [string, string])[]
    readonly clock?: ManualClock
    readonly unknown?: readonly string[]
  } = {},
) {
  const supplier = new FakeSupplier()
  const url = await supplier.open()
  t.teardown(() => supplier.close())
  const { gateways, suppliers, clock, unknown = [], ...rest } = options
  const list = suppliers?.(url) ?? [[operator.address, `${url}/staked/path`]]
  const gateway = new Gateway(
    {
      chain: {
        session: async () => sessionWith(list, gateways),
        publicKey: async (address) =>
          unknown.includes(address) ? undefined : PUBLIC_KEYS.get(address),
      },
      curve,
      clock: clock ?? systemClock,
      randomBytes,
    },
    {
      ...GATEWAY_DEFAULTS,
      application: APPLICATION,
      privateKey: keys.app.privateKey,
      ...rest,
    },
  )
  return { supplier, gateway, url }
}

const hexOf = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

t.test('a relay comes to the supplier as gateways send it', async (t) => {
  const { supplier, gateway } = await setUp(t)
  const relayed = await gateway.relay(SERVICE, INNER, never)
  const [received] = supplier.received
  t.match(received, {
    method: 'POST',
    path: '/staked/path',
    headers: { 'content-type': 'application/json', 'rpc-type': '4' },
  })
  t.equal(received?.isSigned, true)
  t.strictSame(received?.request.meta?.sessionHeader, sessionWith([]).header)
  t.equal(received?.request.meta?.supplierOperatorAddress, operator.address)
  t.match(received?.inner, { method: 'POST', url: 'http://gateway.test/v1/chat/completions' })
  t.equal(Buffer.from(received?.inner.body ?? []).toString(), '{"messages":[]}')
  t.match(relayed, { supplier: operator.address, verified: true, fault: '', error: undefined })
  t.equal(relayed.inner?.status, 200)
  t.equal(Buffer.from(relayed.inner?.body ?? []).toString(), '{"said":"hello"}')
  t.ok(relayed.duration >= 0)
})

t.test('the outer request has the method of the inner one, and always a body', async (t) => {
  const { supplier, gateway } = await setUp(t)
  for (const method of ['GET', 'DELETE', 'PUT']) {
    const inner = { ...INNER, method, body: new Uint8Array(0) }
    t.equal((await gateway.relay(SERVICE, inner, never)).verified, true, method)
    t.equal(supplier.received.at(-1)?.method, method)
    t.equal(supplier.received.at(-1)?.inner.method, method)
  }
})

t.test("the ring is the application with its gateways, in the chain's order", async (t) => {
  const { app, gateway: gatewayKey, stranger } = keys
  const cases = [
    { gateways: [], by: app, members: [app, app], what: 'no delegation: itself twice' },
    { gateways: [GATEWAY], by: gatewayKey, members: [app, gatewayKey], what: 'one gateway' },
    {
      gateways: [OTHER_GATEWAY, GATEWAY],
      by: gatewayKey,
      members: [app, stranger, gatewayKey],
      what: 'two gateways',
    },
    { gateways: [GATEWAY], by: app, members: [app, gatewayKey], what: 'signed by the application' },
  ]
  for (const { gateways, by, members, what } of cases) {
    const { supplier, gateway } = await setUp(t, { gateways, privateKey: by.privateKey })
    t.equal((await gateway.relay(SERVICE, INNER, never)).verified, true, what)
    const [received] = supplier.received
    t.equal(received?.isSigned, true, what)
    t.strictSame(
      received?.ring.members.map(({ key }) => hexOf(key)),
      members.map(({ publicKey }) => hexOf(publicKey)),
      what,
    )
  }
})

t.test('without a public key on the chain there is no ring, and nothing is sent', async (t) => {
  const gateways = [GATEWAY]
  const { supplier, gateway } = await setUp(t, { gateways, unknown: [GATEWAY] })
  await t.rejects(gateway.relay(SERVICE, INNER, never), {
    code: 'RELAY',
    message: `${GATEWAY} has no public key on the chain`,
  })
  t.strictSame(supplier.received, [])
})

t.test('a supplier is asked for by address, or any with a URL is taken', async (t) => {
  const without = addressOf(keys.stranger.publicKey)
  const { supplier, gateway } = await setUp(t, {
    suppliers: (url) => [
      [without, ''],
      [operator.address, `${url}/mine`],
    ],
  })
  for (let i = 0; i < 8; i++) {
    const { supplier: chosen } = await gateway.relay(SERVICE, INNER, never)
    t.equal(chosen, operator.address, 'the one with a URL')
  }
  const named = await gateway.relay(SERVICE, INNER, never, operator.address)
  t.equal(named.supplier, operator.address)
  t.ok(
    supplier.received.every(({ path }) => path === '/mine'),
    'at the URL of this service',
  )
  await t.rejects(gateway.relay(SERVICE, INNER, never, without), {
    code: 'RELAY',
    message: `${without} is not in this session`,
  })
  const empty = await setUp(t, { suppliers: () => [[without, '']] })
  await t.rejects(empty.gateway.relay(SERVICE, INNER, never), {
    message: 'no supplier in this session has a URL',
  })
})

t.test('only what the supplier signed for this session is believed', async (t) => {
  const { supplier, gateway } = await setUp(t)
  const header = sessionWith([]).header
  const turn = (bytes: Uint8Array | undefined, at = 5) =>
    Uint8Array.from(bytes ?? [], (byte, i) => (i === at ? byte ^ 1 : byte))
  const cases: readonly (readonly [fault: RegExp, tamper: (r: RelayResponse) => RelayResponse])[] =
    [
      [
        /signature is not good/,
        (r) => ({
          ...r,
          meta: {
            sessionHeader: r.meta?.sessionHeader,
            supplierOperatorSignature: turn(r.meta?.supplierOperatorSignature),
          },
        }),
      ],
      [/signature is not good/, (r) => ({ ...r, payloadHash: turn(r.payloadHash) })],
      [/payload is not the signed one/, (r) => ({ ...r, payload: turn(r.payload) })],
      [/payload is not the signed one/, (r) => ({ ...r, payload: new Uint8Array(0) })],
      [
        /is not signed/,
        (r) => ({
          ...r,
          meta: {
            sessionHeader: r.meta?.sessionHeader,
            supplierOperatorSignature: new Uint8Array(0),
          },
        }),
      ],
      [/is not signed/, (r) => ({ ...r, meta: undefined })],
    ]
  for (const [fault, tamper] of cases) {
    supplier.conduct = (response, received) =>
      response.end(encodeRelayResponse(tamper(answerTo(received))))
    const relayed = await gateway.relay(SERVICE, INNER, never)
    t.match(relayed, { verified: false, fault, inner: undefined }, String(fault))
  }
  for (const name of Object.keys(header ?? {}) as (keyof NonNullable<typeof header>)[]) {
    supplier.conduct = (response, received) => {
      const change = (r: RelayResponse): RelayResponse => {
        const sessionHeader = { ...received.request.meta?.sessionHeader } as Record<string, unknown>
        sessionHeader[name] = typeof sessionHeader[name] === 'bigint' ? 9n : 'another'
        return {
          ...r,
          meta: {
            sessionHeader: sessionHeader as unknown as NonNullable<typeof header>,
            supplierOperatorSignature: new Uint8Array(0),
          },
        }
      }
      response.end(encodeRelayResponse(answerTo(received, { change })))
    }
    const relayed = await gateway.relay(SERVICE, INNER, never)
    t.match(
      relayed,
      { verified: false, fault: 'the response is of another session', inner: undefined },
      name,
    )
  }
  const unknown = await setUp(t, { unknown: [operator.address] })
  const relayed = await unknown.gateway.relay(SERVICE, INNER, never)
  t.match(relayed, { verified: false, fault: 'the supplier has no public key on the chain' })
})

t.test('an error with a signature is a good answer, one without is a fault', async (t) => {
  const { supplier, gateway } = await setUp(t)
  const relayMinerError = { codespace: 'relayer_proxy', code: 7, description: 'd', message: 'm' }
  supplier.conduct = (response, received) => {
    const change = (r: RelayResponse) => ({ ...r, relayMinerError })
    response.end(encodeRelayResponse(answerTo(received, { status: 429, change })))
  }
  const signed = await gateway.relay(SERVICE, INNER, never)
  t.match(signed, { verified: true, error: relayMinerError, inner: { status: 429 } })
  supplier.conduct = (response, { request }) =>
    response.end(
      encodeRelayResponse({
        meta: {
          sessionHeader: request.meta?.sessionHeader,
          supplierOperatorSignature: new Uint8Array(0),
        },
        payload: Buffer.from('m'),
        payloadHash: undefined,
        relayMinerError,
      }),
    )
  const unsigned = await gateway.relay(SERVICE, INNER, never)
  t.match(unsigned, { verified: false, fault: 'm', error: relayMinerError, inner: undefined })
})

t.test('what cannot be read is an error of the relay, not of the codec', async (t) => {
  const { supplier, gateway } = await setUp(t)
  supplier.conduct = (response) => response.end('<html>')
  await t.rejects(gateway.relay(SERVICE, INNER, never), {
    code: 'RELAY',
    message: "the supplier's response cannot be read",
  })
  supplier.conduct = (response, received) =>
    response.end(encodeRelayResponse(answerTo(received, { payload: Buffer.from([0xff, 0xff]) })))
  await t.rejects(gateway.relay(SERVICE, INNER, never), {
    code: 'RELAY',
    message: "the supplier's payload cannot be read",
  })
})

t.test('an outer status other than 200 is a failed relay, whatever comes with it', async (t) => {
  const { supplier, gateway } = await setUp(t)
  for (const status of [204, 302, 400, 500]) {
    supplier.conduct = (response, received) =>
      response.writeHead(status).end(encodeRelayResponse(answerTo(received)))
    await t.rejects(
      gateway.relay(SERVICE, INNER, never),
      { code: 'RELAY', message: `the supplier answered with status ${status}`, retryable: false },
      String(status),
    )
  }
})

t.test('nobody there, and one who hangs up', async (t) => {
  const nobody = await setUp(t, { suppliers: () => [[operator.address, 'http://127.0.0.1:1']] })
  await t.rejects(nobody.gateway.relay(SERVICE, INNER, never), {
    code: 'RELAY',
    message: /no answer from the supplier: .*ECONNREFUSED/,
    retryable: true,
  })
  const { supplier, gateway } = await setUp(t)
  supplier.conduct = (response) => response.destroy()
  await t.rejects(gateway.relay(SERVICE, INNER, never), { code: 'RELAY', retryable: true })
  supplier.conduct = (response) => {
    response.writeHead(200, { 'content-length': '100' })
    response.write('x', () => response.destroy())
  }
  await t.rejects(gateway.relay(SERVICE, INNER, never), { code: 'RELAY', retryable: true })
})

t.test('an answer has a limit', async (t) => {
  const { supplier, gateway } = await setUp(t, { answerBytesMax: 2_000 })
  supplier.conduct = (response, received) =>
    response.end(encodeRelayResponse(answerTo(received, { body: 'x'.repeat(1_000) })))
  t.equal((await gateway.relay(SERVICE, INNER, never)).verified, true)
  supplier.conduct = (response, received) =>
    response.end(encodeRelayResponse(answerTo(received, { body: 'x'.repeat(2_000) })))
  const tooLarge = { code: 'RELAY', message: 'the answer is larger than 2000 bytes' }
  await t.rejects(gateway.relay(SERVICE, INNER, never), tooLarge)
  supplier.conduct = (response) => {
    const more = () => response.write(Buffer.alloc(1_000), (error) => error ?? setImmediate(more))
    more()
  }
  await t.rejects(gateway.relay(SERVICE, INNER, never), tooLarge, 'also of one without end')
})

t.test('an abort ends a relay that nobody answers', async (t) => {
  const { supplier, gateway } = await setUp(t)
  supplier.conduct = () => {}
  const stop = new AbortController()
  const relaying = gateway.relay(SERVICE, INNER, stop.signal)
  await supplier.next()
  stop.abort(new Error('enough'))
  await t.rejects(relaying, { message: 'enough' })
  await t.rejects(gateway.relay(SERVICE, INNER, stop.signal), { message: 'enough' })
})

t.test('the same signed request can be sent twice', async (t) => {
  const { supplier, gateway, url } = await setUp(t)
  const signed = await gateway.sign(
    sessionWith([[operator.address, url]]),
    operator.address,
    INNER,
    never,
  )
  await gateway.send(url, signed, 'POST', never)
  await gateway.send(url, signed, 'POST', never)
  const [first, second] = supplier.received.map(({ request: r }) => hexOf(encodeRelayRequest(r)))
  t.equal(first, second)
})

t.test('latency: a relay leaves only when the time is over', async (t) => {
  const clock = new ManualClock()
  const { supplier, gateway, url } = await setUp(t, { clock })
  gateway.knobs = { latency: ms(300), hangUpShare: 0 }
  const signed = await gateway.sign(
    sessionWith([[operator.address, url]]),
    operator.address,
    INNER,
    never,
  )
  const sending = gateway.send(url, signed, 'POST', never)
  t.equal(clock.sleeping, 1, 'it waits')
  await clock.advance(299)
  t.equal(clock.sleeping, 1, 'to the last millisecond')
  t.equal(supplier.received.length, 0)
  await clock.advance(1)
  const relayed = await sending
  t.equal(supplier.received.length, 1)
  t.equal(relayed.duration, 300, 'and it counts')

  const stop = new AbortController()
  const stopped = gateway.send(url, signed, 'POST', stop.signal)
  stop.abort(new Error('enough'))
  await t.rejects(stopped, { message: 'enough' })
})

t.test(
  'hang up: the supplier gets the whole request and nobody waits for its answer',
  async (t) => {
    const { supplier, gateway } = await setUp(t)
    gateway.knobs = { latency: ms(0), hangUpShare: 1 }
    const gone = new Promise<void>((resolve) => {
      supplier.conduct = (response) => response.once('close', resolve)
    })
    const next = supplier.next()
    await t.rejects(gateway.relay(SERVICE, INNER, never), {
      code: 'RELAY',
      message: 'hung up on purpose',
    })
    const received = await next
    t.equal(received.isSigned, true)
    await gone
    gateway.knobs = { latency: ms(0), hangUpShare: 0 }
    supplier.conduct = (response, relay) => response.end(encodeRelayResponse(answerTo(relay)))
    t.equal((await gateway.relay(SERVICE, INNER, never)).verified, true)
  },
)

t.test('hang up: about the share that was asked for', async (t) => {
  const { gateway } = await setUp(t)
  gateway.knobs = { latency: ms(0), hangUpShare: 0.25 }
  let hungUp = 0
  for (let i = 0; i < 80; i++)
    await gateway.relay(SERVICE, INNER, never).catch((error: Error) => {
      t.equal(error.message, 'hung up on purpose')
      hungUp++
    })
  t.ok(hungUp > 8 && hungUp < 36, `${hungUp} of 80`)
})

async function front(t: Test, options: Parameters<typeof setUp>[1] = {}, bodyMax = 10_000) {
  const parts = await setUp(t, options)
  const deps = { gateway: parts.gateway, log: silentLog() }
  const server = new GatewayServer(deps, {
    host: '127.0.0.1',
    port: 0,
    serviceId: SERVICE,
    bodyMax,
  })
  const at = await server.listen()
  t.teardown(() => server.stop())
  return { ...parts, server, at }
}

t.test(
  'the front: path, method, content type and body go into the relay, nothing else',
  async (t) => {
    const { supplier, at } = await front(t)
    const { statusCode, headers, body } = await request(`${at}/v1/chat/completions?x=1`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json; charset=utf-8',
        authorization: 'Bearer secret',
      },
      body: '{"a":1}',
    })
    t.equal(statusCode, 200)
    t.strictSame(await body.json(), { said: 'hello' })
    t.equal(headers['x-supplier'], operator.address)
    t.equal(headers['content-type'], 'application/json')
    const inner = supplier.received[0]?.inner
    t.match(inner, { method: 'POST', url: 'http://gateway.devnet/v1/chat/completions?x=1' })
    t.strictSame(inner?.headers, [['Content-Type', 'application/json; charset=utf-8']])
    t.equal(Buffer.from(inner?.body ?? []).toString(), '{"a":1}')
    const models = await request(`${at}/v1/models`)
    t.equal(models.statusCode, 200)
    await models.body.dump()
    t.match(supplier.received[1]?.inner, { method: 'GET', url: 'http://gateway.devnet/v1/models' })
  },
)

t.test(
  'the front: status, content type and Retry-After come back, other headers do not',
  async (t) => {
    const { supplier, at } = await front(t)
    supplier.conduct = (response, received) =>
      response.end(
        encodeRelayResponse(
          answerTo(received, {
            status: 429,
            body: 'data: slow down\n\n',
            headers: [
              ['Content-Type', 'text/event-stream'],
              ['Retry-After', '7'],
              ['Set-Cookie', 'a=b'],
              ['Transfer-Encoding', 'chunked'],
            ],
          }),
        ),
      )
    const { statusCode, headers, body } = await request(`${at}/v1/chat/completions`, {
      method: 'POST',
      body: '{}',
    })
    t.equal(statusCode, 429)
    t.match(headers, { 'content-type': 'text/event-stream', 'retry-after': '7' })
    t.equal(headers['set-cookie'], undefined)
    t.equal(headers['transfer-encoding'], undefined)
    t.equal(await body.text(), 'data: slow down\n\n')
  },
)

t.test('the front: a relay that failed is a 502 that says why', async (t) => {
  const { supplier, at } = await front(t)
  const asked = async () => {
    const { statusCode, body } = await request(`${at}/x`, { method: 'POST', body: '{}' })
    return { statusCode, body: JSON.stringify(await body.json()) }
  }
  supplier.conduct = (response) => response.writeHead(500).end()
  t.match(await asked(), { statusCode: 502, body: /answered with status 500/ })
  supplier.conduct = (response, received) => {
    const { meta } = received.request
    const unsigned = {
      ...answerTo(received),
      meta: { sessionHeader: meta?.sessionHeader, supplierOperatorSignature: new Uint8Array(0) },
    }
    response.end(encodeRelayResponse(unsigned))
  }
  t.match(await asked(), { statusCode: 502, body: /the response is not signed/ })
})

t.test('the front: a body has a limit, and the 413 arrives', async (t) => {
  const { supplier, at } = await front(t, {}, 1_000)
  const exact = await request(`${at}/x`, { method: 'POST', body: 'x'.repeat(1_000) })
  t.equal(exact.statusCode, 200)
  await exact.body.dump()
  const client = new Client(at)
  t.teardown(() => client.destroy())
  let cuts = 0
  client.on('disconnect', () => cuts++)
  for (const size of [1_001, 5_000_000, 5_000_000]) {
    const body = 'x'.repeat(size)
    const { statusCode, body: said } = await client.request({ method: 'POST', path: '/x', body })
    t.equal(statusCode, 413, String(size))
    t.match(await said.text(), 'too large', String(size))
  }
  t.equal(cuts, 0, 'who sends too much is answered, not cut off')
  t.equal(supplier.received.length, 1, 'nothing of it became a relay')
})

t.test('the front: who goes away ends the relay', async (t) => {
  const { supplier, at } = await front(t)
  const gone = new Promise<void>((resolve) => {
    supplier.conduct = (response) => response.once('close', resolve)
  })
  const asking = httpRequest(`${at}/x`, { method: 'POST' })
  asking.on('error', () => {})
  asking.end('{}')
  await supplier.next()
  asking.destroy()
  await gone
})

t.test('the front: a port in use is an error with a code', async (t) => {
  const taken = createServer()
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve))
  t.teardown(() => taken.close())
  const { port } = taken.address() as AddressInfo
  const { gateway } = await setUp(t)
  const server = new GatewayServer(
    { gateway, log: silentLog() },
    { host: '127.0.0.1', port, serviceId: SERVICE, bodyMax: 1 },
  )
  await t.rejects(server.listen(), { code: 'GATEWAY_LISTEN', message: /EADDRINUSE/ })
  await server.stop()
})
