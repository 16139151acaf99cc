/** Runs command lines in this process and remembers what they said, printed and asked. */
import { randomBytes } from 'node:crypto'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import { type Context, createContext } from '../../src/cli/context.ts'
import { runProgram } from '../../src/cli/main.ts'
import { type Environment, readEnvironment } from '../../src/config/environment.ts'

export interface CommandOptions {
  /** What somebody types, in order; absent: nobody can be asked. `^C` interrupts. */
  readonly answers?: readonly string[]
  readonly environment?: Partial<Environment>
  readonly clock?: Clock
  /** Called with each line of talk, while the command runs. */
  readonly onSay?: (text: string, command: FakeTerminal) => void
}

export class FakeTerminal {
  printed = ''
  said = ''
  readonly asked: { question: string; hidden: boolean }[] = []
  readonly context: Context
  readonly #stop = new AbortController()

  constructor(options: CommandOptions = {}) {
    const answers = [...(options.answers ?? [])]
    this.context = {
      ...createContext(this.#stop.signal, () => this.interrupt()),
      clock: options.clock ?? systemClock,
      keyCost: { n: 2 ** 10, r: 8, p: 1 },
      randomBytes: (length) => new Uint8Array(randomBytes(length)),
      environment: { ...readEnvironment({}), ...options.environment },
      print: (text) => {
        this.printed += `${text}\n`
      },
      say: (text) => {
        this.said += `${text}\n`
        options.onSay?.(text, this)
      },
      ask:
        options.answers === undefined
          ? undefined
          : async (question, { hidden = false } = {}) => {
              this.asked.push({ question, hidden })
              const answer = answers.shift()
              if (answer === '^C') this.interrupt()
              this.#stop.signal.throwIfAborted()
              if (answer === undefined) throw new Error(`nobody expected to be asked: ${question}`)
              return answer
            },
    }
  }

  /** As Ctrl-C does. */
  interrupt(): void {
    this.#stop.abort(new Error('stopped by SIGINT'))
  }

  /** @returns the exit status */
  run(...words: readonly string[]): Promise<number> {
    return runProgram(this.context, ['node', 'pokt-supplier', ...words])
  }
}

/** One command line. */
export async function command(
  words: readonly string[],
  options: CommandOptions = {},
): Promise<{ status: number; out: string; err: string; asked: FakeTerminal['asked'] }> {
  const terminal = new FakeTerminal(options)
  const status = await terminal.run(...words)
  return { status, out: terminal.printed, err: terminal.said, asked: terminal.asked }
}
