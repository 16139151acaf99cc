/**
 * What the chain says of the configured operators, and what of it keeps them from earning.
 * Tests: test/node/stakes.ts.
 */
import { errorText } from '../base/errors.ts'
import { type Address, fromCoin } from '../base/units.ts'
import type { SupplierReport } from '../ops/report.ts'
import type { Supplier } from '../protocol/gen/pocket/shared/shared.ts'
import type { ChainParts } from './chain.ts'
import type { Frame } from './supplier.ts'

/** Balance and stake of each operator; null where no node answers. Never throws but `signal.reason`. */
export async function stakesOf(
  frame: Pick<Frame, 'signers' | 'deps'>,
  { query }: Pick<ChainParts, 'query'>,
  signal: AbortSignal,
): Promise<SupplierReport[]> {
  const { log } = frame.deps
  const unless = async <T>(work: Promise<T>): Promise<T | null> =>
    await work.catch((error: unknown) => {
      signal.throwIfAborted()
      log.debug({ reason: errorText(error) }, 'stake or balance not known')
      return null
    })
  const one = async (operator: Address): Promise<SupplierReport> => {
    const [balance, stake] = await Promise.all([
      unless(query.balance(operator, signal)),
      unless(query.supplier(operator, signal).then(stakeOf)),
    ])
    return { operator, balanceUpokt: balance === null ? null : String(balance), stake }
  }
  return await Promise.all([...frame.signers.keys()].map(one))
}

/** New services stand in the history alone until the next session starts. */
function stakeOf(supplier: Supplier | undefined): SupplierReport['stake'] {
  if (supplier === undefined) return { upokt: '0', services: [], unstakingAt: null }
  const { stake, services, serviceConfigHistory, unstakeSessionEndHeight } = supplier
  const kept = serviceConfigHistory.filter(({ deactivationHeight }) => deactivationHeight === 0n)
  const ids = [...services, ...kept.flatMap(({ service }) => service ?? [])]
  return {
    upokt: String(fromCoin(stake)),
    services: [...new Set(ids.map(({ serviceId }) => serviceId))],
    unstakingAt: unstakeSessionEndHeight === 0n ? null : Number(unstakeSessionEndHeight),
  }
}

/** As sentences; none where everything that is configured is staked. */
export function stakeProblems(
  { config }: Pick<Frame, 'config'>,
  suppliers: readonly SupplierReport[],
): string[] {
  const problems: string[] = []
  for (const { operator, stake } of suppliers) {
    if (stake === null) continue
    const missing = config.services.map(({ id }) => id).filter((id) => !stake.services.includes(id))
    if (stake.upokt === '0') problems.push(`${operator} is not staked; run: pokt-supplier stake`)
    else if (stake.unstakingAt !== null)
      problems.push(`${operator} is unstaking since the session that ends at ${stake.unstakingAt}`)
    else if (missing.length > 0)
      problems.push(`${operator} is not staked for ${missing.join(', ')}; run: pokt-supplier stake`)
  }
  return problems
}
