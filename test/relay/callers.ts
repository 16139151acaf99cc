import t from 'tap'
import { utf8 } from '../../src/base/bytes.ts'
import { hang, until } from '../support/relay-bench.ts'
import { call, FakeHandler, open, Raw } from '../support/relay-client.ts'

const HEAD = 'POST / HTTP/1.1\r\nHost: x\r\n'

/** One after the other, as the port sees them. */
async function enter(port: number, ...firsts: string[]): Promise<Raw[]> {
  const entered: Raw[] = []
  for (const first of firsts) {
    const raw = new Raw(port)
    await until(() => !raw.socket.connecting)
    if (first !== '') raw.write(first)
    entered.push(raw)
  }
  return entered
}

const closed = (all: readonly Raw[]) => all.map(({ isClosed }) => isClosed)

t.test('a full port closes the connection that made it wait longest', async (t) => {
  const { port } = await open(t, new FakeHandler(), { connectionsMax: 4 })
  const all = await enter(port, '', `${HEAD}Content-`, `${HEAD}Content-Length: 5\r\n\r\nab`, '')
  t.strictSame(closed(all), [false, false, false, false])
  for (let i = 0; i < 3; i++) {
    t.equal((await call(port, { body: utf8('x') })).status, 200)
    await until(() => all[i]?.isClosed === true)
    t.equal(closed(all).filter(Boolean).length, i + 1, `${i + 1} of them`)
    all.push(...(await enter(port, '')))
  }
  for (const { socket } of all) socket.destroy()
})

t.test('a relay that is being answered keeps its connection', async (t) => {
  const handler = new FakeHandler()
  const { port, server } = await open(t, handler, { connectionsMax: 3 })
  handler.reply = (_, signal) => hang(signal)
  const held = new Raw(port).send(utf8('1'))
  await until(() => handler.bodies.length === 1)
  const others = await enter(port, '', '')
  const more = await enter(port, '', '', '', '')
  await until(() => more[1]?.isClosed === true)
  t.equal(held.isClosed, false)
  t.strictSame(closed(others), [true, true], 'those that were there before')
  t.strictSame(closed(more), [true, true, false, false], 'the youngest stay')
  for (const raw of more) raw.send(utf8('2'))
  await until(() => handler.bodies.length === 3)
  const [late] = await enter(port, '')
  await late?.closed
  t.strictSame(closed([held, ...more.slice(2)]), [false, false, false], 'the newcomer goes')
  for (const { socket } of [held, ...more]) socket.destroy()
  await until(() => server.inFlight === 0)
  handler.reply = async (body) => body
  t.equal((await call(port, { body: utf8('x') })).status, 200)
})

t.test('who was answered is the last to go', async (t) => {
  const { port } = await open(t, new FakeHandler(), { connectionsMax: 3 })
  const all = await enter(port, '', '', '')
  all[0]?.send(utf8('x'))
  await all[0]?.sees((text) => text.endsWith('x'))
  const more = await enter(port, '', '')
  await until(() => closed(all).filter(Boolean).length === 2)
  t.strictSame(closed(all), [false, true, true])
  for (const { socket } of [...all, ...more]) socket.destroy()
})

t.test('of requests sent ahead, so many are taken and no more', async (t) => {
  const handler = new FakeHandler()
  const { port, server } = await open(t, handler)
  handler.reply = (_, signal) => hang(signal)
  const [most, over] = [new Raw(port), new Raw(port)]
  for (let i = 0; i < 33; i++) most.send(utf8('x'))
  await until(() => handler.bodies.length === 33)
  for (let i = 0; i < 34; i++) over.send(utf8('x'))
  await over.closed
  t.equal(most.isClosed, false)
  most.socket.destroy()
  await until(() => server.inFlight === 0)
})
