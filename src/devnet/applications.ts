/**
 * Applications: staking, changing, leaving, and what the ends of sessions do to them.
 *
 * A new application pays from the running session on; another service counts from the next one.
 * Source: poktroll x/application/keeper, x/application/types. Tested by test/devnet/applications.ts.
 */
import { fromCoin, height, upokt } from '../base/units.ts'
import type {
  Application,
  ApplicationServiceConfigUpdate,
  MsgStakeApplication,
  MsgUnstakeApplication,
} from '../protocol/gen/pocket/application/application.ts'
import { moduleAddress, transfer } from './bank.ts'
import { quoted, registered, status, statusOf } from './errors.ts'
import { applicationJson, coinText, typedEvent } from './events.ts'
import { type Context, liveGrid, nextSessionStart, paramsOf, sharedAt } from './state.ts'
import { addressFault, serviceIdFault } from './validate.ts'

const SPEND_LIMIT_MIN = 1_000_000n
const RETAINED_SESSIONS = 2n

/** @throws Refusal of codespace application */
export function checkStakeApplication(message: MsgStakeApplication): void {
  const { address, stake, services, perSessionSpendLimit: limit } = message
  const fault = addressFault(address)
  if (fault !== undefined)
    throw registered('application', 1102, `invalid application address ${address}; (${fault})`)
  if (stake === undefined) throw registered('application', 1101, 'nil application stake; (<nil>)')
  const text = `${stake.amount}${stake.denom}`
  if (!/^\d+$/.test(stake.amount))
    throw registered('application', 1101, `invalid application stake ${text}; (invalid amount)`)
  if (BigInt(stake.amount) === 0n) {
    const reason = `invalid stake amount for application: ${text} <= 0`
    throw registered('application', 1101, reason)
  }
  if (stake.denom !== 'upokt') {
    const reason = `invalid stake amount denom for application: ${text}`
    throw registered('application', 1101, reason)
  }
  const [service] = services
  if (service === undefined || services.length !== 1)
    throw registered('application', 1106, 'application must have exactly one service')
  const id = serviceIdFault(service.serviceId)
  if (id !== undefined) throw registered('application', 1106, `${id}: invalid service ID`)
  if (limit === undefined || BigInt(limit.amount) === 0n) return
  if (limit.denom !== 'upokt' || BigInt(limit.amount) < SPEND_LIMIT_MIN) {
    const reason = `per_session_spend_limit ${limit.amount}${limit.denom} must be at least ${coinText(SPEND_LIMIT_MIN)}`
    throw registered('application', 1118, reason)
  }
}

/** @throws Refusal as the real handler answers */
export function stakeApplication(context: Context, message: MsgStakeApplication): void {
  const { state } = context
  const { address } = message
  const known = state.applications.get(address)
  const [before, stake] = [fromCoin(known?.stake), fromCoin(message.stake)]
  const refused = (reason: string) =>
    status('InvalidArgument', registered('application', 1101, reason))
  if (known !== undefined && stake <= before)
    throw refused(
      `stake amount ${coinText(stake)} must be higher than previous stake amount ${coinText(before)}`,
    )
  const least = fromCoin(paramsOf(state).application.minStake)
  if (stake < least)
    throw refused(`application ${quoted(address)} must stake at least ${coinText(least)}`)
  const more = upokt(stake - before)
  statusOf('Internal', () => transfer(context, address, moduleAddress('application'), more))
  const limit = message.perSessionSpendLimit ?? known?.perSessionSpendLimit
  const application: Application = {
    address,
    stake: message.stake,
    serviceConfigs: message.services,
    delegateeGatewayAddresses: known?.delegateeGatewayAddresses ?? [],
    pendingUndelegations: known?.pendingUndelegations ?? new Map(),
    unstakeSessionEndHeight: 0n,
    pendingTransfer: undefined,
    perSessionSpendLimit: fromCoin(limit) === 0n ? undefined : limit,
    serviceConfigHistory: known === undefined ? [] : newHistory(context, known, message),
  }
  state.applications.set(address, application)
  if (known !== undefined && known.unstakeSessionEndHeight !== 0n)
    context.events.push(told(context, 'UnbondingCanceled', application))
  context.events.push(told(context, 'Staked', application))
}

function told(context: Context, what: string, application: Application) {
  return typedEvent(`pocket.application.EventApplication${what}`, {
    application: applicationJson(application),
    session_end_height: BigInt(liveGrid(context).end),
  })
}

/** Another service is served from the next session on; there is no history while nothing changed. */
function newHistory(
  context: Context,
  known: Application,
  message: MsgStakeApplication,
): ApplicationServiceConfigUpdate[] {
  const ids = known.serviceConfigs.map((config) => config.serviceId)
  if (message.services.every(({ serviceId }) => ids.includes(serviceId)))
    return known.serviceConfigHistory
  const next = BigInt(nextSessionStart(context))
  const update = (service: { serviceId: string }, activationHeight: bigint) => ({
    applicationAddress: known.address,
    service,
    activationHeight,
    deactivationHeight: 0n,
  })
  const before =
    known.serviceConfigHistory.length > 0
      ? known.serviceConfigHistory
      : known.serviceConfigs.map((service) => update(service, 1n))
  const kept = before
    .filter((entry) => entry.activationHeight !== next)
    .map((entry) =>
      entry.deactivationHeight === 0n ? { ...entry, deactivationHeight: next } : entry,
    )
  return [...kept, ...message.services.map((service) => update(service, next))]
}

/** @throws Refusal as the real handler answers */
export function unstakeApplication(context: Context, message: MsgUnstakeApplication): void {
  const known = context.state.applications.get(message.address)
  const named = `application with address ${quoted(message.address)}`
  if (known === undefined) throw status('NotFound', registered('application', 1104, named))
  if (known.unstakeSessionEndHeight !== 0n)
    throw status('FailedPrecondition', registered('application', 1112, named))
  beginUnbonding(context, known, 'ELECTIVE')
}

/** Its last session is the running one. */
export function beginUnbonding(
  context: Context,
  application: Application,
  reason: 'ELECTIVE' | 'BELOW_MIN_STAKE',
): Application {
  const { end } = liveGrid(context)
  const { shared } = paramsOf(context.state)
  const leaving = { ...application, unstakeSessionEndHeight: BigInt(end) }
  context.state.applications.set(application.address, leaving)
  context.events.push(
    typedEvent('pocket.application.EventApplicationUnbondingBegin', {
      application: applicationJson(leaving),
      reason: `APPLICATION_UNBONDING_REASON_${reason}`,
      session_end_height: BigInt(end),
      unbonding_end_height:
        BigInt(end) + shared.applicationUnbondingPeriodSessions * shared.numBlocksPerSession,
    }),
  )
  return leaving
}

/** End of block: forgets old undelegations, and at a session's end pays out who has left. */
export function endApplications(context: Context): void {
  const { state, height: now } = context
  const { shared } = paramsOf(state)
  const kept = shared.gracePeriodEndOffsetBlocks + shared.numBlocksPerSession * RETAINED_SESSIONS
  for (const [address, application] of state.applications.entries()) {
    const pending = [...application.pendingUndelegations].filter(
      ([end]) => BigInt(now) <= kept || end >= BigInt(now) - kept,
    )
    if (pending.length !== application.pendingUndelegations.size)
      state.applications.set(address, { ...application, pendingUndelegations: new Map(pending) })
  }
  const { end } = liveGrid(context)
  if (end !== now) return
  for (const application of state.applications.values()) unbond(context, application, end)
}

function unbond(context: Context, application: Application, end: number): void {
  const { state } = context
  if (application.unstakeSessionEndHeight === 0n) return
  const left = height(application.unstakeSessionEndHeight)
  const params = sharedAt(state, left)
  const over = BigInt(left) + params.applicationUnbondingPeriodSessions * params.numBlocksPerSession
  if (over > BigInt(context.height)) return
  const stake = fromCoin(application.stake)
  transfer(context, moduleAddress('application'), application.address, stake)
  state.applications.delete(application.address)
  const least = fromCoin(paramsOf(state).application.minStake)
  context.events.push(
    typedEvent('pocket.application.EventApplicationUnbondingEnd', {
      application: applicationJson(application),
      reason: `APPLICATION_UNBONDING_REASON_${stake < least ? 'BELOW_MIN_STAKE' : 'ELECTIVE'}`,
      session_end_height: BigInt(end),
      unbonding_end_height: over,
    }),
  )
}
