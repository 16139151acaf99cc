/**
 * One error class for whatever the world does to us, one for our own bugs.
 *
 * The message is for people and may change; `code` is for programs and may not. Each floor keeps its
 * codes in a table with advice (see `BASE_ERRORS`) and its own subclass. `retryable` is said by the
 * thrower, who knows, and never guessed by the catcher. Tested by test/base/errors.ts.
 */

export type ErrorData = Readonly<Record<string, string | number | bigint | boolean>>

export interface ErrorDetails {
  data?: ErrorData
  /** True when the same call may succeed later without anyone changing anything. */
  retryable?: boolean
  cause?: unknown
}

export class SupplierError<C extends string = string> extends Error {
  readonly code: C
  readonly data: ErrorData
  readonly retryable: boolean

  constructor(code: C, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.name = new.target.name
    this.code = code
    this.data = details.data ?? {}
    this.retryable = details.retryable ?? false
  }
}

export const BASE_ERRORS = {
  DEADLINE: 'The work did not end in the time it was given.',
  FILE_UNREADABLE: 'A file cannot be read. Check that it exists and that this user may read it.',
  FILE_OPEN_TO_OTHERS: 'A file with a secret is readable by others. Run chmod 600 on it.',
} as const

export class BaseError extends SupplierError<keyof typeof BASE_ERRORS> {}

/** A statement about our own code was false. Nothing below `cli/main.ts` catches it. */
export class AssertionError extends Error {
  override readonly name = 'AssertionError'
}

/** States what must be true of our own code. Never use it on what a peer, a disk or an operator gave. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionError(message)
}

/** Closes a `switch` over a union. */
export function unreachable(value: never): never {
  throw new AssertionError(`unreachable: ${String(value)}`)
}

/** True for the error that an aborted wait ends with: not a failure, not logged, not retried. */
export function isAbort(error: unknown, signal: AbortSignal | undefined): boolean {
  if (signal?.aborted && (error === signal.reason || (error as Error)?.cause === signal.reason))
    return true
  return error instanceof Error && error.name === 'AbortError'
}

/** One line about any thrown value: code and message, without a stack. */
export function errorText(error: unknown): string {
  if (error instanceof SupplierError) return `${error.code}: ${error.message}`
  return error instanceof Error ? error.message : String(error)
}
