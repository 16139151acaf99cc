/**
 * What an upstream sends of one answer, in pieces or whole, becomes a checked generation.
 *
 * Nothing is passed on as it came: texts, thoughts, calls, scores, counts and reasons are read one by
 * one, and what is missing or contradicts the request is a failure of the upstream.
 * Tested by test/inference/upstream/answer.ts.
 */
import { hex, sha256, utf8 } from '../../base/bytes.ts'
import { engineFailed } from '../errors.ts'
import { isObject } from '../json.ts'
import type { Delta, Generation, GenerationRequest, JsonObject, Usage } from '../request.ts'
import { parsed } from '../tools/json.ts'
import { CallAssembler } from './calls.ts'
import { refusalOf, unkept } from './refusal.ts'
import { readScores } from './scores.ts'
import { ShownText } from './shown.ts'

export interface AnswerDeps {
  readonly random: () => number
  readonly onDelta: (delta: Delta) => void
}

export class UpstreamAnswer {
  readonly #request: GenerationRequest
  readonly #model: string
  readonly #onDelta: (delta: Delta) => void
  readonly #shown: ShownText
  readonly #calls: CallAssembler
  #reasoning = ''
  #finish: string | undefined
  #usage: Usage | undefined
  #told: string | undefined
  #pieces = 0

  /** @param model the upstream's name of it */
  constructor(deps: AnswerDeps, request: GenerationRequest, model: string) {
    this.#request = request
    this.#model = model
    this.#onDelta = (delta) => {
      this.#pieces++
      deps.onDelta(delta)
    }
    const isEcho = request.kind === 'completion' && request.echo
    const hasText = isEcho && typeof request.prompt === 'string'
    this.#shown = new ShownText({
      // Of a prompt in tokens it is not known where it ends.
      stop: isEcho && !hasText ? [] : request.stop,
      wantsScores: request.topLogprobs !== undefined,
      echo: hasText ? String(request.prompt) : '',
      onDelta: this.#onDelta,
    })
    const isChat = request.kind === 'chat'
    this.#calls = new CallAssembler(
      { random: deps.random, onCall: (toolCall) => this.#onDelta({ toolCall }) },
      {
        tools: isChat && request.toolChoice !== 'none' ? request.tools : [],
        parallel: isChat && request.parallelToolCalls,
      },
    )
  }

  /** Pieces given on so far: about as many tokens. */
  get pieces(): number {
    return this.#pieces
  }

  /**
   * One event of a stream, or the whole body.
   * @throws InferenceError ENGINE_FAILED; what a refusal inside a stream means
   */
  take(value: unknown): void {
    if (!isObject(value)) throw engineFailed('the upstream answered with something else')
    this.#refuse(value['error'])
    const { usage, system_fingerprint: told } = value
    if (isObject(usage)) this.#usage = readUsage(usage)
    if (typeof told === 'string') this.#told = told
    const choices = value['choices']
    if (choices === undefined && isObject(usage)) return
    if (!Array.isArray(choices)) throw engineFailed('the upstream answered without a choice')
    for (const choice of choices as unknown[]) this.#takeChoice(choice)
  }

  /**
   * @param isDone the upstream said that this is all
   * @throws InferenceError ENGINE_FAILED: a part is missing, or not what was asked for
   */
  end(isDone: boolean): Generation {
    if (this.#finish === undefined && !isDone)
      throw engineFailed('the upstream broke off in the middle of an answer')
    if (this.#finish === 'abort' || this.#finish === 'error')
      throw engineFailed('the upstream gave the answer up')
    if (this.#usage === undefined)
      throw engineFailed('the upstream answered without counts of tokens')
    const isCut = this.#finish === 'length' && !this.#shown.isStopped
    this.#calls.end(isCut)
    this.#shown.end()
    const { text, scores } = this.#shown
    const { calls } = this.#calls
    const generation: Generation = {
      text,
      ...(this.#reasoning === '' ? {} : { reasoning: this.#reasoning }),
      toolCalls: calls,
      finishReason: this.#reason(isCut, calls.length > 0),
      usage: this.#usage,
      ...(this.#request.topLogprobs === undefined ? {} : { scores }),
      fingerprint: fingerprintOf(this.#model, this.#told),
    }
    checkKept(this.#request, generation)
    return generation
  }

  #reason(isCut: boolean, hasCalls: boolean): Generation['finishReason'] {
    if (isCut) return 'length'
    if (hasCalls) return 'tool_calls'
    return this.#finish === 'content_filter' ? 'content_filter' : 'stop'
  }

  #refuse(error: unknown): void {
    if (error === undefined || error === null) return
    const code = isObject(error) ? error['code'] : undefined
    const isRefusal = typeof code === 'number' && code >= 400 && code <= 599
    if (isRefusal && this.#pieces === 0)
      throw refusalOf(code, {}, utf8(JSON.stringify({ error })), this.#model)
    throw engineFailed('the upstream broke off with an error')
  }

  #takeChoice(choice: unknown): void {
    if (!isObject(choice)) throw engineFailed('the upstream answered without a choice')
    if ((choice['index'] ?? 0) !== 0) throw engineFailed('the upstream answered twice')
    const part = choice['delta'] ?? choice['message'] ?? { content: choice['text'] }
    if (!isObject(part)) throw engineFailed('the upstream answered without a message')
    const reasoning = readText(part['reasoning_content'] ?? part['reasoning'])
    const text = readText(part['content'])
    if (reasoning !== '') {
      this.#reasoning += reasoning
      this.#onDelta({ reasoning })
    }
    this.#show(text, choice, reasoning !== '' || part['tool_calls'] != null)
    this.#calls.push(part['tool_calls'])
    const finish = choice['finish_reason']
    if (typeof finish === 'string') this.#finish = finish
  }

  /** @param isOther the tokens of this piece may be those of a thought or of a call */
  #show(text: string, choice: JsonObject, isOther: boolean): void {
    const top = this.#request.topLogprobs
    const isScored = top !== undefined && (text !== '' || !isOther)
    const all = isScored ? readScores(choice['logprobs'], top) : []
    const scores = isOther ? scoresOf(text, all) : all
    if (text !== '' || scores.length > 0) this.#shown.push(text, scores)
  }
}

/** The scores at the end that make up `text`. */
function scoresOf<T extends { readonly bytes: Uint8Array }>(text: string, all: readonly T[]): T[] {
  let left = Buffer.byteLength(text)
  let from = all.length
  while (left > 0 && from > 0) left -= all[--from]?.bytes.length ?? 0
  return all.slice(from)
}

/** Whether the answer is of the kind that the request insists on. */
function checkKept(
  request: GenerationRequest,
  { text, toolCalls, finishReason, scores }: Generation,
) {
  if (scores?.length === 0 && text !== '')
    throw unkept('the upstream answered without log-probabilities')
  const isWhole = finishReason !== 'length' && finishReason !== 'content_filter'
  if (request.kind !== 'chat' || !isWhole) return
  const { toolChoice, format } = request
  const isForced = toolChoice === 'required' || typeof toolChoice === 'object'
  const isOther =
    typeof toolChoice === 'object' && toolCalls.some((c) => c.name !== toolChoice.name)
  if (isForced && (toolCalls.length === 0 || isOther))
    throw unkept('the upstream did not call the tool that it had to')
  if (format.kind === 'text' || toolCalls.length > 0) return
  const value = parsed(text)
  if (format.kind === 'json' ? !isObject(value) : value === undefined)
    throw unkept('the upstream answered with something other than JSON')
}

function readText(value: unknown): string {
  if (value === undefined || value === null) return ''
  if (typeof value !== 'string')
    throw engineFailed('the upstream answered with content of another kind')
  return value
}

/** @throws InferenceError ENGINE_FAILED */
export function readUsage(usage: JsonObject): Usage {
  const count = (from: JsonObject, name: string) => {
    const tokens = from[name]
    if (typeof tokens !== 'number' || !Number.isSafeInteger(tokens) || tokens < 0)
      throw engineFailed('the upstream answered without counts of tokens')
    return tokens
  }
  const detail = (group: string, name: string) => {
    const details = usage[group]
    return isObject(details) && details[name] != null ? count(details, name) : undefined
  }
  const cachedTokens = detail('prompt_tokens_details', 'cached_tokens')
  const reasoningTokens = detail('completion_tokens_details', 'reasoning_tokens')
  return {
    promptTokens: count(usage, 'prompt_tokens'),
    completionTokens: count(usage, 'completion_tokens'),
    ...(cachedTokens === undefined ? {} : { cachedTokens }),
    ...(reasoningTokens === undefined ? {} : { reasoningTokens }),
  }
}

/** @param told what the upstream itself says; absent: nothing */
export function fingerprintOf(model: string, told = ''): string {
  return `pk1-${hex(sha256(utf8(JSON.stringify([model, told])))).slice(0, 16)}`
}
