/**
 * A conversation with tools in the form that a chat template takes.
 *
 * Templates that write tools themselves get the list, the calls and the results as they expect them. For the others
 * the tools are described in the system text, and calls and results become plain turns of assistant and user.
 * Every text of the caller passes through `mark`, so that control tokens in it mean nothing.
 * Tested by test/inference/tools.ts.
 */
import type { ChatMessage, JsonObject, Tool, ToolCall } from '../request.ts'
import { isRecord } from '../schema-walk.ts'
import { type ToolFormat, toolFormat, toolFormatOf } from './format.ts'
import { parsed } from './json.ts'

/** A message as a template reads it. `content` is the caller's, unmarked: whoever renders it marks it. */
export type TemplateMessage = JsonObject & { readonly role: string; readonly content: string }

export interface TemplateConversation {
  readonly messages: readonly TemplateMessage[]
  /** For the template's `tools`; absent: the template is not to see any. */
  readonly tools?: readonly JsonObject[]
}

/** @param mark what stands in the rendered text for a text of the caller */
export function templateConversation(
  format: ToolFormat,
  conversation: { readonly messages: readonly ChatMessage[]; readonly tools: readonly Tool[] },
  mark: (text: string) => string = (text) => text,
): TemplateConversation {
  const { tools } = conversation
  if (!format.native) return { messages: plainMessages(conversation) }
  const turns = format.oneCall ? oneCallEach(conversation.messages) : conversation.messages
  const ids = new Map<string, string>()
  const messages = withNames(turns).map((message) => nativeMessage(format, message, { mark, ids }))
  if (tools.length === 0) return { messages }
  return { messages, tools: tools.map((tool) => markedJson(toolObject(tool), mark) as JsonObject) }
}

/** Results say whose they are: some templates ask for it, and callers need not write it. */
function withNames(messages: readonly ChatMessage[]): ChatMessage[] {
  const calls = messages.flatMap(({ toolCalls = [] }) => toolCalls)
  const names = new Map(calls.map(({ id, name }) => [id, name]))
  return messages.map((message) => {
    const name = message.name ?? names.get(message.toolCallId ?? '')
    return name === undefined ? message : { ...message, name }
  })
}

const PROBE_TOOL: Tool = {
  name: 'probe_name',
  description: 'probe_description',
  parameters: { type: 'object', properties: { probe: { type: 'string' } } },
}
const PROBE: readonly ChatMessage[] = [
  { role: 'user', content: 'probe_question' },
  {
    role: 'assistant',
    content: '',
    toolCalls: [
      { id: 'call_probe', name: PROBE_TOOL.name, arguments: '{"probe":"<probe_value>"}' },
    ],
  },
  { role: 'tool', content: 'probe_result', toolCallId: 'call_probe' },
]

/**
 * The template's own form if it really writes tools, calls and results; else `generic`. Some templates fail on
 * what others take, and a prompt without the tools would be answered as if there were none.
 * @param render the template, filled in; what it throws is taken for a no
 */
export function provenFormat(
  template: string | undefined,
  render: (context: JsonObject) => string,
): ToolFormat {
  const format = toolFormatOf(template)
  if (!format.native) return format
  try {
    const probe = { messages: PROBE, tools: [PROBE_TOOL] }
    // As marks are made: a template that escapes them would lose the text behind.
    const conversation = templateConversation(format, probe, (text) => `\ue000${text}\ue001`)
    const text = render({ ...conversation, add_generation_prompt: true })
    const words = ['probe_description', '\ue000<probe_value>\ue001', 'probe_result']
    return words.every((word) => text.includes(word)) ? format : toolFormat('generic')
  } catch {
    return toolFormat('generic')
  }
}

/** As the OpenAI API lists it. */
function toolObject({ name, description, parameters }: Tool): JsonObject {
  return {
    type: 'function',
    function: {
      name,
      description: description ?? '',
      parameters: parameters ?? { type: 'object', properties: {} },
    },
  }
}

/** With marks for all texts: they are written as JSON, so a mark stands for what JSON makes of a text. */
function markedJson(value: unknown, mark: (text: string) => string): unknown {
  if (typeof value === 'string')
    return isPlain(value) ? value : mark(JSON.stringify(value).slice(1, -1))
  if (Array.isArray(value)) return value.map((item) => markedJson(item, mark))
  if (!isRecord(value)) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, of]) => [String(markedJson(key, mark)), markedJson(of, mark)]),
  )
}

/** No control token of any model looks like this, and templates ask for words such as `object`. */
function isPlain(text: string): boolean {
  return /^[\w -]*$/.test(text)
}

function nativeMessage(
  format: ToolFormat,
  message: ChatMessage,
  { mark, ids }: { mark: (text: string) => string; ids: Map<string, string> },
): TemplateMessage {
  const { role, content, reasoning, toolCalls = [], toolCallId, name } = message
  const idFor = (id: string) => (format.name.startsWith('mistral') ? shortId(id, ids) : id)
  return {
    role,
    content,
    ...reasoningFields(format, reasoning, content),
    ...(toolCalls.length === 0
      ? {}
      : { tool_calls: toolCalls.map((call) => callObject(call, idFor(call.id), mark)) }),
    ...(toolCallId === undefined ? {} : { tool_call_id: idFor(toolCallId) }),
    ...(name === undefined ? {} : { name: String(markedJson(name, mark)) }),
  }
}

/** The names that templates look for; gpt-oss refuses thoughts beside a text. */
function reasoningFields(
  format: ToolFormat,
  reasoning: string | undefined,
  content: string,
): JsonObject {
  if (reasoning === undefined || reasoning === '') return {}
  if (format.name !== 'harmony') return { reasoning_content: reasoning }
  return content === '' ? { thinking: reasoning } : {}
}

function callObject(call: ToolCall, id: string, mark: (text: string) => string): JsonObject {
  const args = parsed(call.arguments)
  const fields = { name: markedJson(call.name, mark), arguments: markedJson(args ?? {}, mark) }
  return { id, type: 'function', function: fields }
}

/** Mistral's templates insist on nine letters or digits; the same call has the same ones in every turn. */
function shortId(id: string, ids: Map<string, string>): string {
  const known = ids.get(id) ?? `call${String(ids.size).padStart(5, '0')}`
  ids.set(id, known)
  return known
}

/** Each call in a turn of its own, followed by its result. */
function oneCallEach(messages: readonly ChatMessage[]): ChatMessage[] {
  const out: ChatMessage[] = []
  for (let at = 0; at < messages.length; at++) {
    const message = messages[at]
    if (message === undefined) break
    const { toolCalls = [], reasoning: _, ...rest } = message
    if (toolCalls.length < 2) {
      out.push(message)
      continue
    }
    const results: ChatMessage[] = []
    while (messages[at + 1]?.role === 'tool') {
      const result = messages[++at]
      if (result !== undefined) results.push(result)
    }
    for (const [index, call] of toolCalls.entries()) {
      const first = index === 0
      out.push({ ...(first ? message : { ...rest, content: '' }), toolCalls: [call] })
      out.push(...results.filter(({ toolCallId }) => toolCallId === call.id))
    }
    const ids = toolCalls.map(({ id }) => id)
    out.push(...results.filter(({ toolCallId }) => !ids.includes(toolCallId ?? '')))
  }
  return out
}

function plainMessages(conversation: {
  readonly messages: readonly ChatMessage[]
  readonly tools: readonly Tool[]
}): TemplateMessage[] {
  const { messages, tools } = conversation
  const out: TemplateMessage[] = []
  for (const { role, content, reasoning, toolCalls = [] } of messages) {
    const last = out.at(-1)
    if (role === 'tool') {
      const text = `<tool_response>\n${content}\n</tool_response>`
      const joins = last?.['isResult'] === true
      if (joins) out[out.length - 1] = { ...last, content: `${last.content}\n${text}` }
      else out.push({ role: 'user', content: text, isResult: true })
      continue
    }
    const calls = toolCalls.map(plainCall)
    const text = [content, ...calls].filter((part) => part !== '').join('\n')
    const thought = reasoning === undefined ? {} : { reasoning_content: reasoning }
    out.push({ role, content: text, ...thought })
  }
  return tools.length === 0 ? out : withSystemText(out, toolsText(tools))
}

function plainCall({ name, arguments: args }: ToolCall): string {
  return `<tool_call>\n{"name": ${JSON.stringify(name)}, "arguments": ${args}}\n</tool_call>`
}

function withSystemText(messages: readonly TemplateMessage[], text: string): TemplateMessage[] {
  const [first, ...others] = messages
  if (first?.role !== 'system') return [{ role: 'system', content: text }, ...messages]
  return [{ ...first, content: `${first.content}\n\n${text}` }, ...others]
}

/** What a model without tools of its own is told. */
export function toolsText(tools: readonly Tool[]): string {
  return [
    'You can call these functions; each is given as JSON with a schema of its arguments:',
    '<tools>',
    ...tools.map((tool) => JSON.stringify(toolObject(tool))),
    '</tools>',
    '',
    'To call a function, write its name and arguments as one JSON object between these tags:',
    '<tool_call>',
    '{"name": "function name", "arguments": {"argument name": "value"}}',
    '</tool_call>',
    'Write one such block for each call and nothing after the last one. The results come back in',
    '<tool_response> tags. Where no function is needed, answer without these tags.',
  ].join('\n')
}
