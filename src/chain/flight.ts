/**
 * Identical questions asked at the same time are asked once.
 *
 * A caller that gives up leaves alone: the work ends only when nobody waits for it any more. Nothing
 * is remembered afterwards. Tested by test/chain/flight.ts.
 */

interface Flight {
  readonly answer: Promise<unknown>
  readonly controller: AbortController
  waiting: number
}

export class Flights {
  readonly #flights = new Map<string, Flight>()

  get size(): number {
    return this.#flights.size
  }

  /**
   * @param key the same key means the same question and the same type of answer
   * @param work gets a signal of its own, aborted when the last caller has left
   * @throws what `work` throws, to every caller; `signal.reason` to one that was aborted
   */
  async join<T>(
    key: string,
    signal: AbortSignal | undefined,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    signal?.throwIfAborted()
    const flight = this.#flights.get(key) ?? this.#start(key, work)
    flight.waiting++
    try {
      return (await untilAborted(flight.answer, signal)) as T
    } finally {
      if (--flight.waiting === 0) this.#end(key, flight)
    }
  }

  #start<T>(key: string, work: (signal: AbortSignal) => Promise<T>): Flight {
    const controller = new AbortController()
    const answer = work(controller.signal)
    const flight: Flight = { answer, controller, waiting: 0 }
    this.#flights.set(key, flight)
    const landed = () => this.#forget(key, flight)
    answer.then(landed, landed)
    return flight
  }

  /** Nobody waits: a later caller must not join what is being given up. */
  #end(key: string, flight: Flight): void {
    this.#forget(key, flight)
    flight.controller.abort()
  }

  #forget(key: string, flight: Flight): void {
    if (this.#flights.get(key) === flight) this.#flights.delete(key)
  }
}

async function untilAborted<T>(answer: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return await answer
  let leave = () => {}
  const left = new Promise<never>((_, reject) => {
    leave = () => reject(signal.reason)
    signal.addEventListener('abort', leave, { once: true })
  })
  try {
    return await Promise.race([answer, left])
  } finally {
    signal.removeEventListener('abort', leave)
  }
}
