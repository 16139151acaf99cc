/**
 * What is known of the weights that a service runs: their digest, and the tokenizer that graders ask for.
 *
 * Weights of tens of gigabytes are read once and remembered by the data folder (digest.ts); meanwhile the
 * owner is told how far it is. Tested by test/node/weights.ts and test/e2e/inference.ts.
 */
import { homedir } from 'node:os'
import { join } from 'node:path'
import { isWeightsFile, OLLAMA_PREFIX, TINY_MODEL } from '../config/load.ts'
import { tinyModelPath } from '../config/root.ts'
import type { Config } from '../config/schema.ts'
import type { ServiceConfig } from '../config/services.ts'
import { InferenceError } from '../inference/errors.ts'
import type { JsonObject } from '../inference/request.ts'
import { readTokenizerFolder, tokenizerOfWeights } from '../inference/tokenizer-files.ts'
import { Digests } from '../models/digest.ts'
import { readGguf } from '../models/gguf.ts'
import { Library } from '../models/library.ts'
import { ollamaBlob, ollamaFolders } from '../models/ollama-blobs.ts'
import type { Frame } from './supplier.ts'

export interface Weights {
  /** Of several files the first; absent: they are another program's. */
  readonly path?: string
  /** In hex; of several files the hash over their hashes. */
  readonly sha256?: string
  /** Its files by stem. */
  readonly tokenizer?: JsonObject
}

export interface WeightsDeps {
  readonly config: Pick<Config, 'dataDir' | 'models'>
  readonly deps: Pick<Frame['deps'], 'clock' | 'log' | 'environment'>
  readonly signal: AbortSignal
}

/** What `pokt-supplier models` keeps. */
export function libraryOf({ config, deps }: Pick<WeightsDeps, 'config' | 'deps'>): Library {
  const { clock } = deps
  return new Library({ clock }, config.models.folder ?? join(config.dataDir, 'models'))
}

export function digestsOf({ config }: Frame): Digests {
  return new Digests({ cacheFile: join(config.dataDir, 'digests.json') })
}

/** @throws InferenceError MODEL_LOAD: not readable, or a tokenizer of another model; `signal.reason` */
export async function readWeights(
  { config, deps, signal }: WeightsDeps,
  service: ServiceConfig,
  digests: Digests,
): Promise<Weights> {
  const { tokenizerFolder } = service
  const file = await weightsFile({ config, deps }, service)
  if (file === undefined)
    return tokenizerFolder === undefined
      ? {}
      : { tokenizer: await readTokenizerFolder(tokenizerFolder, undefined) }
  const { path } = file
  const { sha256 } = await digests.of(path, { signal, onProgress: progress(deps.log, path) })
  if (file.sha256 !== undefined && file.sha256 !== sha256)
    throw new InferenceError('MODEL_LOAD', `${path} does not hold what its name says`)
  const metadata = await readGguf(path, signal)
  const tokenizer =
    tokenizerFolder === undefined
      ? tokenizerOfWeights(metadata)
      : await readTokenizerFolder(tokenizerFolder, metadata)
  return { path, sha256, ...(tokenizer === undefined ? {} : { tokenizer }) }
}

/**
 * The GGUF of the built-in engine, and the digest that its name says, if it says one; undefined for other engines.
 * @throws ModelError
 */
export async function weightsFile(
  { config, deps }: Pick<WeightsDeps, 'config' | 'deps'>,
  { backend }: ServiceConfig,
): Promise<{ readonly path: string; readonly sha256?: string } | undefined> {
  if (backend.kind !== 'llamacpp') return undefined
  const { model } = backend
  if (model === TINY_MODEL) return { path: tinyModelPath() }
  if (isWeightsFile(model)) return { path: model }
  if (!model.startsWith(OLLAMA_PREFIX))
    return { path: await libraryOf({ config, deps }).pathOf(model) }
  let first: unknown
  for (const folder of ollamaFolders(deps.environment.ollama, homedir())) {
    try {
      return await ollamaBlob(folder, model.slice(OLLAMA_PREFIX.length))
    } catch (error) {
      first ??= error
    }
  }
  throw first
}

/** A line for each tenth of what takes long enough to wonder about. */
function progress(log: Frame['deps']['log'], file: string): (done: number, total: number) => void {
  let told = 0
  return (done, total) => {
    const percent = Math.floor((10 * done) / total) * 10
    if (total < TOLD_FROM || percent === told) return
    told = percent
    log.info({ file, percent }, 'reading the weights once, to know them again')
  }
}

const TOLD_FROM = 1024 ** 3
