/**
 * One WebSocket of a gateway: each message is a relay, each relay has one answer.
 *
 * Relays run beside each other and are answered in the order in which they came: nothing in an answer
 * names its request, so the order is all that a gateway can tell them apart by, as with requests sent
 * ahead over HTTP. An answer goes in the kind of frame that its request came in: gateways keep the kind
 * for their own client, and so put relays into text frames too, which are then no text.
 * All relays of a connection are of the session of the first. One that is not, or is not authorised,
 * gets its reply, and is the last. What has begun when a connection ends is still answered, what has not
 * is dropped. Source: poktroll pkg/relayer/proxy/websockets/bridge.go. Tests: test/relay/websocket.ts,
 * test/relay/websocket-limits.ts.
 */
import { setMaxListeners } from 'node:events'
import type { Duplex } from 'node:stream'
import type { WebSocket } from 'ws'
import { following } from '../base/abort.ts'
import { utf8 } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import { BoundedQueue } from '../base/queue.ts'
import { withDeadline } from '../base/retry.ts'
import { type Height, height, type Ms } from '../base/units.ts'
import type { RelayRequest, SessionHeader } from '../protocol/relay.ts'
import { sameHeader } from '../protocol/session.ts'
import type { Carrier } from './carrier.ts'
import { type RelayCode, RelayError, wireError } from './errors.ts'

/** Close codes: those of RFC 6455 7.4.1, and from 4000 those that gateways of the network know. */
export const CLOSE = {
  /** The supplier stops. */
  goingAway: 1001,
  /** A rule of ours was broken. */
  policy: 1008,
  /** There is no room now. */
  tryLater: 1013,
  sessionEnded: 4000,
  /** A relay was not authorised, or is of another session. */
  rejected: 4001,
} as const

/** What the port knows of a connection: how many of its relays are not answered yet. */
export interface Attendance {
  /** False: it has too many, or is to go. */
  begin(): boolean
  end(): void
}

export interface ChannelDeps {
  readonly clock: Clock
  readonly handler: {
    handle(bytes: Uint8Array, signal: AbortSignal, carrier: Carrier): Promise<Uint8Array>
  }
  readonly log: Log
  readonly attendance: Attendance
  /** Counts bytes that are held, or given back when negative. False: there is no room for them. */
  readonly hold: (bytes: number) => boolean
  /** Called once, when it is closed and nothing of it runs any more. */
  readonly closed: () => void
}

export interface ChannelOptions {
  /** Relays that run at a time. */
  readonly runningMax: number
  /** Messages that wait for one of them to end. */
  readonly waitingMax: number
  /** For the gateway to take an answer. */
  readonly sendTimeout: Ms
  /** Without an authorised relay a connection is kept so long. */
  readonly strangerMax: Ms
}

interface Message {
  readonly bytes: Uint8Array
  readonly isBinary: boolean
}

/** So many wait when nothing more is read; what was read already must still find room. */
const FULL = 1 / 8
/** What a message costs besides its bytes. */
const MESSAGE_OVERHEAD = 1_024
/** Header and mask of a ping or pong. */
const CONTROL_OVERHEAD = 6
/** After these the next relay of the same gateway may be a good one. */
const PASSING: ReadonlySet<RelayCode> = new Set(['REPLAYED', 'CHAIN_SILENT', 'REFUSED', 'ENGINE'])

export class Channel {
  readonly #deps: ChannelDeps
  readonly #options: ChannelOptions
  readonly #socket: WebSocket
  readonly #openedAt: Ms
  /** Aborts when the connection is gone, or is cut. */
  readonly #controller = new AbortController()
  readonly #waiting: BoundedQueue<Message>
  #running = 0
  /** Resolves when the answer before the next one has been sent. Never rejects. */
  #last: Promise<void> = Promise.resolve()
  /** Bytes of a message that is not here to its end. */
  #partial = 0
  #messages = 0
  /** The count of messages when an unfinished one was seen at a beat. */
  #unfinishedAt: number | undefined
  #header: SessionHeader | undefined
  #isKnown = false
  #isAlive = true
  #isClosed = false
  #ending: { readonly code: number; readonly reason: string } | undefined

  /** @param stream what `socket` reads from */
  constructor(deps: ChannelDeps, options: ChannelOptions, socket: WebSocket, stream: Duplex) {
    this.#deps = deps
    this.#options = options
    this.#socket = socket
    this.#openedAt = deps.clock.monotonic()
    this.#waiting = new BoundedQueue(options.waitingMax)
    // Two for each relay that runs.
    setMaxListeners(0, this.#controller.signal)
    // Before the socket's own listener, which makes messages of it.
    stream.prependListener('data', (piece: Buffer) => this.#arrived(piece.length))
    socket.on('message', (data, isBinary) => this.#receive(data as Buffer, isBinary))
    socket.on('ping', (data) => this.#passed(data.length + CONTROL_OVERHEAD))
    socket.on('pong', (data) => this.#passed(data.length + CONTROL_OVERHEAD))
    socket.on('error', (err) => deps.log.debug({ err }, 'socket failed'))
    socket.once('close', () => this.#close())
  }

  get inFlight(): number {
    return this.#running
  }

  /** Of the session that its relays are of; undefined before the first good one. */
  get sessionEnd(): Height | undefined {
    const end = this.#isKnown ? this.#header?.sessionEndBlockHeight : undefined
    return end === undefined ? undefined : height(end)
  }

  /** Takes nothing more, answers what has begun, then closes. The first call decides. */
  end(code: number, reason: string): void {
    if (this.#ending !== undefined) return
    this.#ending = { code, reason: closeReason(reason) }
    this.#drop()
    this.#socket.resume()
    this.#go()
  }

  /** Closes at once; what runs is cancelled. */
  cut(reason: unknown): void {
    this.#controller.abort(reason)
    this.#socket.terminate()
  }

  /** Asks for a sign of life, and closes what gave none since the last time, or has made us wait. */
  beat(): void {
    // Nobody is heard while nothing is read; an answer that is not taken has its own limit.
    if (this.#socket.isPaused) return
    if (!this.#isAlive) {
      this.#socket.terminate()
      return
    }
    const age = this.#deps.clock.monotonic() - this.#openedAt
    const isStranger = !this.#isKnown && this.#running === 0
    if (isStranger && age >= this.#options.strangerMax) this.end(CLOSE.policy, 'no relay came')
    const isUnfinished = this.#partial > 0
    if (isUnfinished && this.#unfinishedAt === this.#messages)
      this.end(CLOSE.policy, 'a message did not come to its end')
    this.#unfinishedAt = isUnfinished ? this.#messages : undefined
    this.#isAlive = false
    this.#socket.ping()
  }

  #arrived(bytes: number): void {
    this.#isAlive = true
    if (this.#ending !== undefined) return
    this.#partial += bytes
    if (!this.#deps.hold(bytes)) this.end(CLOSE.tryLater, 'too many messages in memory')
  }

  /** Bytes that came and are not part of a message. */
  #passed(bytes: number): void {
    const counted = Math.min(bytes, this.#partial)
    this.#partial -= counted
    this.#deps.hold(-counted)
  }

  #receive(bytes: Uint8Array, isBinary: boolean): void {
    this.#messages++
    if (this.#ending !== undefined) return
    this.#passed(this.#partial)
    const hasRoom = this.#deps.hold(bytes.length + MESSAGE_OVERHEAD)
    if (hasRoom && this.#waiting.push({ bytes, isBinary })) {
      this.#go()
      return
    }
    this.#deps.hold(-(bytes.length + MESSAGE_OVERHEAD))
    if (hasRoom) this.end(CLOSE.policy, 'too many messages at once')
    else this.end(CLOSE.tryLater, 'too many messages in memory')
  }

  #go(): void {
    const socket = this.#socket
    while (this.#running < this.#options.runningMax) {
      const message = this.#waiting.shift()
      if (message === undefined) break
      this.#running++
      this.#last = this.#serve(message, this.#last)
    }
    if (this.#waiting.size >= this.#options.waitingMax * FULL) socket.pause()
    else if (socket.isPaused && this.#waiting.size === 0) socket.resume()
    if (this.#ending === undefined || this.#running > 0) return
    if (this.#isClosed) this.#deps.closed()
    else socket.close(this.#ending.code, this.#ending.reason)
  }

  async #serve({ bytes, isBinary }: Message, before: Promise<void>): Promise<void> {
    const { attendance, hold, log } = this.#deps
    const { signal } = this.#controller
    const isCounted = attendance.begin()
    try {
      if (!isCounted) throw new RelayError('REFUSED', 'too many relays on one connection')
      const answer = await this.#answer(bytes)
      await before
      await this.#send(answer, isBinary)
    } catch (error) {
      if (!signal.aborted) log.debug({ err: error }, 'connection lost')
      this.#socket.terminate()
    } finally {
      if (isCounted) attendance.end()
      hold(-(bytes.length + MESSAGE_OVERHEAD))
      this.#running--
      this.#go()
    }
  }

  async #answer(bytes: Uint8Array): Promise<Uint8Array> {
    let isKnown = true
    // A signal for each relay: what waits for one must leave nothing on the connection's.
    using gone = following(this.#controller.signal)
    const answer = await this.#deps.handler.handle(bytes, gone.signal, {
      form: 'bare',
      admit: (request) => this.#pin(request),
      rejected: ({ code, message }) => {
        isKnown = false
        if (PASSING.has(code)) return
        const why = code === 'EXPIRED' ? CLOSE.sessionEnded : CLOSE.rejected
        this.end(why, wireError(code, message).message)
      },
    })
    if (isKnown) this.#isKnown = true
    return answer
  }

  /** @throws RelayError SESSION_MISMATCH */
  #pin({ meta }: RelayRequest): void {
    const header = meta?.sessionHeader
    if (header === undefined) return
    this.#header ??= header
    if (!sameHeader(this.#header, header))
      throw new RelayError('SESSION_MISMATCH', 'this connection is of another session')
  }

  /** Resolves when the last byte was handed to the system. @throws BaseError DEADLINE, `signal.reason` */
  #send(answer: Uint8Array, isBinary: boolean): Promise<void> {
    const { signal } = this.#controller
    return withDeadline(this.#deps.clock, this.#options.sendTimeout, signal, (both) => {
      both.throwIfAborted()
      return new Promise((resolve, reject) => {
        both.addEventListener('abort', () => reject(both.reason), { once: true })
        this.#socket.send(answer, { binary: isBinary }, (error) =>
          error instanceof Error ? reject(error) : resolve(),
        )
      })
    })
  }

  #drop(): void {
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift())
      this.#deps.hold(-(next.bytes.length + MESSAGE_OVERHEAD))
    this.#passed(this.#partial)
  }

  #close(): void {
    this.#ending ??= { code: CLOSE.goingAway, reason: '' }
    this.#isClosed = true
    this.#drop()
    this.#controller.abort(new RelayError('REFUSED', 'the client is gone'))
    this.#go()
  }
}

const REASON_BYTES_MAX = 123

/** What fits into a close frame, cut between two characters. */
export function closeReason(text: string): string {
  const bytes = utf8(text)
  if (bytes.length <= REASON_BYTES_MAX) return text
  // A character that is cut decodes to nothing in a stream that goes on.
  return new TextDecoder().decode(bytes.subarray(0, REASON_BYTES_MAX), { stream: true })
}
