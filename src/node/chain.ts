/** The chain's parts, wired: RPC, blocks, queries with and without memory, broadcaster. */
import { Blocks } from '../chain/blocks.ts'
import { Broadcaster } from '../chain/broadcast.ts'
import { CachedQuery } from '../chain/cache.ts'
import { Query } from '../chain/query.ts'
import { Rpc } from '../chain/rpc.ts'
import type { Frame } from './supplier.ts'

export interface ChainParts {
  readonly rpc: Rpc
  readonly blocks: Blocks
  /** Asks the node every time: for whatever decides about money. */
  readonly query: Query
  /** Remembers what cannot change any more. */
  readonly cached: CachedQuery
  readonly broadcaster: Broadcaster
}

export function buildChain({ config, deps, life }: Frame): ChainParts {
  const { clock, random, randomBytes } = deps
  const log = deps.log.child({ component: 'chain' })
  const { rpc: endpoints, timeout, pollEvery, id } = config.chain
  const options = { endpoints, timeout, chainId: id }
  const rpc = life.own(new Rpc({ clock, random, log }, options), (part) => part.close())
  const blocks = new Blocks({ rpc, clock, random, log }, { pollEvery })
  const query = new Query({ rpc, clock })
  const cached = new CachedQuery({ query, head: () => blocks.head()?.height })
  const broadcaster = new Broadcaster(
    { rpc, query, clock, randomBytes },
    { chainId: id, gasPrice: config.chain.gasPrice },
  )
  return { rpc, blocks, query, cached, broadcaster }
}
