/**
 * `pokt-supplier models`: which fit this machine, which weights are here; fetch, look over, remove them. Data goes to stdout, how
 * far it is to stderr. Tests: test/cli/models.ts.
 */
import { Command } from 'commander'
import { bytesText } from '../models/disk.ts'
import { ModelError } from '../models/errors.ts'
import { bytesOf } from '../models/resolved.ts'
import { type Context, EXIT_HELP } from './context.ts'
import { addCommand } from './models-add.ts'
import {
  libraryOf,
  type ModelsDeps,
  type ModelsOptions,
  settingsOf,
  systemModelsDeps,
  withFolder,
} from './models-folder.ts'
import { ProgressLine } from './models-progress.ts'
import { recommendCommand } from './models-recommend.ts'
import { showCommand } from './models-show.ts'

export function modelsCommand(context: Context, deps: ModelsDeps = systemModelsDeps()): Command {
  return new Command('models')
    .description('models: what fits this machine, and the weights on this disk')
    .addCommand(recommendCommand(context, deps))
    .addCommand(showCommand(context, deps))
    .addCommand(listCommand(context))
    .addCommand(addCommand(context, deps))
    .addCommand(removeCommand(context))
    .addCommand(verifyCommand(context, deps))
    .addCommand(pruneCommand(context))
    .addHelpText('after', EXIT_HELP)
}

function listCommand(context: Context): Command {
  return withFolder(new Command('list'))
    .description('what is here')
    .action(async (options: ModelsOptions) => {
      const library = libraryOf(context, await settingsOf(context, options))
      const models = [...(await library.list())]
      if (options.json === true) {
        const rows = await Promise.all(
          models.map(async ([name, model]) => ({
            name,
            path: await library.pathOf(name),
            bytes: bytesOf(model),
            ...model,
          })),
        )
        context.print(JSON.stringify({ models: rows }, null, 2))
        return
      }
      const width = Math.max(4, ...models.map(([name]) => name.length))
      for (const [name, model] of models)
        context.print(
          `${name.padEnd(width)}  ${bytesText(bytesOf(model)).padStart(10)}  ${model.source}`,
        )
      if (models.length === 0)
        context.say('no model is here; add one with: pokt-supplier models add')
    })
}

function removeCommand(context: Context): Command {
  return withFolder(new Command('remove'))
    .description('remove a model; files that others use, or that lie elsewhere, stay')
    .argument('<name>', 'as models list shows it')
    .action(async (name: string, options: ModelsOptions) => {
      const library = libraryOf(context, await settingsOf(context, options))
      const bytes = await library.remove(name, context)
      if (options.json === true) context.print(JSON.stringify({ name, bytes }, null, 2))
      else context.print(`removed ${name}: ${bytesText(bytes)} are free again`)
    })
}

function verifyCommand(context: Context, deps: ModelsDeps): Command {
  return withFolder(new Command('verify'))
    .description('read the files again and hold them against their digests')
    .argument('[name]', 'one model; by default all')
    .action(async (name: string | undefined, options: ModelsOptions) => {
      const library = libraryOf(context, await settingsOf(context, options))
      const names = name === undefined ? [...(await library.list()).keys()] : [name]
      const all = []
      for (const one of names) {
        const line = new ProgressLine({ say: context.say, redraw: deps.redraw }, one)
        const onProgress = (bytes: number, total: number) => line.show({ bytes, total })
        const files = await library.verify(one, { signal: context.signal, onProgress })
        line.clear()
        all.push({ name: one, files })
        if (options.json === true) continue
        for (const { fileName, state } of files) context.print(`${one}  ${fileName}  ${state}`)
      }
      if (options.json === true) context.print(JSON.stringify({ models: all }, null, 2))
      const wrong = all.filter(({ files }) => files.some(({ state }) => state !== 'right'))
      if (wrong.length > 0)
        throw new ModelError(
          'MODEL_DAMAGED',
          `not as it was added: ${wrong.map((one) => one.name).join(', ')}`,
        )
    })
}

function pruneCommand(context: Context): Command {
  return withFolder(new Command('prune'))
    .description('remove files that no model uses, and downloads that nobody goes on with')
    .action(async (options: ModelsOptions) => {
      const library = libraryOf(context, await settingsOf(context, options))
      const bytes = await library.prune(context)
      if (options.json === true) context.print(JSON.stringify({ bytes }, null, 2))
      else context.print(`${bytesText(bytes)} are free again`)
    })
}
