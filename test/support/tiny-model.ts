/** The tiny model that lies in models/, and how tests load it: one thread, no GPU, answers by heart. */

import { tinyModelPath } from '../../src/config/root.ts'
import type { ModelOptions } from '../../src/inference/llamacpp/model.ts'
import type { PickSettings, SamplingDefaults } from '../../src/inference/llamacpp/sampling.ts'
import type { GenerateMessage } from '../../src/inference/llamacpp/wire.ts'
import type { ChatMessage, ChatRequest } from '../../src/inference/request.ts'

export const TINY_MODEL = tinyModelPath()

export const TINY_OPTIONS: ModelOptions = {
  modelPath: TINY_MODEL,
  contextSize: 256,
  slots: 4,
  chunkTokens: 128,
  batchTokens: 512,
  gpu: false,
  threadsMax: 1,
}

export const GREEDY: SamplingDefaults = { temperature: 0, topP: 1, topK: 0, minP: 0 }
export const GREEDY_SETTINGS: PickSettings = {
  ...GREEDY,
  seed: 1n,
  presencePenalty: 0,
  frequencyPenalty: 0,
  repeatPenalty: 1,
  logitBias: new Map(),
}

/** What the model answers without chance; the sums with two steps were held out of its training. */
export const ANSWERS: readonly (readonly [question: string, answer: string])[] = [
  ['Hello!', 'Hello! How can I help you?'],
  ['What is 17 + 25?', '10 + 20 = 30 and 7 + 5 = 12, so 17 + 25 = 42'],
  ['What is the capital of Japan?', 'The capital of Japan is Tokyo.'],
  [
    'Who are you?',
    'I am a tiny demo model. I can add small numbers and answer a few simple questions.',
  ],
  ['What day comes after Friday?', 'Saturday comes after Friday.'],
  ['Count from 4 to 9.', '4, 5, 6, 7, 8, 9'],
  ['What is the opposite of hot?', 'The opposite of hot is cold.'],
  ['How many legs does a spider have?', 'A spider has 8 legs.'],
]

export function user(content: string): ChatMessage[] {
  return [{ role: 'user', content }]
}

export function request(content: string, more: Partial<ChatRequest> = {}): ChatRequest {
  return {
    kind: 'chat',
    messages: user(content),
    tools: [],
    toolChoice: 'none',
    parallelToolCalls: true,
    format: { kind: 'text' },
    stop: [],
    ...more,
  }
}

/** A greedy chat as the engine is sent it. */
export function chat(
  messages: string | ChatMessage[],
  more: Partial<GenerateMessage> = {},
): GenerateMessage {
  return {
    type: 'generate',
    id: 0,
    prompt: {
      kind: 'chat',
      messages: (typeof messages === 'string' ? user(messages) : messages) as never,
      tools: [],
      toolChoice: 'none',
      parallelToolCalls: true,
    },
    echo: false,
    settings: { ...GREEDY_SETTINGS, logitBias: new Map() },
    exact: false,
    repeatable: false,
    alone: false,
    stop: [],
    ...more,
  }
}
