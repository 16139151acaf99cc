/**
 * Heads of GGUF files as converters write them for models that everyone knows, without the weights: settings
 * from the published `config.json`, tensors by llama.cpp's names. An engine loads a file of them that is
 * padded with nothing, as long as it does not look at the numbers.
 */
import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs'
import { type GgufTensor, parseGgufHead } from '../../src/models/gguf.ts'
import { tensorBytes } from '../../src/models/gguf-types.ts'
import { type ModelShape, shapeOf } from '../../src/models/shape.ts'
import { byteLetters, ggufBytes, type Meta } from './gguf.ts'

export interface Plan {
  readonly architecture: string
  readonly name: string
  readonly layers: number
  readonly embedding: number
  readonly feedForward: number
  readonly heads: number
  /** One list where layers differ. */
  readonly kvHeads: number | readonly number[]
  readonly headLength?: number
  readonly vocabulary: number
  readonly context: number
  /** Of matrices, by ggml's numbers; of experts too unless they have their own. */
  readonly type: number
  readonly expertType?: number
  readonly fileType?: number
  readonly isTied?: boolean
  readonly experts?: {
    readonly count: number
    readonly used: number
    readonly width: number
    readonly shared?: number
    readonly denseFirst?: number
  }
  readonly extras?: Meta
  /** `<layer tensors>` that only this architecture has. */
  readonly norms?: readonly string[]
  readonly parts?: (plan: Plan, layer: number) => readonly Part[] | undefined
}

type Part = readonly [name: string, ...dimensions: number[]]

const F32 = 0

export function headLength(plan: Plan): number {
  return plan.headLength ?? plan.embedding / plan.heads
}

function kvHeadsOf(plan: Plan, layer: number): number {
  return typeof plan.kvHeads === 'number' ? plan.kvHeads : (plan.kvHeads[layer] ?? 0)
}

export function attention(plan: Plan, layer: number): Part[] {
  const { embedding, heads } = plan
  const length = headLength(plan)
  return [
    ['attn_q.weight', embedding, heads * length],
    ['attn_k.weight', embedding, kvHeadsOf(plan, layer) * length],
    ['attn_v.weight', embedding, kvHeadsOf(plan, layer) * length],
    ['attn_output.weight', heads * length, embedding],
  ]
}

export function feedForward(plan: Plan, layer: number): Part[] {
  const { embedding, experts } = plan
  if (experts === undefined || layer < (experts.denseFirst ?? 0))
    return [
      ['ffn_gate.weight', embedding, plan.feedForward],
      ['ffn_up.weight', embedding, plan.feedForward],
      ['ffn_down.weight', plan.feedForward, embedding],
    ]
  const { count, width, shared = 0 } = experts
  const own: Part[] = [
    ['ffn_gate_inp.weight', embedding, count],
    ['ffn_gate_exps.weight', embedding, width, count],
    ['ffn_up_exps.weight', embedding, width, count],
    ['ffn_down_exps.weight', width, embedding, count],
  ]
  if (shared > 0)
    own.push(
      ['ffn_gate_shexp.weight', embedding, width * shared],
      ['ffn_up_shexp.weight', embedding, width * shared],
      ['ffn_down_shexp.weight', width * shared, embedding],
    )
  return own
}

function layerParts(plan: Plan, layer: number): readonly Part[] {
  const norms = (plan.norms ?? []).map(
    (name): Part => [name, /_[qk]_norm/.test(name) ? headLength(plan) : plan.embedding],
  )
  const own = plan.parts?.(plan, layer)
  return [
    ['attn_norm.weight', plan.embedding],
    ...(own ?? [...attention(plan, layer), ...feedForward(plan, layer)]),
    ...(own === undefined ? [['ffn_norm.weight', plan.embedding] as const] : []),
    ...norms,
  ]
}

export function tensorsOf(plan: Plan): GgufTensor[] {
  const whole: Part[] = [
    ['token_embd.weight', plan.embedding, plan.vocabulary],
    ['output_norm.weight', plan.embedding],
  ]
  if (!plan.isTied) whole.push(['output.weight', plan.embedding, plan.vocabulary])
  for (let layer = 0; layer < plan.layers; layer++)
    for (const [name, ...dimensions] of layerParts(plan, layer))
      whole.push([`blk.${layer}.${name}`, ...dimensions])
  return whole.map(([name, ...dimensions]) => {
    const isSmall = dimensions.length === 1 || /norm|ssm_[ad]$|conv|gate_inp|sinks|bias/.test(name)
    const type = /_exps\.weight/.test(name) ? (plan.expertType ?? plan.type) : plan.type
    return { name, dimensions, type: isSmall ? F32 : type }
  })
}

export function metaOf(plan: Plan, { words }: { words: boolean }): Meta {
  const { architecture } = plan
  const own = Object.fromEntries(
    Object.entries({
      context_length: plan.context,
      embedding_length: plan.embedding,
      block_count: plan.layers,
      feed_forward_length: plan.feedForward,
      'attention.head_count': plan.heads,
      'attention.head_count_kv': plan.kvHeads,
      'attention.layer_norm_rms_epsilon': 0.000_01,
      ...(plan.headLength === undefined
        ? {}
        : {
            'attention.key_length': plan.headLength,
            'attention.value_length': plan.headLength,
          }),
      ...(plan.experts === undefined
        ? {}
        : {
            expert_count: plan.experts.count,
            expert_used_count: plan.experts.used,
            expert_feed_forward_length: plan.experts.width,
            expert_shared_count: plan.experts.shared ?? 0,
            leading_dense_block_count: plan.experts.denseFirst ?? 0,
          }),
      ...plan.extras,
    }).map(([key, value]) => [`${architecture}.${key}`, value]),
  )
  const letters = byteLetters()
  return {
    'general.architecture': architecture,
    'general.name': plan.name,
    ...(plan.fileType === undefined ? {} : { 'general.file_type': plan.fileType }),
    ...own,
    ...(words
      ? {
          'tokenizer.ggml.model': 'gpt2',
          'tokenizer.ggml.pre': 'gpt-2',
          'tokenizer.ggml.tokens': Array.from(
            { length: plan.vocabulary },
            (_, at) => letters[at] ?? `w${at}`,
          ),
          'tokenizer.ggml.token_type': Array.from({ length: plan.vocabulary }, () => 1),
          'tokenizer.ggml.merges': ['a b'],
          'tokenizer.ggml.eos_token_id': 0,
        }
      : {}),
    'tokenizer.chat_template': '{% for tool in tools %}{{ tool }}{% endfor %}{{ messages }}',
  }
}

/** A whole head; `words`: with a vocabulary, as an engine wants it. */
export function headBytes(meta: Meta, tensors: readonly GgufTensor[]): Buffer {
  const start = Buffer.from(ggufBytes(meta))
  start.writeBigUInt64LE(BigInt(tensors.length), 8)
  let offset = 0
  const list = tensors.map((tensor) => {
    const name = Buffer.from(tensor.name)
    const bytes = Buffer.alloc(8 + name.length + 4 + 8 * tensor.dimensions.length + 4 + 8)
    bytes.writeBigUInt64LE(BigInt(name.length), 0)
    name.copy(bytes, 8)
    let at = 8 + name.length
    at = bytes.writeUInt32LE(tensor.dimensions.length, at)
    for (const one of tensor.dimensions) at = bytes.writeBigUInt64LE(BigInt(one), at)
    at = bytes.writeUInt32LE(tensor.type, at)
    bytes.writeBigUInt64LE(BigInt(offset), at)
    offset += padded(tensorBytes(tensor))
    return bytes
  })
  return Buffer.concat([start, ...list])
}

/** A file of full length that takes no room on the disk. */
export function writeHollow(path: string, plan: Plan): void {
  const tensors = tensorsOf(plan)
  const head = headBytes(metaOf(plan, { words: true }), tensors)
  const data = tensors.reduce((all, tensor) => all + padded(tensorBytes(tensor)), 0)
  const file = openSync(path, 'w')
  try {
    writeSync(file, head)
    ftruncateSync(file, padded(head.length) + data)
  } finally {
    closeSync(file)
  }
}

function padded(bytes: number): number {
  return Math.ceil(bytes / 32) * 32
}

/** As it is read from the head. */
export function shapeOfPlan(plan: Plan, more: Meta = {}): ModelShape {
  const meta = { ...metaOf(plan, { words: false }), ...more }
  const head = parseGgufHead(headBytes(meta, tensorsOf(plan)))
  if (head === undefined) throw new Error('the head is not whole')
  return shapeOf([head])
}
