/**
 * Calls of tools that come in fragments, put together and checked.
 *
 * A call is given on when it is whole: its tool is one that was offered, its arguments are the JSON text of
 * an object. Tested by test/inference/upstream/answer.ts.
 */
import { engineFailed } from '../errors.ts'
import { isObject } from '../json.ts'
import type { JsonObject, Tool, ToolCall } from '../request.ts'
import { parsed } from '../tools/json.ts'
import { unkept } from './refusal.ts'

const CALLS_MAX = 128
const ID = /^[\w.:-]{1,128}$/
const ID_LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'
const ID_LENGTH = 24

interface Fragments {
  readonly index: number
  id: string
  name: string
  arguments: string
}

export class CallAssembler {
  readonly #random: () => number
  readonly #names: ReadonlySet<string>
  readonly #parallel: boolean
  readonly #onCall: (call: ToolCall) => void
  readonly #calls: ToolCall[] = []
  #open: Fragments | undefined

  constructor(
    deps: { readonly random: () => number; readonly onCall: (call: ToolCall) => void },
    options: { readonly tools: readonly Tool[]; readonly parallel: boolean },
  ) {
    this.#random = deps.random
    this.#onCall = deps.onCall
    this.#names = new Set(options.tools.map(({ name }) => name))
    this.#parallel = options.parallel
  }

  get calls(): readonly ToolCall[] {
    return this.#calls
  }

  /** @param list `tool_calls` of a message or of a delta. @throws InferenceError ENGINE_FAILED */
  push(list: unknown): void {
    if (list === undefined || list === null) return
    if (!Array.isArray(list)) throw malformed()
    for (const [at, entry] of list.entries()) {
      if (!isObject(entry)) throw malformed()
      const index = entry['index'] ?? at
      if (typeof index !== 'number' || index >= CALLS_MAX) throw malformed()
      if (index !== this.#open?.index) {
        this.#close()
        this.#open = { index, id: '', name: '', arguments: '' }
      }
      if (this.#open !== undefined) add(this.#open, entry)
    }
  }

  /** @param isCut the answer ended at a limit, so that the last call may be a part */
  end(isCut: boolean): void {
    if (isCut && this.#open !== undefined && !isWhole(this.#open.arguments)) this.#open = undefined
    this.#close()
  }

  #close(): void {
    const open = this.#open
    this.#open = undefined
    if (open === undefined || (!this.#parallel && this.#calls.length > 0)) return
    if (!this.#names.has(open.name)) throw unkept('the upstream called a tool that was not offered')
    if (!isWhole(open.arguments))
      throw unkept('the upstream called a tool with arguments that are no JSON object')
    const text = open.arguments.trim() === '' ? '{}' : open.arguments
    const call = { id: this.#idOf(open.id), name: open.name, arguments: text }
    this.#calls.push(call)
    this.#onCall(call)
  }

  #idOf(theirs: string): string {
    const isNew = this.#calls.every(({ id }) => id !== theirs)
    return ID.test(theirs) && isNew ? theirs : callId(this.#random)
  }
}

/** @param random at least 0 and below 1 */
export function callId(random: () => number): string {
  const letters = Array.from(
    { length: ID_LENGTH },
    () => ID_LETTERS[Math.floor(random() * ID_LETTERS.length)] ?? 'A',
  )
  return `call_${letters.join('')}`
}

function add(open: Fragments, entry: JsonObject): void {
  const called = entry['function'] ?? {}
  if (!isObject(called)) throw malformed()
  open.id ||= textOf(entry['id'])
  open.name += textOf(called['name'])
  const given = called['arguments']
  open.arguments += isObject(given) ? JSON.stringify(given) : textOf(given)
}

function textOf(value: unknown): string {
  if (value === undefined || value === null) return ''
  if (typeof value !== 'string') throw malformed()
  return value
}

/** Some models call without arguments; that stands for an empty object. */
function isWhole(text: string): boolean {
  return text.trim() === '' || isObject(parsed(text))
}

function malformed(): Error {
  return engineFailed('the upstream answered with calls of another form')
}
