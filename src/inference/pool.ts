/**
 * Which backend answers for which service, and all of them together: start, yield, stop.
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
import { InferenceError } from './errors.ts'
import type { ServeOptions } from './job.ts'
import type {
  Delta,
  EmbeddingRequest,
  Embeddings,
  Generation,
  GenerationRequest,
} from './request.ts'
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
export interface BackendReport {
  readonly services: readonly string[]
  readonly info: BackendInfo
  readonly state: BackendStats['state'] | 'yielding'
  readonly active: number
  readonly queued: number
  readonly tokensPerSecond: number
  /** Present while it runs worse than it was asked to; in words for the owner. */
  readonly degraded?: string
  /** How long a request that came now would take, in milliseconds, waiting included. */
  readonly predictedMs: number
}

export class Pool implements AsyncDisposable {
  readonly #clock: Clock
  readonly #log: Log
  readonly #services: ReadonlyMap<string, InferenceBackend>
  readonly #slots: ReadonlyMap<InferenceBackend, Slots>
  #stopped: Promise<void> | undefined

  constructor(
    deps: { clock: Clock; log: Log; services: readonly PoolService[] },
    options: Partial<PoolOptions> = {},
  ) {
    this.#clock = deps.clock
    this.#log = deps.log
    this.#services = new Map(deps.services.map(({ serviceId, backend }) => [serviceId, backend]))
    assert(this.#services.size === deps.services.length, 'a service is given to two backends')
    const settings = { ...POOL_DEFAULTS, ...options }
    this.#slots = new Map(
      deps.services.map(({ backend }) => [
        backend,
        new Slots({ clock: deps.clock, backend }, settings),
      ]),
    )
  }

  /**
   * Starts every backend, all at once. @throws what the first one that failed threw; the others are
   * then still to be stopped
   */
  async start(signal?: AbortSignal): Promise<void> {
    const starts = [...this.#slots.keys()].map(async (backend) => {
      await backend.start(signal)
      const { kind, model, slots, contextSize, device } = backend.info()
      this.#log.info({ backend: kind, model, slots, contextSize, device }, 'backend ready')
    })
    const results = await Promise.allSettled(starts)
    for (const result of results) if (result.status === 'rejected') throw result.reason
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
    return await this.#slotsOf(backend).serve(
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
    return await this.#slotsOf(backend).serve(
      {
        work: { promptTokens: sum(request.inputs.map(lengthOf)), completionTokens: 0 },
        run: ({ signal }) => backend.embed(request, { signal }),
        usageOf: ({ promptTokens }) => ({ promptTokens, completionTokens: 0 }),
      },
      options,
    )
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
   */
  async pause(options: { cancel: boolean }): Promise<void> {
    this.#log.info({ cancel: options.cancel }, 'inference yields')
    await Promise.all([...this.#slots.values()].map((slots) => slots.pause(options)))
  }

  resume(): void {
    for (const slots of this.#slots.values()) slots.resume()
    this.#log.info('inference resumed')
  }

  reports(): BackendReport[] {
    return [...this.#slots].map(([backend, slots]) => {
      const { state, tokensPerSecond, degraded } = backend.stats()
      return {
        services: [...this.#services].filter(([, b]) => b === backend).map(([id]) => id),
        info: backend.info(),
        state: slots.isPaused && state === 'ready' ? 'yielding' : state,
        active: slots.active,
        queued: slots.queued,
        tokensPerSecond,
        ...(degraded === undefined ? {} : { degraded }),
        predictedMs: ms(Math.max(0, slots.predictedFinish() - this.#clock.monotonic())),
      }
    })
  }

  /** Breaks off what runs, then stops every backend. Idempotent. @throws AggregateError of what failed */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop()
    return this.#stopped
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
