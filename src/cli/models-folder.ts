/**
 * What every command of `models` needs: the folders, the settings that go with them, and what it is given of
 * the world. Without a configuration the usual folder is used, so that a machine can be looked at before
 * anything is written. Tests: test/cli/models-settings.ts.
 */
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import type { Command } from 'commander'
import { ConfigError } from '../config/load.ts'
import { type ModelsConfig, models as modelsSection } from '../config/machine.ts'
import type { Config } from '../config/schema.ts'
import type { Catalog } from '../models/catalog.ts'
import { Library } from '../models/library.ts'
import { readCatalogue } from '../node/catalogue.ts'
import { type Hardware, readHardware, systemCards } from '../node/hardware.ts'
import { type Context, configOf } from './context.ts'

export interface ModelsOptions {
  config?: string
  data?: string
  json?: boolean
}

export interface ModelsDeps {
  /** @param extra the folder of the owner's own files */
  readonly catalogue: (extra: string | undefined) => Promise<Catalog>
  readonly hardware: (context: Context) => Promise<Hardware>
  /** Replaces the last line of the terminal; undefined where there is none. */
  readonly redraw: ((text: string) => void) | undefined
}

/** Of this process and this machine. */
export function systemModelsDeps(): ModelsDeps {
  const { stderr } = process
  return {
    catalogue: readCatalogue,
    hardware: ({ clock, environment, signal }) =>
      readHardware({ clock, cards: systemCards(clock, environment.session) }, signal),
    redraw: stderr.isTTY ? (text) => void stderr.write(`\r\u001b[2K${text}`) : undefined,
  }
}

export interface ModelsSettings {
  readonly dataFolder: string
  readonly models: ModelsConfig
  /** Absent: there is none, or the data folder was named instead. */
  readonly config?: Config
}

const DATA_FOLDER = '.pokt-supplier'

export function withFolder(command: Command): Command {
  return command
    .option('-c, --config <file>', 'the configuration that names the data folder')
    .option('--data <folder>', 'the data folder itself')
    .option('--json', 'one JSON object instead of text')
}

/** @throws ConfigError, but for a configuration that nobody named and that is not there */
export async function settingsOf(
  context: Context,
  options: Pick<ModelsOptions, 'config' | 'data'>,
): Promise<ModelsSettings> {
  const config = await foundConfig(context, options)
  const usual = config?.dataDir ?? join(homedir(), DATA_FOLDER)
  return {
    dataFolder: options.data === undefined ? usual : resolve(options.data),
    models: config?.models ?? modelsSection.parse(undefined),
    ...(config === undefined ? {} : { config }),
  }
}

async function foundConfig(
  context: Context,
  { config, data }: Pick<ModelsOptions, 'config' | 'data'>,
): Promise<Config | undefined> {
  if (config === undefined && data !== undefined) return undefined
  try {
    return await configOf(context, config)
  } catch (error) {
    const isNamed = (config ?? context.environment.configPath) !== undefined
    const isAbsent = error instanceof ConfigError && error.code === 'CONFIG_MISSING'
    if (isAbsent && !isNamed) return undefined
    throw error
  }
}

export function libraryOf({ clock }: Context, { dataFolder, models }: ModelsSettings): Library {
  return new Library({ clock }, models.folder ?? join(dataFolder, 'models'))
}
