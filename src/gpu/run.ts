/**
 * Small programs that are asked about the machine: `nvidia-smi`, `ioreg`, `sysctl`.
 *
 * None of them is waited for longer than a moment and none is believed to be there: a program that is not
 * installed, one that fails and one that hangs are three answers. Tested by test/gpu/run.ts.
 */
import { execFile } from 'node:child_process'
import type { Clock } from '../base/clock.ts'
import { BaseError, errorText } from '../base/errors.ts'
import { withDeadline } from '../base/retry.ts'
import { type Ms, ms } from '../base/units.ts'

export type RunResult =
  /** It ended well: what it wrote to its standard output. */
  | { readonly is: 'done'; readonly text: string }
  | { readonly is: 'missing' }
  /** What it said, both outputs, cut: `nvidia-smi` complains on its standard output. */
  | { readonly is: 'failed'; readonly text: string }
  | { readonly is: 'late' }

/** @throws `signal.reason` only */
export type Runner = (
  program: string,
  args: readonly string[],
  signal: AbortSignal,
) => Promise<RunResult>

/** The same for who needs the text only. @returns undefined: not there, or failed */
export type Run = (
  program: string,
  args: readonly string[],
  signal: AbortSignal,
) => Promise<string | undefined>

export interface RunnerOptions {
  readonly clock: Clock
  /** All that the program sees, with `PATH`; `LC_ALL=C` is added: the outputs are read by machines. */
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly limit?: Ms
}

const LIMIT = ms(3_000)
const OUTPUT_MAX = 1024 * 1024
const WORDS_MAX = 2_000
/** How long a program that is not installed is not looked for. */
const MISSING_FOR = ms(5 * 60_000)
const PROGRAMS_MAX = 64

/** Starts real programs, without a shell. */
export function systemRunner({ clock, environment, limit = LIMIT }: RunnerOptions): Runner {
  const env = { ...environment, LC_ALL: 'C' }
  return async (program, args, signal) => {
    signal.throwIfAborted()
    try {
      return await withDeadline(clock, limit, signal, (both) => start(program, args, env, both))
    } catch (error) {
      signal.throwIfAborted()
      if (error instanceof BaseError && error.code === 'DEADLINE') return { is: 'late' }
      // No process could be made: no memory, or too many of them.
      return { is: 'failed', text: errorText(error).slice(0, WORDS_MAX) }
    }
  }
}

function start(
  program: string,
  args: readonly string[],
  env: Record<string, string | undefined>,
  signal: AbortSignal,
): Promise<RunResult> {
  return new Promise((resolve, reject) => {
    const options = { env, maxBuffer: OUTPUT_MAX, windowsHide: true, encoding: 'utf8' } as const
    const child = execFile(program, [...args], options, (error, stdout, stderr) => {
      signal.removeEventListener('abort', onAbort)
      if (error === null) resolve({ is: 'done', text: stdout })
      else if (NOT_THERE.has(String(error.code))) resolve({ is: 'missing' })
      else resolve({ is: 'failed', text: `${stdout}\n${stderr}`.trim().slice(0, WORDS_MAX) })
    })
    // Not by `options.signal`, which asks politely: a driver that hangs does not hear, and is not waited for.
    const onAbort = () => {
      child.kill('SIGKILL')
      reject(signal.reason)
    }
    signal.addEventListener('abort', onAbort, { once: true })
    child.stdin?.end()
  })
}

/** EACCES: a file of that name which may not be run. */
const NOT_THERE = new Set(['ENOENT', 'EACCES', 'ENOTDIR'])

export function textOnly(runner: Runner): Run {
  return async (program, args, signal) => {
    const result = await runner(program, args, signal)
    return result.is === 'done' ? result.text : undefined
  }
}

/** Does not look every few seconds for a program that is not installed; it may be installed later. */
export function rememberMissing(runner: Runner, clock: Clock, again: Ms = MISSING_FOR): Runner {
  const missing = new Map<string, number>()
  return async (program, args, signal) => {
    const until = missing.get(program)
    if (until !== undefined && clock.monotonic() < until) return { is: 'missing' }
    const result = await runner(program, args, signal)
    if (result.is === 'missing' && missing.size < PROGRAMS_MAX)
      missing.set(program, clock.monotonic() + again)
    return result
  }
}
