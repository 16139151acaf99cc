/**
 * Programs of the owner's list that run now: games, editors of films, whatever should have the machine
 * for itself. Compared without regard to case, with or without `.exe`.
 *
 * Linux: the name of the process and the last part of its first argument; a game under Wine has a path
 * such as `Z:\games\game.exe` there. Tested by test/gpu/programs.ts.
 */
import { open, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Run } from './run.ts'

/** More processes, or longer arguments, are not looked at. */
const PROCESSES_MAX = 16_384
const BYTES_MAX = 1_024
/** The kernel cuts the name of a process here. */
const COMM_MAX = 15
const AT_ONCE = 32

/** `Z:\Games\Game.EXE` and `/usr/bin/game` → `game` */
export function programName(path: string): string {
  const last = path.trim().split(/[/\\]/).at(-1) ?? ''
  return last.toLowerCase().replace(/\.exe$/, '')
}

/** Entries of `wanted`, as they were written, that are among `running`. */
export function matchPrograms(running: Iterable<string>, wanted: readonly string[]): string[] {
  const names = new Set([...running].map(programName))
  return wanted.filter((entry) => {
    const name = programName(entry)
    return name !== '' && (names.has(name) || names.has(name.slice(0, COMM_MAX)))
  })
}

/** The first column of `tasklist /fo csv /nh`. */
export function parseTasklist(text: string): string[] {
  return [...text.matchAll(/^"([^"]+)"/gm)].slice(0, PROCESSES_MAX).map(([, name]) => name ?? '')
}

/** `ps -axo comm=`: a path on each line, which may hold blanks. */
export function parsePs(text: string): string[] {
  return text
    .split('\n')
    .slice(0, PROCESSES_MAX)
    .filter((line) => line.trim() !== '')
}

/**
 * Which of `wanted` run now; undefined where the system does not answer.
 * @throws signal.reason
 */
export async function readPrograms(
  deps: { run: Run; platform: string; root?: string },
  wanted: readonly string[],
  signal: AbortSignal,
): Promise<readonly string[] | undefined> {
  if (wanted.length === 0) return []
  const { run, platform, root = '/' } = deps
  if (platform === 'linux') {
    const names = await fromProc(join(root, 'proc'), signal)
    return names === undefined ? undefined : matchPrograms(names, wanted)
  }
  const isWindows = platform === 'win32'
  const text = isWindows
    ? await run('tasklist.exe', ['/fo', 'csv', '/nh'], signal)
    : await run('ps', ['-axo', 'comm='], signal)
  if (text === undefined) return undefined
  return matchPrograms(isWindows ? parseTasklist(text) : parsePs(text), wanted)
}

async function fromProc(folder: string, signal: AbortSignal): Promise<Set<string> | undefined> {
  const entries = await readdir(folder).catch(() => undefined)
  const pids = entries?.filter((name) => /^\d+$/.test(name)).slice(0, PROCESSES_MAX)
  if (pids === undefined || pids.length === 0) return undefined
  const names = new Set<string>()
  for (let from = 0; from < pids.length; from += AT_ONCE) {
    signal.throwIfAborted()
    const some = pids.slice(from, from + AT_ONCE)
    for (const name of (await Promise.all(some.map((pid) => namesOf(join(folder, pid))))).flat())
      if (name !== '') names.add(name)
  }
  return names
}

/** A kernel's thread has no arguments and counts as no program. */
async function namesOf(folder: string): Promise<string[]> {
  const first = (await beginning(join(folder, 'cmdline'))).split('\0')[0] ?? ''
  if (first === '') return []
  return [first, (await beginning(join(folder, 'comm'))).trim()]
}

async function beginning(path: string): Promise<string> {
  try {
    await using file = await open(path, 'r')
    const { buffer, bytesRead } = await file.read(Buffer.alloc(BYTES_MAX), 0, BYTES_MAX, 0)
    return buffer.toString('utf8', 0, bytesRead)
  } catch {
    // It has ended meanwhile, or belongs to somebody who hides it.
    return ''
  }
}
