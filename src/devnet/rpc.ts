/**
 * The simulated chain behind CometBFT's JSON-RPC: POST, batches, the URI form, and WebSocket.
 *
 * A failed call is HTTP 200 with an `error` object on POST and 500 on GET, as a real node answers.
 * Listens on the loopback interface only. Tested by test/devnet/rpc.ts, test/devnet/rpc-socket.ts.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Clock } from '../base/clock.ts'
import { errorText } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { Arguments, RpcFault } from './arguments.ts'
import { answerCall, asFault, envelope, methodOf } from './calls.ts'
import type { Devnet } from './chain.ts'
import { DevnetError } from './errors.ts'
import { METHODS, type MethodDeps } from './methods.ts'
import { RpcSockets } from './rpc-socket.ts'

export interface DevnetRpcDeps {
  readonly devnet: Devnet
  readonly clock: Clock
  readonly log: Log
}

export interface DevnetRpcOptions {
  /** 0: any free one. */
  readonly port: number
  readonly bodyBytesMax: number
  readonly batchMax: number
  readonly socketsMax: number
  /** For tests: called before each answer; `drop` cuts the connection instead. */
  readonly fault?: (method: string) => 'drop' | undefined
}

export const DEVNET_RPC_DEFAULTS: DevnetRpcOptions = {
  port: 0,
  bodyBytesMax: 4_194_304,
  batchMax: 100,
  socketsMax: 100,
}

export class DevnetRpc implements AsyncDisposable {
  readonly #deps: DevnetRpcDeps
  readonly #options: DevnetRpcOptions
  readonly #log: Log
  readonly #sockets: RpcSockets
  readonly #server: Server
  #port = 0

  constructor(deps: DevnetRpcDeps, options: Partial<DevnetRpcOptions> = {}) {
    this.#deps = deps
    this.#options = { ...DEVNET_RPC_DEFAULTS, ...options }
    this.#log = deps.log.child({ component: 'devnet-rpc' })
    this.#sockets = new RpcSockets(
      { ...deps, log: this.#log, call: (method, args) => this.#call(method, args) },
      { socketsMax: this.#options.socketsMax, messageBytesMax: this.#options.bodyBytesMax },
    )
    this.#server = createServer((request, response) => {
      this.#handle(request, response).catch((error: unknown) => {
        this.#log.error({ err: error }, 'devnet call failed')
        response.destroy()
      })
    })
    this.#server.on('upgrade', (request, socket, head) => {
      if (request.url?.split('?')[0] === '/websocket') this.#sockets.accept(request, socket, head)
      else socket.destroy()
    })
  }

  /** Where clients connect, once it has started. */
  get url(): string {
    return `http://127.0.0.1:${this.#port}`
  }

  /** @returns `url` @throws DevnetError LISTEN */
  async start(): Promise<string> {
    await new Promise<void>((resolve, reject) => {
      const failed = (cause: Error) =>
        reject(new DevnetError('LISTEN', errorText(cause), { cause, data: { ...this.#where() } }))
      this.#server.once('error', failed)
      this.#server.listen(this.#options.port, '127.0.0.1', () => {
        this.#server.removeListener('error', failed)
        resolve()
      })
    })
    this.#port = (this.#server.address() as AddressInfo).port
    this.#sockets.start()
    return this.url
  }

  #where() {
    return { port: this.#options.port }
  }

  /** Cuts every connection. Idempotent. */
  async stop(): Promise<void> {
    await this.#sockets.stop()
    if (!this.#server.listening) return
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    this.#server.closeAllConnections()
    await closed
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.method !== 'POST') return this.#answerUri(request, response)
    const body = await readBody(request, this.#options.bodyBytesMax)
    let calls: unknown
    try {
      calls = JSON.parse(body ?? '')
    } catch (error) {
      const data = body === undefined ? 'http: request body too large' : (error as Error).message
      const fault = new RpcFault(-32_700, 'Parse error. Invalid JSON', data)
      return send(response, 500, envelope(undefined, undefined, fault))
    }
    const list = (Array.isArray(calls) ? calls : [calls]).slice(0, this.#options.batchMax)
    const answers: unknown[] = []
    for (const call of list) {
      if (this.#isDropped(methodOf(call))) return void request.socket.destroy()
      const answer = await answerCall(call, (method, args) => this.#call(method, args))
      if (answer !== undefined) answers.push(answer)
    }
    send(response, 200, Array.isArray(calls) ? answers : answers[0])
  }

  async #answerUri(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', this.url)
    const method = url.pathname.slice(1)
    if (this.#isDropped(method)) return void request.socket.destroy()
    if (!METHODS.has(method)) {
      response.writeHead(404, { 'content-type': 'text/plain' }).end('404 page not found\n')
      return
    }
    try {
      const values = Object.fromEntries(url.searchParams)
      const result = await this.#call(method, new Arguments(values, true))
      send(response, 200, envelope(-1, result))
    } catch (error) {
      send(response, 500, envelope(-1, undefined, asFault(error)))
    }
  }

  #isDropped(method: string): boolean {
    return this.#options.fault?.(method) === 'drop'
  }

  /** @throws RpcFault */
  async #call(method: string, args: Arguments): Promise<unknown> {
    const known = METHODS.get(method)
    if (known === undefined) throw new RpcFault(-32_601, 'Method not found')
    const deps: MethodDeps = {
      devnet: this.#deps.devnet,
      address: `tcp://127.0.0.1:${this.#port}`,
    }
    return await known(deps, args)
  }
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(body === undefined ? '' : JSON.stringify(body))
}

/** Undefined when there is more than `most`; the rest is read and dropped. */
async function readBody(request: IncomingMessage, most: number): Promise<string | undefined> {
  const parts: Buffer[] = []
  let length = 0
  for await (const part of request) {
    const bytes = part as Buffer
    length += bytes.length
    if (length <= most) parts.push(bytes)
  }
  return length > most ? undefined : Buffer.concat(parts).toString('utf8')
}
