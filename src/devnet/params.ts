/**
 * Parameters: changing them while the chain runs, as governance would.
 *
 * A change of the shared module holds from the next session's first block in the history; in the live
 * parameters the fields that move sessions and windows wait for the end of that block, the others hold
 * at once. Source: poktroll x/shared/keeper/msg_server_update_param.go, x/shared/keeper/end_blocker.go,
 * x/session/keeper/params.go. Tested by test/devnet/params.ts.
 */
import type { Params as SharedParams } from '../protocol/gen/pocket/shared/shared.ts'
import { gridAt } from '../protocol/session.ts'
import { DevnetError } from './errors.ts'
import { type AllParams, type Context, paramsOf, sharedAt, valueAt, withValue } from './state.ts'

/** Of sums of a few doubles. */
const ROUNDING = 1e-9

export type ModuleName = keyof AllParams

const TIMING = [
  'numBlocksPerSession',
  'gracePeriodEndOffsetBlocks',
  'claimWindowOpenOffsetBlocks',
  'claimWindowCloseOffsetBlocks',
  'proofWindowOpenOffsetBlocks',
  'proofWindowCloseOffsetBlocks',
] as const satisfies readonly (keyof SharedParams)[]

/** @throws DevnetError PARAMS for what the chain would not take */
export function changeParams<M extends ModuleName>(
  context: Context,
  module: M,
  change: Partial<AllParams[M]>,
): void {
  if (module === 'shared') changeShared(context, change as Partial<SharedParams>)
  else changeLive(context, module, change)
}

function changeLive<M extends ModuleName>(
  context: Context,
  module: M,
  change: Partial<AllParams[M]>,
): void {
  const { state } = context
  const live = paramsOf(state)
  const changed = { ...live, [module]: { ...live[module], ...change } }
  checkParams(changed)
  state.params.set('', changed)
  if (module !== 'session') return
  const grid = gridAt(context.height, sharedAt(state, context.height))
  const before = state.sessionHistory.get('') ?? withValue([], context.height, live.session)
  state.sessionHistory.set('', withValue(before, grid.end + 1, changed.session))
}

function changeShared(context: Context, change: Partial<SharedParams>): void {
  const { state, height: now } = context
  const live = paramsOf(state)
  const genesis = { ...live.shared, sessionGridAnchorHeight: 1n, sessionNumberAtAnchor: 1n }
  const history = state.sharedHistory.get('') ?? withValue([], 1, genesis)
  const effective = valueAt(history, now) ?? live.shared
  const grid = gridAt(now, effective)
  const next = { ...live.shared, ...pending(history, now), ...change }
  const isMoved = next.numBlocksPerSession !== effective.numBlocksPerSession
  next.sessionGridAnchorHeight = isMoved ? BigInt(grid.end + 1) : effective.sessionGridAnchorHeight
  next.sessionNumberAtAnchor = isMoved ? BigInt(grid.number + 1) : effective.sessionNumberAtAnchor
  checkShared(next)
  state.sharedHistory.set('', withValue(history, grid.end + 1, next))
  if (TIMING.some((field) => next[field] !== live.shared[field])) return
  const { sessionGridAnchorHeight, sessionNumberAtAnchor } = live.shared
  const shared = { ...next, sessionGridAnchorHeight, sessionNumberAtAnchor }
  state.params.set('', { ...live, shared })
}

/** What was changed before in this session and does not hold yet. */
function pending(
  history: readonly { height: number; value: SharedParams }[],
  now: number,
): Partial<SharedParams> {
  return history.findLast((entry) => entry.height > now)?.value ?? {}
}

/** End of block: what was recorded for this height becomes live. */
export function promoteShared(context: Context): void {
  const { state, height: now } = context
  const entry = state.sharedHistory.get('')?.find(({ height }) => height === now)
  if (entry !== undefined) state.params.set('', { ...paramsOf(state), shared: entry.value })
}

/** @throws DevnetError PARAMS */
export function checkParams({ shared, proof, tokenomics }: AllParams): void {
  checkShared(shared)
  const { mintRatio, globalInflationPerClaim: inflation } = tokenomics
  const refused = (reason: string) => new DevnetError('PARAMS', reason)
  if (!isShare(proof.proofRequestProbability))
    throw refused('proofRequestProbability must be between 0 and 1')
  if (!isShare(mintRatio) || mintRatio === 0)
    throw refused('mintRatio must be more than 0 and at most 1')
  if (!(inflation >= 0)) throw refused('globalInflationPerClaim must not be negative')
  for (const name of ['mintAllocationPercentages', 'mintEqualsBurnClaimDistribution'] as const) {
    const parts = Object.values(tokenomics[name] ?? {}) as number[]
    const sum = parts.reduce((total, part) => total + part, 0)
    if (!parts.every(isShare) || Math.abs(sum - 1) > ROUNDING)
      throw refused(`${name} must be between 0 and 1 and add up to 1`)
  }
}

function isShare(value: number): boolean {
  return value >= 0 && value <= 1
}

/** @throws DevnetError PARAMS */
export function checkShared(params: SharedParams): void {
  const refused = (reason: string) => new DevnetError('PARAMS', reason)
  const blocks = params.numBlocksPerSession
  if (blocks < 1n) throw refused('numBlocksPerSession must be at least 1')
  if (params.gracePeriodEndOffsetBlocks >= blocks)
    throw refused('gracePeriodEndOffsetBlocks must be less than numBlocksPerSession')
  if (params.claimWindowOpenOffsetBlocks < params.gracePeriodEndOffsetBlocks)
    throw refused('claimWindowOpenOffsetBlocks must be at least gracePeriodEndOffsetBlocks')
  const windows = windowBlocks(params)
  if (windows < 1n) throw refused('the windows must have at least one block in all')
  const periods = [
    params.supplierUnbondingPeriodSessions,
    params.applicationUnbondingPeriodSessions,
    params.gatewayUnbondingPeriodSessions,
  ]
  if (periods.some((sessions) => sessions * blocks < windows))
    throw refused('unbonding periods must be at least as long as the windows in all')
  if (params.computeUnitCostGranularity < 1n || params.computeUnitsToTokensMultiplier < 1n)
    throw refused('prices must be at least 1')
}

/** From a session's end to its proof window's close, less one. */
export function windowBlocks(params: SharedParams): bigint {
  return (
    params.claimWindowOpenOffsetBlocks +
    params.claimWindowCloseOffsetBlocks +
    params.proofWindowOpenOffsetBlocks +
    params.proofWindowCloseOffsetBlocks
  )
}
