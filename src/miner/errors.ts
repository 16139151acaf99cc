/** What can go wrong between a served relay and its pay. */
import { SupplierError } from '../base/errors.ts'

export const MINER_ERRORS = {
  SESSION_SEALED: 'The session is closed: its root is fixed and no relay can be added.',
  METER: 'What the application can still pay for is not known. Check the chain node.',
  KEY_MISSING:
    'Sessions of an operator are in the database, but its key is not configured: they can be neither claimed nor proven. Configure the key again.',
  PROOF_SELF_CHECK:
    'A proof of ours does not verify. The database may be damaged: keep it, and report this.',
} as const

export class MinerError extends SupplierError<keyof typeof MINER_ERRORS> {}
