/**
 * The gateway's front: OpenAI-compatible HTTP, each request one relay. Only path, method, content type
 * and body go into the relay, as with the gateways of the network. Tests: test/devnet/gateway.ts.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { errorText } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import type { Gateway } from './gateway.ts'

export interface GatewayServerOptions {
  readonly host: string
  readonly port: number
  readonly serviceId: string
  readonly bodyMax: number
}

/** Only shown to the supplier, which ignores the host. */
const INNER_ORIGIN = 'http://gateway.devnet'

export class GatewayServer {
  readonly #deps: { readonly gateway: Gateway; readonly log: Log }
  readonly #options: GatewayServerOptions
  readonly #server: Server

  constructor(
    deps: { readonly gateway: Gateway; readonly log: Log },
    options: GatewayServerOptions,
  ) {
    this.#deps = deps
    this.#options = options
    this.#server = createServer((request, response) => {
      this.#serve(request, response).catch((error: unknown) => this.#fail(response, error))
    })
  }

  /** @returns the base URL */
  async listen(): Promise<string> {
    const { host, port } = this.#options
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen({ host, port }, () => resolve())
    })
    return `http://${host}:${(this.#server.address() as AddressInfo).port}`
  }

  async stop(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    this.#server.closeAllConnections()
    await closed
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const gone = new AbortController()
    response.once('close', () => gone.abort())
    const chunks: Buffer[] = []
    let size = 0
    for await (const chunk of request) {
      size += (chunk as Buffer).length
      if (size > this.#options.bodyMax)
        return answer(response, 413, '{"error":{"message":"too large"}}')
      chunks.push(chunk as Buffer)
    }
    const inner = {
      method: request.method ?? 'POST',
      url: `${INNER_ORIGIN}${request.url ?? '/'}`,
      headers: [['Content-Type', request.headers['content-type'] ?? 'application/json'] as const],
      body: Buffer.concat(chunks, size),
    }
    const relayed = await this.#deps.gateway.relay(this.#options.serviceId, inner, gone.signal)
    if (relayed.inner === undefined) {
      return answer(
        response,
        502,
        JSON.stringify({ error: { message: relayed.fault, type: 'relay_error' } }),
      )
    }
    const { status, body } = relayed.inner
    response.setHeader('X-Supplier', relayed.supplier)
    answer(response, status, body)
  }

  #fail(response: ServerResponse, error: unknown): void {
    this.#deps.log.debug({ err: error }, 'relay failed')
    if (response.headersSent || response.destroyed) return void response.destroy()
    answer(
      response,
      502,
      JSON.stringify({ error: { message: errorText(error), type: 'relay_error' } }),
    )
  }
}

function answer(response: ServerResponse, status: number, body: string | Uint8Array): void {
  response.writeHead(status, {
    'Content-Type': 'application/json',
    'Content-Length': Buffer.byteLength(body),
  })
  response.end(body)
}
