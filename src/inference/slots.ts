/**
 * The slots of one backend and the queue before them.
 *
 * A request that finds a slot free is served at once, whatever the averages say: otherwise one slow
 * answer could close a service for good. A request that would have to wait is refused at once when
 * the queue is full or when it is predicted to end after its deadline: a quick no costs a gateway
 * nothing, a late answer is not paid. What may take longer than it has is given fewer tokens. Slots go to
 * the party that has the fewest, and a full queue makes room for a party that has none in it, so that one
 * application cannot keep the others out. While `pause()` holds, everything new is refused. Deadlines are
 * values of `clock.monotonic()`. Tested by test/inference/slots.ts.
 */
import type { Clock } from '../base/clock.ts'
import { OVER } from '../base/retry.ts'
import { type Ms, ms } from '../base/units.ts'
import type { InferenceBackend } from './backend.ts'
import { InferenceError } from './errors.ts'
import type { Job, ServeOptions } from './job.ts'
import { Line, type Place } from './line.ts'
import { forecast, Pace, type Work } from './pace.ts'

export interface SlotsOptions {
  /** Requests that may wait for a slot. */
  readonly queueMax: number
  /** What a caller is told to wait when there is nothing to predict from. */
  readonly retryAfterSeconds: number
}

interface Run {
  readonly startedAt: Ms
  readonly controller: AbortController
  readonly party: string
  readonly work: Work
}

interface Waiting extends Place {
  readonly grant: (run: Run) => void
  readonly refuse: (reason: unknown) => void
}

/** Text in fewer pieces was not streamed, so its first piece says nothing about the engine. */
const STREAMED_PIECES_MIN = 8

export class Slots {
  readonly #clock: Clock
  readonly #backend: InferenceBackend
  readonly #options: SlotsOptions
  readonly #line: Line<Waiting>
  readonly #pace = new Pace()
  readonly #running = new Set<Run>()
  readonly #works = new Set<Promise<void>>()
  #closed: 'YIELDING' | 'STOPPED' | undefined

  constructor(deps: { clock: Clock; backend: InferenceBackend }, options: SlotsOptions) {
    this.#clock = deps.clock
    this.#backend = deps.backend
    this.#options = options
    this.#line = new Line(options.queueMax)
  }

  get active(): number {
    return this.#running.size
  }

  get queued(): number {
    return this.#line.places.length
  }

  get isPaused(): boolean {
    return this.#closed !== undefined
  }

  /** @throws InferenceError YIELDING, STOPPED while nothing is taken */
  throwIfClosed(): void {
    if (this.#closed !== undefined)
      throw this.#refusal(this.#closed, this.#options.retryAfterSeconds)
  }

  /**
   * Answers in a slot of the backend, after waiting for one if that ends in time.
   * @throws InferenceError BUSY, YIELDING, STOPPED (refused), ENGINE_TIMEOUT at the deadline, what the
   *   backend throws; `signal.reason`
   */
  async serve<T>(job: Job<T>, options: ServeOptions): Promise<T> {
    options.signal.throwIfAborted()
    const { work } = job
    const { party = '', deadline } = options
    this.#admit(work, deadline, party)
    const hasSlot = this.#running.size < this.#backend.info().slots && this.queued === 0
    const run = hasSlot ? this.#take(party, work) : await this.#wait(work, party, options)
    return await this.#run(run, job, options)
  }

  /** When a usual request that comes now would end. Where a slot is free: now and the average. */
  predictedFinish(): Ms {
    const { start } = this.#forecast()
    return ms(start + this.#pace.serviceTime)
  }

  /**
   * Refuses what comes from now on and what waits, with YIELDING. Resolves when nothing runs any more:
   * at once where `cancel` breaks off what runs (YIELDING as well), else when it has ended.
   */
  async pause(options: { cancel: boolean }): Promise<void> {
    await this.#close('YIELDING', options.cancel)
  }

  /** Takes requests again. After `stop()` it does nothing. */
  resume(): void {
    if (this.#closed === 'YIELDING') this.#closed = undefined
  }

  /** Refuses and breaks off everything with STOPPED. The backend itself is not touched. */
  async stop(): Promise<void> {
    await this.#close('STOPPED', true)
  }

  async #close(code: 'YIELDING' | 'STOPPED', cancel: boolean): Promise<void> {
    if (this.#closed !== 'STOPPED') this.#closed = code
    const error = this.#refusal(code, this.#options.retryAfterSeconds)
    for (const { refuse } of this.#line.clear()) refuse(error)
    if (cancel) for (const run of this.#running) run.controller.abort(error)
    // A run that has just got its slot begins its work a moment later.
    while (this.#running.size > 0) await Promise.all(this.#works)
  }

  #admit(work: Work, deadline: Ms, party: string): void {
    const { retryAfterSeconds } = this.#options
    this.throwIfClosed()
    const { state } = this.#backend.stats()
    if (state === 'stopped') throw this.#refusal('STOPPED', retryAfterSeconds)
    if (state !== 'ready') throw this.#refusal('BUSY', retryAfterSeconds, 'model_loading')
    const now = this.#clock.monotonic()
    const { start, waits } = this.#forecast()
    const secondsToStart = Math.max(1, Math.ceil((start - now) / 1_000))
    if (waits && this.#line.isFull && !this.#makeRoom(party))
      throw this.#refusal('BUSY', secondsToStart, 'queue_full')
    const isLate =
      deadline <= now ||
      (waits && start + this.#pace.predict(work) > deadline) ||
      !this.#pace.canStart(work, ms(deadline - start))
    if (isLate) throw this.#refusal('BUSY', secondsToStart, 'deadline')
  }

  /** Sends somebody of another party away, if that is fair. */
  #makeRoom(party: string): boolean {
    const evicted = this.#line.evict(party)
    evicted?.refuse(this.#refusal('BUSY', 1, 'queue_full'))
    return evicted !== undefined
  }

  #forecast(): { start: Ms; waits: boolean } {
    const now = this.#clock.monotonic()
    const { slots } = this.#backend.info()
    const { places } = this.#line
    const start = forecast({ now, slots, running: this.#running, waiting: places }, this.#pace)
    return { start, waits: this.#running.size >= slots || places.length > 0 }
  }

  #refusal(
    code: 'BUSY' | 'YIELDING' | 'STOPPED',
    retryAfterSeconds: number,
    reason?: string,
  ): InferenceError {
    return new InferenceError(code, 'The request was not taken.', {
      data: reason === undefined ? { retryAfterSeconds } : { retryAfterSeconds, reason },
      retryable: true,
    })
  }

  #take(party: string, work: Work): Run {
    const run = {
      startedAt: this.#clock.monotonic(),
      controller: new AbortController(),
      party,
      work,
    }
    this.#running.add(run)
    return run
  }

  /** Waits in the queue. Leaves it at the deadline (BUSY) and when the signal is aborted. */
  async #wait(work: Work, party: string, { signal, deadline }: ServeOptions): Promise<Run> {
    const ended = new AbortController()
    try {
      return await new Promise<Run>((resolve, reject) => {
        const waiting: Waiting = { party, work, grant: resolve, refuse: reject }
        if (!this.#line.push(waiting)) return reject(this.#refusal('BUSY', 1, 'queue_full'))
        const leave = (reason: unknown) => {
          if (this.#line.leave(waiting)) reject(reason)
        }
        signal.addEventListener('abort', () => leave(signal.reason), {
          once: true,
          signal: ended.signal,
        })
        this.#at(deadline, ended.signal, () => leave(this.#refusal('BUSY', 1, 'deadline')))
      })
    } finally {
      ended.abort(OVER)
    }
  }

  async #run<T>(run: Run, job: Job<T>, options: ServeOptions): Promise<T> {
    const { controller } = run
    const ended = new AbortController()
    const abort = () => controller.abort(options.signal.reason)
    options.signal.addEventListener('abort', abort, { once: true, signal: ended.signal })
    if (options.signal.aborted) abort()
    this.#at(options.deadline, ended.signal, () => controller.abort(late()))
    const cut = new Promise<never>((_, reject) => {
      const onAbort = () => reject(controller.signal.reason)
      controller.signal.addEventListener('abort', onAbort, { once: true })
      if (controller.signal.aborted) onAbort()
    })
    cut.catch(() => {})
    try {
      // An engine that is slow to notice keeps its slot, not its caller.
      return await Promise.race([cut, this.#work(run, job, options.deadline)])
    } catch (error) {
      throw controller.signal.aborted ? controller.signal.reason : error
    } finally {
      ended.abort(OVER)
    }
  }

  /** The slot is given on when the engine has really ended, not when its caller left. */
  #work<T>(run: Run, job: Job<T>, deadline: Ms): Promise<T> {
    const { signal } = run.controller
    let firstText: Ms | undefined
    let pieces = 0
    const onPiece = () => {
      if (pieces++ === 0) firstText = this.#since(run)
    }
    const time = ms(Math.max(0, deadline - this.#clock.monotonic()))
    const tokensMax = this.#pace.tokensWithin(time, job.work)
    const work = this.#begin(job, {
      signal,
      onPiece,
      ...(tokensMax === undefined ? {} : { tokensMax }),
    })
    const noted = work.then(
      (result) => {
        const { promptTokens, cachedTokens = 0, completionTokens } = job.usageOf(result)
        const isStreamed = firstText !== undefined && pieces >= STREAMED_PIECES_MIN
        this.#pace.record({
          serviceTime: this.#since(run),
          promptTokens: promptTokens - cachedTokens,
          completionTokens,
          ...(isStreamed && firstText !== undefined ? { firstText } : {}),
        })
      },
      () => {
        const { reason } = signal
        const isLate = reason instanceof InferenceError && reason.code === 'ENGINE_TIMEOUT'
        if (isLate)
          this.#pace.record({
            serviceTime: this.#since(run),
            promptTokens: 0,
            completionTokens: 0,
          })
      },
    )
    const released: Promise<void> = noted.then(() => {
      this.#works.delete(released)
      this.#running.delete(run)
      this.#next()
    })
    this.#works.add(released)
    return work
  }

  /** A job that throws instead of rejecting must not take the slot with it. */
  async #begin<T>(job: Job<T>, options: Parameters<Job<T>['run']>[0]): Promise<T> {
    options.signal.throwIfAborted()
    return await job.run(options)
  }

  #next(): void {
    const heldBy = (party: string) => [...this.#running].filter((run) => run.party === party).length
    while (this.queued > 0 && this.#running.size < this.#backend.info().slots) {
      const next = this.#line.shift(heldBy)
      next?.grant(this.#take(next.party, next.work))
    }
  }

  #since(run: Run): Ms {
    return ms(this.#clock.monotonic() - run.startedAt)
  }

  #at(deadline: Ms, ended: AbortSignal, act: () => void): void {
    const left = ms(Math.max(0, deadline - this.#clock.monotonic()))
    this.#clock.sleep(left, ended).then(act, () => {})
  }
}

/** Made when it is due: an error costs its stack. */
function late(): InferenceError {
  return new InferenceError('ENGINE_TIMEOUT', 'no answer before the deadline')
}
