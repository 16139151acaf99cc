/**
 * Which programs on the cards are the running daemon's own: it, and what it has started. Another process must not
 * take the daemon's engine for somebody who needs the card. Tests: test/cli/gpu.ts.
 */
import { join } from 'node:path'
import { read } from '../gpu/drm.ts'
import { powershell } from '../gpu/presence-windows.ts'
import type { Runner } from '../gpu/run.ts'
import type { GpuSamples } from '../gpu/sample.ts'
import { readRunFile } from '../ops/admin.ts'

export interface OwnDeps {
  readonly run: Runner
  readonly platform: string
  /** `/proc` */
  readonly proc: string
  /** Where a daemon leaves its process's number. */
  readonly runFile: string
}

type ParentOf = (pid: number) => Promise<number | undefined>

/** An engine is a child, or a child's child. */
const GENERATIONS_MAX = 8

/** None where no daemon has left its number, or the system does not tell who has started whom. */
export async function ownPrograms(
  deps: OwnDeps,
  { gpus }: GpuSamples,
  signal: AbortSignal,
): Promise<ReadonlySet<number>> {
  const daemon = await readRunFile(deps.runFile).catch(() => undefined)
  const pids = [...new Set(gpus.flatMap(({ processes = [] }) => processes.map(({ pid }) => pid)))]
  if (daemon === undefined || pids.length === 0) return new Set()
  const parentOf = deps.platform === 'linux' ? fromProc(deps.proc) : await fromWindows(deps, signal)
  const own = new Set<number>()
  for (const pid of pids) if (await descends(pid, daemon.pid, parentOf)) own.add(pid)
  return own
}

async function descends(pid: number, from: number, parentOf: ParentOf): Promise<boolean> {
  let at: number | undefined = pid
  for (let count = 0; at !== undefined && count < GENERATIONS_MAX; count++) {
    if (at === from) return true
    at = await parentOf(at)
  }
  return false
}

/** `4711 (name, which may hold blanks and brackets) S 4242 …` */
function fromProc(proc: string): ParentOf {
  return async (pid) => {
    const text = (await read(join(proc, String(pid), 'stat'))) ?? ''
    const parent = Number(
      text
        .slice(text.lastIndexOf(')') + 1)
        .trim()
        .split(' ')[1],
    )
    return Number.isInteger(parent) && parent > 0 ? parent : undefined
  }
}

async function fromWindows({ run, platform }: OwnDeps, signal: AbortSignal): Promise<ParentOf> {
  const parents = new Map<number, number>()
  if (platform === 'win32') {
    const script =
      'Get-CimInstance Win32_Process | ForEach-Object { "$($_.ProcessId) $($_.ParentProcessId)" }'
    const result = await run('powershell.exe', powershell(script), signal)
    const text = result.is === 'done' ? result.text : ''
    for (const [, pid, parent] of text.matchAll(/^(\d+) (\d+)\s*$/gm))
      parents.set(Number(pid), Number(parent))
  }
  return async (pid) => parents.get(pid)
}
