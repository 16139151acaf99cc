/**
 * `pokt-supplier devnet`: a simulated chain, a gateway and a real supplier on this machine.
 * Tests: test/cli/devnet.ts, and scripts/demo as a whole.
 */
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { Command, InvalidArgumentError, Option } from 'commander'
import { pino } from 'pino'
import { Lifetime } from '../base/lifetime.ts'
import { createLog, LOG_LEVELS, type Log, type LogLevel } from '../base/log.ts'
import { formatPokt, type Ms, ms, upokt } from '../base/units.ts'
import { stakeSupplierMessage } from '../chain/stake.ts'
import { Supplier } from '../node/supplier.ts'
import { chainAccess, sendAndWait } from './chain.ts'
import { type Context, EXIT_HELP } from './context.ts'
import { CliError } from './errors.ts'
import { chat, PROMPTS } from './prompts.ts'
import { openSite, type Site, type SiteOptions } from './site.ts'
import { supplierStake } from './stake-options.ts'
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
  latency: Ms
  hangUp: number
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
    .option(
      '--data <folder>',
      'for keys, configuration and database; a new one each time (default: a temporary folder)',
    )
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
    .option('--latency <time>', 'the gateway waits so long before each relay', time, ms(0))
    .option('--hang-up <share>', 'of 1: the gateway hangs up on so many relays', share, 0)
    .option('--no-supplier', 'only chain and gateway; start the supplier yourself')
    .option('--demo', 'send prompts until the chain has paid, then stop')
    .option('--keep', 'with --demo: go on running afterwards')
    .addOption(
      new Option('--log-level <level>', 'of the log on stdout')
        .choices(LOG_LEVELS)
        .default('silent'),
    )
    .addHelpText(
      'after',
      `
Nothing here leaves this machine and no money is real. Ctrl-C ends everything, with status 0, but
with --demo only once the chain has paid.

Examples:
  pokt-supplier devnet
  pokt-supplier devnet --demo
  pokt-supplier devnet --no-supplier --block-time manual --data try
  curl http://127.0.0.1:8600/v1/chat/completions -d '{"messages":[{"role":"user","content":"What is 17 + 25?"}]}'
${EXIT_HELP}`,
    )
    .action((options: Options) => run(context, options))
}

async function run(context: Context, options: Options): Promise<void> {
  if (options.demo === true && (options.blockTime === 'manual' || !options.supplier))
    throw new CliError('USAGE', '--demo needs a supplier, and blocks by the clock')
  const temporary = options.data === undefined
  const folder = resolve(options.data ?? join(tmpdir(), `pokt-supplier-devnet-${tag(context)}`))
  const log = createLog(options.logLevel, pino.destination({ fd: 1, sync: false }))
  const life = new Lifetime()
  try {
    await inFolder(context, { ...options, folder }, life, log)
  } finally {
    await life.stop()
    if (temporary) await rm(folder, { recursive: true, force: true })
  }
}

async function inFolder(
  context: Context,
  options: Options & SiteOptions,
  life: Lifetime,
  log: Log,
): Promise<void> {
  const site = await openSite(context, options, life, log)
  site.gateway.knobs = { latency: options.latency, hangUpShare: options.hangUp }
  const pace =
    options.blockTime === 'manual' ? 'blocks by hand' : `a block every ${options.blockTime} ms`
  context.say(`chain      ${site.rpcUrl} (${site.config.chain.id}), ${pace}`)
  const story = new BlockStory(site)
  life.own(
    site.devnet.watch((block) => tell(context, story, block)),
    (end) => end(),
  )
  const supplier = options.supplier ? await openSupplier(context, site, life, log) : undefined
  sayHowToLook(context, site, options)
  if (options.demo === true) await demonstrate(context, site, story)
  if (options.demo === true && options.keep !== true) return
  const ends = supplier === undefined ? [life.signal] : [life.signal, supplier.signal]
  await untilAborted(context.signal, ...ends)
  for (const end of ends) if (end.aborted) throw end.reason
}

function tag({ randomBytes }: Context): string {
  return Buffer.from(randomBytes(4)).toString('hex')
}

/** Stakes as a user would, by a transaction, and starts the daemon in this process. */
async function openSupplier(
  context: Context,
  site: Site,
  life: Lifetime,
  log: Log,
): Promise<Supplier> {
  const { config, operator, devnet } = site
  const chain = chainAccess(context, config)
  try {
    const message = stakeSupplierMessage(supplierStake(config, operator))
    // Where blocks are made by hand, nobody knows yet that one is needed.
    const mine = () => void (devnet.options.blockTime === 'manual' && devnet.mine())
    const { height } = await sendAndWait(context, chain, operator, message, mine)
    context.say(`staked     ${operator.address} in block ${height}`)
  } finally {
    await chain.rpc.close()
  }
  const deps = { ...context, log, pid: process.pid }
  const supplier = await Supplier.start(config, [operator], deps, context.signal)
  return life.own(supplier, (part) => part.stop())
}

function tell(context: Context, story: BlockStory, block: Parameters<BlockStory['tell']>[0]): void {
  const line = story.tell(block)
  if (line !== '') context.say(line)
}

function sayHowToLook(context: Context, site: Site, options: Options): void {
  const { rpcUrl, gatewayUrl, configPath } = site
  context.say(`gateway    ${gatewayUrl}/v1`)
  if (options.blockTime === 'manual')
    context.say(`mine       curl '${rpcUrl}/devnet_mine?blocks=1'`)
  if (!options.supplier) {
    context.say(`stake      pokt-supplier stake --yes --config ${configPath}`)
    context.say(`start      pokt-supplier start --config ${configPath}`)
  }
  context.say(`look       pokt-supplier status --config ${configPath}`)
  context.say(
    `ask        curl ${gatewayUrl}/v1/chat/completions -d '{"messages":[{"role":"user","content":"What is 17 + 25?"}]}'`,
  )
  context.say('')
}

/** From the first prompt to the settlement of its session, on the devnet's grid, with room to spare. */
const DEMO_BLOCKS = 40
const DEMO_EXTRA = 60_000

/** Prompts through the gateway until a claim of ours is settled. @throws CliError NOT_PAID if none was */
async function demonstrate(context: Context, site: Site, story: BlockStory): Promise<void> {
  const before = story.balances()
  context.say(
    `balances   operator ${formatPokt(before.operator)}, owner ${formatPokt(before.owner)}`,
  )
  const { blockTime } = site.devnet.options
  const limit = ms(DEMO_EXTRA + DEMO_BLOCKS * (blockTime === 'manual' ? 0 : blockTime))
  const stop = new AbortController()
  const both = AbortSignal.any([context.signal, stop.signal])
  const asking = ask(context, site, story, both)
  try {
    await story.paid(both, context.clock, limit)
  } finally {
    stop.abort(context.signal.reason)
    await asking
  }
  const after = story.balances()
  const earned = upokt(after.owner > before.owner ? after.owner - before.owner : 0)
  context.say('')
  context.say(`balances   operator ${formatPokt(after.operator)}, owner ${formatPokt(after.owner)}`)
  context.say(summary(story.facts))
  if (earned === 0n) throw new CliError('NOT_PAID', 'the chain has not paid')
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

function share(text: string): number {
  const value = Number(text)
  if (text.trim() !== '' && value >= 0 && value <= 1) return value
  throw new InvalidArgumentError('a number from 0 to 1 is needed')
}

function time(text: string): Ms {
  const value = msOf(text)
  if (value !== undefined && value <= TIME_MAX) return ms(value)
  throw new InvalidArgumentError('write a time such as 200ms or 2s, at most 600s')
}

const TIME_MAX = 600_000
/** Faster blocks leave a supplier no time to act in. */
const BLOCK_TIME_MIN = 50

function blockTime(text: string): Ms | 'manual' {
  if (text === 'manual') return text
  const value = msOf(text)
  if (value !== undefined && value >= BLOCK_TIME_MIN && value <= TIME_MAX) return ms(value)
  throw new InvalidArgumentError('write manual, or a time from 50ms to 600s')
}

function msOf(text: string): number | undefined {
  const match = /^(\d+)(ms|s)$/.exec(text)
  return match === null ? undefined : Number(match[1]) * (match[2] === 's' ? 1_000 : 1)
}
