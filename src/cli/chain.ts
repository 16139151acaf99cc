/**
 * The chain as commands without a daemon use it: ask, send one message, wait for its block.
 * Tests: test/cli/stake.ts.
 */
import { silentLog } from '../base/log.ts'
import { type Height, offset } from '../base/units.ts'
import { Broadcaster } from '../chain/broadcast.ts'
import { ChainError } from '../chain/errors.ts'
import { Query } from '../chain/query.ts'
import { Rpc } from '../chain/rpc.ts'
import type { Concern } from '../chain/stake.ts'
import type { Config } from '../config/schema.ts'
import type { Signer } from '../keys/keyring.ts'
import type { Any } from '../protocol/gen/google/protobuf/any.ts'
import type { Context } from './context.ts'
import { CliError } from './errors.ts'

export interface ChainAccess {
  readonly rpc: Rpc
  readonly query: Query
  readonly broadcaster: Broadcaster
  /** The latest height of the configured chain. @throws ChainError CHAIN_ID of a foreign one, and others */
  height(): Promise<Height>
}

/** Blocks that a command's transaction has to be included. */
const PATIENCE = 20

export function chainAccess(context: Context, config: Pick<Config, 'chain'>): ChainAccess {
  const { clock, random, randomBytes, signal } = context
  const { rpc: endpoints, timeout, id, gasPrice } = config.chain
  const rpc = new Rpc({ clock, random, log: silentLog() }, { endpoints, timeout })
  const query = new Query({ rpc, clock })
  const broadcaster = new Broadcaster({ rpc, query, clock, randomBytes }, { chainId: id, gasPrice })
  const height = async () => {
    const status = await rpc.status(signal)
    if (status.chainId !== id)
      throw new ChainError('CHAIN_ID', `the node is of chain "${status.chainId}", not of "${id}"`)
    if (status.catchingUp)
      context.say(`warning: the node is still catching up; it is at ${status.height}`)
    return status.height
  }
  return { rpc, query, broadcaster, height }
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
