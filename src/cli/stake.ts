/** `pokt-supplier stake`: shows what it costs and what can be lost, asks, stakes. */
import { Command } from 'commander'
import { formatPokt, type Upokt, upokt } from '../base/units.ts'
import {
  type StakeCosts,
  type SupplierStake,
  stakeCosts,
  stakeSupplierMessage,
} from '../chain/stake.ts'
import type { Config } from '../config/schema.ts'
import type { Signer } from '../keys/keyring.ts'
import { RPCType } from '../protocol/gen/pocket/shared/shared.ts'
import { chainAccess, sayConcerns, sendAndWait } from './chain.ts'
import { CliError, type Context, configOf, confirm, EXIT_HELP } from './context.ts'
import { openSigners } from './signers.ts'

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
What is staked stands under \`stake\` and \`services\` in the configuration. The amount is the new total.
New services are served from the next session on.

Examples:
  pokt-supplier stake --dry-run
  pokt-supplier stake --config supplier.yaml
${EXIT_HELP}`,
    )
    .action(async (options: Options) => {
      const config = await configOf(context, options.config)
      const results: unknown[] = []
      for (const signer of await openSigners(context, config))
        results.push(await stakeOne(context, config, signer, options))
      if (options.json === true) context.print(JSON.stringify({ suppliers: results }, null, 2))
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
    for (const line of costLines(signer, stake, costs)) context.say(line)
    sayConcerns(context, costs.concerns)
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
    context.say(`staked at height ${height}; served from height ${costs.activeFrom} on`)
    return { ...summary, sent: true, txHash, height }
  } finally {
    await chain.rpc.close()
  }
}

/** @throws CliError USAGE without a `stake` section */
export function supplierStake(config: Config, signer: Signer): SupplierStake {
  const { stake } = config
  if (stake === undefined) throw new CliError('USAGE', 'the configuration has no `stake` section')
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
