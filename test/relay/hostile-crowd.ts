/**
 * Thousands of connections that want nothing or take for ever: the port goes on answering whoever has a
 * relay. As many as the system lets one process have, both ends being in this one.
 */
import { connect, type Socket } from 'node:net'
import t from 'tap'
import { utf8 } from '../../src/base/bytes.ts'
import { ms } from '../../src/base/units.ts'
import { encodeRelayRequest } from '../../src/protocol/relay.ts'
import { chat, fair, type Stage, stage, untouched } from '../support/hostile.ts'
import { until } from '../support/relay-bench.ts'
import { call } from '../support/relay-client.ts'

const MAX = 99
const WISHED = 10_000
/** Of the files of this process, for the rest of it. */
const RESERVED = 300

function filesMax(): number {
  const report = process.report.getReport() as { userLimits?: { open_files?: { soft?: unknown } } }
  const soft = report.userLimits?.open_files?.soft
  return typeof soft === 'number' ? soft : WISHED * 3
}

const HEAD = 'POST / HTTP/1.1\r\nHost: x\r\n'
/** What such connections have sent when they fall silent. */
const SILENCES = [
  '',
  'POST /',
  `${HEAD}Content-Length: 5`,
  `${HEAD}Content-Length: 5\r\n\r\nab`,
  `${HEAD}Transfer-Encoding: chunked\r\n\r\n5\r\nab`,
  `${HEAD}Content-Length: 0\r\n\r\n`,
]

const COUNT = Math.min(WISHED, Math.floor((filesMax() - RESERVED) / 2))

/** Connections that are opened, a hundred at a time, and say no more. */
async function crowd(s: Stage, count: number): Promise<Socket[]> {
  const all: Socket[] = []
  while (all.length < count) {
    const some = Array.from({ length: Math.min(100, count - all.length) }, (_, i) => {
      const socket = connect(s.port, '127.0.0.1').on('error', () => {})
      const first = SILENCES[i % SILENCES.length] ?? ''
      if (first !== '') socket.write(first)
      return socket.resume()
    })
    all.push(...some)
    await until(() => some.every(({ connecting }) => !connecting))
  }
  return all
}

t.test('a crowd that is silent', async (t) => {
  const half = Math.floor(COUNT / 2)
  // No time-out of the port's helps: the newcomers alone push the others out.
  const server = { connectionsMax: half, headersTimeout: ms(600_000), receiveTimeout: ms(600_000) }
  const s = await stage(t, { relaysMax: MAX, server })
  const before = process.memoryUsage().rss
  const all: Socket[] = []
  for (let i = 0; i < 4; i++) {
    all.push(...(await crowd(s, Math.floor(COUNT / 4))))
    await fair(t, s, `with ${all.length} connections`)
  }
  t.ok(all.length >= COUNT - 4, `${all.length} connections`)
  await until(() => all.filter(({ closed }) => closed).length >= all.length - half)
  t.ok(
    all.slice(10 - half).every(({ closed }) => !closed),
    'those that came last are still there',
  )
  const grown = (process.memoryUsage().rss - before) / COUNT
  t.ok(grown < 64 * 1024, `${Math.round(grown)} bytes a connection, both ends`)
  for (const socket of all) socket.destroy()
  await until(() => s.server.inFlight === 0)
  await untouched(t, s, MAX)
})

t.test('a crowd that asks', async (t) => {
  const s = await stage(t, { relaysMax: MAX })
  const bodies = ['', 'garbage', '\n\x05\n\x03\n\x01x'].map((text) => utf8(text))
  const asked = s.bench.chain.count()
  const all = Array.from({ length: 600 }, (_, i) =>
    call(s.port, { body: bodies[i % 3] ?? utf8('') }),
  )
  const good = call(s.port, { body: encodeRelayRequest(chat(s)) })
  t.ok(Buffer.from((await good).body).includes('choices'), 'a good relay among them')
  t.ok((await Promise.all(all)).every(({ status }) => status === 200))
  t.equal(s.bench.chain.count(), asked, 'no question to the chain')
  await fair(t, s, 'in the end')
  await untouched(t, s, MAX)
})
