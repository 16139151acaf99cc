/**
 * Whether a process is still the one that it was: the system gives its number to somebody else later. Tested by
 * test/base/process-time.ts.
 */
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'

/**
 * When a process started, in words that only equal themselves; undefined when there is no such process (a
 * zombie counts as none) or the system doesn't say.
 */
export async function startTime(pid: number): Promise<string | undefined> {
  try {
    return process.platform === 'linux' ? await fromProc(pid) : await fromPs(pid)
  } catch {
    return undefined
  }
}

/** Field 22 of /proc/PID/stat, in clock ticks since the boot that the boot id names. */
async function fromProc(pid: number): Promise<string | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
  const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8')
  // The second field is the command in brackets and may hold anything, so count from its end.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const ticks = fields[19]
  if (ticks === undefined || fields[0] === 'Z' || fields[0] === 'X') return undefined
  return `${boot.trim()} ${ticks}`
}

async function fromPs(pid: number): Promise<string | undefined> {
  const { stdout } = await promisify(execFile)('ps', ['-o', 'lstart=', '-p', String(pid)], {
    env: { PATH: '/bin:/usr/bin', LC_ALL: 'C' },
    timeout: 3_000,
  })
  return stdout.trim() === '' ? undefined : stdout.trim()
}
