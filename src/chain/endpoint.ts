/**
 * One CometBFT node: JSON-RPC by HTTP POST, and whether it can be trusted to answer just now.
 *
 * A plain undici pool instead of cosmjs's HttpClient: that one takes no signal, no deadline and no
 * limit on the answer, and turns the node's error object into text. Status 200 with an error object
 * is an answer; everything else that is not status 200 with JSON-RPC is a failure of the endpoint.
 * Names in logs and errors are host and port: paths and credentials of public endpoints are keys.
 * Tested by test/chain/rpc.ts.
 */
import { Pool } from 'undici'
import { base64, utf8 } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { withDeadline } from '../base/retry.ts'
import { type Bytes, type Height, type Ms, ms } from '../base/units.ts'
import { ChainError } from './errors.ts'
import { FIT, isLeftOut, type Standing } from './standing.ts'
import type { NodeStatus } from './status.ts'

export interface EndpointOptions {
  /** The whole body of an answer; block results of a settlement are the largest. */
  readonly bodyBytesMax: Bytes
  /** Requests in flight at once; more wait. */
  readonly connectionsMax: number
}

/** What the endpoint is doing, for people. */
export interface EndpointHealth {
  readonly name: string
  /** The latest that it claimed; undefined if it was not asked. */
  readonly height: Height | undefined
  readonly state: Standing['state'] | 'no-answer'
  /** Why it is in this state; empty for `ok`. */
  readonly reason: string
  readonly healthy: boolean
  /** Failures since the last answer. */
  readonly failures: number
  readonly lastFailure: string
}

const REST_DOUBLINGS_MAX = 3

export class Endpoint {
  readonly name: string
  /** What it said about itself last. */
  seen: NodeStatus | undefined
  standing: Standing = FIT
  readonly #url: URL
  readonly #clock: Clock
  readonly #options: EndpointOptions
  #pool: Pool | undefined
  #nextId = 1
  #failures = 0
  #lastFailure = ''
  #restingUntil = 0

  constructor(url: string, clock: Clock, options: EndpointOptions) {
    this.#url = new URL(url)
    this.name = this.#url.host
    this.#clock = clock
    this.#options = options
  }

  /** Where blocks are announced: the same host, path `/websocket`. */
  get socketUrl(): string {
    const url = new URL(this.#url)
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:'
    url.pathname = `${url.pathname.replace(/\/$/, '')}/websocket`
    return url.href
  }

  get isResting(): boolean {
    return this.#clock.monotonic() < this.#restingUntil
  }

  get isLeftOut(): boolean {
    return isLeftOut(this.standing)
  }

  get health(): EndpointHealth {
    const silent = this.#failures > 0 && !this.isLeftOut
    const failure = this.#lastFailure.replace(`${this.name}: `, '')
    return {
      name: this.name,
      height: this.seen?.height,
      state: silent ? 'no-answer' : this.standing.state,
      reason: silent ? `no answer: ${failure}` : this.standing.reason,
      healthy: this.#failures === 0,
      failures: this.#failures,
      lastFailure: this.#lastFailure,
    }
  }

  /** Comes last among the endpoints until `rest` has passed, longer for one that fails again and again. */
  failed(reason: string, rest: Ms): void {
    const longer = rest * 2 ** Math.min(this.#failures, REST_DOUBLINGS_MAX)
    this.#failures++
    this.#lastFailure = reason
    this.#restingUntil = this.#clock.monotonic() + longer
  }

  answered(): void {
    this.#failures = 0
    this.#restingUntil = 0
  }

  /**
   * The `result` of one call.
   * @throws ChainError RPC_ERROR or HEIGHT_UNAVAILABLE (the node answered), RPC_UNREACHABLE (it did
   *   not, or not in JSON-RPC), or `signal.reason`
   */
  async call(
    method: string,
    params: Readonly<Record<string, unknown>>,
    limit: Ms,
    signal: AbortSignal | undefined,
  ): Promise<unknown> {
    const id = this.#nextId++
    const body = JSON.stringify({ jsonrpc: '2.0', id, method, params })
    try {
      const text = await withDeadline(this.#clock, limit, signal, (both) => this.#post(body, both))
      return readEnvelope(text, id, method)
    } catch (error) {
      if (signal?.aborted) throw signal.reason
      if (error instanceof ChainError && error.code !== 'RPC_UNREACHABLE') throw error
      const reason = error instanceof Error ? error.message : String(error)
      throw unreachable(`${this.name}: ${reason}`, error)
    }
  }

  async close(): Promise<void> {
    await this.#pool?.destroy()
    this.#pool = undefined
  }

  async #post(body: string, signal: AbortSignal): Promise<string> {
    this.#pool ??= this.#connect()
    const response = await this.#pool.request({
      method: 'POST',
      path: `${this.#url.pathname}${this.#url.search}`,
      headers: { 'content-type': 'application/json', ...this.#credentials() },
      body,
      signal,
    })
    if (response.statusCode !== 200) {
      await response.body.dump({ limit: 65_536, signal })
      throw unreachable(`HTTP status ${response.statusCode}`)
    }
    return await response.body.text()
  }

  #connect(): Pool {
    const { bodyBytesMax, connectionsMax } = this.#options
    return new Pool(this.#url.origin, {
      connections: connectionsMax,
      // A node closes what is idle for 10 s and says nothing of it: a call must not be sent into that.
      keepAliveTimeout: ms(5_000),
      // Deadlines are the caller's, by the injected clock; these only end what nobody waits for.
      headersTimeout: ms(120_000),
      bodyTimeout: ms(120_000),
      maxResponseSize: bodyBytesMax,
    })
  }

  #credentials(): Record<string, string> {
    const { username, password } = this.#url
    if (username === '') return {}
    const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`
    return { authorization: `Basic ${base64(utf8(pair))}` }
  }
}

function readEnvelope(text: string, id: number, method: string): unknown {
  let answer: unknown
  try {
    answer = JSON.parse(text)
  } catch (error) {
    throw unreachable('the answer is not JSON', error)
  }
  if (typeof answer !== 'object' || answer === null) throw unreachable('the answer is no JSON-RPC')
  const {
    id: theirs,
    result,
    error,
  } = answer as { id?: unknown; result?: unknown; error?: unknown }
  if (typeof error === 'object' && error !== null) throw refused(method, error)
  if (theirs !== id || result === undefined) throw unreachable('the answer is no JSON-RPC')
  return result
}

/** CometBFT's `-32603 Internal error` says what it means only in `data`. */
function refused(method: string, error: object): ChainError {
  const { code, message, data } = error as { code?: unknown; message?: unknown; data?: unknown }
  const text = typeof message === 'string' ? message : 'no message'
  const detail = data === undefined ? '' : typeof data === 'string' ? data : JSON.stringify(data)
  const facts = { method, code: typeof code === 'number' ? code : 0, detail }
  const late = /must be less than or equal to the current blockchain height|could not find results/
  const pruned = /is not available, lowest height is|node is not persisting/
  if (late.test(detail) || pruned.test(detail)) {
    const retryable = !pruned.test(detail)
    return new ChainError('HEIGHT_UNAVAILABLE', `${method}: ${detail}`, { data: facts, retryable })
  }
  return new ChainError('RPC_ERROR', `${method}: ${detail === '' ? text : detail}`, { data: facts })
}

/** Nobody answered: the same call may succeed later. */
export function unreachable(reason: string, cause?: unknown): ChainError {
  return new ChainError('RPC_UNREACHABLE', reason, { retryable: true, cause })
}
