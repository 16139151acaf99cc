/**
 * The chain's answers, remembered as long as they cannot change.
 *
 * What holds at a height that has been reached stays true: shared parameters, sessions, difficulty,
 * compute units; so does an account's number with its public key. It counts as reached by the state
 * that the answer is from: a node may still be a block, or an endpoint several, behind the head, and
 * does not know then what that height has changed. Everything else, among it what is asked for a
 * height still to come, is good for the block it was asked in. Errors are never
 * remembered. Questions asked at the same time are asked once; a caller that gives up does not take
 * the others with it. Balances, claims and settlements are not for here: they are read to decide.
 * Tested by test/chain/cache.ts.
 */
import { LruMap } from '../base/queue.ts'
import type { ComputeUnits, Height } from '../base/units.ts'
import type { Application } from '../protocol/gen/pocket/application/application.ts'
import type { Params as ProofParams } from '../protocol/gen/pocket/proof/proof.ts'
import type { Session, Params as SessionParams } from '../protocol/gen/pocket/session/session.ts'
import type {
  Service,
  Params as SharedParams,
  Supplier,
} from '../protocol/gen/pocket/shared/shared.ts'
import type { Params as TokenomicsParams } from '../protocol/gen/pocket/tokenomics/tokenomics.ts'
import { Flights } from './flight.ts'
import type { Account, Query, Seen } from './query.ts'

export interface CachedQueryDeps {
  readonly query: Pick<
    Query,
    | 'account'
    | 'application'
    | 'computeUnitsPerRelay'
    | 'difficulty'
    | 'proofParams'
    | 'service'
    | 'session'
    | 'sessionParams'
    | 'sharedParams'
    | 'supplier'
    | 'tokenomicsParams'
  >
  /** The latest block seen. While there is none, nothing is remembered. */
  readonly head: () => Height | undefined
}

export interface CachedQueryOptions {
  /** Sessions carry up to fifty suppliers with all their services: tens of kilobytes each. */
  readonly sessionsMax: number
  /** Other answers that stay true. */
  readonly answersMax: number
  /** Answers of the current block. */
  readonly liveMax: number
}

export const CACHED_QUERY_DEFAULTS: CachedQueryOptions = {
  sessionsMax: 512,
  answersMax: 8_192,
  liveMax: 2_048,
}

/** Boxed, since "there is none" is an answer too. */
interface Remembered {
  readonly answer: unknown
}

type Ask<T> = (signal: AbortSignal, seen: Seen) => Promise<T>

export class CachedQuery {
  readonly #deps: CachedQueryDeps
  readonly #sessions: LruMap<string, Remembered>
  readonly #answers: LruMap<string, Remembered>
  readonly #live: LruMap<string, Remembered>
  readonly #flights = new Flights()
  #liveAt: Height | undefined

  constructor(deps: CachedQueryDeps, options: Partial<CachedQueryOptions> = {}) {
    const { sessionsMax, answersMax, liveMax } = { ...CACHED_QUERY_DEFAULTS, ...options }
    this.#deps = deps
    this.#sessions = new LruMap(sessionsMax)
    this.#answers = new LruMap(answersMax)
    this.#live = new LruMap(liveMax)
  }

  /** How much is remembered; for metrics. */
  get size(): number {
    return this.#sessions.size + this.#answers.size + this.#live.size
  }

  sharedParams(at: Height, signal?: AbortSignal): Promise<SharedParams> {
    const ask: Ask<SharedParams> = (both, seen) => this.#deps.query.sharedParams(at, both, seen)
    return this.#lasting(`shared ${at}`, at, this.#answers, signal, ask)
  }

  /** The session's application is as of the first time it was asked. */
  session(
    application: string,
    serviceId: string,
    at: Height,
    signal?: AbortSignal,
  ): Promise<Session> {
    const { query } = this.#deps
    const ask: Ask<Session> = (both, seen) =>
      query.session(application, serviceId, at, both, undefined, seen)
    const key = `session ${application} ${serviceId} ${at}`
    return this.#lasting(key, at, this.#sessions, signal, ask)
  }

  difficulty(serviceId: string, at: Height, signal?: AbortSignal): Promise<Uint8Array> {
    const { query } = this.#deps
    const ask: Ask<Uint8Array> = (both, seen) => query.difficulty(serviceId, at, both, seen)
    return this.#lasting(`difficulty ${serviceId} ${at}`, at, this.#answers, signal, ask)
  }

  computeUnitsPerRelay(serviceId: string, at: Height, signal?: AbortSignal): Promise<ComputeUnits> {
    const { query } = this.#deps
    const ask: Ask<ComputeUnits> = (both, seen) =>
      query.computeUnitsPerRelay(serviceId, at, both, seen)
    return this.#lasting(`units ${serviceId} ${at}`, at, this.#answers, signal, ask)
  }

  /** Number and key stay; the sequence is the one of the first look. */
  async account(address: string, signal?: AbortSignal): Promise<Account | undefined> {
    const key = `account ${address}`
    const known = this.#answers.get(key)
    if (known !== undefined) return known.answer as Account
    const ask = (both: AbortSignal) => this.#deps.query.account(address, both)
    const account = await this.#remember(key, signal, ask)
    if (account?.publicKey !== undefined) this.#answers.set(key, { answer: account })
    return account
  }

  proofParams(signal?: AbortSignal): Promise<ProofParams> {
    return this.#remember('proof', signal, (both) => this.#deps.query.proofParams(both))
  }

  sessionParams(signal?: AbortSignal): Promise<SessionParams> {
    const ask = (both: AbortSignal) => this.#deps.query.sessionParams(both)
    return this.#remember('session', signal, ask)
  }

  tokenomicsParams(signal?: AbortSignal): Promise<TokenomicsParams> {
    const ask = (both: AbortSignal) => this.#deps.query.tokenomicsParams(both)
    return this.#remember('tokenomics', signal, ask)
  }

  application(address: string, signal?: AbortSignal): Promise<Application | undefined> {
    const ask = (both: AbortSignal) => this.#deps.query.application(address, both)
    return this.#remember(`application ${address}`, signal, ask)
  }

  supplier(operator: string, signal?: AbortSignal): Promise<Supplier | undefined> {
    const ask = (both: AbortSignal) => this.#deps.query.supplier(operator, both)
    return this.#remember(`supplier ${operator}`, signal, ask)
  }

  service(id: string, signal?: AbortSignal): Promise<Service | undefined> {
    const ask = (both: AbortSignal) => this.#deps.query.service(id, both)
    return this.#remember(`service ${id}`, signal, ask)
  }

  #reached(at: Height): boolean {
    const head = this.#deps.head()
    return head !== undefined && at <= head
  }

  /** An answer about height `at`, kept in `store` if the state it is from had reached that height. */
  async #lasting<T>(
    key: string,
    at: Height,
    store: LruMap<string, Remembered>,
    signal: AbortSignal | undefined,
    ask: Ask<T>,
  ): Promise<T> {
    const isReached = this.#reached(at)
    const known = isReached ? store.get(key) : undefined
    if (known !== undefined) return known.answer as T
    return await this.#remember(key, signal, async (both) => {
      let state: Height | undefined
      const answer = await ask(both, (from) => {
        state = from
      })
      const holds = state === undefined ? isReached : state >= at
      if (holds && this.#reached(at)) store.set(key, { answer })
      return answer
    })
  }

  /** A flight of an earlier block is not joined, and its answer not kept as one of this block. */
  async #remember<T>(
    key: string,
    signal: AbortSignal | undefined,
    ask: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const head = this.#turnTo(this.#deps.head())
    const known = this.#live.get(key)
    if (known !== undefined) return known.answer as T
    return await this.#flights.join(`${head} ${key}`, signal, async (both) => {
      const answer = await ask(both)
      const current = this.#turnTo(this.#deps.head()) === head
      if (current && head !== undefined) this.#live.set(key, { answer })
      return answer
    })
  }

  /** A new block makes what was live old. */
  #turnTo(head: Height | undefined): Height | undefined {
    if (head !== this.#liveAt) this.#live.prune(() => true)
    this.#liveAt = head
    return head
  }
}
