/**
 * What gas a transaction would use, or why it would fail, read from the chain's text.
 *
 * A simulation reports every failure as code 6 of codespace `sdk`, and a failed message in a block is
 * code 1 of `undefined`: only the text tells one from another. The simulation runs on the latest
 * state, so what is simulated at the height before a window opens is refused although a transaction
 * sent then may land in the window. Tested by test/chain/simulation.ts.
 */
import { ChainError } from './errors.ts'
import { METHODS } from './methods.ts'
import type { Rpc } from './rpc.ts'

export type Refusal =
  /** The claim or proof window has not opened at the state's height. */
  | 'window-early'
  | 'window-late'
  | 'proof-not-required'
  /** The account cannot pay fee, stake or proof. */
  | 'funds'
  /** Another fault of one message. */
  | 'message'
  /** A fault of the transaction around the messages. */
  | 'transaction'

const TEXTS: readonly (readonly [Refusal, RegExp])[] = [
  ['window-early', /is less than .*attempted outside of the session's (claim|proof) window/],
  ['window-late', /is greater than .*attempted outside of the session's (claim|proof) window/],
  ['proof-not-required', /proof not required/],
  ['funds', /insufficient funds|not enough funds|spendable balance/],
  ['message', /message index: \d+/],
]

export function refusalOf(log: string): Refusal {
  return TEXTS.find(([, text]) => text.test(log))?.[0] ?? 'transaction'
}

/** Which message of the transaction the chain complains of, counted from 0; undefined if of none. */
export function offendingMessage(log: string): number | undefined {
  const index = /message index: (\d{1,6})/.exec(log)?.[1]
  return index === undefined ? undefined : Number(index)
}

/** Without the wrapping that only says where in the chain's code it happened. */
export function plainText(log: string): string {
  return log
    .replace(/^rpc error: code = \w+ desc = /, '')
    .replace(/^failed to execute message; message index: \d+: /, '')
    .replace(/^rpc error: code = \w+ desc = /, '')
    .replace(/ \[[^\]]*\] with gas used: '\d+': unknown request$/, '')
    .trim()
}

/**
 * `data`: `refusal`, `log`, and `messageIndex` where one message is to blame. Retryable only where time
 * alone helps.
 */
export function simulationError(log: string, cause: unknown): ChainError {
  const refusal = refusalOf(log)
  const messageIndex = offendingMessage(log)
  const data = { refusal, log, ...(messageIndex === undefined ? {} : { messageIndex }) }
  const retryable = refusal === 'window-early'
  return new ChainError('SIMULATION', plainText(log), { data, retryable, cause })
}

/** On the latest state, whatever its signature. @throws ChainError SIMULATION, RPC_UNREACHABLE */
export async function simulatedGas(
  rpc: Pick<Rpc, 'abciQuery'>,
  txBytes: Uint8Array,
  signal?: AbortSignal,
): Promise<bigint> {
  const { path, encode, decode } = METHODS.simulate
  try {
    return decode(await rpc.abciQuery(path, encode({ txBytes }), undefined, signal)).gasUsed
  } catch (error) {
    const log = error instanceof ChainError ? error.data['log'] : undefined
    if (typeof log === 'string') throw simulationError(log, error)
    throw error
  }
}
