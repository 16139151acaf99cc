/** What the contract of backends asks them. */
import type { InferenceBackend } from '../../src/inference/backend.ts'
import { InferenceError } from '../../src/inference/errors.ts'
import type { ChatRequest, CompletionRequest } from '../../src/inference/request.ts'

export interface Suite {
  readonly prompt: string
  readonly streams: boolean
  readonly repeatable: boolean
}

export function ask(content: string, more: Partial<ChatRequest> = {}): ChatRequest {
  return {
    kind: 'chat',
    messages: [{ role: 'user', content }],
    tools: [],
    toolChoice: 'none',
    parallelToolCalls: true,
    format: { kind: 'text' },
    temperature: 0,
    maxTokens: 24,
    stop: [],
    ...more,
  }
}

export function complete(
  prompt: CompletionRequest['prompt'],
  more: Partial<CompletionRequest> = {},
): CompletionRequest {
  return {
    kind: 'completion',
    prompt,
    echo: false,
    temperature: 0,
    maxTokens: 24,
    stop: [],
    ...more,
  }
}

export const never = () => new AbortController().signal

export async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work
    return 'answered'
  } catch (error) {
    return error instanceof InferenceError ? error.code : String(error)
  }
}

/** An engine may need a moment after an abort; some turns of the event loop are that moment. */
export async function idle(backend: InferenceBackend): Promise<void> {
  for (let turn = 0; turn < 500 && backend.stats().active > 0; turn++)
    await new Promise((resolve) => setTimeout(resolve, 10))
}
