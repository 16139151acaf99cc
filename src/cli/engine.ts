/**
 * `pokt-supplier engine`: which inference engine is there, which is used and why; get another.
 * Tests: test/cli/engine.ts.
 */
import { resolve } from 'node:path'
import { Command } from 'commander'
import { InferenceError } from '../inference/errors.ts'
import {
  type EngineKind,
  type EngineOptions,
  installEngine,
  kindsFor,
  showEngines,
  systemNpm,
  thisPlatform,
} from '../inference/llamacpp/install.ts'
import { type Context, configOf, EXIT_HELP } from './context.ts'
import { CliError } from './errors.ts'

interface Options {
  config?: string
  data?: string
  json?: boolean
}

export function engineCommand(context: Context): Command {
  const install = new Command('install')
    .description('put the binary of an engine into the data folder')
    .argument(
      '[kind]',
      `one of ${kindsFor(thisPlatform()).join(', ') || 'none on this platform'}`,
      'cpu',
    )
    .option('-c, --config <file>', 'the configuration that names the data folder')
    .option('--data <folder>', 'the data folder itself')
    .option('--json', 'one JSON object instead of text')
    .addHelpText(
      'after',
      '\nExamples:\n  pokt-supplier engine install vulkan\n  pokt-supplier engine install cuda --data ~/.pokt-supplier',
    )
    .action(async (kind: string, options: Options) => {
      const kinds = kindsFor(thisPlatform())
      const chosen = kinds.find((known) => known === kind) as EngineKind | undefined
      if (chosen === undefined) {
        throw new CliError(
          'USAGE',
          `there is no engine "${kind}" for ${thisPlatform()}; there is: ${kinds.join(', ') || 'none'}`,
        )
      }
      const where = await engineOptions(context, options)
      context.say(`installing the ${chosen} engine; this downloads up to a few hundred megabytes`)
      const npm = systemNpm(context.environment.npm)
      const copy = await installEngine(chosen, { npm }, where, context.signal)
      if (options.json === true) context.print(JSON.stringify(copy, null, 2))
      else
        context.print(
          `installed ${copy.version} with ${copy.kinds.join(', ')} in the ${copy.where}`,
        )
    })
  const show = new Command('show')
    .description('which engines were found, which one is used, and why')
    .option('-c, --config <file>', 'the configuration that names the data folder')
    .option('--data <folder>', 'the data folder itself')
    .option('--json', 'one JSON object instead of text')
    .addHelpText('after', '\nExample:\n  pokt-supplier engine show')
    .action(async (options: Options) => {
      const report = await showEngines(await engineOptions(context, options))
      if (options.json === true) context.print(JSON.stringify(report, null, 2))
      else {
        for (const { where, version, kinds } of report.copies) {
          context.print(
            `${where.padEnd(12)} ${version.padEnd(8)} ${kinds.join(', ') || 'no binary'}`,
          )
        }
        if (report.use !== undefined) context.print(report.why)
      }
      if (report.use === undefined) throw new InferenceError('ENGINE_MISSING', report.why)
    })
  return new Command('engine')
    .description('the inference engine that comes as a binary: show it, install another')
    .addCommand(show)
    .addCommand(install)
    .addHelpText('after', EXIT_HELP)
}

async function engineOptions(context: Context, options: Options): Promise<EngineOptions> {
  const dataFolder =
    options.data === undefined
      ? (await configOf(context, options.config)).dataDir
      : resolve(options.data)
  return { dataFolder, platform: thisPlatform() }
}
