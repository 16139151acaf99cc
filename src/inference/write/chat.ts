/**
 * `chat.completion` and its chunks. Tested by test/inference/write/chat.ts.
 */
import type { Delta, Generation, JsonObject, ToolCall, Usage } from '../request.ts'
import { Chunks } from './chunks.ts'
import { chatScores, type Frame, framed, usageObject } from './frame.ts'

/** @param usage of all choices together */
export function chatBody(choices: readonly Generation[], usage: Usage, frame: Frame): Uint8Array {
  const { id, created, model, fingerprint } = frame
  const head = {
    id,
    object: 'chat.completion',
    created,
    model,
    system_fingerprint: fingerprint,
    usage: usageObject(usage),
  }
  return framed(head, frame, { choices: choices.map(choice) })
}

function choice(generation: Generation, index: number): JsonObject {
  const { text, toolCalls, scores } = generation
  return {
    index,
    message: {
      role: 'assistant',
      content: text === '' && toolCalls.length > 0 ? null : text,
      refusal: null,
      ...thoughts(generation.reasoning),
      ...(toolCalls.length === 0 ? {} : { tool_calls: toolCalls.map(callObject) }),
    },
    logprobs: scores === undefined ? null : chatScores(scores),
    finish_reason: generation.finishReason,
  }
}

/** Readers look for one name or the other. */
function thoughts(reasoning: string | undefined): JsonObject {
  return reasoning === undefined || reasoning === ''
    ? {}
    : { reasoning, reasoning_content: reasoning }
}

function callObject({ id, name, arguments: text }: ToolCall): JsonObject {
  return { id, type: 'function', function: { name, arguments: text } }
}

/** The events of one streamed chat. Choices may be mixed; each begins, goes on and ends once. */
export class ChatStream {
  readonly #chunks: Chunks
  /** Of each choice: how many calls it has made. */
  readonly #calls = new Map<number, number>()

  constructor(frame: Frame, includeUsage: boolean) {
    this.#chunks = new Chunks('chat.completion.chunk', frame, includeUsage)
  }

  begin(index: number): string {
    return this.#chunks.chunk({
      index,
      delta: { role: 'assistant', content: '' },
      logprobs: null,
      finish_reason: null,
    })
  }

  /** Empty for a delta that shows nothing. */
  delta(index: number, piece: Delta): string {
    const call = piece.toolCall
    const made = this.#calls.get(index) ?? 0
    const delta: JsonObject = {
      ...(piece.text === undefined || piece.text === '' ? {} : { content: piece.text }),
      ...thoughts(piece.reasoning),
      ...(call === undefined ? {} : { tool_calls: [{ index: made, ...callObject(call) }] }),
    }
    if (call !== undefined) this.#calls.set(index, made + 1)
    const { scores } = piece
    if (Object.keys(delta).length === 0 && (scores?.length ?? 0) === 0) return ''
    const logprobs = scores === undefined ? null : chatScores(scores)
    return this.#chunks.chunk({ index, delta, logprobs, finish_reason: null })
  }

  end(index: number, { finishReason }: Generation): string {
    return this.#chunks.chunk({ index, delta: {}, logprobs: null, finish_reason: finishReason })
  }

  finish(usage: Usage, manifest: JsonObject | undefined): string {
    return this.#chunks.finish(usage, manifest)
  }
}
