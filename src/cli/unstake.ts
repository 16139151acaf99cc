/**
 * `pokt-supplier unstake`: gives the stake back, after what would be lost is settled.
 * Tests: test/cli/unstake.ts.
 */
import { Command } from 'commander'
import { formatPokt, ms } from '../base/units.ts'
import { type UnstakeCosts, unstakeCosts } from '../chain/costs.ts'
import { unstakeSupplierMessage } from '../chain/stake.ts'
import type { Config } from '../config/schema.ts'
import { type ChainAccess, chainAccess, sayConcerns, sendAndWait } from './chain.ts'
import { type Context, configOf, confirm, EXIT_HELP } from './context.ts'
import { CliError } from './errors.ts'
import { addRoleOptions, eachOperator, type RoleOptions, type Roles } from './signers.ts'
import { type Unsettled, unsettledOf } from './unsettled.ts'

interface Options extends RoleOptions {
  config?: string
  yes?: boolean
  now?: boolean
}

const LOOK_EVERY = ms(5_000)

export function unstakeCommand(context: Context): Command {
  const command = new Command('unstake')
    .description('end the stake of every configured operator')
    .option('-c, --config <file>', 'the configuration (default: ./supplier.yaml)')
  return addRoleOptions(command)
    .option('--now', 'do not wait for what is not settled; the chain discards it unpaid')
    .option('--yes', 'do not ask')
    .option('--json', 'one JSON object instead of text')
    .addHelpText(
      'after',
      `
An unstake ends the services with the running session, and the chain discards what is not settled
by then. So it waits for the sessions of the daemon or its database and for the claims on the chain.
A daemon that serves makes new ones: stop it, let \`start --settle\` end, then unstake.

The stake goes to the owner, whoever signs.

Examples:
  pokt-supplier start --settle && pokt-supplier unstake
  pokt-supplier unstake --now --yes
  pokt-supplier unstake --operator pokt1... --signer owner --owner-key owner.json
${EXIT_HELP}`,
    )
    .action(async (options: Options) => {
      const config = await configOf(context, options.config)
      await eachOperator(context, config, options, (roles) =>
        unstakeOne(context, config, roles, options),
      )
    })
}

async function unstakeOne(
  context: Context,
  config: Config,
  { operator, signer }: Roles,
  options: Options,
): Promise<Record<string, unknown>> {
  const chain = chainAccess(context, config)
  const costsNow = async (at = chain.height()) =>
    await unstakeCosts(chain.query, signer.address, operator, await at, context.signal)
  try {
    const costs = await costsNow()
    if (costs === undefined) throw new CliError('REFUSED', `${operator} is not staked`)
    sayCosts(context, operator, costs)
    if (options.now === true) await sayWhatIsLost(context, config, chain, operator)
    await confirm(context, 'Unstake?', options.yes === true)
    if (options.now !== true) await untilSettled(context, config, chain, operator)
    const message = unstakeSupplierMessage(signer.address, operator)
    const { txHash, height } = await sendAndWait(context, chain, signer, message)
    // It ends with the session of its block, which may be a later one than that of the question.
    const { returnedAt } = (await costsNow(Promise.resolve(height))) ?? costs
    context.say(`unstaked at height ${height}; the stake comes back at height ${returnedAt}`)
    return { operator, stakeUpokt: String(costs.stake), returnedAt, txHash, height }
  } finally {
    await chain.rpc.close()
  }
}

/** @throws CliError REFUSED */
function sayCosts(context: Context, operator: string, costs: UnstakeCosts): void {
  context.say(`operator   ${operator}`)
  context.say(
    `comes back ${formatPokt(costs.stake)} to ${costs.owner} at height ${costs.returnedAt}`,
  )
  sayConcerns(context, costs.concerns)
}

async function sayWhatIsLost(
  context: Context,
  config: Config,
  chain: ChainAccess,
  operator: string,
): Promise<void> {
  const at = await chain.height()
  const found = await unsettledOf(context, config, chain.query, operator, at)
  if (found === undefined) return
  context.say('given up, since --now does not wait:')
  for (const line of found.lines) context.say(`  ${line}`)
}

/** @throws CliError UNSETTLED where waiting alone would not help; ChainError, StoreError, OpsError */
async function untilSettled(
  context: Context,
  config: Config,
  chain: ChainAccess,
  operator: string,
): Promise<void> {
  for (let told = ''; ; ) {
    const at = await chain.height()
    const found = await unsettledOf(context, config, chain.query, operator, at)
    if (found === undefined) return
    const text = [...found.lines, found.keeper].join('\n')
    if (text !== told) sayUnsettled(context, found, at)
    told = text
    if (found.abandoned > 0)
      throw new CliError(
        'UNSETTLED',
        `no daemon runs to claim or prove ${found.abandoned} sessions with relays`,
      )
    await context.clock.sleep(LOOK_EVERY, context.signal)
  }
}

function sayUnsettled({ say }: Context, { keeper, lines, until }: Unsettled, at: number): void {
  if (keeper === 'starting')
    say('a daemon has the database and does not answer yet; waiting for what it knows')
  if (lines.length > 0) say(`not settled before height ${until}, now ${at}; --now does not wait:`)
  for (const line of lines) say(`  ${line}`)
  if (keeper === 'serving')
    say('a daemon that serves makes new ones: stop it and run pokt-supplier start --settle')
}
