/**
 * A body of `POST /v1/responses` becomes a chat. Stateless: nothing is kept, so whatever refers to an
 * earlier response, to the background or to tools that run on the server is refused by name.
 * Tested by test/inference/read/responses.ts.
 */
import { badRequest } from '../errors.ts'
import { isObject } from '../json.ts'
import type { AnswerFormat, ChatMessage, ChatRequest, JsonObject, Tool } from '../request.ts'
import { type ReadRules, readEffort, thinkingOf } from './chat.ts'
import {
  checkModel,
  fieldOf,
  type Harmless,
  isEmptyArray,
  isFalse,
  isZero,
  MISSING,
  never,
  readArray,
  readBoolean,
  readMaxTokens,
  readObject,
  readSampling,
  readStream,
  readText,
  refuseFields,
  type StreamWish,
  UNSUPPORTED,
  wellFormed,
} from './fields.ts'
import { readCalled, readMessage } from './messages.ts'
import {
  checkNames,
  checkType,
  readFormatType,
  readSchema,
  readTool,
  readToolChoice,
  type ToolPlaces,
} from './tools.ts'

export interface ResponseAsked extends StreamWish {
  readonly kind: 'response'
  readonly request: ChatRequest
  /** Fields that the answer repeats. */
  readonly echo: JsonObject
}

const NOT_SERVED: Readonly<Record<string, Harmless>> = {
  previous_response_id: never,
  conversation: never,
  background: isFalse,
  prompt: never,
  include: isEmptyArray,
  truncation: (value) => value === 'disabled',
  top_logprobs: isZero,
  max_tool_calls: never,
}

const PLACES: ToolPlaces = {
  name: 'tool_choice.name',
  nameOf: (choice) => fieldOf(choice, 'name'),
  parameters: (index) => `tools[${index}].parameters`,
}

/** @throws InferenceError BAD_REQUEST (`data.param`), NOT_FOUND (a strict model) */
export function readResponse(body: JsonObject, rules: ReadRules): ResponseAsked {
  checkModel(body, rules)
  refuseFields(body, NOT_SERVED)
  const wish = readStream(body, rules.canStream)
  const messages = readInput(body)
  const tools = readResponseTools(body)
  const toolChoice = readToolChoice(body, tools, PLACES)
  const maxTokens = readMaxTokens(body, ['max_output_tokens'], {
    least: 1,
    allowed: rules.answerTokensMax,
  })
  const reasoning = readObject(body, 'reasoning')
  const thinking =
    reasoning === undefined
      ? undefined
      : thinkingOf(readEffort(reasoning, 'effort', 'reasoning.effort'))
  const parallelToolCalls = readBoolean(body, 'parallel_tool_calls') ?? true
  readBoolean(body, 'store')
  const request: ChatRequest = {
    kind: 'chat',
    messages,
    tools,
    toolChoice,
    parallelToolCalls,
    format: readTextFormat(body),
    ...readSampling(body),
    ...(maxTokens === undefined ? {} : { maxTokens }),
    ...(thinking === undefined ? {} : { thinking }),
  }
  return { kind: 'response', request, echo: echoOf(body, parallelToolCalls), ...wish }
}

/** As they were sent; what was not is what the API says it then is. */
function echoOf(body: JsonObject, parallelToolCalls: boolean): JsonObject {
  return {
    instructions: fieldOf(body, 'instructions') ?? null,
    max_output_tokens: fieldOf(body, 'max_output_tokens') ?? null,
    metadata: readObject(body, 'metadata') ?? {},
    parallel_tool_calls: parallelToolCalls,
    temperature: fieldOf(body, 'temperature') ?? null,
    tool_choice: fieldOf(body, 'tool_choice') ?? 'auto',
    tools: fieldOf(body, 'tools') ?? [],
    top_p: fieldOf(body, 'top_p') ?? null,
    text: fieldOf(body, 'text') ?? { format: { type: 'text' } },
    reasoning: fieldOf(body, 'reasoning') ?? { effort: null, summary: null },
    previous_response_id: null,
    store: false,
    truncation: 'disabled',
  }
}

function readInput(body: JsonObject): ChatMessage[] {
  const instructions = readText(body, 'instructions')
  const input = fieldOf(body, 'input')
  if (input === undefined) throw badRequest('input', "'input' is missing.", MISSING)
  const items = typeof input === 'string' ? [{ role: 'user', content: input }] : input
  if (!Array.isArray(items)) throw badRequest('input', "'input' must be a string or an array.")
  if (items.length === 0) throw badRequest('input', "'input' must not be empty.")
  const calls = new Map<string, string>()
  const turns = items.map((item: unknown, index) => readItem(item, `input[${index}]`, calls))
  const system =
    instructions === undefined ? [] : [{ role: 'system' as const, content: instructions }]
  return [...system, ...merged(turns)]
}

function readItem(item: unknown, at: string, calls: Map<string, string>): ChatMessage {
  if (!isObject(item)) throw badRequest(at, `'${at}' must be an object.`)
  switch (fieldOf(item, 'type') ?? 'message') {
    case 'message':
      return readMessage({ role: item['role'], content: chatParts(item, 'content', at) }, at, calls)
    case 'function_call': {
      const id = readCallId(item, at)
      const call = { id, ...readCalled(item, at) }
      calls.set(id, call.name)
      return { role: 'assistant', content: '', toolCalls: [call] }
    }
    case 'function_call_output': {
      const id = readCallId(item, at)
      const name = calls.get(id)
      if (name === undefined)
        throw badRequest(`${at}.call_id`, `'${at}.call_id' answers no call before it.`)
      return { role: 'tool', content: outputText(item, at), toolCallId: id, name }
    }
    case 'reasoning':
      return { role: 'assistant', content: '', reasoning: thoughtOf(item) }
    default:
      throw badRequest(`${at}.type`, 'Items of this type are not supported here.', UNSUPPORTED)
  }
}

function readCallId(item: JsonObject, at: string): string {
  const id = readText(item, 'call_id', `${at}.call_id`)
  if (id === undefined || id === '')
    throw badRequest(`${at}.call_id`, `'${at}.call_id' is missing.`, MISSING)
  return id
}

/** Parts of an item in the form of a chat's parts, whose reader then checks them. */
function chatParts(item: JsonObject, param: string, at: string): unknown {
  const parts = fieldOf(item, param)
  if (!Array.isArray(parts)) return parts
  return parts.map((part: unknown, index) => {
    const where = `${at}.${param}[${index}]`
    if (!isObject(part)) throw badRequest(where, `'${where}' must be an object.`)
    const type = fieldOf(part, 'type')
    if (type === 'refusal') return part
    if (type === 'input_text' || type === 'output_text' || type === 'text')
      return { type: 'text', text: part['text'] }
    throw badRequest(`${where}.type`, 'Only parts of text are supported here.', UNSUPPORTED)
  })
}

function outputText(item: JsonObject, at: string): string {
  const parts = chatParts(item, 'output', at)
  if (typeof parts === 'string') return wellFormed(parts)
  if (!Array.isArray(parts)) throw badRequest(`${at}.output`, `'${at}.output' must be a string.`)
  return parts.map((part: JsonObject) => wellFormed(String(part['text'] ?? ''))).join('\n')
}

/** Thoughts that the caller gives back, as far as they are text. */
function thoughtOf(item: JsonObject): string {
  const parts = [fieldOf(item, 'content'), fieldOf(item, 'summary')].flatMap((list) =>
    Array.isArray(list) ? (list as unknown[]) : [],
  )
  return parts.map((part) => (isObject(part) ? String(part['text'] ?? '') : '')).join('\n')
}

/** Thoughts, text and calls of one turn are items of their own here, and one message in a chat. */
function merged(turns: readonly ChatMessage[]): ChatMessage[] {
  const out: ChatMessage[] = []
  for (const turn of turns) {
    const last = out.at(-1)
    if (last?.role !== 'assistant' || turn.role !== 'assistant') {
      out.push(turn)
      continue
    }
    const toolCalls = [...(last.toolCalls ?? []), ...(turn.toolCalls ?? [])]
    const reasoning = turn.reasoning ?? last.reasoning
    const content = [last.content, turn.content].filter((text) => text !== '').join('\n')
    out[out.length - 1] = {
      role: 'assistant',
      content,
      ...(reasoning === undefined ? {} : { reasoning }),
      ...(toolCalls.length === 0 ? {} : { toolCalls }),
    }
  }
  return out
}

/** Here a tool's name and parameters stand beside its type. */
function readResponseTools(body: JsonObject): Tool[] {
  const tools = (readArray(body, 'tools') ?? []).map((entry, index) => {
    const at = `tools[${index}]`
    checkType(entry, at)
    return readTool(entry, at)
  })
  checkNames(tools, (index) => `tools[${index}].name`)
  return tools
}

function readTextFormat(body: JsonObject): AnswerFormat {
  const text = readObject(body, 'text')
  const format = text === undefined ? undefined : readObject(text, 'format', 'text.format')
  if (format === undefined) return { kind: 'text' }
  const type = readFormatType(format, 'text.format')
  if (type === 'json_schema') return readSchema(format, 'text.format')
  return { kind: type === 'text' ? 'text' : 'json' }
}
