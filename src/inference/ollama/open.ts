/**
 * Finds an Ollama server, has it load the model and sees what it can do.
 *
 * Tested by test/inference/ollama/backend.ts.
 */
import type { Clock } from '../../base/clock.ts'
import type { Lifetime } from '../../base/lifetime.ts'
import type { Log } from '../../base/log.ts'
import { withDeadline } from '../../base/retry.ts'
import { engineFailed, InferenceError } from '../errors.ts'
import { NO_FEATURES } from '../features.ts'
import type { Features } from '../request.ts'
import { UpstreamServer } from '../upstream/server.ts'
import { UpstreamServers } from '../upstream/servers.ts'
import { OllamaClient, type OllamaDetails, type PullProgress } from './client.ts'
import { detectOllama, isAtLeast } from './detect.ts'
import type { OllamaLimits, OllamaOptions } from './options.ts'
import type { OllamaDialect } from './requests.ts'

export interface OllamaDeps {
  readonly clock: Clock
  readonly log: Log
  /** At least 0 and below 1. */
  readonly random: () => number
  /** For `OLLAMA_HOST`. */
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly onPull?: (progress: PullProgress) => void
}

type Settings = OllamaOptions & OllamaLimits

/** Since when it gives log-probabilities. */
const LOGPROBS_SINCE = [0, 12, 11] as const

export interface Opened {
  readonly servers: UpstreamServers
  readonly client: OllamaClient
  readonly dialect: OllamaDialect
  readonly features: Features
  /** As Ollama states it. */
  readonly device: string
  /** Version and digest: what its answers depend on. */
  readonly told: string
}

/**
 * @param lifetime closes what is opened here
 * @throws InferenceError ENGINE_FAILED (retryable): nobody answers; MODEL_LOAD: no such model there
 */
export async function openOllama(
  deps: OllamaDeps,
  options: Settings,
  lifetime: Lifetime,
  signal: AbortSignal,
): Promise<Opened> {
  const { clock, log, environment } = deps
  const { url, detectTimeout, slots, model, eventBytesMax } = options
  const places = { environment, timeout: detectTimeout, ...(url === undefined ? {} : { url }) }
  const found = await detectOllama({ clock }, places, signal)
  if (found === undefined) throw engineFailed('no Ollama server answers')
  const basePath = new URL(found.url).pathname.replace(/\/+$/, '')
  const limits = { ...options, healthPath: `/${basePath}/api/version` }
  const server = new UpstreamServer(deps, { url: found.url, slots, model }, limits)
  const servers = new UpstreamServers(deps, [server])
  lifetime.own(servers, (own) => own.close())
  await servers.check(signal)
  const client = new OllamaClient(server, { eventBytesMax, basePath })
  const digest = await findModel(deps, client, options, signal)
  const details = await client.show(model, signal)
  const dialect = dialectOf(details, options)
  const device = await load(deps, client, details, dialect, options, signal)
  const features = { ...featuresOf(found.version, details), ...options.features }
  log.info({ version: found.version, digest, device }, 'Ollama found')
  return { servers, client, dialect, features, device, told: `${found.version} ${digest}` }
}

/** @returns the digest that Ollama states. @throws InferenceError MODEL_LOAD */
async function findModel(
  { log, onPull = () => {} }: OllamaDeps,
  client: OllamaClient,
  { model, pull, digest }: Settings,
  signal: AbortSignal,
): Promise<string> {
  const find = async () => (await client.list(signal)).find(({ name }) => name === tagged(model))
  let found = await find()
  if (found === undefined && pull) {
    log.info({ model }, 'Ollama downloads the model')
    await client.pull(model, signal, onPull)
    found = await find()
  }
  if (found === undefined) {
    const text = `Ollama has no model '${model}'; run: ollama pull ${model}`
    throw new InferenceError('MODEL_LOAD', text)
  }
  if (digest !== undefined && !found.digest.startsWith(digest.replace(/^sha256:/, '')))
    throw new InferenceError('MODEL_LOAD', `Ollama's '${model}' has another digest`, {
      data: { expected: digest, found: found.digest },
    })
  return found.digest
}

function dialectOf(details: OllamaDetails, options: Settings): OllamaDialect {
  const { model, keepAliveSeconds } = options
  const { capabilities, contextSize = Number.POSITIVE_INFINITY, template } = details
  const byEffort = template.includes('<|channel|>')
  return {
    model,
    contextSize: Math.min(options.contextSize, contextSize),
    thinks: !capabilities.includes('thinking') ? 'no' : byEffort ? 'by effort' : 'yes',
    ...(keepAliveSeconds === undefined ? {} : { keepAliveSeconds }),
  }
}

/** So that the first request does not wait for it. @returns where it computes, as Ollama states it */
async function load(
  { clock }: OllamaDeps,
  client: OllamaClient,
  { capabilities }: OllamaDetails,
  { model, contextSize, keepAliveSeconds }: OllamaDialect,
  { loadTimeout }: Settings,
  signal: AbortSignal,
): Promise<string> {
  if (!capabilities.includes('completion')) return 'ollama'
  const keep = keepAliveSeconds === undefined ? {} : { keep_alive: keepAliveSeconds }
  const request = { model, prompt: '', options: { num_ctx: contextSize }, ...keep }
  await withDeadline(clock, loadTimeout, signal, (limited) => client.touch(request, limited))
  const loaded = (await client.loaded(signal)).find(({ name }) => name === tagged(model))
  if (loaded === undefined) return 'ollama'
  const { gpuShare } = loaded
  return gpuShare >= 0.99 ? 'gpu' : gpuShare === 0 ? 'cpu' : 'cpu and gpu'
}

/** As lists show it. */
function tagged(model: string): string {
  return /:[^/]*$/.test(model) ? model : `${model}:latest`
}

function featuresOf(version: string, { capabilities }: OllamaDetails): Features {
  const has = (name: string) => capabilities.includes(name)
  const generates = has('completion')
  return {
    ...NO_FEATURES,
    chat: generates,
    completions: generates,
    suffix: generates && has('insert'),
    logprobs: generates && isAtLeast(version, LOGPROBS_SINCE),
    tools: generates && has('tools'),
    jsonObject: generates,
    jsonSchema: generates,
    embeddings: has('embedding'),
    thinking: generates && has('thinking'),
  }
}
