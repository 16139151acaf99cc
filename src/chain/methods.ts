/**
 * The chain's query methods: path, protobuf in, protobuf out, and which field is the answer.
 *
 * A method of an older or newer chain may answer without the field: that is an error with the field's
 * name, never an undefined that travels on.
 * Source: poktroll proto/pocket/x/query.proto for each module x; cosmos-sdk proto/cosmos/{auth,bank}.
 * Tested by test/chain/query.ts.
 */
import { QueryAccountRequest, QueryAccountResponse } from '../protocol/gen/cosmos/auth/auth.ts'
import { QueryBalanceRequest, QueryBalanceResponse } from '../protocol/gen/cosmos/bank/bank.ts'
import { SimulateRequest, SimulateResponse } from '../protocol/gen/cosmos/tx/tx.ts'
import * as application from '../protocol/gen/pocket/application/application.ts'
import * as gateway from '../protocol/gen/pocket/gateway/gateway.ts'
import * as proof from '../protocol/gen/pocket/proof/proof.ts'
import * as service from '../protocol/gen/pocket/service/service.ts'
import * as session from '../protocol/gen/pocket/session/session.ts'
import * as shared from '../protocol/gen/pocket/shared/shared.ts'
import * as supplier from '../protocol/gen/pocket/supplier/supplier.ts'
import * as tokenomics from '../protocol/gen/pocket/tokenomics/tokenomics.ts'
import { ChainError } from './errors.ts'

/** One query: how to ask it and how to read the answer. */
export interface Method<Q, A> {
  readonly path: string
  encode(question: Q): Uint8Array
  /** @throws ChainError RESPONSE */
  decode(value: Uint8Array): A
}

/** What ts-proto generates for a message. */
interface Codec<T> {
  encode(message: T): { finish(): Uint8Array }
  decode(bytes: Uint8Array): T
}

function method<Q, R, K extends keyof R & string>(
  path: string,
  request: Codec<Q>,
  response: Codec<R>,
  field: K,
): Method<Q, NonNullable<R[K]>> {
  const whole = wholeAnswer(path, request, response)
  return {
    ...whole,
    decode(value) {
      const answer = whole.decode(value)[field]
      if (answer === undefined || answer === null) throw unreadable(path, field, 'is not there')
      return answer
    },
  }
}

function wholeAnswer<Q, R>(path: string, request: Codec<Q>, response: Codec<R>): Method<Q, R> {
  return {
    path,
    encode: (question) => request.encode(question).finish(),
    decode(value) {
      try {
        return response.decode(value)
      } catch (error) {
        throw unreadable(path, 'value', 'is not the message expected', error)
      }
    },
  }
}

interface ParamsModule<P> {
  readonly QueryParamsRequest: Codec<object>
  readonly QueryParamsResponse: Codec<{ params: P | undefined }>
}

function params<P>(path: string, module: ParamsModule<P>): Method<object, P & {}> {
  return method(path, module.QueryParamsRequest, module.QueryParamsResponse, 'params')
}

export const METHODS = {
  account: method(
    '/cosmos.auth.v1beta1.Query/Account',
    QueryAccountRequest,
    QueryAccountResponse,
    'account',
  ),
  balance: method(
    '/cosmos.bank.v1beta1.Query/Balance',
    QueryBalanceRequest,
    QueryBalanceResponse,
    'balance',
  ),
  simulate: method(
    '/cosmos.tx.v1beta1.Service/Simulate',
    SimulateRequest,
    SimulateResponse,
    'gasInfo',
  ),
  sharedParams: method(
    '/pocket.shared.Query/ParamsAtHeight',
    shared.QueryParamsAtHeightRequest,
    shared.QueryParamsAtHeightResponse,
    'params',
  ),
  proofParams: params('/pocket.proof.Query/Params', proof),
  sessionParams: params('/pocket.session.Query/Params', session),
  tokenomicsParams: params('/pocket.tokenomics.Query/Params', tokenomics),
  supplierParams: params('/pocket.supplier.Query/Params', supplier),
  applicationParams: params('/pocket.application.Query/Params', application),
  gatewayParams: params('/pocket.gateway.Query/Params', gateway),
  serviceParams: params('/pocket.service.Query/Params', service),
  session: method(
    '/pocket.session.Query/GetSession',
    session.QueryGetSessionRequest,
    session.QueryGetSessionResponse,
    'session',
  ),
  application: method(
    '/pocket.application.Query/Application',
    application.QueryGetApplicationRequest,
    application.QueryGetApplicationResponse,
    'application',
  ),
  supplier: method(
    '/pocket.supplier.Query/Supplier',
    supplier.QueryGetSupplierRequest,
    supplier.QueryGetSupplierResponse,
    'supplier',
  ),
  gateway: method(
    '/pocket.gateway.Query/Gateway',
    gateway.QueryGetGatewayRequest,
    gateway.QueryGetGatewayResponse,
    'gateway',
  ),
  service: method(
    '/pocket.service.Query/Service',
    service.QueryServiceRequest,
    service.QueryServiceResponse,
    'service',
  ),
  difficulty: method(
    '/pocket.service.Query/RelayMiningDifficultyAtHeight',
    service.QueryRelayMiningDifficultyAtHeightRequest,
    service.QueryRelayMiningDifficultyAtHeightResponse,
    'relayMiningDifficulty',
  ),
  computeUnitsPerRelay: method(
    '/pocket.service.Query/ComputeUnitsPerRelayAtHeight',
    service.QueryComputeUnitsPerRelayAtHeightRequest,
    service.QueryComputeUnitsPerRelayAtHeightResponse,
    'computeUnitsPerRelay',
  ),
  claim: method(
    '/pocket.proof.Query/Claim',
    proof.QueryGetClaimRequest,
    proof.QueryGetClaimResponse,
    'claim',
  ),
  claims: wholeAnswer(
    '/pocket.proof.Query/AllClaims',
    proof.QueryAllClaimsRequest,
    proof.QueryAllClaimsResponse,
  ),
} as const

/** The answer lacks or garbles what we need. */
export function unreadable(path: string, field: string, what: string, cause?: unknown): ChainError {
  const data = { path, field: `${path} ${field}` }
  return new ChainError('RESPONSE', `${path}: ${field} ${what}`, { data, cause })
}
