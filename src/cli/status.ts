/** `pokt-supplier status`: asks the running daemon, and opens the database only when none runs. */
import { join } from 'node:path'
import { Command } from 'commander'
import { silentLog } from '../base/log.ts'
import type { Config } from '../config/schema.ts'
import { askDaemon, OpsError } from '../ops/admin.ts'
import {
  earningsLines,
  earningsReport,
  reportText,
  sessionLines,
  sessionReport,
} from '../ops/report.ts'
import { openStore } from '../store/db.ts'
import { type Context, configOf, EXIT_HELP } from './context.ts'

export function statusCommand(context: Context): Command {
  return new Command('status')
    .description('what the supplier is doing, what waits for pay, what was earned and lost')
    .option('-c, --config <file>', 'the configuration (default: ./supplier.yaml)')
    .option('--json', 'one JSON object instead of text')
    .addHelpText(
      'after',
      `
Examples:
  pokt-supplier status
  pokt-supplier status --json | jq .earnings
${EXIT_HELP}`,
    )
    .action(async (options: { config?: string; json?: boolean }) => {
      const config = await configOf(context, options.config)
      const { data, text } = await statusOf(context, config)
      context.print(options.json === true ? JSON.stringify(data, null, 2) : text)
    })
}

async function statusOf(
  context: Context,
  config: Config,
): Promise<{ data: unknown; text: string }> {
  try {
    const report = await askDaemon(join(config.dataDir, 'run.json'), context.signal)
    return { data: { running: true, ...report }, text: reportText(report) }
  } catch (error) {
    if (!(error instanceof OpsError) || error.code !== 'NOT_RUNNING') throw error
  }
  await using store = await openStore(join(config.dataDir, 'db'), {
    log: silentLog(),
    clock: context.clock,
  })
  const open = await store.sessions.open()
  const sessions = await Promise.all(
    open.map(async (record) => sessionReport(record, await store.relays.served(record.key))),
  )
  const earnings = earningsReport(await store.ledger.totals())
  const text = ['not running', '', ...sessionLines(sessions), '', ...earningsLines(earnings)].join(
    '\n',
  )
  return { data: { running: false, sessions, earnings }, text }
}
