/**
 * Frames over HTTP: in chunks of one response, on a connection that ends with it.
 *
 * Who reads slower than frames come is waited for until so much is unread, and then cut off, as if he had
 * left. Tests: test/relay/streaming.ts.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { FrameSink } from './stream.ts'

/** Bytes that wait to be read. Who joins a stream late is sent what was said before in one go. */
const UNREAD_MAX = 8 * 1024 * 1024

const HEADERS = {
  'Content-Type': 'text/event-stream',
  'Cache-Control': 'no-cache',
  // A proxy in between would collect them.
  'X-Accel-Buffering': 'no',
  Connection: 'close',
} as const

export class HttpFrames implements FrameSink {
  readonly #request: IncomingMessage
  readonly #response: ServerResponse
  readonly #unreadMax: number

  constructor(request: IncomingMessage, response: ServerResponse, unreadMax = UNREAD_MAX) {
    this.#request = request
    this.#response = response
    this.#unreadMax = unreadMax
  }

  get isAsked(): boolean {
    return this.#request.headers['pokt-stream'] === 'batched'
  }

  open(): void {
    this.#response.writeHead(200, HEADERS)
  }

  send(frame: Uint8Array): void {
    const { socket } = this.#request
    if (socket.destroyed) return
    this.#response.write(frame)
    if (this.#response.writableLength > this.#unreadMax) socket.destroy()
  }
}
