/**
 * What one file of the catalogue may say: a family of open-weight models, its licence, its author's
 * settings, and where its weights lie.
 *
 * Every figure comes from a page named in `sources`; what no page says is left out. Digests are not written
 * here: they are asked for when weights are fetched, and pinned there. Tested by test/models/catalog.ts.
 */
import { z } from 'zod'

const LINE_MAX = 300
const MODELS_MAX = 32
const VARIANTS_MAX = 16
/** Tokens; the longest windows that are published have ten million. */
const CONTEXT_MAX = 16_777_216

const line = z
  .string()
  .min(1, 'write a line of text')
  .max(LINE_MAX, `write at most ${LINE_MAX} letters`)
  .regex(/^\P{C}*$/u, 'write one line, without control characters')
const url = z
  .string()
  .max(LINE_MAX)
  .regex(/^https:\/\/[\w.-]+\/[\w./~%#?=&+-]*$/, 'write a public address: https://…')
const name = z
  .string()
  .regex(
    /^[a-z0-9](?:[a-z0-9]|[._-](?=[a-z0-9])){0,62}$/,
    'write a name of small letters, digits, dots and dashes, such as qwen3-8b',
  )
const count = (max: number) =>
  z.int('write a whole number').min(1, 'write 1 or more').max(max, `write at most ${max}`)
const between = (low: number, high: number) =>
  z
    .number('write a number')
    .min(low, `write ${low} to ${high}`)
    .max(high, `write ${low} to ${high}`)
const context = count(CONTEXT_MAX).min(64, 'write 64 or more')

const quantisation = z
  .string()
  .regex(
    /^[A-Z0-9](?:[A-Z0-9]|[_-](?=[A-Z0-9])){1,30}$/,
    'write the name of a quantisation in capitals, such as Q4_K_M',
  )

/** A dot or a dash stands between letters only, so that no name leads out of a folder. */
const PART = '[A-Za-z0-9](?:\\w|[.-](?=\\w)){0,95}'
const OLLAMA = '[a-z0-9](?:[a-z0-9]|[._-](?=[a-z0-9])){0,62}:[A-Za-z0-9](?:\\w|[.-](?=\\w)){0,62}'
const SOURCE = new RegExp(
  `^(?:hf:${PART}/${PART}(?:(?:/${PART}){1,4}(?<=\\.gguf)|:[A-Za-z0-9][\\w-]{0,31})|ollama:${OLLAMA})$`,
)
const source = z
  .string()
  .max(LINE_MAX)
  .regex(SOURCE, 'write hf:OWNER/REPO/FILE.gguf, hf:OWNER/REPO:QUANT or ollama:NAME:TAG')

/** What the author recommends; a setting that the author says nothing of is left out. */
const settings = z
  .strictObject({
    /** 0 is greedy. */
    temperature: between(0, 2).optional(),
    /** 1 keeps every token. */
    topP: between(0, 1)
      .refine((value) => value > 0, 'write more than 0')
      .optional(),
    /** 0 keeps every token. */
    topK: z.int('write a whole number').min(0).max(1_000).optional(),
    /** 0 keeps every token. */
    minP: between(0, 1).optional(),
    /** 1 changes nothing. */
    repeatPenalty: between(0.5, 2).optional(),
    /** 0 changes nothing. */
    presencePenalty: between(-2, 2).optional(),
  })
  .refine((value) => Object.keys(value).length > 0, 'write at least one setting, or leave it out')

const sampling = z
  .strictObject({ plain: settings.optional(), thinking: settings.optional() })
  .refine(
    (value) => Object.keys(value).length > 0,
    'write `plain`, `thinking` or both, or leave it out',
  )

const licence = z
  .strictObject({
    /** Of spdx.org, or what the author calls it. */
    id: line.max(60),
    url,
    /** May answers of this model be sold? */
    commercial: z.enum(['yes', 'limited', 'no']),
    /** In words, for the owner to read before anything is fetched. */
    limits: line.optional(),
  })
  .refine(
    ({ commercial, limits }) => commercial === 'yes' || limits !== undefined,
    'say in `limits` what is not allowed',
  )

const kinds = z
  .array(z.enum(['chat', 'reasoning', 'code', 'embedding']))
  .min(1)
  .max(4)
const thinking = z.enum(['none', 'always', 'optional'])

/** The author's, of the family; a model may say otherwise. */
const traits = {
  kinds,
  licence,
  /** Tokens that it was trained for. */
  context,
  sampling: sampling.optional(),
  thinking,
  /** Ours, not the author's: thoughts must leave room for an answer before a relay's deadline. */
  thinkingTokensMax: count(65_536).optional(),
  /** Does it call tools? */
  tools: z.boolean('write true or false'),
  /** `general.architecture` of its GGUF. */
  architecture: z
    .string()
    .regex(/^[a-z0-9][a-z0-9_.-]{0,40}$/, 'write it as the GGUF does, such as qwen3')
    .optional(),
}

const variant = z.strictObject({
  quantisation,
  /** Of all files together, as a page said it to the byte; authors replace files, so it is not held against them. */
  bytes: count(2 ** 42).optional(),
  source,
})

const model = z
  .strictObject({
    name,
    /** Weights, in all experts together. */
    parameters: count(1e13).min(1e6, 'write 1e6 or more'),
    /** Weights that take part in one token, of a mixture of experts. */
    active: count(1e13).optional(),
    layers: count(1_000).optional(),
    /** Heads with keys and values of their own, in each layer that keeps them for the whole context. */
    kvHeads: count(1_000).optional(),
    /** Numbers in a key or a value of one head. */
    headLength: count(4_096).optional(),
    /** Layers that keep keys and values of the whole context; without it, all. */
    cacheLayers: count(1_000).optional(),
    ...partial(traits),
    /** Its name in Ollama's library, for weights that are here already. */
    ollama: z
      .string()
      .regex(new RegExp(`^${OLLAMA}$`), 'write NAME:TAG as for `ollama run`')
      .optional(),
    /** The quantisation that is taken where nobody says which. */
    default: quantisation,
    variants: z.array(variant).min(1).max(VARIANTS_MAX),
    notes: line.optional(),
  })
  .superRefine((value, ctx) => {
    const say = (path: string, message: string) =>
      ctx.addIssue({ code: 'custom', path: [path], message })
    const names = value.variants.map((one) => one.quantisation)
    if (!names.includes(value.default)) say('default', `write one of ${names.join(', ')}`)
    if (new Set(names).size < names.length) say('variants', 'name each quantisation once')
    const shape = [value.layers, value.kvHeads, value.headLength]
    if (shape.includes(undefined) && shape.some((one) => one !== undefined))
      say('layers', 'write layers, kvHeads and headLength, or none of them')
    if (value.cacheLayers !== undefined && value.cacheLayers > (value.layers ?? 0))
      say('cacheLayers', 'write at most as many as there are layers')
    if (value.active !== undefined && value.active > value.parameters)
      say('active', 'write at most as many as there are parameters')
  })

export const FamilyFile = z.strictObject({
  /** The name of the file, too. */
  family: name,
  title: line.max(60),
  author: line.max(80),
  ...traits,
  models: z.array(model).min(1).max(MODELS_MAX),
  /** Pages of the author, and those that the figures were read from. */
  sources: z.array(url).min(1).max(24),
  notes: line.optional(),
})

export type FamilyFile = z.infer<typeof FamilyFile>
export type Kind = z.infer<typeof kinds>[number]
export type Licence = z.infer<typeof licence>
export type SamplingSettings = z.infer<typeof settings>
export type CatalogVariant = z.infer<typeof variant>
export type Traits = z.infer<z.ZodObject<typeof traits>>
export type ModelEntry = z.infer<typeof model>

function partial<T extends Record<string, z.ZodType>>(
  shape: T,
): { [K in keyof T]: z.ZodOptional<T[K]> } {
  const pairs = Object.entries(shape).map(([key, type]) => [key, type.optional()])
  return Object.fromEntries(pairs) as { [K in keyof T]: z.ZodOptional<T[K]> }
}
