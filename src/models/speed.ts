/**
 * How fast a model answers on this machine: measured, where somebody measured it, else from the bandwidth
 * of the memory its weights lie in.
 *
 * A token reads every active weight once, so that bandwidth bounds an answer; a prompt is bound by
 * arithmetic. What is reached of either bound is a share, taken from published runs of llama.cpp; a figure made so says
 * that it is modelled and may be off by a third. Tested by test/models/speed.ts.
 */

import type { FitPlan } from './fit.ts'
import { kvBytesPerToken } from './fit-demand.ts'
import type { Machine } from './fit-place.ts'
import type { ModelShape } from './shape.ts'
import { type CardFacts, cardFacts } from './speed-cards.ts'

export interface Speed {
  readonly says: 'modelled' | 'measured'
  /** Tokens a second of one answer. */
  readonly decode: number
  /** Of all slots together. */
  readonly together: number
  /** Tokens of a prompt a second. */
  readonly prefill: number
  /** What the figures rest on, for people. */
  readonly because: string
}

export interface MeasuredSpeed {
  readonly decode: number
  readonly together?: number
  readonly prefill?: number
}

/** What is known of the memory of the machine. */
export interface MemoryFacts {
  readonly kind?: 'ddr3' | 'ddr4' | 'ddr5' | 'lpddr5'
  /** Million transfers a second. */
  readonly rate?: number
  readonly channels?: number
  readonly cores?: number
}

export interface SpeedInput {
  readonly shape: ModelShape
  readonly plan: FitPlan
  readonly machine: Machine
  readonly memory?: MemoryFacts
  readonly measured?: MeasuredSpeed
}

/** Of the bandwidth, so much is reached. */
const REACHED = { dense: 0.62, experts: 0.42, cpu: 0.6 }
/** Of the arithmetic. */
const ARITHMETIC = { card: 0.35, cpu: 0.5 }
/** Seconds for a token in which no weight is read: starting work, choosing the word. */
const TOKEN_SECONDS = 0.000_4
/** A card that is not in the table. */
const CARD_GUESS: CardFacts = { bandwidth: 250e9, flops: 15e12, watts: 150 }
const RATES = { ddr3: 1_600, ddr4: 2_933, ddr5: 5_200, lpddr5: 6_400 }
const CHANNEL_BYTES = 8
const CORE_FLOPS = 120e9
const CPU_WATTS = 65

export function speedOf({ shape, plan, machine, memory = {}, measured }: SpeedInput): Speed {
  const parts = partsOf(shape, plan, machine, memory)
  // Half of a conversation's room is a usual length.
  const cache = (kvBytesPerToken(shape, plan.kvType) * plan.contextSize) / 2
  const decode = 1 / secondsOf(shape, parts, 1, cache)
  const together = plan.slots / secondsOf(shape, parts, plan.slots, cache)
  const operations = 2 * activeParameters(shape)
  const seconds = parts.reduce((all, part) => all + (part.share * operations) / part.flops, 0)
  const modelled = {
    decode,
    together: Math.max(decode, together),
    prefill: seconds > 0 ? 1 / seconds : 0,
  }
  if (measured === undefined)
    return { says: 'modelled', ...modelled, because: parts.map(({ name }) => name).join(', ') }
  const ratio = modelled.together / modelled.decode
  return {
    says: 'measured',
    decode: measured.decode,
    together: measured.together ?? measured.decode * ratio,
    prefill: measured.prefill ?? modelled.prefill,
    because: 'a run on this machine',
  }
}

/** Joules for a token; undefined without a speed. */
export function energyPerToken(watts: number, tokensPerSecond: number): number | undefined {
  return tokensPerSecond > 0 && watts >= 0 ? watts / tokensPerSecond : undefined
}

/** Watts under load of what a plan uses, by the makers. */
export function wattsOf(plan: FitPlan, machine: Machine): number {
  const cards = machine.gpus.filter(({ id }) => plan.needs.gpus.has(id))
  const sum = cards.reduce((all, { name }) => all + (cardFacts(name) ?? CARD_GUESS).watts, 0)
  return plan.cpuLayers > 0 || cards.length === 0 ? sum + CPU_WATTS : sum
}

/** Parameters that a token goes through. */
export function activeParameters({ parameters, weights }: ModelShape): number {
  return weights.total === 0 ? 0 : (parameters * weights.active) / weights.total
}

/** Bytes a second that the memory of the machine gives; two channels unless it is known. */
export function memoryBandwidth({ kind = 'ddr4', rate, channels = 2 }: MemoryFacts): number {
  return (rate ?? RATES[kind]) * 1e6 * CHANNEL_BYTES * channels
}

interface Part {
  readonly name: string
  /** Of all layers. */
  readonly share: number
  /** What is reached of it. */
  readonly bandwidth: number
  readonly flops: number
}

function partsOf(shape: ModelShape, plan: FitPlan, machine: Machine, memory: MemoryFacts): Part[] {
  const reached = shape.experts === undefined ? REACHED.dense : REACHED.experts
  const count = Math.max(1, plan.cpuLayers + sum(plan.layersByGpu.values()))
  const parts: Part[] = []
  for (const card of machine.gpus) {
    const layers = plan.layersByGpu.get(card.id) ?? 0
    if (layers === 0) continue
    const known = cardFacts(card.name)
    const { bandwidth, flops } = known ?? CARD_GUESS
    const gigabytes = `${(bandwidth / 1e9).toFixed(0)} GB/s`
    parts.push({
      name: `${card.name} at ${gigabytes}${known === undefined ? ', a guess' : ''}`,
      share: layers / count,
      bandwidth: bandwidth * reached,
      flops: flops * ARITHMETIC.card,
    })
  }
  if (plan.cpuLayers > 0 || parts.length === 0) {
    const bandwidth = memoryBandwidth(memory)
    const isKnown = memory.kind !== undefined || memory.rate !== undefined
    parts.push({
      name: `memory at ${(bandwidth / 1e9).toFixed(0)} GB/s${isKnown ? '' : ', a guess'}`,
      share: parts.length === 0 ? 1 : plan.cpuLayers / count,
      bandwidth: bandwidth * REACHED.cpu,
      flops: (memory.cores ?? 4) * CORE_FLOPS * ARITHMETIC.cpu,
    })
  }
  return parts
}

/** Seconds of a step in which so many conversations get a token each, one part after the other. */
function secondsOf(
  shape: ModelShape,
  parts: readonly Part[],
  conversations: number,
  cache: number,
): number {
  // Each conversation may want other experts.
  const weights = Math.min(
    Math.max(shape.weights.active, shape.weights.total - shape.weights.embedding),
    shape.weights.active * (shape.experts === undefined ? 1 : conversations),
  )
  const operations = 2 * activeParameters(shape) * conversations
  return parts.reduce((all, { share, bandwidth, flops }) => {
    const reading = ((weights + cache * conversations) * share) / bandwidth
    return all + Math.max(reading, (operations * share) / flops)
  }, TOKEN_SECONDS)
}

function sum(values: Iterable<number>): number {
  let all = 0
  for (const value of values) all += value
  return all
}
