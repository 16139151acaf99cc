/**
 * WebSockets at the relay port: who may open one, and how they end together.
 *
 * A handshake promises nothing: its headers are read only to refuse early, in the reply of an ordinary
 * relay, what cannot be served here. Each message is checked as every relay is. A connection is closed
 * when the session of its relays is past its grace period, when it is silent, and when the supplier
 * stops. Nothing is ever compressed: signed bytes hardly shrink, and what a stranger compresses grows.
 * Messages have a memory of their own, so that they cannot keep out requests of HTTP.
 * Source: poktroll pkg/relayer/proxy/async.go, websockets/connection.go.
 * Tests: test/relay/websocket.ts, test/relay/websocket-limits.ts.
 */
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { type ServerOptions, WebSocketServer } from 'ws'
import type { Clock } from '../base/clock.ts'
import { isAbort, SupplierError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { OVER } from '../base/retry.ts'
import { type Height, type Ms, ms } from '../base/units.ts'
import type { Block } from '../chain/blocks.ts'
import type { Params as SharedParams } from '../protocol/gen/pocket/shared/shared.ts'
import { windowsOf } from '../protocol/windows.ts'
import {
  type Attendance,
  Channel,
  type ChannelDeps,
  type ChannelOptions,
  CLOSE,
} from './channel.ts'
import { RelayError } from './errors.ts'
import { errorReply } from './respond.ts'

export interface RelaySocketsDeps {
  readonly clock: Clock
  readonly handler: ChannelDeps['handler']
  readonly blocks: { follow(signal: AbortSignal): AsyncIterable<Block> }
  readonly chain: { sharedParams(at: Height, signal?: AbortSignal): Promise<SharedParams> }
  readonly services: { has(serviceId: string): boolean }
  readonly suppliers: { has(operator: string): boolean }
  readonly log: Log
}

export interface RelaySocketsOptions extends ChannelOptions {
  /** Of one message. */
  readonly messageMax: number
  /** Messages of all connections together that are in memory. */
  readonly messagesBytesMax: number
  /** How often a sign of life is asked for; who gives none until the next time is cut off. */
  readonly beatEvery: Ms
}

export const RELAY_SOCKETS_DEFAULTS: RelaySocketsOptions = {
  messageMax: 20 * 1024 * 1024,
  messagesBytesMax: 128 * 1024 * 1024,
  runningMax: 16,
  waitingMax: 256,
  sendTimeout: ms(60_000),
  strangerMax: ms(120_000),
  beatEvery: ms(27_000),
}

/** A message may come in so many frames, and in so many reads of the network. */
const FRAGMENTS_MAX = 1_024
const PIECES_MAX = 32_768
/** For the other side to close as well. */
const CLOSE_TIMEOUT = 5_000

export class RelaySockets {
  readonly #deps: RelaySocketsDeps
  readonly #options: RelaySocketsOptions
  readonly #server: WebSocketServer
  readonly #channels = new Set<Channel>()
  readonly #ended = new AbortController()
  #held = 0
  #isDraining = false
  #emptied: (() => void) | undefined

  constructor(deps: RelaySocketsDeps, options: RelaySocketsOptions = RELAY_SOCKETS_DEFAULTS) {
    this.#deps = deps
    this.#options = options
    // What a signed message says is no text, whatever kind of frame it comes in.
    const more = { maxFragments: FRAGMENTS_MAX, maxBufferedChunks: PIECES_MAX }
    const settings: ServerOptions = {
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      skipUTF8Validation: true,
      maxPayload: options.messageMax,
      ...more,
      ...{ closeTimeout: CLOSE_TIMEOUT },
    }
    this.#server = new WebSocketServer(settings)
  }

  /** Connections that are open. */
  get size(): number {
    return this.#channels.size
  }

  /** Relays that run. */
  get inFlight(): number {
    let sum = 0
    for (const { inFlight } of this.#channels) sum += inFlight
    return sum
  }

  /** Begins to look after connections. */
  start(): void {
    const { signal } = this.#ended
    for (const loop of [this.#beat(signal), this.#followSessions(signal)])
      loop.catch((err: unknown) => {
        if (!signal.aborted) this.#deps.log.error({ err }, 'WebSockets are not looked after')
      })
  }

  /** Whether this offer to change the protocol is one for a WebSocket; others are for nobody here. */
  isHandshake({ method, headers }: IncomingMessage): boolean {
    const isOffered = headers.upgrade?.toLowerCase() === 'websocket'
    return isOffered && method === 'GET' && headers['sec-websocket-key'] !== undefined
  }

  /** Takes over the connection of a handshake, or refuses it. */
  accept(request: IncomingMessage, stream: Duplex, head: Buffer, attendance: Attendance): void {
    const refusal = this.#refusal(request)
    if (refusal !== undefined) {
      refuse(stream, refusal)
      return
    }
    const { clock, handler, log } = this.#deps
    const { messagesBytesMax, messageMax } = this.#options
    this.#server.handleUpgrade(request, stream, head, (socket) => {
      const hold = (bytes: number) => {
        this.#held += bytes
        return this.#held <= Math.max(messagesBytesMax, 2 * messageMax)
      }
      const closed = () => {
        this.#channels.delete(channel)
        if (this.#channels.size === 0) this.#emptied?.()
      }
      const deps = { clock, handler, log, attendance, hold, closed }
      const channel = new Channel(deps, this.#options, socket, stream)
      this.#channels.add(channel)
    })
  }

  /** Takes no new connection and nothing more on any; resolves when the last has closed. */
  async drain(): Promise<void> {
    this.#isDraining = true
    const emptied = new Promise<void>((resolve) => {
      this.#emptied = resolve
    })
    if (this.#channels.size === 0) this.#emptied?.()
    for (const channel of this.#channels) channel.end(CLOSE.goingAway, 'the supplier is stopping')
    await emptied
  }

  /** Closes what is left at once. Idempotent. */
  stop(): void {
    this.#isDraining = true
    this.#ended.abort(OVER)
    for (const channel of this.#channels) channel.cut(new RelayError('REFUSED', 'stopping'))
  }

  #refusal({ headers }: IncomingMessage): RelayError | undefined {
    const service = headers['target-service-id'] ?? headers['pocket-service-id']
    const supplier = headers['pocket-supplier-address']
    if (this.#isDraining) return new RelayError('REFUSED', 'the supplier is stopping')
    if (service !== undefined && !this.#deps.services.has(String(service)))
      return new RelayError('FOREIGN_SERVICE', `service "${service}" not configured`)
    if (supplier !== undefined && !this.#deps.suppliers.has(String(supplier)))
      return new RelayError('FOREIGN_SUPPLIER', 'not a supplier of this machine')
    return undefined
  }

  async #beat(signal: AbortSignal): Promise<never> {
    for (;;) {
      await this.#deps.clock.sleep(this.#options.beatEvery, signal)
      for (const channel of this.#channels) channel.beat()
    }
  }

  async #followSessions(signal: AbortSignal): Promise<void> {
    for await (const { height } of this.#deps.blocks.follow(signal)) {
      const ends = new Set([...this.#channels].map(({ sessionEnd }) => sessionEnd))
      for (const end of ends) {
        if (end === undefined || !(await this.#isOver(end, height, signal))) continue
        for (const channel of this.#channels)
          if (channel.sessionEnd === end)
            channel.end(CLOSE.sessionEnded, `session ended at ${end}, open another connection`)
      }
    }
  }

  /** Parameters of a height that has not been reached may still change: nothing is asked before it. */
  async #isOver(end: Height, now: Height, signal: AbortSignal): Promise<boolean> {
    if (now <= end) return false
    try {
      return now > windowsOf(end, await this.#deps.chain.sharedParams(end, signal)).graceEnd
    } catch (error) {
      if (isAbort(error, signal) || !(error instanceof SupplierError)) throw error
      // The next block asks again; until then a relay that comes too late is told so by itself.
      this.#deps.log.debug({ err: error }, 'the end of a session is not known')
      return false
    }
  }
}

/** The error reply of an ordinary relay, on a connection that is no server's any more. */
function refuse(stream: Duplex, error: RelayError): void {
  const reply = errorReply(error, undefined)
  const head = [
    'HTTP/1.1 200 OK',
    'Content-Type: application/x-protobuf',
    `Content-Length: ${reply.length}`,
    'Connection: close',
    '\r\n',
  ]
  stream.on('error', () => stream.destroy())
  stream.once('finish', () => stream.destroy())
  stream.end(Buffer.concat([Buffer.from(head.join('\r\n')), reply]))
}

/** A request whose offer to change the protocol is not taken, as it would have come without it. */
export function withoutOffer(request: IncomingMessage, head: Buffer): Buffer {
  const { method, url, httpVersion, rawHeaders } = request
  const lines = [`${method} ${url} HTTP/${httpVersion}`]
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? ''
    if (!/^(connection|upgrade)$/i.test(name)) lines.push(`${name}: ${rawHeaders[at + 1]}`)
  }
  return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), head])
}
