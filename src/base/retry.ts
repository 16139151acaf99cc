/** Deadlines and retries, both with an end. Tested by test/base/retry.ts. */
import { following } from './abort.ts'
import type { Clock } from './clock.ts'
import { BaseError, SupplierError } from './errors.ts'
import { type Ms, ms } from './units.ts'

/** Ends a timer that is not needed any more. A text, since an error made for each wait costs its stack. */
export const OVER = 'over'

/**
 * Waits for `work`, whose signal is aborted at the limit: leaves nothing running behind.
 * @throws BaseError DEADLINE (retryable), or `signal.reason`
 */
export async function withDeadline<T>(
  clock: Clock,
  limit: Ms,
  signal: AbortSignal | undefined,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  using both = following(signal)
  const ended = new AbortController()
  let isLate = false
  clock.sleep(limit, ended.signal).then(
    () => {
      isLate = true
      both.abort(late(limit))
    },
    () => {},
  )
  try {
    return await work(both.signal)
  } catch (error) {
    if (signal?.aborted) throw signal.reason
    throw isLate ? both.signal.reason : error
  } finally {
    ended.abort(OVER)
  }
}

function late(limit: Ms): BaseError {
  return new BaseError('DEADLINE', `no answer within ${limit} ms`, {
    data: { limitMs: limit },
    retryable: true,
  })
}

export interface RetryOptions {
  attemptsMax: number
  delayFirst: Ms
  delayMax: Ms
}

export const RETRY_DEFAULTS: RetryOptions = {
  attemptsMax: 4,
  delayFirst: ms(200),
  delayMax: ms(5_000),
}

/**
 * Calls `work` again while it throws an error that says `retryable`, with full jitter. Only for calls
 * that may be made twice. @throws the last error, or `signal.reason`
 */
export async function retry<T>(
  deps: { clock: Clock; random: () => number },
  options: RetryOptions,
  signal: AbortSignal,
  work: (attempt: number) => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    signal.throwIfAborted()
    try {
      return await work(attempt)
    } catch (error) {
      const worth = error instanceof SupplierError && error.retryable
      if (!worth || attempt >= options.attemptsMax) throw error
      const ceiling = Math.min(options.delayMax, options.delayFirst * 2 ** (attempt - 1))
      await deps.clock.sleep(ms(deps.random() * ceiling), signal)
    }
  }
}
