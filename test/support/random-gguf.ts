/**
 * Weights of the llama architecture filled with chance: nothing to say, but the work of a real model of its size.
 *
 * GGUF v3, little endian: magic, version, counts, key-value pairs, tensor directory, then the tensors, each
 * padded to 32 bytes. Dimensions are written fastest first. Matrices are Q8_0 (blocks of 32: an f16 scale and 32
 * signed bytes), vectors F32.
 */
import { closeSync, openSync, writeSync } from 'node:fs'

export interface RandomModel {
  readonly width: number
  readonly layers: number
  readonly heads: number
  readonly keyHeads: number
  readonly hidden: number
  readonly context: number
  /** At least what the kind needs; the rest are words that nothing makes. */
  readonly vocabulary: number
  readonly kind: 'llama' | 'gpt2'
}

type Pair = readonly [key: string, type: string, value: unknown]

const ALIGN = 32
const BLOCK = 32
const F32 = 0
const Q8_0 = 8
const CODES: Readonly<Record<string, number>> = { u32: 4, i32: 5, f32: 6, bool: 7, str: 8 }
const ARRAY = 9
const CHATML =
  "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"

export function writeRandomModel(path: string, model: RandomModel): void {
  const pairs = [...modelPairs(model), ...vocabularyPairs(model)]
  const tensors = shapes(model).map(([name, ...dims]) => {
    const count = dims.reduce((a, b) => a * b, 1)
    const isVector = dims.length === 1
    const size = isVector ? count * 4 : (count / BLOCK) * (BLOCK + 2)
    return { name, dims, isVector, size }
  })
  const head: Buffer[] = [Buffer.from('GGUF'), int(3), long(tensors.length), long(pairs.length)]
  for (const [key, type, value] of pairs) head.push(string(key), typed(type, value))
  let offset = 0
  for (const { name, dims, isVector, size } of tensors) {
    head.push(string(name), int(dims.length), ...dims.map(long), int(isVector ? F32 : Q8_0))
    head.push(long(offset))
    offset += padded(size)
  }
  const file = openSync(path, 'w')
  try {
    const start = Buffer.concat(head)
    writeSync(file, Buffer.concat([start, Buffer.alloc(padded(start.length) - start.length)]))
    for (const { isVector, size, dims, name } of tensors) {
      const data = Buffer.alloc(padded(size))
      if (isVector) new Float32Array(data.buffer, data.byteOffset, dims[0] ?? 0).fill(1)
      else
        fill(data.subarray(0, size), name.startsWith('token_embd') ? 0.4 : (dims[0] ?? 1) ** -0.5)
      writeSync(file, data)
    }
  } finally {
    closeSync(file)
  }
}

/** Blocks with one scale, whose bytes are a cheap random sequence of about this deviation. */
function fill(data: Buffer, deviation: number): void {
  let state = 0x9e37_79b9 ^ data.length
  const scale = half(deviation / 73)
  for (let at = 0; at < data.length; at++) {
    if (at % (BLOCK + 2) === 0) {
      data.writeUInt16LE(scale, at++)
      continue
    }
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0
    data[at] = state >>> 24
  }
}

/** A positive number as IEEE half precision, cut. */
function half(value: number): number {
  const view = new DataView(new ArrayBuffer(4))
  view.setFloat32(0, value)
  const bits = view.getUint32(0)
  return ((((bits >>> 23) & 0xff) - 112) << 10) | ((bits >>> 13) & 0x3ff)
}

function shapes({ width, layers, heads, keyHeads, hidden, vocabulary }: RandomModel) {
  const keys = (width / heads) * keyHeads
  const out: [name: string, ...dims: number[]][] = [['token_embd.weight', width, vocabulary]]
  for (let layer = 0; layer < layers; layer++) {
    const own: typeof out = [
      ['attn_norm', width],
      ['attn_q', width, width],
      ['attn_k', width, keys],
      ['attn_v', width, keys],
      ['attn_output', width, width],
      ['ffn_norm', width],
      ['ffn_gate', width, hidden],
      ['ffn_up', width, hidden],
      ['ffn_down', hidden, width],
    ]
    for (const [name, ...dims] of own) out.push([`blk.${layer}.${name}.weight`, ...dims])
  }
  return [...out, ['output_norm.weight', width] as (typeof out)[number]]
}

function modelPairs({ width, layers, heads, keyHeads, hidden, context }: RandomModel): Pair[] {
  return [
    ['general.architecture', 'str', 'llama'],
    ['general.name', 'str', 'random'],
    ['general.file_type', 'u32', 7],
    ['llama.context_length', 'u32', context],
    ['llama.embedding_length', 'u32', width],
    ['llama.block_count', 'u32', layers],
    ['llama.feed_forward_length', 'u32', hidden],
    ['llama.attention.head_count', 'u32', heads],
    ['llama.attention.head_count_kv', 'u32', keyHeads],
    ['llama.attention.layer_norm_rms_epsilon', 'f32', 1e-5],
    ['llama.rope.freq_base', 'f32', 10_000],
    ['llama.rope.dimension_count', 'u32', width / heads],
  ]
}

function vocabularyPairs({ kind, vocabulary }: RandomModel): Pair[] {
  const control = ['<|im_start|>', '<|im_end|>']
  const bytes = Array.from({ length: 256 }, (_, byte) =>
    kind === 'gpt2' ? letter(byte) : `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`,
  )
  const tokens = ['<unk>', '<s>', '</s>', ...bytes, ...control]
  const types = [2, 3, 3, ...bytes.map(() => (kind === 'gpt2' ? 1 : 6)), 3, 3]
  const space = kind === 'gpt2' ? letter(0x20) : '\u2581'
  if (kind === 'llama')
    tokens.push(space, ...Array.from({ length: 94 }, (_, n) => String.fromCharCode(33 + n)))
  while (tokens.length < vocabulary) tokens.push(`${space}w${tokens.length}`)
  while (types.length < tokens.length) types.push(1)
  const special = kind === 'gpt2' ? [['tokenizer.ggml.pre', 'str', 'gpt-2'] as const] : []
  return [
    ['tokenizer.ggml.model', 'str', kind],
    ...special,
    ['tokenizer.ggml.tokens', '[str]', tokens],
    ['tokenizer.ggml.scores', '[f32]', tokens.map((_, at) => -at)],
    ['tokenizer.ggml.token_type', '[i32]', types],
    ...(kind === 'gpt2' ? [['tokenizer.ggml.merges', '[str]', ['a b']] as const] : []),
    ['tokenizer.ggml.bos_token_id', 'u32', 1],
    ['tokenizer.ggml.eos_token_id', 'u32', 260],
    ['tokenizer.ggml.add_bos_token', 'bool', kind === 'llama'],
    ['tokenizer.chat_template', 'str', CHATML],
  ]
}

/** GPT-2's alphabet. */
function letter(byte: number): string {
  const hidden = [...Array(256).keys()].filter(
    (at) => at < 0x21 || (at > 0x7e && at < 0xa1) || at === 0xad,
  )
  const at = hidden.indexOf(byte)
  return String.fromCodePoint(at === -1 ? byte : 0x100 + at)
}

function typed(type: string, value: unknown): Buffer {
  if (type.startsWith('[')) {
    const inner = type.slice(1, -1)
    const items = value as unknown[]
    const head = [int(ARRAY), int(CODES[inner] ?? 0), long(items.length)]
    return Buffer.concat([...head, ...items.map((item) => plain(inner, item))])
  }
  return Buffer.concat([int(CODES[type] ?? 0), plain(type, value)])
}

function plain(type: string, value: unknown): Buffer {
  if (type === 'str') return string(String(value))
  if (type === 'bool') return Buffer.of(Number(value))
  const out = Buffer.alloc(4)
  if (type === 'f32') out.writeFloatLE(Number(value))
  else out.writeInt32LE(Number(value))
  return out
}

function string(text: string): Buffer {
  const bytes = Buffer.from(text)
  return Buffer.concat([long(bytes.length), bytes])
}

function int(value: number): Buffer {
  const out = Buffer.alloc(4)
  out.writeUInt32LE(value)
  return out
}

function long(value: number): Buffer {
  const out = Buffer.alloc(8)
  out.writeBigUInt64LE(BigInt(value))
  return out
}

function padded(length: number): number {
  return Math.ceil(length / ALIGN) * ALIGN
}
