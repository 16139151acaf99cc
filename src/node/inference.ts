/** The services with their engines, wired. */
import type { Config } from '../config/schema.ts'
import { Openings } from '../inference/commitment.ts'
import { Inference, type InferenceService } from '../inference/inference.ts'
import { selfTest } from '../inference/selftest.ts'
import { buildBackend } from './backends.ts'
import type { Frame } from './supplier.ts'
import { digestsOf, readWeights, type Weights } from './weights.ts'

export interface InferenceParts {
  readonly inference: Inference
  readonly services: readonly InferenceService[]
  /** By service. */
  readonly weights: ReadonlyMap<string, Weights>
}

/** @throws BaseError, ConfigError, InferenceError for files that cannot be read; `signal.reason` */
export async function buildInference(frame: Frame): Promise<InferenceParts> {
  const { config, deps, options } = frame
  const services: InferenceService[] = []
  const weights = new Map<string, Weights>()
  const digests = digestsOf(frame)
  for (const service of config.services) {
    const { id, modelName, answerTokensMax, choicesMax, strictModel, coalesce, manifest } = service
    const known = options.serve ? await readWeights(frame, service, digests) : {}
    weights.set(id, known)
    services.push({
      serviceId: id,
      backend: await buildBackend(frame, service, known),
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
      ...(known.tokenizer === undefined ? {} : { tokenizer: known.tokenizer }),
      ...(service.commit ? { openings: new Openings() } : {}),
    })
  }
  const { clock, log, randomBytes } = deps
  const queueMax = Math.max(...config.services.map((service) => service.queueMax))
  const inference = new Inference({ clock, log, randomBytes, services }, { queueMax })
  return { inference, services, weights }
}

/**
 * Holds every model that has a golden file against it.
 * @returns for the owner, a sentence about each service whose model computes otherwise
 */
export async function selfTests(
  { deps, life }: Frame,
  { services, weights }: InferenceParts,
): Promise<readonly string[]> {
  const problems: string[] = []
  for (const { serviceId, backend } of services) {
    const { path, sha256 } = weights.get(serviceId) ?? {}
    if (path === undefined || sha256 === undefined) continue
    const log = deps.log.child({ service: serviceId })
    const options = { modelPath: path, sha256, signal: life.signal }
    const { state, differences } = await selfTest({ backend, log }, options)
    if (state === 'failed')
      problems.push(
        `the model of ${serviceId} does not compute what its golden file says (differences: ${differences.length})`,
      )
  }
  return problems
}

/** Gateways send the staked URL's own path along. */
function basePathOf({ stake }: Config): string {
  return stake === undefined ? '' : new URL(stake.url).pathname.replace(/\/+$/, '')
}
