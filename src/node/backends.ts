/** One engine for a service, as its configuration says. */
import { readFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { readSecretFile } from '../base/files.ts'
import { ConfigError, OLLAMA_PREFIX, TINY_MODEL } from '../config/load.ts'
import type { BackendConfig, ServiceConfig } from '../config/services.ts'
import type { InferenceBackend } from '../inference/backend.ts'
import { LlamaCppBackend } from '../inference/llamacpp/host.ts'
import { showEngines, thisPlatform } from '../inference/llamacpp/install.ts'
import { LLAMACPP_DEFAULTS } from '../inference/llamacpp/options.ts'
import { OllamaBackend } from '../inference/ollama/backend.ts'
import { UpstreamBackend } from '../inference/upstream/backend.ts'
import type { UpstreamEndpoint } from '../inference/upstream/options.ts'
import { authorOf } from './author.ts'
import type { Frame } from './supplier.ts'
import type { Weights } from './weights.ts'

/** The tiny model was trained on short texts and answers sums best without chance. */
const TINY = { contextSize: 256, defaults: { temperature: 0, topP: 1, topK: 0, minP: 0 } }

type Backend<K extends BackendConfig['kind']> = Extract<BackendConfig, { kind: K }>

/** What of the machine an engine is given. */
export interface EnginePlace {
  /** Which cards it sees. */
  readonly environment: Readonly<Record<string, string>>
  /** Bytes of graphics memory; undefined: what is free. */
  readonly vramMax: number | undefined
}

/** What the model is called in public where the owner gave it no name: never a path of this machine. */
export function shownName({ modelName, backend }: ServiceConfig): string {
  if (modelName !== undefined) return modelName
  const { kind, model } = backend
  if (kind !== 'llamacpp') return model
  if (model === TINY_MODEL) return 'tiny-chat'
  if (model.startsWith(OLLAMA_PREFIX)) return model.slice(OLLAMA_PREFIX.length)
  return basename(model).replace(/(-00001-of-\d{5})?\.gguf$/i, '')
}

/** @throws BaseError for a key file, ConfigError for a template that cannot be read */
export async function buildBackend(
  frame: Frame,
  service: ServiceConfig,
  weights: Weights,
  place: EnginePlace,
): Promise<InferenceBackend> {
  const { backend } = service
  switch (backend.kind) {
    case 'llamacpp':
      return await buildLlamaCpp(frame, service, backend, { ...weights, ...place })
    case 'ollama':
      return buildOllama(frame, backend)
    case 'upstream':
      return await buildUpstream(frame, backend)
  }
}

async function buildLlamaCpp(
  { config, deps }: Frame,
  service: ServiceConfig,
  backend: Backend<'llamacpp'>,
  { path = backend.model, sha256, environment: cards, vramMax }: Weights & EnginePlace,
): Promise<LlamaCppBackend> {
  const { clock, log, random, environment } = deps
  const { id, queueMax } = service
  const { maxThreads, sampling } = backend
  const tiny = backend.model === TINY_MODEL
  const engines = await showEngines({ dataFolder: config.dataDir, platform: thisPlatform() })
  const author = await authorOf({ config, deps }, backend)
  const { thinkingTokensMax = author.thinkingTokensMax } = backend
  const defaults = sampling ?? (tiny ? TINY.defaults : author.defaults)
  const chatTemplate = await templateOf(backend)
  return new LlamaCppBackend(
    { clock, log, random },
    {
      ...LLAMACPP_DEFAULTS,
      model: shownName(service),
      modelPath: path,
      ...(sha256 === undefined ? {} : { modelSha256: sha256 }),
      contextSize: tiny ? tinyContext(backend.contextSize) : backend.contextSize,
      slots: backend.slots,
      gpu: backend.gpu === 'off' ? false : backend.gpu,
      exclusive: backend.deterministic === 'exclusive',
      ...(defaults === undefined ? {} : { defaults }),
      ...(chatTemplate === undefined ? {} : { chatTemplate }),
      ...(thinkingTokensMax === undefined ? {} : { thinkingTokensMax }),
      ...(vramMax === undefined ? {} : { vramMax }),
      ...(maxThreads === undefined ? {} : { threadsMax: maxThreads }),
      ...(engines.use === undefined ? {} : { library: engines.use.url }),
      environment: { ...environment.engine, ...cards },
      recordFile: engineRecord(config, id),
      queueMax,
    },
  )
}

/** Where a service's engine is written down while it runs. */
export function engineRecord({ dataDir }: Pick<Frame['config'], 'dataDir'>, id: string): string {
  return join(dataDir, `engine-${id}.json`)
}

function tinyContext(wanted: number | 'auto'): number {
  return wanted === 'auto' ? TINY.contextSize : Math.min(wanted, TINY.contextSize)
}

async function templateOf({ chatTemplate }: Backend<'llamacpp'>): Promise<string | undefined> {
  if (chatTemplate === undefined) return undefined
  try {
    return await readFile(chatTemplate, 'utf8')
  } catch (cause) {
    throw new ConfigError('CONFIG_UNREADABLE', `cannot read the template ${chatTemplate}`, {
      cause,
    })
  }
}

function buildOllama({ deps }: Frame, backend: Backend<'ollama'>): OllamaBackend {
  const { clock, log, random, environment } = deps
  const { model, slots, contextSize, pull, unload, url, digest } = backend
  return new OllamaBackend(
    { clock, log, random, environment: environment.ollama },
    {
      model,
      slots,
      contextSize,
      pull,
      unload,
      ...(url === undefined ? {} : { url }),
      ...(digest === undefined ? {} : { digest }),
    },
  )
}

async function buildUpstream(
  { deps }: Frame,
  backend: Backend<'upstream'>,
): Promise<UpstreamBackend> {
  const { clock, log, random } = deps
  const { model, contextSize, idleTimeout, tokensPerHour, tokensPerDay } = backend
  const servers = backend.servers ?? (backend.url === undefined ? [] : [{ url: backend.url }])
  const endpoints: UpstreamEndpoint[] = []
  for (const { apiKeyFile = backend.apiKeyFile, slots = backend.slots, ...server } of servers) {
    const token = apiKeyFile === undefined ? undefined : (await readSecretFile(apiKeyFile)).trim()
    endpoints.push({
      url: server.url,
      slots,
      ...(server.model === undefined ? {} : { model: server.model }),
      ...(token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } }),
    })
  }
  const tokensMax = {
    ...(tokensPerHour === undefined ? {} : { perHour: tokensPerHour }),
    ...(tokensPerDay === undefined ? {} : { perDay: tokensPerDay }),
  }
  const features = Object.fromEntries([
    ...backend.has.map((name) => [name, true]),
    ...backend.lacks.map((name) => [name, false]),
  ])
  const { extensions } = backend
  return new UpstreamBackend(
    { clock, log, random },
    {
      ...{ endpoints, model, contextSize, idleTimeout, tokensMax, features },
      ...(extensions === undefined ? {} : { extensions }),
    },
  )
}
