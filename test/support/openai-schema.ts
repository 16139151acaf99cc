/**
 * What readers of the OpenAI API insist on, as schemas: the graders of the network refuse an answer
 * with `tool_calls: null`, without `usage`, with fractional counts or with content in parts.
 */
import { z } from 'zod'

const count = z.int().min(0)
const bytes = z.array(z.int().min(0).max(255))

const usage = z
  .object({ prompt_tokens: count, completion_tokens: count, total_tokens: count })
  .refine((u) => u.prompt_tokens + u.completion_tokens === u.total_tokens, 'adds up')

const alternative = z.strictObject({ token: z.string(), logprob: z.number().max(0), bytes })

const logprobs = z.strictObject({
  content: z.array(alternative.extend({ top_logprobs: z.array(alternative) })),
  refusal: z.null(),
})

const isJsonObject = (text: string) => {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value)
  } catch {
    return false
  }
}

const toolCall = z.strictObject({
  id: z.string().min(1),
  type: z.literal('function'),
  function: z.strictObject({ name: z.string().min(1), arguments: z.string().refine(isJsonObject) }),
})

const finishReason = z.enum(['stop', 'length', 'tool_calls', 'content_filter'])

const head = {
  id: z.string().min(1),
  created: z.int(),
  model: z.string().min(1),
  system_fingerprint: z.string().min(1),
}

export const ChatCompletion = z.object({
  ...head,
  object: z.literal('chat.completion'),
  usage,
  pocket: z.record(z.string(), z.unknown()),
  choices: z
    .array(
      z.strictObject({
        index: z.int(),
        message: z.strictObject({
          role: z.literal('assistant'),
          content: z.string().nullable(),
          refusal: z.string().nullable(),
          reasoning: z.string().optional(),
          reasoning_content: z.string().optional(),
          tool_calls: z.array(toolCall).min(1).optional(),
        }),
        logprobs: logprobs.nullable(),
        finish_reason: finishReason,
      }),
    )
    .min(1),
  error: z.undefined().optional(),
})

export const ChatChunk = z.strictObject({
  ...head,
  object: z.literal('chat.completion.chunk'),
  choices: z.array(
    z.strictObject({
      index: z.int(),
      delta: z.strictObject({
        role: z.literal('assistant').optional(),
        content: z.string().optional(),
        reasoning: z.string().optional(),
        reasoning_content: z.string().optional(),
        tool_calls: z.array(toolCall.extend({ index: z.int() })).optional(),
      }),
      logprobs: logprobs.nullable(),
      finish_reason: finishReason.nullable(),
    }),
  ),
  usage: usage.nullable().optional(),
  pocket: z.record(z.string(), z.unknown()).optional(),
})

export const TextCompletion = z.object({
  ...head,
  object: z.literal('text_completion'),
  usage,
  choices: z
    .array(
      z.strictObject({
        text: z.string(),
        index: z.int(),
        logprobs: z
          .strictObject({
            tokens: z.array(z.string()),
            token_logprobs: z.array(z.number().max(0).nullable()),
            top_logprobs: z.array(z.record(z.string(), z.number().max(0)).nullable()).nullable(),
            text_offset: z.array(z.int().min(0)),
          })
          .nullable(),
        finish_reason: z.enum(['stop', 'length', 'content_filter']),
      }),
    )
    .min(1),
  error: z.undefined().optional(),
})

export const EmbeddingList = z.object({
  object: z.literal('list'),
  model: z.string().min(1),
  usage: z.object({ prompt_tokens: count, total_tokens: count }),
  data: z.array(
    z.strictObject({
      object: z.literal('embedding'),
      index: z.int(),
      embedding: z.union([z.array(z.number()).min(1), z.string().min(1)]),
    }),
  ),
})

export const ErrorObject = z.strictObject({
  error: z.strictObject({
    message: z.string().min(1),
    type: z.enum(['invalid_request_error', 'rate_limit_error', 'server_error']),
    param: z.string().nullable(),
    code: z.string().nullable(),
  }),
})

const model = z.object({
  id: z.string().min(1),
  object: z.literal('model'),
  created: z.int(),
  owned_by: z.string(),
})

export const Model = model
export const ModelList = z.object({ object: z.literal('list'), data: z.array(model).min(1) })
