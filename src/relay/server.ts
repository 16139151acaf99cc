/**
 * The port that gateways call: node:http, because a relay may be a GET with a body, which frameworks
 * drop. Any method on any path; never dispatched on either. Everything has a limit, and what is cut
 * off by one costs the sender its connection, not us a request. Tests: test/relay/server.ts.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import { type Ms, ms } from '../base/units.ts'
import { RelayError } from './errors.ts'
import { errorReply } from './respond.ts'

export interface RelayServerDeps {
  readonly clock: Clock
  readonly handler: {
    handle(bytes: Uint8Array, signal: AbortSignal): Promise<Uint8Array>
    drain(): void
  }
  readonly log: Log
}

export interface RelayServerOptions {
  readonly host: string
  /** 0: any free port. */
  readonly port: number
  readonly bodyMax: number
  readonly connectionsMax: number
  /** For all headers of one request, and then for the whole request to arrive. */
  readonly headersTimeout: Ms
  readonly receiveTimeout: Ms
  readonly keepAlive: Ms
  /** How long running relays may go on after `stop`. */
  readonly drainMax: Ms
}

export const RELAY_SERVER_DEFAULTS: RelayServerOptions = {
  host: '0.0.0.0',
  port: 8545,
  bodyMax: 20 * 1024 * 1024,
  connectionsMax: 10_000,
  headersTimeout: ms(10_000),
  receiveTimeout: ms(30_000),
  keepAlive: ms(60_000),
  drainMax: ms(30_000),
}

const HEADER_BYTES_MAX = 32 * 1024

export class RelayServer {
  readonly #deps: RelayServerDeps
  readonly #options: RelayServerOptions
  readonly #server: Server
  readonly #running = new Set<AbortController>()
  #idle: (() => void) | undefined

  constructor(deps: RelayServerDeps, options: RelayServerOptions = RELAY_SERVER_DEFAULTS) {
    this.#deps = deps
    this.#options = options
    this.#server = createServer(
      { maxHeaderSize: HEADER_BYTES_MAX, keepAlive: true },
      (request, response) => {
        void this.#serve(request, response)
      },
    )
    this.#server.maxConnections = options.connectionsMax
    this.#server.headersTimeout = options.headersTimeout
    this.#server.requestTimeout = options.receiveTimeout
    this.#server.keepAliveTimeout = options.keepAlive
  }

  /** @returns the port, which differs from the option when that was 0 */
  async listen(): Promise<number> {
    const { host, port } = this.#options
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen({ host, port, backlog: 1024 }, () => {
        this.#server.off('error', reject)
        resolve()
      })
    })
    const bound = (this.#server.address() as AddressInfo).port
    this.#deps.log.info({ host, port: bound }, 'relay port open')
    return bound
  }

  get inFlight(): number {
    return this.#running.size
  }

  /** Takes no new connection, lets running relays end, cancels what is left at the limit. Idempotent. */
  async stop(): Promise<void> {
    this.#deps.handler.drain()
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    this.#server.closeIdleConnections()
    if (this.#running.size > 0) {
      const emptied = new AbortController()
      const idle = new Promise<void>((resolve) => {
        this.#idle = resolve
      })
      await Promise.race([
        idle,
        this.#deps.clock.sleep(this.#options.drainMax, emptied.signal).catch(() => {}),
      ])
      emptied.abort()
      for (const controller of this.#running)
        controller.abort(new RelayError('REFUSED', 'stopping'))
    }
    this.#server.closeAllConnections()
    await closed
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const controller = new AbortController()
    this.#running.add(controller)
    response.once('close', () => {
      if (!response.writableFinished)
        controller.abort(new RelayError('REFUSED', 'the client is gone'))
    })
    try {
      const body = await readBody(request, this.#options.bodyMax)
      const answer =
        body === undefined
          ? errorReply(
              new RelayError('TOO_LARGE', `more than ${this.#options.bodyMax} bytes`),
              undefined,
            )
          : await this.#deps.handler.handle(body, controller.signal)
      await this.#reply(response, answer, body === undefined)
    } catch (error) {
      if (!controller.signal.aborted) this.#deps.log.debug({ err: error }, 'connection lost')
      response.destroy()
    } finally {
      this.#running.delete(controller)
      if (this.#running.size === 0) this.#idle?.()
    }
  }

  #reply(response: ServerResponse, bytes: Uint8Array, close: boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      response.once('error', reject)
      response.once('close', resolve)
      response.writeHead(200, {
        'Content-Type': 'application/x-protobuf',
        'Content-Length': bytes.length,
        ...(close ? { Connection: 'close' } : {}),
      })
      response.end(bytes, resolve)
    })
  }
}

/** Undefined when it is larger than `max`. @throws when the sender cuts the connection */
async function readBody(request: IncomingMessage, max: number): Promise<Uint8Array | undefined> {
  const announced = Number(request.headers['content-length'] ?? 0)
  if (announced > max) return undefined
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request) {
    size += (chunk as Buffer).length
    if (size > max) return undefined
    chunks.push(chunk as Buffer)
  }
  return chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks, size)
}
