/**
 * What the owner may do for more speed: an engine that fits the machine better than the one that runs. Tested by
 * test/node/advice.ts.
 */
import type { Environment } from '../config/environment.ts'
import type { Config } from '../config/schema.ts'
import { list } from '../gpu/drm.ts'
import type { GpuSample } from '../gpu/sample.ts'
import { bestEngine, readBestInput } from '../inference/llamacpp/best.ts'
import { thisPlatform } from '../inference/llamacpp/install.ts'

/** @returns a sentence that names the command; undefined where there is nothing better, or no card is wanted */
export async function engineAdvice(
  config: Pick<Config, 'dataDir' | 'services'>,
  environment: Pick<Environment, 'engine'>,
  gpus: readonly GpuSample[],
): Promise<string | undefined> {
  const wanted = config.services.some(
    ({ backend }) => backend.kind === 'llamacpp' && backend.gpu !== 'off',
  )
  if (!wanted || gpus.length === 0) return undefined
  const where = { dataFolder: config.dataDir, platform: thisPlatform() }
  const input = await readBestInput({ list, environment: environment.engine }, gpus, where)
  return bestEngine(input).advice
}
