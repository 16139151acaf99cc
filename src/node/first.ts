/**
 * What is asked of the chain before anything else: is it the right one, does it go on, does it know claims
 * that this database has lost. Tested by test/e2e.
 */
import { withDeadline } from '../base/retry.ts'
import { ms } from '../base/units.ts'
import type { Block } from '../chain/blocks.ts'
import type { Store } from '../store/db.ts'
import type { ChainParts } from './chain.ts'
import { NodeError } from './errors.ts'
import { type Frame, fatal } from './supplier.ts'

/** How long the start waits for a first block. */
const FIRST_BLOCK = ms(60_000)
const SKEW_MAX = 30_000

/** Begins to follow the chain. @throws NodeError WRONG_CHAIN, CHAIN_ABSENT; `signal.reason` */
export async function firstBlock(frame: Frame, { blocks, rpc }: ChainParts): Promise<Block> {
  const { config, deps, life } = frame
  const { id } = config.chain
  try {
    const { chainId } = await rpc.status(life.signal)
    if (chainId !== id) throw wrongChain(chainId, id)
  } catch (error) {
    if (error instanceof NodeError) throw error
    deps.log.warn({ err: error }, 'no node answers yet')
  }
  life.run((signal) => blocks.run(signal), fatal(frame, 'the chain is not followed any more'))
  const head = await withDeadline(deps.clock, FIRST_BLOCK, life.signal, async (signal) => {
    for await (const block of blocks.follow(signal)) return block
    throw new NodeError('CHAIN_ABSENT', 'no block was seen')
  }).catch((cause: unknown) => {
    life.signal.throwIfAborted()
    throw new NodeError('CHAIN_ABSENT', `no node gave a block within ${FIRST_BLOCK / 1000} s`, {
      cause,
      retryable: true,
    })
  })
  if (blocks.chainId !== id) throw wrongChain(blocks.chainId ?? 'unknown', id)
  const skew = deps.clock.now() - head.time
  if (skew < -SKEW_MAX)
    deps.log.warn({ skewMs: skew }, "this machine's clock is behind the chain's")
  return head
}

function wrongChain(theirs: string, ours: string): NodeError {
  return new NodeError('WRONG_CHAIN', `the node is of chain "${theirs}", not of "${ours}"`)
}

/** @throws NodeError STORE_LOST */
export async function refuseLostStore(
  { signers, life }: Frame,
  { query }: ChainParts,
  store: Store,
): Promise<void> {
  if (!(await store.isEmpty())) return
  for (const operator of signers.keys()) {
    const claims = await query.claims(operator, life.signal)
    if (claims.length > 0) {
      throw new NodeError(
        'STORE_LOST',
        `the chain holds ${claims.length} claims of ${operator}, but the database is empty`,
      )
    }
  }
}
