/**
 * What each layer of a model remembers of a conversation: keys and values of all tokens, of the last ones
 * only, a state of fixed size, or nothing.
 *
 * The rules are llama.cpp's, architecture by architecture: `load_arch_hparams` of src/models/*.cpp, the
 * sizes of llama-hparams.cpp, and `create_memory` of llama-model.cpp. Tested by test/models/shape.ts.
 */
import type { GgufMetadata, GgufValue } from './gguf.ts'

export interface LayerMemory {
  /** Numbers kept for a token as its key, and as its value; 0: this layer keeps none. */
  readonly keyWidth: number
  readonly valueWidth: number
  /** It sees the last tokens only. */
  readonly isWindowed: boolean
  /** Bytes of a state that each conversation has, however long it is. */
  readonly stateBytes: number
}

/** Of a head, by keys without the name of the architecture. */
export class Settings {
  readonly architecture: string
  readonly metadata: GgufMetadata

  constructor(architecture: string, metadata: GgufMetadata) {
    this.architecture = architecture
    this.metadata = metadata
  }

  /** Undefined too for what cannot be a size. */
  number(key: string): number | undefined {
    return sizeOf(this.metadata.get(`${this.architecture}.${key}`))
  }

  /** Values by layer, whether one for all is written or a list. */
  each(key: string): ((layer: number) => number) | undefined {
    const value = this.metadata.get(`${this.architecture}.${key}`)
    if (Array.isArray(value)) return (layer) => sizeOf(value[layer]) ?? 0
    const one = this.number(key)
    return one === undefined ? undefined : () => one
  }

  list(key: string): readonly number[] | undefined {
    const value = this.metadata.get(`${this.architecture}.${key}`)
    return Array.isArray(value) ? value.map(Number) : undefined
  }
}

function sizeOf(value: GgufValue | undefined): number | undefined {
  if (typeof value !== 'number' && typeof value !== 'bigint') return undefined
  const size = Number(value)
  return Number.isInteger(size) && size >= 0 && size <= SIZE_MAX ? size : undefined
}

interface WindowRule {
  /** One layer of so many sees everything: the last of them, or the first. */
  readonly period: number
  readonly denseFirst?: true
  /** Where the file does not say it. */
  readonly window?: number
  /** Whatever the file says. */
  readonly isFixed?: true
  /** Only models with so many layers have windows. */
  readonly layers?: number
}

/** An engine ignores the window of an architecture that is not here and has no pattern in its file. */
const WINDOWS: Readonly<Record<string, WindowRule>> = {
  afmoe: { period: 4 },
  cohere2: { period: 4 },
  cohere2moe: { period: 4, denseFirst: true },
  exaone4: { period: 4, window: 4_096, layers: 64 },
  'exaone-moe': { period: 4, window: 128 },
  gemma2: { period: 2, window: 4_096 },
  gemma3: { period: 6 },
  gemma3n: { period: 5 },
  'gpt-oss': { period: 2 },
  laguna: { period: 4, denseFirst: true },
  llama4: { period: 4, window: 8_192, isFixed: true },
  mellum: { period: 4 },
  'muse-glimmer': { period: 4 },
  olmo2: { period: 4 },
  plamo3: { period: 8 },
  smallthinker: { period: 4, denseFirst: true, window: 4_096, isFixed: true },
}
/** With a list in the file that says which layers have a window. */
const WINDOWS_LISTED = ['gemma4', 'granite_swa', 'maple', 'mimo2', 'spark2_5', 'step35']

const RECURRENT = ['mamba', 'mamba2', 'rwkv6', 'rwkv6qwen2', 'rwkv7', 'arwkv7']
/** One layer of so many has attention, if the file does not say it; the others have a state. */
const INTERVAL = ['qwen3next', 'qwen35', 'qwen35moe', 'minimax-01']
const INTERVAL_USUAL = 4
/** Layers without heads for keys have a state. */
const HYBRID =
  'jamba granitehybrid lfm2 lfm2moe plamo2 nemotron_h nemotron_h_moe kimi-linear kimi-k3 bailingmoe3'.split(
    ' ',
  )
/** Every layer has both. */
const BOTH = 'falcon-h1'
/** Models that read a text as a whole and remember nothing. */
const WHOLE =
  'bert jina-bert-v2 jina-bert-v3 nomic-bert nomic-bert-moe neo-bert eurobert modern-bert gemma-embedding dream llada llada-moe rnd1'.split(
    ' ',
  )
const F32_BYTES = 4
/** Products of some of them are still whole numbers. */
const SIZE_MAX = 2 ** 32

/** @returns tokens, or undefined: all layers see everything */
export function windowOf(settings: Settings, layers: number): number | undefined {
  const rule = WINDOWS[settings.architecture]
  const written = settings.number('attention.sliding_window')
  const isListed =
    WINDOWS_LISTED.includes(settings.architecture) || /^lfm2/.test(settings.architecture)
  if (written === 0 || (rule === undefined && !isListed)) return undefined
  if (rule?.layers !== undefined && rule.layers !== layers) return undefined
  return rule?.isFixed ? rule.window : (written ?? rule?.window)
}

/** Which layers have the window. */
function windowed(settings: Settings, layers: number, isRecurrent: (layer: number) => boolean) {
  if (windowOf(settings, layers) === undefined) return () => false
  const listed = settings.list('attention.sliding_window_pattern')
  if (listed !== undefined) return (layer: number) => (listed[layer] ?? 0) !== 0
  const rule = WINDOWS[settings.architecture]
  if (rule === undefined)
    return (layer: number) => /^lfm2/.test(settings.architecture) && !isRecurrent(layer)
  const period = settings.number('attention.sliding_window_pattern') ?? rule.period
  if (period === 0) return () => true
  return rule.denseFirst
    ? (layer: number) => layer % period !== 0
    : (layer: number) => layer % period < period - 1
}

function recurrent(settings: Settings, layers: number): (layer: number) => boolean {
  const { architecture } = settings
  if (RECURRENT.includes(architecture) || architecture === BOTH) return () => true
  if (INTERVAL.includes(architecture)) {
    const listed = settings.list('attention.recurrent_layers')
    if (listed !== undefined) return (layer) => (listed[layer] ?? 0) !== 0
    const interval = settings.number('full_attention_interval') ?? INTERVAL_USUAL
    return (layer) => layer < layers && (layer + 1) % interval !== 0
  }
  if (!HYBRID.includes(architecture)) return () => false
  const heads = settings.each('attention.head_count_kv')
  const hidden = settings.each('feed_forward_length')
  const isBare = architecture.startsWith('nemotron')
  return (layer) => heads?.(layer) === 0 && (!isBare || (hidden?.(layer) ?? 0) === 0)
}

/** Bytes of the state of one layer: what a convolution looks back on, and the sums. */
function stateBytes(settings: Settings): number {
  const width = settings.number('embedding_length') ?? 0
  const heads = settings.each('attention.head_count')?.(0) ?? 0
  const kernel = settings.number('ssm.conv_kernel') ?? 0
  const wkv = settings.number('wkv.head_size') ?? 0
  if (wkv > 0) return ((settings.number('token_shift_count') ?? 2) + wkv) * width * F32_BYTES
  const shortConvolution = settings.number('shortconv.l_cache') ?? 0
  if (shortConvolution > 0) return width * (shortConvolution - 1) * F32_BYTES
  const kda = settings.number('kda.head_dim') ?? 0
  if (kda > 0)
    return (3 * (kernel > 0 ? kernel - 1 : 3) * heads * kda + kda * kda * heads) * F32_BYTES
  const inner = settings.number('ssm.inner_size') ?? 0
  const state = settings.number('ssm.state_size') ?? 0
  const groups = settings.number('ssm.group_count') ?? 0
  const looksBack = Math.max(0, kernel - 1) * (inner + 2 * groups * state)
  return (looksBack + state * inner) * F32_BYTES
}

/** Layers from which on the keys and values of earlier ones are used. */
function sharedFrom(settings: Settings, layers: number): number {
  if (settings.architecture === 'gemma3n') return 20
  if (settings.architecture === 'gemma4')
    return layers - (settings.number('attention.shared_kv_layers') ?? 0)
  return layers
}

/** Memory of `layers` layers, in their order. */
export function layerMemories(settings: Settings, layers: number): LayerMemory[] {
  const none = { keyWidth: 0, valueWidth: 0, isWindowed: false, stateBytes: 0 }
  if (WHOLE.includes(settings.architecture)) return Array.from({ length: layers }, () => none)
  const isRecurrent = recurrent(settings, layers)
  const isWindowed = windowed(settings, layers, isRecurrent)
  const state = stateBytes(settings)
  const from = sharedFrom(settings, layers)
  const widths = cellWidths(settings)
  return Array.from({ length: layers }, (_, layer) => {
    const hasState = isRecurrent(layer)
    const hasCells = (!hasState || settings.architecture === BOTH) && layer < from
    const cells = hasCells ? widths(layer, isWindowed(layer)) : none
    return {
      keyWidth: cells.keyWidth,
      valueWidth: cells.valueWidth,
      isWindowed: isWindowed(layer) && cells.keyWidth > 0,
      stateBytes: hasState ? state : 0,
    }
  })
}

function cellWidths(settings: Settings) {
  const embedding = settings.number('embedding_length') ?? 0
  const heads = settings.each('attention.head_count')
  const kvHeads = settings.each('attention.head_count_kv') ?? heads
  const usual = Math.floor(embedding / Math.max(1, heads?.(0) ?? 1))
  const key = settings.number('attention.key_length') ?? usual
  const value = settings.number('attention.value_length') ?? usual
  const windowKey = settings.number('attention.key_length_swa') ?? key
  const windowValue = settings.number('attention.value_length_swa') ?? value
  // One compressed vector stands for key and value.
  const isLatent = (settings.number('attention.key_length_mla') ?? 0) > 0
  return (layer: number, isWindowed: boolean) => {
    const count = kvHeads?.(layer) ?? 0
    return {
      keyWidth: count * (isWindowed ? windowKey : key),
      valueWidth: isLatent ? 0 : count * (isWindowed ? windowValue : value),
    }
  }
}

export function isLatentAttention(settings: Settings): boolean {
  return (settings.number('attention.kv_lora_rank') ?? 0) > 0
}

export function remembersNothing({ architecture }: Settings): boolean {
  return WHOLE.includes(architecture)
}
