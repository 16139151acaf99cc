/** Two ways to knock at the relay port: a decent one, and bytes on a socket. */
import { type Agent, request as httpRequest, type IncomingHttpHeaders } from 'node:http'
import { connect, type Socket } from 'node:net'
import { systemClock } from '../../src/base/clock.ts'
import { silentLog } from '../../src/base/log.ts'
import {
  RELAY_SERVER_DEFAULTS,
  RelayServer,
  type RelayServerDeps,
  type RelayServerOptions,
} from '../../src/relay/server.ts'

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

export interface CallOptions {
  readonly method?: string
  readonly path?: string
  readonly headers?: Record<string, string>
  /** Sent as one piece with its length, or as these chunks without one. */
  readonly body?: Uint8Array | readonly Uint8Array[]
  readonly agent?: Agent
  readonly signal?: AbortSignal
  readonly onContinue?: () => void
}

export function call(port: number, options: CallOptions = {}): Promise<Answer> {
  const { method = 'POST', path = '/', headers = {}, body, agent, signal, onContinue } = options
  const chunks = body instanceof Uint8Array ? undefined : body
  const length = body instanceof Uint8Array ? { 'content-length': String(body.length) } : {}
  const chunked = chunks === undefined ? {} : { 'transfer-encoding': 'chunked' }
  return new Promise((resolve, reject) => {
    const sent = httpRequest(
      {
        port,
        host: '127.0.0.1',
        method,
        path,
        headers: { ...length, ...chunked, ...headers },
        agent: agent ?? false,
        ...(signal === undefined ? {} : { signal }),
      },
      (response) => {
        const parts: Buffer[] = []
        response.on('data', (part: Buffer) => parts.push(part))
        response.on('error', reject)
        response.on('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            body: Buffer.concat(parts),
          }),
        )
      },
    )
    sent.on('error', reject)
    if (onContinue !== undefined) sent.on('continue', onContinue)
    for (const chunk of chunks ?? []) sent.write(chunk)
    sent.end(body instanceof Uint8Array ? body : undefined)
  })
}

/** Longer than any test lets a connection live: one that is still open then was forgotten. */
const PATIENCE = 15_000

/** A socket that keeps what it gets. */
export class Raw {
  readonly socket: Socket
  readonly closed: Promise<void>
  received = Buffer.alloc(0)
  isClosed = false
  #changed: (() => void)[] = []

  constructor(port: number) {
    this.socket = connect(port, '127.0.0.1')
    this.socket.on('error', () => {})
    this.socket.on('data', (data: Buffer) => {
      this.received = Buffer.concat([this.received, data])
      this.#wake()
    })
    this.closed = new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(new RangeError(`still open after ${PATIENCE} ms: ${this.text.slice(0, 200)}`))
        this.socket.destroy()
      }, PATIENCE)
      this.socket.once('close', () => {
        clearTimeout(timer)
        this.isClosed = true
        this.#wake()
        resolve()
      })
    })
    this.closed.catch(() => {})
  }

  get text(): string {
    return this.received.toString('latin1')
  }

  write(data: string | Uint8Array): this {
    this.socket.write(data)
    return this
  }

  /** A whole request, with its length. */
  send(body: Uint8Array, method = 'POST', headers = ''): this {
    const head = `${method} / HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n${headers}\r\n`
    return this.write(Buffer.concat([Buffer.from(head), body]))
  }

  /** Resolves as soon as it is so; rejects if the connection closes before. */
  async sees(holds: (text: string) => boolean): Promise<void> {
    while (!holds(this.text)) {
      if (this.isClosed) throw new RangeError(`closed after: ${this.text.slice(0, 200)}`)
      await new Promise<void>((resolve) => this.#changed.push(resolve))
    }
  }

  #wake(): void {
    for (const wake of this.#changed.splice(0)) wake()
  }
}

export interface Port {
  readonly server: RelayServer
  readonly port: number
}

/** A relay port on a free port, stopped with the test. */
export async function open(
  test: { teardown(close: () => Promise<void>): void },
  handler: RelayServerDeps['handler'],
  options: Partial<RelayServerOptions> = {},
  deps: Partial<Pick<RelayServerDeps, 'clock' | 'log' | 'sockets'>> = {},
): Promise<Port> {
  const { clock = systemClock, log = silentLog(), ...more } = deps
  const server = new RelayServer(
    { clock, handler, log, ...more },
    { ...RELAY_SERVER_DEFAULTS, host: '127.0.0.1', port: 0, ...options },
  )
  const port = await server.listen()
  test.teardown(() => server.stop())
  return { server, port }
}

/** Answers with what it got, or as told; counts, and knows whether it was told to drain. */
export class FakeHandler {
  readonly bodies: Uint8Array[] = []
  readonly signals: AbortSignal[] = []
  draining = 0
  reply: (body: Uint8Array, signal: AbortSignal) => Promise<Uint8Array> = async (body) => body

  handle(body: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    this.bodies.push(body)
    this.signals.push(signal)
    return this.reply(body, signal)
  }

  drain(): void {
    this.draining++
  }
}
