/**
 * What every answer with tokens in it has in common: what describes it comes first, the text last.
 *
 * Key order is free in JSON and matters here: gateways search the first 512 bytes of an answer for
 * phrases such as "rate limit" and take an answer that only talks about them for a failure. So the text
 * begins beyond those bytes. Bodies are at least 100 bytes long; `"error"` and `"tool_calls"` are never
 * null. Tested by test/inference/write/*.ts.
 */
import { utf8 } from '../../base/bytes.ts'
import type { JsonObject, TokenAlternative, TokenScore, Usage } from '../request.ts'

/** Gateways look this far into an answer. */
export const SEARCHED_BYTES = 512
/** Shorter answers count as failures where a service is staked as JSON-RPC. */
export const BODY_BYTES_MIN = 100

/** What an answer is made of besides what the engine gave. */
export interface Frame {
  readonly id: string
  /** Unix time in seconds. */
  readonly created: number
  /** The name under which the service offers its model, whatever the engine calls it. */
  readonly model: string
  readonly fingerprint: string
  /** What ran, as far as it is known (manifest.ts); absent: the operator does not say. */
  readonly manifest?: JsonObject
}

/**
 * `head` with the manifest, then the rest. The manifest is padded so that `rest` begins beyond the bytes
 * that are searched.
 */
export function framed(head: JsonObject, frame: Frame, rest: JsonObject): Uint8Array {
  const pocket = frame.manifest ?? {}
  const missing = SEARCHED_BYTES - utf8(JSON.stringify({ ...head, pocket })).length
  const padded = missing <= 0 ? pocket : { ...pocket, pad: '0'.repeat(missing) }
  return utf8(JSON.stringify({ ...head, pocket: padded, ...rest }))
}

/** At least as long as the shortest answer that is believed. */
export function padded(value: JsonObject): Uint8Array {
  const body = utf8(JSON.stringify(value))
  const missing = BODY_BYTES_MIN - body.length
  return missing <= 0 ? body : utf8(JSON.stringify({ ...value, pad: '0'.repeat(missing) }))
}

/** Of several choices: a prompt that they share counts once, everything that was generated counts. */
export function usageSum(prompts: readonly Usage[], made: readonly Usage[]): Usage {
  const sum = (usages: readonly Usage[], of: (usage: Usage) => number | undefined) =>
    usages.reduce((total, usage) => total + (of(usage) ?? 0), 0)
  return {
    promptTokens: sum(prompts, ({ promptTokens }) => promptTokens),
    completionTokens: sum(made, ({ completionTokens }) => completionTokens),
    cachedTokens: sum(prompts, ({ cachedTokens }) => cachedTokens),
    reasoningTokens: sum(made, ({ reasoningTokens }) => reasoningTokens),
  }
}

export function usageObject(usage: Usage): JsonObject {
  return {
    prompt_tokens: usage.promptTokens,
    completion_tokens: usage.completionTokens,
    total_tokens: usage.promptTokens + usage.completionTokens,
    prompt_tokens_details: { cached_tokens: usage.cachedTokens ?? 0 },
    completion_tokens_details: { reasoning_tokens: usage.reasoningTokens ?? 0 },
  }
}

/** Scores as the chat API shows them. */
export function chatScores(scores: readonly TokenScore[]): JsonObject {
  const content = scores.map((score) => ({
    ...shown({ ...score, logprob: score.logprob ?? 0 }),
    top_logprobs: score.top.map(shown),
  }))
  return { content, refusal: null }
}

function shown({ text, bytes, logprob }: TokenAlternative): JsonObject {
  return { token: text, logprob: finite(logprob), bytes: [...bytes] }
}

/** JSON has no infinity: what can't happen is shown as this unlikely. */
const LOGPROB_MIN = -9_999

export function finite(logprob: number): number {
  return Number.isFinite(logprob) ? logprob : LOGPROB_MIN
}

/** One event of a stream. */
export function event(value: JsonObject, name?: string): string {
  const head = name === undefined ? '' : `event: ${name}\n`
  return `${head}data: ${JSON.stringify(value)}\n\n`
}

export const DONE = 'data: [DONE]\n\n'
