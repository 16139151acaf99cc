/**
 * What the failures of one round of endpoints come to, and what a node's refusal of a query means.
 *
 * Source: cosmos-sdk baseapp/abci.go, types/errors; poktroll x/session/keeper. Tested by
 * test/chain/rpc.ts and test/chain/round.ts.
 */
import { type Endpoint, unreachable } from './endpoint.ts'
import { ChainError } from './errors.ts'
import type { Json } from './json.ts'

export interface Failure {
  readonly endpoint: Endpoint
  readonly error: ChainError
}

const PASSED_OVER: ReadonlySet<string> = new Set<ChainError['code']>([
  'RPC_UNREACHABLE',
  'RESPONSE',
  'FORK',
  'HEIGHT_UNAVAILABLE',
])

/** True where another endpoint may have an answer. */
export function isPassedOver(error: unknown): error is ChainError {
  return error instanceof ChainError && PASSED_OVER.has(error.code)
}

/**
 * The error for a round in which nobody had an answer. A height that one node has not, or no more, may
 * still be had from one that is silent or behind; what nobody could read tells more than silence.
 */
export function verdict(method: string, failures: readonly Failure[]): ChainError {
  const errors = failures.map(({ error }) => error)
  const missing = errors.filter(({ code }) => code === 'HEIGHT_UNAVAILABLE')
  const [first] = missing
  if (first !== undefined) {
    const final = errors.every(({ code, retryable }) => code === first.code && !retryable)
    const same = missing.find(({ retryable }) => retryable === !final)
    return same ?? new ChainError(first.code, first.message, { data: first.data, retryable: true })
  }
  const unread = errors.find(({ code }) => code !== 'RPC_UNREACHABLE')
  if (unread?.code === 'FORK') {
    const isUnanimous = errors.every(({ code }) => code === 'FORK')
    return new ChainError('FORK', unread.message, {
      data: { ...unread.data, isUnanimous },
      retryable: true,
    })
  }
  const last = errors.at(-1)
  return unread ?? unreachable(`no endpoint answered ${method}; ${last?.message}`, last)
}

/** Codes of `abci_query`, codespace `sdk`; what the session module refuses is 6, told apart by text. */
const ABCI = { UNKNOWN_REQUEST: 6, NOT_FOUND: 22, FUTURE: 26, PRUNED: 38 } as const
const AHEAD = 'is ahead of the last committed block height'

export function queryError(path: string, code: number, response: Json): ChainError {
  const log = response.get('log').text()
  const codespace = response.get('codespace').text()
  const data = { path, code, codespace, log }
  if (codespace !== 'sdk') return new ChainError('QUERY', log, { data })
  if (code === ABCI.NOT_FOUND) return new ChainError('NOT_FOUND', log, { data })
  const isAhead = code === ABCI.UNKNOWN_REQUEST && log.includes(AHEAD)
  if (code === ABCI.FUTURE || code === ABCI.PRUNED || isAhead) {
    const retryable = code !== ABCI.PRUNED
    return new ChainError('HEIGHT_UNAVAILABLE', log, { data, retryable })
  }
  return new ChainError('QUERY', log, { data })
}

/** The session module reports all that is wrong with a question as code 6, told apart by text. */
export function sessionError(error: unknown): unknown {
  if (!(error instanceof ChainError) || error.code !== 'QUERY') return error
  const { code, log } = error.data
  if (code !== 6 || typeof log !== 'string' || !log.startsWith('rpc error:')) return error
  return new ChainError('SESSION', log, { data: error.data, cause: error })
}

/** `abci_query` knows no gRPC status for a missing method: its router says `unknown query path`. */
export function isUnimplemented(error: unknown): boolean {
  if (!(error instanceof ChainError) || error.code !== 'QUERY') return false
  return /unknown query path|code = Unimplemented/.test(error.message)
}
