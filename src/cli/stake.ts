/**
 * `pokt-supplier stake`: shows what it costs and what can be lost, asks, stakes.
 * Tests: test/cli/stake.ts.
 */
import { Command } from 'commander'
import { formatPokt, type Upokt, upokt } from '../base/units.ts'
import {
  type Concern,
  type StakeCosts,
  type SupplierStake,
  stakeCosts,
  stakeSupplierMessage,
} from '../chain/stake.ts'
import { ConfigError } from '../config/load.ts'
import type { Config } from '../config/schema.ts'
import type { Signer } from '../keys/keyring.ts'
import { RPCType } from '../protocol/gen/pocket/shared/shared.ts'
import { chainAccess, sayConcerns, sendAndWait } from './chain.ts'
import { type Context, configOf, confirm, EXIT_HELP } from './context.ts'
import { eachOperator } from './signers.ts'

interface Options {
  config?: string
  yes?: boolean
  json?: boolean
  dryRun?: boolean
}

export function stakeCommand(context: Context): Command {
  return new Command('stake')
    .description('stake every configured operator for the configured services')
    .option('-c, --config <file>', 'the configuration (default: ./supplier.yaml)')
    .option('--yes', 'do not ask')
    .option('--dry-run', 'only show what it would cost')
    .option('--json', 'one JSON object instead of text')
    .addHelpText(
      'after',
      `
What is staked stands under \`stake\` and \`services\` in the configuration. The amount is the new
total. New services are served from the next session on.

Examples:
  pokt-supplier stake --dry-run
  pokt-supplier stake --config supplier.yaml
${EXIT_HELP}`,
    )
    .action(async (options: Options) => {
      const config = await configOf(context, options.config)
      requireStake(config)
      await eachOperator(context, config, options, (signer) =>
        stakeOne(context, config, signer, options),
      )
    })
}

async function stakeOne(
  context: Context,
  config: Config,
  signer: Signer,
  options: Options,
): Promise<Record<string, unknown>> {
  const chain = chainAccess(context, config)
  try {
    const stake = supplierStake(config, signer)
    const costs = await stakeCosts(chain.query, stake, await chain.height(), context.signal)
    const tell = options.dryRun === true && options.json !== true ? context.print : context.say
    for (const line of costLines(signer, stake, costs)) tell(line)
    sayConcerns(context, [...costs.concerns, ...urlConcerns(config)])
    const summary = {
      operator: signer.address,
      owner: stake.owner,
      lockedUpokt: String(costs.locked),
      releasedUpokt: String(costs.released),
      stakingFeeUpokt: String(costs.stakingFee),
      unbondingBlocks: costs.unbondingBlocks,
      activeFrom: costs.activeFrom,
    }
    if (options.dryRun === true) return { ...summary, sent: false }
    await confirm(context, 'Stake?', options.yes === true)
    const { txHash, height } = await sendAndWait(
      context,
      chain,
      signer,
      stakeSupplierMessage(stake),
    )
    // With the session after that of its block, which may be a later one than that of the question.
    const { activeFrom } = await stakeCosts(chain.query, stake, height, context.signal)
    context.say(`staked at height ${height}; served from height ${activeFrom} on`)
    return { ...summary, activeFrom, sent: true, txHash, height }
  } finally {
    await chain.rpc.close()
  }
}

/** @throws ConfigError CONFIG_INVALID without a `stake` section */
function requireStake({ stake }: Config): NonNullable<Config['stake']> {
  if (stake !== undefined) return stake
  throw new ConfigError('CONFIG_INVALID', 'stake: the section is missing; it says what to stake')
}

/** @throws ConfigError CONFIG_INVALID without a `stake` section */
export function supplierStake(config: Config, signer: Signer): SupplierStake {
  const stake = requireStake(config)
  const owner = stake.owner ?? signer.address
  const revShare = stake.revShare?.map(({ address, percent }) => ({
    address,
    revSharePercentage: BigInt(percent),
  })) ?? [{ address: owner, revSharePercentage: 100n }]
  // Gateways skip a supplier without the type they ask for: both kinds of JSON service, one URL.
  const endpoints = [RPCType.JSON_RPC, RPCType.REST].map((rpcType) => ({
    url: stake.url,
    rpcType,
    configs: [],
  }))
  return {
    signer: signer.address,
    owner,
    operator: signer.address,
    stake: upokt(stake.amount as Upokt),
    services: config.services.map(({ id }) => ({ serviceId: id, endpoints, revShare })),
  }
}

const PRIVATE =
  /^(localhost|127\.|10\.|192\.168\.|172\.(1[6-9]|2\d|3[01])\.|169\.254\.|\[::1\]|\[f[cd])/

/** On a test network of one's own any address will do. */
function urlConcerns(config: Config): Concern[] {
  const { hostname } = new URL(requireStake(config).url)
  if (config.chain.id !== 'pocket' || !PRIVATE.test(hostname)) return []
  return [{ prevents: false, text: `gateways elsewhere cannot reach ${hostname}; see stake.url` }]
}

function costLines(signer: Signer, stake: SupplierStake, costs: StakeCosts): string[] {
  return [
    `operator         ${signer.address}`,
    `owner            ${stake.owner}`,
    `services         ${stake.services.map(({ serviceId }) => serviceId).join(', ')}`,
    `stake            ${formatPokt(costs.stakeBefore)} -> ${formatPokt(costs.stakeAfter)} (minimum ${formatPokt(costs.minStake)})`,
    `to be locked     ${formatPokt(costs.locked)} of ${formatPokt(costs.balance)}`,
    `fee, gone        ${formatPokt(costs.stakingFee)} and gas`,
    `to get it back   ${costs.unbondingBlocks} blocks after the session in which you unstake`,
    `served from      height ${costs.activeFrom} on`,
    'A missed or wrong proof is slashed from this stake. A proof publishes one sampled request of the',
    'session, prompt included, on the chain.',
  ]
}
