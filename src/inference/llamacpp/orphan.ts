/**
 * An engine that outlived its supplier would keep the graphics memory for ever: it is written down with
 * its process id and start time, and ended at the next start if it is still that process.
 *
 * A process id alone is not enough, since the system gives it to somebody else later. Normally there is
 * nothing to do: the engine ends with its channel. Tested by test/inference/llamacpp/orphan.ts.
 */
import { readFile, rm } from 'node:fs/promises'
import { z } from 'zod'
import type { Clock } from '../../base/clock.ts'
import { writeFileAtomic } from '../../base/files.ts'
import type { Log } from '../../base/log.ts'
import { startTime } from '../../base/process-time.ts'
import { type Ms, ms } from '../../base/units.ts'

const record = z.strictObject({ pid: z.int().min(2), started: z.string().min(1) })

export interface OrphanOptions {
  /** A process that was killed is gone after this, or never. */
  readonly goneLimit: Ms
}

export const ORPHAN_DEFAULTS: OrphanOptions = { goneLimit: ms(2_000) }

const POLL = ms(20)

/** Writes down the engine that runs now. Without a start time nothing is written. */
export async function recordEngine(path: string, pid: number): Promise<void> {
  const started = await startTime(pid)
  if (started !== undefined) await writeFileAtomic(path, JSON.stringify({ pid, started }), 0o600)
}

export async function forgetEngine(path: string): Promise<void> {
  await rm(path, { force: true })
}

/**
 * Ends the engine that the file names, if that very process still runs, and removes the file.
 * @returns true when one was ended
 */
export async function endLeftover(
  deps: { clock: Clock; log: Log },
  path: string,
  options: OrphanOptions = ORPHAN_DEFAULTS,
): Promise<boolean> {
  const left = await readRecord(path)
  const found = left !== undefined && (await startTime(left.pid)) === left.started
  if (found) {
    deps.log.warn({ pid: left.pid }, 'an engine of an earlier run was still there and is ended')
    kill(left.pid)
    const limit = deps.clock.monotonic() + options.goneLimit
    while ((await startTime(left.pid)) === left.started && deps.clock.monotonic() < limit) {
      await deps.clock.sleep(POLL)
    }
  }
  await forgetEngine(path)
  return found
}

async function readRecord(path: string): Promise<z.infer<typeof record> | undefined> {
  try {
    return record.parse(JSON.parse(await readFile(path, 'utf8')))
  } catch {
    // No file, or one that a crash left empty: then there is nothing to go by.
    return undefined
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It ended by itself meanwhile.
  }
}
