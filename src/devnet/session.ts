/**
 * Sessions as the chain derives them: who is paid by whom, from which block to which.
 *
 * Everything comes from the height asked for: parameters, the application's service, the suppliers
 * whose configuration is active then. Claims and proofs are checked against the session of their
 * header's start, so a supplier that was chosen stays chosen although it left afterwards.
 * Source: poktroll x/session/keeper/session_hydrator.go. Tested by test/devnet/session.ts.
 */
import type { Height } from '../base/units.ts'
import type { Application } from '../protocol/gen/pocket/application/application.ts'
import type { Session } from '../protocol/gen/pocket/session/session.ts'
import type { ServiceConfigUpdate, Supplier } from '../protocol/gen/pocket/shared/shared.ts'
import { gridAt, selectSuppliers, sessionId, sessionPreimage } from '../protocol/session.ts'
import { quoted, registered } from './errors.ts'
import {
  blockHashAt,
  type Context,
  heightOf,
  isActive,
  sessionParamsAt,
  sharedAt,
} from './state.ts'
import { serviceIdFault } from './validate.ts'

export interface SessionQuestion {
  readonly application: string
  readonly serviceId: string
  /** Any height of the session, at most the context's. */
  readonly at: Height
}

/** @throws Refusal of codespace session */
export function hydrate(context: Context, question: SessionQuestion): Session {
  const { state } = context
  const { application, serviceId, at } = question
  if (at > context.height) {
    const reason = `block height ${at} is ahead of the last committed block height ${context.height}`
    throw registered('session', 1101, reason)
  }
  const shared = sharedAt(state, at)
  const grid = gridAt(at, shared)
  const fault = serviceIdFault(serviceId)
  if (fault !== undefined) throw registered('session', 1101, `${fault}: invalid service ID`)
  const preimage = sessionPreimage({
    blockHash: blockHashAt(state, grid.start),
    serviceId,
    applicationAddress: application,
    start: grid.start,
  })
  const id = sessionId(preimage)
  const header = {
    applicationAddress: application,
    serviceId,
    sessionId: id,
    sessionStartBlockHeight: BigInt(grid.start),
    sessionEndBlockHeight: BigInt(grid.end),
  }
  return {
    header,
    sessionId: id,
    sessionNumber: BigInt(grid.number),
    numBlocksPerSession: shared.numBlocksPerSession,
    application: paying(context, question, { ...grid, id }),
    suppliers: serving(context, question, grid.start, preimage),
  }
}

function paying(
  context: Context,
  { application, serviceId, at }: SessionQuestion,
  session: { start: Height; end: Height; id: string },
): Application {
  const found = context.state.applications.get(application)
  if (found === undefined) {
    const reason = `could not find app with address ${quoted(application)} at height ${session.start}`
    throw registered('session', 1102, reason)
  }
  const leaves = found.unstakeSessionEndHeight
  if (leaves !== 0n && BigInt(session.end) > leaves) {
    const reason = `application ${quoted(application)} is not active for session ${session.id}`
    throw registered('session', 1109, reason)
  }
  if (!servicesOf(found, at).includes(serviceId)) {
    const reason = `application ${quoted(application)} not staked for service ID ${quoted(serviceId)}`
    throw registered('session', 1103, reason)
  }
  return found
}

function servicesOf(application: Application, at: Height): string[] {
  if (application.serviceConfigHistory.length === 0)
    return application.serviceConfigs.map((config) => config.serviceId)
  return application.serviceConfigHistory
    .filter((update) => isActive(update, at))
    .flatMap((update) => update.service?.serviceId ?? [])
}

function serving(
  context: Context,
  { serviceId, at }: SessionQuestion,
  start: Height,
  preimage: Uint8Array,
): Supplier[] {
  const candidates = configsOf(context, serviceId).filter((update) => isActive(update, at))
  if (candidates.length === 0) {
    const reason = `could not find suppliers for service ${serviceId} at height ${start}`
    throw registered('session', 1104, reason)
  }
  const max = Number(sessionParamsAt(context.state, at).numSuppliersPerSession)
  // As many times as it has a configuration: two, between a change and an unstake of the same session.
  const left = [...candidates]
  const operators = candidates.map((update) => update.operatorAddress)
  return selectSuppliers(preimage, operators, max).flatMap((operator) => {
    const supplier = context.state.suppliers.get(operator)
    const index = left.findIndex((update) => update.operatorAddress === operator)
    const config = left.splice(index, 1)[0]?.service
    return supplier === undefined || config === undefined
      ? []
      : [{ ...supplier, services: [config], serviceConfigHistory: [] }]
  })
}

/** Every configuration of the service, in the chain's order: by activation, then by operator. */
function configsOf(context: Context, serviceId: string): ServiceConfigUpdate[] {
  return context.state.suppliers
    .values()
    .flatMap((supplier) => supplier.serviceConfigHistory)
    .filter((update) => update.service?.serviceId === serviceId)
    .sort((a, b) => {
      if (a.activationHeight !== b.activationHeight)
        return a.activationHeight < b.activationHeight ? -1 : 1
      return a.operatorAddress < b.operatorAddress ? -1 : 1
    })
}

/** The services a supplier offers at `at`. */
export function activeServices(supplier: Supplier, at: number) {
  return supplier.serviceConfigHistory
    .filter((update) => isActive(update, at))
    .flatMap((update) => update.service ?? [])
}

/**
 * The session of a header's start, if its id is the header's and `operator` serves in it.
 * @throws Refusal of codespace session or proof (1102, 1116)
 */
export function sessionOfHeader(
  context: Context,
  header: { applicationAddress: string; serviceId: string; sessionId: string; start: bigint },
  operator: string,
): Session {
  const { applicationAddress: application, serviceId } = header
  const session = hydrate(context, { application, serviceId, at: heightOf(header.start) })
  checkMember(session, header.sessionId, operator)
  return session
}

/** @throws Refusal of codespace proof (1102, 1116) */
export function checkMember(session: Session, id: string, operator: string): void {
  if (id !== session.sessionId) {
    const reason = `session ID does not match onchain session ID; expected ${quoted(session.sessionId)}, got ${quoted(id)}`
    throw registered('proof', 1116, reason)
  }
  if (!session.suppliers.some((supplier) => supplier.operatorAddress === operator)) {
    const reason = `supplier operator address ${quoted(operator)} not found in session ID ${quoted(id)}`
    throw registered('proof', 1102, reason)
  }
}
