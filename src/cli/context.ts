/**
 * What a command may use of the world: where it prints, what it asks, what was configured. Data goes
 * to stdout, talk to stderr, and each outcome has an exit status that help states. Tests: test/cli.
 */
import { randomBytes } from 'node:crypto'
import { resolve } from 'node:path'
import { type Clock, systemClock } from '../base/clock.ts'
import { type Environment, readEnvironment } from '../config/environment.ts'
import { loadConfig } from '../config/load.ts'
import { packageVersion } from '../config/root.ts'
import type { Config } from '../config/schema.ts'
import { type Curve, loadCurve } from '../crypto/secp256k1.ts'
import { KEYFILE_DEFAULTS, type ScryptCost } from '../keys/keyfile.ts'
import { CliError } from './errors.ts'
import { askOn } from './terminal.ts'

/** Exit statuses, as `pokt-supplier help` prints them; service managers rely on them. */
export const EXIT = {
  ok: 0,
  failure: 1,
  config: 2,
  locked: 3,
  chain: 4,
  unclear: 5,
  aborted: 130,
} as const

export const EXIT_HELP = `
Exit statuses:
  0    done
  1    failed; the message says why
  2    wrong arguments, settings, keys or passphrase
  3    another daemon uses the data folder
  4    the chain refused, or no node answers
  5    an audit cannot tell
  130  interrupted`

export interface Context {
  readonly clock: Clock
  readonly random: () => number
  readonly randomBytes: (length: number) => Uint8Array
  readonly curve: Curve
  /** Of new key files. */
  readonly keyCost: ScryptCost
  readonly environment: Environment
  readonly version: string
  /** Aborted by Ctrl-C or SIGTERM. */
  readonly signal: AbortSignal
  /** To stdout: data. */
  readonly print: (text: string) => void
  /** To stderr: talk. */
  readonly say: (text: string) => void
  /** A question on the terminal; undefined where nobody can answer. */
  readonly ask: ((question: string, options?: { hidden?: boolean }) => Promise<string>) | undefined
}

/** @param interrupt what Ctrl-C at a question does; it aborts `signal` */
export function createContext(signal: AbortSignal, interrupt: () => void): Context {
  const interactive = process.stdin.isTTY === true && process.stderr.isTTY === true
  const terminal = { input: process.stdin, output: process.stderr, signal, interrupt }
  return {
    clock: systemClock,
    random: () => randomBytes(6).readUIntBE(0, 6) / 2 ** 48,
    randomBytes: (length) => new Uint8Array(randomBytes(length)),
    curve: loadCurve(),
    keyCost: KEYFILE_DEFAULTS,
    environment: readEnvironment(),
    version: packageVersion(),
    signal,
    print: (text) => void process.stdout.write(`${text}\n`),
    say: (text) => void process.stderr.write(`${text}\n`),
    ask: interactive
      ? (question, options) => askOn(terminal, question, options?.hidden === true)
      : undefined,
  }
}

/** The configuration that `--config` names, or POKT_SUPPLIER_CONFIG, or ./supplier.yaml. */
export async function configOf(context: Context, path: string | undefined): Promise<Config> {
  return await loadConfig(resolve(path ?? context.environment.configPath ?? 'supplier.yaml'))
}

/** A yes on the terminal, or `--yes`. @throws CliError DECLINED, USAGE where nobody can answer */
export async function confirm(context: Context, question: string, yes: boolean): Promise<void> {
  if (yes) return
  if (context.ask === undefined) throw new CliError('USAGE', 'nobody can be asked here: add --yes')
  const answer = await context.ask(`${question} [y/N] `)
  if (!/^y(es)?$/i.test(answer.trim())) throw new CliError('DECLINED', 'nothing was done')
}
