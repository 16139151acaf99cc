/**
 * A question on a terminal. What is typed at a hidden one is not shown; Ctrl-C interrupts the program
 * as it does everywhere else, which readline would otherwise swallow; a closed input is an answer too:
 * none. Tests: test/cli/terminal.ts.
 */
import { createInterface } from 'node:readline/promises'
import { Writable } from 'node:stream'
import { CliError } from './errors.ts'

export interface Terminal {
  readonly input: NodeJS.ReadableStream
  readonly output: NodeJS.WritableStream
  /** Aborted by `interrupt`, or by whoever ends the program. */
  readonly signal: AbortSignal
  /** What Ctrl-C does. */
  readonly interrupt: () => void
}

/** @throws `signal.reason` when interrupted; CliError ANSWER when the input ends instead */
export async function askOn(
  { input, output, signal, interrupt }: Terminal,
  question: string,
  hidden: boolean,
): Promise<string> {
  signal.throwIfAborted()
  let muted = false
  const shown = new Writable({
    write(chunk, _encoding, done) {
      if (!muted) output.write(chunk)
      done()
    },
  })
  const lines = createInterface({ input, output: shown, terminal: true })
  try {
    return await new Promise<string>((resolve, reject) => {
      lines.once('SIGINT', interrupt)
      signal.addEventListener('abort', () => reject(signal.reason), { once: true })
      lines.once('close', () => reject(new CliError('ANSWER', 'the input ended without an answer')))
      lines.question(question).then(resolve, reject)
      muted = hidden
    })
  } finally {
    lines.close()
    if (hidden || signal.aborted) output.write('\n')
  }
}
