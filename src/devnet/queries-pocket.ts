/**
 * `abci_query` for the modules of Pocket: what there is, and what the chain says when there is nothing.
 *
 * Source: poktroll x/<module>/keeper/query_*.go. Tested by test/devnet/queries.ts.
 */
import { height } from '../base/units.ts'
import * as application from '../protocol/gen/pocket/application/application.ts'
import * as gateway from '../protocol/gen/pocket/gateway/gateway.ts'
import * as proof from '../protocol/gen/pocket/proof/proof.ts'
import * as service from '../protocol/gen/pocket/service/service.ts'
import * as session from '../protocol/gen/pocket/session/session.ts'
import * as shared from '../protocol/gen/pocket/shared/shared.ts'
import * as supplier from '../protocol/gen/pocket/supplier/supplier.ts'
import * as tokenomics from '../protocol/gen/pocket/tokenomics/tokenomics.ts'
import { computeUnitsAt } from './claims.ts'
import { difficultyAt, liveDifficulty } from './difficulty.ts'
import { quoted, Refusal } from './errors.ts'
import { decoded, paged, type Route, refused } from './route.ts'
import { activeServices, hydrate } from './session.ts'
import { type AllParams, type Context, claimKey, paramsOf, sharedAt } from './state.ts'
import { addressFault } from './validate.ts'

interface ParamsCodec<P> {
  encode(message: { params: P | undefined }): { finish(): Uint8Array }
}

function params<M extends keyof AllParams>(module: M, codec: ParamsCodec<AllParams[M]>): Route {
  return ({ state }) => codec.encode({ params: paramsOf(state)[module] }).finish()
}

export const POCKET_ROUTES: Readonly<Record<string, Route>> = {
  '/pocket.shared.Query/Params': params('shared', shared.QueryParamsResponse),
  '/pocket.session.Query/Params': params('session', session.QueryParamsResponse),
  '/pocket.proof.Query/Params': params('proof', proof.QueryParamsResponse),
  '/pocket.service.Query/Params': params('service', service.QueryParamsResponse),
  '/pocket.supplier.Query/Params': params('supplier', supplier.QueryParamsResponse),
  '/pocket.application.Query/Params': params('application', application.QueryParamsResponse),
  '/pocket.gateway.Query/Params': params('gateway', gateway.QueryParamsResponse),
  '/pocket.tokenomics.Query/Params': params('tokenomics', tokenomics.QueryParamsResponse),
  '/pocket.shared.Query/ParamsAtHeight': paramsAtHeight,
  '/pocket.session.Query/GetSession': getSession,
  '/pocket.supplier.Query/Supplier': getSupplier,
  '/pocket.supplier.Query/AllSuppliers': allSuppliers,
  '/pocket.application.Query/Application': getApplication,
  '/pocket.gateway.Query/Gateway': getGateway,
  '/pocket.service.Query/Service': getService,
  '/pocket.service.Query/RelayMiningDifficulty': getDifficulty,
  '/pocket.service.Query/RelayMiningDifficultyAtHeight': getDifficultyAt,
  '/pocket.service.Query/ComputeUnitsPerRelayAtHeight': getComputeUnitsAt,
  '/pocket.proof.Query/Claim': getClaim,
  '/pocket.proof.Query/AllClaims': allClaims,
  '/pocket.proof.Query/Proof': getProof,
}

function paramsAtHeight({ state }: Context, data: Uint8Array): Uint8Array {
  const { height: at } = decoded(shared.QueryParamsAtHeightRequest, data)
  if (at < 0n) throw refused('InvalidArgument', 'height must be non-negative')
  const found = sharedAt(state, Number(at))
  return shared.QueryParamsAtHeightResponse.encode({ params: found }).finish()
}

function getSession(context: Context, data: Uint8Array): Uint8Array {
  const request = decoded(session.QueryGetSessionRequest, data)
  const { applicationAddress, serviceId, blockHeight } = request
  const fault = addressFault(applicationAddress)
  if (fault !== undefined)
    throw refused('InvalidArgument', `${fault}: invalid application address for session`)
  if (blockHeight < 0n) {
    const reason = `invalid block height for session being retrieved ${blockHeight};`
    throw refused('InvalidArgument', `${reason}: invalid block height for session`)
  }
  const at = blockHeight === 0n ? context.height : height(blockHeight)
  try {
    const found = hydrate(context, { application: applicationAddress, serviceId, at })
    return session.QueryGetSessionResponse.encode({ session: found }).finish()
  } catch (error) {
    if (error instanceof Refusal) throw refused('Internal', error.message)
    throw error
  }
}

function getSupplier(context: Context, data: Uint8Array): Uint8Array {
  const { operatorAddress, dehydrated } = decoded(supplier.QueryGetSupplierRequest, data)
  const found = context.state.suppliers.get(operatorAddress)
  if (found === undefined) {
    const named = `supplier with operator address: ${quoted(operatorAddress)}`
    throw refused('NotFound', `${named}: supplier not found`)
  }
  const shown = shownSupplier(context, found, dehydrated)
  return supplier.QueryGetSupplierResponse.encode({ supplier: shown }).finish()
}

function shownSupplier(
  context: Context,
  found: shared.Supplier,
  isDehydrated: boolean,
): shared.Supplier {
  const services = activeServices(found, context.height)
  if (!isDehydrated) return { ...found, services }
  const bare = services.map((config) => ({ ...config, revShare: [] }))
  return { ...found, services: bare, serviceConfigHistory: [] }
}

function allSuppliers(context: Context, data: Uint8Array): Uint8Array {
  const request = decoded(supplier.QueryAllSuppliersRequest, data)
  const { serviceId, operatorAddress, ownerAddress, dehydrated } = request
  const found = context.state.suppliers
    .values()
    .filter(
      (one) =>
        (operatorAddress === '' || one.operatorAddress === operatorAddress) &&
        (ownerAddress === '' || one.ownerAddress === ownerAddress) &&
        (serviceId === '' ||
          activeServices(one, context.height).some((config) => config.serviceId === serviceId)),
    )
    .map((one) => shownSupplier(context, one, dehydrated))
  const [page, pagination] = paged(found, request.pagination)
  return supplier.QueryAllSuppliersResponse.encode({ supplier: page, pagination }).finish()
}

function getApplication({ state }: Context, data: Uint8Array): Uint8Array {
  const { address } = decoded(application.QueryGetApplicationRequest, data)
  const fault = addressFault(address)
  if (fault !== undefined) throw refused('InvalidArgument', fault)
  const found = state.applications.get(address)
  if (found === undefined)
    throw refused('NotFound', `app address: ${address}: application not found`)
  return application.QueryGetApplicationResponse.encode({ application: found }).finish()
}

function getGateway({ state }: Context, data: Uint8Array): Uint8Array {
  const { address } = decoded(gateway.QueryGetGatewayRequest, data)
  const fault = addressFault(address)
  if (fault !== undefined) throw refused('InvalidArgument', fault)
  const found = state.gateways.get(address)
  if (found === undefined) throw refused('NotFound', `gateway not found: address ${address}`)
  return gateway.QueryGetGatewayResponse.encode({ gateway: found }).finish()
}

function getService({ state }: Context, data: Uint8Array): Uint8Array {
  const { id, dehydrated } = decoded(service.QueryServiceRequest, data)
  const found = state.services.get(id)
  if (found === undefined) throw refused('NotFound', `service ID not found: ${quoted(id)}`)
  const shown = dehydrated ? { ...found, metadata: undefined } : found
  return service.QueryServiceResponse.encode({ service: shown }).finish()
}

function mustHaveService({ state }: Context, id: string): void {
  if (state.services.get(id) === undefined)
    throw refused('NotFound', `serviceID: ${id}: service not found`)
}

function getDifficulty(context: Context, data: Uint8Array): Uint8Array {
  const { serviceId } = decoded(service.QueryRelayMiningDifficultyRequest, data)
  mustHaveService(context, serviceId)
  const relayMiningDifficulty = liveDifficulty(context, serviceId)
  return service.QueryRelayMiningDifficultyResponse.encode({ relayMiningDifficulty }).finish()
}

function getDifficultyAt(context: Context, data: Uint8Array): Uint8Array {
  const request = decoded(service.QueryRelayMiningDifficultyAtHeightRequest, data)
  mustHaveService(context, request.serviceId)
  const relayMiningDifficulty = difficultyAt(
    context.state,
    request.serviceId,
    Number(request.blockHeight),
  )
  return service.QueryRelayMiningDifficultyAtHeightResponse.encode({
    relayMiningDifficulty,
  }).finish()
}

function getComputeUnitsAt(context: Context, data: Uint8Array): Uint8Array {
  const request = decoded(service.QueryComputeUnitsPerRelayAtHeightRequest, data)
  mustHaveService(context, request.serviceId)
  const at = Number(request.blockHeight)
  const computeUnitsPerRelay = computeUnitsAt(context.state, request.serviceId, at) ?? 0n
  return service.QueryComputeUnitsPerRelayAtHeightResponse.encode({ computeUnitsPerRelay }).finish()
}

function checkOperator(address: string, what: string): void {
  const fault = addressFault(address)
  if (fault === undefined) return
  const reason = `invalid supplier operator address for ${what} being retrieved ${address}; (${fault})`
  throw refused('InvalidArgument', `${reason}: invalid address`)
}

function getClaim({ state }: Context, data: Uint8Array): Uint8Array {
  const { sessionId, supplierOperatorAddress: operator } = decoded(proof.QueryGetClaimRequest, data)
  checkOperator(operator, 'claim')
  const found = state.claims.get(claimKey(sessionId, operator))
  if (found === undefined) {
    const named = `session ID ${quoted(sessionId)} and supplier ${quoted(operator)}`
    throw refused('NotFound', `${named}: claim not found`)
  }
  return proof.QueryGetClaimResponse.encode({ claim: found }).finish()
}

function getProof({ state }: Context, data: Uint8Array): Uint8Array {
  const { sessionId, supplierOperatorAddress: operator } = decoded(proof.QueryGetProofRequest, data)
  checkOperator(operator, 'proof')
  const found = state.proofs.get(claimKey(sessionId, operator))
  if (found === undefined) {
    const named = `session ID ${quoted(sessionId)} and supplier ${quoted(operator)}`
    throw refused('NotFound', `${named}: proof not found`)
  }
  return proof.QueryGetProofResponse.encode({ proof: found }).finish()
}

function allClaims({ state }: Context, data: Uint8Array): Uint8Array {
  const request = decoded(proof.QueryAllClaimsRequest, data)
  const { supplierOperatorAddress: operator, sessionId, sessionEndHeight: end } = request
  const found = state.claims
    .values()
    .filter(
      (claim) =>
        (operator === undefined || claim.supplierOperatorAddress === operator) &&
        (sessionId === undefined || claim.sessionHeader?.sessionId === sessionId) &&
        (end === undefined || claim.sessionHeader?.sessionEndBlockHeight === end),
    )
  const [claims, pagination] = paged(found, request.pagination)
  return proof.QueryAllClaimsResponse.encode({ claims, pagination }).finish()
}
