/** The owner's own port, wired. Tested by test/e2e/inference.ts. */
import { readSecretFile } from '../base/files.ts'
import { LOCAL_SERVER_DEFAULTS, LocalServer } from '../inference/local.ts'
import type { InferenceParts } from './inference.ts'
import type { Frame } from './supplier.ts'

/** @returns undefined where the configuration has none. @throws BaseError for a key file */
export async function buildLocal(
  { config, deps }: Frame,
  { inference, services }: Pick<InferenceParts, 'inference' | 'services'>,
): Promise<LocalServer | undefined> {
  const { local } = config
  if (local === undefined) return undefined
  const { clock, log, randomBytes } = deps
  const { apiKeyFile, origins, hosts } = local
  const apiKey = apiKeyFile === undefined ? undefined : (await readSecretFile(apiKeyFile)).trim()
  return new LocalServer(
    { clock, log, randomBytes, inference },
    {
      ...LOCAL_SERVER_DEFAULTS,
      ...local.listen,
      origins,
      hostNames: hosts,
      services: services.map(({ serviceId, model, backend }) => ({
        serviceId,
        model: model ?? backend.info().model,
      })),
      ...(apiKey === undefined ? {} : { apiKey }),
    },
  )
}
