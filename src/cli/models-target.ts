/**
 * What somebody means who writes the name of a model: one of the catalogue, in the variant that suits this
 * machine or that he names, or a source. Tests: test/cli/models-add.ts.
 */
import type { Catalog, CatalogEntry } from '../models/catalog.ts'
import type { LibraryModels } from '../models/library-file.ts'
import { recommend } from '../models/recommend.ts'
import { parseSource, type Source } from '../models/source.ts'
import { candidateOf } from '../node/catalogue.ts'
import type { Hardware } from '../node/hardware.ts'
import { CliError } from './errors.ts'

export interface Target {
  readonly source: Source
  /** What it is called here; absent: by its file. */
  readonly name?: string
  readonly entry?: CatalogEntry
  /** Why this variant, as a sentence. */
  readonly why?: string
}

export interface TargetDeps {
  readonly catalog: Catalog
  readonly here: LibraryModels
  /** Absent: what comes from the catalogue is taken in its usual variant. */
  readonly hardware?: Hardware
}

/** @throws CliError USAGE: a variant that there is not; ModelError SOURCE_NAME */
export function targetOf(text: string, deps: TargetDeps): Target {
  const { catalog } = deps
  const [base = ''] = text.split(':')
  const usual = catalog.find(base)
  if (usual === undefined) return { source: parseSource(text) }
  if (base !== text) return named(text, catalog, usual)
  const { name } = usual.model
  const before = catalog.find(deps.here.get(name)?.catalogue ?? '')
  if (before?.model.name === name)
    return chosen(name, before, 'it is the variant that is here under this name')
  return suited(usual, deps.hardware)
}

/** `NAME:QUANTISATION`, as the catalogue finds it. */
export function catalogueName({ model, variant }: CatalogEntry): string {
  return `${model.name}:${variant.quantisation}`
}

const ALIKE_MAX = 12

/** Names of the catalogue that begin alike, for who wrote one that it has not. */
export function alike(text: string, catalog: Catalog): string[] {
  const short = (name: string) => name.toLowerCase().replace(/[^a-z0-9]+/g, '')
  const wanted = short(text)
  if (wanted.length < 3) return []
  const names = catalog.families.flatMap(({ models }) => models.map(({ name }) => name))
  const exact = names.filter((name) => short(name).startsWith(wanted))
  const near = names.filter((name) => short(name).startsWith(wanted.slice(0, 4)))
  return (exact.length > 0 ? exact : near).slice(0, ALIKE_MAX)
}

/** Why this variant, as a line. */
export function whyText({ variant }: CatalogEntry, why: string): string {
  const { quantisation } = variant
  return why.startsWith(quantisation) ? why : `${quantisation}: ${why}`
}

function named(text: string, catalog: Catalog, { model }: CatalogEntry): Target {
  const entry = catalog.find(text)
  if (entry !== undefined) {
    const name = `${model.name}-${entry.variant.quantisation.toLowerCase()}`
    return chosen(name, entry, 'you named it')
  }
  const there = model.variants.map(({ quantisation }) => quantisation).join(', ')
  throw new CliError('USAGE', `there is no ${text}; of ${model.name} there is: ${there}`)
}

function suited(usual: CatalogEntry, hardware: Hardware | undefined): Target {
  const { family, model } = usual
  if (hardware === undefined)
    return chosen(model.name, usual, 'it is the usual one of the catalogue')
  const { machine, memory } = hardware
  const [best] = recommend({ machine, memory, candidates: [candidateOf(model)] })
  const variant = model.variants.find(({ quantisation }) => quantisation === best?.variant)
  if (best === undefined || variant === undefined || best.plan.verdict === 'no')
    return chosen(
      model.name,
      usual,
      'it is the usual one of the catalogue; none is likely to fit this machine',
    )
  return chosen(model.name, { family, model, variant }, best.why)
}

function chosen(name: string, entry: CatalogEntry, why: string): Target {
  return { source: parseSource(entry.variant.source), name, entry, why }
}
