/** What a chat needs of the terminal beyond questions: text that comes in pieces, and Ctrl-C. Tests: test/cli/try.ts. */
import { CliError } from './errors.ts'

export interface TryTerminal {
  /** To stdout, as it is. */
  readonly write: (text: string) => void
  /** Thoughts; undefined where nobody watches. */
  readonly think: ((text: string) => void) | undefined
  /** Has the next Ctrl-C call `stop` and do nothing else; a further one does what it always does. */
  readonly onInterrupt: (stop: () => void) => Disposable
  /** What is piped in. */
  readonly input: AsyncIterable<Uint8Array | string>
}

/** Bytes. */
const INPUT_MAX = 256 * 1024

export function systemTerminal(): TryTerminal {
  const { stdin, stdout, stderr } = process
  return {
    write: (text) => void stdout.write(text),
    think: stderr.isTTY ? (text) => void stderr.write(`\u001b[2m${text}\u001b[0m`) : undefined,
    onInterrupt: takeInterrupt,
    input: stdin,
  }
}

function takeInterrupt(stop: () => void): Disposable {
  const others = process.listeners('SIGINT')
  process.removeAllListeners('SIGINT')
  let isFirst = true
  const on = (name: NodeJS.Signals) => {
    if (!isFirst) for (const other of others) other(name)
    else stop()
    isFirst = false
  }
  process.on('SIGINT', on)
  return {
    [Symbol.dispose]() {
      process.off('SIGINT', on)
      for (const other of others) process.on('SIGINT', other)
    },
  }
}

/** The question that was piped in. @throws CliError USAGE: there is none, or it is too long */
export async function readInput({ input }: Pick<TryTerminal, 'input'>): Promise<string> {
  const pieces: Buffer[] = []
  let length = 0
  for await (const piece of input) {
    const bytes = Buffer.from(piece)
    pieces.push(bytes)
    length += bytes.length
    if (length > INPUT_MAX)
      throw new CliError('USAGE', `the question is longer than ${INPUT_MAX / 1024} KiB`)
  }
  const question = Buffer.concat(pieces).toString('utf8').trim()
  if (question === '') throw new CliError('USAGE', 'there is no question: add --prompt')
  return question
}
