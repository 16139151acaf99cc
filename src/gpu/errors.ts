/** What can go wrong with graphics cards when something is wanted from them. Seeing them never fails. */
import { SupplierError } from '../base/errors.ts'

export const GPU_ERRORS = {
  POWER_RANGE:
    'The card takes other limits of power only. Set a value in the range of the message.',
  POWER_DENIED:
    'A limit of power may be set by root only. Set it by hand, as root, or leave powerLimit out.',
  POWER_UNSUPPORTED: 'This card or its driver has no limit of power that can be set.',
} as const

export class GpuError extends SupplierError<keyof typeof GPU_ERRORS> {}
