/**
 * What a list of models tells about the server that gave it.
 *
 * Servers put their own name into `owned_by`: vLLM, SGLang and llama-server do. The fields that they take
 * beside the OpenAI API are known from their documentation; of others nothing is assumed.
 * Tested by test/inference/upstream/backend.ts.
 */
import { isObject } from '../json.ts'
import type { Extension } from './options.ts'

export type ServerKind = 'vllm' | 'sglang' | 'llama-server' | 'unknown'

export interface Told {
  readonly kind: ServerKind
  /** Tokens of prompt and answer together; absent: not said. */
  readonly contextSize?: number
  /** Whether the model is in the list; absent: there is no list. */
  readonly isListed?: boolean
}

const OWNERS: Readonly<Record<string, ServerKind>> = {
  vllm: 'vllm',
  sglang: 'sglang',
  llamacpp: 'llama-server',
}

export const KNOWN_EXTENSIONS: Readonly<Record<ServerKind, readonly Extension[]>> = {
  vllm: ['top_k', 'min_p', 'repetition_penalty', 'chat_template_kwargs'],
  sglang: ['top_k', 'min_p', 'repetition_penalty', 'chat_template_kwargs'],
  'llama-server': ['top_k', 'min_p', 'repeat_penalty', 'chat_template_kwargs'],
  unknown: [],
}

/** @param body of `GET /models`; anything else tells nothing */
export function readModels(body: Uint8Array, model: string): Told {
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder().decode(body))
  } catch {
    return { kind: 'unknown' }
  }
  const data = isObject(value) ? value['data'] : undefined
  const entries = Array.isArray(data) ? data.filter(isObject) : []
  const [first] = entries
  if (first === undefined) return { kind: 'unknown' }
  const entry = entries.find(({ id }) => id === model)
  const meta = (entry ?? first)['meta']
  const size = (entry ?? first)['max_model_len'] ?? (isObject(meta) ? meta['n_ctx'] : undefined)
  return {
    kind: OWNERS[String((entry ?? first)['owned_by'])] ?? 'unknown',
    ...(typeof size === 'number' && Number.isSafeInteger(size) && size > 0
      ? { contextSize: size }
      : {}),
    isListed: entry !== undefined,
  }
}
