/**
 * The weights that Ollama keeps, as files: they are plain GGUF and can be used where they lie.
 *
 * `models/manifests/<host>/<namespace>/<model>/<tag>` is a JSON list of layers, the weights are the one of
 * type `…image.model`, and the file is named by its SHA-256: `models/blobs/sha256-<hex>`. Read only.
 * Tested by test/models/ollama-blobs.ts.
 */
import { open, realpath, stat } from 'node:fs/promises'
import { join, sep } from 'node:path'
import { z } from 'zod'
import { ModelError } from './errors.ts'

export interface OllamaBlob {
  readonly path: string
  /** By its name, in hex; whoever reads the file holds it against the bytes. */
  readonly sha256: string
  readonly bytes: number
}

const MODEL_TYPE = 'application/vnd.ollama.image.model'
const ADAPTER_TYPE = 'application/vnd.ollama.image.adapter'
const Manifest = z.object({
  layers: z.array(
    z.object({ mediaType: z.string().optional(), digest: z.unknown(), size: z.unknown() }),
  ),
})
type Layers = z.infer<typeof Manifest>['layers']
const MANIFEST_BYTES_MAX = 1024 * 1024
const PART = /^[A-Za-z0-9_][\w.-]{0,127}$/
/** Of a port too: `registry:5000`. */
const HOST = /^[A-Za-z0-9][\w.-]{0,253}(?::\d{1,5})?$/
const DIGEST = /^sha256:([0-9a-f]{64})$/
const MAGIC = 'GGUF'

/**
 * @param home the user's folder
 * @returns where Ollama keeps its models, most likely first
 */
export function ollamaFolders(
  environment: Readonly<Record<string, string | undefined>>,
  home: string,
): string[] {
  const configured = environment['OLLAMA_MODELS']
  if (configured !== undefined && configured !== '') return [configured]
  // The second is that of the service on Linux.
  return [join(home, '.ollama', 'models'), join('/usr/share/ollama', '.ollama', 'models')]
}

/**
 * The file with the weights of a model. Its size and its first bytes are looked at, not its hash.
 * @param folder one of `ollamaFolders`
 * @param name as for `ollama run`: `llama3.2:1b`, `hf.co/user/repository:Q4_K_M`
 * @throws ModelError MODEL_LOAD
 */
export async function ollamaBlob(folder: string, name: string): Promise<OllamaBlob> {
  const manifest = join(folder, 'manifests', ...partsOf(name))
  const layers = await readLayers(manifest, name)
  if (layers.some(({ mediaType }) => mediaType === ADAPTER_TYPE))
    throw failed(`'${name}' has an adapter beside its weights, and is not the model without it`)
  const weights = layers.filter(({ mediaType }) => mediaType === MODEL_TYPE)
  const [layer] = weights
  if (layer === undefined) throw failed(`'${name}' has no weights`)
  if (weights.length > 1) throw failed(`'${name}' has its weights in several files`)
  const sha256 = DIGEST.exec(String(layer.digest))?.[1]
  if (sha256 === undefined) throw failed(`'${name}' names its weights by something else`)
  const path = join(folder, 'blobs', `sha256-${sha256}`)
  const bytes = await checkFile(folder, path, name)
  if (bytes !== layer.size) throw failed(`the weights of '${name}' are not complete`)
  return { path, sha256, bytes }
}

/** Host, namespace, model and tag, each checked: the name comes from a configuration or a command line. */
function partsOf(name: string): string[] {
  const [path = '', ...tags] = splitTag(name)
  const parts = path.split('/')
  const full = ['registry.ollama.ai', 'library']
    .slice(0, Math.max(0, 3 - parts.length))
    .concat(parts)
  const tag = tags[0] ?? 'latest'
  const [host = '', ...rest] = full
  const isRight = full.length === 3 && HOST.test(host) && [...rest, tag].every(isPart)
  if (!isRight) throw failed(`'${name}' is no name of a model`)
  // A colon in the name of a folder is written as such by Ollama, too.
  return [...full, tag]
}

function splitTag(name: string): string[] {
  const at = name.lastIndexOf(':')
  return at > name.lastIndexOf('/') ? [name.slice(0, at), name.slice(at + 1)] : [name]
}

function isPart(part: string): boolean {
  return PART.test(part) && !part.includes('..')
}

async function readLayers(manifest: string, name: string): Promise<Layers> {
  const text = await readSmall(manifest).catch(() => undefined)
  if (text === undefined) throw failed(`Ollama has no model '${name}' in this folder`)
  try {
    return Manifest.parse(JSON.parse(text)).layers
  } catch {
    throw failed(`the manifest of '${name}' cannot be read`)
  }
}

async function readSmall(path: string): Promise<string> {
  const file = await open(path, 'r')
  try {
    const buffer = Buffer.alloc(MANIFEST_BYTES_MAX)
    const { bytesRead } = await file.read(buffer, 0, MANIFEST_BYTES_MAX, 0)
    return buffer.toString('utf8', 0, bytesRead)
  } finally {
    await file.close()
  }
}

/** @returns its size */
async function checkFile(folder: string, path: string, name: string): Promise<number> {
  try {
    const [inside, real] = await Promise.all([realpath(folder), realpath(path)])
    if (!real.startsWith(inside + sep))
      throw failed(`the weights of '${name}' lie outside of Ollama's folder`)
    const { size } = await stat(real)
    const file = await open(real, 'r')
    try {
      const { buffer } = await file.read(Buffer.alloc(MAGIC.length), 0, MAGIC.length, 0)
      if (buffer.toString('latin1') !== MAGIC) throw failed(`the weights of '${name}' are no GGUF`)
    } finally {
      await file.close()
    }
    return size
  } catch (error) {
    if (error instanceof ModelError) throw error
    throw failed(`the weights of '${name}' cannot be read`, error)
  }
}

function failed(message: string, cause?: unknown): ModelError {
  return new ModelError('MODEL_LOAD', message, cause === undefined ? {} : { cause })
}
