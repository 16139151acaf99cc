/**
 * One request at the owner's port and its answer, as bytes of HTTP: limits on what comes and on what
 * waits to be taken. Tested by test/inference/local.ts.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { InferenceError } from './errors.ts'
import type { InferenceAnswer } from './inference.ts'

export interface LocalAnswer
  extends Pick<InferenceAnswer, 'status' | 'body' | 'retryAfterSeconds'> {
  /** Absent: there is no body. */
  readonly contentType?: string
  readonly headers?: Readonly<Record<string, string>>
}

export interface ExchangeOptions {
  readonly id: string
  readonly bodyMax: number
  /** Bytes of a stream that may wait for a client which does not take them. */
  readonly unsentMax: number
  /** Of every answer. */
  readonly headers: Readonly<Record<string, string>>
}

export class Exchange {
  readonly request: IncomingMessage
  readonly #response: ServerResponse
  readonly #options: ExchangeOptions
  readonly #controller = new AbortController()

  constructor(request: IncomingMessage, response: ServerResponse, options: ExchangeOptions) {
    this.request = request
    this.#response = response
    this.#options = options
  }

  /** Aborted when the client is gone or `abort` is called. */
  get signal(): AbortSignal {
    return this.#controller.signal
  }

  get id(): string {
    return this.#options.id
  }

  /** Whether the answer has begun, so that no other can be sent. */
  get isAnswering(): boolean {
    return this.#response.headersSent
  }

  abort(why: string): void {
    this.#controller.abort(new InferenceError('STOPPED', why, { retryable: true }))
  }

  /**
   * The whole body. What goes beyond the limit is let pass until the sender has ended or its time is over,
   * so that the connection lives on and the sender hears the answer.
   * @throws InferenceError TOO_LARGE, BAD_REQUEST (415); `signal.reason`
   */
  async readBody(): Promise<Uint8Array> {
    const { request, signal } = this
    const { bodyMax } = this.#options
    const { expect, 'content-length': announced = '0' } = request.headers
    checkEncoding(request)
    if (Number(announced) > bodyMax) throw tooLarge(bodyMax)
    if (expect !== undefined) this.#response.writeContinue()
    const body = new Growing(bodyMax)
    return await new Promise((resolve, reject) => {
      const end = () => resolve(body.bytes)
      const take = (piece: Buffer) => {
        if (body.add(piece)) return
        fail(tooLarge(bodyMax))
        request.resume()
      }
      const fail = (error: unknown) => {
        request.off('data', take).off('end', end)
        reject(error)
      }
      const gone = () => fail(signal.reason)
      signal.addEventListener('abort', gone, { once: true })
      request.on('data', take).once('end', end).once('error', fail)
      if (signal.aborted) gone()
    })
  }

  /**
   * Events of a stream, at once. The engine does not wait for a client: one that leaves too much untaken
   * is let go, and with it the work.
   */
  sendEvents(events: string): void {
    const response = this.#response
    if (this.signal.aborted || response.destroyed) return
    if (!response.headersSent)
      response.writeHead(200, {
        ...this.#headers(),
        'Content-Type': 'text/event-stream',
        'Cache-Control': 'no-cache, no-transform',
        'X-Accel-Buffering': 'no',
      })
    response.write(events)
    if (response.writableLength > this.#options.unsentMax) this.abort('the client does not read')
  }

  /** Resolves when the last byte was handed to the system. @throws `signal.reason` */
  send(answer: LocalAnswer, signal: AbortSignal, isLast: boolean): Promise<void> {
    const response = this.#response
    return new Promise((resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { once: true })
      signal.throwIfAborted()
      response.once('error', reject)
      if (response.headersSent) {
        response.end(() => resolve())
        return
      }
      const { status, contentType, body, retryAfterSeconds, headers } = answer
      // A client that waits for leave to send its body may now send it, or may not.
      const isUnread = this.request.headers.expect !== undefined && !this.request.complete
      response.writeHead(status, {
        ...this.#headers(),
        ...headers,
        ...(contentType === undefined
          ? {}
          : { 'Content-Type': contentType, 'Content-Length': body.length }),
        ...(retryAfterSeconds === undefined ? {} : { 'Retry-After': retryAfterSeconds }),
        ...(isLast || isUnread ? { Connection: 'close' } : {}),
      })
      response.end(body, () => resolve())
    })
  }

  #headers(): Readonly<Record<string, string>> {
    return { 'X-Request-Id': this.id, ...this.#options.headers }
  }
}

function checkEncoding({ headers }: IncomingMessage): void {
  const { 'content-encoding': content = 'identity', 'transfer-encoding': transfer = 'chunked' } =
    headers
  if (content.toLowerCase() === 'identity' && transfer.toLowerCase() === 'chunked') return
  throw new InferenceError('BAD_REQUEST', 'Bodies are taken as they are, not compressed.', {
    data: { status: 415, reason: 'unsupported_encoding', param: 'content-encoding' },
  })
}

function tooLarge(bodyMax: number): InferenceError {
  return new InferenceError('TOO_LARGE', `At most ${bodyMax} bytes of a body are taken.`)
}

/** One buffer that grows by doubling, since a piece of one byte would be an object of two hundred. */
class Growing {
  readonly #max: number
  #buffer = Buffer.alloc(0)
  #size = 0

  constructor(max: number) {
    this.#max = max
  }

  get bytes(): Uint8Array {
    return new Uint8Array(this.#buffer.buffer, this.#buffer.byteOffset, this.#size)
  }

  /** False: it would be too large. */
  add(piece: Buffer): boolean {
    const size = this.#size + piece.length
    if (size > this.#max) return false
    if (size > this.#buffer.length) {
      const wider = Buffer.allocUnsafeSlow(Math.min(this.#max, Math.max(size, 2 * this.#size)))
      this.#buffer.copy(wider, 0, 0, this.#size)
      this.#buffer = wider
    }
    piece.copy(this.#buffer, this.#size)
    this.#size = size
    return true
  }
}
