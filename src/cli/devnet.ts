/** `pokt-supplier devnet`: a simulated chain, a gateway and a real supplier on this machine. */
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { Command, InvalidArgumentError } from 'commander'
import { pino } from 'pino'
import { Lifetime } from '../base/lifetime.ts'
import { createLog, LOG_LEVELS, type Log, type LogLevel } from '../base/log.ts'
import { formatPokt, type Ms, ms, upokt } from '../base/units.ts'
import { stakeSupplierMessage } from '../chain/stake.ts'
import { Supplier } from '../node/supplier.ts'
import { chainAccess, sendAndWait } from './chain.ts'
import { CliError, type Context, EXIT_HELP } from './context.ts'
import { chat, PROMPTS } from './prompts.ts'
import { openSite, type Site, type SiteOptions } from './site.ts'
import { supplierStake } from './stake.ts'
import { untilAborted } from './start.ts'
import { BlockStory, type Story } from './story.ts'

interface Options {
  data?: string
  blockTime: Ms | 'manual'
  rpcPort: number
  gatewayPort: number
  relayPort: number
  adminPort: number
  slots: number
  demo?: boolean
  keep?: boolean
  supplier: boolean
  logLevel: LogLevel
}

export function devnetCommand(context: Context): Command {
  return new Command('devnet')
    .description(
      'run a simulated chain, a gateway and a supplier with the tiny model, all on this machine',
    )
    .option('--data <folder>', 'keys, configuration and database (default: a new temporary folder)')
    .option(
      '--block-time <time>',
      'such as 500ms or 2s, or manual: by the RPC method devnet_mine',
      blockTime,
      ms(1_000),
    )
    .option('--rpc-port <port>', 'CometBFT RPC; 0 for any free port', port, 26_657)
    .option('--gateway-port <port>', 'OpenAI-compatible gateway', port, 8_600)
    .option('--relay-port <port>', "the supplier's relay port", port, 8_545)
    .option('--admin-port <port>', "the supplier's health and status", port, 8_546)
    .option('--slots <n>', 'requests that the engine runs at the same time', positive, 4)
    .option('--no-supplier', 'only chain and gateway; start the supplier yourself')
    .option('--demo', 'send prompts until the chain has paid, then stop')
    .option('--keep', 'with --demo: go on running afterwards')
    .option('--log-level <level>', `of the log on stdout: ${LOG_LEVELS.join(', ')}`, 'silent')
    .addHelpText(
      'after',
      `
Nothing here leaves this machine and no money is real.

Examples:
  pokt-supplier devnet
  pokt-supplier devnet --demo
  curl http://127.0.0.1:8600/v1/chat/completions -d '{"messages":[{"role":"user","content":"What is 17 + 25?"}]}'
${EXIT_HELP}`,
    )
    .action((options: Options) => run(context, options))
}

async function run(context: Context, options: Options): Promise<void> {
  const folder = resolve(
    options.data ??
      join(tmpdir(), `pokt-supplier-devnet-${Buffer.from(context.randomBytes(4)).toString('hex')}`),
  )
  const log = createLog(options.logLevel, pino.destination({ fd: 1, sync: false }))
  const life = new Lifetime()
  try {
    const settings: SiteOptions = { ...options, folder }
    const site = await openSite(context, settings, life, log)
    context.say(
      `chain      ${site.rpcUrl} (${site.config.chain.id}), a block every ${String(options.blockTime)}${options.blockTime === 'manual' ? '' : ' ms'}`,
    )
    const story = new BlockStory(site)
    life.own(
      site.devnet.watch((block) => tell(context, story, block)),
      (end) => end(),
    )
    if (options.supplier) await openSupplier(context, site, life, log)
    sayHowToLook(context, site, options.supplier)
    if (options.demo === true) await demonstrate(context, site, story)
    if (options.demo !== true || options.keep === true)
      await untilAborted(context.signal, life.signal)
  } finally {
    await life.stop()
  }
}

/** Stakes as a user would, by a transaction, and starts the daemon in this process. */
async function openSupplier(context: Context, site: Site, life: Lifetime, log: Log): Promise<void> {
  const { config, operator } = site
  const chain = chainAccess(context, config)
  try {
    const message = stakeSupplierMessage(supplierStake(config, operator))
    const { height } = await sendAndWait(context, chain, operator, message)
    context.say(`staked     ${operator.address} in block ${height}`)
  } finally {
    await chain.rpc.close()
  }
  const deps = { ...context, log, pid: process.pid }
  const supplier = await Supplier.start(config, [operator], deps, context.signal)
  life.own(supplier, (part) => part.stop())
}

function tell(context: Context, story: BlockStory, block: Parameters<BlockStory['tell']>[0]): void {
  const { line } = story.tell(block)
  if (line !== '') context.say(line)
}

function sayHowToLook(context: Context, site: Site, withSupplier: boolean): void {
  context.say(`gateway    ${site.gatewayUrl}/v1`)
  const command = withSupplier ? 'status' : 'start'
  context.say(`look       pokt-supplier ${command} --config ${site.configPath}`)
  context.say(
    `ask        curl ${site.gatewayUrl}/v1/chat/completions -d '{"messages":[{"role":"user","content":"What is 17 + 25?"}]}'`,
  )
  context.say('')
}

/** Prompts through the gateway until a claim of ours is settled. @throws CliError REFUSED if none was */
async function demonstrate(context: Context, site: Site, story: BlockStory): Promise<void> {
  const before = story.balances()
  context.say(
    `balances   operator ${formatPokt(before.operator)}, owner ${formatPokt(before.owner)}`,
  )
  const stop = new AbortController()
  const both = AbortSignal.any([context.signal, stop.signal])
  const asking = ask(context, site, story, both)
  try {
    await story.paid(both, context.clock)
  } finally {
    stop.abort(context.signal.reason)
    await asking
  }
  const after = story.balances()
  const earned = upokt(after.owner > before.owner ? after.owner - before.owner : 0)
  context.say('')
  context.say(`balances   operator ${formatPokt(after.operator)}, owner ${formatPokt(after.owner)}`)
  context.say(summary(story.facts))
  if (earned === 0n) throw new CliError('REFUSED', 'the chain has not paid')
  context.say(`The chain has paid ${formatPokt(earned)} to the supplier's owner.`)
}

function summary({ relays, tokens, seconds, claims, proofs, settled }: Story): string {
  const speed = seconds > 0 ? (tokens / seconds).toFixed(0) : '0'
  return `relays     ${relays} answered, ${tokens} tokens at ${speed} tokens/s; ${claims} claimed, ${proofs} proven, ${settled} settled`
}

/** A few streams of questions, as from people who read the answer before they ask again. */
async function ask(
  context: Context,
  site: Site,
  story: BlockStory,
  signal: AbortSignal,
): Promise<void> {
  const stream = async (offset: number) => {
    for (let turn = offset; !signal.aborted && story.facts.settled === 0; turn += 2) {
      const prompt = PROMPTS[turn % PROMPTS.length] ?? ''
      const started = context.clock.monotonic()
      const answer = await chat(site.gatewayUrl, prompt, signal)
      const duration = ms(context.clock.monotonic() - started)
      if (answer !== undefined) story.answered(answer, duration)
      await context.clock.sleep(ms(150), signal).catch(() => {})
    }
  }
  await Promise.all([stream(0), stream(1)])
}

function port(text: string): number {
  const value = Number(text)
  if (Number.isInteger(value) && value >= 0 && value <= 65_535) return value
  throw new InvalidArgumentError('a port is a number from 0 to 65535')
}

function positive(text: string): number {
  const value = Number(text)
  if (Number.isInteger(value) && value >= 1 && value <= 64) return value
  throw new InvalidArgumentError('a number from 1 to 64 is needed')
}

function blockTime(text: string): Ms | 'manual' {
  if (text === 'manual') return text
  const match = /^(\d+)(ms|s)$/.exec(text)
  if (match === null) throw new InvalidArgumentError('write 500ms, 2s or manual')
  return ms(Number(match[1]) * (match[2] === 's' ? 1_000 : 1))
}
