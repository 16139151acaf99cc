/**
 * What graders ask about the model itself: `/pokt/manifest`, `/pokt/tokenizer`, `/pokt/config` and the
 * `-hash` of each, which is the sha256 of the document as canonical JSON.
 *
 * The configuration is shown in both forms that are read: flat, with texts, and as a Hugging Face
 * `config.json`. A tokenizer is shown as the files that its author published, or as far as the weights
 * tell it (tokenizer-files.ts). Tested by test/inference/documents.ts.
 */
import { hex, sha256, utf8 } from '../base/bytes.ts'
import type { DocumentAsked } from './api.ts'
import type { BackendInfo } from './backend.ts'
import { InferenceError } from './errors.ts'
import { canonical, fingerprintOf, modelManifest } from './manifest.ts'
import type { JsonObject } from './request.ts'

export interface DocumentSource {
  /** The model's public name. */
  readonly model: string
  readonly info: BackendInfo
  readonly answerTokensMax?: number
  /** By file stem: `tokenizer`, `tokenizer_config`, …; absent: there are none. */
  readonly tokenizer?: JsonObject
  /**
   * Hashes of this tokenizer that were made before, by the size of the context; absent: none are kept. One
   * takes a good part of a second.
   */
  readonly hashes?: Map<number, string>
}

/** @throws InferenceError NOT_FOUND: a tokenizer that is not there */
export function documentOf({ name, isHash }: DocumentAsked, source: DocumentSource): JsonObject {
  if (!isHash) return DOCUMENTS[name](source)
  const kept = name === 'tokenizer' ? source.hashes : undefined
  const { contextSize } = source.info
  const hash = kept?.get(contextSize) ?? hex(sha256(utf8(canonical(DOCUMENTS[name](source)))))
  kept?.set(contextSize, hash)
  return { hash }
}

const DOCUMENTS: Readonly<Record<DocumentAsked['name'], (source: DocumentSource) => JsonObject>> = {
  manifest: ({ model, info }) => ({
    ...modelManifest(model, info),
    system_fingerprint: fingerprintOf(model, info),
  }),
  config: ({ model, info, answerTokensMax }) => ({
    model_public_name: model,
    max_position_embeddings: String(info.contextSize),
    max_tokens: String(answerTokensMax ?? info.contextSize),
    config: {
      model_name: model,
      max_position_embeddings: info.contextSize,
      pokt_network_custom: true,
    },
  }),
  tokenizer: ({ info, tokenizer }) => {
    if (tokenizer === undefined)
      throw new InferenceError('NOT_FOUND', 'The files of the tokenizer are not published here.')
    const config = tokenizer['tokenizer_config']
    // An integer as text: what means "no limit" elsewhere is too large for some readers.
    const limit = { model_max_length: String(info.contextSize) }
    return {
      ...tokenizer,
      tokenizer_config: { ...(typeof config === 'object' ? config : {}), ...limit },
    }
  },
}
