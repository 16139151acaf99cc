/**
 * What readers of the OpenAI API insist on, as schemas: the graders of the network refuse an answer
 * with `tool_calls: null`, without `usage`, with fractional counts or with content in parts.
 */
import { z } from 'zod'

const count = z.int().min(0)

export const ChatCompletion = z.object({
  id: z.string().min(1),
  object: z.literal('chat.completion'),
  created: z.int(),
  model: z.string().min(1),
  system_fingerprint: z.string().min(1),
  usage: z
    .object({ prompt_tokens: count, completion_tokens: count, total_tokens: count })
    .refine((u) => u.prompt_tokens + u.completion_tokens === u.total_tokens, 'adds up'),
  pocket: z.record(z.string(), z.unknown()),
  choices: z
    .array(
      z.strictObject({
        index: z.int(),
        message: z.strictObject({
          role: z.literal('assistant'),
          content: z.string(),
          refusal: z.string().nullable(),
          reasoning: z.string().optional(),
          reasoning_content: z.string().optional(),
        }),
        logprobs: z.null(),
        finish_reason: z.enum(['stop', 'length', 'content_filter']),
      }),
    )
    .length(1),
  error: z.undefined().optional(),
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
