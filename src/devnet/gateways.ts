/**
 * Gateways: staking, and leaving at the end of a session with all delegations to them.
 *
 * Source: poktroll x/gateway/keeper, x/application/keeper/auto_undelegate.go.
 * Tested by test/devnet/delegations.ts.
 */
import { fromCoin, height, upokt } from '../base/units.ts'
import type {
  Gateway,
  MsgStakeGateway,
  MsgUnstakeGateway,
} from '../protocol/gen/pocket/gateway/gateway.ts'
import { moduleAddress, transfer } from './bank.ts'
import { withoutGateway } from './delegations.ts'
import { quoted, registered, status, statusOf } from './errors.ts'
import { coinText, gatewayJson, typedEvent } from './events.ts'
import { type Context, liveGrid, paramsOf, sharedAt } from './state.ts'
import { addressFault } from './validate.ts'

/** @throws Refusal of codespace gateway */
export function checkStakeGateway({ address, stake }: MsgStakeGateway): void {
  checkGatewayAddress(address)
  const refused = (reason: string) => registered('gateway', 1102, reason)
  if (stake === undefined) throw refused('nil gateway stake; (<nil>)')
  const text = `${stake.amount}${stake.denom}`
  if (!/^\d+$/.test(stake.amount)) throw refused(`invalid gateway stake ${text}; (invalid amount)`)
  if (BigInt(stake.amount) === 0n) throw refused(`invalid stake amount for gateway: ${text} <= 0`)
  if (stake.denom !== 'upokt') throw refused(`invalid stake amount denom for gateway ${text}`)
}

/** @throws Refusal of codespace gateway */
export function checkGatewayAddress(address: string): void {
  const fault = addressFault(address)
  if (fault !== undefined)
    throw registered('gateway', 1101, `invalid gateway address ${address}; (${fault})`)
}

/** @throws Refusal as the real handler answers */
export function stakeGateway(context: Context, message: MsgStakeGateway): void {
  const { state } = context
  const { address } = message
  const known = state.gateways.get(address)
  const [before, stake] = [fromCoin(known?.stake), fromCoin(message.stake)]
  const refused = (reason: string) => status('InvalidArgument', registered('gateway', 1102, reason))
  if (known !== undefined && stake <= before) {
    const was = coinText(before)
    throw refused(
      `stake amount ${coinText(stake)} must be higher than previous stake amount ${was}`,
    )
  }
  const least = fromCoin(paramsOf(state).gateway.minStake)
  if (stake < least)
    throw refused(`gateway ${quoted(address)} must stake at least ${coinText(least)}`)
  const more = upokt(stake - before)
  statusOf('Internal', () => transfer(context, address, moduleAddress('gateway'), more))
  const gateway: Gateway = {
    address,
    stake: message.stake,
    unstakeSessionEndHeight: 0n,
    metadata: known?.metadata,
  }
  state.gateways.set(address, gateway)
  if (known !== undefined && known.unstakeSessionEndHeight !== 0n)
    told(context, 'UnbondingCanceled', gateway)
  told(context, 'Staked', gateway)
}

/** @throws Refusal as the real handler answers */
export function unstakeGateway(context: Context, { address }: MsgUnstakeGateway): void {
  const { state } = context
  const known = state.gateways.get(address)
  if (known === undefined)
    throw status('NotFound', registered('gateway', 1104, `gateway with address ${address}`))
  if (known.unstakeSessionEndHeight !== 0n) {
    const named = `gateway with address ${quoted(address)}`
    throw status('FailedPrecondition', registered('gateway', 1107, named))
  }
  const gateway = { ...known, unstakeSessionEndHeight: BigInt(liveGrid(context).end) }
  state.gateways.set(address, gateway)
  const { shared } = paramsOf(state)
  const period = shared.gatewayUnbondingPeriodSessions * shared.numBlocksPerSession
  told(context, 'UnbondingBegin', gateway, gateway.unstakeSessionEndHeight + period)
}

function told(context: Context, what: string, gateway: Gateway, over?: bigint): void {
  context.events.push(
    typedEvent(`pocket.gateway.EventGateway${what}`, {
      gateway: gatewayJson(gateway),
      session_end_height: BigInt(liveGrid(context).end),
      ...(over === undefined ? {} : { unbonding_end_height: over }),
    }),
  )
}

/** End of block: pays out whose unbonding is over; undelegates from those that are gone for good. */
export function endGateways(context: Context): void {
  const { state, height: now } = context
  if (liveGrid(context).end === now)
    for (const gateway of state.gateways.values()) unbond(context, gateway)
  for (const gateway of state.gateways.values()) {
    const left = gateway.unstakeSessionEndHeight
    if (left === 0n || BigInt(now) <= left) continue
    for (const application of state.applications.values())
      if (application.delegateeGatewayAddresses.includes(gateway.address))
        state.applications.set(
          application.address,
          withoutGateway(context, application, gateway.address),
        )
  }
}

function unbond(context: Context, gateway: Gateway): void {
  const { state } = context
  if (gateway.unstakeSessionEndHeight === 0n) return
  const left = height(gateway.unstakeSessionEndHeight)
  const params = sharedAt(state, left)
  const over = BigInt(left) + params.gatewayUnbondingPeriodSessions * params.numBlocksPerSession
  if (over > BigInt(context.height)) return
  transfer(context, moduleAddress('gateway'), gateway.address, fromCoin(gateway.stake))
  state.gateways.delete(gateway.address)
  told(context, 'UnbondingEnd', gateway, over)
}
