/**
 * `pokt-supplier unstake`: gives the stake back, after the claims that would be lost are settled.
 * Tests: test/cli/stake.ts.
 */
import { Command } from 'commander'
import { formatPokt, ms } from '../base/units.ts'
import { unstakeCosts, unstakeSupplierMessage } from '../chain/stake.ts'
import type { Config } from '../config/schema.ts'
import type { Signer } from '../keys/keyring.ts'
import { type ChainAccess, chainAccess, sayConcerns, sendAndWait } from './chain.ts'
import { type Context, configOf, confirm, EXIT_HELP } from './context.ts'
import { CliError } from './errors.ts'
import { eachOperator } from './signers.ts'

interface Options {
  config?: string
  yes?: boolean
  json?: boolean
  now?: boolean
}

const LOOK_EVERY = ms(5_000)

export function unstakeCommand(context: Context): Command {
  return new Command('unstake')
    .description('end the stake of every configured operator')
    .option('-c, --config <file>', 'the configuration (default: ./supplier.yaml)')
    .option('--now', 'do not wait for claims that are not settled; the chain discards them unpaid')
    .option('--yes', 'do not ask')
    .option('--json', 'one JSON object instead of text')
    .addHelpText(
      'after',
      `
An unstake ends the services with the running session, and the chain discards what is not settled
by then. To lose nothing: stop the daemon, let \`start --settle\` end, then unstake.

Examples:
  pokt-supplier start --settle && pokt-supplier unstake
  pokt-supplier unstake --now --yes
${EXIT_HELP}`,
    )
    .action(async (options: Options) => {
      const config = await configOf(context, options.config)
      await eachOperator(context, config, options, (signer) =>
        unstakeOne(context, config, signer, options),
      )
    })
}

async function unstakeOne(
  context: Context,
  config: Config,
  signer: Signer,
  options: Options,
): Promise<Record<string, unknown>> {
  const chain = chainAccess(context, config)
  const { address } = signer
  try {
    const costs = await unstakeCosts(
      chain.query,
      address,
      address,
      await chain.height(),
      context.signal,
    )
    if (costs === undefined) throw new CliError('REFUSED', `${address} is not staked`)
    context.say(`operator   ${address}`)
    context.say(
      `comes back ${formatPokt(costs.stake)} to ${costs.owner} at height ${costs.returnedAt}`,
    )
    sayConcerns(context, costs.concerns)
    await confirm(context, 'Unstake?', options.yes === true)
    if (options.now !== true) await untilSettled(context, chain, address)
    const { txHash, height } = await sendAndWait(
      context,
      chain,
      signer,
      unstakeSupplierMessage(address, address),
    )
    // It ends with the session of its block, which may be a later one than that of the question.
    const done = await unstakeCosts(chain.query, address, address, height, context.signal)
    const { returnedAt } = done ?? costs
    context.say(`unstaked at height ${height}; the stake comes back at height ${returnedAt}`)
    return {
      operator: address,
      stakeUpokt: String(costs.stake),
      returnedAt,
      txHash,
      height,
    }
  } finally {
    await chain.rpc.close()
  }
}

async function untilSettled(context: Context, chain: ChainAccess, operator: string): Promise<void> {
  for (let said = false; ; said = true) {
    const claims = await chain.query.claims(operator, context.signal)
    if (claims.length === 0) return
    if (!said) {
      context.say(`waiting for ${claims.length} claims to settle; --now does not wait`)
      context.say(
        'a daemon that serves makes new ones: stop it and run pokt-supplier start --settle',
      )
    }
    await context.clock.sleep(LOOK_EVERY, context.signal)
  }
}
