/**
 * The models that take turns in memory: who is loaded, who waits, who gives way to whom.
 *
 * A request for a model that is not loaded has it loaded. It waits for that where the last load says that
 * there is time, and is refused at once otherwise. A model that is asked for again and again does not keep
 * another one out for ever: after `turnAfter` it stops taking requests, ends those it has, and goes. What
 * could not be loaded is tried again after a growing delay. Tested by test/inference/residents.ts.
 */
import { abortable } from '../base/abort.ts'
import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import { withDeadline } from '../base/retry.ts'
import { type Ms, ms } from '../base/units.ts'
import type { Berth } from './berth.ts'
import { InferenceError } from './errors.ts'
import {
  makeRoom,
  type Need,
  RESIDENTS_DEFAULTS,
  type ResidentsOptions,
  type RoomOptions,
  type Seated,
} from './residency.ts'

export interface Memory {
  /** Undefined: it takes nothing here, such as a server elsewhere. */
  needOf(berth: Berth): Need | undefined
  /** Bytes that models may take there together. */
  budgetOf(place: string): number
}

interface Seat extends Seated {
  readonly berth: Berth
  need: Need
  leases: number
  loadedAt: Ms
  usedAt: Ms
  /** Asked for and not there: since when, and last. */
  wish: { readonly since: Ms; readonly last: Ms } | undefined
  /** It is to be there whenever it may. */
  isResident: boolean
  isClosed: boolean
  bringing: Promise<void> | undefined
  failures: number
  retryAt: Ms
}

const NOTHING: Need = { shares: [], priority: 0 }
const TICK = ms(1_000)

export class Residents {
  readonly #clock: Clock
  readonly #log: Log
  readonly #memory: Memory
  readonly #options: ResidentsOptions
  readonly #seats: ReadonlyMap<Berth, Seat>

  constructor(
    deps: { clock: Clock; log: Log; memory: Memory },
    berths: readonly Berth[],
    options: Partial<ResidentsOptions> = {},
  ) {
    this.#clock = deps.clock
    this.#log = deps.log
    this.#memory = deps.memory
    this.#options = { ...RESIDENTS_DEFAULTS, ...options }
    this.#seats = new Map(berths.map((berth) => [berth, newSeat(berth)]))
  }

  /**
   * Loads what fits, the most important first; the rest waits until it is asked for.
   * @throws what the first load that failed threw; `run` tries it again. `signal.reason`
   */
  async start(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted()
    const loads: Promise<void>[] = []
    for (const seat of this.#byPriority()) {
      const isTaken = this.#seated().length > 0 && (this.#room(seat)?.length ?? 1) > 0
      if (isTaken) continue
      seat.isResident = true
      const load = this.#bring(seat, false)
      if (load !== undefined) loads.push(load)
    }
    const all = Promise.allSettled(loads)
    for (const result of await abortable(all, signal))
      if (result.status === 'rejected' && !isWithdrawn(result.reason)) throw result.reason
  }

  /** Tries again what failed and lets models take turns, until the signal. @throws `signal.reason` */
  async run(signal: AbortSignal): Promise<void> {
    for (;;) {
      await this.#clock.sleep(TICK, signal)
      this.#turn()
    }
  }

  /**
   * Sees that the model is in memory and stays there until the returned function is called.
   * @throws InferenceError BUSY: it is being loaded, or another one has the memory; `signal.reason`
   */
  async use(berth: Berth, options: { signal: AbortSignal; deadline: Ms }): Promise<() => void> {
    const seat = this.#seatOf(berth)
    if (!berth.isLoaded || seat.bringing !== undefined) await this.#await(seat, options)
    else if (this.#mustGiveWay(seat)) throw busy('model_waiting', 10)
    seat.leases++
    seat.usedAt = this.#now()
    let isReleased = false
    return () => {
      if (isReleased) return
      isReleased = true
      seat.leases--
      seat.usedAt = this.#now()
      if (seat.leases === 0) this.#turn()
    }
  }

  /** Takes it out of memory until `open`. Whoever uses it has to have ended. */
  async close(berth: Berth): Promise<void> {
    this.#seatOf(berth).isClosed = true
    await berth.unload()
  }

  /** Loads it again if it was there. Returns at once. */
  open(berth: Berth): void {
    const seat = this.#seatOf(berth)
    seat.isClosed = false
    seat.retryAt = this.#now()
    if (seat.isResident) this.#bring(seat, false)
  }

  /** Brings who is due. A model that nobody asks for comes back, but drives nobody out. */
  #turn(): void {
    for (const seat of this.#byPriority()) {
      const isWished = this.#isWished(seat)
      const isDue = isWished || seat.isResident
      if (isDue && !seat.berth.isLoaded && this.#now() >= seat.retryAt) this.#bring(seat, isWished)
    }
  }

  async #await(seat: Seat, { signal, deadline }: { signal: AbortSignal; deadline: Ms }) {
    const now = this.#now()
    seat.wish = { since: this.#isWished(seat) ? (seat.wish?.since ?? now) : now, last: now }
    if (now < seat.retryAt && seat.bringing === undefined)
      throw busy('model_loading', (seat.retryAt - now) / 1_000)
    const load = this.#bring(seat, true)
    if (load === undefined) throw busy('model_waiting', 10)
    const { loadTime } = seat.berth
    // Half of the time is left to the answer.
    if (loadTime === undefined || loadTime > (deadline - now) / 2)
      throw busy('model_loading', (loadTime ?? 10_000) / 1_000)
    try {
      // It may take longer than the last one did.
      const half = ms((deadline - now) / 2)
      await withDeadline(this.#clock, half, signal, (both) => abortable(load, both))
    } catch {
      signal.throwIfAborted()
      throw busy('model_loading', (seat.retryAt - this.#now()) / 1_000)
    }
    if (!seat.berth.isLoaded) throw busy('model_loading', 5)
  }

  /** @returns undefined where there is no room for it now; whoever waits gets what the load throws */
  #bring(seat: Seat, mayEvict: boolean): Promise<void> | undefined {
    if (seat.bringing !== undefined) return seat.bringing
    if (seat.berth.isLoaded) return Promise.resolve()
    if (seat.isClosed) return undefined
    const leaving = this.#room(seat)
    if (leaving === undefined || (leaving.length > 0 && !mayEvict)) return undefined
    seat.bringing = this.#load(seat, leaving).finally(() => {
      seat.bringing = undefined
    })
    seat.bringing.catch(() => {})
    return seat.bringing
  }

  async #load(seat: Seat, leaving: readonly Seat[]): Promise<void> {
    const { berth } = seat
    for (const other of leaving) {
      const { model } = other.berth.info()
      this.#log.info({ model, for: berth.info().model }, 'a model gives way to another')
      other.isResident = false
    }
    await Promise.all(leaving.map((other) => other.berth.unload()))
    try {
      // The owner may have come meanwhile.
      if (seat.isClosed) throw new InferenceError('YIELDING', 'the model was unloaded')
      await berth.load()
    } catch (error) {
      if (!isWithdrawn(error)) this.#failed(seat, error)
      throw error
    }
    const now = this.#now()
    Object.assign(seat, { loadedAt: now, usedAt: now, failures: 0, wish: undefined })
    seat.isResident = true
    const { kind, model, slots, contextSize, device } = berth.info()
    this.#log.info({ backend: kind, model, slots, contextSize, device }, 'backend ready')
  }

  #failed(seat: Seat, error: unknown): void {
    const { retryFirst, retryMax } = this.#options
    const delay = Math.min(retryMax, retryFirst * 2 ** Math.min(seat.failures, 30))
    seat.failures++
    seat.retryAt = ms(this.#now() + delay)
    const { model } = seat.berth.info()
    this.#log.warn({ err: error, model, retryMs: delay }, 'a model could not be loaded')
  }

  #room(seat: Seat): Seat[] | undefined {
    seat.need = this.#memory.needOf(seat.berth) ?? NOTHING
    return makeRoom(
      seat.need,
      this.#seated().filter((one) => one !== seat),
      this.#roomOptions(),
    )
  }

  #roomOptions(): RoomOptions {
    const budgetOf = (place: string) => this.#memory.budgetOf(place)
    return { now: this.#now(), stayMin: this.#options.stayMin, budgetOf }
  }

  #seated(): Seat[] {
    return [...this.#seats.values()].filter(
      ({ berth, bringing }) => berth.isLoaded || bringing !== undefined,
    )
  }

  /** Another one, not less important, has waited long enough, and gets its room by this one's leaving. */
  #mustGiveWay(seat: Seat): boolean {
    const now = this.#now()
    const { stayMin, turnAfter } = this.#options
    if (now - seat.loadedAt < stayMin) return false
    return [...this.#seats.values()].some((other) => {
      if (other === seat || !this.#isWished(other) || now < other.retryAt) return false
      if (other.isClosed || other.need.priority < seat.need.priority) return false
      const waited = now - (other.wish?.since ?? now)
      return waited >= turnAfter && this.#room(other) === undefined && this.#helps(seat, other)
    })
  }

  /** Whether `seat` would go for `other`, once requests have ended. */
  #helps(seat: Seat, other: Seat): boolean {
    const seats = this.#seated().filter((one) => one !== other)
    const ended = seats.map((one) => ({ ...one, isBusy: one.bringing !== undefined, one }))
    return (
      makeRoom(other.need, ended, this.#roomOptions())?.some(({ one }) => one === seat) ?? false
    )
  }

  #isWished({ wish }: Seat): boolean {
    return wish !== undefined && this.#now() - wish.last <= this.#options.wishMax
  }

  #byPriority(): Seat[] {
    for (const seat of this.#seats.values()) seat.need = this.#memory.needOf(seat.berth) ?? NOTHING
    return [...this.#seats.values()].sort((a, b) => b.need.priority - a.need.priority)
  }

  #seatOf(berth: Berth): Seat {
    const seat = this.#seats.get(berth)
    if (seat === undefined) throw new InferenceError('STOPPED', 'no place for this model')
    return seat
  }

  #now(): Ms {
    return this.#clock.monotonic()
  }
}

function newSeat(berth: Berth): Seat {
  return {
    berth,
    need: NOTHING,
    leases: 0,
    get isBusy() {
      return this.leases > 0 || this.bringing !== undefined
    },
    loadedAt: ms(0),
    usedAt: ms(0),
    wish: undefined,
    isResident: false,
    isClosed: false,
    bringing: undefined,
    failures: 0,
    retryAt: ms(0),
  }
}

/** It was called off, which is nobody's failure. */
function isWithdrawn(error: unknown): boolean {
  return error instanceof InferenceError && (error.code === 'YIELDING' || error.code === 'STOPPED')
}

function busy(reason: string, seconds: number): InferenceError {
  const retryAfterSeconds = Math.max(1, Math.ceil(seconds))
  return new InferenceError('BUSY', 'The model is not in memory.', {
    data: { retryAfterSeconds, reason },
    retryable: true,
  })
}
