/** `pokt-supplier start`: the daemon. */
import { Command } from 'commander'
import { pino } from 'pino'
import { createLog, LOG_LEVELS, type LogLevel } from '../base/log.ts'
import { Supplier } from '../node/supplier.ts'
import { type Context, configOf, EXIT_HELP } from './context.ts'
import { openSigners } from './signers.ts'

export function startCommand(context: Context): Command {
  return new Command('start')
    .description('serve relays, claim and prove them, until stopped')
    .option('-c, --config <file>', 'the configuration (default: ./supplier.yaml)')
    .option('--log-level <level>', `one of ${LOG_LEVELS.join(', ')}`)
    .addHelpText(
      'after',
      `
The log goes to stdout, one JSON object a line. SIGTERM or Ctrl-C lets running relays end and then
stops; a second one stops at once, which loses nothing that was answered.

Examples:
  pokt-supplier start
  pokt-supplier start --config /etc/pokt-supplier/supplier.yaml --log-level debug
${EXIT_HELP}`,
    )
    .action(async (options: { config?: string; logLevel?: LogLevel }) => {
      const config = await configOf(context, options.config)
      const signers = await openSigners(context, config)
      const log = createLog(
        options.logLevel ?? config.log.level,
        pino.destination({ fd: 1, sync: false }),
      )
      const supplier = await Supplier.start(
        config,
        signers,
        { ...context, log, pid: process.pid },
        context.signal,
      )
      await untilAborted(context.signal, supplier.signal)
      log.info('supplier stops')
      await supplier.stop()
      log.info('supplier stopped')
      if (!context.signal.aborted) throw supplier.signal.reason
    })
}

/** Resolves when one of the signals is aborted. */
export function untilAborted(...signals: readonly AbortSignal[]): Promise<void> {
  const any = AbortSignal.any([...signals])
  return new Promise((resolve) => {
    if (any.aborted) return resolve()
    any.addEventListener('abort', () => resolve(), { once: true })
  })
}
