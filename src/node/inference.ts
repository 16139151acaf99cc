/** The engines, one backend for each service, wired. */
import { join } from 'node:path'
import { readSecretFile } from '../base/files.ts'
import { TINY_MODEL } from '../config/load.ts'
import { tinyModelPath } from '../config/root.ts'
import type { Config, ServiceConfig } from '../config/schema.ts'
import type { InferenceBackend } from '../inference/backend.ts'
import { Inference, type InferenceService } from '../inference/inference.ts'
import { LlamaCppBackend } from '../inference/llamacpp/host.ts'
import { showEngines, thisPlatform } from '../inference/llamacpp/install.ts'
import { LLAMACPP_DEFAULTS } from '../inference/llamacpp/options.ts'
import { UpstreamBackend } from '../inference/upstream.ts'
import type { Frame } from './supplier.ts'

/** The tiny model was trained on short texts and answers sums best without chance. */
const TINY = { contextSize: 256, defaults: { temperature: 0, topP: 1, topK: 0, minP: 0 } }

export async function buildInference(frame: Frame): Promise<Inference> {
  const { config, deps } = frame
  const services: InferenceService[] = []
  for (const service of config.services) {
    const backend = await buildBackend(frame, service)
    const model = service.modelName
    services.push({
      serviceId: service.id,
      backend,
      ...(model === undefined ? {} : { model }),
      rules: { bodyBytesMax: config.relay.minedRequestMax, basePath: basePathOf(config) },
    })
  }
  const { clock, log, randomBytes } = deps
  const queueMax = Math.max(...config.services.map((service) => service.queueMax))
  return new Inference({ clock, log, randomBytes, services }, { queueMax })
}

/** Gateways send the staked URL's own path along. */
function basePathOf({ stake }: Config): string {
  return stake === undefined ? '' : new URL(stake.url).pathname.replace(/\/+$/, '')
}

async function buildBackend(frame: Frame, service: ServiceConfig): Promise<InferenceBackend> {
  const { clock, log, random, environment } = frame.deps
  const { backend, modelName, id } = service
  if (backend.kind === 'upstream') {
    const { url, model, slots, contextSize, apiKeyFile } = backend
    const token = apiKeyFile === undefined ? undefined : (await readSecretFile(apiKeyFile)).trim()
    const headers = token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } }
    return new UpstreamBackend({ clock }, { url, model, slots, contextSize, ...headers })
  }
  const tiny = backend.model === TINY_MODEL
  const engines = await showEngines({ dataFolder: frame.config.dataDir, platform: thisPlatform() })
  return new LlamaCppBackend(
    { clock, log, random },
    {
      ...LLAMACPP_DEFAULTS,
      model: modelName ?? (tiny ? 'tiny-chat' : backend.model),
      modelPath: tiny ? tinyModelPath() : backend.model,
      contextSize: tiny ? Math.min(backend.contextSize, TINY.contextSize) : backend.contextSize,
      ...(tiny ? { defaults: TINY.defaults } : {}),
      slots: backend.slots,
      gpu: backend.gpu === 'off' ? false : backend.gpu,
      ...(backend.maxThreads === undefined ? {} : { threadsMax: backend.maxThreads }),
      ...(engines.use === undefined ? {} : { library: engines.use.url }),
      environment: environment.engine,
      recordFile: join(frame.config.dataDir, `engine-${id}.json`),
      queueMax: service.queueMax,
    },
  )
}
