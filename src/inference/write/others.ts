/** Models, embeddings, tokens. Tested by test/inference/write/others.ts. */
import { base64 } from '../../base/bytes.ts'
import type { Embeddings, JsonObject } from '../request.ts'
import { type Frame, padded } from './frame.ts'

/** One model as `GET /v1/models` shows it. */
export interface ModelEntry {
  readonly id: string
  /** Unix time in seconds. */
  readonly created: number
  /** Tokens of prompt and answer together. */
  readonly contextSize: number
  /** The longest answer that the service gives; absent: what the context holds. */
  readonly answerTokensMax?: number
}

export function modelBody(model: ModelEntry): Uint8Array {
  return padded(modelObject(model))
}

export function modelListBody(models: readonly ModelEntry[]): Uint8Array {
  return padded({ object: 'list', data: models.map(modelObject) })
}

function modelObject(model: ModelEntry): JsonObject {
  const { id, created, contextSize, answerTokensMax } = model
  return {
    id,
    object: 'model',
    created,
    owned_by: 'pocket',
    context_length: contextSize,
    max_model_len: contextSize,
    max_output_tokens: answerTokensMax ?? contextSize,
  }
}

export function embeddingBody(
  embeddings: Embeddings,
  encoding: 'float' | 'base64',
  frame: Pick<Frame, 'model' | 'fingerprint'>,
): Uint8Array {
  const { vectors, promptTokens } = embeddings
  return padded({
    object: 'list',
    model: frame.model,
    system_fingerprint: frame.fingerprint,
    usage: { prompt_tokens: promptTokens, total_tokens: promptTokens },
    data: vectors.map((vector, index) => ({
      object: 'embedding',
      index,
      embedding: encoding === 'float' ? [...vector] : base64(littleEndian(vector)),
    })),
  })
}

function littleEndian(vector: Float32Array): Uint8Array {
  const bytes = new Uint8Array(vector.length * 4)
  const view = new DataView(bytes.buffer)
  for (const [index, value] of vector.entries()) view.setFloat32(index * 4, value, true)
  return bytes
}

/** By the names of vLLM; llama.cpp's server has the same `tokens`. */
export function tokensBody(tokens: readonly number[], contextSize: number): Uint8Array {
  return padded({ count: tokens.length, max_model_len: contextSize, tokens })
}

/** By the names of vLLM (`prompt`) and of llama.cpp (`content`). */
export function textBody(text: string): Uint8Array {
  return padded({ prompt: text, content: text })
}
