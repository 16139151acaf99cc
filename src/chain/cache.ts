/**
 * The chain's answers, remembered as long as they cannot change.
 *
 * What holds at a height that has been reached stays true: shared parameters, sessions, difficulty,
 * compute units; so does an account's number with its public key. Everything else, among it what is
 * asked for a height still to come, is good for the block it was asked in. Errors are never
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
import type { Account, Query } from './query.ts'

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
    const ask = (both: AbortSignal) => this.#deps.query.sharedParams(at, both)
    return this.#remember(`shared ${at}`, this.#storeFor(at), signal, ask)
  }

  /** The session's application is as of the first time it was asked. */
  session(
    application: string,
    serviceId: string,
    at: Height,
    signal?: AbortSignal,
  ): Promise<Session> {
    const ask = (both: AbortSignal) => this.#deps.query.session(application, serviceId, at, both)
    const store = this.#reached(at) ? this.#sessions : this.#live
    return this.#remember(`session ${application} ${serviceId} ${at}`, store, signal, ask)
  }

  difficulty(serviceId: string, at: Height, signal?: AbortSignal): Promise<Uint8Array> {
    const ask = (both: AbortSignal) => this.#deps.query.difficulty(serviceId, at, both)
    return this.#remember(`difficulty ${serviceId} ${at}`, this.#storeFor(at), signal, ask)
  }

  computeUnitsPerRelay(serviceId: string, at: Height, signal?: AbortSignal): Promise<ComputeUnits> {
    const ask = (both: AbortSignal) => this.#deps.query.computeUnitsPerRelay(serviceId, at, both)
    return this.#remember(`units ${serviceId} ${at}`, this.#storeFor(at), signal, ask)
  }

  /** Number and key stay; the sequence is the one of the first look. */
  async account(address: string, signal?: AbortSignal): Promise<Account | undefined> {
    const key = `account ${address}`
    const known = this.#answers.get(key)
    if (known !== undefined) return known.answer as Account
    const ask = (both: AbortSignal) => this.#deps.query.account(address, both)
    const account = await this.#remember(key, this.#live, signal, ask)
    if (account?.publicKey !== undefined) this.#answers.set(key, { answer: account })
    return account
  }

  proofParams(signal?: AbortSignal): Promise<ProofParams> {
    return this.#remember('proof', this.#live, signal, (both) => this.#deps.query.proofParams(both))
  }

  sessionParams(signal?: AbortSignal): Promise<SessionParams> {
    const ask = (both: AbortSignal) => this.#deps.query.sessionParams(both)
    return this.#remember('session', this.#live, signal, ask)
  }

  tokenomicsParams(signal?: AbortSignal): Promise<TokenomicsParams> {
    const ask = (both: AbortSignal) => this.#deps.query.tokenomicsParams(both)
    return this.#remember('tokenomics', this.#live, signal, ask)
  }

  application(address: string, signal?: AbortSignal): Promise<Application | undefined> {
    const ask = (both: AbortSignal) => this.#deps.query.application(address, both)
    return this.#remember(`application ${address}`, this.#live, signal, ask)
  }

  supplier(operator: string, signal?: AbortSignal): Promise<Supplier | undefined> {
    const ask = (both: AbortSignal) => this.#deps.query.supplier(operator, both)
    return this.#remember(`supplier ${operator}`, this.#live, signal, ask)
  }

  service(id: string, signal?: AbortSignal): Promise<Service | undefined> {
    const ask = (both: AbortSignal) => this.#deps.query.service(id, both)
    return this.#remember(`service ${id}`, this.#live, signal, ask)
  }

  #reached(at: Height): boolean {
    const head = this.#deps.head()
    return head !== undefined && at <= head
  }

  #storeFor(at: Height): LruMap<string, Remembered> {
    return this.#reached(at) ? this.#answers : this.#live
  }

  /** A flight of an earlier block is not joined, and its answer not kept as one of this block. */
  async #remember<T>(
    key: string,
    store: LruMap<string, Remembered>,
    signal: AbortSignal | undefined,
    ask: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const head = this.#turnTo(this.#deps.head())
    const known = store.get(key)
    if (known !== undefined) return known.answer as T
    return await this.#flights.join(`${head} ${key}`, signal, async (both) => {
      const answer = await ask(both)
      const current = store !== this.#live || this.#turnTo(this.#deps.head()) === head
      if (current && head !== undefined) store.set(key, { answer })
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
