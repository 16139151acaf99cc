/**
 * A server that speaks the OpenAI API as a backend: one URL, unstreamed.
 *
 * An upstream is outside: its answer is bounded in size, must be JSON of the right shape, and only
 * what was checked goes on. What is wrong between it and us (credentials, a missing model, its rate
 * limit, any 5xx, a redirect) is never shown as the caller's fault. There is no time-out for headers
 * or body: an unstreamed answer sends its first byte when the last token is there, and the request's
 * signal is the limit. Only checked fields of a request go up: never its headers, and of its unknown
 * fields none but the listed ones. Tested by test/inference/upstream.ts and its contract run there.
 */
import { Pool } from 'undici'
import { utf8 } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { withDeadline } from '../base/retry.ts'
import { type Ms, ms } from '../base/units.ts'
import type {
  BackendInfo,
  BackendStats,
  ChatRequest,
  Completion,
  InferenceBackend,
} from './backend.ts'
import { engineFailed, InferenceError } from './errors.ts'
import { completionOf, refusalOf } from './reply.ts'

export interface UpstreamOptions {
  /** `http://127.0.0.1:8080/v1`; without a path `/v1` is meant. */
  readonly url: string
  /** What the upstream calls the model. */
  readonly model: string
  /** Tokens that one request may use there; what it refuses by itself is reported all the same. */
  readonly contextSize: number
  /** Requests sent at a time. */
  readonly slots: number
  /** Sent with every request: `{ authorization: 'Bearer …' }`. Those of a single hop are dropped. */
  readonly headers?: Readonly<Record<string, string>>
}

export interface UpstreamLimits {
  readonly responseBytesMax: number
  readonly connectTimeout: Ms
  /** For the one question that `start` asks. */
  readonly probeTimeout: Ms
  /** Fields outside the OpenAI API that are sent on where they hold a number, a string or a boolean. */
  readonly forward: readonly string[]
}

export const UPSTREAM_DEFAULTS: UpstreamLimits = {
  responseBytesMax: 8 * 1024 * 1024,
  connectTimeout: ms(5_000),
  probeTimeout: ms(10_000),
  forward: ['top_k', 'min_p', 'repeat_penalty', 'repetition_penalty', 'reasoning_effort'],
}

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

interface Reply {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: Uint8Array
}

export class UpstreamBackend implements InferenceBackend {
  readonly kind = 'upstream'
  readonly #clock: Clock
  readonly #options: UpstreamOptions & UpstreamLimits
  readonly #running = new Set<AbortController>()
  #pool: Pool | undefined
  #state: BackendStats['state'] = 'starting'
  #tokensPerSecond = 0

  constructor(deps: { clock: Clock }, options: UpstreamOptions & Partial<UpstreamLimits>) {
    this.#clock = deps.clock
    this.#options = { ...UPSTREAM_DEFAULTS, ...options }
  }

  /**
   * Asks for the list of models, to see that something answers and takes our credentials.
   * @throws InferenceError ENGINE_FAILED, retryable unless the credentials were refused
   */
  async start(signal?: AbortSignal): Promise<void> {
    if (this.#state === 'stopped') throw stopped()
    this.#pool = new Pool(new URL(this.#options.url).origin, {
      connections: this.#options.slots,
      headersTimeout: 0,
      bodyTimeout: 0,
      connect: { timeout: this.#options.connectTimeout },
    })
    const { status } = await this.#within(signal, (both) =>
      withDeadline(this.#clock, this.#options.probeTimeout, both, (limited) =>
        this.#send('GET', '/models', undefined, limited),
      ),
    )
    if (status === 401 || status === 403)
      throw new InferenceError('ENGINE_FAILED', 'the upstream refused our credentials', {
        data: { upstreamStatus: status },
      })
    this.#state = 'ready'
  }

  info(): BackendInfo {
    const { model, contextSize, slots } = this.#options
    return { kind: this.kind, model, contextSize, slots, device: 'upstream' }
  }

  stats(): BackendStats {
    return {
      active: this.#running.size,
      queued: 0,
      state: this.#state,
      tokensPerSecond: this.#tokensPerSecond,
    }
  }

  async chat(
    request: ChatRequest,
    options: { signal: AbortSignal; onText?: (text: string) => void },
  ): Promise<Completion> {
    options.signal.throwIfAborted()
    if (this.#state !== 'ready') throw stopped()
    if (this.#running.size >= this.#options.slots)
      throw new InferenceError('BUSY', 'every slot of the upstream is taken', { retryable: true })
    const startedAt = this.#clock.monotonic()
    const reply = await this.#within(options.signal, (signal) =>
      this.#send('POST', '/chat/completions', this.#body(request), signal),
    )
    const { model } = this.#options
    if (reply.status < 200 || reply.status > 299)
      throw refusalOf(reply.status, reply.headers, reply.body, model)
    const completion = completionOf(reply.body, request.stop, model)
    this.#note(completion.usage.completionTokens, this.#clock.monotonic() - startedAt)
    if (completion.text !== '') options.onText?.(completion.text)
    return completion
  }

  async stop(): Promise<void> {
    this.#state = 'stopped'
    for (const controller of this.#running) controller.abort(stopped())
    const pool = this.#pool
    this.#pool = undefined
    await pool?.destroy()
  }

  #body(request: ChatRequest): Uint8Array {
    const { model, forward } = this.#options
    const extra = forward.flatMap((name) => {
      const value = request.body[name]
      return ['number', 'string', 'boolean'].includes(typeof value) ? [[name, value] as const] : []
    })
    return utf8(
      JSON.stringify({
        ...Object.fromEntries(extra),
        model,
        messages: request.messages,
        max_tokens: request.maxTokens,
        temperature: request.temperature,
        top_p: request.topP,
        seed: request.seed,
        stop: request.stop.length === 0 ? undefined : request.stop,
        stream: false,
      }),
    )
  }

  /** Runs `work` until the caller or `stop()` ends it. @throws `signal.reason`, InferenceError */
  async #within<T>(
    signal: AbortSignal | undefined,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const controller = new AbortController()
    const abort = () => controller.abort(signal?.reason)
    signal?.addEventListener('abort', abort, { once: true })
    this.#running.add(controller)
    try {
      signal?.throwIfAborted()
      return await work(controller.signal)
    } catch (error) {
      if (controller.signal.aborted) throw controller.signal.reason
      if (error instanceof InferenceError) throw error
      throw engineFailed('the upstream did not answer', error)
    } finally {
      this.#running.delete(controller)
      signal?.removeEventListener('abort', abort)
    }
  }

  async #send(
    method: 'GET' | 'POST',
    path: string,
    body: Uint8Array | undefined,
    signal: AbortSignal,
  ): Promise<Reply> {
    const pool = this.#pool
    if (pool === undefined) throw stopped()
    const response = await pool.request({
      method,
      path: basePathOf(this.#options.url) + path,
      headers: this.#headers(body !== undefined),
      body: body ?? null,
      signal,
    })
    return {
      status: response.statusCode,
      headers: response.headers,
      body: await readBounded(response.body, this.#options.responseBytesMax),
    }
  }

  #headers(hasBody: boolean): Record<string, string> {
    const given = Object.entries(this.#options.headers ?? {})
      .map(([name, value]) => [name.toLowerCase(), value] as const)
      .filter(([name]) => !SINGLE_HOP.has(name))
    return {
      ...Object.fromEntries(given),
      accept: 'application/json',
      'accept-encoding': 'identity',
      ...(hasBody ? { 'content-type': 'application/json' } : {}),
    }
  }

  #note(tokens: number, durationMs: number): void {
    if (durationMs <= 0) return
    const rate = ((tokens * 1_000) / durationMs) * (this.#running.size + 1)
    const before = this.#tokensPerSecond
    this.#tokensPerSecond = before === 0 ? rate : before + 0.2 * (rate - before)
  }
}

function stopped(): InferenceError {
  return new InferenceError('STOPPED', 'the upstream backend is not running', { retryable: true })
}

/** `https://host/v1/` → `/v1`; no path → `/v1`. */
function basePathOf(url: string): string {
  const path = new URL(url).pathname.replace(/\/+$/, '')
  return path === '' ? '/v1' : path
}

async function readBounded(body: AsyncIterable<Uint8Array>, bytesMax: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of body) {
    length += chunk.length
    // Leaving the loop destroys the stream and its connection.
    if (length > bytesMax) throw engineFailed(`the upstream sent more than ${bytesMax} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks, length)
}
