/** What readers of the other bodies insist on: responses, chunks of a completion, tokens, vectors. */
import { z } from 'zod'
import { ChatChunk, ChatCompletion, EmbeddingList, TextCompletion } from './openai-schema.ts'

const count = z.int().min(0)

const item = z.discriminatedUnion('type', [
  z.strictObject({
    id: z.string().min(1),
    type: z.literal('message'),
    status: z.literal('completed'),
    role: z.literal('assistant'),
    content: z.array(
      z.strictObject({
        type: z.literal('output_text'),
        text: z.string(),
        annotations: z.array(z.never()),
        logprobs: z.array(z.never()),
      }),
    ),
  }),
  z.strictObject({
    id: z.string().min(1),
    type: z.literal('function_call'),
    status: z.literal('completed'),
    call_id: z.string().min(1),
    name: z.string().min(1),
    arguments: z.string().refine((text) => typeof JSON.parse(text) === 'object'),
  }),
  z.strictObject({
    id: z.string().min(1),
    type: z.literal('reasoning'),
    summary: z.array(z.never()),
    content: z.array(z.strictObject({ type: z.literal('reasoning_text'), text: z.string() })),
  }),
])

export const Response = z.object({
  id: z.string().regex(/^resp_/),
  object: z.literal('response'),
  created_at: z.int(),
  status: z.enum(['completed', 'incomplete']),
  model: z.string().min(1),
  output: z.array(item).min(1),
  metadata: z.record(z.string(), z.unknown()),
  parallel_tool_calls: z.boolean(),
  tools: z.array(z.unknown()),
  usage: z
    .object({ input_tokens: count, output_tokens: count, total_tokens: count })
    .refine((u) => u.input_tokens + u.output_tokens === u.total_tokens, 'adds up'),
  error: z.undefined().optional(),
})

const TextChunk = z.strictObject({
  id: z.string().min(1),
  object: z.literal('text_completion'),
  created: z.int(),
  model: z.string().min(1),
  system_fingerprint: z.string().min(1),
  choices: z.array(
    z.strictObject({
      text: z.string(),
      index: z.int(),
      logprobs: z.record(z.string(), z.unknown()).nullable(),
      finish_reason: z.enum(['stop', 'length', 'content_filter']).nullable(),
    }),
  ),
  usage: z.record(z.string(), z.unknown()).nullable().optional(),
  pocket: z.record(z.string(), z.unknown()).optional(),
})

const ResponseEvent = z.object({ type: z.string().regex(/^response\./), sequence_number: count })

export const Tokens = z.object({ tokens: z.array(count), count, max_model_len: count })
export const Text = z.object({ prompt: z.string(), content: z.string() })

export const WHOLE: Readonly<Record<string, z.ZodType>> = {
  '/v1/chat/completions': ChatCompletion,
  '/v1/completions': TextCompletion,
  '/v1/embeddings': EmbeddingList,
  '/v1/responses': Response,
  '/tokenize': Tokens,
  '/detokenize': Text,
}

const EVENT: Readonly<Record<string, z.ZodType>> = {
  '/v1/chat/completions': ChatChunk,
  '/v1/completions': TextChunk,
  '/v1/responses': ResponseEvent,
}

/** What is wrong with the events of a stream; empty: nothing. */
export function wrongEvents(path: string, text: string): string {
  const events = text.split('\n\n')
  if (events.pop() !== '') return 'the last event is cut'
  const isNamed = path === '/v1/responses'
  if (!isNamed && events.pop() !== 'data: [DONE]') return 'there is no end'
  for (const event of events) {
    const [, name, data = ''] = /^(?:event: (.*)\n)?data: (.*)$/.exec(event) ?? []
    const read = EVENT[path]?.safeParse(JSON.parse(data))
    if (read?.success !== true) return `an event is wrong: ${read?.error?.message}`
    if (isNamed && name !== (read.data as { type: string }).type) return 'an event has two names'
  }
  const last = events.at(-1) ?? ''
  return isNamed && !/"type":"response.(completed|incomplete)"/.test(last) ? 'no end' : ''
}
