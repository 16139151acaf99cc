/**
 * A chain node that answers from recordings, over real HTTP and a real WebSocket on a loopback port.
 *
 * It answers exactly what was asked when the recording was made, so a request that differs in one
 * byte finds nothing. It can misbehave in the ways nodes and the proxies before them do. Methods can be
 * scripted where a test needs a chain that moves.
 */
import { readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { type WebSocket, WebSocketServer } from 'ws'
import { systemClock } from '../../src/base/clock.ts'
import { ms } from '../../src/base/units.ts'
import { packageRoot } from '../../src/config/root.ts'

export interface RpcRequest {
  readonly method: string
  readonly params: Record<string, unknown>
}

export interface Recording {
  readonly name: string
  readonly request: RpcRequest
  readonly response: { readonly result?: unknown; readonly error?: unknown }
}

export type Misbehaviour =
  | 'none'
  /** Status 500 with the answer in it. */
  | 'error-500'
  | 'rate-limited'
  | 'redirect'
  /** Takes the request and says nothing, until closed. */
  | 'hang'
  /** Sends half of the body and says nothing more. */
  | 'stall'
  /** Sends half of the body and closes. */
  | 'cut'
  | 'close'
  /** A proxy's page with status 200. */
  | 'html'
  | 'json-but-not-rpc'
  | 'wrong-id'
  /** Two million spaces before the answer. */
  | 'oversized'

/** An error object instead of a result: thrown by a scripted method. */
export class RpcFailure extends Error {
  readonly code: number
  readonly data: string

  constructor(data: string, code = -32603) {
    super('Internal error')
    this.code = code
    this.data = data
  }
}

/** Waits for `condition` to come true, for what real sockets do in their own time. */
export async function until(condition: () => boolean, what = 'condition'): Promise<void> {
  for (let turns = 0; !condition(); turns++) {
    if (turns > 5_000) throw new Error(`waited in vain for ${what}`)
    await systemClock.sleep(ms(1))
  }
}

/** One of the recorded lists: `rpc`, `abci_query`, `broadcast`, `simulate`. */
export function recordings<T = Recording>(file: string): T[] {
  const path = join(packageRoot(), 'test/vectors/chain', `${file}.json`)
  return JSON.parse(readFileSync(path, 'utf8')) as T[]
}

export class RecordedNode {
  readonly requests: RpcRequest[] = []
  readonly authorizations: (string | undefined)[] = []
  readonly paths: (string | undefined)[] = []
  /** Subscriptions made so far, on all connections. */
  subscriptions = 0
  behaviour: Misbehaviour = 'none'
  socketBehaviour: 'accept' | 'refuse' | 'mute' | 'error' = 'accept'
  readonly #answers = new Map<string, Recording['response']>()
  readonly #scripts = new Map<string, (params: Record<string, unknown>) => unknown>()
  readonly #server: Server
  readonly #sockets: WebSocketServer

  private constructor(server: Server) {
    this.#server = server
    this.#sockets = new WebSocketServer({ noServer: true })
    server.on('request', (request, response) => void this.#serve(request, response))
    server.on('upgrade', (request, socket, head) => {
      if (this.socketBehaviour === 'refuse') return void socket.destroy()
      this.#sockets.handleUpgrade(request, socket, head, (open) => this.#greet(open))
    })
  }

  static async start(): Promise<RecordedNode> {
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return new RecordedNode(server)
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  get socketCount(): number {
    return this.#sockets.clients.size
  }

  /** How often `method` was asked. */
  count(method: string): number {
    return this.requests.filter((request) => request.method === method).length
  }

  /** From now on exactly these requests are answered so. */
  play(...list: readonly Recording[]): this {
    for (const { request, response } of list) this.#answers.set(keyOf(request), response)
    return this
  }

  /** A method answered by a function; it may throw `RpcFailure`. */
  on(method: string, script: (params: Record<string, unknown>) => unknown): this {
    this.#scripts.set(method, script)
    return this
  }

  /** Sends a frame to every WebSocket. */
  push(frame: unknown): void {
    const text = typeof frame === 'string' ? frame : JSON.stringify(frame)
    for (const client of this.#sockets.clients) client.send(text)
  }

  dropSockets(): void {
    for (const client of this.#sockets.clients) client.terminate()
  }

  async close(): Promise<void> {
    this.dropSockets()
    this.#sockets.close()
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const { id, method, params } = JSON.parse(Buffer.concat(chunks).toString())
    this.requests.push({ method, params })
    this.authorizations.push(request.headers.authorization)
    this.paths.push(request.url)
    const body = JSON.stringify({ jsonrpc: '2.0', id, ...(await this.#answer({ method, params })) })
    this.#deliver(response, body, id)
  }

  #deliver(response: ServerResponse, body: string, id: number): void {
    const json = { 'content-type': 'application/json' }
    const half = body.slice(0, body.length / 2)
    switch (this.behaviour) {
      case 'none':
        return void response.writeHead(200, json).end(body)
      case 'error-500':
        return void response.writeHead(500, json).end(body)
      case 'rate-limited':
        return void response.writeHead(429).end('slow down')
      case 'redirect':
        return void response.writeHead(302, { location: '/elsewhere' }).end()
      case 'hang':
        return
      case 'stall':
        return void response.writeHead(200, { ...json, 'content-length': body.length }).write(half)
      case 'cut':
        response
          .writeHead(200, { ...json, 'content-length': body.length })
          .write(half, () => response.destroy())
        return
      case 'close':
        return void response.destroy()
      case 'html':
        return void response.writeHead(200, { 'content-type': 'text/html' }).end('<html></html>')
      case 'json-but-not-rpc':
        return void response.writeHead(200, json).end('{"status":"ok"}')
      case 'wrong-id':
        return void response.writeHead(200, json).end(JSON.stringify({ id: id + 1, result: {} }))
      case 'oversized':
        return void response.writeHead(200, json).end(' '.repeat(2_000_000) + body)
    }
  }

  async #answer(request: RpcRequest): Promise<object> {
    const script = this.#scripts.get(request.method)
    if (script === undefined) {
      const { result, error } = this.#answers.get(keyOf(request)) ?? { error: unknownMethod }
      return error === undefined ? { result } : { error }
    }
    try {
      return { result: await script(request.params) }
    } catch (failure) {
      if (!(failure instanceof RpcFailure)) throw failure
      const { code, message, data } = failure
      return { error: { code, message, data } }
    }
  }

  #greet(socket: WebSocket): void {
    socket.on('message', (data) => {
      const { id, method } = JSON.parse(String(data))
      if (method !== 'subscribe' || this.socketBehaviour === 'mute') return
      this.subscriptions++
      const error = {
        code: -32603,
        message: 'Internal error',
        data: 'max_subscriptions_per_client',
      }
      const answer = this.socketBehaviour === 'error' ? { error } : { result: {} }
      socket.send(JSON.stringify({ jsonrpc: '2.0', id, ...answer }))
    })
  }
}

const unknownMethod = { code: -32601, message: 'Method not found' }

function keyOf({ method, params }: RpcRequest): string {
  const sorted = Object.entries(params).sort(([a], [b]) => (a < b ? -1 : 1))
  return JSON.stringify([method, sorted])
}
