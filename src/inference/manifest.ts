/**
 * What ran, said inside the answer: the model by its public name, the engine, the sampling that was
 * asked for, hashes of the request and of the text. The answer is signed, so this can be held against
 * its author; it proves nothing by itself.
 *
 * Of an upstream only its claim is known, and the manifest says so. No key or constant here is a
 * phrase that gateways search answers for. Tested by test/inference/manifest.ts.
 */
import { hex, sha256, utf8 } from '../base/bytes.ts'
import type { BackendInfo, ChatRequest, Completion } from './backend.ts'
import type { JsonObject } from './openai.ts'

export interface Ran {
  /** The model's public name. */
  readonly model: string
  readonly info: BackendInfo
  readonly request: ChatRequest
  readonly completion: Completion
  /** The body of the request, byte for byte. */
  readonly requestBody: Uint8Array
}

/** Fields that the request left to the model's defaults are absent. */
export function manifest(ran: Ran): JsonObject {
  const { info, request } = ran
  return {
    v: 1,
    model: {
      name: ran.model,
      ctx: info.contextSize,
      ...(info.kind === 'upstream' ? { claimed: true } : {}),
    },
    engine: { name: info.kind },
    sampling: {
      ...(request.temperature === undefined ? {} : { temperature: request.temperature }),
      ...(request.topP === undefined ? {} : { top_p: request.topP }),
      ...(request.seed === undefined ? {} : { seed: request.seed }),
      ...(request.maxTokens === undefined ? {} : { max_tokens: request.maxTokens }),
    },
    req_sha256: hex(sha256(ran.requestBody)),
    out_sha256: hex(sha256(utf8(ran.completion.text))),
  }
}
