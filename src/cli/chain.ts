/** The chain as commands without a daemon use it: ask, send one message, wait for its block. */

import { silentLog } from '../base/log.ts'
import { type Height, offset } from '../base/units.ts'
import { Broadcaster } from '../chain/broadcast.ts'
import { Query } from '../chain/query.ts'
import { Rpc } from '../chain/rpc.ts'
import type { Concern } from '../chain/stake.ts'
import type { Config } from '../config/schema.ts'
import type { Signer } from '../keys/keyring.ts'
import type { Any } from '../protocol/gen/google/protobuf/any.ts'
import { CliError, type Context } from './context.ts'

export interface ChainAccess {
  readonly rpc: Rpc
  readonly query: Query
  readonly broadcaster: Broadcaster
  /** The latest height. @throws ChainError */
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
  return { rpc, query, broadcaster, height: async () => (await rpc.status(signal)).height }
}

/** Signs, sends and waits until a block holds it. @throws CliError REFUSED, ChainError */
export async function sendAndWait(
  context: Context,
  { broadcaster, height }: ChainAccess,
  signer: Signer,
  message: Any,
): Promise<{ txHash: string; height: Height }> {
  const timeoutHeight = offset(await height(), PATIENCE)
  const tx = await broadcaster.prepare(signer, [message], { timeoutHeight }, context.signal)
  const sent = await broadcaster.send(tx.bytes, context.signal)
  if (sent.kind === 'rejected')
    throw new CliError('REFUSED', `code ${sent.code} of ${sent.codespace}: ${sent.log}`)
  context.say(`sent ${tx.txHash}, waiting for a block`)
  const result = await broadcaster.confirm(tx, context.signal)
  return { txHash: tx.txHash, height: result.height }
}

/** Says every concern. @throws CliError REFUSED when one of them prevents the transaction */
export function sayConcerns(context: Context, concerns: readonly Concern[]): void {
  for (const { text, prevents } of concerns)
    context.say(`${prevents ? 'not possible' : 'warning'}: ${text}`)
  if (concerns.some(({ prevents }) => prevents)) {
    throw new CliError('REFUSED', 'the chain would refuse this')
  }
}
