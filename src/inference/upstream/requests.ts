/**
 * Requests in the words of the OpenAI API, built field by field from what was checked.
 *
 * Nothing of a caller's body goes up but what is written down here. A wish that needs a field which
 * the servers are not known to take is refused by its name. Tested by test/inference/upstream/requests.ts.
 */
import { badRequest } from '../errors.ts'
import { UNSUPPORTED } from '../read/fields.ts'
import type {
  ChatMessage,
  ChatRequest,
  CompletionRequest,
  GenerationRequest,
  JsonObject,
  Tool,
} from '../request.ts'
import type { Extension } from './options.ts'

export interface Dialect {
  /** The upstream's name of the model. */
  readonly model: string
  readonly stream: boolean
  readonly maxTokensField: 'max_tokens' | 'max_completion_tokens'
  readonly extensions: readonly Extension[]
  /** Tokens of prompt and answer together; a wish for as many is left out. */
  readonly contextSize: number
}

/** @throws InferenceError BAD_REQUEST (`unsupported_parameter`) */
export function requestBody(request: GenerationRequest, dialect: Dialect): JsonObject {
  const { model, stream } = dialect
  return {
    model,
    ...(request.kind === 'chat' ? chatFields(request, dialect) : completionFields(request)),
    ...limitField(request, dialect),
    temperature: request.temperature,
    top_p: request.topP,
    presence_penalty: request.presencePenalty,
    frequency_penalty: request.frequencyPenalty,
    logit_bias: request.logitBias === undefined ? undefined : Object.fromEntries(request.logitBias),
    seed: request.seed === undefined ? undefined : seedNumber(request.seed),
    stop: request.stop.length === 0 ? undefined : request.stop,
    ...extensionFields(request, dialect.extensions),
    stream,
    ...(stream ? { stream_options: { include_usage: true } } : {}),
  }
}

/** Servers take a part of the 64 bits, each another one, and some read the highest as "by chance". */
export function seedNumber(seed: bigint): number {
  const bits = BigInt.asUintN(64, seed)
  return Number((bits ^ (bits >> 31n) ^ (bits >> 62n)) & 0x7fff_ffffn)
}

function limitField(request: GenerationRequest, dialect: Dialect): JsonObject {
  const { maxTokens } = request
  if (maxTokens === undefined) return {}
  // Servers refuse a wish that does not fit beside the prompt; a chat without one gets what fits.
  if (request.kind === 'chat' && maxTokens >= dialect.contextSize) return {}
  const name = request.kind === 'chat' ? dialect.maxTokensField : 'max_tokens'
  return { [name]: Math.min(maxTokens, dialect.contextSize) }
}

function chatFields(request: ChatRequest, { extensions }: Dialect): JsonObject {
  const { topLogprobs, toolChoice } = request
  const hasTools = request.tools.length > 0 && toolChoice !== 'none'
  return {
    messages: request.messages.map(messageObject),
    ...(hasTools
      ? {
          tools: request.tools.map(toolObject),
          tool_choice:
            typeof toolChoice === 'object'
              ? { type: 'function', function: { name: toolChoice.name } }
              : toolChoice,
          ...(request.parallelToolCalls ? {} : { parallel_tool_calls: false }),
        }
      : {}),
    ...formatField(request),
    ...(topLogprobs === undefined ? {} : { logprobs: true, top_logprobs: topLogprobs }),
    ...thinkingFields(request.thinking, extensions),
  }
}

export function messageObject(message: ChatMessage): JsonObject {
  const { role, content, toolCalls = [], toolCallId } = message
  return {
    role,
    content: content === '' && toolCalls.length > 0 ? null : content,
    ...(toolCalls.length === 0
      ? {}
      : {
          tool_calls: toolCalls.map((call) => ({
            id: call.id,
            type: 'function',
            function: { name: call.name, arguments: call.arguments },
          })),
        }),
    ...(toolCallId === undefined ? {} : { tool_call_id: toolCallId }),
    ...(message.reasoning === undefined ? {} : { reasoning_content: message.reasoning }),
  }
}

export function toolObject({ name, description, parameters }: Tool): JsonObject {
  return {
    type: 'function',
    function: {
      name,
      ...(description === undefined ? {} : { description }),
      parameters: parameters ?? { type: 'object', properties: {} },
    },
  }
}

function formatField({ format }: ChatRequest): JsonObject {
  if (format.kind === 'text') return {}
  if (format.kind === 'json') return { response_format: { type: 'json_object' } }
  const { name, schema } = format
  return { response_format: { type: 'json_schema', json_schema: { name, schema, strict: true } } }
}

/** A hint, not a promise: a server that takes none of these thinks as it likes. */
function thinkingFields(
  thinking: ChatRequest['thinking'],
  extensions: readonly Extension[],
): JsonObject {
  const { enabled, tokensMax } = thinking ?? {}
  const takes = (field: Extension) => extensions.includes(field)
  return {
    ...(enabled !== undefined && takes('chat_template_kwargs')
      ? { chat_template_kwargs: { enable_thinking: enabled } }
      : {}),
    ...(enabled !== undefined && takes('reasoning_effort')
      ? { reasoning_effort: effortOf(enabled, tokensMax) }
      : {}),
    ...(tokensMax !== undefined && takes('thinking_budget') ? { thinking_budget: tokensMax } : {}),
  }
}

export function effortOf(enabled: boolean, tokensMax = 4_096): string {
  if (!enabled) return 'none'
  return tokensMax <= 1_024 ? 'low' : tokensMax <= 8_192 ? 'medium' : 'high'
}

function completionFields(request: CompletionRequest): JsonObject {
  const { prompt, suffix, echo, topLogprobs } = request
  return {
    prompt,
    ...(suffix === undefined ? {} : { suffix }),
    ...(echo ? { echo: true } : {}),
    ...(topLogprobs === undefined ? {} : { logprobs: topLogprobs }),
  }
}

function extensionFields(request: GenerationRequest, extensions: readonly Extension[]): JsonObject {
  const { topK, minP, repeatPenalty } = request
  const wishes = [
    // 0 is not what every server calls "all of them".
    { value: topK === 0 ? -1 : topK, neutral: -1, names: ['top_k'] },
    { value: minP, neutral: 0, names: ['min_p'] },
    { value: repeatPenalty, neutral: 1, names: ['repeat_penalty', 'repetition_penalty'] },
  ] as const
  const fields = wishes.flatMap(({ value, neutral, names }) => {
    if (value === undefined) return []
    const name = names.find((candidate) => extensions.includes(candidate))
    if (name !== undefined) return [[name, value] as const]
    if (value === neutral) return []
    const text = `'${names[0]}' is not supported by the model that runs here.`
    throw badRequest(names[0], text, UNSUPPORTED)
  })
  return Object.fromEntries(fields)
}
