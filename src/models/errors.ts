/** What can go wrong with weights on their way to this disk, and on it. */
import { SupplierError } from '../base/errors.ts'

export const MODEL_ERRORS = {
  MODEL_LOAD: 'The weights cannot be read. Check the file, or run: pokt-supplier models verify.',
  CATALOG:
    'Correct the file that is named, at the place that is named, or take it out of its folder.',
} as const

export class ModelError extends SupplierError<keyof typeof MODEL_ERRORS> {}
