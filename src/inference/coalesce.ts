/**
 * Identical requests in flight share one computation.
 *
 * A gateway that hedges sends a second copy of a slow request, half of the time to the same supplier. Each
 * copy is answered, signed and paid by itself, but computed once. A stream that is under way is told to a
 * late comer from its beginning. The computation ends early only when nobody waits for it any more.
 * Tested by test/inference/coalesce.ts.
 */
type Listener = (events: string) => void

interface Shared<T> {
  readonly controller: AbortController
  readonly told: string[]
  readonly listeners: Set<Listener>
  waiting: number
  ended: boolean
  readonly result: Promise<T>
}

export interface Member {
  readonly signal: AbortSignal
  readonly onEvents?: Listener
}

export class Coalescer<T> {
  readonly #flights = new Map<string, Shared<T>>()

  /** Computations under way. */
  get size(): number {
    return this.#flights.size
  }

  /**
   * The result of the computation for `key`, which is begun if none is under way.
   * @throws what the computation throws; `member.signal.reason`
   */
  async join(
    key: string,
    member: Member,
    begin: (shared: Required<Member>) => Promise<T>,
  ): Promise<T> {
    const { signal, onEvents } = member
    signal.throwIfAborted()
    const flight = this.#flights.get(key) ?? this.#begin(key, begin)
    flight.waiting++
    const listener: Listener = (events) => onEvents?.(events)
    for (const events of flight.told) listener(events)
    flight.listeners.add(listener)
    let leave = (): void => {}
    const left = new Promise<never>((_, reject) => {
      leave = () => reject(signal.reason)
      signal.addEventListener('abort', leave, { once: true })
    })
    left.catch(() => {})
    try {
      return await Promise.race([flight.result, left])
    } finally {
      signal.removeEventListener('abort', leave)
      flight.listeners.delete(listener)
      if (--flight.waiting === 0) {
        if (this.#flights.get(key) === flight) this.#flights.delete(key)
        if (!flight.ended) flight.controller.abort(signal.reason)
      }
    }
  }

  #begin(key: string, begin: (shared: Required<Member>) => Promise<T>): Shared<T> {
    const controller = new AbortController()
    const told: string[] = []
    const listeners = new Set<Listener>()
    const onEvents = (events: string) => {
      told.push(events)
      for (const listener of listeners) listener(events)
    }
    // A turn later, so that whoever begins it is told from the start.
    const result = Promise.resolve().then(() => begin({ signal: controller.signal, onEvents }))
    const flight: Shared<T> = { controller, told, listeners, waiting: 0, ended: false, result }
    this.#flights.set(key, flight)
    const end = () => {
      flight.ended = true
      if (this.#flights.get(key) === flight) this.#flights.delete(key)
    }
    result.then(end, end)
    return flight
  }
}
