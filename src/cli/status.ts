/**
 * `pokt-supplier status`: asks the running daemon, and opens the database only when none runs. A
 * daemon that starts or stops holds the database and answers nobody: then it says just that.
 * Tests: test/cli/status.ts.
 */
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { Command } from 'commander'
import { silentLog } from '../base/log.ts'
import type { Config } from '../config/schema.ts'
import { OpsError } from '../ops/admin.ts'
import { earningsReport, sessionReport } from '../ops/report.ts'
import { earningsLines, reportText, sessionLines } from '../ops/text.ts'
import { openStore } from '../store/db.ts'
import { StoreError } from '../store/errors.ts'
import { type Context, configOf, EXIT_HELP } from './context.ts'
import { reportOf } from './daemon.ts'

interface Status {
  readonly data: Readonly<Record<string, unknown>>
  readonly text: string
}

export function statusCommand(context: Context): Command {
  return new Command('status')
    .description('what the supplier is doing, what waits for pay, what was earned and lost')
    .option('-c, --config <file>', 'the configuration (default: ./supplier.yaml)')
    .option('--json', 'one JSON object instead of text')
    .addHelpText(
      'after',
      `
In the JSON \`state\` is running, starting (or stopping) or stopped. Amounts are upokt, as strings.

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

/** @throws OpsError STATUS_UNREADABLE, StoreError */
async function statusOf(context: Context, config: Config): Promise<Status> {
  const answer = await reportOf(context, config)
  if (!(answer instanceof OpsError))
    return { data: { state: 'running', ...answer }, text: reportText(answer) }
  try {
    return await fromDatabase(context, config)
  } catch (error) {
    if (!(error instanceof StoreError) || error.code !== 'LOCKED') throw error
    // Who holds the database is our daemon, also when something else answered in its place.
    if (answer.code === 'STATUS_UNREADABLE') throw answer
    const { pid } = error.data
    const by = pid === undefined ? 'a process' : `process ${pid}`
    return {
      data: { state: 'starting', ...(pid === undefined ? {} : { pid }) },
      text: `starting or stopping: ${by} has the database open and does not answer yet; its log says more`,
    }
  }
}

async function fromDatabase(context: Context, config: Config): Promise<Status> {
  const path = join(config.dataDir, 'db')
  // Looking must not make a database, least of all as another user.
  if (!(await isThere(path)))
    return { data: { state: 'stopped' }, text: `not running, and nothing has run yet: no ${path}` }
  await using store = await openStore(path, { log: silentLog(), clock: context.clock })
  const open = await store.sessions.open()
  const sessions = await Promise.all(
    open.map(async (record) => sessionReport(record, await store.relays.served(record.key))),
  )
  const earnings = earningsReport(await store.ledger.totals())
  const lines = ['not running', '', ...sessionLines(sessions), '', ...earningsLines(earnings)]
  return { data: { state: 'stopped', sessions, earnings }, text: lines.join('\n') }
}

async function isThere(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  )
}
