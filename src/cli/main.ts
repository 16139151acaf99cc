/**
 * The program: its commands, and the only exit.
 *
 * A first SIGINT or SIGTERM aborts the context's signal and lets the command end; a second one exits
 * at once, which loses nothing: what was answered is on disk. Tests: test/cli/main.ts.
 */
import { Command } from 'commander'
import { SupplierError } from '../base/errors.ts'
import { auditCommand } from './audit.ts'
import { type Context, createContext, EXIT, EXIT_HELP } from './context.ts'
import { devnetCommand } from './devnet.ts'
import { engineCommand } from './engine.ts'
import { failureOf } from './failure.ts'
import { gpuCommand } from './gpu.ts'
import { keysCommand } from './keys.ts'
import { modelsCommand } from './models.ts'
import { pauseCommand, resumeCommand } from './pause.ts'
import { relayCommand } from './relay.ts'
import { stakeCommand } from './stake.ts'
import { startCommand } from './start.ts'
import { statusCommand } from './status.ts'
import { tryCommand } from './try.ts'
import { unstakeCommand } from './unstake.ts'

class Interrupted extends SupplierError<'INTERRUPTED'> {}

export async function main(argv: readonly string[]): Promise<void> {
  const stop = new AbortController()
  const onSignal = (name: NodeJS.Signals) => {
    if (stop.signal.aborted) process.exit(EXIT.aborted)
    stop.abort(new Interrupted('INTERRUPTED', `stopped by ${name}`))
  }
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
  // `status | head`: whoever reads has enough.
  process.stdout.on('error', () => process.exit(EXIT.ok))
  const context = createContext(stop.signal, () => onSignal('SIGINT'))
  process.exitCode = await runProgram(context, argv)
  // What was printed may still be on its way into a pipe.
  await new Promise<void>((resolve) => process.stdout.write('', () => resolve()))
  // Whatever still holds a handle (a pool of connections) must not keep a finished command alive.
  process.exit()
}

/** Runs one command line and says what went wrong. @returns the exit status; never throws */
export async function runProgram(context: Context, argv: readonly string[]): Promise<number> {
  try {
    await program(context).parseAsync([...argv])
    return EXIT.ok
  } catch (error) {
    const { signal, environment } = context
    const { lines, status } = failureOf(error, { signal, passphrase: environment.passphrase })
    for (const line of lines) context.say(line)
    return status
  }
}

export function program(context: Context): Command {
  const commands = [
    startCommand,
    stakeCommand,
    unstakeCommand,
    statusCommand,
    keysCommand,
    engineCommand,
    modelsCommand,
    tryCommand,
    gpuCommand,
    pauseCommand,
    resumeCommand,
    relayCommand,
    auditCommand,
    devnetCommand,
  ]
  const root = new Command('pokt-supplier')
    .description('Earn on Pocket Network with a GPU you already own.')
    .version(context.version)
    .addHelpText('after', EXIT_HELP)
  for (const command of commands) root.addCommand(command(context))
  const output = {
    writeOut: (text: string) => context.print(text.trimEnd()),
    writeErr: (text: string) => context.say(text.trimEnd()),
  }
  const strict = (command: Command) => {
    command.exitOverride().showHelpAfterError('(see --help)').configureOutput(output)
    command.commands.forEach(strict)
  }
  strict(root)
  return root
}
