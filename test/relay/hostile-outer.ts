/**
 * What may stand on a connection to the relay port besides a relay, and what connections may do. The
 * real port, from the socket to the disk and the engine.
 */
import { Agent } from 'node:http'
import t from 'tap'
import { concat, utf8 } from '../../src/base/bytes.ts'
import { encodeRelayRequest } from '../../src/protocol/relay.ts'
import { chat, fair, type Stage, stage, untouched } from '../support/hostile.ts'
import { OUTERS, statusesOf } from '../support/hostile-outer.ts'
import { until } from '../support/relay-bench.ts'
import { call, Raw } from '../support/relay-client.ts'
import { errorOf } from '../support/relay-gateway.ts'

const MAX = 99
const HEAD = 'POST / HTTP/1.1\r\nHost: x\r\n'
const good = (s: Stage) => encodeRelayRequest(chat(s))
const whole = (body: Uint8Array) =>
  concat(utf8(`${HEAD}Content-Length: ${body.length}\r\n\r\n`), body)

t.test('bytes that are no request, or more than one', async (t) => {
  const s = await stage(t, { relaysMax: MAX })
  for (const [name, make, statuses, served = 0] of OUTERS) {
    const before = await s.counts()
    const raw = new Raw(s.port).write(make(good(s)))
    const isAnswered = () => served > 0 && statusesOf(raw.received) === statuses
    await raw.sees(isAnswered).catch(() => {})
    if (isAnswered()) raw.socket.destroy()
    await raw.closed
    await until(() => s.server.inFlight === 0)
    const after = await s.counts()
    t.equal(statusesOf(raw.received), statuses, name)
    t.strictSame(
      [after.served - before.served, after.asked - before.asked],
      [served, 0],
      `${name}: what counts, and what was asked of the chain`,
    )
  }
  t.ok(OUTERS.length > 100, `${OUTERS.length} cases`)
  await fair(t, s, 'in the end')
  await untouched(t, s, MAX)
})

t.test('a request hidden in another is part of its body', async (t) => {
  const s = await stage(t, { relaysMax: MAX })
  const [outer, hidden] = [good(s), good(s)]
  const raw = new Raw(s.port).write(whole(concat(outer, whole(hidden))))
  await raw.sees((text) => text.includes('failed to unmarshal'))
  t.equal(statusesOf(raw.received), '14')
  const two = new Raw(s.port).write(concat(whole(new Uint8Array(0)), whole(hidden)))
  await two.sees((text) => text.includes('choices'))
  t.equal(statusesOf(two.received), '1111 200', 'behind an empty one it is a request of its own')
  for (const { socket } of [raw, two]) socket.destroy()
  await fair(t, s, 'in the end')
  await untouched(t, s, MAX)
})

/** Ways to leave. */
const LEAVES: Record<string, (raw: Raw) => unknown> = {
  'with a farewell': (raw) => raw.socket.end(),
  'with a reset': (raw) => raw.socket.resetAndDestroy(),
  'without a word': (raw) => raw.socket.destroy(),
}
/** How much of a request has come by then: of its headers, of its body. */
const CUTS: Record<string, (relay: Uint8Array) => Uint8Array> = {
  'after nothing': () => new Uint8Array(0),
  'in the first line': () => utf8('POST /'),
  'in the headers': () => utf8(`${HEAD}Content-Le`),
  'before the body': (relay) => whole(relay).subarray(0, -relay.length),
  'in the body': (relay) => whole(relay).subarray(0, -1),
  'in a chunk': (relay) =>
    concat(
      utf8(`${HEAD}Transfer-Encoding: chunked\r\n\r\n${relay.length.toString(16)}\r\n`),
      relay,
    ),
  'before the last chunk': (relay) =>
    concat(
      utf8(`${HEAD}Transfer-Encoding: chunked\r\n\r\n${relay.length.toString(16)}\r\n`),
      relay,
      utf8('\r\n'),
    ),
}

t.test('who leaves before the end of a request was never there', async (t) => {
  const s = await stage(t, { relaysMax: MAX })
  const before = await s.counts()
  for (const [how, leave] of Object.entries(LEAVES))
    for (const [when, cut] of Object.entries(CUTS)) {
      const raw = new Raw(s.port).write(cut(good(s)))
      await until(() => !raw.socket.connecting)
      leave(raw)
      await raw.closed
      t.match(statusesOf(raw.received), /^(400)?$/, `${when} ${how}`)
      await until(() => s.server.inFlight === 0)
    }
  t.strictSame(await s.counts(), before, 'nothing served, nothing asked')
  await fair(t, s, 'in the end')
  await untouched(t, s, MAX)
})

t.test('the same request on many connections at once counts once', async (t) => {
  const s = await stage(t, { relaysMax: MAX })
  const before = await s.counts()
  const bytes = whole(good(s))
  const all = Array.from({ length: 50 }, () => new Raw(s.port).write(bytes))
  await Promise.all(
    all.map((raw) => raw.sees((text) => text.includes('pocket') || text.includes('answered'))),
  )
  const codes = all.map((raw) => statusesOf(raw.received))
  t.equal(codes.filter((code) => code === '200').length, 1)
  t.equal(codes.filter((code) => code === '4').length, 49, 'the others are repetitions')
  t.equal((await s.counts()).served - before.served, 1)
  t.equal(s.chats - before.chats, 1)
  for (const { socket } of all) socket.destroy()
  await fair(t, s, 'in the end')
  await untouched(t, s, MAX)
})

t.test('a connection is used three hundred times', async (t) => {
  const s = await stage(t, { relaysMax: MAX })
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => agent.destroy())
  const bad = utf8('garbage')
  for (let i = 0; i < 300; i++) await call(s.port, { body: bad, agent })
  t.equal(Object.values(agent.freeSockets).flat().length, 1)
  t.equal(s.handler.counts.rejected, 300)
  const { body } = await call(s.port, { body: good(s), agent })
  t.ok(Buffer.from(body).includes('choices'), 'and then for a good relay')
  await untouched(t, s, MAX)
})

t.test('a body in crumbs, and one as large as may be', async (t) => {
  const s = await stage(t, { relaysMax: MAX })
  const before = await s.counts()
  const crumbs = new Raw(s.port).write(`${HEAD}Transfer-Encoding: chunked\r\n\r\n`)
  crumbs.write('1\r\nx\r\n'.repeat(5_000))
  await crumbs.closed
  t.equal(crumbs.text, '')
  const large = { ...chat(s), payload: new Uint8Array(20 * 1024 * 1024 - 1_000) }
  t.equal(errorOf(await s.post(large)), 'rings 3', 'signed for another payload')
  const over = { ...large, payload: new Uint8Array(20 * 1024 * 1024) }
  t.equal(errorOf(await s.post(over)), 'relayer_proxy 13')
  t.strictSame(await s.counts(), before)
  await fair(t, s, 'in the end')
  await untouched(t, s, MAX)
})

t.test('who sends a hundred requests ahead is cut off', async (t) => {
  const s = await stage(t, { relaysMax: MAX })
  const before = await s.counts()
  const raw = new Raw(s.port).write(concat(...Array.from({ length: 100 }, () => whole(good(s)))))
  await raw.closed
  t.equal((await s.counts()).served, before.served, 'and nothing of it counts')
  await fair(t, s, 'in the end')
  await untouched(t, s, MAX)
})
