/**
 * The port that gateways call: node:http, because a relay may be a GET with a body, which frameworks
 * drop. Any method on any path; never dispatched on either, but for HEAD, whose answer has no body and
 * cannot carry a relay's. Everything has a limit, and what is cut off by one costs the sender its
 * connection, not us a request. Tests: test/relay/server.ts, test/relay/drain.ts,
 * test/relay/hostile.ts and its sisters.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import { withDeadline } from '../base/retry.ts'
import { type Ms, ms } from '../base/units.ts'
import { Body } from './body.ts'
import { Callers } from './callers.ts'
import type { Carrier } from './carrier.ts'
import { RelayError } from './errors.ts'
import { errorReply } from './respond.ts'
import { HttpFrames } from './stream-http.ts'
import { type RelaySockets, withoutOffer } from './websocket.ts'

export interface RelayServerDeps {
  readonly clock: Clock
  readonly handler: {
    handle(bytes: Uint8Array, signal: AbortSignal, carrier: Carrier): Promise<Uint8Array>
    drain(): void
  }
  /** Without it, a handshake for a WebSocket is an ordinary request. */
  readonly sockets?: Pick<
    RelaySockets,
    'isHandshake' | 'accept' | 'start' | 'drain' | 'stop' | 'size' | 'inFlight'
  >
  readonly log: Log
}

export interface RelayServerOptions {
  readonly host: string
  /** 0: any free port. */
  readonly port: number
  readonly bodyMax: number
  /** Bodies of all requests together that are in memory. */
  readonly bodiesMax: number
  /** Connections, and requests at a time: one connection may send some at once. */
  readonly connectionsMax: number
  /** For all headers of one request, and then for the whole request to arrive. */
  readonly headersTimeout: Ms
  readonly receiveTimeout: Ms
  /** For the gateway to take the answer. */
  readonly sendTimeout: Ms
  /** Longer than gateways keep an idle connection (90 s): who closes first loses no request. */
  readonly keepAlive: Ms
  /** How long running relays may go on after `stop`. */
  readonly drainMax: Ms
}

export const RELAY_SERVER_DEFAULTS: RelayServerOptions = {
  host: '0.0.0.0',
  port: 8545,
  bodyMax: 20 * 1024 * 1024,
  bodiesMax: 256 * 1024 * 1024,
  connectionsMax: 10_000,
  headersTimeout: ms(10_000),
  receiveTimeout: ms(30_000),
  sendTimeout: ms(60_000),
  keepAlive: ms(120_000),
  drainMax: ms(30_000),
}

const HEADER_BYTES_MAX = 32 * 1024
/** Requests that one connection may send before the first of them is answered. */
const AHEAD_MAX = 32
/** How exactly Node keeps the timeouts of what arrives: it looks this often in each of them. */
const CHECKS = 10

/** One request, from its headers to the last byte of its answer. */
interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  /** Aborts when the connection is gone, or at the end of the drain. */
  readonly controller: AbortController
  /** Bytes of the body in memory. */
  held: number
}

export class RelayServer {
  readonly #deps: RelayServerDeps
  readonly #options: RelayServerOptions
  readonly #server: Server
  readonly #running = new Set<Exchange>()
  readonly #callers: Callers
  #held = 0
  #idle: (() => void) | undefined
  #stopped: Promise<void> | undefined

  constructor(deps: RelayServerDeps, options: RelayServerOptions = RELAY_SERVER_DEFAULTS) {
    const { headersTimeout, receiveTimeout, keepAlive, connectionsMax } = options
    this.#deps = deps
    this.#options = options
    this.#server = createServer(
      {
        maxHeaderSize: HEADER_BYTES_MAX,
        keepAlive: true,
        connectionsCheckingInterval: Math.ceil(Math.min(headersTimeout, receiveTimeout) / CHECKS),
      },
      (request, response) => {
        void this.#serve(request, response)
      },
    )
    this.#callers = new Callers({ connectionsMax, aheadMax: AHEAD_MAX })
    this.#server.on('connection', (socket) => this.#callers.enter(socket))
    if (deps.sockets !== undefined)
      this.#server.on('upgrade', (request, socket: Socket, head) =>
        this.#upgrade(request, socket, head),
      )
    this.#server.headersTimeout = headersTimeout
    this.#server.requestTimeout = receiveTimeout
    this.#server.keepAliveTimeout = keepAlive
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
    this.#server.on('error', (err) => this.#deps.log.warn({ err }, 'relay port in trouble'))
    this.#deps.sockets?.start()
    const bound = (this.#server.address() as AddressInfo).port
    this.#deps.log.info({ host, port: bound }, 'relay port open')
    return bound
  }

  get inFlight(): number {
    return this.#running.size + (this.#deps.sockets?.inFlight ?? 0)
  }

  /** Takes no new connection, lets running relays end, cancels what is left at the limit. Idempotent. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop()
    return this.#stopped
  }

  async #stop(): Promise<void> {
    const { handler, sockets } = this.#deps
    handler.drain()
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    this.#server.closeIdleConnections()
    if (this.#running.size > 0 || (sockets?.size ?? 0) > 0) {
      const emptied = new AbortController()
      const idle = new Promise<void>((resolve) => {
        this.#idle = resolve
        if (this.#running.size === 0) resolve()
      })
      await Promise.race([
        Promise.all([idle, sockets?.drain()]),
        this.#deps.clock.sleep(this.#options.drainMax, emptied.signal).catch(() => {}),
      ])
      emptied.abort()
      for (const { controller } of this.#running)
        controller.abort(new RelayError('REFUSED', 'stopping'))
    }
    sockets?.stop()
    this.#server.closeAllConnections()
    await closed
  }

  /** Node hands over every offer to change the protocol; all but that of a WebSocket are declined. */
  #upgrade(request: IncomingMessage, socket: Socket, head: Buffer): void {
    const { sockets } = this.#deps
    const isAnswering = [...this.#running].some((exchange) => exchange.request.socket === socket)
    // The answers to what was sent ahead would get in between.
    if (isAnswering || sockets === undefined) socket.destroy()
    else if (sockets.isHandshake(request)) {
      const begin = () => {
        const isTaken = this.#callers.begin(socket)
        if (isTaken) this.#callers.came(socket)
        return isTaken
      }
      sockets.accept(request, socket, head, { begin, end: () => this.#callers.end(socket) })
    } else {
      socket.unshift(withoutOffer(request, head))
      this.#server.emit('connection', socket)
    }
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { socket } = request
    const isFull = this.#running.size >= this.#options.connectionsMax
    const isOther = request.httpVersionMajor !== 1
    // What was sent ahead still comes when the connection is closed already.
    if (socket.destroyed || isOther || isFull || !this.#callers.begin(socket)) {
      socket.destroy()
      return
    }
    const controller = new AbortController()
    const exchange: Exchange = { request, response, controller, held: 0 }
    this.#running.add(exchange)
    // Not the response's own event: the answer to a request sent ahead has no connection yet.
    const gone = () => controller.abort(new RelayError('REFUSED', 'the client is gone'))
    socket.setMaxListeners(0).once('close', gone)
    try {
      const body = await this.#read(exchange)
      this.#callers.came(socket)
      const answer = await this.#answer(exchange, body)
      const isLast = body === undefined || this.#stopped !== undefined
      await this.#reply(exchange, answer, isLast)
    } catch (error) {
      if (!controller.signal.aborted) this.#deps.log.debug({ err: error }, 'connection lost')
      socket.destroy()
    } finally {
      socket.off('close', gone)
      this.#callers.end(socket)
      this.#hold(exchange, -exchange.held)
      this.#running.delete(exchange)
      if (this.#running.size === 0) this.#idle?.()
    }
  }

  async #answer(
    { request, response, controller }: Exchange,
    body: Uint8Array | undefined,
  ): Promise<Uint8Array> {
    if (body === undefined) {
      const limit = `more than ${this.#options.bodyMax} bytes`
      return errorReply(new RelayError('TOO_LARGE', limit), undefined)
    }
    if (request.method === 'HEAD') return new Uint8Array(0)
    const frames = new HttpFrames(request, response)
    return await this.#deps.handler.handle(body, controller.signal, { form: 'http', frames })
  }

  /**
   * Undefined when it is larger than the limit; so much again is then let pass, so that a sender that
   * does not listen while it sends gets the reply. @throws RelayError REFUSED, or `signal.reason`
   */
  #read(exchange: Exchange): Promise<Uint8Array | undefined> {
    const { request, controller } = exchange
    const { bodyMax } = this.#options
    const bodiesMax = Math.max(this.#options.bodiesMax, bodyMax)
    const passMax = 2 * bodyMax
    if (Number(request.headers['content-length'] ?? 0) > passMax) return Promise.resolve(undefined)
    const body = new Body(bodyMax)
    return new Promise((resolve, reject) => {
      const take = (piece: Buffer) => {
        try {
          body.add(piece)
        } catch (error) {
          fail(error)
          return
        }
        this.#hold(exchange, body.held - exchange.held)
        if (this.#held > bodiesMax) fail(new RelayError('REFUSED', 'too many bodies in memory'))
        if (body.size <= passMax) return
        request.off('data', take).pause()
        resolve(undefined)
      }
      const fail = (error: unknown) => {
        request.off('data', take)
        reject(error)
      }
      request.on('data', take)
      request.once('end', () => resolve(body.bytes))
      request.once('error', fail)
      controller.signal.addEventListener('abort', () => fail(controller.signal.reason), {
        once: true,
      })
    })
  }

  #hold(exchange: Exchange, bytes: number): void {
    exchange.held += bytes
    this.#held += bytes
  }

  /** Resolves when the last byte was handed to the system. @throws BaseError DEADLINE, `signal.reason` */
  #reply({ response, controller }: Exchange, bytes: Uint8Array, isLast: boolean): Promise<void> {
    const { sendTimeout } = this.#options
    return withDeadline(this.#deps.clock, sendTimeout, controller.signal, (signal) => {
      signal.throwIfAborted()
      return new Promise((resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason), { once: true })
        response.once('error', reject)
        // Else these bytes end a stream.
        if (!response.headersSent)
          response.writeHead(200, {
            'Content-Type': 'application/x-protobuf',
            'Content-Length': bytes.length,
            ...(isLast ? { Connection: 'close' } : {}),
          })
        response.end(bytes, () => resolve())
      })
    })
  }
}
