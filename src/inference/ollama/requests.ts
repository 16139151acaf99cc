/**
 * Requests in the words of Ollama's own API, and its answers in the words of the OpenAI API, which are
 * then checked as those of any other server (upstream/answer.ts).
 *
 * Ollama cuts prompts that are too long and moves the context on while it writes, unless it is told not
 * to. Tested by test/inference/ollama/requests.ts.
 */
import type { GenerateRequest, Message, ChatRequest as OllamaChat, Options, Tool } from 'ollama'
import { isObject } from '../json.ts'
import type {
  ChatMessage,
  ChatRequest,
  CompletionRequest,
  GenerationRequest,
  JsonObject,
} from '../request.ts'
import { effortOf, seedNumber, toolObject } from '../upstream/requests.ts'

export interface OllamaDialect {
  readonly model: string
  readonly contextSize: number
  readonly keepAliveSeconds?: number
  /** Whether the model thinks, and whether it wants to be told how much in words. */
  readonly thinks: 'no' | 'yes' | 'by effort'
}

/** Fields that the client's types do not have yet. */
const EXACT = { truncate: false, shift: false }

export function chatBody(request: ChatRequest, dialect: OllamaDialect): OllamaChat {
  const { format, tools, toolChoice } = request
  const think = thinkOf(request.thinking, dialect.thinks)
  return {
    ...commonFields(request, dialect),
    messages: request.messages.map(messageOf),
    ...(tools.length === 0 || toolChoice === 'none'
      ? {}
      : { tools: tools.map((tool) => toolObject(tool) as unknown as Tool) }),
    ...(format.kind === 'text' ? {} : { format: format.kind === 'json' ? 'json' : format.schema }),
    ...(think === undefined ? {} : { think }),
  }
}

/** Raw: the prompt is not put into the model's template, unless a gap is to be filled. */
export function generateBody(request: CompletionRequest, dialect: OllamaDialect): GenerateRequest {
  const { prompt, suffix } = request
  return {
    ...commonFields(request, dialect),
    prompt: String(prompt),
    ...(suffix === undefined ? { raw: true } : { suffix }),
  }
}

function commonFields(request: GenerationRequest, dialect: OllamaDialect) {
  const { model, keepAliveSeconds } = dialect
  const { topLogprobs } = request
  return {
    model,
    ...EXACT,
    ...(keepAliveSeconds === undefined ? {} : { keep_alive: keepAliveSeconds }),
    ...(topLogprobs === undefined ? {} : { logprobs: true, top_logprobs: topLogprobs }),
    options: optionsOf(request, dialect),
  }
}

/** Absent ones are the model's own defaults. */
function optionsOf(request: GenerationRequest, { contextSize }: OllamaDialect): Partial<Options> {
  const { maxTokens = contextSize, seed, stop } = request
  const wishes: Readonly<Record<string, unknown>> = {
    num_ctx: contextSize,
    num_predict: Math.min(maxTokens, contextSize),
    temperature: request.temperature,
    top_k: request.topK,
    top_p: request.topP,
    min_p: request.minP,
    repeat_penalty: request.repeatPenalty,
    presence_penalty: request.presencePenalty,
    frequency_penalty: request.frequencyPenalty,
    seed: seed === undefined ? undefined : seedNumber(seed),
    stop: stop.length === 0 ? undefined : stop,
  }
  return Object.fromEntries(Object.entries(wishes).filter(([, value]) => value !== undefined))
}

function messageOf(message: ChatMessage): Message {
  const { role, content, reasoning, toolCalls = [], name } = message
  return {
    role,
    content,
    ...(reasoning === undefined ? {} : { thinking: reasoning }),
    ...(toolCalls.length === 0
      ? {}
      : {
          tool_calls: toolCalls.map((call) => ({
            function: { name: call.name, arguments: JSON.parse(call.arguments) as JsonObject },
          })),
        }),
    ...(role === 'tool' && name !== undefined ? { tool_name: name } : {}),
  }
}

function thinkOf(
  thinking: ChatRequest['thinking'],
  thinks: OllamaDialect['thinks'],
): OllamaChat['think'] {
  const { enabled, tokensMax } = thinking ?? {}
  if (thinks === 'no' || enabled === undefined) return undefined
  if (thinks === 'yes' || !enabled) return enabled
  return effortOf(true, tokensMax) as 'low' | 'medium' | 'high'
}

/** Puts the lines of one answer into other words; calls are numbered as they come. */
export class ChunkReader {
  readonly #told: string
  #calls = 0

  /** @param told what stands for the version and the weights in the fingerprint */
  constructor(told: string) {
    this.#told = told
  }

  read(chunk: JsonObject): JsonObject {
    const message = isObject(chunk['message']) ? chunk['message'] : {}
    const { thinking = chunk['thinking'], content = chunk['response'] } = message
    const calls = message['tool_calls']
    const isDone = chunk['done'] === true
    const choice = {
      delta: {
        content,
        reasoning: thinking,
        ...(Array.isArray(calls) && calls.length > 0 ? { tool_calls: this.#numbered(calls) } : {}),
      },
      logprobs: Array.isArray(chunk['logprobs']) ? { content: chunk['logprobs'] } : null,
      finish_reason: isDone ? (chunk['done_reason'] ?? 'stop') : null,
    }
    const usage = {
      prompt_tokens: chunk['prompt_eval_count'],
      completion_tokens: chunk['eval_count'],
    }
    return { choices: [choice], system_fingerprint: this.#told, ...(isDone ? { usage } : {}) }
  }

  #numbered(calls: readonly unknown[]): JsonObject[] {
    return calls.map((call) => ({ ...(isObject(call) ? call : {}), index: this.#calls++ }))
  }
}
