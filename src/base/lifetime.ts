/**
 * Who opens a resource closes it: in the opposite order, once, and a failing closer does not stop
 * the others. Tested by test/base/lifetime.ts.
 */

type Close = () => void | Promise<void>

export class Lifetime implements AsyncDisposable {
  readonly #controller = new AbortController()
  readonly #closers: Close[] = []
  #stopped: Promise<void> | undefined

  /** Aborted at the start of `stop()`: loops end before the resources they use close. */
  get signal(): AbortSignal {
    return this.#controller.signal
  }

  /** Closes `resource` at `stop()`. Given back at once, so that opening and owning are one line. */
  own<T>(resource: T, close: (resource: T) => void | Promise<void>): T {
    this.#closers.push(() => close(resource))
    return resource
  }

  /** A loop that ends with `signal`; `stop()` waits for it. Its failure is handed to `onFailure`. */
  run(loop: (signal: AbortSignal) => Promise<void>, onFailure: (error: unknown) => void): void {
    const running = loop(this.signal).catch((error: unknown) => {
      if (!this.signal.aborted) onFailure(error)
    })
    this.#closers.push(() => running)
  }

  /** Idempotent; may be called before everything was opened. @throws AggregateError of what failed */
  stop(reason: unknown = new Error('stopped')): Promise<void> {
    this.#stopped ??= this.#stop(reason)
    return this.#stopped
  }

  async #stop(reason: unknown): Promise<void> {
    this.#controller.abort(reason)
    const failures: unknown[] = []
    for (let close = this.#closers.pop(); close !== undefined; close = this.#closers.pop()) {
      try {
        await close()
      } catch (error) {
        failures.push(error)
      }
    }
    if (failures.length > 0) throw new AggregateError(failures, 'not everything closed cleanly')
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }
}
