/**
 * The engine of `try`, built as `start` builds it: from the owner's own service where one runs that model, else
 * from the defaults. No key file is read and no node is asked. Tests: test/cli/try.ts.
 */
import { mkdir } from 'node:fs/promises'
import { resolve } from 'node:path'
import { Lifetime } from '../base/lifetime.ts'
import { silentLog } from '../base/log.ts'
import { parseConfig } from '../config/load.ts'
import type { Config } from '../config/schema.ts'
import type { ServiceConfig } from '../config/services.ts'
import type { InferenceBackend } from '../inference/backend.ts'
import { buildBackend } from '../node/backends.ts'
import { type Frame, SUPPLIER_DEFAULTS } from '../node/supplier.ts'
import { weightsFile } from '../node/weights.ts'
import type { Context } from './context.ts'
import { CliError } from './errors.ts'
import type { ModelsSettings } from './models-folder.ts'

export interface TriedEngine {
  readonly backend: InferenceBackend
  /** Of the weights; of several files the first. */
  readonly path: string
}

/** @param model as `services.backend.model` takes it. @throws ModelError, ConfigError */
export async function engineFor(
  context: Context,
  settings: ModelsSettings,
  model: string,
): Promise<TriedEngine> {
  const { config, service } = configFor(settings, model)
  // Nothing else has to be there.
  await mkdir(config.dataDir, { recursive: true })
  const frame: Frame = {
    config,
    signers: new Map(),
    deps: { ...context, log: silentLog(), pid: process.pid },
    life: new Lifetime(),
    options: SUPPLIER_DEFAULTS,
    startedAt: context.clock.monotonic(),
  }
  const weights = await weightsFile(frame, service)
  if (weights === undefined)
    throw new CliError('USAGE', `${model} runs in a server of its own, and not in this program`)
  const place = { environment: {}, vramMax: vramOf(service) }
  return { backend: await buildBackend(frame, service, weights, place), path: weights.path }
}

function configFor(
  settings: ModelsSettings,
  model: string,
): { config: Config; service: ServiceConfig } {
  const plain = parseConfig(
    JSON.stringify({
      network: 'local',
      operators: [{ keyFile: 'none' }],
      services: [{ id: 'try', backend: { kind: 'llamacpp', model } }],
    }),
    resolve('.'),
  )
  const { models, dataFolder: dataDir } = settings
  const config = { ...(settings.config ?? plain), models, dataDir }
  const own = config.services.find(({ backend }) => sameModel(backend, model))
  const [usual] = plain.services
  const service = own ?? usual
  if (service === undefined) throw new CliError('USAGE', `${model} cannot be tried`)
  // The daemon's own engine, and another try beside this one, are written down under their own names.
  return { config, service: { ...service, id: `try-${process.pid}` } }
}

function sameModel(backend: ServiceConfig['backend'], model: string): boolean {
  return backend.kind === 'llamacpp' && backend.model === model
}

function vramOf({ backend }: ServiceConfig): number | undefined {
  return backend.kind === 'llamacpp' ? backend.vramMax : undefined
}
