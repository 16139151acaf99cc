/**
 * Suppliers: staking, changing, unstaking, and what the beginnings and ends of sessions do to them.
 *
 * A stake message gives the new total and, if it has services, the complete new list, active from the
 * next session on. An unstaked supplier keeps its session, is bonded for the unbonding period and is
 * then paid out to its owner. Source: poktroll x/supplier/keeper, x/supplier/types.
 * Tested by test/devnet/suppliers.ts.
 */
import { fromCoin, height, type Upokt, upokt } from '../base/units.ts'
import type { ServiceConfigUpdate, Supplier } from '../protocol/gen/pocket/shared/shared.ts'
import type {
  MsgStakeSupplier,
  MsgUnstakeSupplier,
} from '../protocol/gen/pocket/supplier/supplier.ts'
import { isModule, moduleAddress, transfer } from './bank.ts'
import { windowsAround } from './claims.ts'
import { serviceConfigFault } from './configs.ts'
import { quoted, registered, status, statusOf } from './errors.ts'
import { coinText, supplierJson, typedEvent } from './events.ts'
import { activeServices } from './session.ts'
import { type Context, isActive, liveGrid, nextSessionStart, paramsOf, sharedAt } from './state.ts'
import { addressFault, stakeFault } from './validate.ts'

/** @throws Refusal of codespace supplier */
export function checkStakeSupplier(message: MsgStakeSupplier): void {
  const roles = [
    ['owner', message.ownerAddress],
    ['operator', message.operatorAddress],
    ['signer', message.signer],
  ] as const
  for (const [role, address] of roles) {
    const fault = addressFault(address)
    if (fault !== undefined)
      throw registered('supplier', 1102, `invalid ${role} address ${address}; (${fault})`)
  }
  const stake = message.stake === undefined ? undefined : stakeFault(message.stake)
  if (stake !== undefined) throw registered('supplier', 1101, stake)
  if (message.services.length === 0) return
  if (message.signer !== message.operatorAddress) throw registered('supplier', 1104, OPERATOR_ONLY)
  const fault = serviceConfigFault(message.services)
  if (fault !== undefined) throw registered('supplier', 1104, fault)
}

const OPERATOR_ONLY = 'only the operator account is authorized to update the service configurations'

/** @throws Refusal as the real handler answers */
export function stakeSupplier(context: Context, message: MsgStakeSupplier): void {
  const { state, events } = context
  const { signer, ownerAddress: owner, operatorAddress: operator } = message
  if (isModule(state, owner)) {
    const reason = `owner address ${owner} is a module account and cannot be used`
    throw status('InvalidArgument', registered('supplier', 1102, reason))
  }
  for (const { serviceId } of message.services) {
    if (state.services.get(serviceId) !== undefined) continue
    const reason = `service ${quoted(serviceId)} does not exist`
    throw status('InvalidArgument', registered('supplier', 1106, reason))
  }
  const known = state.suppliers.get(operator)
  if (known === undefined && message.stake === undefined) {
    const reason = 'when staking a new supplier, the stake amount MUST be non-nil'
    throw status('InvalidArgument', registered('supplier', 1101, reason))
  }
  if (known !== undefined) checkUpdate(known, message)
  const before = fromCoin(known?.stake)
  const stake = message.stake === undefined ? before : fromCoin(message.stake)
  checkMinimum(context, owner, stake)
  statusOf('Internal', () => settleDifference(context, message, before, stake))
  const fee = fromCoin(paramsOf(state).supplier.stakingFee)
  statusOf('FailedPrecondition', () => transfer(context, signer, moduleAddress('supplier'), fee))
  const supplier: Supplier = {
    ownerAddress: owner,
    operatorAddress: operator,
    stake: { denom: 'upokt', amount: stake.toString() },
    services: [],
    unstakeSessionEndHeight: 0n,
    serviceConfigHistory: newHistory(context, known, message),
  }
  state.suppliers.set(operator, supplier)
  state.unstaking.delete(operator)
  const end = BigInt(liveGrid(context).end)
  if (known !== undefined && known.unstakeSessionEndHeight !== 0n)
    events.push(
      typedEvent('pocket.supplier.EventSupplierUnbondingCanceled', {
        supplier: supplierJson({ ...supplier, services: activeServices(known, context.height) }),
        session_end_height: end,
        height: BigInt(context.height),
      }),
    )
  events.push(
    typedEvent('pocket.supplier.EventSupplierStaked', {
      operator_address: operator,
      session_end_height: end,
    }),
  )
}

/** Who may change what of a supplier that is there. */
function checkUpdate(known: Supplier, message: MsgStakeSupplier): void {
  const { signer } = message
  const { ownerAddress: owner, operatorAddress: operator } = known
  const refused = (reason: string) => registered('shared', 1105, reason)
  if (signer !== owner && signer !== operator) {
    const reason = `signer address ${signer} does not match owner address ${message.ownerAddress} or supplier operator address ${message.operatorAddress}`
    throw status('InvalidArgument', refused(reason))
  }
  if (message.ownerAddress !== owner && signer !== owner) {
    const reason = `signer ${quoted(signer)} is not allowed to update the owner address ${quoted(owner)}`
    throw status('InvalidArgument', refused(reason))
  }
  if (signer !== operator && message.services.length > 0)
    throw status('InvalidArgument', refused(OPERATOR_ONLY))
  if (known.unstakeSessionEndHeight !== 0n && signer !== owner) {
    const reason = `signer ${quoted(signer)} is not allowed to cancel the unbonding of supplier with owner ${quoted(owner)}; only the owner can cancel an in-progress unstake`
    throw status('PermissionDenied', refused(reason))
  }
}

function checkMinimum(context: Context, owner: string, stake: Upokt): void {
  const least = fromCoin(paramsOf(context.state).supplier.minStake)
  if (stake >= least) return
  const reason = `supplier with owner ${quoted(owner)} must stake at least ${coinText(least)}`
  throw status('InvalidArgument', registered('supplier', 1101, reason))
}

/** More comes from the signer, less goes to the owner. */
function settleDifference(
  context: Context,
  message: MsgStakeSupplier,
  before: Upokt,
  after: Upokt,
): void {
  const pool = moduleAddress('supplier')
  if (after > before) transfer(context, message.signer, pool, upokt(after - before))
  else if (after < before) transfer(context, pool, message.ownerAddress, upokt(before - after))
}

function newHistory(
  context: Context,
  known: Supplier | undefined,
  message: MsgStakeSupplier,
): ServiceConfigUpdate[] {
  const before = known?.serviceConfigHistory ?? []
  if (message.services.length === 0) return before
  const next = BigInt(nextSessionStart(context))
  const renewed = new Set(message.services.map((config) => config.serviceId))
  const kept = before
    .filter(
      (update) => update.activationHeight !== next || !renewed.has(update.service?.serviceId ?? ''),
    )
    .map((update) =>
      update.deactivationHeight === 0n ? { ...update, deactivationHeight: next } : update,
    )
  const added = message.services.map((service) => ({
    operatorAddress: message.operatorAddress,
    service,
    activationHeight: next,
    deactivationHeight: 0n,
  }))
  return inStoreOrder([...kept, ...added])
}

/** As the store lists them: by the service's key, which ends with a slash, then by activation. */
export function inStoreOrder(history: ServiceConfigUpdate[]): ServiceConfigUpdate[] {
  return history.sort((a, b) => {
    const [one, other] = [`${a.service?.serviceId}/`, `${b.service?.serviceId}/`]
    if (one !== other) return one < other ? -1 : 1
    return Number(a.activationHeight - b.activationHeight)
  })
}

/** @throws Refusal of codespace supplier */
export function checkUnstakeSupplier(message: MsgUnstakeSupplier): void {
  const signer = addressFault(message.signer)
  if (signer !== undefined) throw registered('supplier', 1102, `invalid signer address (${signer})`)
  const operator = addressFault(message.operatorAddress)
  if (operator !== undefined)
    throw registered('supplier', 1102, `invalid operator address (${operator})`)
}

/** @throws Refusal as the real handler answers */
export function unstakeSupplier(context: Context, message: MsgUnstakeSupplier): void {
  const { state } = context
  const { signer, operatorAddress: operator } = message
  const known = state.suppliers.get(operator)
  const named = `supplier with operator address ${quoted(operator)}`
  if (known === undefined) throw status('NotFound', registered('supplier', 1103, named))
  if (signer !== known.ownerAddress && signer !== operator) {
    const reason = `signer ${quoted(signer)} is not allowed to unstake supplier ${operator}`
    throw status('PermissionDenied', registered('shared', 1105, reason))
  }
  if (known.unstakeSessionEndHeight !== 0n)
    throw status('FailedPrecondition', registered('supplier', 1105, named))
  const { end } = liveGrid(context)
  const next = BigInt(nextSessionStart(context))
  const supplier = {
    ...known,
    unstakeSessionEndHeight: BigInt(end),
    serviceConfigHistory: known.serviceConfigHistory.map((update) => ({
      ...update,
      deactivationHeight: next,
    })),
  }
  state.suppliers.set(operator, supplier)
  state.unstaking.set(operator, true)
  const { shared } = paramsOf(state)
  context.events.push(
    unbonding('Begin', supplier, 'VOLUNTARY', {
      session_end_height: BigInt(end),
      unbonding_end_height:
        BigInt(end) + shared.supplierUnbondingPeriodSessions * shared.numBlocksPerSession,
    }),
  )
}

export function unbonding(
  which: 'Begin' | 'End',
  supplier: Supplier,
  reason: 'VOLUNTARY' | 'BELOW_MIN_STAKE',
  heights: { session_end_height: bigint; unbonding_end_height: bigint },
) {
  return typedEvent(`pocket.supplier.EventSupplierUnbonding${which}`, {
    supplier: supplierJson({ ...supplier, serviceConfigHistory: [] }),
    reason: `SUPPLIER_UNBONDING_REASON_${reason}`,
    ...heights,
  })
}

/** At the beginning of a session's first block: tells which configurations became active. */
export function activateServices(context: Context): void {
  const { start } = liveGrid(context)
  if (start !== context.height) return
  for (const supplier of context.state.suppliers.values())
    for (const update of supplier.serviceConfigHistory) {
      if (update.activationHeight !== BigInt(start) || !isActive(update, start)) continue
      context.events.push(
        typedEvent('pocket.supplier.EventSupplierServiceConfigActivated', {
          activation_height: BigInt(start),
          operator_address: supplier.operatorAddress,
          service_id: update.service?.serviceId ?? '',
        }),
      )
    }
}

/** At a session's end: pays out and removes whose unbonding is over. */
export function unbondSuppliers(context: Context): void {
  const { state, height: now } = context
  const { end } = liveGrid(context)
  if (end !== now) return
  for (const [operator] of state.unstaking.entries()) {
    const supplier = state.suppliers.get(operator)
    if (supplier === undefined || supplier.unstakeSessionEndHeight === 0n) continue
    const left = height(supplier.unstakeSessionEndHeight)
    const params = sharedAt(state, left)
    const over = BigInt(left) + params.supplierUnbondingPeriodSessions * params.numBlocksPerSession
    if (over > BigInt(now)) continue
    const stake = fromCoin(supplier.stake)
    if (stake > 0n) transfer(context, moduleAddress('supplier'), supplier.ownerAddress, stake)
    state.suppliers.delete(operator)
    state.unstaking.delete(operator)
    const least = fromCoin(paramsOf(state).supplier.minStake)
    const reason = stake < least ? 'BELOW_MIN_STAKE' : 'VOLUNTARY'
    context.events.push(
      unbonding('End', supplier, reason, {
        session_end_height: BigInt(end),
        unbonding_end_height: over,
      }),
    )
  }
}

/** Forgets configurations of which no proof can be wanted any more. */
export function pruneConfigs(context: Context): void {
  const { state, height: now } = context
  const isOver = (update: ServiceConfigUpdate) => {
    const { deactivationHeight: off } = update
    if (off === 0n || off > BigInt(now) || off < 2n) return false
    return now > windowsAround(state, off - 1n).proofClose
  }
  for (const [operator, supplier] of state.suppliers.entries()) {
    const kept = supplier.serviceConfigHistory.filter((update) => !isOver(update))
    if (kept.length !== supplier.serviceConfigHistory.length)
      state.suppliers.set(operator, { ...supplier, serviceConfigHistory: kept })
  }
}
