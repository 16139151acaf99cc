/**
 * Vectors and tokens from an upstream. Tested by test/inference/upstream/backend.ts.
 */
import { utf8 } from '../../base/bytes.ts'
import { badRequest, engineFailed } from '../errors.ts'
import { isObject } from '../json.ts'
import type { ChatMessage, EmbeddingRequest, Embeddings, JsonObject } from '../request.ts'
import { fingerprintOf } from './answer.ts'
import type { ServerKind } from './kinds.ts'
import { naming } from './refusal.ts'
import { messageObject } from './requests.ts'
import { readAll, type UpstreamServer } from './server.ts'

/** Asks one question whose answer is one JSON object. */
export async function askJson(
  server: UpstreamServer,
  path: string,
  body: JsonObject,
  signal: AbortSignal,
): Promise<JsonObject> {
  const question = { method: 'POST', path, body: utf8(JSON.stringify(body)) } as const
  const { body: answer } = await server.send(question, signal)
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(await readAll(answer)))
  } catch {
    // Without the cause: its message quotes the answer.
    throw engineFailed('the upstream answered with something other than JSON')
  }
  if (!isObject(value)) throw engineFailed('the upstream answered with something else')
  return value
}

/** @throws InferenceError BAD_REQUEST: more dimensions than there are; as `UpstreamServer.send` */
export async function askVectors(
  server: UpstreamServer,
  { inputs, dimensions }: EmbeddingRequest,
  signal: AbortSignal,
): Promise<Embeddings> {
  const { model } = server
  const input = inputs.length === 1 ? inputs[0] : inputs
  const fields = { model, input, encoding_format: 'float' }
  const answer = await naming('input', () => askJson(server, '/embeddings', fields, signal))
  const { data, usage } = answer
  const promptTokens = isObject(usage) ? usage['prompt_tokens'] : undefined
  if (typeof promptTokens !== 'number' || !Number.isSafeInteger(promptTokens) || promptTokens < 0)
    throw engineFailed('the upstream answered without counts of tokens')
  if (!Array.isArray(data) || data.length !== inputs.length)
    throw engineFailed('the upstream answered with another number of vectors')
  const vectors: Float32Array[] = []
  for (const [at, entry] of (data as unknown[]).entries()) {
    if (!isObject(entry)) throw engineFailed('the upstream answered without a vector')
    const index = entry['index'] ?? at
    if (typeof index !== 'number' || !(index in data) || vectors[index] !== undefined)
      throw engineFailed('the upstream answered with vectors out of order')
    vectors[index] = unitVector(entry['embedding'], dimensions)
  }
  const told = answer['system_fingerprint']
  const fingerprint = fingerprintOf(model, typeof told === 'string' ? told : undefined)
  return { vectors, promptTokens, fingerprint }
}

/** @param dimensions cut to so many numbers; servers refuse this for most models */
export function unitVector(value: unknown, dimensions: number | undefined): Float32Array {
  const isVector =
    Array.isArray(value) && value.length > 0 && value.every((part) => Number.isFinite(part))
  if (!isVector) throw engineFailed('the upstream answered without a vector')
  const numbers = value as number[]
  if (dimensions !== undefined && dimensions > numbers.length)
    throw badRequest('dimensions', `The vectors of this model have ${numbers.length} dimensions.`)
  const cut = numbers.slice(0, dimensions)
  const length = Math.hypot(...cut)
  return Float32Array.from(cut, (part) => (length === 0 ? part : part / length))
}

/** The names of vLLM and those of llama-server side by side: each reads its own. */
export async function askTokens(
  server: UpstreamServer,
  kind: ServerKind,
  asked: { readonly of: string | readonly ChatMessage[]; readonly addSpecial: boolean },
  signal: AbortSignal,
): Promise<readonly number[]> {
  const { model } = server
  const { of, addSpecial } = asked
  if (typeof of !== 'string' && kind === 'llama-server') {
    const messages = of.map(messageObject)
    const { prompt } = await askJson(server, '//apply-template', { messages }, signal)
    if (typeof prompt !== 'string') throw engineFailed('the upstream answered without a text')
    return await askTokens(server, kind, { of: prompt, addSpecial: true }, signal)
  }
  const fields =
    typeof of === 'string'
      ? { prompt: of, content: of, add_special_tokens: addSpecial, add_special: addSpecial }
      : { messages: of.map(messageObject), add_generation_prompt: true }
  const { tokens } = await askJson(server, '//tokenize', { model, ...fields }, signal)
  const isList = Array.isArray(tokens) && tokens.every((id) => Number.isSafeInteger(id) && id >= 0)
  if (!isList) throw engineFailed('the upstream answered without tokens')
  return tokens as number[]
}

export async function askText(
  server: UpstreamServer,
  tokens: readonly number[],
  signal: AbortSignal,
): Promise<string> {
  const { model } = server
  const { prompt, content } = await askJson(server, '//detokenize', { model, tokens }, signal)
  const text = prompt ?? content
  if (typeof text !== 'string') throw engineFailed('the upstream answered without a text')
  return text
}
