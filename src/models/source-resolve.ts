/** Asks a source what it has: of every kind the one question. Tested by test/models/source-resolve.ts. */
import { unreachable } from '../base/errors.ts'
import { ModelError } from './errors.ts'
import type { Http } from './http.ts'
import type { Resolved } from './resolved.ts'
import type { Source } from './source.ts'
import { HUGGING_FACE, resolveHuggingFace } from './source-huggingface.ts'
import { modelName, nameFrom } from './source-names.ts'
import { OLLAMA_REGISTRY, resolveOllama } from './source-ollama.ts'
import { IPFS_GATEWAYS, resolveFile, resolveIpfs, resolveUrl } from './source-plain.ts'

export interface ResolveOptions {
  /** Of Hugging Face, or of a mirror. */
  readonly endpoint: string
  /** Of Hugging Face; goes to the endpoint's own host only. */
  readonly token?: string
  readonly ollamaRegistry: string
  /** Where an Ollama of this machine keeps its models. */
  readonly ollamaFolders: readonly string[]
  readonly ipfsGateways: readonly string[]
  /** What the file must be, in hex. */
  readonly sha256?: string
  /** What the model shall be called; by default by its file. */
  readonly name?: string
  /** What relative paths are relative to. */
  readonly folder: string
}

export const RESOLVE_DEFAULTS = {
  endpoint: HUGGING_FACE,
  ollamaRegistry: OLLAMA_REGISTRY,
  ollamaFolders: [],
  ipfsGateways: IPFS_GATEWAYS,
} satisfies Partial<ResolveOptions>

/** @throws ModelError SOURCE_*, MODEL_NAME, DOWNLOAD_BROKEN; `signal.reason` */
export async function resolveSource(
  http: Http,
  source: Source,
  options: ResolveOptions,
  signal: AbortSignal,
): Promise<Resolved> {
  if (options.name !== undefined) modelName(options.name)
  const found = await ask(http, source, options, signal)
  const name = options.name ?? nameFrom(found.files[0]?.fileName ?? '')
  return { name, ...withDigest(found, options.sha256) }
}

function ask(
  http: Http,
  source: Source,
  options: ResolveOptions,
  signal: AbortSignal,
): Promise<Omit<Resolved, 'name'>> {
  const { endpoint, token, ollamaRegistry, ollamaFolders, ipfsGateways, folder } = options
  switch (source.kind) {
    case 'huggingface': {
      const asked = { endpoint, ...(token === undefined ? {} : { token }) }
      return resolveHuggingFace(http, asked, source, signal)
    }
    case 'ollama': {
      const where = { registry: ollamaRegistry, folders: ollamaFolders }
      return resolveOllama(http, where, source.name, signal)
    }
    case 'url':
      return resolveUrl(http, source.url, source.sha256, signal)
    case 'ipfs':
      return resolveIpfs(http, ipfsGateways, source, signal)
    case 'file':
      return resolveFile(source.path, folder, undefined)
    default:
      return unreachable(source)
  }
}

/** What the owner says must be what the source says, where both do. */
function withDigest(
  found: Omit<Resolved, 'name'>,
  sha256: string | undefined,
): Omit<Resolved, 'name'> {
  if (sha256 === undefined) return found
  const [file, ...more] = found.files
  if (file === undefined || more.length > 0)
    throw new ModelError('SOURCE_NAME', 'one digest cannot speak for several files')
  if (file.sha256 !== undefined && file.sha256 !== sha256)
    throw new ModelError(
      'DIGEST_CHANGED',
      `the source says that ${file.fileName} has the sha256 ${file.sha256}, and not ${sha256}`,
    )
  return { ...found, files: [{ ...file, sha256 }] }
}
