/**
 * A model of Ollama: in place where an Ollama of this machine has it, else from its registry.
 *
 * `GET /v2/NAMESPACE/MODEL/manifests/TAG` lists layers with digest and size, the weights are the one of type
 * `…image.model`; `/v2/NAMESPACE/MODEL/blobs/sha256:HEX` is the file. Tested by test/models/source-resolve.ts.
 */
import { z } from 'zod'
import { ModelError } from './errors.ts'
import { drop, type Http, refusalOf } from './http.ts'
import { ollamaBlob } from './ollama-blobs.ts'
import type { Resolved, ResolvedFile } from './resolved.ts'
import { isSafeName, plainText, safeFileName, shown } from './source-names.ts'

export const OLLAMA_REGISTRY = 'https://registry.ollama.ai'

export interface OllamaOptions {
  /** Of names that name none. */
  readonly registry: string
  /** As of `ollamaFolders`. */
  readonly folders: readonly string[]
}

const TYPE = 'application/vnd.ollama.image.'
const MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json'
const Manifest = z.object({
  layers: z.array(
    z.object({
      mediaType: z.string(),
      digest: z.string().regex(/^sha256:[0-9a-f]{64}$/),
      size: z.int().min(0),
    }),
  ),
})
type Layer = z.infer<typeof Manifest>['layers'][number]
const LICENSE_BYTES_MAX = 256 * 1024

/** @throws ModelError SOURCE_*; `signal.reason` */
export async function resolveOllama(
  http: Http,
  { registry, folders }: OllamaOptions,
  name: string,
  signal: AbortSignal,
): Promise<Omit<Resolved, 'name'>> {
  const source = `ollama:${name}`
  const fileName = fileNameOf(name)
  const here = await inPlace(folders, name, fileName)
  if (here !== undefined) return { source, files: [here] }
  const { base, path, tag } = addressOf(name, registry)
  const text = await readText(http, `${base}/v2/${path}/manifests/${tag}`, name, signal)
  const layers = layersOf(text, name)
  const blob = ({ digest }: Layer) => `${base}/v2/${path}/blobs/${digest}`
  const weights = weightsOf(layers, name)
  const license = layers.find(({ mediaType }) => mediaType === `${TYPE}license`)
  const words =
    license === undefined ? undefined : await licenseOf(http, blob(license), license, signal)
  const sha256 = weights.digest.slice('sha256:'.length)
  return {
    source,
    revision: `sha256:${sha256}`,
    files: [{ fileName, bytes: weights.size, sha256, urls: [blob(weights)] }],
    ...(words === undefined ? {} : { license: words }),
  }
}

async function inPlace(
  folders: readonly string[],
  name: string,
  fileName: string,
): Promise<ResolvedFile | undefined> {
  for (const folder of folders) {
    try {
      const { path, sha256, bytes } = await ollamaBlob(folder, name)
      return { fileName, bytes, sha256, urls: [], place: path }
    } catch (error) {
      // Not there, or not whole there: the registry has it.
      if (!(error instanceof ModelError)) throw error
    }
  }
  return undefined
}

function fileNameOf(name: string): string {
  const { model, tag } = partsOf(name)
  return safeFileName(`${model}-${tag}.gguf`)
}

function partsOf(name: string): { host?: string; namespace: string; model: string; tag: string } {
  const colon = name.lastIndexOf(':')
  const isTagged = colon > name.lastIndexOf('/')
  const parts = (isTagged ? name.slice(0, colon) : name).split('/')
  const tag = isTagged ? name.slice(colon + 1) : 'latest'
  const [model = '', namespace = 'library', host, ...more] = parts.toReversed()
  if (more.length > 0 || ![model, namespace, tag].every(isSafeName))
    throw new ModelError('SOURCE_NAME', `${shown(name)} is no name of a model of Ollama`)
  return { namespace, model, tag, ...(host === undefined ? {} : { host }) }
}

function addressOf(name: string, registry: string): { base: string; path: string; tag: string } {
  const { host, namespace, model, tag } = partsOf(name)
  const base = host === undefined ? registry.replace(/\/+$/, '') : `https://${host}`
  return { base, path: `${namespace}/${model}`, tag }
}

async function readText(
  http: Http,
  url: string,
  name: string,
  signal: AbortSignal,
): Promise<string> {
  const reply = await http.request(url, { headers: { accept: MANIFEST } }, signal)
  if (reply.status === 200) return await http.text(reply, signal)
  drop(reply)
  throw refusalOf(reply, `ollama:${name}`)
}

function layersOf(text: string, name: string): Layer[] {
  try {
    return Manifest.parse(JSON.parse(text)).layers
  } catch {
    throw unsafe(`the manifest of ollama:${name} cannot be read`)
  }
}

function weightsOf(layers: readonly Layer[], name: string): Layer {
  if (layers.some(({ mediaType }) => mediaType === `${TYPE}adapter`))
    throw unsafe(
      `ollama:${name} has an adapter beside its weights, and is not the model without it`,
    )
  const [weights, ...more] = layers.filter(({ mediaType }) => mediaType === `${TYPE}model`)
  if (weights === undefined) throw unsafe(`ollama:${name} has no weights`)
  if (more.length > 0) throw unsafe(`ollama:${name} has its weights in several files`)
  return weights
}

/** Its first line; a licence that does not come is no reason to go without the model. */
async function licenseOf(
  http: Http,
  url: string,
  { size }: Layer,
  signal: AbortSignal,
): Promise<string | undefined> {
  if (size > LICENSE_BYTES_MAX) return undefined
  try {
    const text = await readText(http, url, 'the licence', signal)
    const line = text.split('\n').find((one) => one.trim() !== '')
    return line === undefined ? undefined : plainText(line)
  } catch {
    signal.throwIfAborted()
    return undefined
  }
}

function unsafe(message: string): ModelError {
  return new ModelError('SOURCE_UNSAFE', message)
}
