/**
 * Stands between a supplier and a node: passes JSON-RPC and WebSocket on, and holds one call, on its
 * way there or on its way back, until the test says so. Going away altogether is `cut` and `mend`.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { request as httpRequest } from 'undici'

export interface Call {
  readonly method: string
  readonly params: Readonly<Record<string, unknown>>
}

/** Of JSON-RPC, without its envelope. */
export interface Answer {
  readonly result?: unknown
  readonly error?: unknown
}

/** A node of another character: what it answers to a call, having asked the real one or not. */
export type Character = (call: Call, ask: (call: Call) => Promise<Answer>) => Promise<Answer>

interface Hold {
  readonly side: 'request' | 'answer'
  readonly match: (call: Call) => boolean
  readonly caught: (call: Call) => void
  readonly released: Promise<void>
}

/** A call that is being held, once `caught` has resolved. */
export interface Held {
  readonly caught: Promise<Call>
  release(): void
}

export class RpcProxy {
  readonly calls: Call[] = []
  readonly #target: URL
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  /** Subscriptions: from the node, to the supplier. */
  readonly #tunnels = new Map<Socket, Socket>()
  /** Resolves when the node may tell of blocks again. */
  #news: Promise<void> = Promise.resolve()
  #holds: Hold[] = []
  #cut = false
  #character: Character | undefined

  constructor(target: string) {
    this.#target = new URL(target)
    this.#server = createServer((request, response) => {
      this.#pass(request, response).catch(() => response.destroy())
    })
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket)
      // Who is killed does not say goodbye.
      socket.on('error', () => socket.destroy())
      socket.once('close', () => this.#sockets.delete(socket))
    })
    this.#server.on('upgrade', (request, socket, head) =>
      this.#tunnel(request, socket as Socket, head),
    )
  }

  async open(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve))
    this.cut()
    await closed
  }

  /** Holds the next call that matches; only one call is caught by each hold. */
  hold(side: Hold['side'], match: (call: Call) => boolean): Held {
    let release = () => {}
    let caught: (call: Call) => void = () => {}
    const released = new Promise<void>((resolve) => {
      release = resolve
    })
    const arrival = new Promise<Call>((resolve) => {
      caught = resolve
    })
    this.#holds.push({ side, match, caught, released })
    return { caught: arrival, release }
  }

  /** The node is away: connections are refused from now on. */
  cut(): void {
    this.#cut = true
    for (const socket of this.#sockets) socket.destroy()
  }

  mend(): void {
    this.#cut = false
  }

  /**
   * From now on the node answers everything but what its height is, and says nothing by itself; that
   * waits until the function given back is called.
   */
  hush(): () => void {
    let end = () => {}
    this.#news = new Promise((resolve) => {
      end = resolve
    })
    for (const [node, client] of this.#tunnels) node.unpipe(client)
    return () => {
      end()
      for (const [node, client] of this.#tunnels) node.pipe(client)
    }
  }

  /** From now on the node says nothing by itself, but answers. */
  mute(): void {
    for (const [node, client] of this.#tunnels) {
      node.unpipe(client)
      node.resume()
    }
  }

  /** From now on the node answers so, and says nothing by itself. */
  become(character: Character): void {
    this.#character = character
    this.mute()
  }

  async #pass(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (this.#cut) return void request.socket.destroy()
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const body = Buffer.concat(chunks)
    const call = callOf(body)
    this.calls.push(call)
    const hold = this.#take(call)
    if (call.method === 'status') await this.#news
    if (hold?.side === 'request') await this.#wait(hold, call)
    if (this.#cut) return void request.socket.destroy()
    const { status, bytes } = await this.#answer(request, body, call)
    if (hold?.side === 'answer') await this.#wait(hold, call)
    response.writeHead(status, { 'content-type': 'application/json' }).end(bytes)
  }

  async #answer(
    request: IncomingMessage,
    body: Buffer,
    call: Call,
  ): Promise<{ status: number; bytes: Buffer }> {
    if (this.#character === undefined || body.length === 0)
      return await this.#forward(request, body)
    const { id } = JSON.parse(body.toString())
    const answer = await this.#character(call, async (asked) => {
      const text = JSON.stringify({ jsonrpc: '2.0', id, ...asked })
      return JSON.parse((await this.#forward(request, Buffer.from(text))).bytes.toString())
    })
    return { status: 200, bytes: Buffer.from(JSON.stringify({ jsonrpc: '2.0', id, ...answer })) }
  }

  async #forward(
    request: IncomingMessage,
    body: Buffer,
  ): Promise<{ status: number; bytes: Buffer }> {
    const answer = await httpRequest(new URL(request.url ?? '/', this.#target), {
      method: request.method === 'GET' ? 'GET' : 'POST',
      headers: { 'content-type': 'application/json' },
      ...(body.length === 0 ? {} : { body }),
    })
    return { status: answer.statusCode, bytes: Buffer.from(await answer.body.arrayBuffer()) }
  }

  #take(call: Call): Hold | undefined {
    const hold = this.#holds.find(({ match }) => match(call))
    this.#holds = this.#holds.filter((other) => other !== hold)
    return hold
  }

  async #wait(hold: Hold, call: Call): Promise<void> {
    hold.caught(call)
    await hold.released
  }

  #tunnel(request: IncomingMessage, client: Socket, head: Buffer): void {
    if (this.#cut) return void client.destroy()
    const isMute = this.#character !== undefined
    const node = connect(Number(this.#target.port), this.#target.hostname, () => {
      const headers = Object.entries(request.headers).map(
        ([name, value]) => `${name}: ${String(value)}`,
      )
      node.write(`GET ${request.url} HTTP/1.1\r\n${headers.join('\r\n')}\r\n\r\n`)
      node.write(head)
      client.pipe(node)
      if (isMute) node.resume()
      else node.pipe(client)
      this.#tunnels.set(node, client)
    })
    for (const socket of [node, client]) socket.on('error', () => socket.destroy())
    client.once('close', () => node.destroy())
    node.once('close', () => {
      this.#tunnels.delete(node)
      client.destroy()
    })
  }
}

function callOf(body: Buffer): Call {
  try {
    const { method, params } = JSON.parse(body.toString())
    return { method: String(method), params: params ?? {} }
  } catch {
    return { method: '', params: {} }
  }
}

/** Simulation of a transaction. */
export function isSimulation({ method, params }: Call): boolean {
  return method === 'abci_query' && params['path'] === '/cosmos.tx.v1beta1.Service/Simulate'
}

export function isBroadcast({ method }: Call): boolean {
  return method === 'broadcast_tx_sync'
}
