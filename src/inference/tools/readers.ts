/**
 * Reading calls as families of models write them.
 *
 * A reader is given the text from an opening on, again and again while it grows, and decides nothing that more
 * text could change: so the result does not depend on how the text is cut. Forms are those of the
 * families' own chat templates. Tested by test/inference/tools.ts.
 */
import type { Tool } from '../request.ts'
import { isRecord } from '../schema-walk.ts'
import { itemsOf, membersOf, parsed, valueEnd } from './json.ts'

/** A call as the model wrote it; `arguments` is the text of a JSON object. */
export interface RawCall {
  readonly name: string
  readonly arguments: string
}

/**
 * The first `length` characters are: calls; with none, an ordinary text (`text`) or only a marker.
 * `more`: it can't be said yet.
 */
export type Reading =
  | 'more'
  | { readonly length: number; readonly calls: readonly RawCall[]; readonly text: boolean }

/** @param ended no more text will come */
export type CallReader = (text: string, ended: boolean, tools: readonly Tool[]) => Reading

/** Between an opening and the arguments there is a name and little else. */
const HEAD_MAX = 300

function notCall(length: number): Reading {
  return { length, calls: [], text: true }
}

function marker(length: number): Reading {
  return { length, calls: [], text: false }
}

function found(calls: readonly RawCall[] | undefined, length: number): Reading {
  return calls === undefined ? notCall(length) : { length, calls, text: false }
}

function skipBlanks(text: string, from: number): number {
  return from + (/^\s*/.exec(text.slice(from))?.[0].length ?? 0)
}

/** `{"name":…,"arguments":{…}}` and its relatives: `parameters`, `function` around both. */
export function callOf(text: string): RawCall | undefined {
  const members = membersOf(text)
  if (members === undefined) return undefined
  const inner = members.get('function')
  if (inner?.startsWith('{')) return callOf(inner)
  const name = parsed(members.get('name') ?? inner ?? '')
  const args = argumentsOf(members.get('arguments') ?? members.get('parameters') ?? '{}')
  return typeof name === 'string' && args !== undefined ? { name, arguments: args } : undefined
}

/** The text of an object; some models put it into a string, or write null for none. */
function argumentsOf(text: string): string | undefined {
  const value = parsed(text)
  if (value === null) return '{}'
  if (typeof value === 'string') return isRecord(parsed(value)) ? value.trim() : undefined
  return isRecord(value) ? text : undefined
}

function named(name: string, args: string): RawCall[] | undefined {
  return isRecord(parsed(args)) ? [{ name, arguments: args }] : undefined
}

/**
 * One of `closings` at `from`, blanks left out of account.
 * @returns the place after it; `from` if there is none; undefined: it may still come
 */
function afterClosing(
  text: string,
  from: number,
  closings: readonly string[],
  ended: boolean,
): number | undefined {
  let mayCome = false
  for (const closing of closings) {
    let at = from
    let matched = 0
    while (at < text.length && matched < closing.length) {
      if (text[at] === closing[matched]) matched += 1
      else if (!/\s/.test(text[at] ?? '')) break
      at += 1
    }
    if (matched === closing.length) return at
    if (at === text.length) mayCome = true
  }
  return mayCome && !ended ? undefined : from
}

/** The object at `from`, and what closes it. */
function object(
  text: string,
  from: number,
  options: {
    ended: boolean
    closings: readonly string[]
    calls: (json: string) => RawCall[] | undefined
  },
): Reading {
  const end = valueEnd(text, from)
  if (end === undefined) return 'more'
  const after = afterClosing(text, end, options.closings, options.ended)
  return after === undefined ? 'more' : found(options.calls(text.slice(from, end)), after)
}

const HERMES_OPEN = '<tool_call>'

/** Hermes, Qwen 2.5 and 3, Granite 4: `<tool_call>{"name":…,"arguments":…}</tool_call>`. */
export const readHermes: CallReader = (text, ended) => {
  const at = skipBlanks(text, HERMES_OPEN.length)
  if (at === text.length) return 'more'
  if (text[at] !== '{') return notCall(HERMES_OPEN.length)
  const calls = (json: string) => wrapped(callOf(json))
  return object(text, at, { ended, closings: ['</tool_call>'], calls })
}

function wrapped(call: RawCall | undefined): RawCall[] | undefined {
  return call === undefined ? undefined : [call]
}

/** Llama 3: the bare object is the whole answer, at times after `<|python_tag|>`. */
export const readLlama3: CallReader = (text, ended) => {
  const opening = text.startsWith('<|python_tag|>') ? '<|python_tag|>'.length : 0
  const at = skipBlanks(text, opening)
  if (at === text.length) return 'more'
  if (text[at] !== '{') return notCall(Math.max(1, opening))
  // Another first name than one of these: an answer in JSON, shown as it comes.
  const key = /^\{\s*"((?:[^"\\]|\\.)*)"/.exec(text.slice(at))?.[1]
  const isCall = key === undefined || /^(name|type|function|parameters|arguments|id)$/.test(key)
  if (!isCall) return notCall(at + 1)
  return object(text, at, { ended, closings: [], calls: (json) => wrapped(callOf(json)) })
}

const MISTRAL_OPEN = '[TOOL_CALLS]'

/** Mistral: a list of objects, or since 2025 `name[ARGS]{…}` for each call, at times with `[CALL_ID]…`. */
export const readMistral: CallReader = (text, ended) => {
  const at = skipBlanks(text, MISTRAL_OPEN.length)
  if (text[at] === '[') return mistralList(text, at, ended)
  const brace = text.indexOf('{', at)
  const head = text.slice(at, brace === -1 ? undefined : brace)
  if (head.length > HEAD_MAX) return notCall(MISTRAL_OPEN.length)
  if (brace === -1) return 'more'
  if (head === '')
    return object(text, at, { ended, closings: [], calls: (json) => wrapped(callOf(json)) })
  const name = /^([^\s[\]{}]+)\s*(?:\[CALL_ID\][^\s[\]{}]*)?\s*(?:\[ARGS\])?\s*$/.exec(head)?.[1]
  if (name === undefined) return notCall(MISTRAL_OPEN.length)
  return object(text, brace, { ended, closings: [], calls: (json) => named(name, json) })
}

function mistralList(text: string, from: number, ended: boolean): Reading {
  const end = valueEnd(text, from)
  if (end === undefined && !ended) return 'more'
  // A list that ends with the answer, without its bracket.
  const list = end === undefined ? `${text.slice(from).trimEnd()}]` : text.slice(from, end)
  const calls = itemsOf(list)?.map(callOf)
  const all = calls?.filter((call) => call !== undefined)
  const isWhole = all !== undefined && all.length > 0 && all.length === calls?.length
  return found(isWhole ? all : undefined, end ?? text.length)
}

const DEEPSEEK_CALL = '<｜tool▁call▁begin｜>'
const DEEPSEEK_SEP = '<｜tool▁sep｜>'
const DEEPSEEK_CLOSE = '<｜tool▁call▁end｜>'

/** DeepSeek: `function<sep>name` and a fenced object (V3, R1), or `name<sep>{…}` (V3.1). */
export const readDeepSeek: CallReader = (text, ended) => {
  if (!text.startsWith(DEEPSEEK_CALL)) return marker(text.indexOf('｜>') + 2)
  const brace = text.indexOf('{', DEEPSEEK_CALL.length)
  const head = text.slice(DEEPSEEK_CALL.length, brace === -1 ? undefined : brace)
  if (head.length > HEAD_MAX) return notCall(DEEPSEEK_CALL.length)
  if (brace === -1) return 'more'
  const fenced = /^\s*function<｜tool▁sep｜>\s*([^\s<>{}]+)\s*(?:```(?:json)?\s*)?$/.exec(head)?.[1]
  const plain = new RegExp(`^\\s*([^\\s<>{}]+)\\s*${DEEPSEEK_SEP}\\s*$`).exec(head)?.[1]
  const name = fenced ?? plain
  if (name === undefined) return notCall(DEEPSEEK_CALL.length)
  const closings = [`\`\`\`${DEEPSEEK_CLOSE}`, DEEPSEEK_CLOSE]
  return object(text, brace, { ended, closings, calls: (json) => named(name, json) })
}

export const HARMONY_OPEN = '<|channel|>commentary to=functions.'

/** gpt-oss, after thoughts.ts has told the channels apart. */
export const readHarmony: CallReader = (text, ended) => {
  const brace = text.indexOf('{', HARMONY_OPEN.length)
  const head = text.slice(HARMONY_OPEN.length, brace === -1 ? undefined : brace)
  if (head.length > HEAD_MAX) return notCall(HARMONY_OPEN.length)
  if (brace === -1) return 'more'
  const name = /^([^\s<>{}]+)[^{}]*<\|message\|>\s*$/.exec(head)?.[1]
  if (name === undefined) return notCall(HARMONY_OPEN.length)
  return object(text, brace, { ended, closings: ['<|call|>'], calls: (json) => named(name, json) })
}

const FUNCTION_OPEN = '<function='

/** Functionary for Llama 3.1: `<function=name>{…}</function>`. */
export const readFunctionary: CallReader = (text, ended) => {
  const end = text.indexOf('>')
  if ((end === -1 ? text.length : end) > HEAD_MAX) return notCall(FUNCTION_OPEN.length)
  if (end === -1) return 'more'
  const name = text.slice(FUNCTION_OPEN.length, end)
  const at = skipBlanks(text, end + 1)
  if (at === text.length) return 'more'
  if (text[at] !== '{') return notCall(FUNCTION_OPEN.length)
  return object(text, at, { ended, closings: ['</function>'], calls: (json) => named(name, json) })
}

/** Qwen 3 Coder: `<function=name>` with one element for each argument, whose type the schema knows. */
export const readElements: CallReader = (text, ended, tools) => {
  const outer = text.startsWith(HERMES_OPEN) ? HERMES_OPEN.length : 0
  const at = skipBlanks(text, outer)
  const rest = text.slice(at)
  if (outer > 0 && text[at] === '{') return readHermes(text, ended, tools)
  if (rest.length < FUNCTION_OPEN.length && FUNCTION_OPEN.startsWith(rest)) return 'more'
  if (!rest.startsWith(FUNCTION_OPEN)) return notCall(Math.max(1, outer))
  const end = text.indexOf('</function>', at)
  if (end === -1) return 'more'
  const name = /^<function=([^>\s]+)>/.exec(rest)?.[1] ?? ''
  const tool = tools.find((one) => one.name === name)
  const body = text.slice(at, end)
  const after = end + '</function>'.length
  const length = outer === 0 ? after : afterClosing(text, after, ['</tool_call>'], ended)
  return length === undefined ? 'more' : found([{ name, arguments: elements(body, tool) }], length)
}

function elements(body: string, tool: Tool | undefined): string {
  const properties = tool?.parameters?.['properties']
  const members = [...body.matchAll(/<parameter=([^>]+)>\n?([\s\S]*?)\n?<\/parameter>/g)]
  const values = new Map(
    members.map(([, name = '', value = '']) => {
      const schema = isRecord(properties) ? properties[name] : undefined
      const isText = isRecord(schema) && schema['type'] === 'string'
      return [name, isText || parsed(value) === undefined ? JSON.stringify(value) : value.trim()]
    }),
  )
  return `{${[...values].map(([name, value]) => `${JSON.stringify(name)}:${value}`).join(',')}}`
}
