/**
 * An Ollama server as a backend.
 *
 * It is its owner's: nothing is pulled unless the configuration says so, nothing is deleted, and what it
 * says about its models is a claim that no manifest repeats. Its answers are checked as those of any
 * other server. Tested by test/inference/ollama/backend.ts and its contract run there.
 */

import { following } from '../../base/abort.ts'
import { Lifetime } from '../../base/lifetime.ts'
import { withDeadline } from '../../base/retry.ts'
import type { BackendInfo, BackendStats, InferenceBackend, RunOptions } from '../backend.ts'
import { badRequest, engineFailed, InferenceError } from '../errors.ts'
import { NO_FEATURES } from '../features.ts'
import { UNSUPPORTED } from '../read/fields.ts'
import type {
  Delta,
  EmbeddingRequest,
  Embeddings,
  Generation,
  GenerationRequest,
  JsonObject,
} from '../request.ts'
import { fingerprintOf, UpstreamAnswer } from '../upstream/answer.ts'
import { withIdleLimit } from '../upstream/idle.ts'
import { unitVector } from '../upstream/others.ts'
import { naming } from '../upstream/refusal.ts'
import type { UpstreamServer } from '../upstream/server.ts'
import { type OllamaDeps, type Opened, openOllama } from './open.ts'
import { OLLAMA_DEFAULTS, type OllamaLimits, type OllamaOptions } from './options.ts'
import { ChunkReader, chatBody, generateBody } from './requests.ts'

export class OllamaBackend implements InferenceBackend {
  readonly kind = 'ollama'
  readonly #deps: OllamaDeps
  readonly #options: OllamaOptions & OllamaLimits
  readonly #lifetime = new Lifetime()
  #running: Opened | undefined
  #state: 'starting' | 'ready' | 'stopped' = 'starting'
  #tokensPerSecond = 0

  constructor(
    deps: OllamaDeps,
    options: Omit<OllamaOptions, 'pull' | 'unload'> & Partial<OllamaOptions & OllamaLimits>,
  ) {
    this.#deps = { ...deps, log: deps.log.child({ component: 'ollama' }) }
    this.#options = { ...OLLAMA_DEFAULTS, ...options }
  }

  /**
   * Finds the server, has it load the model, and sees what it can do.
   * @throws InferenceError ENGINE_FAILED (retryable): nobody answers; MODEL_LOAD: no such model there
   */
  async start(signal?: AbortSignal): Promise<void> {
    if (this.#state === 'stopped') throw stopped()
    using both = following(signal, this.#lifetime.signal)
    try {
      const opened = await openOllama(this.#deps, this.#options, this.#lifetime, both.signal)
      this.#running = opened
      const { healthEvery } = this.#options
      this.#lifetime.run(
        (ended) => opened.servers.watch(healthEvery, ended),
        (error) => this.#deps.log.error({ err: error }, 'Ollama is not watched any more'),
      )
    } catch (error) {
      throw this.#reason(error, both.signal)
    }
    this.#state = 'ready'
  }

  info(): BackendInfo {
    const { model, contextSize, slots, features } = this.#options
    return {
      kind: this.kind,
      model,
      contextSize: this.#running?.dialect.contextSize ?? contextSize,
      slots,
      device: this.#running?.device ?? 'ollama',
      features: this.#running?.features ?? { ...NO_FEATURES, ...features },
      fingerprint: fingerprintOf(model, this.#running?.told),
      facts: {},
    }
  }

  stats(): BackendStats {
    const isDown = this.#state === 'ready' && this.#running?.servers.isUp !== true
    return {
      active: this.#running?.servers.inFlight ?? 0,
      queued: 0,
      state: isDown ? 'restarting' : this.#state,
      tokensPerSecond: this.#tokensPerSecond,
      servers: this.#running?.servers.reports() ?? [],
    }
  }

  async generate(
    request: GenerationRequest,
    { signal, onDelta }: RunOptions & { readonly onDelta?: (delta: Delta) => void },
  ): Promise<Generation> {
    return await this.#within(signal, async (running, both) => {
      const startedAt = this.#deps.clock.monotonic()
      const work = (server: UpstreamServer) => this.#ask(running, server, request, both, onDelta)
      const param = request.kind === 'chat' ? 'messages' : 'prompt'
      const made = await naming(param, () => running.servers.run(work, both))
      this.#note(made, this.#deps.clock.monotonic() - startedAt, running.servers.inFlight + 1)
      return made
    })
  }

  async embed(request: EmbeddingRequest, { signal }: RunOptions): Promise<Embeddings> {
    return await this.#within(signal, async ({ servers, client, dialect, told }, both) => {
      const input = request.inputs.map((text, at) => {
        if (typeof text === 'string') return text
        throw badRequest(`input[${at}]`, 'Token ids are not supported here.', UNSUPPORTED)
      })
      const { model } = dialect
      const asked = { model, input, truncate: false }
      const work = () => client.embed(asked, both)
      const answer = await naming('input', () => servers.run(work, both))
      const { embeddings, prompt_eval_count: promptTokens } = answer
      if (!Array.isArray(embeddings) || embeddings.length !== input.length)
        throw engineFailed('Ollama answered with another number of vectors')
      if (typeof promptTokens !== 'number' || !Number.isSafeInteger(promptTokens))
        throw engineFailed('Ollama answered without counts of tokens')
      const vectors = embeddings.map((vector) => unitVector(vector, request.dimensions))
      return { vectors, promptTokens, fingerprint: fingerprintOf(model, told) }
    })
  }

  /** Never called: there is no such feature. @throws InferenceError NOT_FOUND */
  async tokenize(): Promise<readonly number[]> {
    throw new InferenceError('NOT_FOUND', 'This path is not served here.')
  }

  /** Never called: there is no such feature. @throws InferenceError NOT_FOUND */
  async detokenize(): Promise<string> {
    throw new InferenceError('NOT_FOUND', 'This path is not served here.')
  }

  /** Gives the memory back; the next request loads the model again. */
  async unload(signal: AbortSignal): Promise<void> {
    const { model } = this.#options
    await this.#running?.client.touch({ model, prompt: '', keep_alive: 0 }, signal)
  }

  async release(): Promise<void> {
    if (this.#state !== 'ready') return
    const { clock, log } = this.#deps
    await withDeadline(clock, this.#options.healthTimeout, undefined, (signal) =>
      this.unload(signal),
    ).catch((error: unknown) => log.warn({ err: error }, 'the model was not unloaded'))
  }

  async stop(): Promise<void> {
    if (this.#options.unload) await this.release()
    this.#state = 'stopped'
    await this.#lifetime.stop(stopped())
  }

  async #ask(
    { client, dialect, told }: Opened,
    server: UpstreamServer,
    request: GenerationRequest,
    signal: AbortSignal,
    onDelta?: (delta: Delta) => void,
  ): Promise<Generation> {
    const { clock, random } = this.#deps
    const emit = (delta: Delta) => {
      signal.throwIfAborted()
      onDelta?.(delta)
    }
    const answer = new UpstreamAnswer({ random, onDelta: emit }, request, server.model)
    const reader = new ChunkReader(told)
    const limit = this.#options.idleTimeout
    const idle = { limit, signal, late: () => engineFailed('Ollama fell silent') }
    await withIdleLimit(clock, idle, async (both, touch) => {
      const onChunk = (chunk: JsonObject) => {
        touch()
        answer.take(reader.read(chunk))
      }
      if (request.kind === 'chat') await client.chat(chatBody(request, dialect), both, onChunk)
      else await client.generate(generateBody(request, dialect), both, onChunk)
    })
    const made = answer.end(false)
    // A server that cuts prompts all the same fills its context with them.
    if (made.usage.promptTokens >= dialect.contextSize)
      throw new InferenceError('CONTEXT_LENGTH', 'The prompt is longer than the context.')
    return made
  }

  async #within<T>(
    signal: AbortSignal,
    work: (running: Opened, signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    signal.throwIfAborted()
    const running = this.#running
    if (this.#state !== 'ready' || running === undefined) throw stopped()
    using both = following(signal, this.#lifetime.signal)
    try {
      return await work(running, both.signal)
    } catch (error) {
      throw this.#reason(error, both.signal)
    }
  }

  #reason(error: unknown, signal: AbortSignal): unknown {
    if (signal.aborted) return signal.reason
    return error instanceof InferenceError ? error : engineFailed('Ollama broke off', error)
  }

  #note({ usage }: Generation, durationMs: number, together: number): void {
    if (durationMs <= 0) return
    const rate = ((usage.completionTokens * 1_000) / durationMs) * together
    const before = this.#tokensPerSecond
    this.#tokensPerSecond = before === 0 ? rate : before + 0.2 * (rate - before)
  }
}

function stopped(): InferenceError {
  return new InferenceError('STOPPED', 'the Ollama backend is not running', { retryable: true })
}
