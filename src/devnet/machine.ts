/**
 * The state machine: what a block does to the state, from its beginning over its transactions to its end.
 *
 * Modules end their block in the chain's order: the block's hash is stored before proofs are judged,
 * and proofs before claims are settled. Source: poktroll app/app_config.go, cosmos-sdk baseapp.
 * Tested by test/devnet/chain.ts.
 */
import { upokt } from '../base/units.ts'
import { type AnteDeps, ante, type Mode, pruneNonces } from './ante.ts'
import { endApplications } from './applications.ts'
import { moduleAddress, transfer } from './bank.ts'
import { updateDifficulty } from './difficulty.ts'
import { Refusal } from './errors.ts'
import { type Event, marked, plainEvent } from './events.ts'
import { GAS_OF_REFUSAL, GasMeter } from './gas.ts'
import { endGateways } from './gateways.ts'
import { promoteShared } from './params.ts'
import { settleClaims } from './settlement.ts'
import { applyTo, balanceOf, type Context, fork } from './state.ts'
import { activateServices, pruneConfigs, unbondSuppliers } from './suppliers.ts'
import { responseData, type Transaction } from './tx.ts'
import { VALIDATOR_OPERATOR } from './validators.ts'
import { judgeProofs, type Verifiers } from './verdict.ts'

export interface TxResult {
  readonly code: number
  readonly codespace: string
  readonly log: string
  /** TxMsgData, when all went well. */
  readonly data?: Uint8Array
  readonly gasWanted: bigint
  readonly gasUsed: bigint
  readonly events: readonly Event[]
}

export interface MachineDeps extends AnteDeps, Verifiers {}

/** The first events of every block, also of an empty one: nothing is minted, fees are handed on. */
export function beginBlock(context: Context): void {
  const [minter, collector] = [moduleAddress('mint'), moduleAddress('fee_collector')]
  const { state, events } = context
  transfer(context, minter, collector, upokt(0))
  events.push(
    plainEvent('mint', {
      bonded_ratio: '0.000060000000000000',
      inflation: '0.000000000000000000',
      annual_provisions: '0.000000000000000000',
      amount: '0',
    }),
  )
  const fees = balanceOf(state, collector)
  transfer(context, collector, moduleAddress('distribution'), fees)
  const share = fees === 0n ? '' : `${fees}.000000000000000000upokt`
  const commission = fees === 0n ? '' : `${fees / 10n}.${fees % 10n}00000000000000000upokt`
  events.push(plainEvent('commission', { amount: commission, validator: VALIDATOR_OPERATOR }))
  events.push(plainEvent('rewards', { amount: share, validator: VALIDATOR_OPERATOR }))
  pruneNonces(context)
  activateServices(context)
}

export function endBlock(context: Context, hash: Uint8Array, verifiers: Verifiers): void {
  context.state.blockHashes.set(String(context.height), hash)
  judgeProofs(context, verifiers)
  updateDifficulty(context, settleClaims(context))
  endGateways(context)
  endApplications(context)
  unbondSuppliers(context)
  pruneConfigs(context)
  promoteShared(context)
}

/** Takes what a stage emitted and marks it. */
export function drained(context: Context, mode: 'BeginBlock' | 'EndBlock'): Event[] {
  return context.events.splice(0).map((event) => marked(event, 'mode', mode))
}

/** Only the ante handler; writes into the context's state when all is well. @throws Refusal */
export function admit(context: Context, tx: Transaction, mode: Mode, deps: AnteDeps): void {
  const trial = fork(context.state)
  const gas = new GasMeter(mode === 'simulate' ? undefined : (tx.authInfo.fee?.gasLimit ?? 0n))
  ante({ ...context, state: trial, events: [] }, tx, mode, gas, deps)
  applyTo(context.state, trial)
}

/** Runs a transaction: its fee is taken whatever its messages do, which happen all or not at all. */
export function execute(
  context: Context,
  tx: Transaction,
  mode: Exclude<Mode, 'check'>,
  deps: AnteDeps,
): TxResult {
  const gasWanted = tx.authInfo.fee?.gasLimit ?? 0n
  const gas = new GasMeter(mode === 'simulate' ? undefined : gasWanted)
  const events: Event[] = []
  try {
    const paid = fork(context.state)
    ante({ ...context, state: paid, events }, tx, mode, gas, deps)
    applyTo(context.state, paid)
  } catch (error) {
    return failure(error, gasWanted, gas.used, [])
  }
  const done = fork(context.state)
  const emitted: Event[] = []
  try {
    for (const [i, message] of tx.messages.entries()) {
      const { typeUrl, signer, module } = message
      const own: Event[] = [plainEvent('message', { action: typeUrl, sender: signer, module })]
      runMessage({ ...context, state: done, events: own }, tx, i, gas)
      emitted.push(...own.map((event) => marked(event, 'msg_index', String(i))))
    }
  } catch (error) {
    return failure(error, gasWanted, gas.used, events)
  }
  applyTo(context.state, done)
  return {
    code: 0,
    codespace: '',
    log: '',
    data: responseData(tx.messages),
    gasWanted,
    gasUsed: gas.used,
    events: [...events, ...emitted],
  }
}

function runMessage(context: Context, tx: Transaction, index: number, gas: GasMeter): void {
  const message = tx.messages[index]
  if (message === undefined) return
  try {
    message.run(context)
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    gas.use(GAS_OF_REFUSAL, 'ReadFlat')
    const log = `failed to execute message; message index: ${index}: ${error.message}`
    throw new Refusal(error.codespace, error.number, log)
  }
  gas.use(message.gas, 'WriteFlat')
}

function failure(
  error: unknown,
  gasWanted: bigint,
  gasUsed: bigint,
  events: readonly Event[],
): TxResult {
  if (!(error instanceof Refusal)) throw error
  const { number: code, codespace, message: log } = error
  return { code, codespace, log, gasWanted, gasUsed, events }
}
