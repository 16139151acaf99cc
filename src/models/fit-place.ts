/**
 * Where each byte of a model goes when so many of its layers are on cards, by llama.cpp's rules.
 *
 * The last layers go to the cards, and what makes words with the last of them; several cards get layers in
 * proportion to their free memory (`load_tensors` of llama-model.cpp). The table of words stays in the
 * machine's memory. Each card holds scratch memory of its own. Tested by test/models/fit.ts.
 */
import type { Demand } from './fit-demand.ts'
import type { ModelShape } from './shape.ts'

export interface Card {
  readonly id: string
  readonly name: string
  /** Bytes. */
  readonly free: number
  readonly total: number
  /** It has no memory of its own: it uses the machine's. */
  readonly isShared: boolean
  /** Absent: not known, and taken for true. */
  readonly hasDisplay?: boolean
}

export interface Machine {
  readonly gpus: readonly Card[]
  /** Bytes that programs may still take. */
  readonly memoryFree: number
}

export interface Placement {
  /** Layers on cards, and one more for what makes words: as engines count `gpuLayers`. */
  readonly gpuLayers: number
  /** By the card's id. */
  readonly layersByGpu: ReadonlyMap<string, number>
  readonly cpuLayers: number
  readonly needs: Needs
}

/** Bytes. */
export interface Needs {
  /** By the card's id. */
  readonly gpus: ReadonlyMap<string, number>
  readonly memory: number
}

const MIB = 1024 ** 2
/** What a driver takes on a card for a program that computes there: an estimate that is not llama.cpp's. */
export const CARD_OVERHEAD = 320 * MIB
/** Bytes that an engine takes beside its buffers: itself, words, settings. */
export const ENGINE_BYTES = 128 * MIB
/** Of a card, so much stays free: what node-llama-cpp leaves when it chooses layers. */
const CARD_SHARE = 0.12
const CARD_KEPT_MAX = 2.4 * 1024 ** 3
const DISPLAY_BYTES = 512 * MIB
/** Of the machine's free memory, so much stays free. */
const MEMORY_SHARE = 0.1

/** @param reserve bytes that the owner wants to stay free, instead of our own rule */
export function usable(card: Card, reserve: number | undefined): number {
  const least = card.hasDisplay === false ? 0 : DISPLAY_BYTES
  const kept = reserve ?? Math.max(Math.min(card.total * CARD_SHARE, CARD_KEPT_MAX), least)
  return Math.max(0, Math.floor(card.free - kept))
}

export function usableMemory({ memoryFree }: Machine): number {
  return Math.floor(memoryFree * (1 - MEMORY_SHARE))
}

/** @param gpuLayers as engines count; with none, or without cards, everything is in memory */
export function place(
  shape: ModelShape,
  demand: Demand,
  cards: readonly Card[],
  gpuLayers: number,
): Placement {
  const count = shape.layers.length
  const moved = cards.length === 0 ? 0 : Math.min(gpuLayers, count + 1)
  const start = count + 1 - moved
  const cardOf = splitter(cards, moved)
  const layersByGpu = new Map<string, number>()
  const gpus = new Map<string, number>()
  // What makes words counts as a layer of its own, the last one.
  for (let layer = start; layer <= count; layer++) {
    const card = cardOf(layer - start)
    const first = demand.compute + (card.isShared ? 0 : CARD_OVERHEAD)
    const bytes = layer < count ? (demand.perLayer[layer] ?? 0) : lastBytes(shape)
    gpus.set(card.id, (gpus.get(card.id) ?? first) + bytes)
    if (layer < count) layersByGpu.set(card.id, (layersByGpu.get(card.id) ?? 0) + 1)
  }
  const cpuLayers = Math.min(start, count)
  let memory =
    ENGINE_BYTES + shape.weights.embedding + demand.output + stepBytes(shape, demand, moved)
  for (let layer = 0; layer < cpuLayers; layer++) memory += demand.perLayer[layer] ?? 0
  if (moved === 0)
    memory += lastBytes(shape) - (shape.weights.isOutputTied ? shape.weights.output : 0)
  return { gpuLayers: moved, layersByGpu, cpuLayers, needs: { gpus, memory } }
}

/** Whether everything has its room. */
export function hasRoom(
  { needs }: Placement,
  machine: Machine,
  reserve: number | undefined,
): boolean {
  let shared = 0
  for (const card of machine.gpus) {
    const bytes = needs.gpus.get(card.id) ?? 0
    if (bytes > 0 && bytes > usable(card, reserve)) return false
    if (card.isShared) shared += bytes
  }
  return needs.memory + shared <= usableMemory(machine)
}

function lastBytes({ weights }: ModelShape): number {
  return weights.output + weights.other
}

/** Scratch memory on the side of the machine: all of it where layers are computed there. */
function stepBytes(shape: ModelShape, demand: Demand, moved: number): number {
  if (moved <= shape.layers.length) return demand.compute
  return Math.min(demand.compute, ENGINE_BYTES)
}

function splitter(cards: readonly Card[], moved: number): (at: number) => Card {
  const sum = cards.reduce((all, { free }) => all + free, 0)
  let before = 0
  const until = cards.map(({ free }) => {
    before += sum === 0 ? 1 / cards.length : free / sum
    return before
  })
  return (at) => {
    const found = until.findIndex((limit) => limit > at / moved)
    return (cards[found] ?? cards.at(-1)) as Card
  }
}
