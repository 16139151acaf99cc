/** Subscriptions as a real node was recorded to serve them. */
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { silentLog } from '../../src/base/log.ts'
import { DevnetRpc } from '../../src/devnet/rpc.ts'
import { Simchain } from '../support/simchain.ts'
import { json } from '../support/vectors.ts'

interface Frame {
  readonly id?: unknown
  readonly error?: { readonly code: number; readonly message: string; readonly data?: string }
  readonly result?: {
    readonly query?: string
    readonly data?: { readonly type: string; readonly value: Record<string, unknown> }
    readonly events?: Record<string, string[]>
  }
}

const recorded = json<{ frames: Frame[] }>('chain/ws.json').frames

class Client {
  readonly socket: WebSocket
  readonly frames: Frame[] = []
  pings = 0
  #wake: () => void = () => {}

  constructor(url: string) {
    this.socket = new WebSocket(`${url.replace('http', 'ws')}/websocket`)
    this.socket.on('message', (data) => {
      this.frames.push(JSON.parse(String(data)) as Frame)
      this.#wake()
    })
    this.socket.on('ping', () => {
      this.pings++
      this.#wake()
    })
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition())
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
  }

  async next(): Promise<Frame> {
    await this.until(() => this.frames.length > 0)
    return this.frames.shift() ?? {}
  }

  send(id: number, method: string, query?: string): void {
    const params = query === undefined ? {} : { query }
    this.socket.send(JSON.stringify({ jsonrpc: '2.0', id, method, params }))
  }

  async ask(id: number, method: string, query?: string): Promise<Frame> {
    this.send(id, method, query)
    return this.next()
  }
}

async function opened(t: Test, chain = new Simchain()) {
  const { devnet, clock } = chain
  const rpc = new DevnetRpc({ devnet, clock, log: silentLog() }, { socketsMax: 2 })
  t.teardown(() => rpc.stop())
  const client = new Client(await rpc.start())
  t.teardown(() => client.socket.terminate())
  await new Promise((resolve) => client.socket.once('open', resolve))
  return { chain, rpc, client }
}

function shape(value: unknown): unknown {
  if (value === null) return 'null'
  if (Array.isArray(value)) return value.length === 0 ? [] : [shape(value[0])]
  if (typeof value !== 'object') return typeof value
  const parts = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  return Object.fromEntries(parts.map(([key, part]) => [key, shape(part)]))
}

function recordedPush(type: string, isBusy = true): Frame {
  const found = recorded.find(({ result }) => {
    if (result?.data?.type !== type) return false
    const block = (result.data.value as { block?: { data: { txs: string[] } } }).block
    return block === undefined || block.data.txs.length > 0 === isBusy
  })
  if (found === undefined) throw new RangeError(`no recorded ${type}`)
  return found
}

t.test('pushes have the shape of recorded ones, under the id of their subscription', async (t) => {
  const { chain, client } = await opened(t)
  const sender = chain.owner.address
  const queries = [
    "tm.event='NewBlock'",
    "tm.event='NewBlockHeader'",
    `tm.event='Tx' AND message.sender='${sender}'`,
  ]
  for (const [i, query] of queries.entries())
    t.same(await client.ask(i + 1, 'subscribe', query), { jsonrpc: '2.0', id: i + 1, result: {} })
  chain.devnet.broadcast(chain.tx(chain.owner, [chain.send(chain.owner, chain.rival, 1n)]))
  chain.devnet.broadcast(chain.tx(chain.rival, [chain.send(chain.rival, chain.owner, 1n)]))
  await chain.devnet.mine()
  for (const [i, query] of queries.entries()) {
    const push = await client.next()
    t.equal(push.id, i + 1, query)
    t.equal(push.result?.query, query)
    const type = push.result?.data?.type ?? ''
    t.same(shape(push.result?.data), shape(recordedPush(type).result?.data), type)
  }
  t.same(await client.ask(9, 'health'), { jsonrpc: '2.0', id: 9, result: {} }, "not the rival's")
})

t.test('an empty block is pushed without results of transactions', async (t) => {
  const { chain, client } = await opened(t)
  await client.ask(1, 'subscribe', "tm.event='NewBlock'")
  await chain.devnet.mine()
  const push = await client.next()
  const expected = recordedPush('tendermint/event/NewBlock', false)
  t.same(shape(push.result?.data), shape(expected.result?.data))
  const names = (frame: Frame) => Object.keys(frame.result?.events ?? {}).sort()
  t.same(names(push), names(expected), 'events to filter by')
})

t.test('errors are those recorded', async (t) => {
  const { client } = await opened(t)
  const query = "tm.event='NewBlock'"
  await client.ask(1, 'subscribe', query)
  const again = recorded.find(({ id }) => id === 8)
  t.same(await client.ask(8, 'subscribe', query), again)
  const bad = recorded.find(({ id }) => id === 9)
  t.match(await client.ask(9, 'subscribe', "tm.event='"), bad)
  client.socket.send('nonsense')
  const broken = await client.next()
  t.match(broken, { error: { code: -32700, message: 'Parse error. Invalid JSON' } })
  t.notOk('id' in broken)
  t.match(await client.ask(2, 'nope'), { id: 2, error: { code: -32601 } })
  for (let i = 0; i < 4; i++)
    await client.ask(20 + i, 'subscribe', `tm.event='NewBlock' AND a.b=${i}`)
  t.match(await client.ask(30, 'subscribe', "tm.event='Tx'"), {
    error: { data: 'max_subscriptions_per_client 5 reached' },
  })
})

t.test('unsubscribing ends the pushes', async (t) => {
  const { chain, client } = await opened(t)
  await client.ask(1, 'subscribe', "tm.event='NewBlockHeader'")
  t.same(await client.ask(11, 'unsubscribe', "tm.event='NewBlockHeader'"), {
    jsonrpc: '2.0',
    id: 11,
    result: {},
  })
  t.match(await client.ask(12, 'unsubscribe_all'), { error: { data: 'subscription not found' } })
  await client.ask(1, 'subscribe', "tm.event='NewBlock'")
  t.match(await client.ask(13, 'unsubscribe_all'), { result: {} })
  await chain.devnet.mine()
  t.same(await client.ask(14, 'health'), { jsonrpc: '2.0', id: 14, result: {} })
})

t.test('the server pings', async (t) => {
  const { chain, client } = await opened(t)
  await chain.clock.advance(27_000)
  await client.until(() => client.pings === 1)
  t.equal(client.pings, 1)
})

t.test('connections have a limit, and end with the server', async (t) => {
  const { rpc, client } = await opened(t)
  const second = new Client(rpc.url)
  await new Promise((resolve) => second.socket.once('open', resolve))
  const third = new Client(rpc.url)
  const refused = await new Promise((resolve) => {
    third.socket.once('error', () => resolve(true))
    third.socket.once('open', () => resolve(false))
  })
  t.equal(refused, true)
  const elsewhere = new WebSocket(`${rpc.url.replace('http', 'ws')}/other`)
  await new Promise((resolve) => elsewhere.once('error', resolve))
  const closed = new Promise((resolve) => client.socket.once('close', resolve))
  await rpc.stop()
  await closed
})
