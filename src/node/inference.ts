/**
 * The services with their engines, wired. An engine is made when it is loaded, and anew for every load: weights
 * that were put right are read again, and what one service fails with does not keep the others from serving.
 * Tested by test/e2e.
 */
import type { Config } from '../config/schema.ts'
import type { ServiceConfig } from '../config/services.ts'
import type { BackendInfo } from '../inference/backend.ts'
import { Berth } from '../inference/berth.ts'
import { Openings } from '../inference/commitment.ts'
import { NO_FEATURES } from '../inference/features.ts'
import { Inference, type InferenceService } from '../inference/inference.ts'
import { selfTest } from '../inference/selftest.ts'
import { buildBackend, shownName } from './backends.ts'
import type { Frame } from './supplier.ts'
import { digestsOf, readWeights, type Weights } from './weights.ts'

export interface InferenceParts {
  readonly inference: Inference
  readonly services: readonly InferenceService[]
  /** For the owner, a sentence about each model that computes otherwise than its golden file says. */
  problems(): readonly string[]
}

/** What is known of a service's model since it was last loaded. */
interface Known {
  weights: Weights
  problem: string | undefined
}

export function buildInference(frame: Frame): InferenceParts {
  const { config, deps } = frame
  const known = new Map<string, Known>()
  const berths = new Map<string, Berth>()
  const services = config.services.map((service) => {
    const key = keyOf(service)
    const facts = known.get(key) ?? { weights: {}, problem: undefined }
    known.set(key, facts)
    const berth = berths.get(key) ?? buildBerth(frame, service, facts)
    berths.set(key, berth)
    return serviceOf(config, service, berth, facts)
  })
  const { clock, log, randomBytes } = deps
  const queueMax = Math.max(...config.services.map((service) => service.queueMax))
  const inference = new Inference({ clock, log, randomBytes, services }, { queueMax })
  const problems = () => [...known.values()].flatMap(({ problem }) => problem ?? [])
  return { inference, services, problems }
}

/** Services of the same weights and settings share an engine; other servers are asked for each alone. */
function keyOf({ id, backend }: ServiceConfig): string {
  return backend.kind === 'llamacpp' ? JSON.stringify(backend) : id
}

function serviceOf(
  config: Config,
  service: ServiceConfig,
  backend: Berth,
  facts: Known,
): InferenceService {
  const { id, modelName, answerTokensMax, choicesMax, strictModel, coalesce, manifest } = service
  return {
    serviceId: id,
    backend,
    ...(modelName === undefined ? {} : { model: modelName }),
    rules: {
      bodyBytesMax: config.relay.minedRequestMax,
      basePath: basePathOf(config),
      strictModel,
      choicesMax,
      ...(answerTokensMax === undefined ? {} : { answerTokensMax }),
    },
    coalesce,
    showManifest: manifest,
    tokenizer: () => facts.weights.tokenizer,
    ...(service.commit ? { openings: new Openings() } : {}),
  }
}

function buildBerth(frame: Frame, service: ServiceConfig, facts: Known): Berth {
  const { clock, log } = frame.deps
  const digests = digestsOf(frame)
  return new Berth(
    {
      clock,
      create: async (signal) => {
        facts.weights = await readWeights({ ...frame, signal }, service, digests)
        return await buildBackend(frame, service, facts.weights)
      },
      loaded: async (backend, signal) => {
        const { path, sha256 } = facts.weights
        facts.problem = undefined
        if (path === undefined || sha256 === undefined) return
        const told = log.child({ service: service.id })
        const options = { modelPath: path, sha256, signal }
        const { state, differences } = await selfTest({ backend, log: told }, options)
        if (state === 'failed')
          facts.problem = `the model of ${service.id} does not compute what its golden file says (differences: ${differences.length})`
      },
    },
    beforehand(service),
  )
}

/** What is said of a service before its engine was there for the first time. */
function beforehand(service: ServiceConfig): BackendInfo {
  const { kind, contextSize, slots } = service.backend
  return {
    kind,
    model: shownName(service),
    contextSize: contextSize === 'auto' ? 0 : contextSize,
    slots: slots === 'auto' ? 1 : slots,
    device: '',
    features: NO_FEATURES,
    fingerprint: '',
    facts: {},
  }
}

/** Gateways send the staked URL's own path along. */
function basePathOf({ stake }: Config): string {
  return stake === undefined ? '' : new URL(stake.url).pathname.replace(/\/+$/, '')
}
