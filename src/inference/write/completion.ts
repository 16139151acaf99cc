/**
 * `text_completion`, whole and in chunks, with log-probabilities in the classic arrays.
 *
 * Tested by test/inference/write/completion.ts.
 */
import { hex } from '../../base/bytes.ts'
import type {
  Delta,
  Generation,
  JsonObject,
  TokenAlternative,
  TokenScore,
  Usage,
} from '../request.ts'
import { Chunks } from './chunks.ts'
import { type Frame, finite, framed, usageObject } from './frame.ts'

/** @param choices in order of prompts, the choices of one prompt together */
export function completionBody(
  choices: readonly Generation[],
  usage: Usage,
  frame: Frame,
): Uint8Array {
  const { id, created, model, fingerprint } = frame
  const head = {
    id,
    object: 'text_completion',
    created,
    model,
    system_fingerprint: fingerprint,
    usage: usageObject(usage),
  }
  return framed(head, frame, {
    choices: choices.map((generation, index) => ({
      text: generation.text,
      index,
      logprobs: generation.scores === undefined ? null : classicScores(generation.scores, 0),
      finish_reason: reasonOf(generation),
    })),
  })
}

/** This API knows no calls. */
function reasonOf({ finishReason }: Generation): string {
  return finishReason === 'tool_calls' ? 'stop' : finishReason
}

/**
 * The classic arrays, one entry a token. @param offset characters of the choice's text before them
 */
export function classicScores(scores: readonly TokenScore[], offset: number): JsonObject {
  const offsets: number[] = []
  let at = offset
  const decoder = new TextDecoder()
  for (const { bytes } of scores) {
    offsets.push(at)
    at += charactersOf(decoder.decode(bytes, { stream: true }))
  }
  const hasTop = scores.some(({ top }) => top.length > 0)
  return {
    tokens: scores.map(nameOf),
    token_logprobs: scores.map(({ logprob }) => (logprob === null ? null : finite(logprob))),
    top_logprobs: hasTop ? scores.map(topOf) : null,
    text_offset: offsets,
  }
}

function topOf({ logprob, top }: TokenScore): JsonObject | null {
  if (logprob === null) return null
  return Object.fromEntries(top.map((other) => [nameOf(other), finite(other.logprob)]))
}

/** Halves of characters would all have the same name. */
function nameOf({ text, bytes }: Pick<TokenAlternative, 'text' | 'bytes'>): string {
  if (!text.includes('\ufffd')) return text
  return `bytes:${hex(bytes).replace(/../g, '\\x$&')}`
}

function charactersOf(text: string): number {
  return [...text].length
}

/** The events of one streamed completion. */
export class CompletionStream {
  readonly #chunks: Chunks
  /** Of each choice: characters sent. */
  readonly #sent = new Map<number, number>()

  constructor(frame: Frame, includeUsage: boolean) {
    this.#chunks = new Chunks('text_completion', frame, includeUsage)
  }

  begin(_index: number): string {
    return ''
  }

  delta(index: number, { text = '', scores }: Delta): string {
    if (text === '' && (scores?.length ?? 0) === 0) return ''
    const offset = this.#sent.get(index) ?? 0
    this.#sent.set(index, offset + charactersOf(text))
    const logprobs = scores === undefined ? null : classicScores(scores, offset)
    return this.#chunks.chunk({ text, index, logprobs, finish_reason: null })
  }

  end(index: number, generation: Generation): string {
    const reason = reasonOf(generation)
    return this.#chunks.chunk({ text: '', index, logprobs: null, finish_reason: reason })
  }

  finish(usage: Usage, manifest: JsonObject | undefined): string {
    return this.#chunks.finish(usage, manifest)
  }
}
