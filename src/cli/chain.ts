/**
 * The chain as commands without a daemon use it: ask, send one message, wait for its block.
 * Tests: test/cli/stake.ts.
 */
import { silentLog } from '../base/log.ts'
import { type Height, type Ms, ms, offset, type Upokt, upokt } from '../base/units.ts'
import { BROADCASTER_DEFAULTS, Broadcaster } from '../chain/broadcast.ts'
import type { Concern } from '../chain/concern.ts'
import { ChainError } from '../chain/errors.ts'
import { Json } from '../chain/json.ts'
import { Query } from '../chain/query.ts'
import { type NodeStatus, Rpc } from '../chain/rpc.ts'
import { feeFor, type GasPrice, greater, scaleUp, timestampAfter, unsignedTx } from '../chain/tx.ts'
import type { Config } from '../config/schema.ts'
import type { Signer } from '../keys/keyring.ts'
import type { Any } from '../protocol/gen/google/protobuf/any.ts'
import type { Context } from './context.ts'
import { CliError } from './errors.ts'

export interface ChainAccess {
  readonly rpc: Rpc
  readonly query: Query
  readonly broadcaster: Broadcaster
  readonly gasPrice: GasPrice
  /** What a node of the configured chain says. @throws ChainError CHAIN_ID of a foreign one, and others */
  status(): Promise<NodeStatus>
  /** The latest height by `status`. */
  height(): Promise<Height>
}

/** Well above what a stake message, a claim or a proof was seen to use. */
const TX_GAS = 300_000n
/** Of the simulated transaction; the real limit follows from it. */
const SIMULATED_GAS = 200_000n
/** Blocks over which the time of one is averaged. */
const RECENT_BLOCKS = 100

/** Blocks that a command's transaction has to be included. */
const PATIENCE = 20

export function chainAccess(context: Context, config: Pick<Config, 'chain'>): ChainAccess {
  const { clock, random, randomBytes, signal } = context
  const { rpc: endpoints, timeout, id, gasPrice } = config.chain
  const options = { endpoints, timeout, chainId: id }
  const rpc = new Rpc({ clock, random, log: silentLog() }, options)
  const query = new Query({ rpc, clock })
  const broadcaster = new Broadcaster({ rpc, query, clock, randomBytes }, { chainId: id, gasPrice })
  let isWarned = false
  const status = async () => {
    const said = await rpc.status(signal)
    if (said.chainId !== id)
      throw new ChainError('CHAIN_ID', `the node is of chain "${said.chainId}", not of "${id}"`)
    if (said.catchingUp && !isWarned)
      context.say(`warning: the node is still catching up; it is at ${said.height}`)
    isWarned = said.catchingUp
    return said
  }
  const height = async () => (await status()).height
  return { rpc, query, broadcaster, gasPrice, status, height }
}

/** What the gas of one message costs at the most. */
export function txFeeMax({ gasPrice }: Pick<ChainAccess, 'gasPrice'>): Upokt {
  return feeFor(TX_GAS, gasPrice)
}

export interface Estimate {
  readonly gas: bigint
  readonly fee: Upokt
}

/** What the transaction would cost if it were sent now. @throws ChainError SIMULATION */
export async function estimate(
  chain: ChainAccess,
  signer: Signer,
  message: Any,
  { height, time }: Pick<NodeStatus, 'height' | 'time'>,
  signal: AbortSignal,
): Promise<Estimate> {
  const { lifetime, gasFactor, gasMin } = BROADCASTER_DEFAULTS
  const plan = {
    messages: [message],
    timeoutHeight: offset(height, PATIENCE),
    timeoutAt: timestampAfter(time, BigInt(lifetime) * 1_000_000n),
    unordered: true,
    sequence: 0n,
    gas: SIMULATED_GAS,
    fee: upokt(1),
  }
  const used = await chain.broadcaster.simulate(unsignedTx(signer.publicKey, plan), signal)
  const gas = greater(scaleUp(used, gasFactor), gasMin)
  return { gas, fee: feeFor(gas, chain.gasPrice) }
}

/** What a block took lately, on the average; undefined where the node does not say. */
export async function blockTime(
  { rpc }: Pick<ChainAccess, 'rpc'>,
  { height, time, earliest }: Pick<NodeStatus, 'height' | 'time' | 'earliest'>,
  signal: AbortSignal,
): Promise<Ms | undefined> {
  const from = Math.max(earliest, height - RECENT_BLOCKS, 1)
  if (from >= height) return undefined
  try {
    const answer = await rpc.call('header', { height: String(from) }, signal)
    const then = new Json(answer, 'result').get('header').get('time').time()
    return ms(Math.max(0, time - then) / (height - from))
  } catch (error) {
    signal.throwIfAborted()
    if (error instanceof ChainError) return undefined
    throw error
  }
}

/**
 * Signs, sends and waits until a block holds it; an interrupted wait says what may still happen.
 * @param sent called once a node has taken it
 * @throws CliError REFUSED, ChainError, `signal.reason`
 */
export async function sendAndWait(
  context: Context,
  { broadcaster, height }: ChainAccess,
  signer: Signer,
  message: Any,
  sent: () => void = () => {},
): Promise<{ txHash: string; height: Height }> {
  const { signal } = context
  const timeoutHeight = offset(await height(), PATIENCE)
  const tx = await broadcaster.prepare(signer, [message], { timeoutHeight }, signal)
  // Once the bytes are on their way, an interruption no longer says whether a node has them.
  try {
    const answer = await broadcaster.send(tx.bytes, signal)
    if (answer.kind === 'rejected')
      throw new CliError('REFUSED', `code ${answer.code} of ${answer.codespace}: ${answer.log}`)
    context.say(`sent ${tx.txHash}, waiting for a block`)
    sent()
    const result = await broadcaster.confirm(tx, signal)
    return { txHash: tx.txHash, height: result.height }
  } catch (error) {
    if (!signal.aborted) throw error
    context.say(`pending: transaction ${tx.txHash} was sent and may still be included,`)
    context.say(`up to height ${timeoutHeight}. Look before you send another.`)
    throw signal.reason
  }
}

/** Says every concern. @throws CliError REFUSED when one of them prevents the transaction */
export function sayConcerns(context: Context, concerns: readonly Concern[]): void {
  for (const { text, prevents } of concerns)
    context.say(`${prevents ? 'not possible' : 'warning'}: ${text}`)
  if (concerns.some(({ prevents }) => prevents)) {
    throw new CliError('REFUSED', 'the chain would refuse this')
  }
}
