/**
 * CometBFT JSON-RPC over one or several nodes of the same chain.
 *
 * Endpoints stand in order of preference. A call makes one round: each endpoint gets its share of the
 * time that is left, and the next is asked when one does not answer (transport error, timeout, a
 * status other than 200, something that is not JSON-RPC). A refusal is an answer and ends the round.
 * An endpoint that failed comes last until its rest is over, then it is preferred again.
 *
 * What is taken from cosmjs: signing documents (chain/tx.ts), nanosecond times, encodings. Its RPC
 * clients are not: they take neither signal nor deadline nor limit, keep their own timers, and their
 * checks do not say which field was wrong. test/chain/rpc.ts runs Comet38Client over the same
 * recordings and compares.
 *
 * In the POST form every int64 parameter is a JSON string; errors come with status 200.
 * Source: cometbft rpc/core, rpc/jsonrpc; cosmos-sdk baseapp/abci.go (query errors).
 * Tested by test/chain/rpc.ts.
 */
import { hex } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { assert } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { type Bytes, type Height, type Ms, ms } from '../base/units.ts'
import { Endpoint, type EndpointHealth, type EndpointOptions, unreachable } from './endpoint.ts'
import { ChainError } from './errors.ts'
import { Json } from './json.ts'

export interface RpcDeps {
  readonly clock: Clock
  readonly random: () => number
  readonly log: Log
}

export interface RpcOptions extends EndpointOptions {
  /** `http(s)://host[:port][/path]`, best first, all of one chain. */
  readonly endpoints: readonly string[]
  /** For one call, all endpoints together. */
  readonly timeout: Ms
  /** How long an endpoint that failed comes last; up to half less by chance. */
  readonly rest: Ms
}

export const RPC_DEFAULTS = {
  timeout: ms(15_000),
  rest: ms(30_000),
  bodyBytesMax: (100 * 1024 * 1024) as Bytes,
  connectionsMax: 8,
} satisfies Omit<RpcOptions, 'endpoints'>

/** What a node says about itself. */
export interface NodeStatus {
  readonly chainId: string
  /** The latest block the node has. Its state may still be one block behind. */
  readonly height: Height
  readonly hash: Uint8Array
  /** The latest block's time, unix milliseconds. */
  readonly time: Ms
  /** True while the node replays old blocks: nothing it says is about now. */
  readonly catchingUp: boolean
  /** The oldest block the node still has. */
  readonly earliest: Height
  /** CometBFT's release, for people. */
  readonly version: string
}

/** Codes of `abci_query`, codespace `sdk`. */
const ABCI = { NOT_FOUND: 22, FUTURE: 26, PRUNED: 38 } as const

export class Rpc {
  readonly #deps: RpcDeps
  readonly #options: RpcOptions
  readonly #endpoints: readonly Endpoint[]

  constructor(
    deps: RpcDeps,
    options: Pick<RpcOptions, 'endpoints'> & Partial<Omit<RpcOptions, 'endpoints'>>,
  ) {
    this.#deps = deps
    this.#options = { ...RPC_DEFAULTS, ...options }
    assert(options.endpoints.length > 0, 'at least one RPC endpoint')
    this.#endpoints = options.endpoints.map((url) => new Endpoint(url, deps.clock, this.#options))
  }

  get endpointCount(): number {
    return this.#endpoints.length
  }

  /** WebSocket addresses, in order of preference. */
  get socketUrls(): readonly string[] {
    return this.#endpoints.map((endpoint) => endpoint.socketUrl)
  }

  /** In order of preference; for status pages. */
  get health(): readonly EndpointHealth[] {
    return this.#endpoints.map((endpoint) => endpoint.health)
  }

  /**
   * One JSON-RPC call; the result is unchecked (read it with `Json`).
   * @throws ChainError RPC_UNREACHABLE (retryable), RPC_ERROR (data.code, data.detail) or
   *   HEIGHT_UNAVAILABLE (retryable if the height may still come)
   */
  async call(
    method: string,
    params: Readonly<Record<string, unknown>>,
    signal?: AbortSignal,
  ): Promise<unknown> {
    const { clock } = this.#deps
    const started = clock.monotonic()
    const order = this.#order()
    let failure: ChainError | undefined
    for (const [tried, endpoint] of order.entries()) {
      const left = this.#options.timeout - (clock.monotonic() - started)
      if (left <= 0) break
      try {
        return await this.#ask(endpoint, method, params, ms(left / (order.length - tried)), signal)
      } catch (error) {
        if (!(error instanceof ChainError) || error.code !== 'RPC_UNREACHABLE') throw error
        failure = error
      }
    }
    throw unreachable(`no endpoint answered ${method}; ${failure?.message}`, failure)
  }

  /** The same call to one endpoint and no other; `index` counts in order of preference. */
  async callOn(
    index: number,
    method: string,
    params: Readonly<Record<string, unknown>>,
    signal?: AbortSignal,
  ): Promise<unknown> {
    const endpoint = this.#endpoints[index]
    assert(endpoint !== undefined, `endpoint ${index} of ${this.#endpoints.length}`)
    return await this.#ask(endpoint, method, params, this.#options.timeout, signal)
  }

  /**
   * A module query: protobuf in, protobuf out.
   * @param path `/pocket.shared.Query/Params`
   * @param height of the state asked; undefined is the latest
   * @throws ChainError NOT_FOUND, HEIGHT_UNAVAILABLE, QUERY (data.code, data.log)
   */
  async abciQuery(
    path: string,
    data: Uint8Array,
    height: Height | undefined,
    signal?: AbortSignal,
  ): Promise<Uint8Array> {
    const params = { path, data: hex(data), height: String(height ?? 0), prove: false }
    const result = await this.call('abci_query', params, signal)
    const response = new Json(result, 'result').get('response')
    const code = response.get('code').integer()
    if (code !== 0) throw queryError(path, code, response)
    return response.get('value').base64()
  }

  /** What the first endpoint that answers says about itself and its latest block. */
  async status(signal?: AbortSignal): Promise<NodeStatus> {
    return readStatus(await this.call('status', {}, signal))
  }

  /** Ends what is in flight. Idempotent; a later call connects anew. */
  async close(): Promise<void> {
    await Promise.all(this.#endpoints.map((endpoint) => endpoint.close()))
  }

  async #ask(
    endpoint: Endpoint,
    method: string,
    params: Readonly<Record<string, unknown>>,
    limit: Ms,
    signal: AbortSignal | undefined,
  ): Promise<unknown> {
    try {
      const result = await endpoint.call(method, params, limit, signal)
      endpoint.answered()
      return result
    } catch (error) {
      if (!(error instanceof ChainError)) throw error
      if (error.code === 'RPC_UNREACHABLE') this.#failed(endpoint, error.message)
      else endpoint.answered()
      throw error
    }
  }

  #failed(endpoint: Endpoint, reason: string): void {
    const { log, random } = this.#deps
    const level = endpoint.health.healthy ? 'warn' : 'debug'
    log[level]({ endpoint: endpoint.name, reason }, 'chain endpoint does not answer')
    endpoint.failed(reason, ms(this.#options.rest * (0.5 + 0.5 * random())))
  }

  #order(): Endpoint[] {
    const ready = this.#endpoints.filter((endpoint) => !endpoint.isResting)
    const resting = this.#endpoints.filter((endpoint) => endpoint.isResting)
    return [...ready, ...resting]
  }
}

/** @throws ChainError RESPONSE */
export function readStatus(result: unknown): NodeStatus {
  const status = new Json(result, 'result')
  const node = status.get('node_info')
  const sync = status.get('sync_info')
  return {
    chainId: node.get('network').text(),
    height: sync.get('latest_block_height').height(),
    hash: sync.get('latest_block_hash').hash(),
    time: sync.get('latest_block_time').time(),
    catchingUp: sync.get('catching_up').boolean(),
    earliest: sync.get('earliest_block_height').height(),
    version: node.get('version').text(),
  }
}

function queryError(path: string, code: number, response: Json): ChainError {
  const log = response.get('log').text()
  const codespace = response.get('codespace').text()
  const data = { path, code, codespace, log }
  if (codespace !== 'sdk') return new ChainError('QUERY', log, { data })
  if (code === ABCI.NOT_FOUND) return new ChainError('NOT_FOUND', log, { data })
  if (code === ABCI.FUTURE || code === ABCI.PRUNED) {
    const retryable = code === ABCI.FUTURE
    return new ChainError('HEIGHT_UNAVAILABLE', log, { data, retryable })
  }
  return new ChainError('QUERY', log, { data })
}
