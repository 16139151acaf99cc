/** What can go wrong between us and a chain node, each with what to do about it. */
import { SupplierError } from '../base/errors.ts'

export const CHAIN_ERRORS = {
  RPC_UNREACHABLE: 'No CometBFT endpoint answered. Check chain.rpc and the network.',
  RPC_ERROR: "A node refused a call; the detail is the node's own text.",
  RESPONSE:
    'A node answered in a form we cannot read. Check that chain.rpc is a CometBFT 0.38 node.',
  NOT_FOUND: 'The chain knows no such thing. Check the address or the service id.',
  QUERY: "The chain refused a query; the log is the chain's own text.",
  HEIGHT_UNAVAILABLE: 'The node has no state or no block of that height: pruned, or not there yet.',
  SESSION: 'The chain has no such session: application, service or suppliers do not fit.',
  SIMULATION: 'The chain would refuse this transaction. Nothing was sent, nothing was spent.',
  CHAIN_ID: 'A node belongs to another chain than configured. Check chain.id and chain.rpc.',
  FORK: 'Nodes tell of different blocks of one height: one is on a fork or wrong. Look at chain.rpc.',
  ACCOUNT_MISSING: 'The signing account is not on the chain. Send it some upokt first.',
  TX_TOO_LATE: 'The transaction can no longer be included: its last height has been reached.',
  TX_FAILED: 'A block took the transaction and it failed. The fee was spent.',
} as const

export class ChainError extends SupplierError<keyof typeof CHAIN_ERRORS> {}
