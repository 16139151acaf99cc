/**
 * The endpoints of one chain: who is asked first, and who is not asked at all.
 *
 * They stand in the order of the configuration. One that failed comes after the others until its rest
 * is over, one that lags, catches up or claims what cannot be comes last, and one of another chain or
 * of a fork is left out (chain/heads.ts says which). Tested by test/chain/rpc.ts, test/chain/nodes.ts.
 */
import type { Clock } from '../base/clock.ts'
import { assert } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { type Height, type Ms, ms } from '../base/units.ts'
import { Endpoint, type EndpointHealth, type EndpointOptions, unreachable } from './endpoint.ts'
import { ChainError } from './errors.ts'
import { type Failure, isPassedOver, verdict } from './round.ts'
import { FIT, otherChain, type Standing } from './standing.ts'
import type { NodeStatus } from './status.ts'

export interface PanelDeps {
  readonly clock: Clock
  readonly random: () => number
  readonly log: Log
}

export interface PanelOptions extends EndpointOptions {
  /** `http(s)://host[:port][/path]`, best first, all of one chain. */
  readonly endpoints: readonly string[]
  /** Endpoints of another chain are left out, unless there is no other. Undefined: not compared. */
  readonly chainId: string | undefined
  /** For one call, all endpoints together. */
  readonly timeout: Ms
  /** How long an endpoint that failed comes last; up to half less by chance. */
  readonly rest: Ms
}

export class Panel {
  readonly endpoints: readonly Endpoint[]
  readonly #deps: PanelDeps
  readonly #options: PanelOptions

  constructor(deps: PanelDeps, options: PanelOptions) {
    this.#deps = deps
    this.#options = options
    assert(options.endpoints.length > 0, 'at least one RPC endpoint')
    this.endpoints = options.endpoints.map((url) => new Endpoint(url, deps.clock, options))
  }

  /** One endpoint alone is believed whatever it says: there is nobody to ask about it. */
  get isSingle(): boolean {
    return this.endpoints.length === 1
  }

  /** In the order of the configuration. */
  get health(): readonly EndpointHealth[] {
    return this.endpoints.map((endpoint) => endpoint.health)
  }

  endpoint(index: number): Endpoint {
    const endpoint = this.endpoints[index]
    assert(endpoint !== undefined, `endpoint ${index} of ${this.endpoints.length}`)
    return endpoint
  }

  /** From now on the endpoint is used accordingly. */
  judge(endpoint: Endpoint, standing: Standing): void {
    const { state, reason } = standing
    const isNews = state !== endpoint.standing.state
    endpoint.standing = standing
    if (!isNews) return
    const fields = { endpoint: endpoint.name, reason }
    if (state === 'ok') this.#deps.log.info({ endpoint: endpoint.name }, 'chain endpoint is fit')
    else if (state === 'disagrees') this.#deps.log.error(fields, 'chain endpoint is not believed')
    else this.#deps.log.warn(fields, 'chain endpoint is not fit')
  }

  /** What an endpoint says about itself, the moment it is said. */
  note(endpoint: Endpoint, status: NodeStatus): void {
    const { chainId } = this.#options
    endpoint.seen = status
    if (chainId === undefined || this.isSingle) return
    if (status.chainId !== chainId) this.judge(endpoint, otherChain(status.chainId))
    else if (endpoint.standing.state === 'other-chain') this.judge(endpoint, FIT)
  }

  /** True for one whose chain must be known before its answers count. */
  isStranger(endpoint: Endpoint): boolean {
    return this.#options.chainId !== undefined && !this.isSingle && endpoint.seen === undefined
  }

  failed(endpoint: Endpoint, reason: string): void {
    const { log, random } = this.#deps
    const level = endpoint.health.healthy ? 'warn' : 'debug'
    log[level]({ endpoint: endpoint.name, reason }, 'chain endpoint does not answer')
    endpoint.failed(reason, ms(this.#options.rest * (0.5 + 0.5 * random())))
  }

  /**
   * Without those left out; who is known to have `at` before who is not. What is known of heights is
   * a block old, so that it only sorts.
   */
  order(at?: Height): Endpoint[] {
    const rank = ({ standing, isResting, seen }: Endpoint) =>
      (standing.state === 'ok' ? 0 : 4) +
      (isResting ? 2 : 0) +
      (at !== undefined && seen !== undefined && seen.height < at ? 1 : 0)
    return this.endpoints
      .filter((endpoint) => !endpoint.isLeftOut)
      .sort((a, b) => rank(a) - rank(b))
  }

  /** One after the other. @throws the first error that is an answer; else what `verdict` says */
  async round<T>(
    order: readonly Endpoint[],
    method: string,
    work: (endpoint: Endpoint, limit: Ms) => Promise<T>,
  ): Promise<T> {
    const { clock } = this.#deps
    const started = clock.monotonic()
    const failures: Failure[] = []
    for (const [tried, endpoint] of order.entries()) {
      const left = this.#options.timeout - (clock.monotonic() - started)
      if (left <= 0) break
      try {
        const answer = await work(endpoint, ms(left / (order.length - tried)))
        // What another could answer was no fault of the question.
        for (const { endpoint: other, error } of failures)
          if (error.code === 'RESPONSE') this.failed(other, error.message)
        return answer
      } catch (error) {
        if (!isPassedOver(error)) throw error
        failures.push({ endpoint, error })
      }
    }
    throw verdict(method, failures)
  }

  /** One question to one endpoint, whose health it is told by. @param read may throw ChainError */
  async one<T>(
    endpoint: Endpoint,
    method: string,
    params: Readonly<Record<string, unknown>>,
    read: (result: unknown) => T,
    limit: Ms,
    signal: AbortSignal | undefined,
  ): Promise<T> {
    try {
      const result = await endpoint.call(method, params, limit, signal)
      endpoint.answered()
      return read(result)
    } catch (error) {
      if (!(error instanceof ChainError)) throw error
      if (error.code === 'RPC_UNREACHABLE') this.failed(endpoint, error.message)
      else endpoint.answered()
      throw error
    }
  }
}

export function leftOut({ name, standing }: Endpoint): ChainError {
  return unreachable(`${name} is not used: ${standing.reason}`)
}
