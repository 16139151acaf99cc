/** What keeps a daemon from starting. */
import { SupplierError } from '../base/errors.ts'

export const NODE_ERRORS = {
  WRONG_CHAIN: 'The node belongs to another chain. Check chain.id and chain.rpc.',
  CHAIN_ABSENT: 'No node gave a block. Check chain.rpc, and that the node has caught up.',
  PORT: 'Something else listens there. Stop it, or set another address and port.',
  STORE_LOST:
    'The chain knows claims of this operator, but the database is empty. Put the right dataDir back: without the relays these claims cannot be proven.',
} as const

export class NodeError extends SupplierError<keyof typeof NODE_ERRORS> {}
