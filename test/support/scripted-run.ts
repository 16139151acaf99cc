/** Programs that answer from a table: by the beginning of their command line. All else is not there. */
import type { Run } from '../../src/gpu/run.ts'

export interface ScriptedRun {
  readonly run: Run
  /** May be changed while it is in use. */
  readonly answers: Map<string, string>
  readonly calls: string[]
}

export function scriptedRun(answers: Readonly<Record<string, string>>): ScriptedRun {
  const table = new Map(Object.entries(answers))
  const calls: string[] = []
  const run: Run = async (program, args, signal) => {
    signal.throwIfAborted()
    const line = [program, ...args].join(' ')
    calls.push(line)
    for (const [beginning, text] of table) if (line.startsWith(beginning)) return text
    return undefined
  }
  return { run, answers: table, calls }
}
