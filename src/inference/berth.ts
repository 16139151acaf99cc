/**
 * A backend that can be loaded, unloaded and loaded again: what a service keeps while its engine comes and goes.
 *
 * A backend is started once and stopped once; what stands here makes a new one for every load, so that
 * a yield to the owner ends a whole process and a start that failed can be tried again. Loading and
 * unloading take turns. What is known of the model stays known while it is unloaded. Tested by
 * test/inference/berth.ts.
 */
import { abortable } from '../base/abort.ts'
import type { Clock } from '../base/clock.ts'
import { errorText } from '../base/errors.ts'
import { type Ms, ms } from '../base/units.ts'
import type { BackendInfo, BackendStats, InferenceBackend, RunOptions } from './backend.ts'
import { InferenceError } from './errors.ts'
import type {
  ChatMessage,
  Delta,
  EmbeddingRequest,
  Embeddings,
  Generation,
  GenerationRequest,
} from './request.ts'

export interface BerthDeps {
  readonly clock: Clock
  /** A backend that is not started. @throws what makes one impossible; `signal.reason` */
  create(signal: AbortSignal): Promise<InferenceBackend>
  /** Looks at a backend that has just started, before anybody is served. */
  loaded?(backend: InferenceBackend, signal: AbortSignal): Promise<void>
}

export class Berth implements InferenceBackend {
  readonly #deps: BerthDeps
  /** Said of it before it was loaded for the first time. */
  #info: BackendInfo
  #isKnown = false
  #backend: InferenceBackend | undefined
  #state: BackendStats['state'] = 'starting'
  #failure: unknown
  #loadTime: Ms | undefined
  #loading: Promise<void> | undefined
  /** Ends a load that goes on. */
  #ended = new AbortController()
  #unloading: Promise<void> | undefined
  /** How often it was told to go: a load that was asked for before is withdrawn by it. */
  #unloads = 0
  /** Engines whose processes are there: that comes, that serves, that goes. */
  readonly #alive = new Set<InferenceBackend>()
  #isClosed = false

  constructor(deps: BerthDeps, info: BackendInfo) {
    this.#deps = deps
    this.#info = info
  }

  get kind(): BackendInfo['kind'] {
    return this.#info.kind
  }

  /** It was loaded once, so that what `info` says of features and sizes was found out. */
  get isKnown(): boolean {
    return this.#isKnown
  }

  get isLoaded(): boolean {
    return this.#backend !== undefined
  }

  /** Its processes, also while it comes and goes: they use the machine for us. */
  get pids(): readonly number[] {
    return [...this.#alive].flatMap((backend) => backend.stats().pid ?? [])
  }

  get isLoading(): boolean {
    return this.#loading !== undefined
  }

  /** How long the last load took; undefined before the first. */
  get loadTime(): Ms | undefined {
    return this.#loadTime
  }

  /** What the last load ended with; undefined after one that succeeded. */
  get failure(): unknown {
    return this.#failure
  }

  start(signal?: AbortSignal): Promise<void> {
    return this.load(signal)
  }

  /**
   * Loads it, once for all who ask; whoever stops waiting does not end it.
   * @throws InferenceError STOPPED after `stop()` and YIELDING when it was unloaded meanwhile; what the
   *   backend's start throws; `signal.reason`
   */
  async load(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted()
    const unloads = this.#unloads
    while (this.#unloading !== undefined) await this.#unloading
    if (this.#isClosed) throw stopped()
    if (this.#unloads !== unloads) throw unloaded()
    if (this.#backend !== undefined) return
    if (this.#loading === undefined) {
      this.#loading = this.#load(this.#ended.signal).finally(() => {
        this.#loading = undefined
      })
      this.#loading.catch(() => {})
    }
    await abortable(this.#loading, signal)
  }

  /** Gives memory and processes back, other programs' too. Requests that run end with STOPPED. */
  async unload(): Promise<void> {
    this.#unloads++
    this.#unloading ??= this.#unload(unloaded()).finally(() => {
      this.#unloading = undefined
    })
    await this.#unloading
  }

  info(): BackendInfo {
    return this.#backend?.info() ?? this.#info
  }

  stats(): BackendStats {
    const stats = this.#backend?.stats()
    if (stats !== undefined) return stats
    const none = { active: 0, queued: 0, tokensPerSecond: 0 }
    if (this.#state !== 'failed') return { ...none, state: this.#state }
    return { ...none, state: 'failed', failure: errorText(this.#failure) }
  }

  async generate(
    request: GenerationRequest,
    options: RunOptions & { readonly onDelta?: (delta: Delta) => void },
  ): Promise<Generation> {
    return await this.#running().generate(request, options)
  }

  async embed(request: EmbeddingRequest, options: RunOptions): Promise<Embeddings> {
    return await this.#running().embed(request, options)
  }

  async tokenize(
    of: string | readonly ChatMessage[],
    addSpecial: boolean,
    options: RunOptions,
  ): Promise<readonly number[]> {
    return await this.#running().tokenize(of, addSpecial, options)
  }

  async detokenize(tokens: readonly number[], options: RunOptions): Promise<string> {
    return await this.#running().detokenize(tokens, options)
  }

  async stop(): Promise<void> {
    this.#isClosed = true
    await this.#unloading
    await this.#unload(stopped())
    this.#state = 'stopped'
  }

  #running(): InferenceBackend {
    if (this.#backend !== undefined) return this.#backend
    if (this.#isClosed) throw stopped()
    throw new InferenceError('BUSY', 'The model is not loaded.', {
      data: { retryAfterSeconds: 5, reason: 'model_loading' },
      retryable: true,
    })
  }

  async #load(signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps
    const begun = clock.monotonic()
    this.#state = 'starting'
    let backend: InferenceBackend | undefined
    try {
      backend = await this.#deps.create(signal)
      this.#alive.add(backend)
      await backend.start(signal)
      await this.#deps.loaded?.(backend, signal)
      signal.throwIfAborted()
    } catch (error) {
      await backend?.stop().catch(() => {})
      if (backend !== undefined) this.#alive.delete(backend)
      if (signal.aborted) throw signal.reason
      this.#failure = error
      this.#state = 'failed'
      throw error
    }
    this.#backend = backend
    this.#info = backend.info()
    this.#isKnown = true
    this.#failure = undefined
    this.#state = 'ready'
    this.#loadTime = ms(clock.monotonic() - begun)
  }

  async #unload(reason: InferenceError): Promise<void> {
    const ended = this.#ended
    this.#ended = new AbortController()
    ended.abort(reason)
    await this.#loading?.catch(() => {})
    const backend = this.#backend
    if (backend !== undefined) this.#info = backend.info()
    this.#backend = undefined
    this.#state = 'unloaded'
    if (backend === undefined) return
    try {
      if (!this.#isClosed) await backend.release?.()
    } finally {
      await backend.stop().finally(() => this.#alive.delete(backend))
    }
  }
}

function stopped(): InferenceError {
  return new InferenceError('STOPPED', 'the backend is stopped', { retryable: true })
}

function unloaded(): InferenceError {
  return new InferenceError('YIELDING', 'the model was unloaded', { retryable: true })
}
