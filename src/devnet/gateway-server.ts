/**
 * The gateway's front: OpenAI-compatible HTTP, each request one relay. Only path, method, content type
 * and body go into the relay, as with the gateways of the network; but what asks for a stream gets one, as
 * its frames come. Tests: test/devnet/gateway.ts, test/devnet/gateway-stream.ts.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { errorText } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import type { HttpRequest } from '../protocol/http.ts'
import { type Gateway, GatewayError, type Relayed } from './gateway.ts'
import { asksForStream, relayStream } from './gateway-stream.ts'

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

  /** @returns the base URL @throws GatewayError GATEWAY_LISTEN */
  async listen(): Promise<string> {
    const { host, port } = this.#options
    await new Promise<void>((resolve, reject) => {
      const failed = (cause: Error) =>
        reject(
          new GatewayError('GATEWAY_LISTEN', `${host}:${port}: ${errorText(cause)}`, { cause }),
        )
      this.#server.once('error', failed)
      this.#server.listen({ host, port }, () => {
        this.#server.off('error', failed)
        resolve()
      })
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
    const body = await bodyOf(request, this.#options.bodyMax)
    if (body === undefined) return answer(response, 413, errorBody('the request is too large'))
    const inner = {
      method: request.method ?? 'POST',
      url: `${INNER_ORIGIN}${request.url ?? '/'}`,
      headers: [['Content-Type', request.headers['content-type'] ?? 'application/json'] as const],
      body,
    }
    const relayed = await this.#relay(inner, response, gone.signal)
    // A stream that cannot be believed to its end has none.
    if (response.headersSent) return void (relayed.verified ? response.end() : response.destroy())
    if (relayed.inner === undefined) return answer(response, 502, errorBody(relayed.fault))
    const { status, headers, body: said } = relayed.inner
    for (const [name, ...values] of headers)
      if (PASSED_ON.has(name.toLowerCase())) response.setHeader(name, values)
    response.setHeader('X-Supplier', relayed.supplier)
    answer(response, status, said)
  }

  /** A stream goes on to the client frame by frame; the head is sent with the first. */
  async #relay(
    inner: HttpRequest,
    response: ServerResponse,
    signal: AbortSignal,
  ): Promise<Relayed> {
    const { gateway } = this.#deps
    const { serviceId } = this.#options
    if (!asksForStream(inner)) return await gateway.relay(serviceId, inner, signal)
    const { url, request } = await gateway.prepare(serviceId, inner, signal)
    const to = { url, request, method: inner.method }
    const onText = (text: Uint8Array) => {
      if (!response.headersSent) {
        response.setHeader('X-Supplier', request.meta?.supplierOperatorAddress ?? '')
        response.writeHead(200, { 'Content-Type': 'text/event-stream' })
      }
      response.write(text)
    }
    return await relayStream(gateway, to, signal, { onText })
  }

  #fail(response: ServerResponse, error: unknown): void {
    this.#deps.log.debug({ err: error }, 'relay failed')
    if (response.headersSent || response.destroyed) return void response.destroy()
    answer(response, 502, errorBody(errorText(error)))
  }
}

/** Of the supplier's answer; the rest is between it and the gateway. */
const PASSED_ON = new Set(['content-type', 'retry-after'])

/** Undefined when there is more than `most`: the rest is read and dropped, so that the answer arrives. */
async function bodyOf(request: IncomingMessage, most: number): Promise<Buffer | undefined> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request) {
    size += (chunk as Buffer).length
    if (size <= most) chunks.push(chunk as Buffer)
    else chunks.length = 0
  }
  return size > most ? undefined : Buffer.concat(chunks, size)
}

function errorBody(message: string): string {
  return JSON.stringify({ error: { message, type: 'relay_error' } })
}

function answer(response: ServerResponse, status: number, body: string | Uint8Array): void {
  if (!response.hasHeader('Content-Type')) response.setHeader('Content-Type', 'application/json')
  response.writeHead(status, { 'Content-Length': Buffer.byteLength(body) })
  response.end(body)
}
