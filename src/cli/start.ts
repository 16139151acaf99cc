/** `pokt-supplier start`: the daemon. Tests: test/e2e. */
import { Command, Option } from 'commander'
import { pino } from 'pino'
import { isAbort } from '../base/errors.ts'
import { createLog, LOG_LEVELS, type Log, type LogLevel } from '../base/log.ts'
import { ms } from '../base/units.ts'
import type { Config } from '../config/schema.ts'
import type { Signer } from '../keys/keyring.ts'
import { Supplier } from '../node/supplier.ts'
import { type Context, configOf, EXIT_HELP } from './context.ts'
import { openSigners } from './signers.ts'

interface Options {
  config?: string
  logLevel?: LogLevel
  settle?: boolean
}

const LOOK_EVERY = ms(1_000)

export function startCommand(context: Context): Command {
  return new Command('start')
    .description('serve relays, claim and prove them, until stopped')
    .option('-c, --config <file>', 'the configuration (default: ./supplier.yaml)')
    .addOption(new Option('--log-level <level>', 'of the log on stdout').choices(LOG_LEVELS))
    .option('--settle', 'serve nothing new; claim and prove what was served, then end')
    .addHelpText(
      'after',
      `
The log goes to stdout, one JSON object a line. SIGTERM or Ctrl-C lets running relays end and then
stops, with status 0; a second one stops at once, which loses nothing that was answered.

Examples:
  pokt-supplier start
  pokt-supplier start --config /etc/pokt-supplier/supplier.yaml --log-level debug
  pokt-supplier start --settle
${EXIT_HELP}`,
    )
    .action((options: Options) => run(context, options))
}

async function run(context: Context, options: Options): Promise<void> {
  const config = await configOf(context, options.config)
  const signers = await openSigners(context, config)
  const level = options.logLevel ?? config.log.level
  const log = createLog(level, pino.destination({ fd: 1, sync: false }))
  const supplier = await started(context, config, signers, log, options.settle !== true)
  if (supplier === undefined) return log.info('stopped before it was ready')
  try {
    if (options.settle === true) await untilSettled(context, supplier)
    else await untilAborted(context.signal, supplier.signal)
  } finally {
    log.info('supplier stops')
    await supplier.stop()
    log.info('supplier stopped')
  }
  if (!context.signal.aborted && options.settle !== true) throw supplier.signal.reason
}

/** Undefined when it was told to stop meanwhile, which is no failure of a daemon. */
async function started(
  context: Context,
  config: Config,
  signers: readonly Signer[],
  log: Log,
  serve: boolean,
): Promise<Supplier | undefined> {
  const deps = { ...context, log, pid: process.pid }
  try {
    return await Supplier.start(config, signers, deps, context.signal, { serve })
  } catch (error) {
    if (context.signal.aborted && isAbort(error, context.signal)) return undefined
    throw error
  }
}

/** Until no session is in work. @throws `signal.reason`, or what ended the supplier before */
async function untilSettled({ clock, signal, say }: Context, supplier: Supplier): Promise<void> {
  const either = AbortSignal.any([signal, supplier.signal])
  let said = -1
  for (;;) {
    const { length } = await supplier.parts.store.sessions.open()
    if (length === 0) return say('all settled')
    if (length !== said) say(`${length} sessions are not settled yet`)
    said = length
    await clock.sleep(LOOK_EVERY, either)
  }
}

/** Resolves when one of the signals is aborted. */
export function untilAborted(...signals: readonly AbortSignal[]): Promise<void> {
  const any = AbortSignal.any([...signals])
  return new Promise((resolve) => {
    if (any.aborted) return resolve()
    any.addEventListener('abort', () => resolve(), { once: true })
  })
}
