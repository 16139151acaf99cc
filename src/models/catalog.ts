/**
 * The catalogue of open-weight models: `models/*.yaml` of the program, and the owner's own files beside it.
 *
 * It is data and is checked as a whole: one wrong file is an error that names file, place and what to write
 * instead. What a model says of itself stands over what its family says. Tested by test/models/catalog.ts.
 */
import { open, readdir } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { parseDocument } from 'yaml'
import { errorText } from '../base/errors.ts'
import { issueText } from '../base/issue.ts'
import {
  type CatalogVariant,
  FamilyFile,
  type ModelEntry,
  type SamplingSettings,
  type Traits,
} from './catalog-schema.ts'
import { ModelError } from './errors.ts'

/** A family with its models whole. */
export interface CatalogFamily extends Omit<FamilyFile, 'models'> {
  readonly models: readonly CatalogModel[]
}

/** With its family's traits where it has none of its own. */
export type CatalogModel = Omit<ModelEntry, keyof Traits> & Traits

export interface CatalogEntry {
  readonly family: CatalogFamily
  readonly model: CatalogModel
  readonly variant: CatalogVariant
}

/** What to sample with; a setting that the author says nothing of changes nothing. */
export type Sampling = { readonly [K in keyof SamplingSettings]-?: number }

const FILE_BYTES_MAX = 128 * 1024
const FILES_MAX = 256
/** Problems that are told of one file; the others are there when these are gone. */
const PROBLEMS_MAX = 20

export class Catalog {
  readonly families: readonly CatalogFamily[]
  readonly #byName: ReadonlyMap<string, { family: CatalogFamily; model: CatalogModel }>

  constructor(families: readonly CatalogFamily[]) {
    this.families = families
    this.#byName = new Map(
      families.flatMap((family) =>
        family.models.map((model) => [model.name, { family, model }] as const),
      ),
    )
  }

  /** @param name `qwen3-8b`, which is its default variant, or `qwen3-8b:Q8_0`; letters of any case */
  find(name: string): CatalogEntry | undefined {
    const [model = '', quantisation, ...more] = name.split(':')
    const found = this.#byName.get(model.toLowerCase())
    if (found === undefined || more.length > 0) return undefined
    const wanted = quantisation?.toUpperCase() ?? found.model.default
    const variant = found.model.variants.find((one) => one.quantisation === wanted)
    return variant === undefined ? undefined : { ...found, variant }
  }

  /** Every variant of every model, in the order of the files. */
  all(): CatalogEntry[] {
    return this.families.flatMap((family) =>
      family.models.flatMap((model) =>
        model.variants.map((variant) => ({ family, model, variant })),
      ),
    )
  }
}

/**
 * @param isThinking what a request asks for; a model that always thinks does
 * @returns undefined where the author recommends nothing
 */
export function samplingOf(model: CatalogModel, isThinking: boolean): Sampling | undefined {
  const { plain, thinking } = model.sampling ?? {}
  const thinks = model.thinking === 'always' || (model.thinking === 'optional' && isThinking)
  const settings = thinks ? (thinking ?? plain) : plain
  if (settings === undefined) return undefined
  const { temperature = 1, topP = 1, topK = 0 } = settings
  const { minP = 0, repeatPenalty = 1, presencePenalty = 0 } = settings
  return { temperature, topP, topK, minP, repeatPenalty, presencePenalty }
}

/**
 * @param folder of the catalogue that comes with the program
 * @throws ModelError CATALOG: a file cannot be read or is wrong, or two of them have the same name in them
 */
export async function loadCatalog(
  folder: string,
  /** `extra`: a folder with the owner's own files; it need not be there. */
  { extra }: { readonly extra?: string | undefined } = {},
): Promise<Catalog> {
  const paths = [
    ...(await yamlFiles(folder, true)),
    ...(extra === undefined ? [] : await yamlFiles(extra, false)),
  ]
  const families: CatalogFamily[] = []
  const seen = new Map<string, string>()
  for (const path of paths) {
    const family = parseFamily(await readSmall(path), path)
    for (const name of [`the family ${family.family}`, ...family.models.map((one) => one.name)]) {
      const other = seen.get(name)
      if (other !== undefined)
        throw wrong(path, [`${name} stands in ${other} already; write another name`])
      seen.set(name, path)
    }
    families.push(family)
  }
  return new Catalog(families)
}

/**
 * One file of the catalogue.
 * @param path for messages; the family is named as the file is
 * @throws ModelError CATALOG, with a line for each problem
 */
export function parseFamily(text: string, path: string): CatalogFamily {
  if (Buffer.byteLength(text) > FILE_BYTES_MAX)
    throw wrong(path, [`write at most ${FILE_BYTES_MAX / 1024} KiB`])
  const parsed = FamilyFile.safeParse(readYaml(text, path))
  if (!parsed.success)
    throw wrong(
      path,
      parsed.error.issues.map((issue) => issueText(issue, 'leave it out')),
    )
  const { models, ...family } = parsed.data
  const whole = { ...family, models: models.map((model) => withTraits(family, model)) }
  const problems = beyondSchema(whole, path)
  if (problems.length > 0) throw wrong(path, problems)
  return freeze(whole)
}

function withTraits(family: Traits, model: ModelEntry): CatalogModel {
  return {
    ...model,
    kinds: model.kinds ?? family.kinds,
    licence: model.licence ?? family.licence,
    context: model.context ?? family.context,
    sampling: model.sampling ?? family.sampling,
    thinking: model.thinking ?? family.thinking,
    thinkingTokensMax: model.thinkingTokensMax ?? family.thinkingTokensMax,
    tools: model.tools ?? family.tools,
    architecture: model.architecture ?? family.architecture,
  }
}

/** What one setting cannot know of another. */
function beyondSchema({ family, models }: CatalogFamily, path: string): string[] {
  const problems: string[] = []
  const stem = basename(path).replace(/\.ya?ml$/, '')
  if (stem !== family) problems.push(`family: write ${stem}, as the file is called`)
  for (const [at, model] of models.entries()) {
    const say = (what: string) => problems.push(`models.${at}.${what}`)
    if (models.findIndex(({ name }) => name === model.name) !== at)
      say(`name: ${model.name} stands there twice; write another name`)
    if (model.thinking !== 'none' && model.thinkingTokensMax === undefined)
      say('thinkingTokensMax: it thinks; write how many tokens of thoughts it may have')
    if (model.thinking !== 'none' && model.kinds.includes('embedding'))
      say('thinking: an embedding has no thoughts; write none')
    if (model.thinking === 'none' && model.sampling?.thinking !== undefined)
      say('sampling.thinking: it does not think; leave it out')
  }
  return problems
}

function readYaml(text: string, path: string): unknown {
  try {
    const document = parseDocument(text, { uniqueKeys: true, logLevel: 'error' })
    const [fault] = document.errors
    if (fault !== undefined) throw wrong(path, [fault.message.split('\n')[0] ?? ''])
    // It throws at more than a hundred aliases: a few more can stand for gigabytes.
    return document.toJS()
  } catch (error) {
    if (error instanceof ModelError) throw error
    throw new ModelError('CATALOG', `${path}: ${errorText(error)}`, { cause: error })
  }
}

async function yamlFiles(folder: string, isNeeded: boolean): Promise<string[]> {
  let names: string[]
  try {
    names = await readdir(folder)
  } catch (cause) {
    const isAbsent = cause instanceof Error && 'code' in cause && cause.code === 'ENOENT'
    if (isAbsent && !isNeeded) return []
    throw new ModelError('CATALOG', `${folder}: this folder cannot be read`, { cause })
  }
  const files = names.filter((name) => /^[^.].*\.ya?ml$/.test(name)).sort()
  if (files.length > FILES_MAX) throw wrong(folder, [`keep at most ${FILES_MAX} files`])
  return files.map((name) => join(folder, name))
}

/** At most one byte more than is allowed, so that it is noticed. */
async function readSmall(path: string): Promise<string> {
  try {
    await using file = await open(path, 'r')
    const buffer = Buffer.alloc(FILE_BYTES_MAX + 1)
    let length = 0
    for (;;) {
      const { bytesRead } = await file.read(buffer, length, buffer.length - length, length)
      length += bytesRead
      if (bytesRead === 0 || length === buffer.length) return buffer.toString('utf8', 0, length)
    }
  } catch (cause) {
    throw new ModelError('CATALOG', `${path}: this file cannot be read`, { cause })
  }
}

/** Nothing that a terminal would obey: keys come from the file. */
function wrong(path: string, problems: readonly string[]): ModelError {
  const lines = problems
    .slice(0, PROBLEMS_MAX)
    .map((problem) => `${path}: ${problem.slice(0, 400).replace(/\p{C}/gu, '?')}`)
  const more = problems.length - lines.length
  if (more > 0) lines.push(`${path}: and ${more} more`)
  return new ModelError('CATALOG', lines.join('\n'), { data: { problems: problems.length } })
}

function freeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    for (const inner of Object.values(value)) freeze(inner)
  }
  return value
}
