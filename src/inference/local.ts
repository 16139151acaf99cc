/**
 * The owner's own port: the API of the relays without a relay, for programs on this machine.
 *
 * Any OpenAI client can use it. It listens on loopback, refuses what a web page could slip in
 * (local-access.ts), serves all services (local-route.ts) and answers whatever goes wrong with an error
 * object. A client that hangs up ends its work. Tested by test/inference/local.ts and, with the official
 * client, test/inference/sdk.ts.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { hex } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { assert } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { withDeadline } from '../base/retry.ts'
import { type Ms, ms } from '../base/units.ts'
import { InferenceError } from './errors.ts'
import type { AnswerOptions, Inference } from './inference.ts'
import { Access, type AccessOptions, checkListen } from './local-access.ts'
import { Exchange, type LocalAnswer } from './local-exchange.ts'
import { allowAt, badPath, brokenReply, refusal } from './local-refusals.ts'
import { isListOfAll, joinedList, type LocalService, routed } from './local-route.ts'

export interface LocalServerDeps {
  readonly clock: Clock
  readonly log: Log
  readonly randomBytes: (length: number) => Uint8Array
  readonly inference: Pick<Inference, 'answer'>
}

export interface LocalServerOptions extends AccessOptions {
  /** Another than loopback needs an API key. */
  readonly host: string
  /** 0: any free port. */
  readonly port: number
  /** At least one; the first is meant where a request names none. */
  readonly services: readonly LocalService[]
  /** The longest body; a service may take less. */
  readonly bodyMax: number
  /** Connections, and requests at a time. */
  readonly connectionsMax: number
  /** Bytes of a stream that may wait for a client which does not take them. */
  readonly unsentMax: number
  /** For all headers of one request, and then for the whole request to arrive. */
  readonly headersTimeout: Ms
  readonly receiveTimeout: Ms
  /** For one answer to be made. */
  readonly answerTimeout: Ms
  /** For the client to take the last of it. */
  readonly sendTimeout: Ms
  readonly keepAlive: Ms
  /** How long running requests may go on after `stop`. */
  readonly drainMax: Ms
}

export const LOCAL_SERVER_DEFAULTS = {
  host: '127.0.0.1',
  hostNames: [],
  origins: [],
  bodyMax: 4 * 1024 * 1024,
  connectionsMax: 256,
  unsentMax: 1024 * 1024,
  headersTimeout: ms(10_000),
  receiveTimeout: ms(60_000),
  answerTimeout: ms(600_000),
  sendTimeout: ms(60_000),
  keepAlive: ms(60_000),
  drainMax: ms(10_000),
} satisfies Partial<LocalServerOptions>

const HEADER_BYTES_MAX = 16 * 1024
/** How exactly Node keeps the timeouts of what arrives: it looks this often in each of them. */
const CHECKS = 10
const REQUEST_ID = /^[\w.-]{1,64}$/

export class LocalServer {
  readonly #deps: LocalServerDeps
  readonly #options: LocalServerOptions
  readonly #log: Log
  readonly #access: Access
  readonly #server: Server
  readonly #running = new Set<Exchange>()
  #idle: (() => void) | undefined
  #stopped: Promise<void> | undefined

  constructor(deps: LocalServerDeps, options: LocalServerOptions) {
    assert(options.services.length > 0, 'the local port has a service')
    const { headersTimeout, receiveTimeout, keepAlive, connectionsMax } = options
    this.#deps = deps
    this.#options = options
    this.#log = deps.log.child({ component: 'local' })
    this.#access = new Access(options)
    const serve = (request: IncomingMessage, response: ServerResponse) => {
      void this.#serve(request, response)
    }
    this.#server = createServer({
      maxHeaderSize: HEADER_BYTES_MAX,
      requireHostHeader: false,
      keepAlive: true,
      connectionsCheckingInterval: Math.ceil(Math.min(headersTimeout, receiveTimeout) / CHECKS),
    })
    this.#server.on('request', serve).on('checkContinue', serve).on('checkExpectation', serve)
    this.#server.on('clientError', (error: NodeJS.ErrnoException, socket) =>
      this.#refuse(error, socket as Socket),
    )
    this.#server.maxConnections = connectionsMax
    this.#server.headersTimeout = headersTimeout
    this.#server.requestTimeout = receiveTimeout
    this.#server.keepAliveTimeout = keepAlive
  }

  /**
   * @returns the port, which differs from the option when that was 0
   * @throws LocalError OPEN_TO_OTHERS; the system's error, of a port in use for one
   */
  async listen(): Promise<number> {
    const { host, port, apiKey } = this.#options
    checkListen(host, apiKey)
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen({ host, port }, () => {
        this.#server.off('error', reject)
        resolve()
      })
    })
    this.#server.on('error', (err) => this.#log.warn({ err }, 'local port in trouble'))
    const bound = (this.#server.address() as AddressInfo).port
    this.#log.info({ host, port: bound }, 'local port open')
    return bound
  }

  get inFlight(): number {
    return this.#running.size
  }

  /** Takes no new connection, lets running requests end, cancels what is left at the limit. Idempotent. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop()
    return this.#stopped
  }

  async #stop(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    this.#server.closeIdleConnections()
    if (this.#running.size > 0) {
      const emptied = new AbortController()
      const idle = new Promise<void>((resolve) => {
        this.#idle = resolve
      })
      const limit = this.#deps.clock.sleep(this.#options.drainMax, emptied.signal)
      await Promise.race([idle, limit.catch(() => {})])
      emptied.abort()
      for (const exchange of this.#running) exchange.abort('the local port closes')
    }
    this.#server.closeAllConnections()
    await closed
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { socket } = request
    // What was sent ahead still comes when the connection is closed already.
    if (socket.destroyed) return
    const { clock } = this.#deps
    const { bodyMax, unsentMax, sendTimeout } = this.#options
    const headers = this.#access.headers(request)
    const id = this.#idOf(request)
    const exchange = new Exchange(request, response, { id, bodyMax, unsentMax, headers })
    this.#running.add(exchange)
    // Not the response's own event: the answer to a request sent ahead has no connection yet.
    const gone = () => exchange.abort('the client is gone')
    socket.setMaxListeners(0).once('close', gone)
    const startedAt = clock.monotonic()
    try {
      const answer = await this.#answer(exchange)
      await withDeadline(clock, sendTimeout, exchange.signal, (signal) =>
        exchange.send(answer, signal, this.#stopped !== undefined),
      )
      const durationMs = Math.round(clock.monotonic() - startedAt)
      this.#log.debug({ requestId: id, status: answer.status, durationMs }, 'local request')
    } catch (error) {
      if (!exchange.signal.aborted) this.#log.debug({ err: error }, 'connection lost')
      socket.destroy()
    } finally {
      socket.off('close', gone)
      this.#running.delete(exchange)
      if (this.#running.size === 0) this.#idle?.()
    }
  }

  /** @throws only `signal.reason` and what is a fault of ours */
  async #answer(exchange: Exchange): Promise<LocalAnswer> {
    const { request } = exchange
    const { method = '', url = '' } = request
    try {
      if (this.#running.size > this.#options.connectionsMax)
        throw new InferenceError('BUSY', 'too many requests', { data: { retryAfterSeconds: 1 } })
      this.#access.check(request)
      if (!url.startsWith('/') && url !== '*') throw badPath()
      if (method === 'OPTIONS') {
        const allowed = { Allow: allowAt(url), ...this.#access.preflight(request) }
        return { status: 204, body: new Uint8Array(), headers: allowed }
      }
      const body = await exchange.readBody()
      const answer = await this.#ask(method === 'HEAD' ? 'GET' : method, url, body, exchange)
      return answer.status === 405 ? { ...answer, headers: { Allow: allowAt(url) } } : answer
    } catch (error) {
      if (exchange.signal.aborted || !(error instanceof InferenceError)) throw error
      return refusal(error)
    }
  }

  async #ask(
    method: string,
    url: string,
    body: Uint8Array,
    exchange: Exchange,
  ): Promise<LocalAnswer> {
    const { clock, inference } = this.#deps
    const { services, answerTimeout } = this.#options
    const options: AnswerOptions = {
      signal: exchange.signal,
      deadline: ms(clock.monotonic() + answerTimeout),
      // Nothing of it is ever put into a proof.
      bodyBytesMax: this.#options.bodyMax,
      onEvents: (events) => exchange.sendEvents(events),
    }
    const ask = (service: LocalService, at: string) =>
      inference.answer(service.serviceId, { method, url: at, headers: [], body }, options)
    if (method === 'GET' && isListOfAll(services, url))
      return joinedList(await Promise.all(services.map((service) => ask(service, url))))
    const { service, url: at } = routed(services, { url, body })
    return await ask(service, at)
  }

  /** The client's own, so that it finds it again, or one of ours. */
  #idOf({ headers }: IncomingMessage): string {
    const given = headers['x-request-id']
    if (typeof given === 'string' && REQUEST_ID.test(given)) return given
    return `req_${hex(this.#deps.randomBytes(12))}`
  }

  /** What is not HTTP, too long or too slow to become a request. */
  #refuse(error: NodeJS.ErrnoException, socket: Socket): void {
    const isAnswering = [...this.#running].some(
      (exchange) => exchange.request.socket === socket && exchange.isAnswering,
    )
    if (!socket.writable || isAnswering || error.code === 'ECONNRESET') {
      socket.destroy()
      return
    }
    socket.end(brokenReply(error))
    socket.destroySoon()
  }
}
