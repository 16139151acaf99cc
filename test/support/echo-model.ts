/**
 * A model for tests, as a function: it says again what it was told, a word at a time, calls a tool when
 * it must, and has vectors, tokens and scores that follow from the text alone.
 */
import { concat, hex, sha256, unhex, utf8 } from '../../src/base/bytes.ts'
import { badRequest, InferenceError } from '../../src/inference/errors.ts'
import { ALL_FEATURES } from '../../src/inference/features.ts'
import type {
  ChatMessage,
  ChatRequest,
  Delta,
  EmbeddingRequest,
  Embeddings,
  Generation,
  GenerationRequest,
  JsonObject,
  TokenScore,
  ToolCall,
} from '../../src/inference/request.ts'

export const ECHO_FEATURES = { ...ALL_FEATURES, suffix: false }
export const ECHO_FINGERPRINT = 'pk1-echo'

export interface Echo {
  /** In order; the texts of all of them together are the text of the generation. */
  readonly deltas: readonly Delta[]
  readonly generation: Generation
}

const words = (text: string) => text.split(/(?<=\s)/).filter((word) => word !== '')
const textOf = (bytes: Uint8Array) => new TextDecoder().decode(bytes)

/** A token is a word; one with a character beyond the first plane is two, cut inside that character. */
function pieces(word: string): Uint8Array[] {
  const bytes = utf8(word)
  const at = bytes.findIndex((byte) => byte >= 0xf0)
  return at === -1 ? [bytes] : [bytes.slice(0, at + 2), bytes.slice(at + 2)]
}

/** Numbers of tokens, given as they are first seen. */
export class EchoVocabulary {
  readonly #ids = new Map<string, number>()
  readonly #tokens: Uint8Array[] = []

  ids(text: string): number[] {
    return words(text)
      .flatMap(pieces)
      .map((bytes) => this.#idOf(bytes))
  }

  /** @throws InferenceError BAD_REQUEST */
  bytes(ids: readonly number[]): Uint8Array {
    return concat(
      ...ids.map((id, at) => {
        const bytes = this.#tokens[id]
        if (bytes === undefined) throw badRequest(`tokens[${at}]`, 'There is no such token.')
        return bytes
      }),
    )
  }

  #idOf(bytes: Uint8Array): number {
    const key = hex(bytes)
    const known = this.#ids.get(key)
    if (known !== undefined) return known
    this.#ids.set(key, this.#tokens.length)
    this.#tokens.push(unhex(key))
    return this.#tokens.length - 1
  }
}

export interface EchoWorld {
  readonly contextSize: number
  readonly vocabulary: EchoVocabulary
}

/** What the conversation looks like to the model. */
export function promptOf(messages: readonly ChatMessage[]): string {
  return messages.map(({ content }) => content).join(' ')
}

/**
 * The answer to a request, as a function of it. Above temperature 0 the seed says with which word it
 * begins. @throws InferenceError CONTEXT_LENGTH
 */
export function echo(request: GenerationRequest, world: EchoWorld): Echo {
  const prompt = promptTextOf(request, world.vocabulary)
  const promptTokens = world.vocabulary.ids(prompt).length + (request.kind === 'chat' ? 1 : 0)
  if (promptTokens >= world.contextSize)
    throw new InferenceError('CONTEXT_LENGTH', `the context holds ${world.contextSize} tokens`)
  const limit = Math.min(request.maxTokens ?? 1e9, world.contextSize - promptTokens)
  const called = request.kind === 'chat' ? callOf(request) : undefined
  const reasoning = thoughtsOf(request)
  const made =
    called === undefined
      ? said(request, prompt, limit, banned(request, world.vocabulary))
      : { said: [], tokens: Math.min(limit, 3), isWhole: limit >= 3 }
  const echoed = request.kind === 'completion' && request.echo ? scored(words(prompt), true) : []
  const steps = [...echoed, ...scored(made.said, false)]
  const top = request.topLogprobs
  const shown = steps.map((step) => deltaOf(step, top))
  const calls = called === undefined || !made.isWhole ? [] : [called]
  const deltas: Delta[] = [
    ...(reasoning === undefined ? [] : [{ reasoning }]),
    ...shown,
    ...calls.map((toolCall) => ({ toolCall })),
  ]
  const thoughts = reasoning === undefined ? 0 : words(reasoning).length
  return {
    deltas,
    generation: {
      text: shown.map(({ text = '' }) => text).join(''),
      ...(reasoning === undefined ? {} : { reasoning }),
      toolCalls: calls,
      finishReason: calls.length > 0 ? 'tool_calls' : made.isWhole ? 'stop' : 'length',
      usage: {
        promptTokens,
        completionTokens: made.tokens + thoughts,
        ...(thoughts === 0 ? {} : { reasoningTokens: thoughts }),
      },
      ...(top === undefined ? {} : { scores: shown.flatMap(({ scores = [] }) => scores) }),
      fingerprint: ECHO_FINGERPRINT,
    },
  }
}

function promptTextOf(request: GenerationRequest, vocabulary: EchoVocabulary): string {
  if (request.kind === 'chat') return promptOf(request.messages)
  const { prompt } = request
  return typeof prompt === 'string' ? prompt : textOf(vocabulary.bytes(prompt))
}

function thoughtsOf(request: GenerationRequest): string | undefined {
  const isWanted = request.kind === 'chat' && request.thinking?.enabled === true
  return isWanted ? 'I was told something.' : undefined
}

/** Whether a word may not be said. */
function banned({ logitBias }: GenerationRequest, vocabulary: EchoVocabulary) {
  return (word: string) => vocabulary.ids(word).some((id) => (logitBias?.get(id) ?? 0) <= -100)
}

function said(
  request: GenerationRequest,
  prompt: string,
  limit: number,
  isBanned: (word: string) => boolean,
) {
  const last = request.kind === 'chat' ? (request.messages.at(-1)?.content ?? '') : prompt
  const json = jsonOf(request, last)
  // A bias that forces tokens makes it say their numbers.
  const forced = [...(request.logitBias ?? [])].filter(([, bias]) => bias >= 100)
  const start = forced.length === 0 ? 'You said: ' : `${forced.map(([id]) => id).join('+')} `
  const all = words(json ?? start + last).filter((word) => !isBanned(word))
  const isTurned = json === undefined && (request.temperature ?? 0) > 0
  const turn = isTurned ? Number((request.seed ?? 0n) % BigInt(Math.max(1, all.length))) : 0
  const turned = [...all.slice(turn), ...all.slice(0, turn)]
  const kept: string[] = []
  let tokens = 0
  for (const word of turned) {
    if (tokens + pieces(word).length > limit) break
    tokens += pieces(word).length
    kept.push(word)
  }
  const text = kept.join('')
  const ends = request.stop.map((stop) => text.indexOf(stop)).filter((at) => at !== -1)
  if (ends.length > 0) {
    const shown = words(text.slice(0, Math.min(...ends)))
    return { said: shown, tokens: shown.flatMap(pieces).length + 1, isWhole: true }
  }
  const isWhole = kept.length === turned.length && tokens < limit
  return { said: kept, tokens: tokens + (isWhole ? 1 : 0), isWhole }
}

function jsonOf(request: GenerationRequest, last: string): string | undefined {
  if (request.kind !== 'chat' || request.format.kind === 'text') return undefined
  const { format } = request
  return JSON.stringify(format.kind === 'json' ? { said: last } : sampleOf(format.schema, last))
}

/** A tool is called when it must be, and when the last message names it. */
function callOf(request: ChatRequest): ToolCall | undefined {
  const { tools, toolChoice, messages } = request
  const last = messages.at(-1)
  if (toolChoice === 'none' || last?.role === 'tool') return undefined
  const text = last?.content ?? ''
  const tool =
    typeof toolChoice === 'object'
      ? tools.find(({ name }) => name === toolChoice.name)
      : (tools.find(({ name }) => text.includes(name)) ??
        (toolChoice === 'required' ? tools[0] : undefined))
  if (tool === undefined) return undefined
  const { name, parameters = {} } = tool
  return { id: `call_${name}`, name, arguments: JSON.stringify(sampleOf(parameters, text)) }
}

/** The smallest thing that such a schema allows, of the few keywords that tests use. */
export function sampleOf(schema: JsonObject, text: string): unknown {
  if (Array.isArray(schema['enum'])) return schema['enum'][0]
  switch (schema['type']) {
    case 'string':
      return text
    case 'integer':
    case 'number':
      return 7
    case 'boolean':
      return true
    case 'array':
      return []
    default: {
      const properties = (schema['properties'] ?? {}) as Record<string, JsonObject>
      return Object.fromEntries(
        Object.entries(properties).map(([name, inner]) => [name, sampleOf(inner, text)]),
      )
    }
  }
}

interface Step {
  readonly text: string
  readonly scores: readonly TokenScore[]
}

/** @param isPrompt its very first token has no score */
function scored(all: readonly string[], isPrompt: boolean): Step[] {
  return all.map((word, at) => ({
    text: word,
    scores: pieces(word).map((bytes, part) => scoreOf(bytes, isPrompt && at === 0 && part === 0)),
  }))
}

function scoreOf(bytes: Uint8Array, isFirst: boolean): TokenScore {
  const logprob = -(1 + (sha256(bytes)[0] ?? 0)) / 256
  const alternatives = ['perhaps ', 'or '].map((text, at) => ({
    text,
    bytes: utf8(text),
    logprob: logprob - 1 - at,
  }))
  const text = textOf(bytes)
  if (isFirst) return { text, bytes, logprob: null, top: [] }
  return { text, bytes, logprob, top: [{ text, bytes, logprob }, ...alternatives] }
}

function deltaOf({ text, scores }: Step, top: number | undefined): Delta {
  if (top === undefined) return { text }
  return { text, scores: scores.map((score) => ({ ...score, top: score.top.slice(0, top) })) }
}

const DIMENSIONS = 8

/** Vectors of length 1 that follow from the text. */
export function echoVectors(request: EmbeddingRequest, vocabulary: EchoVocabulary): Embeddings {
  const texts = request.inputs.map((input) =>
    typeof input === 'string' ? input : textOf(vocabulary.bytes(input)),
  )
  return {
    vectors: texts.map((text) => {
      const raw = [...sha256(utf8(text)).slice(0, request.dimensions ?? DIMENSIONS)]
      const length = Math.hypot(...raw)
      return Float32Array.from(raw, (value) => value / length)
    }),
    promptTokens: texts.reduce((sum, text) => sum + vocabulary.ids(text).length, 0),
    fingerprint: ECHO_FINGERPRINT,
  }
}
