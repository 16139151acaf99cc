/** What every command of `models` needs: the folder of the library, and what it is given of the world. */
import { join, resolve } from 'node:path'
import type { Command } from 'commander'
import { Library } from '../models/library.ts'
import { type Context, configOf } from './context.ts'

export interface ModelsOptions {
  config?: string
  data?: string
  json?: boolean
}

export interface ModelsDeps {
  /** The source of a model of the catalogue, as `parseSource` reads it. */
  readonly catalog: (name: string) => string | undefined
  /** Replaces the last line of the terminal; undefined where there is none. */
  readonly redraw: ((text: string) => void) | undefined
}

export function withFolder(command: Command): Command {
  return command
    .option('-c, --config <file>', 'the configuration that names the data folder')
    .option('--data <folder>', 'the data folder itself')
    .option('--json', 'one JSON object instead of text')
}

export async function dataFolderOf(context: Context, options: ModelsOptions): Promise<string> {
  return options.data === undefined
    ? (await configOf(context, options.config)).dataDir
    : resolve(options.data)
}

export function libraryOf({ clock }: Context, dataFolder: string): Library {
  return new Library({ clock }, join(dataFolder, 'models'))
}
