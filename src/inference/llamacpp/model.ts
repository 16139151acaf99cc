/**
 * Weights in memory and what is done with them: a conversation goes in, text comes out.
 *
 * Runs in the engine's process; nothing here knows about messages between processes. Tested against
 * llama.cpp and the tiny model by test/inference/llamacpp/model.ts.
 */
import { availableParallelism } from 'node:os'
import type { Llama, LlamaContext, LlamaContextSequence, LlamaModel } from 'node-llama-cpp'
import type { Clock } from '../../base/clock.ts'
import { InferenceError } from '../errors.ts'
import type { Library } from './library.ts'
import { TextStream } from './output.ts'
import { STEP_DEFAULTS, StepLoop } from './steps.ts'
import { CHATML, ChatTemplate } from './template.ts'
import type { ChatMessageToEngine, LoadMessage } from './wire.ts'

export type ModelOptions = Omit<LoadMessage, 'type' | 'library' | 'niceness'>

export interface Answer {
  readonly finishReason: 'stop' | 'length'
  readonly promptTokens: number
  /** Of these, so many were still in the slot. */
  readonly cachedTokens: number
  readonly completionTokens: number
}

/** Threads that the CPU needs when all layers are on a GPU: they only hand over work. */
const THREADS_OFFLOADED = 2

export class LoadedModel implements AsyncDisposable {
  readonly device: string
  readonly contextSize: number
  readonly threads: number
  /** Versions of node-llama-cpp and llama.cpp. */
  readonly engine: string
  readonly loop: StepLoop
  readonly #llama: Llama
  readonly #model: LlamaModel
  readonly #template: ChatTemplate

  constructor(
    deps: { llama: Llama; model: LlamaModel; loop: StepLoop; template: ChatTemplate },
    facts: Pick<LoadedModel, 'device' | 'contextSize' | 'threads' | 'engine'>,
  ) {
    this.#llama = deps.llama
    this.#model = deps.model
    this.#template = deps.template
    this.loop = deps.loop
    this.device = facts.device
    this.contextSize = facts.contextSize
    this.threads = facts.threads
    this.engine = facts.engine
  }

  /**
   * @param onText gets the answer in whole characters, as it comes
   * @throws InferenceError CONTEXT_LENGTH (data promptTokens, contextSize), BAD_REQUEST (template);
   *   signal.reason within a step; what llama.cpp throws, after which the model must not be used again
   */
  async chat(
    request: Omit<ChatMessageToEngine, 'type' | 'id'>,
    options: { signal: AbortSignal; onText: (text: string) => void },
  ): Promise<Answer> {
    const prompt = this.#template.tokens(request.messages)
    const left = this.contextSize - prompt.length
    if (left < 1) throw tooLong(prompt.length, this.contextSize)
    const output = new TextStream(
      { detokenize: (tokens, before) => this.#model.detokenize(tokens, false, before) },
      request.stop,
    )
    const emit = (text: string) => {
      if (text !== '') options.onText(text)
    }
    const outcome = await this.loop.run(
      {
        prompt,
        tokensMax: Math.min(request.tokensMax ?? left, left),
        sampling: request.sampling,
        onToken: (token) => {
          if (this.#model.isEogToken(token)) return false
          emit(output.push(token))
          return !output.stopped
        },
      },
      options.signal,
    )
    emit(output.end())
    return {
      // The text held back at the end may have completed a stop string.
      finishReason: output.stopped ? 'stop' : outcome.end,
      promptTokens: prompt.length,
      cachedTokens: outcome.cachedTokens,
      completionTokens: outcome.completionTokens,
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#llama.dispose()
  }
}

/**
 * Loads binaries and weights and makes the context. Nothing is built or downloaded.
 * @throws InferenceError ENGINE_MISSING (no binary for this platform and `gpu`), MODEL_LOAD
 */
export async function openModel(
  deps: { library: Library; clock: Clock },
  options: ModelOptions,
): Promise<LoadedModel> {
  const llama = await openLlama(deps.library, options)
  try {
    const model = await llama.loadModel({
      modelPath: options.modelPath,
      gpuLayers: gpuLayers(options, llama),
    })
    const threads = threadsFor(options, llama, model)
    const batchTokens = Math.max(options.batchTokens, options.chunkTokens + options.slots)
    const context = await model.createContext({
      contextSize: options.contextSize,
      sequences: options.slots,
      batchSize: batchTokens,
      threads,
      failedCreationRemedy: false,
    })
    const template = openTemplate(deps.library, model, options)
    const loop = new StepLoop(
      { sequences: sequencesOf(context), clock: deps.clock },
      { ...STEP_DEFAULTS, chunkTokens: options.chunkTokens, batchTokens },
    )
    const names = llama.gpu === false ? [] : await llama.getGpuDeviceNames()
    const device = llama.gpu === false ? 'cpu' : `${llama.gpu}: ${names.join(', ')}`
    const contextSize = Math.min(options.contextSize, context.contextSize)
    const engine = `node-llama-cpp ${await deps.library.llama.getModuleVersion()}, llama.cpp ${llama.llamaCppRelease.release}`
    return new LoadedModel(
      { llama, model, loop, template },
      { device, contextSize, threads, engine },
    )
  } catch (error) {
    await llama.dispose()
    if (error instanceof InferenceError) throw error
    throw new InferenceError('MODEL_LOAD', `the weights cannot be loaded: ${text(error)}`, {
      cause: error,
    })
  }
}

async function openLlama(library: Library, options: ModelOptions): Promise<Llama> {
  const { getLlama, LlamaLogLevel } = library.llama
  try {
    const llama = await getLlama({
      gpu: options.gpu,
      build: 'never',
      skipDownload: true,
      logLevel: LlamaLogLevel.error,
      // A first, safe value: more threads than cores make llama.cpp wait for itself, 400 times slower.
      maxThreads: 1,
    })
    llama.maxThreads = threadsLimit(options, llama)
    return llama
  } catch (error) {
    const kind = options.gpu === false ? 'cpu' : options.gpu
    throw new InferenceError('ENGINE_MISSING', `no engine for ${kind} works here: ${text(error)}`, {
      cause: error,
    })
  }
}

/** One core is left to the rest of the machine; never more threads than this process may use. */
function threadsLimit(options: ModelOptions, llama: Llama): number {
  const cores = Math.min(llama.cpuMathCores, availableParallelism())
  const usual = Math.max(1, cores - 1)
  return Math.min(options.threadsMax ?? usual, availableParallelism())
}

function threadsFor(options: ModelOptions, llama: Llama, model: LlamaModel): number {
  const limit = threadsLimit(options, llama)
  const offloaded = llama.gpu !== false && model.gpuLayers >= model.fileInsights.totalLayers
  return offloaded ? Math.min(THREADS_OFFLOADED, limit) : limit
}

function gpuLayers(options: ModelOptions, llama: Llama) {
  if (llama.gpu === false) return 0
  return options.gpuLayers ?? { fitContext: { contextSize: options.contextSize * options.slots } }
}

/** All at once and never one by one: their numbers ascend, and stay. */
function sequencesOf(context: LlamaContext): LlamaContextSequence[] {
  return Array.from({ length: context.totalSequences }, () => context.getSequence())
}

/** @throws InferenceError MODEL_LOAD for a template that can't even render a greeting */
function openTemplate(library: Library, model: LlamaModel, options: ModelOptions): ChatTemplate {
  const source = options.chatTemplate ?? model.fileInfo.metadata.tokenizer?.chat_template ?? CHATML
  const { tokens } = model
  try {
    const compiled = library.compileTemplate(source)
    const template = new ChatTemplate(
      {
        render: (context) => compiled.render(context),
        tokenizer: {
          tokenize: (words, special, trim) => model.tokenize(words, special, trim),
          bos: tokens.bos,
          bosText: tokens.bosString,
          eosText: tokens.eosString,
          prependBos: tokens.shouldPrependBosToken,
        },
      },
      { arguments: options.templateArguments ?? {} },
    )
    template.tokens([{ role: 'user', content: 'Hello' }])
    return template
  } catch (error) {
    throw new InferenceError('MODEL_LOAD', `the chat template does not work: ${text(error)}`, {
      cause: error,
    })
  }
}

function tooLong(promptTokens: number, contextSize: number): InferenceError {
  return new InferenceError(
    'CONTEXT_LENGTH',
    `the messages take ${promptTokens} tokens and the context holds ${contextSize}`,
    { data: { param: 'messages', promptTokens, contextSize } },
  )
}

function text(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).slice(0, 500)
}
