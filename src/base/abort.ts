/**
 * Signals that follow others and let go of them.
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
