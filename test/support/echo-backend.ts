/** A small real backend: it says again what it was told, a word at a time (echo-model.ts). */
import type { Clock } from '../../src/base/clock.ts'
import { systemClock } from '../../src/base/clock.ts'
import { type Ms, ms } from '../../src/base/units.ts'
import type {
  BackendInfo,
  BackendStats,
  InferenceBackend,
  ModelFacts,
  RunOptions,
} from '../../src/inference/backend.ts'
import { InferenceError } from '../../src/inference/errors.ts'
import type {
  ChatMessage,
  Delta,
  EmbeddingRequest,
  Embeddings,
  Features,
  Generation,
  GenerationRequest,
} from '../../src/inference/request.ts'
import {
  ECHO_FEATURES,
  ECHO_FINGERPRINT,
  EchoVocabulary,
  echo,
  echoVectors,
  promptOf,
} from './echo-model.ts'

export interface EchoOptions {
  readonly slots: number
  readonly contextSize: number
  readonly features: Features
  readonly facts: ModelFacts
  /** 0: no sleep at all, so that a clock that stands still doesn't matter. */
  readonly tokenDelay: Ms
  /** Awaited before the first token: a test holds requests here, or throws from here. */
  readonly gate: (request: GenerationRequest, signal: AbortSignal) => Promise<void>
}

export class EchoBackend implements InferenceBackend {
  readonly kind = 'echo'
  readonly #clock: Clock
  readonly #options: EchoOptions
  readonly #vocabulary = new EchoVocabulary()
  readonly #running = new Set<AbortController>()
  #state: BackendStats['state'] = 'starting'

  constructor(options: Partial<EchoOptions> = {}, deps: { clock: Clock } = { clock: systemClock }) {
    this.#clock = deps.clock
    this.#options = {
      slots: 2,
      contextSize: 256,
      features: ECHO_FEATURES,
      facts: {},
      tokenDelay: ms(0),
      gate: async () => {},
      ...options,
    }
  }

  async start(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted()
    if (this.#state === 'starting') this.#state = 'ready'
  }

  info(): BackendInfo {
    const { slots, contextSize, features, facts } = this.#options
    return {
      kind: this.kind,
      model: 'echo',
      contextSize,
      slots,
      device: 'cpu',
      features,
      facts,
      fingerprint: ECHO_FINGERPRINT,
    }
  }

  stats(): BackendStats {
    return { active: this.#running.size, queued: 0, state: this.#state, tokensPerSecond: 0 }
  }

  /** For tests of what others do while an engine starts again. */
  become(state: BackendStats['state']): void {
    this.#state = state
  }

  async generate(
    request: GenerationRequest,
    options: RunOptions & { readonly onDelta?: (delta: Delta) => void },
  ): Promise<Generation> {
    return await this.#within(options.signal, async (signal) => {
      const { contextSize } = this.#options
      const answer = echo(request, { contextSize, vocabulary: this.#vocabulary })
      await this.#options.gate(request, signal)
      for (const delta of answer.deltas) {
        await this.#pause(signal)
        options.onDelta?.(delta)
      }
      return answer.generation
    })
  }

  async embed(request: EmbeddingRequest, options: RunOptions): Promise<Embeddings> {
    return await this.#within(options.signal, async (signal) => {
      await this.#pause(signal)
      return echoVectors(request, this.#vocabulary)
    })
  }

  async tokenize(
    of: string | readonly ChatMessage[],
    _addSpecial: boolean,
    { signal }: RunOptions,
  ): Promise<readonly number[]> {
    signal.throwIfAborted()
    return this.#vocabulary.ids(typeof of === 'string' ? of : promptOf(of))
  }

  async detokenize(tokens: readonly number[], { signal }: RunOptions): Promise<string> {
    signal.throwIfAborted()
    return new TextDecoder().decode(this.#vocabulary.bytes(tokens))
  }

  async stop(): Promise<void> {
    this.#state = 'stopped'
    for (const controller of this.#running) controller.abort(stopped())
  }

  async #within<T>(signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    signal.throwIfAborted()
    if (this.#state !== 'ready') throw stopped()
    if (this.#running.size >= this.#options.slots)
      throw new InferenceError('BUSY', 'no slot is free', { retryable: true })
    const controller = new AbortController()
    const abort = () => controller.abort(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
    this.#running.add(controller)
    try {
      return await work(controller.signal)
    } finally {
      this.#running.delete(controller)
      signal.removeEventListener('abort', abort)
    }
  }

  async #pause(signal: AbortSignal): Promise<void> {
    const { tokenDelay } = this.#options
    if (tokenDelay > 0) await this.#clock.sleep(tokenDelay, signal)
    else await new Promise((resolve) => setImmediate(resolve))
    signal.throwIfAborted()
  }
}

function stopped(): InferenceError {
  return new InferenceError('STOPPED', 'the echo has stopped', { retryable: true })
}
