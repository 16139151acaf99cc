/**
 * `response` and its events: one turn's thoughts, text and calls are items of their own.
 *
 * `"error": null` is left out: gateways take an answer that names an error for one. Tested by
 * test/inference/write/responses.ts.
 */
import type { Delta, Generation, JsonObject, ToolCall, Usage } from '../request.ts'
import { event, type Frame, framed } from './frame.ts'

/** @param echo fields of the request that the answer repeats */
export function responseBody(generation: Generation, echo: JsonObject, frame: Frame): Uint8Array {
  const { head, rest } = responseObject(frame, echo, {
    status: statusOf(generation),
    output: outputOf(generation, frame.id),
    usage: generation.usage,
  })
  return framed(head, frame, rest)
}

interface Made {
  readonly status: 'in_progress' | 'completed' | 'incomplete'
  readonly output: readonly JsonObject[]
  readonly usage?: Usage
}

function statusOf({ finishReason }: Generation): 'completed' | 'incomplete' {
  return finishReason === 'length' || finishReason === 'content_filter' ? 'incomplete' : 'completed'
}

function responseObject(
  frame: Frame,
  echo: JsonObject,
  { status, output, usage }: Made,
): { head: JsonObject; rest: JsonObject } {
  const { id, created, model, fingerprint } = frame
  const head = {
    id,
    object: 'response',
    created_at: created,
    status,
    background: false,
    model,
    system_fingerprint: fingerprint,
    usage: usage === undefined ? null : usageObject(usage),
  }
  const details = status === 'incomplete' ? { reason: 'max_output_tokens' } : null
  return { head, rest: { ...echo, incomplete_details: details, output } }
}

function usageObject(usage: Usage): JsonObject {
  return {
    input_tokens: usage.promptTokens,
    input_tokens_details: { cached_tokens: usage.cachedTokens ?? 0 },
    output_tokens: usage.completionTokens,
    output_tokens_details: { reasoning_tokens: usage.reasoningTokens ?? 0 },
    total_tokens: usage.promptTokens + usage.completionTokens,
  }
}

function outputOf(generation: Generation, id: string): JsonObject[] {
  const { reasoning, text, toolCalls } = generation
  const items: ((at: number) => JsonObject)[] = []
  if (reasoning !== undefined && reasoning !== '')
    items.push((at) => reasoningItem(itemId('rs', id, at), reasoning))
  if (text !== '' || toolCalls.length === 0)
    items.push((at) => messageItem(itemId('msg', id, at), text, 'completed'))
  for (const call of toolCalls)
    items.push((at) => callItem(itemId('fc', id, at), call, 'completed'))
  return items.map((item, at) => item(at))
}

/** @param id of the response, `resp_…` */
function itemId(prefix: string, id: string, at: number): string {
  return `${prefix}_${id.replace(/^resp_/, '')}${at}`
}

function reasoningItem(id: string, text: string): JsonObject {
  return { id, type: 'reasoning', summary: [], content: [{ type: 'reasoning_text', text }] }
}

function messageItem(id: string, text: string | undefined, status: string): JsonObject {
  const content = text === undefined ? [] : [textPart(text)]
  return { id, type: 'message', status, role: 'assistant', content }
}

function textPart(text: string): JsonObject {
  return { type: 'output_text', text, annotations: [], logprobs: [] }
}

function callItem(id: string, call: ToolCall, status: string): JsonObject {
  const { id: callId, name, arguments: text } = call
  return { id, type: 'function_call', status, call_id: callId, name, arguments: text }
}

/** The events of one streamed response. */
export class ResponseStream {
  readonly #frame: Frame
  readonly #echo: JsonObject
  #sequence = 0
  #status: 'completed' | 'incomplete' = 'completed'
  #items: JsonObject[] = []
  #open: { id: string; kind: 'text' | 'reasoning'; text: string } | undefined

  constructor(frame: Frame, echo: JsonObject) {
    this.#frame = frame
    this.#echo = echo
  }

  begin(_index: number): string {
    const response = this.#response({ status: 'in_progress', output: [] })
    return (
      this.#event('response.created', { response }) +
      this.#event('response.in_progress', { response })
    )
  }

  delta(_index: number, piece: Delta): string {
    let out = ''
    if (piece.reasoning !== undefined && piece.reasoning !== '')
      out += this.#grow('reasoning', piece.reasoning)
    if (piece.text !== undefined && piece.text !== '') out += this.#grow('text', piece.text)
    if (piece.toolCall !== undefined) out += this.#close() + this.#call(piece.toolCall)
    return out
  }

  /** The last event comes with `finish`. */
  end(_index: number, generation: Generation): string {
    const isSilent = this.#items.length === 0 && this.#open === undefined
    const closing = isSilent ? this.#openItem('text') + this.#close() : this.#close()
    this.#status = statusOf(generation)
    return closing
  }

  finish(usage: Usage, manifest: JsonObject | undefined): string {
    const made = { status: this.#status, output: this.#items, usage }
    const { head, rest } = responseObject(this.#frame, this.#echo, made)
    const pocket = manifest === undefined ? {} : { pocket: manifest }
    const response = { ...head, ...pocket, ...rest }
    return this.#event(`response.${this.#status}`, { response })
  }

  #grow(kind: 'text' | 'reasoning', text: string): string {
    const opening = this.#open?.kind === kind ? '' : this.#close() + this.#openItem(kind)
    const open = this.#open
    if (open === undefined) return opening
    open.text += text
    const at = { item_id: open.id, output_index: this.#items.length, content_index: 0 }
    const name = kind === 'text' ? 'response.output_text.delta' : 'response.reasoning_text.delta'
    return (
      opening +
      this.#event(name, { ...at, delta: text, ...(kind === 'text' ? { logprobs: [] } : {}) })
    )
  }

  #openItem(kind: 'text' | 'reasoning'): string {
    const index = this.#items.length
    const id = itemId(kind === 'text' ? 'msg' : 'rs', this.#frame.id, index)
    this.#open = { id, kind, text: '' }
    const item =
      kind === 'text'
        ? messageItem(id, undefined, 'in_progress')
        : { id, type: 'reasoning', summary: [], content: [] }
    const added = this.#event('response.output_item.added', { output_index: index, item })
    if (kind === 'reasoning') return added
    const at = { item_id: id, output_index: index, content_index: 0 }
    return added + this.#event('response.content_part.added', { ...at, part: textPart('') })
  }

  #close(): string {
    const open = this.#open
    if (open === undefined) return ''
    this.#open = undefined
    const index = this.#items.length
    const at = { item_id: open.id, output_index: index, content_index: 0 }
    const { id, text } = open
    if (open.kind === 'reasoning') {
      const item = reasoningItem(id, text)
      this.#items.push(item)
      return (
        this.#event('response.reasoning_text.done', { ...at, text }) +
        this.#event('response.output_item.done', { output_index: index, item })
      )
    }
    const item = messageItem(id, text, 'completed')
    this.#items.push(item)
    return (
      this.#event('response.output_text.done', { ...at, text, logprobs: [] }) +
      this.#event('response.content_part.done', { ...at, part: textPart(text) }) +
      this.#event('response.output_item.done', { output_index: index, item })
    )
  }

  #call(call: ToolCall): string {
    const index = this.#items.length
    const id = itemId('fc', this.#frame.id, index)
    const at = { item_id: id, output_index: index }
    const item = callItem(id, call, 'completed')
    this.#items.push(item)
    const empty = callItem(id, { ...call, arguments: '' }, 'in_progress')
    return (
      this.#event('response.output_item.added', { output_index: index, item: empty }) +
      this.#event('response.function_call_arguments.delta', { ...at, delta: call.arguments }) +
      this.#event('response.function_call_arguments.done', {
        ...at,
        name: call.name,
        arguments: call.arguments,
      }) +
      this.#event('response.output_item.done', { output_index: index, item })
    )
  }

  #response(made: Made): JsonObject {
    const { head, rest } = responseObject(this.#frame, this.#echo, made)
    return { ...head, ...rest }
  }

  #event(type: string, value: JsonObject): string {
    return event({ type, sequence_number: this.#sequence++, ...value }, type)
  }
}
