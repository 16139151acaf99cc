/** Answers of the echo as vLLM writes them: chunks, whole bodies, log-probabilities in both forms. */
import { hex } from '../../src/base/bytes.ts'
import type {
  Delta,
  JsonObject,
  TokenAlternative,
  TokenScore,
  Usage,
} from '../../src/inference/request.ts'
import type { Echo } from './echo-model.ts'

const HEAD = { id: 'cmpl-of-the-upstream', created: 1, provider: 'name of the upstream' }

function usageOf({ promptTokens, completionTokens, reasoningTokens }: Usage): JsonObject {
  return {
    prompt_tokens: promptTokens,
    total_tokens: promptTokens + completionTokens,
    completion_tokens: completionTokens,
    prompt_tokens_details: null,
    ...(reasoningTokens === undefined
      ? {}
      : { completion_tokens_details: { reasoning_tokens: reasoningTokens } }),
  }
}

function chatLogprobs(scores: readonly TokenScore[] | undefined): JsonObject | null {
  if (scores === undefined) return null
  const shown = ({ text, bytes, logprob }: TokenAlternative) => ({
    token: text,
    logprob,
    bytes: [...bytes],
  })
  return {
    content: scores.map((score) => ({
      ...shown({ ...score, logprob: score.logprob ?? 0 }),
      top_logprobs: score.top.map(shown),
    })),
  }
}

function classicLogprobs(scores: readonly TokenScore[] | undefined): JsonObject | null {
  if (scores === undefined) return null
  const name = ({ text, bytes }: { text: string; bytes: Uint8Array }) =>
    text.includes('\ufffd') ? `bytes:${hex(bytes).replace(/../g, '\\x$&')}` : text
  return {
    text_offset: [],
    tokens: scores.map(name),
    token_logprobs: scores.map(({ logprob }) => logprob),
    top_logprobs: scores.map(({ logprob, top }) =>
      logprob === null
        ? null
        : Object.fromEntries(top.map((other) => [name(other), other.logprob])),
    ),
  }
}

/** A call comes in fragments: the name first, its arguments a few letters at a time. */
function callDeltas({ toolCall }: Delta, index: number): JsonObject[] {
  if (toolCall === undefined) return []
  const parts = toolCall.arguments.match(/[\s\S]{1,5}/g) ?? []
  return [
    {
      tool_calls: [
        {
          index,
          id: toolCall.id,
          type: 'function',
          function: { name: toolCall.name, arguments: '' },
        },
      ],
    },
    ...parts.map((part) => ({ tool_calls: [{ index, function: { arguments: part } }] })),
  ]
}

export function chatEvents({ deltas, generation }: Echo, model: string): JsonObject[] {
  const chunk = (choices: readonly JsonObject[], more: JsonObject = {}) => ({
    ...HEAD,
    model,
    object: 'chat.completion.chunk',
    choices,
    ...more,
  })
  const choice = (delta: JsonObject, more: JsonObject = {}) =>
    chunk([{ index: 0, delta, logprobs: null, finish_reason: null, ...more }])
  return [
    choice({ role: 'assistant', content: '' }),
    ...deltas.flatMap((delta) => [
      ...(delta.reasoning === undefined ? [] : [choice({ reasoning_content: delta.reasoning })]),
      ...(delta.text === undefined
        ? []
        : [choice({ content: delta.text }, { logprobs: chatLogprobs(delta.scores) })]),
      ...callDeltas(delta, 0).map((part) => choice(part)),
    ]),
    choice({ content: '' }, { finish_reason: generation.finishReason, stop_reason: null }),
    chunk([], { usage: usageOf(generation.usage) }),
  ]
}

export function completionEvents({ deltas, generation }: Echo, model: string): JsonObject[] {
  const chunk = (choices: readonly JsonObject[], more: JsonObject = {}) => ({
    ...HEAD,
    model,
    object: 'text_completion',
    choices,
    ...more,
  })
  return [
    ...deltas.map(({ text = '', scores }) =>
      chunk([{ index: 0, text, logprobs: classicLogprobs(scores), finish_reason: null }]),
    ),
    chunk([{ index: 0, text: '', logprobs: null, finish_reason: generation.finishReason }]),
    chunk([], { usage: usageOf(generation.usage) }),
  ]
}

export function wholeBody(
  kind: 'chat' | 'completion',
  { generation }: Echo,
  model: string,
): JsonObject {
  const { text, reasoning, toolCalls, scores, finishReason, usage } = generation
  const calls = toolCalls.map(({ id, name, arguments: json }) => ({
    id,
    type: 'function',
    function: { name, arguments: json },
  }))
  const choice =
    kind === 'chat'
      ? {
          message: {
            role: 'assistant',
            content: text,
            ...(reasoning === undefined ? {} : { reasoning_content: reasoning }),
            tool_calls: calls.length === 0 ? null : calls,
          },
          logprobs: chatLogprobs(scores),
        }
      : { text, logprobs: classicLogprobs(scores) }
  return {
    choices: [{ index: 0, ...choice, finish_reason: finishReason }],
    error: null,
    ...HEAD,
    model,
    object: kind === 'chat' ? 'chat.completion' : 'text_completion',
    usage: usageOf(usage),
  }
}
