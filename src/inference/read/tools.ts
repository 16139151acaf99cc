/**
 * Tools, their choice and the format of the answer in a chat body.
 *
 * Schemas are checked before any work is done: a keyword that the grammar can't keep is refused with its
 * place, never ignored. Tested by test/inference/read/chat.ts.
 */
import { badRequest } from '../errors.ts'
import { isObject } from '../json.ts'
import type { AnswerFormat, JsonObject, Tool, ToolChoice } from '../request.ts'
import { checkArguments, checkSchema, checkShown } from '../schema.ts'
import {
  fieldOf,
  MISSING,
  readArray,
  readBoolean,
  readChoice,
  readObject,
  readText,
  UNSUPPORTED,
} from './fields.ts'

const TOOLS_MAX = 128
const NAME = /^[\w-]{1,64}$/

/** `tools` of a chat: `{type: 'function', function: {name, …}}`. */
export function readTools(body: JsonObject): Tool[] {
  const tools = readArray(body, 'tools') ?? []
  if (tools.length > TOOLS_MAX)
    throw badRequest('tools', `'tools' must not have more than ${TOOLS_MAX} entries.`)
  const read = tools.map((entry, index) => {
    const at = `tools[${index}]`
    checkType(entry, at)
    const described = fieldOf(entry, 'function')
    if (!isObject(described))
      throw badRequest(`${at}.function`, `'${at}.function' must be an object.`, MISSING)
    return readTool(described, `${at}.function`)
  })
  checkNames(read, (index) => `tools[${index}].function.name`)
  return read
}

/** A tool that is not a function runs on the server, and none is there. */
export function checkType(entry: unknown, at: string): asserts entry is JsonObject {
  if (!isObject(entry)) throw badRequest(at, `'${at}' must be an object.`)
  const type = fieldOf(entry, 'type')
  if (typeof type !== 'string') throw badRequest(`${at}.type`, `'${at}.type' must be a string.`)
  if (type !== 'function')
    throw badRequest(`${at}.type`, 'Only tools of type function are supported here.', UNSUPPORTED)
}

/** @param at where the object with `name` and `parameters` stands */
export function readTool(described: JsonObject, at: string): Tool {
  const name = readText(described, 'name', `${at}.name`)
  if (name === undefined) throw badRequest(`${at}.name`, `'${at}.name' is missing.`, MISSING)
  if (!NAME.test(name))
    throw badRequest(`${at}.name`, `'${at}.name' must be 1 to 64 letters, digits, _ or -.`)
  const description = readText(described, 'description', `${at}.description`)
  const isStrict = readBoolean(described, 'strict', `${at}.strict`) ?? false
  const parameters = readObject(described, 'parameters', `${at}.parameters`)
  if (parameters !== undefined) {
    // A schema that only the model sees may say what a grammar could not keep.
    if (isStrict) checkArguments(parameters, `${at}.parameters`)
    else checkShown(parameters, `${at}.parameters`)
  }
  return {
    name,
    ...(description === undefined ? {} : { description }),
    ...(parameters === undefined ? {} : { parameters }),
  }
}

export function checkNames(tools: readonly Tool[], at: (index: number) => string): void {
  const seen = new Set<string>()
  for (const [index, { name }] of tools.entries()) {
    if (seen.has(name)) throw badRequest(at(index), `'${at(index)}' is the name of two tools.`)
    seen.add(name)
  }
}

/** Where an API writes the parts of a tool and of a named choice. */
export interface ToolPlaces {
  readonly name: string
  nameOf(choice: JsonObject): unknown
  /** Of the tool with this number. */
  parameters(index: number): string
}

/** A call that is forced is held to its schema, which has to be one that a grammar can keep. */
export function readToolChoice(
  body: JsonObject,
  tools: readonly Tool[],
  places: ToolPlaces,
): ToolChoice {
  const choice = choiceOf(body, tools, places)
  if (choice === 'auto' || choice === 'none') return choice
  for (const [index, { name, parameters }] of tools.entries()) {
    const isMeant = choice === 'required' || choice.name === name
    if (isMeant && parameters !== undefined) checkArguments(parameters, places.parameters(index))
  }
  return choice
}

function choiceOf(body: JsonObject, tools: readonly Tool[], places: ToolPlaces): ToolChoice {
  const value = fieldOf(body, 'tool_choice')
  if (value === undefined || value === 'auto') return tools.length === 0 ? 'none' : 'auto'
  if (value === 'none') return 'none'
  if (value === 'required') {
    if (tools.length > 0) return 'required'
    throw badRequest('tool_choice', "'tool_choice' requires a tool, and 'tools' has none.")
  }
  if (!isObject(value))
    throw badRequest('tool_choice', "'tool_choice' must be auto, none, required or a function.")
  const type = fieldOf(value, 'type')
  if (type !== 'function')
    throw badRequest('tool_choice.type', "'tool_choice.type' must be function.", UNSUPPORTED)
  const name = places.nameOf(value)
  if (typeof name !== 'string') throw badRequest(places.name, `'${places.name}' must be a string.`)
  if (!tools.some((tool) => tool.name === name))
    throw badRequest(places.name, `'${places.name}' names no function of 'tools'.`)
  return { name }
}

/** `tool_choice` of a chat: `{type: 'function', function: {name}}`. */
export const CHAT_PLACES: ToolPlaces = {
  name: 'tool_choice.function.name',
  nameOf: (choice) => {
    const called = fieldOf(choice, 'function')
    return isObject(called) ? fieldOf(called, 'name') : undefined
  },
  parameters: (index) => `tools[${index}].function.parameters`,
}

/** `response_format` of a chat. */
export function readFormat(body: JsonObject): AnswerFormat {
  const format = readObject(body, 'response_format')
  if (format === undefined) return { kind: 'text' }
  const type = readFormatType(format, 'response_format')
  if (type !== 'json_schema') return { kind: type === 'text' ? 'text' : 'json' }
  const at = 'response_format.json_schema'
  const described = readObject(format, 'json_schema', at)
  if (described === undefined) throw badRequest(at, `'${at}' is missing.`, MISSING)
  return readSchema(described, at)
}

/** @param at where the object with `type` stands */
export function readFormatType(
  format: JsonObject,
  at: string,
): 'text' | 'json_object' | 'json_schema' {
  const types = ['text', 'json_object', 'json_schema'] as const
  const type = readChoice(format, 'type', types, `${at}.type`)
  if (type === undefined) throw badRequest(`${at}.type`, `'${at}.type' is missing.`, MISSING)
  return type
}

/** @param at where the object with `name` and `schema` stands */
export function readSchema(described: JsonObject, at: string): AnswerFormat {
  const name = readText(described, 'name', `${at}.name`)
  if (name === undefined || !NAME.test(name))
    throw badRequest(`${at}.name`, `'${at}.name' must be 1 to 64 letters, digits, _ or -.`)
  readText(described, 'description', `${at}.description`)
  readBoolean(described, 'strict', `${at}.strict`)
  const schema = readObject(described, 'schema', `${at}.schema`)
  if (schema === undefined) throw badRequest(`${at}.schema`, `'${at}.schema' is missing.`, MISSING)
  checkSchema(schema, `${at}.schema`)
  return { kind: 'schema', name, schema }
}
