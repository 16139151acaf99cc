/** The tiny model that lies in models/, and how tests load it: one thread, no GPU, answers by heart. */

import { tinyModelPath } from '../../src/config/root.ts'
import type { ChatMessage, ChatRequest } from '../../src/inference/backend.ts'
import type { ModelOptions } from '../../src/inference/llamacpp/model.ts'
import type { Sampling, SamplingDefaults } from '../../src/inference/llamacpp/sampling.ts'

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
export const GREEDY_SAMPLING: Sampling = { ...GREEDY, seed: 1 }

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
  return { messages: user(content), stop: [], body: {}, ...more }
}
