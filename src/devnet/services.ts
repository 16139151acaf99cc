/**
 * Services: adding one, and changing what a relay of it weighs.
 *
 * A new weight holds for sessions that start after the running one; those in flight keep the old.
 * Source: poktroll x/service/keeper/msg_server_add_service.go, service_compute_units_history.go.
 * Tested by test/devnet/services.ts.
 */
import { fromCoin } from '../base/units.ts'
import type { MsgAddService } from '../protocol/gen/pocket/service/service.ts'
import type { Service } from '../protocol/gen/pocket/shared/shared.ts'
import { moduleAddress, transfer } from './bank.ts'
import { quoted, registered, status, statusOf } from './errors.ts'
import { coinText } from './events.ts'
import {
  balanceOf,
  type Context,
  liveGrid,
  nextSessionStart,
  paramsOf,
  withValue,
} from './state.ts'
import { addressFault, serviceIdFault } from './validate.ts'

const COMPUTE_UNITS_MAX = 2_097_152n
const NAME_MAX = 169
const CARD_MAX = 262_144

/** @throws Refusal of codespace service or shared */
export function checkAddService({ ownerAddress: owner, service }: MsgAddService): void {
  const address = addressFault(owner)
  if (address !== undefined)
    throw registered('service', 1102, `invalid signer address ${owner}; (${address})`)
  if (service?.ownerAddress !== owner) {
    const reason = `service owner address ${quoted(service?.ownerAddress ?? '')} does not match the signer address ${quoted(owner)}`
    throw registered('service', 1113, reason)
  }
  const id = serviceIdFault(service.id)
  if (id !== undefined) throw registered('shared', 1108, id)
  checkName(service.name)
  const units = service.computeUnitsPerRelay
  const fault =
    units === 0n
      ? 'compute units per relay must be greater than 0'
      : units > COMPUTE_UNITS_MAX &&
        `compute units per relay must be less than ${COMPUTE_UNITS_MAX}`
  if (fault !== false) throw registered('shared', 1107, `${fault}: invalid compute units per relay`)
  const card = service.metadata?.card.length
  if (card === 0) throw registered('shared', 1111, 'metadata card must not be empty')
  if (card !== undefined && card > CARD_MAX) {
    const reason = `metadata card exceeds maximum size: got ${card} bytes, max ${CARD_MAX} bytes`
    throw registered('shared', 1111, reason)
  }
}

function checkName(name: string): void {
  if (name.length > NAME_MAX)
    throw registered('shared', 1109, `service name '${name}' exceeds maximum length: ${NAME_MAX}`)
  if (name !== '' && !/^[a-zA-Z0-9\-_ ]+$/.test(name))
    throw registered('shared', 1109, `service name '${name}' contains invalid characters`)
}

/** @throws Refusal as the real handler answers */
export function addService(context: Context, message: MsgAddService): void {
  const { state } = context
  const { service, ownerAddress: owner } = message
  if (service === undefined) throw status('InvalidArgument', 'service is nil')
  const known = state.services.get(service.id)
  if (known === undefined) create(context, owner, service)
  else change(context, known, service)
}

function create(context: Context, owner: string, service: Service): void {
  const { state } = context
  const fee = fromCoin(paramsOf(state).service.addServiceFee)
  const has = balanceOf(state, owner)
  if (has <= fee) {
    const reason =
      has === 0n
        ? 'account has no spendable coins'
        : `account has ${has}, but the service fee is ${coinText(fee)}`
    throw status('FailedPrecondition', registered('service', 1108, reason))
  }
  statusOf('Internal', () => transfer(context, owner, moduleAddress('service'), fee))
  state.services.set(service.id, service)
  const { start } = liveGrid(context)
  state.computeUnits.set(service.id, withValue([], start, service.computeUnitsPerRelay))
}

function change(context: Context, known: Service, service: Service): void {
  const { state } = context
  if (known.ownerAddress !== service.ownerAddress) {
    const reason = `existing owner address ${quoted(known.ownerAddress)} does not match the new owner address ${quoted(service.ownerAddress)}`
    throw status('InvalidArgument', registered('service', 1113, reason))
  }
  state.services.set(service.id, { ...service, metadata: service.metadata ?? known.metadata })
  if (known.computeUnitsPerRelay === service.computeUnitsPerRelay) return
  const history = state.computeUnits.get(service.id) ?? withValue([], 1, known.computeUnitsPerRelay)
  const next = nextSessionStart(context)
  state.computeUnits.set(service.id, withValue(history, next, service.computeUnitsPerRelay))
}
