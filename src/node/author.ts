/**
 * What a model's author recommends, for a model of the catalogue: how the next token is picked, and how long it
 * may think. What the owner wrote goes before it. Tested by test/node/author.ts.
 */

import { join } from 'node:path'
import { isWeightsFile, OLLAMA_PREFIX, TINY_MODEL } from '../config/load.ts'
import { packageRoot } from '../config/root.ts'
import type { LlamaCppConfig } from '../config/services.ts'
import type { SamplingDefaults } from '../inference/llamacpp/sampling.ts'
import { loadCatalog, samplingOf } from '../models/catalog.ts'
import { libraryOf, type WeightsDeps } from './weights.ts'

export interface Author {
  readonly defaults?: SamplingDefaults
  readonly thinkingTokensMax?: number
}

/** Empty for a model that the catalogue does not know. @throws ModelError CATALOG */
export async function authorOf(
  frame: Pick<WeightsDeps, 'config' | 'deps'>,
  { model }: Pick<LlamaCppConfig, 'model'>,
): Promise<Author> {
  if (model === TINY_MODEL || model.startsWith(OLLAMA_PREFIX) || isWeightsFile(model)) return {}
  const extra = frame.config.models.catalogue
  const catalog = await loadCatalog(join(packageRoot(), 'models'), { extra })
  const entry = await libraryOf(frame).find(model)
  const found = catalog.find(entry?.catalogue ?? model)?.model
  if (found === undefined) return {}
  // Templates have a model think unless a request says otherwise.
  const sampling = samplingOf(found, true)
  const { thinkingTokensMax } = found
  return {
    ...(sampling === undefined ? {} : { defaults: only(sampling) }),
    ...(thinkingTokensMax === undefined ? {} : { thinkingTokensMax }),
  }
}

/** Penalties are a request's own: they would change what was asked for. */
function only({ temperature, topP, topK, minP }: SamplingDefaults): SamplingDefaults {
  return { temperature, topP, topK, minP }
}
