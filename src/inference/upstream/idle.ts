/**
 * Ends what has begun to come and then stops coming.
 *
 * One timer for each stream, not for each of its events. Tested by test/inference/upstream/servers.ts.
 */
import { following } from '../../base/abort.ts'
import type { Clock } from '../../base/clock.ts'
import { OVER } from '../../base/retry.ts'
import { type Ms, ms } from '../../base/units.ts'

/**
 * @param work calls `touch` for every sign of life; the first one starts the watch
 * @param late what it ends with. @throws `late()`, `signal.reason`, what `work` throws
 */
export async function withIdleLimit<T>(
  clock: Clock,
  options: { readonly limit: Ms; readonly signal: AbortSignal; readonly late: () => unknown },
  work: (signal: AbortSignal, touch: () => void) => Promise<T>,
): Promise<T> {
  const { limit, signal, late } = options
  using both = following(signal)
  const ended = new AbortController()
  let lastAt: Ms | undefined
  const watch = async () => {
    for (let left = limit; left > 0; left = ms(Math.max(0, limit - (clock.monotonic() - since()))))
      await clock.sleep(left, ended.signal)
    both.abort(late())
  }
  const since = () => lastAt ?? clock.monotonic()
  const touch = () => {
    const isFirst = lastAt === undefined
    lastAt = clock.monotonic()
    if (isFirst) watch().catch(() => {})
  }
  try {
    return await work(both.signal, touch)
  } finally {
    ended.abort(OVER)
  }
}
