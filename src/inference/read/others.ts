/**
 * Bodies of embeddings, tokenize and detokenize. Tested by test/inference/read/others.ts.
 */
import { badRequest } from '../errors.ts'
import type { ChatMessage, EmbeddingRequest, JsonObject } from '../request.ts'
import type { ReadRules } from './chat.ts'
import { readPrompts, readTokens } from './completion.ts'
import {
  checkModel,
  fieldOf,
  MISSING,
  readBoolean,
  readChoice,
  readInteger,
  readText,
  UNSUPPORTED,
} from './fields.ts'
import { readMessages } from './messages.ts'

export interface EmbeddingAsked {
  readonly kind: 'embedding'
  readonly request: EmbeddingRequest
  /** `base64`: little-endian float32. */
  readonly encoding: 'float' | 'base64'
}

export interface TokenizeAsked {
  readonly kind: 'tokenize'
  /** A text, or a conversation as the model's template writes it. */
  readonly of: string | readonly ChatMessage[]
  /** Of a text: begin with the model's own first token, if it has one. */
  readonly addSpecial: boolean
}

export interface DetokenizeAsked {
  readonly kind: 'detokenize'
  readonly tokens: readonly number[]
}

const DIMENSIONS_MAX = 65_536

/** @throws InferenceError BAD_REQUEST (`data.param`), NOT_FOUND (a strict model) */
export function readEmbedding(body: JsonObject, rules: ReadRules): EmbeddingAsked {
  checkModel(body, rules)
  const inputs = readPrompts(body, 'input')
  const isList = typeof fieldOf(body, 'input') !== 'string' && typeof inputs[0] === 'string'
  for (const [index, input] of inputs.entries()) {
    const at = isList ? `input[${index}]` : 'input'
    if (input === '') throw badRequest(at, `'${at}' must not be empty.`)
  }
  const dimensions = readInteger(body, 'dimensions', [1, DIMENSIONS_MAX])
  const encoding = readChoice(body, 'encoding_format', ['float', 'base64'] as const) ?? 'float'
  return {
    kind: 'embedding',
    request: { inputs, ...(dimensions === undefined ? {} : { dimensions }) },
    encoding,
  }
}

/** As vLLM (`prompt` or `messages`) and llama.cpp (`content`) write it. */
export function readTokenize(body: JsonObject, rules: ReadRules): TokenizeAsked {
  checkModel(body, rules)
  if (readBoolean(body, 'with_pieces') === true)
    throw badRequest('with_pieces', "'with_pieces' is not supported here.", UNSUPPORTED)
  if (fieldOf(body, 'messages') !== undefined)
    return { kind: 'tokenize', of: readMessages(body['messages']), addSpecial: true }
  const prompt = readText(body, 'prompt')
  const content = readText(body, 'content')
  const of = prompt ?? content
  if (of === undefined) throw badRequest('prompt', "'prompt' is missing.", MISSING)
  const asked = readBoolean(body, 'add_special_tokens') ?? readBoolean(body, 'add_special')
  // The two servers have opposite defaults.
  return { kind: 'tokenize', of, addSpecial: asked ?? prompt !== undefined }
}

export function readDetokenize(body: JsonObject, rules: ReadRules): DetokenizeAsked {
  checkModel(body, rules)
  const value = fieldOf(body, 'tokens')
  if (value === undefined) throw badRequest('tokens', "'tokens' is missing.", MISSING)
  if (!Array.isArray(value)) throw badRequest('tokens', "'tokens' must be an array.")
  return { kind: 'detokenize', tokens: value.length === 0 ? [] : readTokens(value, 'tokens') }
}
