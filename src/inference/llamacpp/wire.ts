/**
 * What the supplier and its engine process say to each other, checked at both ends.
 *
 * Node frames the messages (`serialization: 'advanced'`); this file bounds them. The engine runs native
 * code over outside input, so its words are believed as little as a stranger's.
 * Tested by test/inference/llamacpp/wire.ts.
 */
import { z } from 'zod'
import { InferenceError } from '../errors.ts'

export const WIRE_LIMITS = {
  messagesMax: 4_096,
  /** UTF-16 units of all messages of one request together. */
  contentMax: 4 * 1024 * 1024,
  stopMax: 16,
  stopTextMax: 1_024,
  slotsMax: 256,
  contextMax: 2 ** 24,
  /** Text of one token, or of a few that were held back together. */
  textMax: 64 * 1024,
  wordsMax: 2_048,
} as const

const id = z.int().min(0)
const count = z.int().min(0)
const words = z.string().max(WIRE_LIMITS.wordsMax)

const sampling = z.strictObject({
  temperature: z.number().min(0).max(100),
  topP: z.number().min(0).max(1),
  topK: z.int().min(0),
  minP: z.number().min(0).max(1),
  seed: z.int().min(0).max(0xffff_ffff),
})

const messages = z
  .array(
    z.strictObject({
      role: z.enum(['system', 'user', 'assistant']),
      content: z.string().max(WIRE_LIMITS.contentMax),
    }),
  )
  .min(1)
  .max(WIRE_LIMITS.messagesMax)
  .refine(
    (all) =>
      all.reduce((sum, message) => sum + message.content.length, 0) <= WIRE_LIMITS.contentMax,
  )

const load = z.strictObject({
  type: z.literal('load'),
  /** URL of node-llama-cpp's entry file; absent: the one beside this package. */
  library: z.string().max(4_096).optional(),
  modelPath: z.string().min(1).max(4_096),
  contextSize: z.int().min(16).max(WIRE_LIMITS.contextMax),
  slots: z.int().min(1).max(WIRE_LIMITS.slotsMax),
  chunkTokens: z.int().min(1),
  batchTokens: z.int().min(1),
  gpu: z.union([z.literal(false), z.enum(['auto', 'cuda', 'vulkan', 'metal'])]),
  /** Layers on the GPU; absent: as many as fit beside the context. */
  gpuLayers: z.int().min(0).optional(),
  /** Absent: one less than there are physical cores. */
  threadsMax: z.int().min(1).optional(),
  /** Of the engine's process, 0 to 19: how far it stands back when the CPU is short. */
  niceness: z.int().min(0).max(19),
  /** Replaces the weights' own. */
  chatTemplate: z
    .string()
    .max(256 * 1024)
    .optional(),
  templateArguments: z
    .record(z.string().max(64), z.union([z.string().max(1_024), z.number(), z.boolean()]))
    .optional(),
})

const toEngine = z.discriminatedUnion('type', [
  load,
  z.strictObject({
    type: z.literal('chat'),
    id,
    messages,
    tokensMax: z.int().min(1).optional(),
    sampling,
    stop: z.array(z.string().max(WIRE_LIMITS.stopTextMax)).max(WIRE_LIMITS.stopMax),
  }),
  z.strictObject({ type: z.literal('abort'), id }),
  z.strictObject({ type: z.literal('ping'), id }),
])

const fromEngine = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('ready'),
    device: words,
    /** As large as was asked for, or smaller. */
    contextSize: z.int().min(1).max(WIRE_LIMITS.contextMax),
    threads: z.int().min(1),
    /** Versions of node-llama-cpp and llama.cpp. */
    engine: words,
  }),
  z.strictObject({
    type: z.literal('unready'),
    code: z.enum(['ENGINE_MISSING', 'MODEL_LOAD', 'ENGINE_FAILED']),
    message: words,
  }),
  z.strictObject({ type: z.literal('text'), id, text: z.string().max(WIRE_LIMITS.textMax) }),
  z.strictObject({
    type: z.literal('done'),
    id,
    finishReason: z.enum(['stop', 'length']),
    promptTokens: count,
    cachedTokens: count,
    completionTokens: count,
  }),
  z.strictObject({
    type: z.literal('refused'),
    id,
    code: z.enum(['CONTEXT_LENGTH', 'BAD_REQUEST', 'STOPPED']),
    message: words,
    data: z.record(z.string().max(64), z.union([z.string().max(1_024), z.number()])),
  }),
  z.strictObject({
    type: z.literal('pong'),
    id,
    steps: count,
    active: count,
    tokensPerSecond: z.number().min(0),
  }),
])

export type ToEngine = z.infer<typeof toEngine>
export type FromEngine = z.infer<typeof fromEngine>
export type LoadMessage = z.infer<typeof load>
export type ChatMessageToEngine = Extract<ToEngine, { type: 'chat' }>
export type ReadyMessage = Extract<FromEngine, { type: 'ready' }>

/** @throws InferenceError BAD_REQUEST: larger than a limit, or not a message at all */
export function parseToEngine(value: unknown): ToEngine {
  return parse(toEngine, value, 'BAD_REQUEST')
}

/** @throws InferenceError ENGINE_FAILED: the engine is broken and must be replaced */
export function parseFromEngine(value: unknown): FromEngine {
  return parse(fromEngine, value, 'ENGINE_FAILED')
}

/** Which field is wrong, and never what it holds. */
function parse<T>(schema: z.ZodType<T>, value: unknown, code: 'BAD_REQUEST' | 'ENGINE_FAILED'): T {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const issue = result.error.issues[0]
  const where = issue === undefined ? '' : issue.path.join('.')
  throw new InferenceError(code, `not a message of the engine's protocol (${issue?.code} ${where})`)
}
