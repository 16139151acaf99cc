/**
 * Bytes that an engine takes for a model and a context of some size.
 *
 * The rules are llama.cpp's: cells of llama-kv-cache.cpp and llama-kv-cache-iswa.cpp, states of
 * llama-memory-recurrent.cpp, the output of `output_reserve`. Scratch memory for a step has no formula there:
 * ours names the three moments in which most is held, and was fitted to what the engine says of itself
 * (test/vectors/engine-memory.json). Tested by test/models/fit-demand.ts.
 */
import { type KvType, kvRowBytes } from './gguf-types.ts'
import type { LayerShape, ModelShape } from './shape.ts'

export interface ContextSize {
  /** Tokens of each slot. */
  readonly contextSize: number
  readonly slots: number
}

export interface DemandOptions extends ContextSize {
  readonly kvType: KvType
  readonly flashAttention: boolean
  /** Tokens of a step. */
  readonly batchTokens: number
  /** Layers with a window keep everything all the same. */
  readonly isWindowIgnored?: boolean
}

/** Bytes. */
export interface Demand {
  readonly weights: number
  readonly kv: number
  /** States of fixed size. */
  readonly recurrent: number
  /** Scratch memory of a step. */
  readonly compute: number
  /** What a step answers: always in the machine's memory. */
  readonly output: number
  /** Weights, keys, values and state of each layer. */
  readonly perLayer: readonly number[]
  readonly total: number
}

/** A context is cut into pieces of so many cells. */
const CELLS_STEP = 256
const F32_BYTES = 4

export function demandOf(shape: ModelShape, options: DemandOptions): Demand {
  const layers = shape.layers.map((layer) => layerCache(shape, layer, options))
  const kv = layers.reduce((all, layer) => all + layer.kv, 0)
  const recurrent = layers.reduce((all, layer) => all + layer.recurrent, 0)
  const compute = computeBytes(shape, options)
  const output = options.slots * outputWidth(shape) * F32_BYTES
  const perLayer = layers.map((layer, at) => layer.kv + layer.recurrent + weightsOf(shape, at))
  const weights = shape.weights.total
  return {
    weights,
    kv,
    recurrent,
    compute,
    output,
    perLayer,
    total: weights + kv + recurrent + compute + output,
  }
}

/** Bytes that one more token of one conversation takes, windows left out. */
export function kvBytesPerToken(shape: ModelShape, kvType: KvType): number {
  return shape.layers.reduce(
    (all, { keyWidth, valueWidth, isWindowed }) =>
      isWindowed ? all : all + kvRowBytes(kvType, keyWidth) + kvRowBytes(kvType, valueWidth),
    0,
  )
}

/** A context as an engine makes it. */
export function paddedContext(contextSize: number): number {
  return Math.ceil(contextSize / CELLS_STEP) * CELLS_STEP
}

function weightsOf(shape: ModelShape, layer: number): number {
  return shape.layers[layer]?.weights ?? 0
}

function layerCache(shape: ModelShape, layer: LayerShape, options: DemandOptions) {
  const { kvType, slots, flashAttention } = options
  const cells = cellsOf(shape, layer, options)
  // Without flash attention all layers keep values of the widest one.
  const valueWidth =
    flashAttention || layer.valueWidth === 0
      ? layer.valueWidth
      : Math.max(...shape.layers.map((other) => other.valueWidth))
  return {
    kv: cells * slots * (kvRowBytes(kvType, layer.keyWidth) + kvRowBytes(kvType, valueWidth)),
    recurrent: layer.stateBytes * slots,
  }
}

function cellsOf(shape: ModelShape, { isWindowed }: LayerShape, options: DemandOptions): number {
  const all = paddedContext(options.contextSize)
  if (!isWindowed || options.isWindowIgnored || shape.slidingWindow === undefined) return all
  return paddedContext(Math.min(all, shape.slidingWindow + stepTokens(shape, options)))
}

/** Where there is a window, the library adds a token to each step. */
function stepTokens(shape: ModelShape, { batchTokens, slots }: DemandOptions): number {
  return Math.max(batchTokens, slots) + (shape.slidingWindow === undefined ? 0 : 1)
}

function outputWidth(shape: ModelShape): number {
  return shape.isEmbeddingOnly ? shape.embedding : shape.vocabulary
}

/**
 * The most that is held at a time: when the words are weighed, inside the widest layer, or when all tokens
 * are held against all cells.
 */
function computeBytes(shape: ModelShape, options: DemandOptions): number {
  const cells = paddedContext(options.contextSize)
  const tokens = Math.min(stepTokens(shape, options), cells * options.slots)
  const { embedding, queryWidth, experts } = shape
  const remembers = shape.layers.some(({ keyWidth }) => keyWidth > 0)
  const seen = remembers ? cells : shape.heads > 0 ? tokens : 0
  const mask = seen * (options.flashAttention ? 2 : F32_BYTES)
  const kvWidth = Math.max(0, ...shape.layers.map(({ keyWidth }) => keyWidth))
  const words = (outputWidth(shape) + 2 * embedding) * F32_BYTES
  const hidden = Math.max(shape.feedForward, shape.stateWidth)
  const { used = 0, width = 0 } = experts ?? {}
  const chosen = used * Math.max(3 * width, embedding + width)
  const inside =
    Math.max(hidden > 0 ? 3 * hidden + 4 * embedding : 0, chosen + 3 * embedding) * F32_BYTES + mask
  const scores = options.flashAttention ? 0 : shape.heads * seen * F32_BYTES
  const attention = (3 * embedding + 2 * queryWidth + 2 * kvWidth) * F32_BYTES + scores + mask
  return tokens * Math.max(words, inside, attention)
}
