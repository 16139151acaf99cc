/**
 * `pokt-supplier models recommend`: which models of the catalogue to serve on this machine, and why. Nothing is
 * asked of anybody: sizes are those of the catalogue, or of the files where they are here. Tests:
 * test/cli/models-recommend.ts.
 */
import { Command, Option } from 'commander'
import type { Catalog, CatalogModel } from '../models/catalog.ts'
import type { Kind } from '../models/catalog-schema.ts'
import { bytesText } from '../models/disk.ts'
import { type Recommendation, recommend } from '../models/recommend.ts'
import { wattsOf } from '../models/speed.ts'
import { candidateOf } from '../node/catalogue.ts'
import type { Hardware } from '../node/hardware.ts'
import type { Context } from './context.ts'
import {
  economyOf,
  estimateJson,
  number,
  type PriceOptions,
  WHERE_TEXT,
  withPrice,
} from './models-fit.ts'
import {
  libraryOf,
  type ModelsDeps,
  type ModelsOptions,
  settingsOf,
  withFolder,
} from './models-folder.ts'
import { knownHere } from './models-known.ts'
import { licenceMark } from './models-words.ts'
import { Measured } from './try-measured.ts'

interface RecommendOptions extends ModelsOptions, PriceOptions {
  kind?: Kind
  all?: boolean
}

const KINDS: readonly Kind[] = ['chat', 'reasoning', 'code', 'embedding']
const SHOWN = 5

export function recommendCommand(context: Context, deps: ModelsDeps): Command {
  const command = withFolder(new Command('recommend'))
    .description('which models of the catalogue suit this machine, the best first')
    .addOption(
      new Option('--kind <kind>', 'of this kind only; without it all but embedding').choices(KINDS),
    )
    .option('--all', 'all of them, with those that do not fit or may not be sold')
  return withPrice(command)
    .addHelpText(
      'after',
      `
Sizes are those of the catalogue, estimated where it has none; \`models show NAME\` reads the
file's own head. What fits on cards comes first; with --relay-price, what brings most. Models whose
licence forbids to sell their answers are left out unless --all is there.

Examples:
  pokt-supplier models recommend
  pokt-supplier models recommend --kind code --all`,
    )
    .action((options: RecommendOptions) => run(context, deps, options))
}

interface Row {
  readonly model: CatalogModel
  readonly found: Recommendation
}

async function run(context: Context, deps: ModelsDeps, options: RecommendOptions): Promise<void> {
  const settings = await settingsOf(context, options)
  const hardware = await deps.hardware(context)
  const catalog = await deps.catalogue(settings.models.catalogue)
  const runs = await new Measured(settings.dataFolder).read()
  const library = libraryOf(context, settings)
  const known = await knownHere(library, { runs, hardware, signal: context.signal })
  const models = wanted(catalog, options)
  const economy = economyOf(options)
  const ranked = recommend({
    machine: hardware.machine,
    memory: hardware.memory,
    candidates: models.map((model) => candidateOf(model, known(model))),
    ...(economy === undefined ? {} : { economy }),
  })
  const rows = (economy === undefined ? cardsFirst(ranked) : ranked).flatMap((found): Row[] => {
    const model = models.find(({ name }) => name === found.model)
    return model === undefined ? [] : [{ model, found }]
  })
  const fitting = rows.filter(({ found }) => found.plan.verdict !== 'no')
  const shown = options.all === true ? rows : fitting.slice(0, SHOWN)
  if (options.json === true) return context.print(json(hardware, shown))
  for (const line of machineLines(hardware)) context.say(line)
  for (const line of table(shown)) context.print(line)
  for (const line of nextLines(rows, fitting, options)) context.say(line)
}

/** Slower answers make callers go away. */
const DECODE_LEAST = 8

/** What leaves the processor and its memory to the owner, where it is fast enough. */
function cardsFirst(ranked: readonly Recommendation[]): Recommendation[] {
  const isFirst = ({ plan, speed }: Recommendation) =>
    (plan.verdict === 'gpu' || plan.verdict === 'split') && (speed?.decode ?? 0) >= DECODE_LEAST
  return [...ranked.filter(isFirst), ...ranked.filter((one) => !isFirst(one))]
}

function wanted({ families }: Catalog, { kind, all = false }: RecommendOptions): CatalogModel[] {
  return families
    .flatMap(({ models }) => models)
    .filter(({ kinds }) =>
      kind === undefined ? !kinds.includes('embedding') : kinds.includes(kind),
    )
    .filter(({ licence }) => all || licence.commercial !== 'no')
}

export function machineLines({ machine, cpu, memoryTotal, problems }: Hardware): string[] {
  const cards = machine.gpus.map(
    ({ name, free, total }) => `${name}, ${bytesText(free)} of ${bytesText(total)} free`,
  )
  const memory = `${bytesText(machine.memoryFree)} of ${bytesText(memoryTotal)} of memory free`
  return [
    `This machine: ${cards.join('; ') || 'no graphics card'}; ${memory}; ${cpu}`,
    ...problems.map((problem) => `  ${problem}`),
  ]
}

const WHERE = { gpu: 'card', split: 'cards', partial: 'card+cpu', cpu: 'cpu', no: '-' } as const

function table(rows: readonly Row[]): string[] {
  const cells = rows.map(({ model, found }, at) => {
    const { plan, speed, joulesPerToken, variant } = found
    const isEmbedding = model.kinds.includes('embedding')
    const rate = isEmbedding ? speed?.prefill : speed?.decode
    return [
      String(at + 1),
      `${found.model}:${variant}`,
      `${found.isRough ? '~' : ''}${bytesText(plan.demand.weights)}`,
      WHERE[plan.verdict],
      speed === undefined ? '-' : `${plan.slots} x ${plan.contextSize}`,
      rate === undefined ? '-' : `${number(rate)}${speed?.says === 'measured' ? '' : '~'}`,
      joulesPerToken === undefined || isEmbedding ? '-' : number(joulesPerToken),
      licenceMark(model.licence),
    ]
  })
  const head = ['', 'model', 'size', 'runs on', 'slots x tokens', 'tokens/s', 'J/token', 'licence']
  const widths = head.map((_, at) =>
    Math.max(...[head, ...cells].map((row) => (row[at] ?? '').length)),
  )
  const line = (row: readonly string[]) =>
    row
      .map((cell, at) => cell.padEnd(widths[at] ?? 0))
      .join('  ')
      .trimEnd()
  return [line(head), ...cells.flatMap((row, at) => [line(row), `     ${reason(rows[at])}`])]
}

/** A model that makes vectors reads and does not write. */
function reason(row: Row | undefined): string {
  if (row === undefined) return ''
  const { plan, speed, variant, why } = row.found
  if (!row.model.kinds.includes('embedding') || speed === undefined) return why
  return `${variant} ${WHERE_TEXT[plan.verdict]} and reads about ${number(speed.prefill)} tokens/s (${speed.says})`
}

function nextLines(
  rows: readonly Row[],
  fitting: readonly Row[],
  { all = false }: RecommendOptions,
): string[] {
  const [first] = fitting
  if (first === undefined) return ['none of the catalogue fits; `--all` says what each would need']
  const more = all ? [] : [`${fitting.length} of ${rows.length} fit; --all shows the rest`]
  const name = first.found.model
  return [
    '~ is modelled or estimated, and may be off by a third',
    ...more,
    `Fetch the first with: pokt-supplier models add ${name}`,
  ]
}

function json(hardware: Hardware, rows: readonly Row[]): string {
  const { machine, memory, cpu, memoryTotal, problems } = hardware
  const models = rows.map(({ model, found }) => ({
    name: found.model,
    variant: found.variant,
    kinds: model.kinds,
    licence: model.licence,
    weights: found.plan.demand.weights,
    isRough: found.isRough,
    why: found.why,
    add: `pokt-supplier models add ${found.model}`,
    ...estimateJson({ ...found, watts: wattsOf(found.plan, machine) }),
  }))
  return JSON.stringify(
    { machine: { ...machine, memory, cpu, memoryTotal, problems }, models },
    null,
    2,
  )
}
