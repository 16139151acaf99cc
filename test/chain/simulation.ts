import t from 'tap'
import {
  offendingMessage,
  plainText,
  refusalOf,
  simulationError,
} from '../../src/chain/simulation.ts'
import { recordings } from '../support/recorded-node.ts'

interface Outcome {
  readonly name: string
  readonly log: string
}

/** Texts of recorded failures: of simulations, of CheckTx and of transactions that blocks took. */
const SIMULATED: Outcome[] = recordings<{
  name: string
  response: { result: { response: { log: string } } }
}>('simulate').map(({ name, response }) => ({ name, log: response.result.response.log }))

interface Sent {
  readonly name: string
  readonly response: { result?: { log: string } }
  readonly then_tx?: { response: { result?: { tx_result: { log: string } } } } | null
}
const EXECUTED: Outcome[] = recordings<Sent>('broadcast').map(({ name, response, then_tx }) => ({
  name,
  log: then_tx?.response.result?.tx_result.log || (response.result?.log ?? ''),
}))

function logOf(list: readonly Outcome[], name: string): string {
  const log = list.find((one) => one.name === name)?.log
  if (log === undefined || log === '') throw new Error(`no log of ${name}`)
  return log
}

t.test('recorded simulations', async (t) => {
  const expected: [name: string, refusal: string, index: number | undefined, text: RegExp][] = [
    [
      'claim_window_not_open',
      'window-early',
      0,
      /^current block height \(70\) is less than .* window$/,
    ],
    ['claim_wrong_compute_units', 'message', 0, /^claim compute units: 12001 .* units per relay$/],
    ['claim_wrong_session_id', 'message', 0, /^session ID does not match .*: invalid session ID$/],
    ['claim_supplier_not_in_session', 'message', 0, /^supplier operator address .* not found$/],
    ['claim_app_not_found', 'message', 0, /^could not find app .* not found not found$/],
    ['claim_app_not_staked_for_service', 'message', 0, /^application "pokt1.* requested service$/],
    ['claim_service_unknown', 'message', 0, /"nope"/],
    ['proof_garbage', 'message', 0, /^failed to unmarshal .*: unexpected EOF: invalid proof$/],
    ['proof_not_required', 'proof-not-required', 0, /^proof not required$/],
    ['stake_below_minimum', 'message', 0, /must stake at least 59500000000upokt/],
    ['sequence_wrong', 'transaction', undefined, /^account sequence mismatch, expected 8, got 99/],
    ['garbage', 'transaction', undefined, /^expected 2 wire type, got 7/],
  ]
  for (const [name, refusal, messageIndex, text] of expected) {
    const log = logOf(SIMULATED, name)
    t.equal(refusalOf(log), refusal, name)
    t.equal(offendingMessage(log), messageIndex, name)
    t.match(plainText(log), text, name)
    const error = simulationError(log, undefined)
    t.match(error, { code: 'SIMULATION', retryable: refusal === 'window-early' }, name)
    const data = { refusal, log, ...(messageIndex === undefined ? {} : { messageIndex }) }
    t.strictSame(error.data, data, name)
  }
})

t.test('recorded transactions that failed', async (t) => {
  const expected: [name: string, refusal: string][] = [
    ['claim_window_not_open', 'window-early'],
    ['claim_window_closed', 'window-late'],
    ['proof_window_closed', 'window-late'],
    ['proof_not_required', 'proof-not-required'],
    ['claim_end_height_wrong', 'window-early'],
    ['insufficient_funds_for_fee', 'funds'],
    ['unstake_not_staked', 'message'],
    ['sequence_too_low', 'transaction'],
    ['out_of_gas_in_deliver', 'transaction'],
  ]
  for (const [name, refusal] of expected) t.equal(refusalOf(logOf(EXECUTED, name)), refusal, name)
})

t.test('which message is to blame', async (t) => {
  t.equal(offendingMessage('failed to execute message; message index: 1: rpc error'), 1)
  t.equal(offendingMessage('failed to execute message; message index: 12: x'), 12)
  t.equal(offendingMessage('out of gas'), undefined)
})
