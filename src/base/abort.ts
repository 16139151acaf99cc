/**
 * Signals that follow others and let go of them, and waits that end with a signal.
 *
 * `AbortSignal.any` keeps about a kilobyte for each call on a signal that lives long (seen on Node
 * 20), such as the one of a whole daemon; a listener that is removed keeps nothing. Tested by
 * test/base/abort.ts.
 */

export interface Followed extends Disposable {
  readonly signal: AbortSignal
  /** Ends it for another reason than those that it follows. */
  abort(reason: unknown): void
}

/** Aborted when the first of `signals` is, with its reason, until it is disposed of. */
export function following(...signals: readonly (AbortSignal | undefined)[]): Followed {
  const controller = new AbortController()
  const undo: (() => void)[] = []
  const release = () => {
    for (const remove of undo.splice(0)) remove()
  }
  for (const signal of signals) {
    if (signal === undefined) continue
    if (signal.aborted) {
      controller.abort(signal.reason)
      break
    }
    const forward = () => {
      controller.abort(signal.reason)
      release()
    }
    signal.addEventListener('abort', forward, { once: true })
    undo.push(() => signal.removeEventListener('abort', forward))
  }
  if (controller.signal.aborted) release()
  return {
    signal: controller.signal,
    abort: (reason) => controller.abort(reason),
    [Symbol.dispose]: release,
  }
}

/** Waits for `work` as long as the signal lets it; the work itself goes on. @throws `signal.reason` */
export async function abortable<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return await work
  let onAbort = () => {}
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    if (signal.aborted) onAbort()
  })
  try {
    return await Promise.race([work, aborted])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}
