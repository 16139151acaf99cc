/**
 * What ran, said inside the answer: the model by its public name and its digests, the engine, the
 * sampling, hashes of the request and of the text. The answer is signed, so this can be held against its
 * author; it proves nothing by itself.
 *
 * Only what was read here is stated. Of a server only its claim is known, and the manifest says so. No key
 * or constant here is a phrase that gateways search answers for. Tested by test/inference/manifest.ts.
 */
import { hex, sha256, utf8 } from '../base/bytes.ts'
import type { BackendInfo, SamplingFacts } from './backend.ts'
import type { Generation, GenerationRequest, JsonObject } from './request.ts'

/** What is known before a request. @param model its public name */
export function modelManifest(model: string, info: BackendInfo): JsonObject {
  const { facts } = info
  const isRead = facts.sha256 !== undefined
  return {
    v: 1,
    model: {
      name: model,
      ...(facts.format === undefined ? {} : { format: facts.format }),
      ...(isRead ? { sha256: facts.sha256 } : {}),
      ...(facts.quantisation === undefined ? {} : { quant: facts.quantisation }),
      ctx: info.contextSize,
      ...(isRead ? {} : { claimed: true }),
    },
    ...(facts.tokenizerSha256 === undefined ? {} : { tokenizer_sha256: facts.tokenizerSha256 }),
    ...(facts.templateSha256 === undefined ? {} : { template_sha256: facts.templateSha256 }),
    engine: {
      name: info.kind,
      ...(facts.build === undefined ? {} : { build: facts.build, device: info.device }),
      // A short hash of all that the backend's answers depend on, settings without a name here included.
      settings: info.fingerprint,
    },
    ...(facts.sampling === undefined ? {} : { defaults: samplingObject(facts.sampling) }),
  }
}

/**
 * `system_fingerprint`: `pk1-` and the first 12 hex digits of the sha256 of `modelManifest`, written as
 * canonical JSON. Whoever has the manifest can make it.
 */
export function fingerprintOf(model: string, info: BackendInfo): string {
  return `pk1-${hex(sha256(utf8(canonical(modelManifest(model, info))))).slice(0, 12)}`
}

export interface Ran {
  /** The model's public name. */
  readonly model: string
  readonly info: BackendInfo
  readonly request: GenerationRequest
  readonly choices: readonly Generation[]
  /** The body of the request, byte for byte. */
  readonly requestBody: Uint8Array
  /** Of the commitment to log-probabilities (commitment.ts), in hex; absent: there is none. */
  readonly logprobRoot?: string
}

/**
 * `sampling` is what was used, as far as it is known: what the request left open is absent where the
 * model's own defaults are not. `out_sha256` is of the text of all choices, joined in order.
 */
export function manifest(ran: Ran): JsonObject {
  const { model, info, request, choices, requestBody, logprobRoot } = ran
  const text = choices.map((choice) => choice.text).join('')
  return {
    ...modelManifest(model, info),
    sampling: {
      ...samplingObject({ ...info.facts.sampling, ...wishes(request) }),
      ...(request.seed === undefined ? {} : { seed: String(request.seed) }),
      ...(request.maxTokens === undefined ? {} : { max_tokens: request.maxTokens }),
      ...algorithm(request, info),
    },
    req_sha256: hex(sha256(requestBody)),
    out_sha256: hex(sha256(utf8(text))),
    ...(logprobRoot === undefined ? {} : { logprob_root: logprobRoot }),
    ...(isRepeatable(request, info, choices.length) ? { deterministic: true } : {}),
  }
}

function samplingObject({ temperature, topP, topK, minP }: Partial<SamplingFacts>): JsonObject {
  return {
    ...(temperature === undefined ? {} : { temperature }),
    ...(topP === undefined ? {} : { top_p: topP }),
    ...(topK === undefined ? {} : { top_k: topK }),
    ...(minP === undefined ? {} : { min_p: minP }),
  }
}

/** Without those that are undefined: they would hide the defaults. */
function wishes({ temperature, topP, topK, minP }: GenerationRequest): Partial<SamplingFacts> {
  return {
    ...(temperature === undefined ? {} : { temperature }),
    ...(topP === undefined ? {} : { topP }),
    ...(topK === undefined ? {} : { topK }),
    ...(minP === undefined ? {} : { minP }),
  }
}

function isGreedy({ temperature }: GenerationRequest, { facts }: BackendInfo): boolean {
  return (temperature ?? facts.sampling?.temperature) === 0
}

/** What is not named cannot be replayed. */
function algorithm(request: GenerationRequest, info: BackendInfo): JsonObject {
  if (isGreedy(request, info)) return { algo: 'greedy' }
  return request.seed !== undefined && info.kind === 'llamacpp' ? { algo: 'icdf-v1' } : {}
}

/** Only of a greedy answer of one choice, and only where it was tested to hold. */
function isRepeatable(request: GenerationRequest, info: BackendInfo, choices: number): boolean {
  const isAlone = info.kind === 'llamacpp' && request.deterministic === true
  return isGreedy(request, info) && choices === 1 && (info.facts.repeatable === true || isAlone)
}

/** JSON without white space, keys sorted: the same object has the same text, whatever the order of its keys. */
export function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null'
  const entries = Object.entries(value)
    .filter(([, entry]) => entry !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
  return `{${entries.map(([key, entry]) => `${JSON.stringify(key)}:${canonical(entry)}`).join(',')}}`
}
