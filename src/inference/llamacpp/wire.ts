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
  /** UTF-16 units of one request's texts together. */
  contentMax: 4 * 1024 * 1024,
  stopMax: 16,
  stopTextMax: 1_024,
  slotsMax: 256,
  contextMax: 2 ** 24,
  /** Text of one token, or of a few that were held back together. */
  textMax: 64 * 1024,
  wordsMax: 2_048,
  grammarMax: 1024 * 1024,
  biasMax: 1_024,
  topMax: 20,
  /** Scores in one message: those of one piece of a prompt. */
  scoresMax: 4_096,
  inputsMax: 2_048,
  vectorMax: 65_536,
} as const

const id = z.int().min(0)
const count = z.int().min(0)
const words = z.string().max(WIRE_LIMITS.wordsMax)
const token = z.int().min(0).max(0x7fff_ffff)
const tokens = z.array(token).max(WIRE_LIMITS.contextMax)
const text = z.string().max(WIRE_LIMITS.contentMax)

const settings = z.strictObject({
  temperature: z.number().min(0).max(100),
  topP: z.number().min(0).max(1),
  topK: z.int().min(0),
  minP: z.number().min(0).max(1),
  seed: z.bigint().min(0n).max(0xffff_ffff_ffff_ffffn),
  presencePenalty: z.number().min(-2).max(2),
  frequencyPenalty: z.number().min(-2).max(2),
  repeatPenalty: z.number().min(0.01).max(10),
  logitBias: z
    .map(token, z.number().min(-100).max(100))
    .refine((m) => m.size <= WIRE_LIMITS.biasMax),
  topLogprobs: z.int().min(0).max(WIRE_LIMITS.topMax).exactOptional(),
})

const call = z.strictObject({
  id: z.string().max(256),
  name: z.string().max(256),
  arguments: text,
})

const message = z.strictObject({
  role: z.enum(['system', 'user', 'assistant', 'tool']),
  content: text,
  reasoning: text.exactOptional(),
  toolCalls: z.array(call).max(1_024).exactOptional(),
  toolCallId: z.string().max(1_024).exactOptional(),
  name: z.string().max(256).exactOptional(),
})

const messages = z
  .array(message)
  .min(1)
  .max(WIRE_LIMITS.messagesMax)
  .refine(
    (all) => all.reduce((sum, { content }) => sum + content.length, 0) <= WIRE_LIMITS.contentMax,
  )

const tool = z.strictObject({
  name: z.string().max(256),
  description: text.exactOptional(),
  parameters: z.record(z.string(), z.unknown()).exactOptional(),
})

const conversation = z.strictObject({
  kind: z.literal('chat'),
  messages,
  tools: z.array(tool).max(1_024),
  toolChoice: z.union([
    z.enum(['auto', 'none', 'required']),
    z.strictObject({ name: z.string().max(256) }),
  ]),
  parallelToolCalls: z.boolean(),
  thinking: z
    .strictObject({ enabled: z.boolean().exactOptional(), tokensMax: count.exactOptional() })
    .exactOptional(),
})

const prompt = z.discriminatedUnion('kind', [
  conversation,
  z.strictObject({ kind: z.literal('text'), text, suffix: text.exactOptional() }),
  z.strictObject({ kind: z.literal('tokens'), tokens }),
])

const load = z.strictObject({
  type: z.literal('load'),
  /** URL of node-llama-cpp's entry file; absent: the one beside this package. */
  library: z.string().max(4_096).exactOptional(),
  modelPath: z.string().min(1).max(4_096),
  contextSize: z.union([z.literal('auto'), z.int().min(16).max(WIRE_LIMITS.contextMax)]),
  slots: z.union([z.literal('auto'), z.int().min(1).max(WIRE_LIMITS.slotsMax)]),
  chunkTokens: z.int().min(1),
  batchTokens: z.int().min(1),
  gpu: z.union([z.literal(false), z.enum(['auto', 'cuda', 'vulkan', 'metal'])]),
  /** Layers on the GPU; absent: as many as fit beside the context. */
  gpuLayers: z.int().min(0).exactOptional(),
  /** Bytes. */
  vramMax: z.int().min(1).exactOptional(),
  /** Absent: one less than there are physical cores. */
  threadsMax: z.int().min(1).exactOptional(),
  /** Of the engine's process, 0 to 19: how far it stands back when the CPU is short. */
  niceness: z.int().min(0).max(19),
  /** Replaces the weights' own. */
  chatTemplate: z
    .string()
    .max(256 * 1024)
    .exactOptional(),
  templateArguments: z
    .record(z.string().max(64), z.union([z.string().max(1_024), z.number(), z.boolean()]))
    .exactOptional(),
})

const toEngine = z.discriminatedUnion('type', [
  load,
  z.strictObject({
    type: z.literal('generate'),
    id,
    prompt,
    /** The answer begins with the prompt, scored if log-probabilities are wanted. */
    echo: z.boolean(),
    tokensMax: count.exactOptional(),
    settings,
    /** Pick from exact numbers instead of by the engine's own sampler. */
    exact: z.boolean(),
    /** The answer must not depend on what was answered before. */
    repeatable: z.boolean(),
    /** Nor on what is answered at the same time, where the hardware lets that happen. */
    alone: z.boolean(),
    /** Of any JSON object, or of one that a schema accepts; GBNF. */
    grammar: z.string().max(WIRE_LIMITS.grammarMax).exactOptional(),
    stop: z.array(z.string().max(WIRE_LIMITS.stopTextMax)).max(WIRE_LIMITS.stopMax),
  }),
  z.strictObject({
    type: z.literal('embed'),
    id,
    inputs: z
      .array(z.union([text, tokens]))
      .min(1)
      .max(WIRE_LIMITS.inputsMax),
  }),
  z.strictObject({
    type: z.literal('tokenize'),
    id,
    of: z.union([text, messages]),
    addSpecial: z.boolean(),
  }),
  z.strictObject({ type: z.literal('detokenize'), id, tokens }),
  z.strictObject({ type: z.literal('abort'), id }),
  /** `probe`: if the engine has nothing to do, it first does a little of its real work. */
  z.strictObject({ type: z.literal('ping'), id, probe: z.boolean() }),
])

const bytes = z.instanceof(Uint8Array).refine((value) => value.length <= WIRE_LIMITS.textMax)
const shortText = z.string().max(WIRE_LIMITS.textMax)
const scores = z
  .array(
    z.strictObject({
      text: shortText,
      bytes,
      logprob: z.number().max(0.01).nullable(),
      top: z
        .array(z.strictObject({ text: shortText, bytes, logprob: z.number().max(0.01) }))
        .max(WIRE_LIMITS.topMax),
    }),
  )
  .max(WIRE_LIMITS.scoresMax)

const fromEngine = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('ready'),
    device: words,
    /** As large as was asked for, or smaller. */
    contextSize: z.int().min(1).max(WIRE_LIMITS.contextMax),
    slots: z.int().min(1).max(WIRE_LIMITS.slotsMax),
    threads: z.int().min(1),
    /** Versions of node-llama-cpp and llama.cpp. */
    engine: words,
    /** All layers are computed by the CPU: neighbours do not change results. */
    onCpu: z.boolean(),
    /** The engine found a graphics card, used or not. */
    hasGpu: z.boolean(),
    vocabularySize: z.int().min(1),
    /** Of the template as it is used, and of the vocabulary; hex. */
    templateSha256: z.string().length(64),
    tokenizerSha256: z.string().length(64),
    /** As the weights name it: `Q4_K_M`. */
    quantisation: words,
    thinking: z.boolean(),
    infill: z.boolean(),
  }),
  z.strictObject({
    type: z.literal('unready'),
    code: z.enum(['ENGINE_MISSING', 'MODEL_LOAD', 'ENGINE_FAILED']),
    message: words,
  }),
  z.strictObject({
    type: z.literal('delta'),
    id,
    text: text.exactOptional(),
    reasoning: text.exactOptional(),
    toolCall: call.exactOptional(),
    scores: scores.exactOptional(),
  }),
  z.strictObject({
    type: z.literal('done'),
    id,
    finishReason: z.enum(['stop', 'length', 'tool_calls']),
    promptTokens: count,
    cachedTokens: count,
    completionTokens: count,
    reasoningTokens: count,
  }),
  z.strictObject({
    type: z.literal('vectors'),
    id,
    vectors: z
      .array(z.instanceof(Float32Array).refine((vector) => vector.length <= WIRE_LIMITS.vectorMax))
      .max(WIRE_LIMITS.inputsMax),
    promptTokens: count,
  }),
  z.strictObject({ type: z.literal('tokens'), id, tokens }),
  z.strictObject({ type: z.literal('words'), id, text }),
  z.strictObject({
    type: z.literal('refused'),
    id,
    code: z.enum(['CONTEXT_LENGTH', 'BAD_REQUEST', 'STOPPED', 'ENGINE_FAILED']),
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
export type GenerateMessage = Extract<ToEngine, { type: 'generate' }>
export type Task = Extract<ToEngine, { type: 'generate' | 'embed' | 'tokenize' | 'detokenize' }>
export type ReadyMessage = Extract<FromEngine, { type: 'ready' }>
/** What is said about a task; all but `delta` end it. */
export type AboutTask = Extract<
  FromEngine,
  { type: 'delta' | 'done' | 'vectors' | 'tokens' | 'words' | 'refused' }
>

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
