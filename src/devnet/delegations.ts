/**
 * Delegation: which gateways may sign relays for an application.
 *
 * An undelegation counts until the end of its session and is remembered for two more, so that proofs of
 * relays signed by the gateway can still be checked. Source: poktroll x/application/keeper.
 * Tested by test/devnet/delegations.ts.
 */
import type {
  Application,
  MsgDelegateToGateway,
  MsgUndelegateFromGateway,
} from '../protocol/gen/pocket/application/application.ts'
import { quoted, registered, status } from './errors.ts'
import { applicationJson, typedEvent } from './events.ts'
import { type Context, liveGrid, paramsOf } from './state.ts'
import { addressFault } from './validate.ts'

/** @throws Refusal of codespace application */
export function checkDelegation(message: MsgDelegateToGateway | MsgUndelegateFromGateway): void {
  const { appAddress, gatewayAddress } = message
  const application = addressFault(appAddress)
  if (application !== undefined)
    throw registered(
      'application',
      1102,
      `invalid application address ${appAddress}; (${application})`,
    )
  const gateway = addressFault(gatewayAddress)
  if (gateway !== undefined)
    throw registered('application', 1108, `invalid gateway address ${gatewayAddress}; (${gateway})`)
}

/** @throws Refusal as the real handler answers */
export function delegate(context: Context, message: MsgDelegateToGateway): void {
  const { state } = context
  const { appAddress: address, gatewayAddress: gateway } = message
  const known = state.applications.get(address)
  if (known === undefined)
    throw status(
      'NotFound',
      registered('application', 1104, `application with address: ${address}`),
    )
  const found = state.gateways.get(gateway)
  const named = `gateway with address: ${quoted(gateway)}`
  if (found === undefined) throw status('NotFound', registered('application', 1107, named))
  const most = paramsOf(state).application.maxDelegatedGateways
  if (BigInt(known.delegateeGatewayAddresses.length) >= most) {
    const reason = `application with address ${quoted(address)} already delegated to ${most} (max) gateways`
    throw status('FailedPrecondition', registered('application', 1110, reason))
  }
  const left = found.unstakeSessionEndHeight
  if (left !== 0n && BigInt(context.height) > left)
    throw status('FailedPrecondition', registered('gateway', 1108, named))
  if (known.delegateeGatewayAddresses.includes(gateway)) {
    const reason = `application with address ${quoted(address)} already delegated to gateway with address: ${quoted(gateway)}`
    throw status('AlreadyExists', registered('application', 1109, reason))
  }
  const pending = [...known.pendingUndelegations].flatMap(([end, list]) => {
    const gatewayAddresses = list.gatewayAddresses.filter((other) => other !== gateway)
    return gatewayAddresses.length === 0 ? [] : [[end, { gatewayAddresses }] as const]
  })
  redelegated(context, {
    ...known,
    delegateeGatewayAddresses: [...known.delegateeGatewayAddresses, gateway],
    pendingUndelegations: new Map(pending),
  })
}

/** @throws Refusal as the real handler answers */
export function undelegate(context: Context, message: MsgUndelegateFromGateway): void {
  const { appAddress: address, gatewayAddress: gateway } = message
  const known = context.state.applications.get(address)
  if (known === undefined) {
    const reason = `application with address: ${quoted(address)}`
    throw status('NotFound', registered('application', 1104, reason))
  }
  if (!known.delegateeGatewayAddresses.includes(gateway)) {
    const reason = `application with address ${quoted(address)} not delegated to gateway with address: ${quoted(gateway)}`
    throw status('FailedPrecondition', registered('application', 1111, reason))
  }
  redelegated(context, withoutGateway(context, known, gateway))
}

/** The gateway's keys stay good for the running session. */
export function withoutGateway(
  context: Context,
  application: Application,
  gateway: string,
): Application {
  const end = BigInt(liveGrid(context).end)
  const pending = new Map(application.pendingUndelegations)
  const others = (pending.get(end)?.gatewayAddresses ?? []).filter((other) => other !== gateway)
  pending.set(end, { gatewayAddresses: [...others, gateway] })
  return {
    ...application,
    delegateeGatewayAddresses: application.delegateeGatewayAddresses.filter(
      (other) => other !== gateway,
    ),
    pendingUndelegations: pending,
  }
}

function redelegated(context: Context, application: Application): void {
  context.state.applications.set(application.address, application)
  context.events.push(
    typedEvent('pocket.application.EventRedelegation', {
      application: applicationJson(application),
      session_end_height: BigInt(liveGrid(context).end),
    }),
  )
}
