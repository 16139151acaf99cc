import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { systemClock } from '../../src/base/clock.ts'
import { silentLog } from '../../src/base/log.ts'
import { upokt } from '../../src/base/units.ts'
import { EXIT } from '../../src/cli/context.ts'
import { Devnet } from '../../src/devnet/chain.ts'
import { devnetGenesis } from '../../src/devnet/genesis.ts'
import { DevnetRpc } from '../../src/devnet/rpc.ts'
import { writeKeyfile } from '../../src/keys/keyfile.ts'
import { secretKey } from '../../src/keys/keyring.ts'
import { encodeHttpResponse } from '../../src/protocol/http.ts'
import { encodeRelayResponse } from '../../src/protocol/relay.ts'
import { command } from '../support/command.ts'
import { APPLICATION, answerTo, FakeSupplier, GATEWAY, SERVICE } from '../support/fake-supplier.ts'
import { curve, keys, operator } from '../support/relay-gateway.ts'

const CHEAP = { n: 2 ** 10, r: 8, p: 1 }

/** A chain on which the supplier is staked, and key files of application and gateway. */
async function setUp(t: Test, options: { readonly gateways?: readonly string[] } = {}) {
  const supplier = new FakeSupplier()
  const url = await supplier.open()
  t.teardown(() => supplier.close())
  const account = (publicKey: Uint8Array, address: string) => ({
    address: address as never,
    publicKey,
    balance: upokt(10_000_000n),
  })
  const devnet = new Devnet(
    { clock: systemClock, curve, log: silentLog() },
    {
      genesis: devnetGenesis({
        accounts: [
          account(keys.app.publicKey, APPLICATION),
          account(keys.gateway.publicKey, GATEWAY),
          account(keys.operator.publicKey, operator.address),
        ],
        services: [{ id: SERVICE, computeUnitsPerRelay: 1n }],
        gateways: [{ address: GATEWAY }],
        applications: [
          { address: APPLICATION, serviceId: SERVICE, gateways: [...(options.gateways ?? [])] },
        ],
        suppliers: [{ operator: operator.address, services: [SERVICE], url }],
      }),
    },
  )
  const rpc = new DevnetRpc({ devnet, clock: systemClock, log: silentLog() })
  const rpcUrl = await rpc.start()
  t.teardown(() => rpc.stop())
  const folder = t.testdir()
  const deps = { randomBytes: (n: number) => new Uint8Array(randomBytes(n)) }
  for (const name of ['app', 'gateway'] as const) {
    const secret = secretKey(keys[name].privateKey)
    await writeKeyfile(join(folder, `${name}.json`), secret, 'pass', deps, CHEAP)
  }
  const run = (key: string, ...more: readonly string[]) =>
    command(['relay', '--rpc', rpcUrl, '--key', join(folder, key), '--service', SERVICE, ...more], {
      environment: { passphrase: 'pass' },
    })
  return { supplier, folder, run }
}

t.test('a relay of the application, and what came back', async (t) => {
  const { supplier, run } = await setUp(t)
  const { status, out, err } = await run('app.json', '--prompt', 'What is 17 + 25?')
  t.equal(status, EXIT.ok, err)
  t.match(
    out,
    new RegExp(
      `^supplier +${operator.address}\nsignature +good\ntook +\\d+ ms\nstatus +200\n\n{"said":"hello"}\n$`,
    ),
  )
  const [received] = supplier.received
  t.equal(received?.isSigned, true)
  t.match(received?.inner, { method: 'POST', url: /\/v1\/chat\/completions$/ })
  t.strictSame(JSON.parse(Buffer.from(received?.inner.body ?? []).toString()), {
    messages: [{ role: 'user', content: 'What is 17 + 25?' }],
  })
})

t.test('a gateway signs for the application that delegated to it', async (t) => {
  const { supplier, run } = await setUp(t, { gateways: [GATEWAY] })
  const { status, out, err } = await run(
    'gateway.json',
    ...['--app', APPLICATION, '--prompt', 'x', '--supplier', operator.address, '--json'],
  )
  t.equal(status, EXIT.ok, err)
  t.match(JSON.parse(out), {
    supplier: operator.address,
    verified: true,
    status: 200,
    body: '{"said":"hello"}',
    durationMs: Number,
  })
  t.equal(supplier.received[0]?.isSigned, true)
})

t.test('any path, method and body', async (t) => {
  const { supplier, folder, run } = await setUp(t)
  const body = join(folder, 'body.json')
  await writeFile(body, '{"mine":true}')
  t.equal((await run('app.json', '--body-file', body, '--path', '/v1/other')).status, EXIT.ok)
  t.match(supplier.received[0]?.inner, { url: /\/v1\/other$/ })
  t.equal(Buffer.from(supplier.received[0]?.inner.body ?? []).toString(), '{"mine":true}')
  t.equal((await run('app.json', '--method', 'GET', '--path', '/v1/models')).status, EXIT.ok)
  t.match(supplier.received[1]?.inner, { method: 'GET' })
})

t.test('a stream is shown as it comes, then what it was', async (t) => {
  const { supplier, folder, run } = await setUp(t)
  supplier.conduct = (response, received) => {
    response.writeHead(200, { 'Content-Type': 'text/event-stream' })
    for (const text of ['data: 1\n\n', 'data: [DONE]\n\n']) {
      const payload = encodeHttpResponse({ status: 200, headers: [], body: Buffer.from(text) })
      response.write(encodeRelayResponse(answerTo(received, { payload })))
      response.write('||POKT_STREAM||')
    }
    response.end()
  }
  const { status, out, err } = await run('app.json', '--prompt', 'x', '--stream')
  t.equal(status, EXIT.ok, err)
  const shown = 'data: 1\n\ndata: \\[DONE\\]\n\nsupplier +pokt1\\w+\nsignature +good\n'
  t.match(
    out,
    new RegExp(`^${shown}took +\\d+ ms\nframes +2, the first after \\d+ ms\nstatus +200\n$`),
  )
  const [received] = supplier.received
  t.equal(received?.headers['pokt-stream'], 'batched')
  t.match(JSON.parse(Buffer.from(received?.inner.body ?? []).toString()), { stream: true })
  const json = await run('app.json', '--prompt', 'x', '--stream', '--json')
  const body = 'data: 1\n\ndata: [DONE]\n\n'
  t.match(JSON.parse(json.out), {
    verified: true,
    status: 200,
    frames: 2,
    firstFrameMs: Number,
    body,
  })
  supplier.conduct = (response, relay) => response.end(encodeRelayResponse(answerTo(relay)))
  const file = join(folder, 'own.json')
  await writeFile(file, '{"own":1}')
  const plain = await run('app.json', '--body-file', file, '--stream')
  t.match(plain.out, /status +200\n\n{"said":"hello"}\n$/)
  t.notMatch(plain.out, 'frames')
  t.equal((await run('app.json', '--prompt', 'x', '--stream', '--websocket')).status, EXIT.config)
})

t.test('a refusal is shown as it came, and fails', async (t) => {
  const { supplier, run } = await setUp(t)
  supplier.conduct = (response, { request }) => {
    const { sessionHeader } = request.meta ?? {}
    const message = 'late: session is over'
    response.end(
      encodeRelayResponse({
        meta: { sessionHeader, supplierOperatorSignature: new Uint8Array(0) },
        payload: Buffer.from(message),
        payloadHash: undefined,
        relayMinerError: { codespace: 'relayer_proxy', code: 6, description: 'd', message },
      }),
    )
  }
  const { status, out, err } = await run('app.json', '--prompt', 'x')
  t.equal(status, EXIT.failure)
  t.match(out, /signature +not good: late: session is over\n/)
  t.match(out, /error +relayer_proxy 6: late: session is over\n/)
  t.match(err, /^RELAY_REFUSED: late: session is over\n/)
  const json = await run('app.json', '--prompt', 'x', '--json')
  t.match(JSON.parse(json.out), {
    verified: false,
    fault: 'late: session is over',
    relayMinerError: { codespace: 'relayer_proxy', code: 6 },
  })
  supplier.conduct = (response, received) =>
    response.end(encodeRelayResponse({ ...answerTo(received), payload: Buffer.from('other') }))
  const forged = await run('app.json', '--prompt', 'x')
  t.equal(forged.status, EXIT.failure)
  t.match(forged.err, /the payload is not the signed one/)
  t.notMatch(forged.out, 'other', 'what was not signed is not shown')
})

t.test('wrong arguments and what is not on the chain', async (t) => {
  const { supplier, folder, run } = await setUp(t)
  const cases = [
    [['app.json'], EXIT.config, /USAGE: a relay needs --prompt or --body-file/],
    [['app.json', '--body-file', join(folder, 'none')], EXIT.config, /FILE: cannot read .*none/],
    [['none.json', '--prompt', 'x'], EXIT.config, /FILE_UNREADABLE/],
    [['app.json', '--prompt', 'x', '--app', 'pokt1x'], EXIT.config, /ADDRESS: /],
    [['app.json', '--prompt', 'x', '--service', 'unheard-of'], EXIT.chain, /unheard-of/],
    [['gateway.json', '--prompt', 'x'], EXIT.chain, new RegExp(GATEWAY)],
    [
      ['app.json', '--prompt', 'x', '--supplier', APPLICATION],
      EXIT.failure,
      /RELAY: .* is not in this session/,
    ],
  ] as const
  for (const [[key, ...more], status, says] of cases) {
    const result = await run(key, ...more)
    t.equal(result.status, status, `${says}: ${result.err}`)
    t.match(result.err, says)
    t.equal(result.out, '', String(says))
    t.notMatch(result.err, /\n +at /, `${says}: no stack`)
  }
  t.strictSame(supplier.received, [])
})
