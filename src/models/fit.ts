/**
 * Does this model fit this machine, and how: before anything is downloaded.
 *
 * Tried in this order: one card, the one on which least room is left over; several cards; some layers on
 * cards; the processor alone. What is `auto` grows as the engine's own `auto` does (llamacpp/hardware.ts):
 * a usual context, then slots, then more context. Pure: sizes in, a plan out. Tested by test/models/fit.ts.
 */
import { type ContextSize, type Demand, demandOf } from './fit-demand.ts'
import { failureLines, planLines } from './fit-lines.ts'
import { hasRoom, type Machine, type Placement, place, usable, usableMemory } from './fit-place.ts'
import type { KvType } from './gguf-types.ts'
import type { ModelShape } from './shape.ts'

export interface FitWish {
  /** Tokens of each slot. */
  readonly contextSize?: number | 'auto'
  readonly slots?: number | 'auto'
  readonly kvType?: KvType
  readonly flashAttention?: boolean
  /** Tokens of a step. */
  readonly batchTokens?: number
  /** Bytes that stay free on each card; otherwise a tenth, and 512 MiB where a display may be. */
  readonly reserve?: number
}

/**
 * `gpu`: one card holds it. `split`: several cards hold it. `partial`: some layers are computed by the
 * processor. `cpu`: all are. `no`: it does not fit.
 */
export type Verdict = 'gpu' | 'split' | 'partial' | 'cpu' | 'no'

export interface FitPlan extends Placement, ContextSize {
  readonly verdict: Verdict
  readonly kvType: KvType
  /** Of the whole, wherever it lies. */
  readonly demand: Demand
  /** The arithmetic for people, one sum a line. */
  readonly lines: readonly string[]
}

const CONTEXT_USUAL = 8_192
const CONTEXT_MAX = 32_768
/** Less is taken only if nothing else helps. */
const CONTEXT_FAIR = 4_096
const CONTEXT_LEAST = 512
const SLOTS_MAX = { cpu: 4, gpu: 8 }
const BATCH_TOKENS = 512
/** Of the memory that the weights leave, `auto` takes no more on a machine that people use. */
const CPU_SHARE = 0.5

interface Fitted {
  readonly size: ContextSize
  readonly placement: Placement
}

export function fit(shape: ModelShape, machine: Machine, wish: FitWish = {}): FitPlan {
  const task = new Fitting(shape, machine, wish)
  for (const least of [CONTEXT_FAIR, CONTEXT_LEAST]) {
    const found = task.oneCard(least) ?? task.severalCards(least)
    if (found !== undefined) return task.plan(found)
    const partly = least === CONTEXT_FAIR ? task.partly(least) : undefined
    if (partly !== undefined) return task.plan(partly)
  }
  const found = task.processor()
  return found === undefined ? task.refusal() : task.plan(found)
}

class Fitting {
  readonly #shape: ModelShape
  readonly #machine: Machine
  readonly #wish: FitWish
  readonly #all: number

  constructor(shape: ModelShape, machine: Machine, wish: FitWish) {
    this.#shape = shape
    this.#machine = machine
    this.#wish = wish
    this.#all = shape.layers.length + 1
  }

  oneCard(least: number): Fitted | undefined {
    const { reserve } = this.#wish
    const tightFirst = [...this.#machine.gpus].sort(
      (a, b) => usable(a, reserve) - usable(b, reserve),
    )
    for (const card of tightFirst) {
      const found = this.#grown(least, SLOTS_MAX.gpu, (size) => this.#placed(size, [card]))
      if (found !== undefined) return found
    }
    return undefined
  }

  /** As few cards as are needed. */
  severalCards(least: number): Fitted | undefined {
    const cards = this.#largestFirst()
    for (let count = 2; count <= cards.length; count++) {
      const some = this.#inOrder(cards.slice(0, count))
      const found = this.#grown(least, SLOTS_MAX.gpu, (size) => this.#placed(size, some))
      if (found !== undefined) return found
    }
    return undefined
  }

  /** As many layers on the cards as go there, beside a fair context. */
  partly(least: number): Fitted | undefined {
    const size = this.#least(least)
    const cards = this.#inOrder(this.#largestFirst())
    if (cards.length === 0) return undefined
    const demand = this.demand(size)
    for (let layers = this.#all - 1; layers > 1; layers--) {
      const placement = place(this.#shape, demand, cards, layers)
      if (hasRoom(placement, this.#machine, this.#wish.reserve)) return { size, placement }
    }
    return undefined
  }

  processor(): Fitted | undefined {
    const usual = usableMemory(this.#machine) - this.#shape.weights.total
    const isAuto = isOpen(this.#wish.contextSize) || isOpen(this.#wish.slots)
    const modest = isAuto ? usual * CPU_SHARE : usual
    const inMemory = (size: ContextSize) => {
      const placement = place(this.#shape, this.demand(size), [], 0)
      return placement.needs.memory - this.#shape.weights.total <= modest &&
        hasRoom(placement, this.#machine, undefined)
        ? placement
        : undefined
    }
    return this.#grown(CONTEXT_LEAST, SLOTS_MAX.cpu, inMemory)
  }

  demand(size: ContextSize): Demand {
    const { kvType = 'f16', flashAttention = true, batchTokens = BATCH_TOKENS } = this.#wish
    return demandOf(this.#shape, { ...size, kvType, flashAttention, batchTokens })
  }

  plan({ size, placement }: Fitted): FitPlan {
    const cards = placement.needs.gpus.size
    const isWhole = placement.gpuLayers === this.#all
    const verdict = cards === 0 ? 'cpu' : !isWhole ? 'partial' : cards === 1 ? 'gpu' : 'split'
    const kvType = this.#wish.kvType ?? 'f16'
    const demand = this.demand(size)
    const lines = planLines({
      shape: this.#shape,
      machine: this.#machine,
      size,
      placement,
      demand,
      reserve: this.#wish.reserve,
      kvType,
    })
    return { verdict, ...size, ...placement, kvType, demand, lines }
  }

  refusal(): FitPlan {
    const size = this.#least(CONTEXT_LEAST)
    const demand = this.demand(size)
    const lines = failureLines({
      shape: this.#shape,
      machine: this.#machine,
      size,
      demand,
      placement: place(this.#shape, demand, [], 0),
      reserve: this.#wish.reserve,
      kvType: this.#wish.kvType ?? 'f16',
    })
    return {
      verdict: 'no',
      ...size,
      gpuLayers: 0,
      layersByGpu: new Map(),
      cpuLayers: 0,
      needs: { gpus: new Map(), memory: 0 },
      kvType: this.#wish.kvType ?? 'f16',
      demand,
      lines,
    }
  }

  #placed(size: ContextSize, cards: Machine['gpus']): Placement | undefined {
    const placement = place(this.#shape, this.demand(size), cards, this.#all)
    return hasRoom(placement, this.#machine, this.#wish.reserve) ? placement : undefined
  }

  /** Cards without memory of their own do not share a model with others. */
  #largestFirst(): Machine['gpus'] {
    const { reserve } = this.#wish
    const own = this.#machine.gpus.filter(({ isShared }) => !isShared)
    const cards = own.length > 0 ? own : this.#machine.gpus.slice(0, 1)
    return [...cards].sort((a, b) => usable(b, reserve) - usable(a, reserve))
  }

  #inOrder(cards: Machine['gpus']): Machine['gpus'] {
    return this.#machine.gpus.filter((card) => cards.includes(card))
  }

  #least(least: number): ContextSize {
    const { contextSize, slots } = this.#wish
    return {
      contextSize: isOpen(contextSize) ? Math.min(least, this.#shape.contextTrained) : contextSize,
      slots: isOpen(slots) ? 1 : slots,
    }
  }

  /** The usual size or the largest below it, then slots, then more context. */
  #grown(
    least: number,
    slotsMax: number,
    fits: (size: ContextSize) => Placement | undefined,
  ): Fitted | undefined {
    const { contextSize, slots } = this.#wish
    const trained = this.#shape.contextTrained
    const first = this.#least(least)
    const sizes = isOpen(contextSize)
      ? halves(Math.min(CONTEXT_USUAL, trained), first.contextSize)
      : [contextSize]
    let best = largest(
      sizes.map((size) => ({ ...first, contextSize: size })),
      fits,
    )
    if (best === undefined) return undefined
    for (let count = best.size.slots * 2; isOpen(slots) && count <= slotsMax; count *= 2) {
      const more = largest([{ ...best.size, slots: count }], fits)
      if (more === undefined) return best
      best = more
    }
    if (!isOpen(contextSize)) return best
    const larger = halves(Math.min(CONTEXT_MAX, trained), best.size.contextSize + 1)
    return (
      largest(
        larger.map((size) => ({ contextSize: size, slots: best.size.slots })),
        fits,
      ) ?? best
    )
  }
}

function isOpen(wish: number | 'auto' | undefined): wish is 'auto' | undefined {
  return wish === undefined || wish === 'auto'
}

function halves(most: number, least: number): number[] {
  const out: number[] = []
  for (let size = most; size >= least; size = Math.floor(size / 2)) out.push(size)
  return out
}

function largest(
  sizes: readonly ContextSize[],
  fits: (size: ContextSize) => Placement | undefined,
): Fitted | undefined {
  for (const size of sizes) {
    const placement = fits(size)
    if (placement !== undefined) return { size, placement }
  }
  return undefined
}
