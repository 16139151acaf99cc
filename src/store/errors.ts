/** What can go wrong on the disk, and how LevelDB says it. Tested by test/store/disk.ts. */
import { SupplierError } from '../base/errors.ts'

export const STORE_ERRORS = {
  LOCKED:
    'Another process has the database open. Stop it, or let this command ask it on its loopback port.',
  FOREIGN:
    'The folder holds something that is not a database of pokt-supplier. Nothing in it was changed; choose another folder.',
  VERSION:
    'The database was written by another version of pokt-supplier. Run that version, or finish its sessions with it and start with a new folder.',
  CORRUPT:
    'The database is damaged. Nothing was deleted: stop the supplier, copy the folder, check the disk and its free space. A copy or snapshot of the folder can be put back only if no session was claimed since.',
  DISK: 'The disk refused to read or write. Check its free space, its health and its permissions.',
  QUEUE_FULL:
    'Relays arrive faster than the disk takes them. The disk is too slow or busy with something else.',
  STORE_CLOSED: 'The database was closed: the supplier is stopping.',
  KEY_INVALID: 'A session has no usable end height, operator address or session id.',
} as const

export class StoreError extends SupplierError<keyof typeof STORE_ERRORS> {}

export function storeClosed(): StoreError {
  return new StoreError('STORE_CLOSED', 'the database is closed')
}

/**
 * LevelDB's errors in our words. Why an open failed is in `error.cause.code`, why anything else
 * failed in `error.code`. A disk that refuses (full, say) may take the same write later: retryable.
 */
export function storeError(error: unknown): StoreError {
  if (error instanceof StoreError) return error
  const reason = rootCause(error)
  const code = 'code' in reason ? reason.code : undefined
  const options = { cause: error }
  if (code === 'LEVEL_LOCKED') return new StoreError('LOCKED', 'the database is in use', options)
  if (code === 'LEVEL_CORRUPTION')
    return new StoreError('CORRUPT', `the database is damaged: ${reason.message}`, options)
  return new StoreError('DISK', `the database failed: ${reason.message}`, {
    ...options,
    retryable: true,
  })
}

function rootCause(error: unknown): Error {
  if (!(error instanceof Error)) return new Error(String(error))
  return error.cause instanceof Error ? error.cause : error
}
