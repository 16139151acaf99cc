/** The tiny model opened in the test's own process, with its batches written down. */
import type { BatchItem, Llama, LlamaContextOptions, LlamaModelOptions } from 'node-llama-cpp'
import type { Test } from 'tap'
import { systemClock } from '../../src/base/clock.ts'
import { type Library, loadLibrary } from '../../src/inference/llamacpp/library.ts'
import { type Answer, type ModelOptions, openModel } from '../../src/inference/llamacpp/model.ts'
import type { PickSettings } from '../../src/inference/llamacpp/sampling.ts'
import type { GenerateMessage } from '../../src/inference/llamacpp/wire.ts'
import type { ChatMessage, Delta, TokenScore, ToolCall } from '../../src/inference/request.ts'
import { chat, GREEDY_SETTINGS, TINY_OPTIONS } from './tiny-model.ts'

export interface Wishes {
  prompt?: GenerateMessage['prompt']
  /** Of a chat. */
  more?: Partial<Extract<GenerateMessage['prompt'], { kind: 'chat' }>>
  message?: Partial<GenerateMessage>
  tokensMax?: number
  settings?: Partial<PickSettings>
  stop?: string[]
  signal?: AbortSignal
  onText?: (text: string) => void
}

export interface Asked extends Answer {
  readonly text: string
  readonly pieces: readonly string[]
  readonly reasoning: string
  readonly toolCalls: readonly ToolCall[]
  readonly scores: readonly TokenScore[]
}

/** The real library, whose batches are written down through its own option for ordering them. */
function watched(library: Library, batches: (readonly BatchItem[])[]): Library {
  const open = async (options: Parameters<Library['llama']['getLlama']>[0]): Promise<Llama> => {
    const llama = await library.llama.getLlama(options)
    const loadModel = llama.loadModel.bind(llama)
    llama.loadModel = async (options: LlamaModelOptions) => {
      const model = await loadModel(options)
      const createContext = model.createContext.bind(model)
      model.createContext = (options?: LlamaContextOptions) =>
        createContext({
          ...options,
          batching: {
            itemPrioritizationStrategy({ items }) {
              batches.push([...items])
              return items.map((item) => ({ item, processAmount: item.tokens.length }))
            },
          },
        })
      return model
    }
    return llama
  }
  const { llama, ...rest } = library
  return { ...rest, llama: { ...llama, getLlama: open as Library['llama']['getLlama'] } }
}

export async function openTiny(t: Test, options: Partial<ModelOptions> = {}) {
  const batches: (readonly BatchItem[])[] = []
  const model = await openModel(
    {
      library: watched(await loadLibrary(), batches),
      clock: systemClock,
      random: () => 0.5,
    },
    { ...TINY_OPTIONS, ...options },
  )
  t.teardown(() => model[Symbol.asyncDispose]())

  async function ask(messages: string | ChatMessage[], wishes: Wishes = {}): Promise<Asked> {
    const { tokensMax, settings = {}, stop = [], signal, onText, more, prompt } = wishes
    const request = chat(messages, { stop, ...wishes.message })
    request.settings = { ...GREEDY_SETTINGS, ...settings } as never
    if (prompt !== undefined) request.prompt = prompt
    else if (more !== undefined) request.prompt = { ...request.prompt, ...more } as never
    if (tokensMax !== undefined) request.tokensMax = tokensMax
    const pieces: string[] = []
    const rest = { reasoning: '', toolCalls: [] as ToolCall[], scores: [] as TokenScore[] }
    const onDelta = ({ text, reasoning = '', toolCall, scores = [] }: Delta) => {
      rest.reasoning += reasoning
      rest.scores.push(...scores)
      if (toolCall !== undefined) rest.toolCalls.push(toolCall)
      if (text === undefined) return
      pieces.push(text)
      onText?.(text)
    }
    const never = new AbortController().signal
    const answer = await model.generate(request, { signal: signal ?? never, onDelta })
    return { ...answer, ...rest, pieces, text: pieces.join('') }
  }
  return { model, batches, ask }
}
