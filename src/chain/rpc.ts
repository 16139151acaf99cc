/**
 * CometBFT JSON-RPC over one or several nodes of the same chain.
 *
 * Endpoints stand in order of preference, see chain/panel.ts. A call makes one round: each endpoint
 * gets its share of the time that is left, and the next is asked when one does not answer (transport
 * error, timeout, a status other than 200, something that is not JSON-RPC or not the answer to the
 * question) or does not have the height. Any other refusal is an answer and ends the round. With
 * several endpoints and a known chain id, each is asked for its chain before its first answer counts.
 *
 * What is taken from cosmjs: signing documents (chain/tx.ts), nanosecond times, encodings. Its RPC
 * clients are not: they take neither signal nor deadline nor limit, keep their own timers, and their
 * checks do not say which field was wrong. test/chain/rpc.ts runs Comet38Client over the same
 * recordings and compares.
 *
 * In the POST form every int64 parameter is a JSON string; errors come with status 200.
 * Source: cometbft rpc/core, rpc/jsonrpc. Tested by test/chain/rpc.ts and test/chain/round.ts.
 */
import { hex } from '../base/bytes.ts'
import { type Bytes, type Height, type Ms, ms } from '../base/units.ts'
import { type Endpoint, type EndpointHealth, unreachable } from './endpoint.ts'
import { Flights } from './flight.ts'
import { Json } from './json.ts'
import { leftOut, Panel, type PanelDeps, type PanelOptions } from './panel.ts'
import { queryError } from './round.ts'
import { type NodeStatus, readStatus } from './status.ts'

export type { NodeStatus }
export type RpcDeps = PanelDeps
export type RpcOptions = PanelOptions

export const RPC_DEFAULTS = {
  chainId: undefined,
  timeout: ms(15_000),
  rest: ms(30_000),
  bodyBytesMax: (100 * 1024 * 1024) as Bytes,
  connectionsMax: 16,
} satisfies Omit<RpcOptions, 'endpoints'>

type Params = Readonly<Record<string, unknown>>

/** Takes an answer apart. @throws ChainError RESPONSE, FORK, HEIGHT_UNAVAILABLE: the next is asked */
export type Read<T> = (result: unknown) => T

export interface AskOptions {
  readonly signal?: AbortSignal | undefined
  /** A height that the answer is about: who is known to have it is asked first. */
  readonly at?: Height | undefined
}

export class Rpc {
  readonly panel: Panel
  readonly #timeout: Ms
  readonly #introductions = new Flights()

  constructor(
    deps: RpcDeps,
    options: Pick<RpcOptions, 'endpoints'> & Partial<Omit<RpcOptions, 'endpoints'>>,
  ) {
    const all = { ...RPC_DEFAULTS, ...options }
    this.panel = new Panel(deps, all)
    this.#timeout = all.timeout
  }

  get endpointCount(): number {
    return this.panel.endpoints.length
  }

  /** WebSocket addresses, in the order in which the endpoints would be asked now. */
  get socketUrls(): readonly string[] {
    return this.panel.order().map((endpoint) => endpoint.socketUrl)
  }

  /** In the order of the configuration; for status pages. */
  get health(): readonly EndpointHealth[] {
    return this.panel.health
  }

  /**
   * One JSON-RPC call; the result is unchecked (read it with `Json`).
   * @throws as `ask`
   */
  async call(method: string, params: Params, signal?: AbortSignal): Promise<unknown> {
    return await this.ask(method, params, (result) => result, { signal })
  }

  /**
   * One call, read: where `read` finds no answer, the next endpoint is asked.
   * @throws ChainError RPC_UNREACHABLE (retryable), RPC_ERROR (data.code, data.detail), RESPONSE or
   *   HEIGHT_UNAVAILABLE (retryable if the height may still come, or not all could be asked)
   */
  async ask<T>(
    method: string,
    params: Params,
    read: Read<T>,
    { signal, at }: AskOptions = {},
  ): Promise<T> {
    const order = this.panel.order(at)
    if (order.length === 0) throw unreachable(`no endpoint is left to ask for ${method}`)
    return await this.panel.round(order, method, async (endpoint, limit) => {
      await this.#introduce(endpoint, limit, signal)
      return await this.panel.one(endpoint, method, params, read, limit, signal)
    })
  }

  /**
   * The same call to one endpoint and no other; `index` counts in the order of the configuration.
   * @throws ChainError RPC_UNREACHABLE also for an endpoint of another chain or of a fork
   */
  async callOn(
    index: number,
    method: string,
    params: Params,
    signal?: AbortSignal,
  ): Promise<unknown> {
    const endpoint = this.panel.endpoint(index)
    await this.#introduce(endpoint, this.#timeout, signal)
    return await this.askOn(index, method, params, (result) => result, signal)
  }

  /** To one endpoint, whatever is thought of it: to find out who is right. */
  async askOn<T>(
    index: number,
    method: string,
    params: Params,
    read: Read<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    const endpoint = this.panel.endpoint(index)
    return await this.panel.one(endpoint, method, params, read, this.#timeout, signal)
  }

  /**
   * A module query: protobuf in, protobuf out.
   * @param path `/pocket.shared.Query/Params`
   * @param at height of the state asked; undefined is the latest
   * @throws ChainError NOT_FOUND, HEIGHT_UNAVAILABLE, QUERY (data.code, data.log)
   */
  async abciQuery(
    path: string,
    data: Uint8Array,
    at: Height | undefined,
    signal?: AbortSignal,
  ): Promise<Uint8Array> {
    return await this.query(path, data, (value) => value, { signal, at })
  }

  /** As `abciQuery`, read: `read` gets the bytes and the whole response. */
  async query<T>(
    path: string,
    data: Uint8Array,
    read: (value: Uint8Array, response: Json) => T,
    options: AskOptions = {},
  ): Promise<T> {
    const params = { path, data: hex(data), height: String(options.at ?? 0), prove: false }
    const answer = (result: unknown) => {
      const response = new Json(result, 'result').get('response')
      const code = response.get('code').integer()
      if (code !== 0) throw queryError(path, code, response)
      return read(response.get('value').base64(), response)
    }
    return await this.ask('abci_query', params, answer, options)
  }

  /** What the first endpoint that answers says about itself and its latest block. */
  async status(signal?: AbortSignal): Promise<NodeStatus> {
    return (await this.lead(signal)).status
  }

  /**
   * The same, and who said it; those that had `at` are asked first. Where every endpoint is of another
   * chain, the first of them, for the caller to refuse. @throws ChainError RPC_UNREACHABLE, RESPONSE
   */
  async lead(
    signal?: AbortSignal,
    at?: Height,
  ): Promise<{ readonly index: number; readonly status: NodeStatus }> {
    const { endpoints, isSingle } = this.panel
    const order = this.panel.order(at)
    const foreign: { index: number; status: NodeStatus }[] = []
    try {
      return await this.panel.round(
        order.length === 0 ? endpoints : order,
        'status',
        async (endpoint, limit) => {
          const status = await this.#status(endpoint, limit, signal)
          const found = { index: endpoints.indexOf(endpoint), status }
          if (!endpoint.isLeftOut || isSingle) return found
          foreign.push(found)
          throw leftOut(endpoint)
        },
      )
    } catch (error) {
      const [first] = foreign
      const isForeign = endpoints.every(({ standing }) => standing.state === 'other-chain')
      if (first !== undefined && isForeign) return first
      throw error
    }
  }

  /** What one endpoint says about itself, whatever is thought of it. */
  async statusOn(index: number, signal?: AbortSignal): Promise<NodeStatus> {
    return await this.#status(this.panel.endpoint(index), this.#timeout, signal)
  }

  /** Ends what is in flight. Idempotent; a later call connects anew. */
  async close(): Promise<void> {
    await Promise.all(this.panel.endpoints.map((endpoint) => endpoint.close()))
  }

  async #status(
    endpoint: Endpoint,
    limit: Ms,
    signal: AbortSignal | undefined,
  ): Promise<NodeStatus> {
    const status = await this.panel.one(endpoint, 'status', {}, readStatus, limit, signal)
    this.panel.note(endpoint, status)
    return status
  }

  /** Asks a stranger for its chain. @throws ChainError RPC_UNREACHABLE for one that is left out */
  async #introduce(endpoint: Endpoint, limit: Ms, signal: AbortSignal | undefined): Promise<void> {
    if (this.panel.isStranger(endpoint)) {
      const ask = (both: AbortSignal) => this.#status(endpoint, limit, both)
      await this.#introductions.join(endpoint.socketUrl, signal, ask)
    }
    if (endpoint.isLeftOut) throw leftOut(endpoint)
  }
}
