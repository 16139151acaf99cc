/**
 * The settings that commands for the owner of the machine need. They also work before there is a configuration:
 * then the defaults hold. Tests: test/cli/gpu.ts, test/cli/pause.ts.
 */
import { homedir } from 'node:os'
import { join } from 'node:path'
import { ConfigError } from '../config/load.ts'
import { type MachineConfig, machine } from '../config/machine.ts'
import type { Config } from '../config/schema.ts'
import { type Context, configOf } from './context.ts'

export interface OwnerSettings {
  readonly machine: MachineConfig
  readonly dataDir: string
  /** Absent: there is no configuration file, and these are the defaults. */
  readonly config?: Config
}

/** @param path as it was given. @throws ConfigError; one that was named must be there */
export async function ownerSettings(
  context: Context,
  path: string | undefined,
  home: string = homedir(),
): Promise<OwnerSettings> {
  try {
    const config = await configOf(context, path)
    return { machine: config.machine, dataDir: config.dataDir, config }
  } catch (error) {
    const isNamed = path !== undefined || context.environment.configPath !== undefined
    const isMissing = error instanceof ConfigError && error.code === 'CONFIG_MISSING'
    if (isNamed || !isMissing) throw error
    return { machine: machine.parse(undefined), dataDir: join(home, '.pokt-supplier') }
  }
}
