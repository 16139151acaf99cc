/** A model of the catalogue in words: who made it, what may be done with it, what it can. Tests: test/cli/models-show.ts. */
import type { CatalogEntry, CatalogModel } from '../models/catalog.ts'
import type { Licence, SamplingSettings } from '../models/catalog-schema.ts'
import { bytesText } from '../models/disk.ts'
import { roughBytes } from '../node/catalogue.ts'

const SELLING: Readonly<Record<Licence['commercial'], string>> = {
  yes: 'its answers may be sold',
  limited: 'its answers may be sold within limits',
  no: 'ITS ANSWERS MAY NOT BE SOLD',
}

export function licenceLines({ id, url, commercial, limits }: Licence): string[] {
  const lines = [`licence: ${id}, ${SELLING[commercial]}: ${url}`]
  return limits === undefined ? lines : [...lines, `  limits: ${limits}`]
}

/** One mark for a table. */
export function licenceMark({ id, commercial }: Licence): string {
  return commercial === 'yes' ? id : `${id} (${commercial === 'no' ? 'no sale' : 'limits'})`
}

export function aboutLines({ family, model }: CatalogEntry): string[] {
  const { parameters, active, kinds, context, tools, thinking, thinkingTokensMax } = model
  const part = active === undefined ? '' : `, of which a token needs ${count(active)}`
  const thoughts = {
    none: 'does not think',
    always: `always thinks, here for at most ${thinkingTokensMax} tokens`,
    optional: `thinks if it is asked to, here for at most ${thinkingTokensMax} tokens`,
  }
  return [
    `${model.name}: ${family.title} by ${family.author}`,
    `  ${kinds.join(', ')}; ${count(parameters)} weights${part}; made for ${context} tokens`,
    `  ${tools ? 'calls tools' : 'no tools'}; ${thoughts[thinking]}`,
    ...licenceLines(model.licence).map((line) => `  ${line}`),
    ...samplingLines(model),
    ...[family.notes, model.notes].flatMap((note) =>
      note === undefined ? [] : [`  note: ${note}`],
    ),
  ]
}

export function variantLines({ model }: CatalogEntry, chosen: string): string[] {
  return model.variants.map(({ quantisation, bytes, source }) => {
    const size =
      bytes === undefined
        ? `about ${bytesText(roughBytes(model.parameters, quantisation))}`
        : bytesText(bytes)
    const mark = quantisation === chosen ? '*' : ' '
    const usual = quantisation === model.default ? '  (usual)' : ''
    return `  ${mark} ${quantisation.padEnd(12)} ${size.padStart(14)}  ${source}${usual}`
  })
}

function samplingLines({ sampling }: CatalogModel): string[] {
  const { plain, thinking } = sampling ?? {}
  return [
    ...(plain === undefined ? [] : [`  sampling by its author: ${settingsText(plain)}`]),
    ...(thinking === undefined ? [] : [`  while it thinks: ${settingsText(thinking)}`]),
  ]
}

function settingsText(settings: SamplingSettings): string {
  return Object.entries(settings)
    .map(([name, value]) => `${name} ${value}`)
    .join(', ')
}

/** As people write it: 8.2B, 350M. */
function count(weights: number): string {
  return weights >= 1e9
    ? `${Number((weights / 1e9).toFixed(1))}B`
    : `${Number((weights / 1e6).toFixed(0))}M`
}
