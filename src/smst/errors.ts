/**
 * What can go wrong with a session's tree: bad leaves from the disk, bad proofs from elsewhere.
 *
 * Nothing here is retryable: the same bytes fail the same way. Tested by test/smst/*.ts.
 */
import { SupplierError } from '../base/errors.ts'

export const SMST_ERRORS = {
  ORDER:
    'Leaves did not come in ascending order of their paths. The store is damaged: do not claim, keep the data folder.',
  LEAF: 'A stored leaf is not what its relay gives, or has the wrong size. The store is damaged: do not claim, keep the data folder.',
  EMPTY: 'A tree without leaves has nothing to prove.',
  DIGEST: 'A root or digest is not 48 bytes long.',
  GOB: 'Bytes that should be a proof are not one.',
  PROOF: 'A proof cannot be unpacked: its counts, lengths or numbers contradict each other.',
} as const

export class SmstError extends SupplierError<keyof typeof SMST_ERRORS> {}
