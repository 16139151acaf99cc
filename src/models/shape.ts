/**
 * What counts of a model for memory and speed, from the heads of its files: layers, what they keep of a
 * conversation, where the weights are, and how many of them a token needs.
 *
 * Everything is read and nothing is guessed from a name. Keys: ggml-org/ggml docs/gguf.md and llama.cpp's
 * llama-arch.cpp. Tested by test/models/shape.ts.
 */
import { broken, type GgufHead, type GgufTensor, numberOf, textOf } from './gguf.ts'
import { quantisationOf, tensorBytes, typeName } from './gguf-types.ts'
import {
  isLatentAttention,
  type LayerMemory,
  layerMemories,
  remembersNothing,
  Settings,
  windowOf,
} from './shape-layers.ts'

export interface ModelShape {
  /** Such as `llama` or `qwen3moe`. */
  readonly architecture: string
  readonly name?: string
  /** Such as `Q4_K_M`; by the most frequent kind of numbers where the file does not say it. */
  readonly quantisation: string
  readonly parameters: number
  readonly layers: readonly LayerShape[]
  /** Numbers of a token between layers. */
  readonly embedding: number
  /** Of the widest layer without experts; 0: all have them. */
  readonly feedForward: number
  readonly heads: number
  /** Of the layer that has most. */
  readonly kvHeads: number
  readonly contextTrained: number
  /** Tokens that the layers with a window see. */
  readonly slidingWindow?: number
  readonly vocabulary: number
  /** Keys and values are kept as one compressed vector. */
  readonly isLatent: boolean
  readonly experts?: {
    readonly count: number
    /** For each token. */
    readonly used: number
    /** Numbers inside one of them. */
    readonly width: number
  }
  /** Numbers of all questions that a layer asks for a token. */
  readonly queryWidth: number
  /** Numbers inside a layer with a state. */
  readonly stateWidth: number
  readonly weights: WeightBytes
  /** It makes vectors, no text. */
  readonly isEmbeddingOnly: boolean
  readonly hasChatTemplate: boolean
  /** Its template knows tools. */
  readonly hasTools: boolean
}

export interface LayerShape extends LayerMemory {
  /** Bytes of its weights. */
  readonly weights: number
}

/** Bytes. */
export interface WeightBytes {
  readonly total: number
  /** The table of words, of which each token needs a row. It stays in the machine's memory. */
  readonly embedding: number
  /** What makes words of the last layer: its own, or the table of words once more. */
  readonly output: number
  readonly isOutputTied: boolean
  /** Of other tensors that belong to no layer, such as the last norm. */
  readonly other: number
  /** Read for each token. */
  readonly active: number
}

const LAYERS_MAX = 4_096
const LAYER = /^blk\.(\d+)\./
const EXPERTS = /_exps\.(weight|bias|scale)$/
const DENSE = /\.ffn_up\.weight$/
const EMBEDDING = /^(token_embd|per_layer_token_embd|token_types|position_embd)\b/
const OUTPUT = /^output\./

/** @throws ModelError MODEL_LOAD: not a language model, or a head that cannot be */
export function shapeOf(heads: readonly GgufHead[]): ModelShape {
  const [first] = heads
  if (first === undefined) throw broken('no part of it was read')
  const { metadata } = first
  const architecture = textOf(metadata, 'general.architecture')
  if (architecture === undefined) throw broken('it does not say its architecture')
  const settings = new Settings(architecture, metadata)
  const layerCount = positive(settings, 'block_count', LAYERS_MAX)
  const ahead = settings.number('nextn_predict_layers') ?? 0
  const tensors = heads.flatMap((head) => head.tensors)
  const weights = weigh(tensors, settings, layerCount)
  const memories = layerMemories(settings, Math.max(0, layerCount - ahead))
  const layers = weights.byLayer.map((bytes, layer) => ({
    ...(memories[layer] ?? { keyWidth: 0, valueWidth: 0, isWindowed: false, stateBytes: 0 }),
    weights: bytes,
  }))
  const window = windowOf(settings, layerCount)
  const name = textOf(metadata, 'general.name')
  const template = textOf(metadata, 'tokenizer.chat_template')
  const experts = settings.number('expert_count') ?? 0
  const pooling = settings.number('pooling_type') ?? 0
  return {
    architecture,
    ...(name === undefined ? {} : { name }),
    quantisation: quantisation(first, tensors),
    parameters: tensors.reduce((all, { dimensions }) => all + elements(dimensions), 0),
    layers,
    embedding: positive(settings, 'embedding_length', 1_048_576),
    feedForward:
      experts > 0 && !tensors.some(({ name }) => DENSE.test(name))
        ? 0
        : most(settings, 'feed_forward_length', layerCount),
    heads: most(settings, 'attention.head_count', layerCount),
    kvHeads:
      most(settings, 'attention.head_count_kv', layerCount) ||
      most(settings, 'attention.head_count', layerCount),
    contextTrained: positive(settings, 'context_length', 2 ** 32),
    ...(window === undefined ? {} : { slidingWindow: window }),
    vocabulary: vocabularyOf(first, settings, tensors),
    isLatent: isLatentAttention(settings),
    ...(experts === 0
      ? {}
      : {
          experts: {
            count: experts,
            used: settings.number('expert_used_count') ?? 1,
            width: most(settings, 'expert_feed_forward_length', layerCount),
          },
        }),
    queryWidth: queryWidth(settings, layerCount),
    stateWidth: settings.number('ssm.inner_size') ?? 0,
    weights: weights.bytes,
    isEmbeddingOnly: remembersNothing(settings) || pooling > 0,
    hasChatTemplate: template !== undefined,
    hasTools: template !== undefined && /\btools\b/.test(template),
  }
}

function weigh(tensors: readonly GgufTensor[], settings: Settings, layers: number) {
  const byLayer = Array.from({ length: layers }, () => 0)
  const used = settings.number('expert_used_count') ?? 0
  const count = settings.number('expert_count') ?? 0
  const share = count > 0 && used > 0 ? Math.min(1, used / count) : 1
  let embedding = 0
  let table = 0
  let own = 0
  let other = 0
  let active = 0
  for (const tensor of tensors) {
    const bytes = tensorBytes(tensor)
    const layer = Number(LAYER.exec(tensor.name)?.[1] ?? -1)
    if (byLayer[layer] !== undefined) {
      byLayer[layer] += bytes
      active += EXPERTS.test(tensor.name) ? bytes * share : bytes
    } else if (EMBEDDING.test(tensor.name)) {
      embedding += bytes
      if (tensor.name === 'token_embd.weight') table = bytes
    } else if (OUTPUT.test(tensor.name)) own += bytes
    else other += bytes
  }
  const output = own > 0 ? own : table
  const total = byLayer.reduce((all, one) => all + one, embedding + own + other)
  active = Math.round(active + output + other)
  return { byLayer, bytes: { total, embedding, output, isOutputTied: own === 0, other, active } }
}

function elements(dimensions: readonly number[]): number {
  return dimensions.reduce((all, one) => all * one, 1)
}

function positive(settings: Settings, key: string, most: number): number {
  const value = settings.number(key)
  if (value === undefined || !Number.isInteger(value) || value < 1 || value > most)
    throw broken(`its ${settings.architecture}.${key} is ${value ?? 'missing'}`)
  return value
}

/** The largest of all layers; 0 where nothing is written. */
function most(settings: Settings, key: string, layers: number): number {
  const each = settings.each(key)
  if (each === undefined) return 0
  let largest = 0
  for (let layer = 0; layer < layers; layer++) largest = Math.max(largest, each(layer))
  return largest
}

function queryWidth(settings: Settings, layers: number): number {
  const heads = most(settings, 'attention.head_count', layers)
  const usual = Math.floor((settings.number('embedding_length') ?? 0) / Math.max(1, heads))
  return heads * (settings.number('attention.key_length') ?? usual)
}

function vocabularyOf(
  { metadata }: GgufHead,
  settings: Settings,
  tensors: readonly GgufTensor[],
): number {
  const words = metadata.get('tokenizer.ggml.tokens')
  if (Array.isArray(words)) return words.length
  const table = tensors.find(({ name }) => name === 'token_embd.weight')
  return settings.number('vocab_size') ?? table?.dimensions[1] ?? 0
}

function quantisation({ metadata }: GgufHead, tensors: readonly GgufTensor[]): string {
  const written = quantisationOf(numberOf(metadata, 'general.file_type'))
  if (written !== undefined) return written
  const sizes = new Map<number, number>()
  for (const { type, dimensions } of tensors)
    sizes.set(type, (sizes.get(type) ?? 0) + elements(dimensions))
  const [largest] = [...sizes].sort(([, a], [, b]) => b - a)
  return (largest === undefined ? undefined : typeName(largest[0])) ?? 'unknown'
}
