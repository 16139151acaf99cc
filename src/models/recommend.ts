/**
 * Which models to serve on this machine: for each candidate the best variant that fits, what it would do
 * and what it would bring, the most useful first, each with a sentence that says why.
 *
 * Pure. A candidate whose heads were not read yet can be given roughly; its plan says so. Money is upokt and whole:
 * what the chain pays for relays, before its own shares and before power. Tested by test/models/recommend.ts.
 */
import { type Upokt, upokt } from '../base/units.ts'
import { type FitPlan, type FitWish, fit, type Verdict } from './fit.ts'
import type { Machine } from './fit-place.ts'
import type { ModelShape } from './shape.ts'
import {
  energyPerToken,
  type MeasuredSpeed,
  type MemoryFacts,
  type Speed,
  speedOf,
  wattsOf,
} from './speed.ts'

export interface Candidate {
  readonly name: string
  readonly variants: readonly Variant[]
}

export interface Variant {
  /** Such as `Q4_K_M`. */
  readonly name: string
  readonly size: ModelShape | RoughSize
  readonly measured?: MeasuredSpeed
}

/** What a catalogue knows of a model whose files were not looked at. */
export interface RoughSize {
  readonly bytes: number
  readonly parameters: number
  /** That a token goes through, where experts are chosen. */
  readonly parametersActive?: number
  readonly layers: number
  readonly kvBytesPerToken: number
  readonly contextTrained?: number
}

export interface Economy {
  readonly upoktPerRelay: bigint
  /** How many may come; absent: as many as can be answered. */
  readonly relaysPerDay?: number
  readonly tokensPerRelay?: number
  /** In whatever money the owner pays. */
  readonly pricePerKwh?: number
  /** Under load; absent: by the maker of the card. */
  readonly watts?: number
}

export interface Recommendation {
  readonly model: string
  readonly variant: string
  readonly plan: FitPlan
  /** Its files were not looked at: sizes are from a catalogue. */
  readonly isRough: boolean
  /** Absent where it does not fit. */
  readonly speed?: Speed
  readonly upoktPerDay?: Upokt
  readonly joulesPerToken?: number
  /** In the owner's money, at full load. */
  readonly powerPerDay?: number
  /** One sentence. */
  readonly why: string
}

export interface RecommendInput {
  readonly machine: Machine
  readonly candidates: readonly Candidate[]
  readonly wish?: FitWish
  readonly memory?: MemoryFacts
  readonly economy?: Economy
}

/** Slower answers make callers go away. */
const DECODE_LEAST = 8
const TOKENS_PER_RELAY = 400
const DAY_SECONDS = 86_400
/**
 * Of a model that is known roughly. From `dense` on, a token goes through all of it: the table of words is
 * sometimes not counted.
 */
const ROUGH = { vocabulary: 152_000, heads: 32, context: 32_768, embeddingShare: 0.06, dense: 0.9 }

/** The best first; those that do not fit are last. */
export function recommend(input: RecommendInput): Recommendation[] {
  const found = input.candidates.flatMap((candidate) => {
    const tried = candidate.variants.map((variant) => tryVariant(candidate, variant, input))
    const [best] = tried.sort(byVariant)
    return best === undefined ? [] : [{ ...best, of: candidate.variants.length }]
  })
  return found.sort(byCandidate).map((tried) => recommendation(tried, input))
}

interface Tried {
  readonly model: string
  readonly variant: Variant
  readonly shape: ModelShape
  readonly plan: FitPlan
  readonly speed: Speed | undefined
  readonly upoktPerDay: Upokt | undefined
}

function tryVariant(candidate: Candidate, variant: Variant, input: RecommendInput): Tried {
  const shape = isRough(variant.size) ? roughShape(variant) : (variant.size as ModelShape)
  const { machine, memory, economy } = input
  const plan = fit(shape, machine, input.wish)
  const speed =
    plan.verdict === 'no'
      ? undefined
      : speedOf({
          shape,
          plan,
          machine,
          ...(memory === undefined ? {} : { memory }),
          ...(variant.measured === undefined ? {} : { measured: variant.measured }),
        })
  const upoktPerDay =
    economy === undefined || speed === undefined ? undefined : income(economy, speed)
  return { model: candidate.name, variant, shape, plan, speed, upoktPerDay }
}

/** What the relays of a day bring, as far as they can be answered. */
export function income(economy: Economy, speed: Speed): Upokt {
  const tokens = Math.max(1, economy.tokensPerRelay ?? TOKENS_PER_RELAY)
  const answered = (speed.together * DAY_SECONDS) / tokens
  const relays = Math.floor(Math.max(0, Math.min(answered, economy.relaysPerDay ?? answered)))
  return upokt(economy.upoktPerRelay * BigInt(relays))
}

const ORDER: readonly Verdict[] = ['gpu', 'split', 'partial', 'cpu', 'no']

function isFast({ speed }: Tried): boolean {
  return speed !== undefined && speed.decode >= DECODE_LEAST
}

function isWhole({ plan }: Tried): boolean {
  return plan.verdict === 'gpu' || plan.verdict === 'split'
}

/** Of one model: what fits and is fast enough, wholly on cards if possible; then the finest numbers. */
function byVariant(a: Tried, b: Tried): number {
  return (
    Number(b.plan.verdict !== 'no') - Number(a.plan.verdict !== 'no') ||
    Number(isFast(b)) - Number(isFast(a)) ||
    Number(isWhole(b)) - Number(isWhole(a)) ||
    // Of those that are too slow or too large, the smallest is the nearest.
    (isFast(a) ? 1 : -1) * (b.shape.weights.total - a.shape.weights.total)
  )
}

/** Of all: what fits and is fast enough; then what brings most; then the larger model. */
function byCandidate(a: Tried, b: Tried): number {
  const more = (b.upoktPerDay ?? 0n) - (a.upoktPerDay ?? 0n)
  return (
    Number(isFast(b)) - Number(isFast(a)) ||
    Number(b.plan.verdict !== 'no') - Number(a.plan.verdict !== 'no') ||
    (more > 0n ? 1 : more < 0n ? -1 : 0) ||
    b.shape.parameters - a.shape.parameters ||
    ORDER.indexOf(a.plan.verdict) - ORDER.indexOf(b.plan.verdict)
  )
}

function recommendation(tried: Tried & { of: number }, input: RecommendInput): Recommendation {
  const { model, variant, plan, speed, upoktPerDay } = tried
  const { economy, machine } = input
  const watts = economy?.watts ?? wattsOf(plan, machine)
  const joules = speed === undefined ? undefined : energyPerToken(watts, speed.together)
  const price = economy?.pricePerKwh
  return {
    model,
    variant: variant.name,
    plan,
    isRough: isRough(variant.size),
    ...(speed === undefined ? {} : { speed }),
    ...(upoktPerDay === undefined ? {} : { upoktPerDay }),
    ...(joules === undefined ? {} : { joulesPerToken: joules }),
    ...(price === undefined || speed === undefined
      ? {}
      : { powerPerDay: (watts / 1_000) * 24 * price }),
    why: why(tried),
  }
}

const WHERE: Readonly<Record<Exclude<Verdict, 'no'>, string>> = {
  gpu: 'fits one card',
  split: 'fits several cards together',
  partial: 'fits only with some layers on the processor',
  cpu: 'runs on the processor',
}

function why({ variant, plan, speed, of, shape }: Tried & { of: number }): string {
  if (plan.verdict === 'no' || speed === undefined)
    return `${variant.name} is the smallest of ${of} and does not fit: ${plan.lines.at(-1) ?? ''}`
  const { contextSize, slots } = plan
  const rate = `about ${speed.decode.toFixed(speed.decode < 10 ? 1 : 0)} tokens/s (${speed.says})`
  const slow = speed.decode < DECODE_LEAST ? ', which is too slow for most callers' : ''
  const active = shape.experts === undefined ? '' : ', since a token needs a part of it only'
  const choice = of === 1 ? '' : `; of ${of} variants it is the finest that does so`
  return `${variant.name} ${WHERE[plan.verdict]} with ${slots} x ${contextSize} tokens, at ${rate}${active}${slow}${slow === '' ? choice : ''}`
}

function isRough(size: ModelShape | RoughSize): size is RoughSize {
  return 'bytes' in size
}

/** A shape with the sizes that are known and usual ones for the rest. */
function roughShape({ name, size }: Variant): ModelShape {
  const rough = size as RoughSize
  const { bytes, parameters, layers, kvBytesPerToken } = rough
  const active = Math.min(1, (rough.parametersActive ?? parameters) / parameters)
  const table = Math.round(bytes * ROUGH.embeddingShare)
  const each = Math.floor((bytes - 2 * table) / layers)
  // Half for keys, half for values, two bytes each.
  const width = Math.ceil(kvBytesPerToken / layers / 4)
  const embedding = Math.ceil(Math.sqrt((parameters * active) / layers / 12) / 64) * 64
  return {
    architecture: 'unknown',
    quantisation: name,
    parameters,
    layers: Array.from({ length: layers }, () => ({
      keyWidth: width,
      valueWidth: width,
      isWindowed: false,
      stateBytes: 0,
      weights: each,
    })),
    embedding,
    feedForward: 4 * embedding,
    heads: ROUGH.heads,
    kvHeads: ROUGH.heads,
    contextTrained: rough.contextTrained ?? ROUGH.context,
    vocabulary: ROUGH.vocabulary,
    isLatent: false,
    ...(active < ROUGH.dense ? { experts: { count: 1, used: 1, width: 0 } } : {}),
    queryWidth: embedding,
    stateWidth: 0,
    weights: {
      total: bytes,
      embedding: table,
      output: table,
      isOutputTied: false,
      other: 0,
      active: Math.round((bytes - table) * active),
    },
    isEmbeddingOnly: false,
    hasChatTemplate: true,
    hasTools: false,
  }
}
