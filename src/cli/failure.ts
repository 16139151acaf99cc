/**
 * How an error becomes lines on the terminal and an exit status: the one place that translates.
 *
 * What the world does (a wrong file, a port in use, a chain that refuses) is told in a line, with what
 * to do. Only a fault of this program shows a stack, and secrets are taken out of it. Tests: test/cli/failure.ts.
 */
import { CommanderError } from 'commander'
import { AssertionError, isAbort, SupplierError } from '../base/errors.ts'
import { adviceFor } from './advice.ts'
import { EXIT } from './context.ts'

export interface Failure {
  /** For stderr. */
  readonly lines: readonly string[]
  readonly status: number
}

export interface FailureContext {
  readonly signal: AbortSignal
  /** Never printed. */
  readonly passphrase: string | undefined
}

export function failureOf(error: unknown, context: FailureContext): Failure {
  // commander has said what is wrong, or has shown the help.
  if (error instanceof CommanderError)
    return { lines: [], status: error.exitCode === 0 ? EXIT.ok : EXIT.config }
  if (context.signal.aborted && isAbort(error, context.signal))
    return { lines: ['interrupted'], status: EXIT.aborted }
  if (error instanceof SupplierError) return { lines: linesOf(error), status: statusOf(error) }
  if (isSystemError(error)) return { lines: systemLines(error), status: EXIT.failure }
  const told = error instanceof Error ? stacksOf(error) : String(error)
  return {
    lines: [
      withoutSecrets(told, context.passphrase),
      'This is a fault of pokt-supplier. Please report it with the lines above.',
    ],
    status: EXIT.failure,
  }
}

function linesOf(error: SupplierError): string[] {
  const lines = [`${error.code}: ${error.message}`]
  for (let cause = error.cause; cause instanceof Error; cause = cause.cause) {
    const isNews = cause.message !== '' && !lines.some((line) => line.includes(cause.message))
    if (isNews) lines.push(`  because: ${cause.message}`)
  }
  const advice = adviceFor(error)
  if (advice !== undefined) lines.push(`  ${advice}`)
  return lines
}

const CLI_STATUS: Readonly<Record<string, number>> = {
  ANSWER: EXIT.config,
  AUDIT_UNCLEAR: EXIT.unclear,
  FILE: EXIT.config,
  FOLDER_USED: EXIT.config,
  REFUSED: EXIT.chain,
  USAGE: EXIT.config,
}

const MODEL_STATUS: Readonly<Record<string, number>> = {
  SOURCE_NAME: EXIT.config,
  MODEL_NAME: EXIT.config,
  DIGEST_UNKNOWN: EXIT.config,
}

function statusOf({ name, code }: SupplierError): number {
  switch (name) {
    case 'StoreError':
      return code === 'LOCKED' ? EXIT.locked : EXIT.failure
    case 'ConfigError':
    case 'KeyError':
    case 'ProtocolError':
      return EXIT.config
    case 'BaseError':
      return code.startsWith('FILE_') ? EXIT.config : EXIT.failure
    case 'ChainError':
      return EXIT.chain
    case 'NodeError':
      return code === 'WRONG_CHAIN' || code === 'CHAIN_ABSENT' ? EXIT.chain : EXIT.failure
    case 'ModelError':
      return MODEL_STATUS[code] ?? EXIT.failure
    case 'CliError':
      return CLI_STATUS[code] ?? EXIT.failure
    default:
      return EXIT.failure
  }
}

type SystemError = Error & { code: string; syscall: string }

/** What the operating system refused: not a fault of ours, and its message says enough. */
function isSystemError(error: unknown): error is SystemError {
  return (
    !(error instanceof AssertionError) &&
    error instanceof Error &&
    'syscall' in error &&
    'code' in error
  )
}

const SYSTEM_ADVICE: Readonly<Record<string, string>> = {
  EACCES: 'This user may not do that. Check owner and permissions.',
  EPERM: 'This user may not do that. Check owner and permissions.',
  EADDRINUSE: 'Another program uses that port. Stop it, or choose another port.',
  EADDRNOTAVAIL: 'This machine has no such address. Choose another one.',
  ENOENT: 'Check the path.',
  ENOSPC: 'The disk is full. Make room; nothing that was answered is lost.',
  EMFILE: 'Too many open files. Raise the limit (ulimit -n).',
}

function systemLines(error: SystemError): string[] {
  const advice = SYSTEM_ADVICE[error.code]
  return [error.message, ...(advice === undefined ? [] : [`  ${advice}`])]
}

function stacksOf(error: Error): string {
  const lines = [error.stack ?? error.message]
  const parts = error instanceof AggregateError ? error.errors : [error.cause]
  for (const part of parts) if (part instanceof Error) lines.push(`caused by: ${stacksOf(part)}`)
  return lines.join('\n')
}

/** A stack begins with a message that we did not write: keys, words and the passphrase are cut out. */
function withoutSecrets(text: string, passphrase: string | undefined): string {
  const known = passphrase === undefined || passphrase === '' ? text : hide(text, passphrase)
  return known
    .replace(/(?:0x)?[0-9a-fA-F]{64,}/g, '[hex digits]')
    .replace(/\b[a-z]{3,8}(?: [a-z]{3,8}){11,}\b/g, '[words]')
}

function hide(text: string, secret: string): string {
  return text.split(secret).join('[passphrase]')
}
