/** A crash on demand: after any step of a process, all that it would do from then on is refused. */
/** Ends everything after its n-th step, or after the first of a name. */
export class Interrupt {
  readonly controller = new AbortController()
  readonly steps: string[] = []
  readonly #watching: (() => void)[] = []
  readonly #after: number | string | undefined

  constructor(after?: number | string) {
    this.#after = after
  }

  get dead(): boolean {
    return this.controller.signal.aborted
  }

  stop(): void {
    this.controller.abort(new Error('crash'))
    this.#stirred()
  }

  async step<T>(name: string, work: () => Promise<T>): Promise<T> {
    this.controller.signal.throwIfAborted()
    const number = this.steps.push(name)
    const result = await work()
    setImmediate(() => this.#stirred())
    if (this.#after === number || this.#after === name) this.stop()
    this.controller.signal.throwIfAborted()
    return result
  }

  /** Resolves soon after the next step, or after a little while. */
  next(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, 5)
      this.#watching.push(() => {
        clearTimeout(timer)
        resolve()
      })
    })
  }

  #stirred(): void {
    for (const wake of this.#watching.splice(0)) wake()
  }
}

type Method = (...args: never[]) => unknown

/** The same object, each call of a method being a step. */
export function stepwise<T extends object>(target: T, interrupt: Interrupt): T {
  return new Proxy(target, {
    get(object, name) {
      const value: unknown = Reflect.get(object, name, object)
      if (typeof value !== 'function') return value
      const method = value as Method
      return (...args: never[]) =>
        interrupt.step(String(name), async () => await Reflect.apply(method, object, args))
    },
  })
}
