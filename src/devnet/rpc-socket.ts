/**
 * Subscriptions over WebSocket, as CometBFT serves them at `/websocket`.
 *
 * The answer to `subscribe` is an empty object; what happens later is pushed under the same id.
 * Other methods work here too. Source: cometbft rpc/jsonrpc/server/ws_handler.go, rpc/core/events.go.
 * Tested by test/devnet/rpc-socket.ts.
 */
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { type WebSocket, WebSocketServer } from 'ws'
import type { Clock } from '../base/clock.ts'
import { errorText } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { ms } from '../base/units.ts'
import type { Block } from './archive.ts'
import { type Arguments, internal, RpcFault } from './arguments.ts'
import { answerCall, type Call, envelope, type RpcId } from './calls.ts'
import type { Devnet } from './chain.ts'
import { type Condition, matches, parseQuery } from './filter.ts'
import { eventMap, newBlock, newHeader, newTx } from './render.ts'

export interface RpcSocketsDeps {
  readonly devnet: Devnet
  readonly clock: Clock
  readonly log: Log
  readonly call: Call
}

export interface RpcSocketsOptions {
  readonly socketsMax: number
  readonly messageBytesMax: number
}

interface Subscription {
  readonly id: RpcId
  readonly conditions: readonly Condition[]
}

const SUBSCRIPTIONS_MAX = 5
const PING_EVERY = ms(27_000)
/** What a slow reader may leave unread before it is cut off. */
const BUFFERED_MAX = 67_108_864

export class RpcSockets {
  readonly #deps: RpcSocketsDeps
  readonly #options: RpcSocketsOptions
  readonly #server: WebSocketServer
  readonly #clients = new Map<WebSocket, Map<string, Subscription>>()
  readonly #ended = new AbortController()
  #unwatch: () => void = () => {}

  constructor(deps: RpcSocketsDeps, options: RpcSocketsOptions) {
    this.#deps = deps
    this.#options = options
    this.#server = new WebSocketServer({ noServer: true, maxPayload: options.messageBytesMax })
  }

  start(): void {
    this.#unwatch = this.#deps.devnet.watch((block) => this.#publish(block))
    this.#ping().catch((error: unknown) => {
      if (!this.#ended.signal.aborted) this.#deps.log.error({ err: error }, 'pinging ended')
    })
  }

  async stop(): Promise<void> {
    this.#unwatch()
    this.#ended.abort(new Error('stopped'))
    for (const client of this.#clients.keys()) client.terminate()
    this.#server.close()
  }

  accept(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    if (this.#clients.size >= this.#options.socketsMax) {
      socket.destroy()
      return
    }
    this.#server.handleUpgrade(request, socket, head, (client) => {
      this.#clients.set(client, new Map())
      client.on('close', () => this.#clients.delete(client))
      client.on('error', (error) => this.#deps.log.debug({ err: error }, 'socket failed'))
      client.on('message', (data) => {
        this.#receive(client, String(data)).catch((error: unknown) => {
          this.#deps.log.error({ err: error }, 'socket message failed')
          client.terminate()
        })
      })
    })
  }

  async #ping(): Promise<void> {
    for (;;) {
      await this.#deps.clock.sleep(PING_EVERY, this.#ended.signal)
      for (const client of this.#clients.keys()) client.ping()
    }
  }

  async #receive(client: WebSocket, text: string): Promise<void> {
    let value: unknown
    try {
      value = JSON.parse(text)
    } catch (error) {
      const data = `error unmarshaling request: ${errorText(error)}`
      const fault = new RpcFault(-32_700, 'Parse error. Invalid JSON', data)
      return this.#send(client, envelope(undefined, undefined, fault))
    }
    const id = (value as { id?: RpcId } | null)?.id ?? null
    const answer = await answerCall(value, (method, args) => this.#call(client, id, method, args))
    if (answer !== undefined) this.#send(client, answer)
  }

  async #call(client: WebSocket, id: RpcId, method: string, args: Arguments): Promise<unknown> {
    const subscriptions = this.#clients.get(client) ?? new Map<string, Subscription>()
    if (method === 'subscribe') {
      subscribe(subscriptions, id, args.text('query'))
    } else if (method === 'unsubscribe') {
      if (!subscriptions.delete(args.text('query'))) throw internal('subscription not found')
    } else if (method === 'unsubscribe_all') {
      if (subscriptions.size === 0) throw internal('subscription not found')
      subscriptions.clear()
    } else return this.#deps.call(method, args)
    return {}
  }

  #publish(block: Block): void {
    const { devnet } = this.#deps
    const ofBlock = eventMap(block.events, { 'tm.event': 'NewBlock' })
    this.#push(() => newBlock(devnet, block), ofBlock)
    this.#push(() => newHeader(devnet, block), { 'tm.event': ['NewBlockHeader'] })
    for (const [index, tx] of block.transactions.entries()) {
      const more = { 'tm.event': 'Tx', 'tx.hash': tx.hash, 'tx.height': String(block.height) }
      this.#push(() => newTx(block, index), eventMap(block.results[index]?.events ?? [], more))
    }
  }

  #push(data: () => unknown, events: Record<string, string[]>): void {
    let made: unknown
    for (const [client, subscriptions] of this.#clients)
      for (const [query, { id, conditions }] of subscriptions) {
        if (!matches(conditions, events)) continue
        made ??= data()
        this.#send(client, envelope(id, { query, data: made, events }))
      }
  }

  #send(client: WebSocket, message: object): void {
    if (client.bufferedAmount > BUFFERED_MAX) client.terminate()
    else client.send(JSON.stringify(message))
  }
}

/** @throws RpcFault */
function subscribe(subscriptions: Map<string, Subscription>, id: RpcId, query: string): void {
  if (subscriptions.has(query)) throw internal('already subscribed')
  if (subscriptions.size >= SUBSCRIPTIONS_MAX)
    throw internal(`max_subscriptions_per_client ${SUBSCRIPTIONS_MAX} reached`)
  let conditions: readonly Condition[]
  try {
    conditions = parseQuery(query)
  } catch (error) {
    throw internal((error as Error).message)
  }
  subscriptions.set(query, { id, conditions })
}
