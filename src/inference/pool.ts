/**
 * Which backend answers for which service, and all of them together: start, yield, come back, stop.
 *
 * Services may share a backend; they then share its slots and its queue. What a service is called on
 * the chain, what its model is called in public and what the engine calls it are three names; only
 * this file and inference.ts know the first two. Tested by test/inference/pool.ts.
 */
import type { Clock } from '../base/clock.ts'
import { assert } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { ms } from '../base/units.ts'
import type { BackendInfo, BackendStats, InferenceBackend } from './backend.ts'
import { Berth } from './berth.ts'
import { InferenceError } from './errors.ts'
import type { Job, ServeOptions } from './job.ts'
import type {
  Delta,
  EmbeddingRequest,
  Embeddings,
  Generation,
  GenerationRequest,
} from './request.ts'
import { type Memory, Residents } from './residents.ts'
import { Slots } from './slots.ts'

export interface PoolService {
  readonly serviceId: string
  readonly backend: InferenceBackend
}

export interface PoolOptions {
  /** Requests that may wait for a slot, for each backend. */
  readonly queueMax: number
  /** What refused callers are told to wait while a backend yields, starts or is stopped. */
  readonly retryAfterSeconds: number
}

export const POOL_DEFAULTS: PoolOptions = { queueMax: 32, retryAfterSeconds: 30 }

/** One backend and the services behind which it stands. */
export interface BackendReport
  extends Pick<BackendStats, 'degraded' | 'failure' | 'servers' | 'spent'> {
  readonly services: readonly string[]
  readonly info: BackendInfo
  readonly state: BackendStats['state'] | 'yielding'
  readonly active: number
  readonly queued: number
  readonly tokensPerSecond: number
  /** How long a request that came now would take, in milliseconds, waiting included. */
  readonly predictedMs: number
}

export class Pool implements AsyncDisposable {
  readonly #clock: Clock
  readonly #services: ReadonlyMap<string, InferenceBackend>
  readonly #slots: ReadonlyMap<InferenceBackend, Slots>
  readonly #residents: Residents
  #stopped: Promise<void> | undefined

  constructor(
    deps: { clock: Clock; log: Log; services: readonly PoolService[]; memory?: Memory },
    options: Partial<PoolOptions> = {},
  ) {
    this.#clock = deps.clock
    this.#services = new Map(deps.services.map(({ serviceId, backend }) => [serviceId, backend]))
    assert(this.#services.size === deps.services.length, 'a service is given to two backends')
    const settings = { ...POOL_DEFAULTS, ...options }
    this.#slots = new Map(
      deps.services.map(({ backend }) => [
        backend,
        new Slots({ clock: deps.clock, backend }, settings),
      ]),
    )
    const berths = [...this.#slots.keys()].filter((backend) => backend instanceof Berth)
    const { clock, log, memory = ENOUGH } = deps
    this.#residents = new Residents({ clock, log, memory }, berths)
  }

  /**
   * Starts every backend that has room, all at once. @throws what the first one that failed threw; the
   * others serve, and `run` tries that one again
   */
  async start(signal?: AbortSignal): Promise<void> {
    const others = [...this.#slots.keys()].filter((backend) => !(backend instanceof Berth))
    const starts = others.map((backend) => backend.start(signal))
    const results = await Promise.allSettled([...starts, this.#residents.start(signal)])
    for (const result of results) if (result.status === 'rejected') throw result.reason
  }

  /** Loads what could not be loaded, and what has its turn. @throws `signal.reason` */
  async run(signal: AbortSignal): Promise<void> {
    await this.#residents.run(signal)
  }

  /**
   * One choice on the backend of the service, in one of its slots.
   * @throws InferenceError: BUSY, YIELDING, STOPPED are refusals; ENGINE_TIMEOUT at the deadline; what
   *   the backend throws. After an abort `signal.reason`.
   */
  async generate(
    serviceId: string,
    request: GenerationRequest,
    { onDelta, ...options }: ServeOptions & { readonly onDelta?: (delta: Delta) => void },
  ): Promise<Generation> {
    const backend = this.backend(serviceId)
    const { maxTokens } = request
    return await this.#serve(
      backend,
      {
        work: {
          promptTokens: promptEstimate(request),
          ...(maxTokens === undefined ? {} : { completionTokens: maxTokens }),
        },
        run: ({ signal, tokensMax, onPiece }) =>
          backend.generate(limited(request, tokensMax), {
            signal,
            onDelta: (delta) => {
              onPiece()
              onDelta?.(delta)
            },
          }),
        usageOf: ({ usage }) => usage,
      },
      options,
    )
  }

  /** Vectors for all inputs, in one slot. Throws as `generate`. */
  async embed(
    serviceId: string,
    request: EmbeddingRequest,
    options: ServeOptions,
  ): Promise<Embeddings> {
    const backend = this.backend(serviceId)
    return await this.#serve(
      backend,
      {
        work: { promptTokens: sum(request.inputs.map(lengthOf)), completionTokens: 0 },
        run: ({ signal }) => backend.embed(request, { signal }),
        usageOf: ({ promptTokens }) => ({ promptTokens, completionTokens: 0 }),
      },
      options,
    )
  }

  /** Whether it was found out what the service's backend can do: it was loaded once. */
  isKnown(serviceId: string): boolean {
    const backend = this.backend(serviceId)
    return !(backend instanceof Berth) || backend.isKnown
  }

  /**
   * Sees that the service's backend is in memory until the returned function is called, outside of the slots: for
   * what is answered without them. @throws as `generate`
   */
  async hold(serviceId: string, options: ServeOptions): Promise<() => void> {
    const backend = this.backend(serviceId)
    if (!(backend instanceof Berth)) return () => {}
    this.#slotsOf(backend).throwIfClosed()
    return await this.#residents.use(backend, options)
  }

  /** @throws InferenceError STOPPED: no such service here */
  backend(serviceId: string): InferenceBackend {
    const backend = this.#services.get(serviceId)
    if (backend === undefined)
      throw new InferenceError('STOPPED', 'no backend for this service', { retryable: true })
    return backend
  }

  /**
   * Gives the hardware back: refuses what comes and what waits. Resolves when no request runs any
   * more; with `cancel` those that run are broken off. Loaded weights stay where they are.
   * @param serviceIds all where absent; a backend that services share pauses for all of them
   */
  async pause(options: { cancel: boolean }, serviceIds?: readonly string[]): Promise<void> {
    await Promise.all(this.#of(serviceIds).map(([, slots]) => slots.pause(options)))
  }

  /** Takes the models out of memory; nothing may run, so after `pause`. They come back with `resume`. */
  async unload(serviceIds?: readonly string[]): Promise<void> {
    const berths = this.#of(serviceIds).map(([backend]) => backend)
    await Promise.all(
      berths.map((backend) => (backend instanceof Berth ? this.#residents.close(backend) : {})),
    )
  }

  /** Takes requests again, and loads what was unloaded, for which nobody waits here. */
  resume(serviceIds?: readonly string[]): void {
    for (const [backend, slots] of this.#of(serviceIds)) {
      if (backend instanceof Berth) this.#residents.open(backend)
      slots.resume()
    }
  }

  reports(): BackendReport[] {
    return [...this.#slots].map(([backend, slots]) => {
      const { state, tokensPerSecond, degraded, failure, servers, spent } = backend.stats()
      return {
        services: [...this.#services].filter(([, b]) => b === backend).map(([id]) => id),
        info: backend.info(),
        state: slots.isPaused && state !== 'stopped' ? 'yielding' : state,
        active: slots.active,
        queued: slots.queued,
        tokensPerSecond,
        ...(degraded === undefined ? {} : { degraded }),
        ...(failure === undefined ? {} : { failure }),
        ...(servers === undefined ? {} : { servers }),
        ...(spent === undefined ? {} : { spent }),
        predictedMs: ms(Math.max(0, slots.predictedFinish() - this.#clock.monotonic())),
      }
    })
  }

  /** Breaks off what runs, then stops every backend. Idempotent. @throws AggregateError of what failed */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop()
    return this.#stopped
  }

  async #serve<T>(backend: InferenceBackend, job: Job<T>, options: ServeOptions): Promise<T> {
    const slots = this.#slotsOf(backend)
    // While it yields there is nothing to load: the slots say no.
    if (!(backend instanceof Berth) || slots.isPaused) return await slots.serve(job, options)
    const release = await this.#residents.use(backend, options)
    try {
      return await slots.serve(job, options)
    } finally {
      release()
    }
  }

  /** Backends of these services, each once. */
  #of(serviceIds: readonly string[] | undefined): (readonly [InferenceBackend, Slots])[] {
    if (serviceIds === undefined) return [...this.#slots]
    const wanted = new Set(serviceIds.map((id) => this.backend(id)))
    return [...this.#slots].filter(([backend]) => wanted.has(backend))
  }

  #slotsOf(backend: InferenceBackend): Slots {
    const slots = this.#slots.get(backend)
    assert(slots !== undefined, 'every backend has slots')
    return slots
  }

  async #stop(): Promise<void> {
    // Together: an engine that doesn't notice an abort notices that it is ended.
    const stops = [...this.#slots].flatMap(([backend, slots]) => [slots.stop(), backend.stop()])
    const results = await Promise.allSettled(stops)
    const failures = results.flatMap((r) => (r.status === 'rejected' ? [r.reason as unknown] : []))
    if (failures.length > 0) throw new AggregateError(failures, 'not every backend stopped cleanly')
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }
}

/** Everything fits. */
const ENOUGH: Memory = { needOf: () => undefined, budgetOf: () => Number.POSITIVE_INFINITY }

/** Letters of one token in most languages: an estimate serves admission well enough. */
const LETTERS_PER_TOKEN = 4

function lengthOf(input: string | readonly number[]): number {
  return typeof input === 'string' ? Math.ceil(input.length / LETTERS_PER_TOKEN) : input.length
}

function promptEstimate(request: GenerationRequest): number {
  if (request.kind === 'completion') return lengthOf(request.prompt)
  return sum(request.messages.map(({ content }) => lengthOf(content)))
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0)
}

/** With no more tokens than fit into the time that is left. */
function limited(request: GenerationRequest, tokensMax: number | undefined): GenerationRequest {
  if (tokensMax === undefined || tokensMax >= (request.maxTokens ?? Number.POSITIVE_INFINITY))
    return request
  return { ...request, maxTokens: tokensMax }
}
