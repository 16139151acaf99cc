/** Relays over WebSockets are claimed, proven and paid like all others. */
import { join } from 'node:path'
import t from 'tap'
import { systemClock } from '../../src/base/clock.ts'
import { GatewayError } from '../../src/devnet/gateway.ts'
import { GatewaySocket } from '../../src/devnet/gateway-ws.ts'
import { writeKeyfile } from '../../src/keys/keyfile.ts'
import type { SessionHeader } from '../../src/protocol/relay.ts'
import { actor, field, Network, SERVICE, until } from '../support/network.ts'
import { command } from '../support/program.ts'
import { chat, connect } from '../support/ws-gateway.ts'

const CHEAP = { n: 2 ** 10, r: 8, p: 1 }
const { signal } = new AbortController()

t.test('messages and requests of one session are one claim', async (t) => {
  const network = await Network.open(t)
  await network.start()
  const [binary, text] = [await connect(network), await connect(network, 'text')]
  const relays = Array.from({ length: 12 }, async (_, n) => {
    if (n % 3 === 0) {
      const relayed = await network.relay(`question ${n}`)
      t.equal(relayed.verified && relayed.inner?.status, 200, `relay ${n}: ${relayed.fault}`)
      return
    }
    const relayed = await (n % 3 === 1 ? binary : text).relay(chat(`question ${n}`), signal)
    t.equal(relayed.fault, '', `message ${n}`)
    t.equal(relayed.frame, n % 3 === 1 ? 'binary' : 'text', `message ${n}`)
    const body = JSON.parse(Buffer.from(relayed.body ?? []).toString())
    t.match(body, { object: 'chat.completion' }, `message ${n}`)
    t.match(body.choices[0].message.content, `question ${n}`, 'the answer to this very question')
  })
  await Promise.all(relays)
  const unread = await binary.relay(Buffer.from('{"max_tokens":1}'), signal)
  t.equal(unread.fault, '')
  t.match(JSON.parse(Buffer.from(unread.body ?? []).toString()), {
    error: { param: 'messages', code: 'missing_required_parameter' },
  })
  t.match((await network.report())?.relays, { mined: 13, inFlight: 0 })

  await t.test('and so is what the command sends', async (t) => {
    const deps = { randomBytes: (length: number) => new Uint8Array(length).fill(1) }
    const key = join(network.folder, 'gateway.json')
    await writeKeyfile(key, actor('gateway').secret, 'test passphrase', deps, CHEAP)
    const args = ['--rpc', network.rpc.url, '--key', key, '--passphrase-file', 'passphrase']
    const from = ['--service', SERVICE, '--app', network.application.signer.address]
    const relay = (...more: string[]) =>
      command(network.folder, 'relay', ...args, ...from, '--prompt', 'x', '--websocket', ...more)
    const [shown, wrong] = await Promise.all([relay(), relay('--path', '/v1/models')])
    t.equal(shown.status, 0, shown.stderr)
    t.match(shown.stdout, /^signature +good$/m)
    t.match(shown.stdout, /^\{"id":"chatcmpl-/m)
    t.notMatch(shown.stdout, /^status/m)
    t.equal(wrong.status, 2, wrong.stderr)
  })

  await t.test('and what is not signed for is not', async (t) => {
    const socket = await connect(network)
    const operator = network.operators[0]?.signer.address ?? ''
    const session = await network.session()
    const request = await network.gateway.sign(session, operator, chat('asked'), signal)
    const refused = await socket.send({ ...request, payload: chat('put under it') }, signal)
    t.equal(refused.verified, false)
    t.equal(refused.body, undefined)
    t.match(refused.fault, /invalid relay request signature$/)
    t.equal((await socket.closed).code, 4001)
    await t.rejects(socket.relay(chat('more'), signal), GatewayError)
    const foreign = {
      ...session,
      header: { ...(session.header as SessionHeader), serviceId: 'foreign' },
    }
    const deps = { gateway: network.gateway, clock: systemClock }
    const to = { operator, url: network.relayUrl }
    await t.rejects(GatewaySocket.open(deps, foreign, to, signal), GatewayError)
  })

  await network.mineTo(5)
  t.equal((await binary.relay(chat('in grace'), signal)).fault, '')
  await network.mineTo(6)
  const reason = 'session ended at 4, open another connection'
  t.strictSame(await binary.closed, { code: 4000, reason })
  t.strictSame(await text.closed, { code: 4000, reason })
  const next = await connect(network)
  t.equal((await next.relay(chat('next session'), signal)).fault, '')
  await network.mineTo(10)
  t.equal(field(network.named('ProofValidityChecked')[0], 'failure_reason'), '')
  await network.mineTo(14)
  const paid = network.named('ClaimSettled').map((event) => field(event, 'num_relays'))
  t.strictSame(paid, ['15', '1'])
  t.strictSame((await network.report())?.sessions, [], 'nothing is left in work')
  t.equal((await network.report())?.earnings.lostUpokt, '0')
})

t.test('a supplier that ends with open connections loses nothing answered', async (t) => {
  const network = await Network.open(t)
  await network.start()
  let [sent, answered] = [0, 0]
  const client = async () => {
    const socket = await connect(network)
    for (let n = 0; n < 50; n++) {
      sent++
      const relayed = await socket.relay(chat(`question ${sent}`), signal)
      t.equal(relayed.fault, '', `message ${n}`)
      answered++
    }
  }
  const clients = Array.from({ length: 4 }, () => client().catch(() => undefined))
  await until(() => answered > 20, 'twenty messages are answered')
  await network.stop('SIGKILL')
  await Promise.all(clients)
  const before = { sent, answered }

  await network.start()
  const socket = await connect(network)
  const idle = await connect(network)
  const held = network.upstream.hold()
  const running = socket.relay(chat('the last one'), signal)
  await held.caught
  const stopped = network.stop('SIGTERM')
  t.strictSame(await idle.closed, { code: 1001, reason: 'the supplier is stopping' })
  held.release()
  t.equal((await running).fault, '', 'what runs at a stop is answered')
  t.strictSame(await socket.closed, { code: 1001, reason: 'the supplier is stopping' })
  t.equal(await stopped, 0)

  await network.start()
  await network.mineTo(10)
  const [settled] = network.named('ClaimSettled')
  const count = Number(field(settled, 'num_relays'))
  t.ok(count >= before.answered + 1, `${count} were settled, ${before.answered} + 1 answered`)
  t.ok(count <= before.sent + 1, `${count} were settled, ${before.sent} + 1 sent`)
  t.strictSame(network.named('ClaimExpired'), [])
})
