/**
 * Trying again: with growing delays, an end, and as long as the source asks for (`Retry-After`: RFC 9110
 * 10.2.3, seconds or a date). Whoever got on begins to count anew. Tested by test/models/pull-ranges.ts.
 */
import type { Clock } from '../base/clock.ts'
import { SupplierError } from '../base/errors.ts'
import { type Ms, ms } from '../base/units.ts'

export interface PullRetryOptions {
  /** Without a byte in between. */
  readonly attemptsMax: number
  readonly delayFirst: Ms
  readonly delayMax: Ms
  /** A source that asks for more is given up. */
  readonly retryAfterMax: Ms
}

export const PULL_RETRY_DEFAULTS: PullRetryOptions = {
  attemptsMax: 6,
  delayFirst: ms(500),
  delayMax: ms(30_000),
  retryAfterMax: ms(300_000),
}

/**
 * @param work returns when all is done; throws what is `retryable` to be called again
 * @param progress a number that has grown since the last call when something came
 * @throws the last error, or `signal.reason`
 */
export async function persist<T>(
  { clock, random }: { readonly clock: Clock; readonly random: () => number },
  options: PullRetryOptions,
  signal: AbortSignal,
  { work, progress }: { readonly work: () => Promise<T>; readonly progress?: () => number },
): Promise<T> {
  let reached = progress?.() ?? 0
  for (let attempt = 1; ; attempt++) {
    signal.throwIfAborted()
    try {
      return await work()
    } catch (error) {
      signal.throwIfAborted()
      if (!(error instanceof SupplierError) || !error.retryable || error.code === 'DISK_FULL')
        throw error
      const now = progress?.() ?? 0
      if (now > reached) attempt = 1
      reached = now
      const asked = retryAfter(error.data['retryAfter'], clock.now()) ?? 0
      if (attempt >= options.attemptsMax || asked > options.retryAfterMax) throw error
      const ceiling = Math.min(options.delayMax, options.delayFirst * 2 ** (attempt - 1))
      await clock.sleep(ms(Math.max(asked, (0.5 + random() / 2) * ceiling)), signal)
    }
  }
}

/** Milliseconds from now; undefined for what says nothing. */
export function retryAfter(value: unknown, now: number): number | undefined {
  if (typeof value !== 'string') return undefined
  if (/^\d{1,9}$/.test(value.trim())) return Number(value) * 1_000
  const date = Date.parse(value)
  return Number.isNaN(date) ? undefined : Math.max(0, date - now)
}
