/** GGUF files with metadata and no tensors, as tests want them: version 3, little-endian. */

const TYPES = { u32: 4, f32: 6, bool: 7, text: 8, list: 9 } as const

/** A whole number becomes a u32; lists of numbers become i32. */
export type Meta = Readonly<
  Record<string, string | number | boolean | readonly (string | number)[]>
>

export function ggufBytes(metadata: Meta): Buffer {
  const entries = Object.entries(metadata)
  return Buffer.concat([
    Buffer.from('GGUF'),
    u32(3),
    u64(0),
    u64(entries.length),
    ...entries.flatMap(([key, value]) => [text(key), valueBytes(value)]),
  ])
}

function valueBytes(value: Meta[string]): Buffer {
  if (typeof value === 'string') return Buffer.concat([u32(TYPES.text), text(value)])
  if (typeof value === 'boolean') return Buffer.concat([u32(TYPES.bool), Buffer.of(value ? 1 : 0)])
  if (typeof value === 'number')
    return Number.isInteger(value)
      ? Buffer.concat([u32(TYPES.u32), u32(value)])
      : Buffer.concat([u32(TYPES.f32), f32(value)])
  const isText = value.some((one) => typeof one === 'string')
  return Buffer.concat([
    u32(TYPES.list),
    u32(isText ? TYPES.text : 5),
    u64(value.length),
    ...value.map((one) => (typeof one === 'string' ? text(one) : u32(one))),
  ])
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value)
  return Buffer.concat([u64(bytes.length), bytes])
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}

function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt(value))
  return bytes
}

function f32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeFloatLE(value)
  return bytes
}

/** The 256 letters by which a `gpt2` vocabulary spells bytes, in order of the bytes. */
export function byteLetters(): string[] {
  let next = 0x100
  return Array.from({ length: 256 }, (_, byte) => {
    const isPrintable =
      (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae
    return String.fromCodePoint(isPrintable ? byte : next++)
  })
}

/** A vocabulary of the kind `gpt2`: bytes, what the merges make, one control token, one that is added, a filler. */
export function bpeMeta(pre: string, more: Meta = {}): Meta {
  const merges = [
    ...['t h', 'th e', 'Ġ the', 'i n', 'Ġ in', 'e r', 'Ġ w', 'Ġw or', 'o r', 'l d', 'Ġwor ld'],
    ...['1 2', '12 3', '2 3', 'Ã ¼', "' s", 'Ċ Ċ', 'Ġ Ġ'],
  ]
  // The last one is made by no merge.
  const normal = [...byteLetters(), ...merges.map((merge) => merge.replace(' ', '')), 'Ġzzz']
  const tokens = [...normal, '<|end|>', 'added one', '[PAD277]']
  return {
    'general.architecture': 'llama',
    'tokenizer.ggml.model': 'gpt2',
    'tokenizer.ggml.pre': pre,
    'tokenizer.ggml.tokens': tokens,
    'tokenizer.ggml.token_type': [...normal.map(() => 1), 3, 4, 5],
    'tokenizer.ggml.merges': merges,
    'tokenizer.ggml.bos_token_id': tokens.indexOf('<|end|>'),
    'tokenizer.ggml.eos_token_id': tokens.indexOf('<|end|>'),
    'tokenizer.chat_template': '{{ messages }}',
    ...more,
  }
}
