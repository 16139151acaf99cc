/**
 * `pokt-supplier stake`: shows what it costs, what it brings and what can be lost, asks, stakes.
 * Tests: test/cli/{stake,roles,card}.ts.
 */
import { Command } from 'commander'
import { type Address, fromCoin, upokt } from '../base/units.ts'
import {
  type Concern,
  offerConcerns,
  prevents,
  type SupplierStake,
  warns,
} from '../chain/concern.ts'
import { type BreakEven, breakEven, type StakeCosts, stakeCosts } from '../chain/costs.ts'
import { ChainError } from '../chain/errors.ts'
import type { NodeStatus } from '../chain/rpc.ts'
import { offersOf, type ServiceInfo, serviceInfo } from '../chain/services.ts'
import { stakeSupplierMessage } from '../chain/stake.ts'
import { networkOf } from '../config/networks.ts'
import type { Config } from '../config/schema.ts'
import {
  blockTime,
  type ChainAccess,
  chainAccess,
  type Estimate,
  estimate,
  sayConcerns,
  sendAndWait,
  txFeeMax,
} from './chain.ts'
import { type Context, configOf, confirm, EXIT_HELP } from './context.ts'
import { untilFunded } from './funds.ts'
import { addRoleOptions, eachOperator, type Roles } from './signers.ts'
import { checkEngines } from './stake-check.ts'
import {
  addStakeOptions,
  completed,
  type Known,
  type StakeOptions,
  stakeOf,
  type Wanted,
  wantedOf,
} from './stake-options.ts'
import { checkLine, type Preview, previewData, previewLines } from './stake-text.ts'

export function stakeCommand(context: Context): Command {
  const command = new Command('stake')
    .description('stake every configured operator for the configured services')
    .option('-c, --config <file>', 'the configuration (default: ./supplier.yaml)')
  return addRoleOptions(addStakeOptions(command))
    .option('--yes', 'do not ask')
    .option('--dry-run', 'only show what it would cost')
    .option('--json', 'one JSON object instead of text')
    .addHelpText(
      'after',
      `
What is staked stands under \`stake\` and \`services\` in the configuration; flags go before it, and
what is missing is asked for on a terminal. The amount is the new total. Services are replaced as a
whole and served from the next session on.

The operator signs, or with --signer owner the owner, who pays the stake and may change the owner.
Services are set by the operator only.

Examples:
  pokt-supplier stake --dry-run
  pokt-supplier stake --config supplier.yaml --wait-funds
  pokt-supplier stake --services-only --service text-generation --url https://new.example.org
  pokt-supplier stake --stake-only --amount 70000POKT --signer owner --owner-key owner.json
${EXIT_HELP}`,
    )
    .action(async (options: StakeOptions) => {
      const config = await configOf(context, options.config)
      const wanted = wantedOf(config, options)
      await eachOperator(context, config, options, (roles) =>
        stakeOne(context, config, wanted, roles, options),
      )
    })
}

async function stakeOne(
  context: Context,
  config: Config,
  said: Wanted,
  roles: Roles,
  options: StakeOptions,
): Promise<Record<string, unknown>> {
  const chain = chainAccess(context, config)
  try {
    // Of a foreign chain nothing is asked.
    await chain.status()
    const known = await knownOf(context, chain, roles.operator)
    const wanted = await completed(context, said, known, options.yes === true)
    const stake = stakeOf(wanted, known, roles)
    if (options.waitFunds === true) await untilPayable(context, config, chain, stake, options)
    const preview = await previewOf(context, config, chain, roles, stake)
    const tell = options.dryRun === true && options.json !== true ? context.print : context.say
    for (const line of previewLines(preview)) tell(line)
    sayConcerns(context, preview.concerns)
    const checks = options.check ? await checkEngines(context, config, preview.infos) : []
    for (const check of checks)
      context.say(`${check.result === 'failed' ? 'warning: ' : ''}${checkLine(check)}`)
    const summary = { ...previewData(preview), checks }
    if (options.dryRun === true) return { ...summary, sent: false }
    await confirm(context, 'Stake?', options.yes === true)
    const message = stakeSupplierMessage(stake)
    const { txHash, height } = await sendAndWait(context, chain, roles.signer, message)
    // With the session after that of its block, which may be a later one than that of the question.
    const { activeFrom } = await stakeCosts(chain.query, stake, height, upokt(0), context.signal)
    const served = stake.services.length === 0 ? '' : `; served from height ${activeFrom} on`
    context.say(`staked at height ${height}${served}`)
    return { ...summary, activeFrom, sent: true, txHash, height }
  } finally {
    await chain.rpc.close()
  }
}

/** So many missed proofs the proposed stake survives. */
const SLASHES = 100n

async function knownOf(
  { signal }: Context,
  { query }: ChainAccess,
  operator: Address,
): Promise<Known> {
  const [supplier, params, proof] = await Promise.all([
    query.supplier(operator, signal),
    query.supplierParams(signal),
    query.proofParams(signal),
  ])
  const room = SLASHES * fromCoin(proof.proofMissingPenalty)
  return { supplier, amount: upokt(fromCoin(params.minStake) + room) }
}

/** What else stands in the way is said first: money would not help. */
async function untilPayable(
  context: Context,
  config: Config,
  chain: ChainAccess,
  stake: SupplierStake,
  options: StakeOptions,
): Promise<void> {
  const at = await chain.height()
  const costs = await stakeCosts(chain.query, stake, at, txFeeMax(chain), context.signal)
  if (costs.missing === 0n) return
  const others = costs.concerns.filter(({ isFunds }) => isFunds !== true)
  if (others.some((concern) => concern.prevents)) sayConcerns(context, others)
  const { balance, missing } = costs
  const faucet = networkOf(config.network, config.chain.id)?.faucet
  const need = { address: stake.signer, balance, missing, faucet }
  await untilFunded(context, chain.query, need, options.json === true)
}

async function previewOf(
  context: Context,
  config: Config,
  chain: ChainAccess,
  roles: Roles,
  stake: SupplierStake,
): Promise<Preview> {
  const { signal } = context
  const { rpc, query } = chain
  const status = await chain.status()
  const fee = txFeeMax(chain)
  const costs = await stakeCosts(query, stake, status.height, fee, signal)
  const concerns: Concern[] = [...costs.concerns]
  const infos: ServiceInfo[] = []
  const pay = new Map<string, BreakEven>()
  for (const service of stake.services) {
    const info = await serviceInfo(rpc, service.serviceId, signal)
    if (info === undefined) continue
    infos.push(info)
    pay.set(info.id, await breakEven(query, info.id, costs.activeFrom, fee, signal))
    const offers = await offersOf(rpc, info.id, stake.operator, signal)
    concerns.push(...offerConcerns(service, info, offers))
  }
  concerns.push(...configConcerns(config, stake))
  const estimated = await estimateOf(context, chain, roles, stake, costs, status)
  if (estimated instanceof ChainError) concerns.push(prevents(estimated.message))
  return {
    stake,
    at: status.height,
    costs,
    estimate: estimated instanceof ChainError ? undefined : estimated,
    blockTime: await blockTime(chain, status, signal),
    infos,
    pay,
    concerns,
  }
}

/** The chain's own word on what we did not foresee; undefined where it is refused anyway. */
async function estimateOf(
  { signal }: Context,
  chain: ChainAccess,
  { signer }: Roles,
  stake: SupplierStake,
  costs: StakeCosts,
  status: NodeStatus,
): Promise<Estimate | ChainError | undefined> {
  if (costs.concerns.some((concern) => concern.prevents)) return undefined
  try {
    return await estimate(chain, signer, stakeSupplierMessage(stake), status, signal)
  } catch (error) {
    if (error instanceof ChainError && error.code === 'SIMULATION') return error
    throw error
  }
}

const PRIVATE =
  /^(localhost|127\.|10\.|192\.168\.|172\.(1[6-9]|2\d|3[01])\.|169\.254\.|\[::1\]|\[f[cd])/

/** What this machine is set up for, against what is staked. */
function configConcerns(config: Config, { services }: SupplierStake): Concern[] {
  const concerns: Concern[] = []
  const url = services[0]?.endpoints[0]?.url
  if (url === undefined) return concerns
  const { hostname, pathname } = new URL(url)
  // On a test network of one's own any address will do.
  const isPublic = networkOf(config.network, config.chain.id)?.isPublic === true
  if (isPublic && PRIVATE.test(hostname))
    concerns.push(warns(`gateways elsewhere cannot reach ${hostname}; see stake.url`))
  if (config.stake !== undefined && new URL(config.stake.url).pathname !== pathname)
    concerns.push(
      warns('the path of --url is another one than that of stake.url: write it there too'),
    )
  const served = new Set(config.services.map(({ id }) => id))
  for (const { serviceId } of services.filter((service) => !served.has(service.serviceId)))
    concerns.push(
      warns(`${serviceId} is not among the configured services: nothing here serves it`),
    )
  return concerns
}
