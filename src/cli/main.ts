/**
 * The program: its commands, how an error becomes a message and an exit status, and the only exit.
 *
 * A first SIGINT or SIGTERM aborts the context's signal and lets the command end; a second one exits
 * at once, which loses nothing: what was answered is on disk. Tests: test/cli.
 */
import { Command, CommanderError } from 'commander'
import { AssertionError, SupplierError } from '../base/errors.ts'
import { packageVersion } from '../config/root.ts'
import { adviceFor } from './advice.ts'
import { type Context, createContext, EXIT, EXIT_HELP } from './context.ts'
import { devnetCommand } from './devnet.ts'
import { engineCommand } from './engine.ts'
import { keysCommand } from './keys.ts'
import { relayCommand } from './relay.ts'
import { stakeCommand } from './stake.ts'
import { startCommand } from './start.ts'
import { statusCommand } from './status.ts'
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
  const context = createContext(stop.signal)
  try {
    await program(context).parseAsync([...argv])
    process.exitCode = EXIT.ok
  } catch (error) {
    process.exitCode = report(context, error)
  }
  // Whatever still holds a handle (a pool of connections) must not keep a finished command alive.
  process.exit()
}

export function program(context: Context): Command {
  const commands = [
    startCommand,
    stakeCommand,
    unstakeCommand,
    statusCommand,
    keysCommand,
    engineCommand,
    relayCommand,
    devnetCommand,
  ]
  const root = new Command('pokt-supplier')
    .description('Earn on Pocket Network with a GPU you already own.')
    .version(packageVersion())
    .addHelpText('after', EXIT_HELP)
  for (const command of commands) root.addCommand(command(context))
  const strict = (command: Command) => {
    command.exitOverride().showHelpAfterError('(see --help)')
    command.commands.forEach(strict)
  }
  strict(root)
  return root
}

/** Says what went wrong and what to do. @returns the exit status */
function report(context: Context, error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.config
  if (context.signal.aborted && (error === context.signal.reason || isAbortLike(error)))
    return EXIT.ok
  if (error instanceof AssertionError || !(error instanceof SupplierError)) {
    context.say(error instanceof Error ? (error.stack ?? error.message) : String(error))
    context.say('This is a fault of pokt-supplier. Please report it with the lines above.')
    return EXIT.failure
  }
  context.say(`${error.code}: ${error.message}`)
  for (let cause = error.cause; cause instanceof Error; cause = cause.cause)
    context.say(`  because: ${cause.message}`)
  const advice = adviceFor(error.code)
  if (advice !== undefined) context.say(`  ${advice}`)
  return statusOf(error.code)
}

function isAbortLike(error: unknown): boolean {
  return error instanceof Error && (error.name === 'AbortError' || error instanceof Interrupted)
}

const CONFIG_CODES =
  /^(CONFIG_|USAGE$|DECLINED$|FILE_|KEYFILE|PASSPHRASE$|NO_PASSPHRASE$|MNEMONIC$|HEX$|KEY_EXISTS$)/
const CHAIN_CODES =
  /^(RPC_|RESPONSE$|NOT_FOUND$|QUERY$|HEIGHT_|SESSION$|SIMULATION$|CHAIN_|ACCOUNT_MISSING$|TX_|WRONG_CHAIN$|REFUSED$)/

function statusOf(code: string): number {
  if (code === 'LOCKED') return EXIT.locked
  if (CONFIG_CODES.test(code)) return EXIT.config
  return CHAIN_CODES.test(code) ? EXIT.chain : EXIT.failure
}
