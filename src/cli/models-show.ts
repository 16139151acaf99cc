/**
 * `pokt-supplier models show`: what a model is, and what it would do on this machine. Of what is elsewhere the
 * heads of the files are read and nothing else; where nobody answers, what the catalogue knows has to do, and
 * that is said. Tests: test/cli/models-show.ts.
 */
import { join } from 'node:path'
import { Command } from 'commander'
import { TINY_MODEL } from '../config/load.ts'
import { tinyModelPath } from '../config/root.ts'
import type { CatalogEntry } from '../models/catalog.ts'
import { Digests } from '../models/digest.ts'
import { bytesText } from '../models/disk.ts'
import { ModelError } from '../models/errors.ts'
import type { FitWish } from '../models/fit.ts'
import { Http } from '../models/http.ts'
import { recommend } from '../models/recommend.ts'
import { bytesOf } from '../models/resolved.ts'
import type { ModelShape } from '../models/shape.ts'
import { resolveSource } from '../models/source-resolve.ts'
import { wattsOf } from '../models/speed.ts'
import { candidateOf } from '../node/catalogue.ts'
import type { Hardware } from '../node/hardware.ts'
import type { Context } from './context.ts'
import {
  type Estimate,
  economyOf,
  estimateJson,
  estimateOf,
  type PriceOptions,
  verdictText,
  whole,
  withPrice,
  workLines,
} from './models-fit.ts'
import {
  libraryOf,
  type ModelsDeps,
  type ModelsOptions,
  type ModelsSettings,
  settingsOf,
  withFolder,
} from './models-folder.ts'
import { shapeAt, shapeOnDisk } from './models-head.ts'
import { digestOf } from './models-known.ts'
import { type SourceFlags, sourcesOf, withSources } from './models-sources.ts'
import { catalogueName, targetOf, whyText } from './models-target.ts'
import { aboutLines, variantLines } from './models-words.ts'
import { Measured, measuredFor } from './try-measured.ts'

interface ShowOptions extends ModelsOptions, SourceFlags, PriceOptions {
  context?: number
  slots?: number
  gpuOnly?: boolean
}

export function showCommand(context: Context, deps: ModelsDeps): Command {
  const command = withFolder(new Command('show'))
    .description('what a model is, and what it would do on this machine')
    .argument('<model>', 'a name of the library or of the catalogue, a source, or a file')
    .option('--context <tokens>', 'of each slot; by default what has room', whole)
    .option('--slots <n>', 'answers at the same time; by default what has room', whole)
    .option('--gpu-only', 'say no where the processor would have to help')
  return withSources(withPrice(command))
    .addHelpText(
      'after',
      `
Nothing is downloaded but the head of the file.

Examples:
  pokt-supplier models show qwen3-8b
  pokt-supplier models show qwen3-8b:Q8_0 --context 16384 --slots 2 --relay-price 150upokt`,
    )
    .action((model: string, options: ShowOptions) => show(context, deps, model, options))
}

/** Larger files are not read for the sake of what was measured with them. */
const DIGEST_MAX = 1024 ** 3

interface Surroundings {
  readonly settings: ModelsSettings
  readonly hardware: Hardware
  /** Something was: only then digests are needed. */
  readonly isMeasured: boolean
}

/** What was found of a model. */
interface Subject {
  readonly title: string
  readonly entry?: CatalogEntry
  readonly why?: string
  readonly shape?: ModelShape
  readonly bytes?: number
  readonly path?: string
  /** Of weights that are here. */
  readonly sha256?: string
  readonly problem?: string
}

async function show(
  context: Context,
  deps: ModelsDeps,
  model: string,
  options: ShowOptions,
): Promise<void> {
  const settings = await settingsOf(context, options)
  const hardware = await deps.hardware(context)
  const runs = await new Measured(settings.dataFolder).read()
  const known = { settings, hardware, isMeasured: runs.length > 0 }
  const subject = await find(context, deps, known, model, options)
  const economy = economyOf(options)
  const input = {
    hardware,
    wish: wishOf(options),
    measured: ({ verdict }: Estimate['plan']) => measuredFor(runs, subject.sha256, verdict),
    ...(economy === undefined ? {} : { economy }),
  }
  const { shape } = subject
  const estimate = shape === undefined ? rough(subject, input) : estimateOf({ ...input, shape })
  const { verdict } = estimate.plan
  const needsCpu = options.gpuOnly === true && (verdict === 'cpu' || verdict === 'partial')
  if (options.json === true) return context.print(json(subject, estimate, needsCpu))
  for (const line of subjectLines(subject)) context.print(line)
  context.print('')
  context.print(
    `On this machine it ${needsCpu ? 'does not fit on cards alone' : verdictText(estimate)}`,
  )
  if (needsCpu) context.print(`  without --gpu-only it ${verdictText(estimate)}`)
  for (const line of estimate.plan.lines) context.print(`  ${line}`)
  const powerPrice = settings.config?.machine.powerPrice
  for (const line of workLines(estimate, options, powerPrice)) context.print(`  ${line}`)
}

function wishOf({ context, slots }: ShowOptions): FitWish {
  return {
    ...(context === undefined ? {} : { contextSize: context }),
    ...(slots === undefined ? {} : { slots }),
  }
}

async function find(
  context: Context,
  deps: ModelsDeps,
  { settings, hardware, isMeasured }: Surroundings,
  model: string,
  flags: SourceFlags,
): Promise<Subject> {
  const { signal } = context
  if (model === TINY_MODEL) {
    const path = tinyModelPath()
    const shape = await shapeOnDisk(path, signal)
    const about = { title: 'tiny: comes with the program', path, shape }
    if (!isMeasured) return about
    return { ...about, sha256: (await digestsIn(settings).of(path, { signal })).sha256 }
  }
  const catalog = await deps.catalogue(settings.models.catalogue)
  const library = libraryOf(context, settings)
  const here = await library.list()
  const added = here.get(model)
  if (added !== undefined) {
    const path = await library.pathOf(model)
    const entry = catalog.find(added.catalogue ?? '')
    return {
      title: `${model} from ${added.source}`,
      path,
      bytes: bytesOf(added),
      sha256: digestOf(added),
      shape: await shapeOnDisk(path, signal),
      ...(entry === undefined ? {} : { entry }),
    }
  }
  const target = targetOf(model, { catalog, here, hardware })
  const { entry, why } = target
  const about = {
    title: entry === undefined ? model : catalogueName(entry),
    ...(entry === undefined ? {} : { entry }),
    ...(why === undefined ? {} : { why }),
  }
  await using http = new Http({ clock: context.clock })
  try {
    const asked = await sourcesOf(context, settings, flags)
    const resolved = await resolveSource(http, target.source, asked, signal)
    const shape = await shapeAt(http, resolved, signal)
    const bytes = bytesOf(resolved)
    const path = resolved.files[0]?.place
    const isQuick = isMeasured && path !== undefined && bytes <= DIGEST_MAX
    const digest = isQuick ? await digestsIn(settings).of(path, { signal }) : undefined
    return {
      ...about,
      bytes,
      shape,
      ...(path === undefined ? {} : { path }),
      ...(digest === undefined ? {} : { sha256: digest.sha256 }),
    }
  } catch (error) {
    signal.throwIfAborted()
    // What is wrong with a source that somebody wrote is his to correct.
    if (entry === undefined || !(error instanceof ModelError)) throw error
    return { ...about, problem: error.message }
  }
}

function digestsIn({ dataFolder }: ModelsSettings): Digests {
  return new Digests({ cacheFile: join(dataFolder, 'digests.json') })
}

type Input = Omit<Parameters<typeof estimateOf>[0], 'shape'>

/** By what the catalogue says. */
function rough({ entry }: Subject, { hardware, wish, economy }: Input): Estimate {
  const { machine, memory } = hardware
  const model = entry === undefined ? undefined : { ...entry.model, variants: [entry.variant] }
  const candidates = model === undefined ? [] : [candidateOf(model)]
  const [found] = recommend({
    machine,
    memory,
    candidates,
    ...(wish === undefined ? {} : { wish }),
    ...(economy === undefined ? {} : { economy }),
  })
  if (found === undefined)
    throw new ModelError('MODEL_LOAD', 'nothing is known of the size of this model')
  return { ...found, watts: wattsOf(found.plan, machine) }
}

function subjectLines({ title, entry, why, shape, bytes, path, problem }: Subject): string[] {
  const lines = entry === undefined ? [title] : [...aboutLines(entry), '  variants:']
  if (entry !== undefined) lines.push(...variantLines(entry, entry.variant.quantisation))
  if (entry !== undefined && why !== undefined) lines.push(`  * ${whyText(entry, why)}`)
  if (shape !== undefined) {
    const { architecture, quantisation, layers, contextTrained } = shape
    const size = bytes === undefined ? '' : `, ${bytesText(bytes)}`
    lines.push(
      `  head: ${architecture}, ${quantisation}, ${layers.length} layers, trained for ${contextTrained} tokens${size}`,
    )
    if (entry === undefined)
      lines.push(
        `  ${shape.isEmbeddingOnly ? 'makes vectors' : shape.hasTools ? 'its template knows tools' : 'its template knows no tools'}; its licence stands where it is from`,
      )
  }
  if (path !== undefined) lines.push(`  here: ${path}`)
  if (problem !== undefined)
    lines.push(
      `  its head could not be read: ${problem}`,
      '  what follows is estimated from the catalogue',
    )
  return lines
}

function json(subject: Subject, estimate: Estimate, needsCpu: boolean): string {
  const { title, entry, why, bytes, path, problem, shape } = subject
  const about =
    entry === undefined
      ? {}
      : {
          family: entry.family.family,
          author: entry.family.author,
          variant: entry.variant.quantisation,
          model: entry.model,
        }
  return JSON.stringify(
    {
      title,
      ...about,
      why,
      bytes,
      path,
      problem,
      isEstimated: shape === undefined,
      fits: estimate.plan.verdict !== 'no' && !needsCpu,
      ...estimateJson(estimate),
    },
    null,
    2,
  )
}
