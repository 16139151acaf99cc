/** A WebSocket at the relay port, as a gateway opens it, and frames by hand. */
import { connect, type Socket } from 'node:net'
import { WebSocket } from 'ws'
import { systemClock } from '../../src/base/clock.ts'
import { silentLog } from '../../src/base/log.ts'
import {
  decodeRelayResponse,
  encodeRelayRequest,
  type RelayRequest,
  type RelayResponse,
} from '../../src/protocol/relay.ts'
import {
  RELAY_SERVER_DEFAULTS,
  RelayServer,
  type RelayServerOptions,
} from '../../src/relay/server.ts'
import {
  RELAY_SOCKETS_DEFAULTS,
  RelaySockets,
  type RelaySocketsDeps,
  type RelaySocketsOptions,
} from '../../src/relay/websocket.ts'
import type { Bench } from './relay-bench.ts'
import { SERVICE } from './relay-chain.ts'
import { operator, signed } from './relay-gateway.ts'

interface Received {
  readonly bytes: Buffer
  readonly isBinary: boolean
}

/** Longer than any test waits for the end of a connection. */
const PATIENCE = 10_000

export class Client {
  readonly socket: WebSocket
  readonly opened: Promise<void>
  readonly closed: Promise<readonly [code: number, reason: string]>
  readonly received: Received[] = []
  #woken: (() => void)[] = []

  constructor(port: number, options: ConstructorParameters<typeof WebSocket>[2] = {}) {
    this.socket = new WebSocket(`ws://127.0.0.1:${port}/any/path`, {
      skipUTF8Validation: true,
      ...options,
    })
    this.socket.on('message', (data, isBinary) => {
      this.received.push({ bytes: data as Buffer, isBinary })
      this.#wake()
    })
    this.opened = new Promise((resolve, reject) => {
      this.socket.once('open', resolve)
      this.socket.once('error', reject)
    })
    this.opened.catch(() => {})
    this.closed = new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new RangeError('still open')), PATIENCE)
      this.socket.once('close', (code, reason) => {
        clearTimeout(timer)
        resolve([code, reason.toString()])
        this.#wake()
      })
    })
    this.closed.catch(() => {})
  }

  send(message: RelayRequest | Uint8Array, binary = true): this {
    const bytes = message instanceof Uint8Array ? message : encodeRelayRequest(message)
    this.socket.send(bytes, { binary })
    return this
  }

  /** The answer that comes at this place, from 0. */
  async answer(at: number): Promise<RelayResponse> {
    for (;;) {
      const received = this.received[at]
      if (received !== undefined) return decodeRelayResponse(received.bytes)
      if (this.socket.readyState === WebSocket.CLOSED) throw new RangeError(`no answer ${at}`)
      await new Promise<void>((resolve) => this.#woken.push(resolve))
    }
  }

  #wake(): void {
    for (const wake of this.#woken.splice(0)) wake()
  }
}

export const KEY = 'dGhlIHNhbXBsZSBub25jZQ=='
export const HANDSHAKE = {
  connection: 'Upgrade',
  upgrade: 'websocket',
  'sec-websocket-key': KEY,
  'sec-websocket-version': '13',
}

const CLOSE_FRAME = 0x88

/** A connection on which a test writes frames byte by byte; gone when the other side closes it. */
export async function rawSocket(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  const lines = Object.entries(HANDSHAKE).map(([name, value]) => `${name}: ${value}`)
  socket.write(`GET / HTTP/1.1\r\nHost: x\r\n${lines.join('\r\n')}\r\n\r\n`)
  await new Promise((resolve) => socket.once('data', resolve))
  socket.on('error', () => {})
  socket.on('data', (data: Buffer) => {
    if (data.includes(CLOSE_FRAME)) socket.destroy()
  })
  return socket
}

/** A frame of a client with a mask of zeros; `length` may promise more than there is. */
export function frame(opcode: number, payload: Uint8Array, length = payload.length): Buffer {
  const head = Buffer.alloc(10)
  head[0] = 0x80 | opcode
  head[1] = 0x80 | 127
  head.writeBigUInt64BE(BigInt(length), 2)
  const short = Buffer.from([0x80 | opcode, 0x80 | length])
  return Buffer.concat([length < 126 ? short : head, Buffer.alloc(4), payload])
}

/** A request whose payload is a message and nothing around it. */
export function messageOf(
  b: Bench,
  payload: string | Uint8Array = `{"messages":[],"of":${Math.random()}}`,
  header = b.header(),
): RelayRequest {
  return signed({ ...b.draft(header), payload: Buffer.from(payload) })
}

export interface SocketPort {
  readonly port: number
  readonly server: RelayServer
  readonly sockets: RelaySockets
  readonly open: (headers?: Record<string, string>) => Promise<Client>
}

/** A relay port with WebSockets over everything that a bench has; their time is the bench's. */
export async function openSockets(
  test: { teardown(close: () => Promise<void>): void },
  b: Bench,
  options: Partial<RelaySocketsOptions & RelayServerOptions> = {},
  handler: RelaySocketsDeps['handler'] = b.handler,
): Promise<SocketPort> {
  const log = silentLog()
  const sockets = new RelaySockets(
    {
      clock: b.clock,
      handler,
      blocks: { follow: (signal) => blocksOf(b, signal) },
      chain: b.chain,
      services: new Set([SERVICE, 'other']),
      suppliers: new Set([operator.address as string]),
      log,
    },
    { ...RELAY_SOCKETS_DEFAULTS, ...options },
  )
  const server = new RelayServer(
    { clock: systemClock, handler: b.handler, sockets, log },
    { ...RELAY_SERVER_DEFAULTS, host: '127.0.0.1', port: 0, ...options },
  )
  const port = await server.listen()
  const clients: Client[] = []
  test.teardown(async () => {
    for (const { socket } of clients) socket.terminate()
    await server.stop()
  })
  const open = async (headers: Record<string, string> = {}) => {
    const client = new Client(port, { headers })
    clients.push(client)
    await client.opened
    return client
  }
  return { port, server, sockets, open }
}

async function* blocksOf({ chain }: Bench, signal: AbortSignal) {
  for (let at = chain.head()?.height ?? 1; ; at++)
    yield await chain.waitFor(at as Parameters<typeof chain.waitFor>[0], signal)
}
