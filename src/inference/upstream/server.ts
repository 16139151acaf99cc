/**
 * One upstream server: its connections, what is in flight there, and whether it can be trusted just now.
 *
 * There is no time-out for headers or body: an answer may begin after minutes, and requests carry their
 * own deadline. Names in logs and errors are host and port: paths and credentials are secrets. Tested by
 * test/inference/upstream/servers.ts.
 */
import { Readable } from 'node:stream'
import { Pool } from 'undici'
import type { Clock } from '../../base/clock.ts'
import { withDeadline } from '../../base/retry.ts'
import { type Ms, ms } from '../../base/units.ts'
import type { ServerStats } from '../backend.ts'
import { engineFailed, InferenceError } from '../errors.ts'
import { Breaker } from './breaker.ts'
import type { UpstreamEndpoint, UpstreamLimits } from './options.ts'
import { type Headers, refusalOf } from './refusal.ts'

/** Headers that belong to one connection, or that are made anew for each request. */
const SINGLE_HOP = new Set([
  'connection',
  'content-length',
  'expect',
  'host',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])
/** What is read of an answer that says no. */
const REFUSAL_BYTES_MAX = 64 * 1024
/** Shorter than what servers wait for: a request on a connection that they close meanwhile is lost. */
const KEEP_ALIVE = ms(4_000)

/** What the server is doing, for people. */
export interface Reply {
  readonly headers: Headers
  readonly body: AsyncIterable<Uint8Array>
}

export interface Question {
  readonly method: 'GET' | 'POST'
  /** Below the URL's path; with two slashes in front below the host. */
  readonly path: string
  readonly body?: Uint8Array
}

export type ServerLimits = Pick<
  UpstreamLimits,
  'connectTimeout' | 'healthPath' | 'healthTimeout' | 'breaker' | 'responseBytesMax'
>

export class UpstreamServer {
  readonly name: string
  readonly slots: number
  /** What it calls the model. */
  readonly model: string
  readonly #clock: Clock
  readonly #url: URL
  readonly #headers: Readonly<Record<string, string>>
  readonly #limits: ServerLimits
  readonly #breaker: Breaker
  readonly #pool: Pool
  #inFlight = 0
  #isHealthy = false
  #preferredAfter: Ms
  #lastFailure: string | undefined

  constructor(
    deps: { clock: Clock },
    endpoint: UpstreamEndpoint & { readonly model: string },
    limits: ServerLimits,
  ) {
    this.#clock = deps.clock
    this.#url = new URL(endpoint.url)
    this.name = this.#url.host
    this.slots = endpoint.slots
    this.model = endpoint.model
    this.#headers = headersOf(endpoint.headers ?? {})
    this.#limits = limits
    this.#breaker = new Breaker(deps, limits.breaker)
    this.#preferredAfter = deps.clock.monotonic()
    this.#pool = new Pool(this.#url.origin, {
      // One more for the question whether it is well.
      connections: endpoint.slots + 1,
      headersTimeout: 0,
      bodyTimeout: 0,
      keepAliveTimeout: KEEP_ALIVE,
      connect: { timeout: limits.connectTimeout },
    })
  }

  get inFlight(): number {
    return this.#inFlight
  }

  /** Whether requests are sent there at all just now. */
  get isUp(): boolean {
    return this.#isHealthy && this.#breaker.allows
  }

  /** Whether it said lately that it is full. */
  get isResting(): boolean {
    return this.#clock.monotonic() < this.#preferredAfter
  }

  get restLeft(): Ms {
    return this.#breaker.restLeft
  }

  report(): ServerStats {
    const { state, restLeft } = this.#breaker
    return {
      name: this.name,
      state: state !== 'closed' ? state : this.#isHealthy ? 'ok' : 'unhealthy',
      ...(state === 'open' ? { restMs: restLeft } : {}),
      inFlight: this.#inFlight,
      slots: this.slots,
      ...(this.#lastFailure === undefined ? {} : { lastFailure: this.#lastFailure }),
    }
  }

  /** Runs one request there and keeps account of how it ended. */
  async run<T>(work: () => Promise<T>, isOver: () => boolean): Promise<T> {
    this.#inFlight++
    this.#breaker.begin()
    try {
      const result = await work()
      this.#breaker.succeeded()
      return result
    } catch (error) {
      this.#note(error, isOver())
      throw error
    } finally {
      this.#inFlight--
    }
  }

  /** A deadline passed and not a word had come: that is its failure, although nobody says so. */
  wasSilent(): void {
    this.#failed('SILENT')
  }

  /**
   * Sends a question.
   * @throws InferenceError: what a status other than 2xx means; ENGINE_FAILED, with `data.sent` false where
   *   surely no byte of it left; `signal.reason`
   */
  async send({ method, path, body }: Question, signal: AbortSignal): Promise<Reply> {
    const progress = { sent: false }
    try {
      const response = await this.#pool.request({
        method,
        path: path.startsWith('//') ? path.slice(1) : basePathOf(this.#url) + path,
        headers: {
          ...this.#headers,
          accept: 'application/json, text/event-stream',
          'accept-encoding': 'identity',
          ...(body === undefined
            ? {}
            : { 'content-type': 'application/json', 'content-length': String(body.length) }),
        },
        body: body === undefined ? null : Readable.from(noticed(body, progress)),
        signal,
      })
      const { statusCode, headers } = response
      const stream = bounded(response.body, this.#limits.responseBytesMax)
      if (statusCode >= 200 && statusCode <= 299) return { headers, body: stream }
      const told = await readAll(bounded(response.body, REFUSAL_BYTES_MAX)).catch(() => NOTHING)
      throw refusalOf(statusCode, headers, told, this.model)
    } catch (error) {
      if (signal.aborted) throw signal.reason
      if (error instanceof InferenceError) throw error
      throw unreached(error, progress.sent)
    }
  }

  /** Asks whether it is well. @throws what `send` throws, or a deadline's error */
  async check(signal: AbortSignal): Promise<Uint8Array> {
    const { healthTimeout, healthPath } = this.#limits
    try {
      const body = await withDeadline(this.#clock, healthTimeout, signal, async (limited) => {
        const question = { method: 'GET', path: healthPath } as const
        return await readAll((await this.send(question, limited)).body)
      })
      this.#isHealthy = true
      return body
    } catch (error) {
      // A list of models that is not there says nothing about the rest.
      const status = error instanceof InferenceError ? error.data['upstreamStatus'] : undefined
      this.#isHealthy = status === 404 || status === 405
      if (this.#isHealthy) return NOTHING
      this.#lastFailure = failureOf(error)
      throw error
    }
  }

  async close(): Promise<void> {
    await this.#pool.destroy()
  }

  #note(error: unknown, isOver: boolean): void {
    const isOurs = error instanceof InferenceError
    const status = isOurs ? error.data['upstreamStatus'] : undefined
    if (isOurs && error.code === 'BUSY') {
      const seconds = Number(error.data['retryAfterSeconds'] ?? 1)
      this.#preferredAfter = ms(this.#clock.monotonic() + seconds * 1_000)
    }
    const isBroken = isOurs && error.code === 'ENGINE_FAILED' && error.data['kept'] !== false
    if (isOurs && !isOver && (isBroken || status === 503)) this.#failed(failureOf(error))
    else this.#breaker.left()
  }

  #failed(reason: string): void {
    this.#lastFailure = reason
    this.#breaker.failed()
  }
}

const NOTHING = new Uint8Array()

/** The body as a stream, since only the connection knows when it takes the first bytes. */
async function* noticed(body: Uint8Array, progress: { sent: boolean }): AsyncGenerator<Uint8Array> {
  progress.sent = true
  yield body
}

function unreached(error: unknown, sent: boolean): InferenceError {
  const failed = engineFailed('the upstream did not answer', error)
  if (sent) return failed
  return new InferenceError('ENGINE_FAILED', 'the upstream could not be reached', {
    data: { ...failed.data, sent: false },
    retryable: true,
    cause: error,
  })
}

/** Without any text of theirs. */
function failureOf(error: unknown): string {
  if (!(error instanceof InferenceError)) return 'DEADLINE'
  const { detail, upstreamStatus } = error.data
  if (typeof detail === 'string') return detail
  return upstreamStatus === undefined ? error.message : `status ${upstreamStatus}`
}

/** `https://host/v1/` → `/v1`; no path → `/v1`. */
function basePathOf(url: URL): string {
  const path = url.pathname.replace(/\/+$/, '')
  return path === '' ? '/v1' : path
}

function headersOf(given: Readonly<Record<string, string>>): Record<string, string> {
  const named = Object.entries(given).map(([name, value]) => [name.toLowerCase(), value] as const)
  return Object.fromEntries(named.filter(([name]) => !SINGLE_HOP.has(name)))
}

/** Leaving the loop destroys the stream and its connection. */
async function* bounded(
  body: AsyncIterable<Uint8Array>,
  bytesMax: number,
): AsyncGenerator<Uint8Array> {
  let length = 0
  for await (const chunk of body) {
    length += chunk.length
    if (length > bytesMax) throw engineFailed(`the upstream sent more than ${bytesMax} bytes`)
    yield chunk
  }
}

export async function readAll(body: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  for await (const chunk of body) chunks.push(chunk)
  return Buffer.concat(chunks)
}
