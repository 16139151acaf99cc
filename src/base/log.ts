/**
 * The log: a fixed sentence, a dictionary of fields, no secrets, no prompts, no answers.
 *
 * Amounts are strings: pino prints a bigint as a bare JSON number and every reader rounds it.
 * Levels: error = money lost or the process cannot go on; warn = money at risk; info = one line per
 * session step, start, stop; debug = one line per relay. Tested by test/base/log.ts.
 */
import { type DestinationStream, type Logger, pino } from 'pino'
import { SupplierError } from './errors.ts'

export type Log = Logger
export const LOG_LEVELS = ['error', 'warn', 'info', 'debug', 'trace', 'silent'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

/** One JSON object a line. `component` comes from `log.child({ component })`, once per component. */
export function createLog(level: LogLevel, destination: DestinationStream): Log {
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      serializers: { err: serializeError },
      formatters: { level: (label) => ({ level: label }), log: printable },
    },
    destination,
  )
}

/** For tests and for parts that nobody watches. */
export function silentLog(): Log {
  return pino({ level: 'silent' })
}

/** Fields that carry secrets or what a person wrote: their value never reaches a log. */
const HIDDEN = new Set([
  'prompt',
  'messages',
  'answer',
  'payload',
  'mnemonic',
  'passphrase',
  'privateKey',
])

function printable(fields: Record<string, unknown>): Record<string, unknown> {
  const out: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(fields)) {
    if (HIDDEN.has(key)) out[key] = '[hidden]'
    else out[key] = typeof value === 'bigint' ? value.toString() : value
  }
  return out
}

function serializeError(error: unknown): Record<string, unknown> {
  if (!(error instanceof Error)) return { message: String(error) }
  const flat: Record<string, unknown> = { type: error.name, message: error.message }
  if (error instanceof SupplierError)
    Object.assign(flat, printable({ ...error.data }), { code: error.code })
  else flat['stack'] = error.stack
  if (error.cause instanceof Error) flat['cause'] = error.cause.message
  return flat
}
