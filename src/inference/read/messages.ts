/**
 * The conversation in a chat body: roles, text parts, calls of tools and their results.
 *
 * Calls are checked here, because a template would print a broken one into the prompt: arguments must be
 * the JSON text of an object, and a tool's message must answer a call that was made before it.
 * Tested by test/inference/read/chat.ts.
 */
import { badRequest } from '../errors.ts'
import { isObject } from '../json.ts'
import type { ChatMessage, JsonObject, ToolCall } from '../request.ts'
import { fieldOf, isEmptyArray, MISSING, readText, UNSUPPORTED, wellFormed } from './fields.ts'

const MESSAGES_MAX = 4_096
const ROLES = ['system', 'developer', 'user', 'assistant', 'tool'] as const
const NAME = /^[\w.-]{1,128}$/

/** @throws InferenceError BAD_REQUEST, `data.param` such as `messages[2].content[0].type` */
export function readMessages(value: unknown): ChatMessage[] {
  if (value === undefined || value === null)
    throw badRequest('messages', "'messages' is missing.", MISSING)
  if (!Array.isArray(value)) throw badRequest('messages', "'messages' must be an array.")
  if (value.length === 0) throw badRequest('messages', "'messages' must not be empty.")
  if (value.length > MESSAGES_MAX)
    throw badRequest('messages', `'messages' must not have more than ${MESSAGES_MAX} entries.`)
  const calls = new Map<string, string>()
  return value.map((entry, index) => readMessage(entry, `messages[${index}]`, calls))
}

/** @param calls ids of the calls so far and the tools that they name; this message's are added */
export function readMessage(entry: unknown, at: string, calls: Map<string, string>): ChatMessage {
  if (!isObject(entry)) throw badRequest(at, `'${at}' must be an object.`)
  for (const param of ['function_call', 'audio']) {
    const asked = fieldOf(entry, param)
    if (asked !== undefined)
      throw badRequest(`${at}.${param}`, `'${at}.${param}' is not supported here.`, UNSUPPORTED)
  }
  const role = readRole(entry, at)
  const asked = fieldOf(entry, 'tool_calls')
  if (role !== 'assistant' && asked !== undefined && !isEmptyArray(asked))
    throw badRequest(`${at}.tool_calls`, `'${at}.tool_calls' goes with the role assistant only.`)
  if (role === 'tool') return readToolResult(entry, at, calls)
  if (role !== 'assistant') return { role, content: readContent(entry, at, true) }
  const toolCalls = readToolCalls(asked, `${at}.tool_calls`)
  for (const { id, name } of toolCalls) calls.set(id, name)
  const reasoning =
    readText(entry, 'reasoning_content', `${at}.reasoning_content`) ??
    readText(entry, 'reasoning', `${at}.reasoning`)
  return {
    role,
    content: readContent(entry, at, toolCalls.length === 0),
    ...(toolCalls.length === 0 ? {} : { toolCalls }),
    ...(reasoning === undefined ? {} : { reasoning }),
  }
}

function readRole(entry: JsonObject, at: string): ChatMessage['role'] {
  const role = fieldOf(entry, 'role')
  if (role === undefined) throw badRequest(`${at}.role`, `'${at}.role' is missing.`, MISSING)
  if (role === 'developer') return 'system'
  if (role === 'system' || role === 'user' || role === 'assistant' || role === 'tool') return role
  if (role === 'function')
    throw badRequest(`${at}.role`, "Use the role 'tool' instead of 'function'.", UNSUPPORTED)
  throw badRequest(`${at}.role`, `'${at}.role' must be one of: ${ROLES.join(', ')}.`)
}

function readContent(entry: JsonObject, at: string, isNeeded: boolean): string {
  const where = `${at}.content`
  const value = fieldOf(entry, 'content')
  if (value === undefined) {
    if (!isNeeded) return ''
    throw badRequest(where, `'${where}' is missing.`, MISSING)
  }
  if (typeof value === 'string') return wellFormed(value)
  if (!Array.isArray(value) || (value.length === 0 && isNeeded))
    throw badRequest(where, `'${where}' must be a string or a list of text parts.`)
  return value.map((part, index) => readPart(part, `${where}[${index}]`)).join('\n')
}

function readPart(part: unknown, at: string): string {
  if (!isObject(part)) throw badRequest(at, `'${at}' must be an object.`)
  const type = fieldOf(part, 'type')
  if (typeof type !== 'string') throw badRequest(`${at}.type`, `'${at}.type' must be a string.`)
  if (type !== 'text' && type !== 'refusal')
    throw badRequest(`${at}.type`, 'Only parts of type text are supported here.', UNSUPPORTED)
  const text = readText(part, type, `${at}.${type}`)
  if (text === undefined) throw badRequest(`${at}.${type}`, `'${at}.${type}' is missing.`, MISSING)
  return text
}

function readToolCalls(value: unknown, at: string): ToolCall[] {
  if (value === undefined) return []
  if (!Array.isArray(value)) throw badRequest(at, `'${at}' must be an array.`)
  return value.map((entry, index) => readToolCall(entry, `${at}[${index}]`))
}

function readToolCall(entry: unknown, at: string): ToolCall {
  if (!isObject(entry)) throw badRequest(at, `'${at}' must be an object.`)
  const type = fieldOf(entry, 'type') ?? 'function'
  if (type !== 'function')
    throw badRequest(`${at}.type`, 'Only calls of type function are supported here.', UNSUPPORTED)
  const id = readText(entry, 'id', `${at}.id`)
  if (id === undefined || id === '') throw badRequest(`${at}.id`, `'${at}.id' is missing.`, MISSING)
  const called = fieldOf(entry, 'function')
  if (!isObject(called))
    throw badRequest(`${at}.function`, `'${at}.function' must be an object.`, MISSING)
  return { id, ...readCalled(called, `${at}.function`) }
}

/** @param at where `name` and `arguments` stand */
export function readCalled(called: JsonObject, at: string): Omit<ToolCall, 'id'> {
  const name = readText(called, 'name', `${at}.name`)
  if (name === undefined || !NAME.test(name))
    throw badRequest(`${at}.name`, `'${at}.name' is no name of a function.`)
  const text = readText(called, 'arguments', `${at}.arguments`) ?? ''
  // Some models call without arguments; that stands for an empty object.
  const json = text.trim() === '' ? '{}' : text
  if (!isObjectText(json))
    throw badRequest(`${at}.arguments`, `'${at}.arguments' must be the JSON text of an object.`)
  return { name, arguments: json }
}

function readToolResult(
  entry: JsonObject,
  at: string,
  calls: ReadonlyMap<string, string>,
): ChatMessage {
  const toolCallId = readText(entry, 'tool_call_id', `${at}.tool_call_id`)
  if (toolCallId === undefined)
    throw badRequest(`${at}.tool_call_id`, `'${at}.tool_call_id' is missing.`, MISSING)
  const name = calls.get(toolCallId)
  if (name === undefined)
    throw badRequest(`${at}.tool_call_id`, `'${at}.tool_call_id' answers no call before it.`)
  return { role: 'tool', content: readContent(entry, at, true), toolCallId, name }
}

function isObjectText(text: string): boolean {
  try {
    return isObject(JSON.parse(text))
  } catch {
    return false
  }
}
