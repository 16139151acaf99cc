/**
 * What the chain knows, as typed questions: module queries in protobuf over `abci_query`.
 *
 * Parameters are always asked for a height: the session grid and the windows at the session's END,
 * prices, difficulty and compute units at its START; proof and tokenomics parameters are the live
 * ones. Where a method takes `state`, that is the height of the state asked, and undefined the latest.
 * Nothing is remembered here, see chain/cache.ts.
 * Source: poktroll x/{shared,session,service,proof}/keeper, pkg/client/query/servicequerier.go (compute
 * units on older nodes); cosmos-sdk baseapp/abci.go. Tested by test/chain/query.ts.
 */
import type { Clock } from '../base/clock.ts'
import {
  type ComputeUnits,
  computeUnits,
  fromCoin,
  type Height,
  type Ms,
  ms,
  type Upokt,
} from '../base/units.ts'
import type {
  Application,
  Params as ApplicationParams,
} from '../protocol/gen/pocket/application/application.ts'
import type { Gateway, Params as GatewayParams } from '../protocol/gen/pocket/gateway/gateway.ts'
import type { Claim, Params as ProofParams } from '../protocol/gen/pocket/proof/proof.ts'
import type { Params as ServiceParams } from '../protocol/gen/pocket/service/service.ts'
import type { Session, Params as SessionParams } from '../protocol/gen/pocket/session/session.ts'
import type {
  Service,
  Params as SharedParams,
  Supplier,
} from '../protocol/gen/pocket/shared/shared.ts'
import type { Params as SupplierParams } from '../protocol/gen/pocket/supplier/supplier.ts'
import type { Params as TokenomicsParams } from '../protocol/gen/pocket/tokenomics/tokenomics.ts'
import { type Account, readAccount } from './account.ts'
import { ChainError } from './errors.ts'
import { readSettlements, type SettlementEvent } from './events.ts'
import { Json } from './json.ts'
import { METHODS, type Method, unreadable } from './methods.ts'
import { isUnimplemented, sessionError } from './round.ts'
import type { AskOptions, Rpc } from './rpc.ts'

export type { Account, SettlementEvent }

export interface QueryDeps {
  readonly rpc: Pick<Rpc, 'ask' | 'query'>
  readonly clock: Clock
}

export interface QueryOptions {
  /** How long a node that lacks ComputeUnitsPerRelayAtHeight (before v0.1.35) is not asked for it. */
  readonly unimplementedFor: Ms
  /** Claims asked for at once. */
  readonly pageSize: number
  /** More pages of claims than these are an error, not an endless loop. */
  readonly pagesMax: number
}

export const QUERY_DEFAULTS: QueryOptions = {
  unimplementedFor: ms(60_000),
  pageSize: 200,
  pagesMax: 500,
}

const TARGET_BYTES = 32

/** Told the height of the state that an answer is from: what it says of a later one may yet change. */
export type Seen = (state: Height) => void

interface Asked extends AskOptions {
  readonly seen?: Seen | undefined
}

export class Query {
  readonly #deps: QueryDeps
  readonly #options: QueryOptions
  #unimplementedUntil = 0

  constructor(deps: QueryDeps, options: QueryOptions = QUERY_DEFAULTS) {
    this.#deps = deps
    this.#options = options
  }

  /** The shared parameters in force at `at`, which may lie in the future. */
  sharedParams(at: Height, signal?: AbortSignal, seen?: Seen): Promise<SharedParams> {
    return this.#ask(METHODS.sharedParams, { height: BigInt(at) }, { signal, seen })
  }

  /** Live: what the chain decides with in the next block. */
  proofParams(signal?: AbortSignal): Promise<ProofParams> {
    return this.#ask(METHODS.proofParams, {}, { signal })
  }

  sessionParams(signal?: AbortSignal): Promise<SessionParams> {
    return this.#ask(METHODS.sessionParams, {}, { signal })
  }

  tokenomicsParams(signal?: AbortSignal): Promise<TokenomicsParams> {
    return this.#ask(METHODS.tokenomicsParams, {}, { signal })
  }

  supplierParams(signal?: AbortSignal): Promise<SupplierParams> {
    return this.#ask(METHODS.supplierParams, {}, { signal })
  }

  applicationParams(signal?: AbortSignal): Promise<ApplicationParams> {
    return this.#ask(METHODS.applicationParams, {}, { signal })
  }

  gatewayParams(signal?: AbortSignal): Promise<GatewayParams> {
    return this.#ask(METHODS.gatewayParams, {}, { signal })
  }

  serviceParams(signal?: AbortSignal): Promise<ServiceParams> {
    return this.#ask(METHODS.serviceParams, {}, { signal })
  }

  /**
   * The session of an application and a service that `at` lies in; its header is always there. The
   * application in it is as of now. An old session can stop being derivable from the live state once
   * its suppliers change their services: keep the header, or ask the state of that height.
   * @throws ChainError SESSION (data.log: why there is none); HEIGHT_UNAVAILABLE (retryable) for a
   *   height that has not come
   */
  async session(
    applicationAddress: string,
    serviceId: string,
    at: Height,
    signal?: AbortSignal,
    state?: Height,
    seen?: Seen,
  ): Promise<Session> {
    const question = { applicationAddress, serviceId, blockHeight: BigInt(at) }
    const options = { signal, at: state, seen }
    const session = await this.#ask(METHODS.session, question, options).catch((error: unknown) => {
      throw sessionError(error)
    })
    if (session.header === undefined)
      throw unreadable(METHODS.session.path, 'session.header', 'is not there')
    return session
  }

  application(
    address: string,
    signal?: AbortSignal,
    state?: Height,
  ): Promise<Application | undefined> {
    return this.#find(METHODS.application, { address }, { signal, at: state })
  }

  /** Also undefined for what is no address at all: the chain does not tell the two apart. */
  supplier(
    operatorAddress: string,
    signal?: AbortSignal,
    state?: Height,
  ): Promise<Supplier | undefined> {
    const question = { operatorAddress, dehydrated: false }
    return this.#find(METHODS.supplier, question, { signal, at: state })
  }

  gateway(address: string, signal?: AbortSignal): Promise<Gateway | undefined> {
    return this.#find(METHODS.gateway, { address, dehydrated: true }, { signal })
  }

  /** Without its card. */
  service(id: string, signal?: AbortSignal): Promise<Service | undefined> {
    return this.#find(METHODS.service, { id, dehydrated: true }, { signal })
  }

  /**
   * The target hash, 32 bytes, in force at `at`: ask with the session's START. A service on which
   * nothing was ever settled has ff…ff. @throws ChainError NOT_FOUND for an unknown service
   */
  async difficulty(
    serviceId: string,
    at: Height,
    signal?: AbortSignal,
    seen?: Seen,
  ): Promise<Uint8Array> {
    const question = { serviceId, blockHeight: BigInt(at) }
    const { targetHash } = await this.#ask(METHODS.difficulty, question, { signal, seen })
    if (targetHash.length !== TARGET_BYTES)
      throw unreadable(METHODS.difficulty.path, 'target_hash', `has ${targetHash.length} bytes`)
    return targetHash.slice()
  }

  /**
   * In force at `at`: ask with the session's START. A node that lacks the query gives the live value.
   * @throws ChainError NOT_FOUND for an unknown service
   */
  async computeUnitsPerRelay(
    serviceId: string,
    at: Height,
    signal?: AbortSignal,
    seen?: Seen,
  ): Promise<ComputeUnits> {
    const { clock } = this.#deps
    if (clock.monotonic() >= this.#unimplementedUntil) {
      try {
        const question = { serviceId, blockHeight: BigInt(at) }
        const options = { signal, seen }
        return computeUnits(await this.#ask(METHODS.computeUnitsPerRelay, question, options))
      } catch (error) {
        if (!isUnimplemented(error)) throw error
        this.#unimplementedUntil = clock.monotonic() + this.#options.unimplementedFor
      }
    }
    const live = await this.service(serviceId, signal)
    if (live !== undefined) return computeUnits(live.computeUnitsPerRelay)
    throw new ChainError('NOT_FOUND', `service ${serviceId} does not exist`, {
      data: { serviceId },
    })
  }

  /** Undefined before it is made and again once it is settled. */
  claim(
    sessionId: string,
    supplierOperatorAddress: string,
    signal?: AbortSignal,
    state?: Height,
  ): Promise<Claim | undefined> {
    return this.#find(METHODS.claim, { sessionId, supplierOperatorAddress }, { signal, at: state })
  }

  /** All claims of an operator that are not settled. */
  async claims(operator: string, signal?: AbortSignal): Promise<Claim[]> {
    const { pageSize, pagesMax } = this.#options
    const claims: Claim[] = []
    let key: Uint8Array = new Uint8Array(0)
    for (let page = 0; page < pagesMax; page++) {
      const limit = BigInt(pageSize)
      const pagination = { key, offset: 0n, limit, countTotal: false, reverse: false }
      const question = { pagination, supplierOperatorAddress: operator }
      const answer = await this.#ask(METHODS.claims, question, { signal })
      claims.push(...answer.claims)
      key = answer.pagination?.nextKey ?? new Uint8Array(0)
      if (key.length === 0) return claims
    }
    throw unreadable(METHODS.claims.path, 'pagination.next_key', `goes on after ${pagesMax} pages`)
  }

  /** Undefined for an address that never received anything. */
  async account(address: string, signal?: AbortSignal): Promise<Account | undefined> {
    const account = await this.#find(METHODS.account, { address }, { signal })
    return account && readAccount(account)
  }

  /** Nothing for an unknown address. */
  async balance(address: string, signal?: AbortSignal, state?: Height): Promise<Upokt> {
    const question = { address, denom: 'upokt' }
    return fromCoin(await this.#ask(METHODS.balance, question, { signal, at: state }))
  }

  /**
   * How claims ended in block `at`, of all suppliers, in the chain's order. Right after a block its
   * results may not be there yet; a node may keep none, or no old ones: then another is asked.
   * @throws ChainError HEIGHT_UNAVAILABLE (retryable unless no endpoint will ever have them)
   */
  async settlements(at: Height, signal?: AbortSignal): Promise<SettlementEvent[]> {
    const read = (answer: unknown) => {
      const results = new Json(answer, 'result')
      const height = results.get('height')
      if (height.height() !== at) throw height.wrong(String(at))
      return readSettlements(results.get('finalize_block_events'))
    }
    const params = { height: String(at) }
    return await this.#deps.rpc.ask('block_results', params, read, { signal, at })
  }

  async #ask<Q, A>(
    { path, encode, decode }: Method<Q, A>,
    question: Q,
    { seen, ...options }: Asked,
  ): Promise<A> {
    const { rpc } = this.#deps
    return await rpc.query(
      path,
      encode(question),
      (value, response) => {
        const answer = decode(value)
        seen?.(response.get('height').height())
        return answer
      },
      options,
    )
  }

  /** Undefined where the chain says that there is no such thing. */
  async #find<Q, A>(method: Method<Q, A>, question: Q, options: Asked): Promise<A | undefined> {
    try {
      return await this.#ask(method, question, options)
    } catch (error) {
      if (error instanceof ChainError && error.code === 'NOT_FOUND') return undefined
      throw error
    }
  }
}
