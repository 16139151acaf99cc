/**
 * Weights in memory and what is done with them: requests go in, tokens come out.
 *
 * Runs in the engine's process; nothing here knows about messages between processes. Tested against
 * llama.cpp and the tiny model by test/inference/llamacpp/model.ts.
 */
import type { Llama, LlamaContext, LlamaContextSequence, LlamaModel, Token } from 'node-llama-cpp'
import type { Clock } from '../../base/clock.ts'
import { InferenceError } from '../errors.ts'
import type { Delta } from '../request.ts'
import type { AnswerStream } from './answer.ts'
import { Embedder } from './embedder.ts'
import { fitModel, gpuLayers, openLlama, stepSizes, threadsFor } from './hardware.ts'
import type { Verdict } from './job.ts'
import type { Library } from './library.ts'
import { type Constraint, EnginePicker, ExactPicker, type Picked, type Picker } from './picker.ts'
import { Prompts } from './prompts.ts'
import { STEP_DEFAULTS, StepLoop } from './steps.ts'
import type { GenerateMessage, LoadMessage, ReadyMessage } from './wire.ts'

export type ModelOptions = Omit<LoadMessage, 'type' | 'library' | 'niceness'>

export interface Answer {
  readonly finishReason: 'stop' | 'length' | 'tool_calls'
  readonly promptTokens: number
  /** Of these, so many were still in the slot. */
  readonly cachedTokens: number
  readonly completionTokens: number
  readonly reasoningTokens: number
}

export type Facts = Omit<ReadyMessage, 'type'>

export interface ModelDeps {
  readonly clock: Clock
  /** For ids of calls: at least 0 and below 1. */
  readonly random: () => number
}

export class LoadedModel implements AsyncDisposable {
  readonly facts: Facts
  readonly loop: StepLoop
  readonly prompts: Prompts
  readonly embedder: Embedder
  readonly #llama: Llama
  readonly #random: () => number

  constructor(
    deps: {
      llama: Llama
      loop: StepLoop
      prompts: Prompts
      embedder: Embedder
      random: () => number
    },
    facts: Facts,
  ) {
    this.#llama = deps.llama
    this.#random = deps.random
    this.loop = deps.loop
    this.prompts = deps.prompts
    this.embedder = deps.embedder
    this.facts = facts
  }

  /**
   * @param onDelta gets the answer as it comes
   * @throws InferenceError CONTEXT_LENGTH (data promptTokens, contextSize), BAD_REQUEST (template, tokens);
   *   signal.reason within a step; what llama.cpp throws, after which the model must not be used again
   */
  async generate(
    request: GenerateMessage,
    { signal, onDelta }: { signal: AbortSignal; onDelta: (delta: Delta) => void },
  ): Promise<Answer> {
    const { prompts } = this
    prompts.checkBias(request.settings.logitBias)
    const grammar = prompts.constraintOf(request)
    const read = prompts.read(request.prompt, grammar !== undefined)
    const { tokens } = read
    const left = this.facts.contextSize - tokens.length
    const tokensMax = Math.min(request.tokensMax ?? left, left)
    if (left < (request.tokensMax === 0 ? 0 : 1)) throw tooLong(tokens.length, this.facts, request)
    const answer = prompts.answerOf(request, read, { random: this.#random, onDelta })
    const { topLogprobs } = request.settings
    const isScored = request.echo && topLogprobs !== undefined
    const echo = isScored
      ? prompts.display.echo(onDelta, request.prompt.kind === 'tokens')
      : undefined
    if (request.echo && !isScored) onDelta({ text: prompts.display.plainText(tokens) })
    const picker = this.#picker(request, answer, { grammar, tokens, tokensMax })
    const outcome = await this.loop.run(
      {
        prompt: tokens,
        tokensMax,
        picker,
        ...(isScored ? { scorePrompt: topLogprobs } : {}),
        isExact: request.repeatable,
        isAlone: request.alone && !this.facts.onCpu,
        onToken: (picked) => {
          echo?.end()
          return this.#take(request, answer, picked)
        },
        onPrompt: (scores) => echo?.push(scores),
      },
      signal,
    )
    echo?.end()
    answer.end()
    return {
      finishReason: finishOf(answer, isCropped(picker) ? 'length' : outcome.end),
      promptTokens: tokens.length,
      cachedTokens: outcome.cachedTokens,
      completionTokens: outcome.completionTokens,
      reasoningTokens: answer.thoughtTokens,
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#llama.dispose()
  }

  #picker(
    { exact, settings, prompt }: GenerateMessage,
    answer: AnswerStream,
    {
      grammar,
      tokens,
      tokensMax,
    }: { grammar: Constraint | undefined; tokens: readonly Token[]; tokensMax: number },
  ): Picker {
    if (!exact && grammar === undefined) return new EnginePicker(settings)
    const constraint =
      grammar === undefined || prompt.kind !== 'chat'
        ? grammar
        : afterThoughts(grammar, answer, this.prompts.thoughtEnd)
    const { vocabulary } = this.prompts
    return new ExactPicker({ vocabulary, constraint }, settings, { prompt: tokens, tokensMax })
  }

  #take(request: GenerateMessage, answer: AnswerStream, { token, score }: Picked): Verdict {
    const { prompts } = this
    const shown = score === undefined ? undefined : prompts.display.scoreOf(score, answer.isAtStart)
    if (prompts.vocabulary.isEnd(token)) {
      // Scorers of texts count on an entry for each token that was generated, this one, too.
      if (shown !== undefined && request.prompt.kind !== 'chat') answer.endedBy(shown)
      return 'end'
    }
    answer.push(token, shown)
    if (answer.isOver) return 'end'
    const budget = request.prompt.kind === 'chat' ? request.prompt.thinking?.tokensMax : undefined
    if (budget === undefined || !answer.isThinking || answer.thoughtTokens < budget) return 'go on'
    const forced = prompts.endOfThought
    for (const one of forced) answer.push(one)
    return forced
  }
}

/**
 * Thoughts are free; what comes after them is held to the grammar.
 * @param mark ends a thought
 */
function afterThoughts(grammar: Constraint, answer: AnswerStream, mark: string): Constraint {
  const last = mark.at(-1)
  // A token that ended a thought and went on would be heard by nobody.
  const endsAlone = (bytes: Uint8Array) => {
    if (last === undefined) return true
    const text = new TextDecoder().decode(bytes)
    const at = text.lastIndexOf(last)
    return at === -1 || text.slice(at + 1).trim() === ''
  }
  return {
    get canEnd() {
      return !answer.isThinking && grammar.canEnd
    },
    get least() {
      return grammar.least
    },
    allows: (bytes, room) => (answer.isThinking ? endsAlone(bytes) : grammar.allows(bytes, room)),
    advance: (bytes) => {
      if (!answer.isThinking) grammar.advance(bytes)
    },
  }
}

/** What its format has to be was ended early, so as not to be cut. */
function isCropped(picker: Picker): boolean {
  return picker instanceof ExactPicker && picker.isCropped
}

/** The text held back at the end may have completed a stop string. */
function finishOf(answer: AnswerStream, end: 'stop' | 'length'): Answer['finishReason'] {
  if (answer.calls > 0) return 'tool_calls'
  return answer.isOver ? 'stop' : end
}

/**
 * Loads binaries and weights and makes the context. Nothing is built or downloaded.
 * @throws InferenceError ENGINE_MISSING (no binary for this platform and `gpu`), MODEL_LOAD
 */
export async function openModel(
  deps: ModelDeps & { library: Library },
  options: ModelOptions,
): Promise<LoadedModel> {
  const { library } = deps
  const llama = await openLlama(library, options)
  try {
    const model = await llama.loadModel({
      modelPath: options.modelPath,
      gpuLayers: gpuLayers(options, llama),
    })
    const threads = threadsFor(options, llama, model)
    const { contextSize: wanted, slots } = await fitModel(options, llama, model)
    const onCpu = llama.gpu === false || model.gpuLayers === 0
    const steps = stepSizes(options, { onCpu, weightBytes: model.size, slots })
    const context = await model.createContext({
      contextSize: wanted,
      sequences: slots,
      batchSize: steps.batchTokens,
      threads,
      failedCreationRemedy: false,
    })
    const prompts = new Prompts(library, model, options)
    const loop = new StepLoop(
      { sequences: sequencesOf(context), clock: deps.clock },
      { ...STEP_DEFAULTS, ...steps },
    )
    const contextSize = Math.min(wanted, context.contextSize)
    const size = { contextSize, slots, threads }
    const embedder = new Embedder({ model, prompts }, size)
    // Reads the weights and wakes the drivers: the first request is not to wait for that.
    await loop.probe(prompts.anyToken)
    const facts = await factsOf({ library, llama, model, prompts }, size)
    return new LoadedModel({ llama, loop, prompts, embedder, random: deps.random }, facts)
  } catch (error) {
    await llama.dispose()
    if (error instanceof InferenceError) throw error
    throw new InferenceError('MODEL_LOAD', `the weights cannot be loaded: ${text(error)}`, {
      cause: error,
    })
  }
}

async function factsOf(
  {
    library,
    llama,
    model,
    prompts,
  }: {
    library: Library
    llama: Llama
    model: LlamaModel
    prompts: Prompts
  },
  size: { contextSize: number; slots: number; threads: number },
): Promise<Facts> {
  const names = llama.gpu === false ? [] : await llama.getGpuDeviceNames()
  const { GgufFileType } = library.llama
  const { file_type: type } = model.fileInfo.metadata.general
  // Vulkan starts without a card, too.
  const hasGpu = llama.gpu !== false && names.length > 0
  return {
    device: hasGpu ? `${llama.gpu}: ${names.join(', ')}` : 'cpu',
    ...size,
    engine: `node-llama-cpp ${await library.llama.getModuleVersion()}, llama.cpp ${llama.llamaCppRelease.release}`,
    onCpu: !hasGpu || model.gpuLayers === 0,
    hasGpu,
    vocabularySize: prompts.vocabulary.size,
    templateSha256: prompts.templateSha256,
    tokenizerSha256: prompts.tokenizerSha256,
    quantisation:
      type === undefined ? '' : (GgufFileType[type] ?? '').replace(/^MOSTLY_|^ALL_/, ''),
    thinking: prompts.thoughts !== 'none',
    infill: prompts.canInfill,
  }
}

/** All at once and never one by one: their numbers ascend, and stay. */
function sequencesOf(context: LlamaContext): LlamaContextSequence[] {
  return Array.from({ length: context.totalSequences }, () => context.getSequence())
}

function tooLong(
  promptTokens: number,
  { contextSize }: Facts,
  { prompt }: GenerateMessage,
): InferenceError {
  const param = prompt.kind === 'chat' ? 'messages' : 'prompt'
  return new InferenceError(
    'CONTEXT_LENGTH',
    `the prompt takes ${promptTokens} tokens and the context holds ${contextSize}`,
    { data: { param, promptTokens, contextSize } },
  )
}

function text(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).slice(0, 500)
}
