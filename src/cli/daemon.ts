/** The running daemon of a data folder, as other commands ask it. Tests: test/cli/unstake.ts. */
import { join } from 'node:path'
import { withDeadline } from '../base/retry.ts'
import { ms } from '../base/units.ts'
import type { Config } from '../config/schema.ts'
import { askDaemon, OpsError } from '../ops/admin.ts'
import type { Report } from '../ops/report.ts'
import type { Context } from './context.ts'

/** Longer than the daemon waits for a node that does not answer. */
const ANSWER_WAIT = ms(30_000)

/** The daemon's report, or why there is none. @throws `signal.reason` */
export async function reportOf(
  { clock, signal }: Pick<Context, 'clock' | 'signal'>,
  { dataDir }: Pick<Config, 'dataDir'>,
): Promise<Report | OpsError> {
  const runFile = join(dataDir, 'run.json')
  try {
    return await withDeadline(clock, ANSWER_WAIT, signal, (both) => askDaemon(runFile, both))
  } catch (error) {
    signal.throwIfAborted()
    if (error instanceof OpsError) return error
    const text = `no answer within ${ANSWER_WAIT / 1_000} s`
    return new OpsError('STATUS_UNREADABLE', text, { cause: error })
  }
}
