/**
 * Servers that speak the OpenAI API as one backend: vLLM, llama-server, SGLang, Ray Serve and the like.
 *
 * An upstream is outside: what it sends is bounded, read part by part and checked, and never passed on as
 * it came. What is wrong between it and us (credentials, a missing model, its rate limit, any 5xx, a
 * redirect) is never shown as the caller's fault. Only checked fields of a request go up. Answers are
 * streamed here whether or not somebody reads the stream, so that a server that hangs is seen.
 * Tested by test/inference/upstream/backend.ts and its contract run there.
 */
import { following } from '../../base/abort.ts'
import type { Clock } from '../../base/clock.ts'
import { Lifetime } from '../../base/lifetime.ts'
import type { Log } from '../../base/log.ts'
import { withDeadline } from '../../base/retry.ts'
import type { BackendInfo, BackendStats, InferenceBackend, RunOptions } from '../backend.ts'
import { engineFailed, InferenceError } from '../errors.ts'
import { NO_FEATURES } from '../features.ts'
import type {
  ChatMessage,
  Delta,
  EmbeddingRequest,
  Embeddings,
  Features,
  Generation,
  GenerationRequest,
} from '../request.ts'
import { fingerprintOf } from './answer.ts'
import { exchange } from './exchange.ts'
import { KNOWN_EXTENSIONS, readModels, type Told } from './kinds.ts'
import { UPSTREAM_DEFAULTS, type UpstreamLimits, type UpstreamOptions } from './options.ts'
import { askText, askTokens, askVectors } from './others.ts'
import { type Prober, probeFeatures } from './probes.ts'
import { promptTokensIn } from './refusal.ts'
import { UpstreamServer } from './server.ts'
import { UpstreamServers } from './servers.ts'
import { Spend } from './spend.ts'

export interface UpstreamDeps {
  readonly clock: Clock
  readonly log: Log
  /** At least 0 and below 1. */
  readonly random: () => number
}

export class UpstreamBackend implements InferenceBackend {
  readonly kind = 'upstream'
  readonly #deps: UpstreamDeps
  readonly #options: UpstreamOptions & UpstreamLimits
  readonly #servers: UpstreamServers
  readonly #spend: Spend
  readonly #lifetime = new Lifetime()
  #told: Told = { kind: 'unknown' }
  #features: Features
  #fingerprint: string
  #state: 'starting' | 'ready' | 'stopped' = 'starting'
  #tokensPerSecond = 0

  constructor(deps: UpstreamDeps, options: UpstreamOptions & Partial<UpstreamLimits>) {
    this.#deps = { ...deps, log: deps.log.child({ component: 'upstream' }) }
    const settings = { ...UPSTREAM_DEFAULTS, ...options }
    this.#options = settings
    const { model, features } = settings
    this.#servers = new UpstreamServers(
      this.#deps,
      settings.endpoints.map(
        (endpoint) =>
          new UpstreamServer(deps, { ...endpoint, model: endpoint.model ?? model }, settings),
      ),
    )
    this.#lifetime.own(this.#servers, (servers) => servers.close())
    this.#spend = new Spend(deps, settings.tokensMax)
    this.#features = { ...NO_FEATURES, ...features }
    this.#fingerprint = fingerprintOf(model)
  }

  /**
   * Asks every server for its models, to see that one answers and takes our credentials, then what it can do.
   * @throws InferenceError ENGINE_FAILED, retryable unless credentials were refused; MODEL_LOAD; BUSY
   */
  async start(signal?: AbortSignal): Promise<void> {
    if (this.#state === 'stopped') throw stopped()
    using both = following(signal, this.#lifetime.signal)
    try {
      this.#told = readModels(await this.#servers.check(both.signal), this.#options.model)
      this.#checkModel()
      await this.#findFeatures(both.signal)
    } catch (error) {
      throw this.#reason(error, both.signal)
    }
    const { kind, contextSize } = this.#told
    this.#deps.log.info({ server: kind, contextSize, ...this.#features }, 'upstream found')
    this.#state = 'ready'
    const { healthEvery } = this.#options
    this.#lifetime.run(
      (ended) => this.#servers.watch(healthEvery, ended),
      (error) => this.#deps.log.error({ err: error }, 'upstreams are not watched any more'),
    )
  }

  info(): BackendInfo {
    const { model, contextSize } = this.#options
    return {
      kind: this.kind,
      model,
      contextSize: Math.min(contextSize, this.#told.contextSize ?? contextSize),
      slots: this.#servers.slots,
      device: 'upstream',
      features: this.#features,
      fingerprint: this.#fingerprint,
      facts: {},
    }
  }

  stats(): BackendStats {
    const isDown = this.#state === 'ready' && !this.#servers.isUp
    return {
      active: this.#servers.inFlight,
      queued: 0,
      state: isDown ? 'restarting' : this.#state,
      tokensPerSecond: this.#tokensPerSecond,
      servers: this.#servers.reports(),
      spent: this.#spend.spent,
    }
  }

  async generate(
    request: GenerationRequest,
    { signal, onDelta }: RunOptions & { readonly onDelta?: (delta: Delta) => void },
  ): Promise<Generation> {
    return await this.#within(signal, async (both) => await this.#generate(request, both, onDelta))
  }

  async embed(request: EmbeddingRequest, { signal }: RunOptions): Promise<Embeddings> {
    return await this.#within(signal, async (both) => {
      const made = await this.#servers.run((server) => askVectors(server, request, both), both)
      this.#spend.add(made.promptTokens)
      return made
    })
  }

  async tokenize(
    of: string | readonly ChatMessage[],
    addSpecial: boolean,
    { signal }: RunOptions,
  ): Promise<readonly number[]> {
    const { kind } = this.#told
    return await this.#within(
      signal,
      async (both) =>
        await this.#servers.run(
          (server) => askTokens(server, kind, { of, addSpecial }, both),
          both,
        ),
    )
  }

  async detokenize(tokens: readonly number[], { signal }: RunOptions): Promise<string> {
    return await this.#within(
      signal,
      async (both) => await this.#servers.run((server) => askText(server, tokens, both), both),
    )
  }

  async stop(): Promise<void> {
    this.#state = 'stopped'
    await this.#lifetime.stop(stopped())
  }

  /** Runs `work` until the caller or `stop()` ends it. @throws `signal.reason`, InferenceError */
  async #within<T>(signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    signal.throwIfAborted()
    if (this.#state !== 'ready') throw stopped()
    this.#spend.check()
    using both = following(signal, this.#lifetime.signal)
    try {
      return await work(both.signal)
    } catch (error) {
      throw this.#reason(error, both.signal)
    }
  }

  #reason(error: unknown, signal: AbortSignal): unknown {
    if (signal.aborted) return signal.reason
    return error instanceof InferenceError ? error : engineFailed('the upstream broke off', error)
  }

  async #generate(
    request: GenerationRequest,
    signal: AbortSignal,
    onDelta?: (delta: Delta) => void,
    counts = true,
  ): Promise<Generation> {
    const run = (asked: GenerationRequest) =>
      this.#servers.run((server) => this.#ask(server, asked, signal, onDelta), signal, counts)
    try {
      return await run(request)
    } catch (error) {
      const shorter = this.#shorter(request, error)
      if (shorter === undefined) throw error
      return await run(shorter)
    }
  }

  /** Some servers refuse a wish for more tokens than fit beside the prompt, and say how long it is. */
  #shorter(request: GenerationRequest, error: unknown): GenerationRequest | undefined {
    if (!(error instanceof InferenceError) || error.code !== 'CONTEXT_LENGTH') return undefined
    const promptTokens = promptTokensIn(error.message)
    if (promptTokens === undefined) return undefined
    const fits = this.info().contextSize - promptTokens
    const isLess = fits >= 1 && fits < (request.maxTokens ?? 0)
    return isLess ? { ...request, maxTokens: fits } : undefined
  }

  /** One try on one server. */
  async #ask(
    server: UpstreamServer,
    request: GenerationRequest,
    signal: AbortSignal,
    onDelta?: (delta: Delta) => void,
  ): Promise<Generation> {
    const { clock } = this.#deps
    const startedAt = clock.monotonic()
    const { stream, maxTokensField, extensions } = this.#options
    const made = await exchange(
      { ...this.#deps, server, spend: this.#spend },
      {
        ...this.#options,
        dialect: {
          model: server.model,
          stream,
          maxTokensField,
          extensions: extensions ?? KNOWN_EXTENSIONS[this.#told.kind],
          contextSize: this.info().contextSize,
        },
      },
      request,
      { signal, ...(onDelta === undefined ? {} : { onDelta }) },
    )
    this.#note(made, clock.monotonic() - startedAt)
    return made
  }

  #note({ usage, fingerprint }: Generation, durationMs: number): void {
    this.#fingerprint = fingerprint
    if (durationMs <= 0) return
    const rate = ((usage.completionTokens * 1_000) / durationMs) * this.#servers.inFlight
    const before = this.#tokensPerSecond
    this.#tokensPerSecond = before === 0 ? rate : before + 0.2 * (rate - before)
  }

  #checkModel(): void {
    const { kind, isListed } = this.#told
    const isStrict = kind === 'vllm' || kind === 'sglang'
    if (isStrict && isListed === false)
      throw new InferenceError('MODEL_LOAD', 'the upstream has no model of the configured name')
  }

  async #findFeatures(signal: AbortSignal): Promise<void> {
    const { features = {}, probe } = this.#options
    if (!probe) return
    this.#features = { ...NO_FEATURES, ...(await probeFeatures(this.#prober(signal), features)) }
    const { chat, completions, embeddings } = this.#features
    if (!chat && !completions && !embeddings)
      throw engineFailed('the upstream answers neither chats nor completions nor embeddings')
  }

  #prober(signal: AbortSignal): Prober {
    const { kind } = this.#told
    const limited = <T>(work: (signal: AbortSignal) => Promise<T>) =>
      withDeadline(this.#deps.clock, this.#options.probeTimeout, signal, work)
    const onOne = <T>(work: (server: UpstreamServer, signal: AbortSignal) => Promise<T>) =>
      limited((both) => this.#servers.run((server) => work(server, both), both, false))
    return {
      generate: async (request) => {
        this.#spend.check()
        return await limited((both) => this.#generate(request, both, undefined, false))
      },
      embeds: async () => {
        const made = await onOne((server, both) => askVectors(server, { inputs: ['a'] }, both))
        this.#spend.add(made.promptTokens)
        return made.vectors.length === 1
      },
      tokens: (of) =>
        onOne((server, both) => askTokens(server, kind, { of, addSpecial: false }, both)),
      text: (tokens) => onOne((server, both) => askText(server, tokens, both)),
    }
  }
}

function stopped(): InferenceError {
  return new InferenceError('STOPPED', 'the upstream backend is not running', { retryable: true })
}
