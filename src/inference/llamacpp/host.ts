/**
 * The built-in engine as the rest of the supplier sees it: llama.cpp in a child process, kept alive.
 *
 * At most as many requests as there are slots are out in the child; the rest wait here, in a queue with a
 * limit, so a dying child takes little with it and its channel never fills. When it dies, what was out fails
 * at once with ENGINE_FAILED and what waits goes to its successor (keeper.ts). A request that took two
 * engines with it is refused (suspects.ts). Tested by test/inference/llamacpp/host.ts.
 */
import type { Clock } from '../../base/clock.ts'
import type { Log } from '../../base/log.ts'
import type { BackendInfo, BackendStats, InferenceBackend, RunOptions } from '../backend.ts'
import { InferenceError } from '../errors.ts'
import { ALL_FEATURES } from '../features.ts'
import type {
  ChatMessage,
  Delta,
  EmbeddingRequest,
  Embeddings,
  Generation,
  GenerationRequest,
} from '../request.ts'
import { shortened } from '../vectors.ts'
import { failed, Keeper } from './keeper.ts'
import type { LlamaCppOptions } from './options.ts'
import { type Ended, Requests } from './requests.ts'
import { Suspects } from './suspects.ts'
import { generateMessage } from './tasks.ts'
import { parseToEngine, type ReadyMessage, type Task } from './wire.ts'

export interface LlamaCppDeps {
  readonly clock: Clock
  readonly log: Log
  readonly random: () => number
}

export class LlamaCppBackend implements InferenceBackend {
  readonly kind = 'llamacpp'
  readonly #deps: LlamaCppDeps
  readonly #options: LlamaCppOptions
  readonly #requests: Requests
  readonly #suspects: Suspects
  readonly #keeper: Keeper
  #nextId = 0

  constructor(deps: LlamaCppDeps, options: LlamaCppOptions) {
    const log = deps.log.child({ component: 'llamacpp', model: options.model })
    this.#deps = { ...deps, log }
    this.#options = options
    const requests = new Requests({ send: (message) => this.#keeper.send(message) }, options)
    this.#requests = requests
    this.#suspects = new Suspects(deps)
    const kept = {
      take: requests.take.bind(requests),
      open: requests.open.bind(requests),
      failWaiting: requests.failWaiting.bind(requests),
      lost: (error: InferenceError) => this.#suspects.died(requests.lost(error)),
    }
    this.#keeper = new Keeper({ clock: deps.clock, log, kept }, options)
  }

  /** @throws InferenceError ENGINE_MISSING, MODEL_LOAD, ENGINE_FAILED, STOPPED; or signal.reason */
  async start(signal?: AbortSignal): Promise<void> {
    await this.#keeper.start(signal)
  }

  info(): BackendInfo {
    const { model, modelSha256, contextSize, slots, defaults, exclusive } = this.#options
    const { ready, fingerprint } = this.#keeper
    return {
      kind: this.kind,
      model,
      contextSize: ready?.contextSize ?? (contextSize === 'auto' ? 0 : contextSize),
      slots: ready?.slots ?? (slots === 'auto' ? 0 : slots),
      device: ready?.device ?? '',
      features: {
        ...ALL_FEATURES,
        suffix: ready?.infill ?? false,
        thinking: ready?.thinking ?? false,
      },
      fingerprint,
      facts: {
        format: 'gguf',
        ...(modelSha256 === undefined ? {} : { sha256: modelSha256 }),
        sampling: defaults,
        // Alone or on CPUs it was seen to hold; on graphics cards the size of a batch changes sums.
        repeatable: ready !== undefined && (ready.onCpu || exclusive),
        ...(ready === undefined ? {} : readFacts(ready)),
      },
    }
  }

  stats(): BackendStats {
    const { child } = this.#keeper
    return {
      active: this.#requests.active,
      queued: this.#requests.queued,
      state: this.#keeper.state,
      tokensPerSecond: child?.tokensPerSecond ?? 0,
      ...(child?.pid === undefined ? {} : { pid: child.pid }),
      ...(this.#keeper.isDegraded ? { degraded: 'the graphics card is not used' } : {}),
    }
  }

  async generate(
    request: GenerationRequest,
    options: RunOptions & { readonly onDelta?: (delta: Delta) => void },
  ): Promise<Generation> {
    const { defaults, thinkingTokensMax, exclusive } = this.#options
    const isGreedy = (request.temperature ?? defaults.temperature) === 0
    const alone = request.deterministic === true || (exclusive && isGreedy)
    const message = generateMessage(this.#nextId++, request, alone, {
      defaults,
      random: this.#deps.random,
      ...(thinkingTokensMax === undefined ? {} : { thinkingTokensMax }),
    })
    const ended = await this.#add(message, options)
    if (ended.type !== 'done') throw failed('gave another answer than was asked for')
    const { promptTokens, cachedTokens, completionTokens, reasoningTokens } = ended
    const { text, reasoning, toolCalls, scores, finishReason } = ended
    return {
      text,
      ...(reasoning === undefined ? {} : { reasoning }),
      toolCalls,
      finishReason,
      usage: { promptTokens, completionTokens, cachedTokens, reasoningTokens },
      ...(scores === undefined ? {} : { scores }),
      fingerprint: this.#keeper.fingerprint,
    }
  }

  async embed(request: EmbeddingRequest, options: RunOptions): Promise<Embeddings> {
    const inputs = request.inputs.map((input) => (typeof input === 'string' ? input : [...input]))
    const ended = await this.#add({ type: 'embed', id: this.#nextId++, inputs }, options)
    if (ended.type !== 'vectors') throw failed('gave another answer than was asked for')
    const { vectors, promptTokens } = ended
    const cut = vectors.map((vector) => shortened(vector, request.dimensions))
    return { vectors: cut, promptTokens, fingerprint: this.#keeper.fingerprint }
  }

  async tokenize(
    of: string | readonly ChatMessage[],
    addSpecial: boolean,
    options: RunOptions,
  ): Promise<readonly number[]> {
    const message = { type: 'tokenize', id: this.#nextId++, addSpecial } as const
    const what =
      typeof of === 'string'
        ? of
        : of.map((turn) => ({ ...turn, toolCalls: [...(turn.toolCalls ?? [])] }))
    const ended = await this.#add({ ...message, of: what }, options)
    if (ended.type !== 'tokens') throw failed('gave another answer than was asked for')
    return ended.tokens
  }

  async detokenize(tokens: readonly number[], options: RunOptions): Promise<string> {
    const id = this.#nextId++
    return (await this.#add({ type: 'detokenize', id, tokens: [...tokens] }, options)).text
  }

  async stop(): Promise<void> {
    const reason = new InferenceError('STOPPED', 'the engine was stopped', { retryable: true })
    this.#requests.failWaiting(reason)
    this.#requests.lost(reason)
    await this.#keeper.stop(reason)
  }

  async #add(
    task: Task,
    options: RunOptions & { readonly onDelta?: (delta: Delta) => void },
  ): Promise<Ended> {
    options.signal.throwIfAborted()
    this.#keeper.check()
    parseToEngine(task)
    this.#suspects.check(task)
    const ended = await this.#requests.add(task, options)
    this.#suspects.answered(task)
    return ended
  }
}

function readFacts(ready: ReadyMessage): BackendInfo['facts'] {
  return {
    ...(ready.quantisation === '' ? {} : { quantisation: ready.quantisation }),
    tokenizerSha256: ready.tokenizerSha256,
    templateSha256: ready.templateSha256,
    build: ready.engine,
  }
}
