/** Copies of the tiny model whose weights are not quite, or not at all, those of the original. */
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { tinyModelPath } from '../../src/config/root.ts'

/** Of Q8_0: a scale of 16 bits, then 32 signed bytes. */
const BLOCK_BYTES = 34
const SCALE_BYTES = 2
/** Q8_0 in a GGUF. */
const TYPE_Q8_0 = 8
const ALIGNMENT = 32

/** Every weight of every quantised tensor through `change`. @returns the path of the copy */
export async function alteredModel(
  folder: string,
  name: string,
  change: (weight: number, at: number) => number,
): Promise<string> {
  const bytes = await readFile(tinyModelPath())
  for (const { offset, weights } of quantised(bytes)) {
    for (let at = 0; at < weights; at++) {
      const block = offset + Math.floor(at / 32) * BLOCK_BYTES
      const place = block + SCALE_BYTES + (at % 32)
      const changed = Math.round(change(bytes.readInt8(place), at))
      bytes.writeInt8(Math.max(-127, Math.min(127, changed)), place)
    }
  }
  const path = join(folder, `${name}.gguf`)
  await writeFile(path, bytes)
  return path
}

/** As few steps as a quantisation to so many bits has. */
export function coarser(bits: number): (weight: number) => number {
  const step = 127 / (2 ** (bits - 1) - 1)
  return (weight) => Math.round(weight / step) * step
}

/** The places of all Q8_0 tensors: found by their names, as the file's own table has them. */
function quantised(bytes: Buffer): { offset: number; weights: number }[] {
  const names = [0, 1, 2, 3].flatMap((block) =>
    ['attn_q', 'attn_k', 'attn_v', 'attn_output', 'ffn_gate', 'ffn_up', 'ffn_down'].map(
      (part) => `blk.${block}.${part}.weight`,
    ),
  )
  const last = describe(bytes, 'output_norm.weight')
  const data = Math.ceil(last.end / ALIGNMENT) * ALIGNMENT
  return ['token_embd.weight', ...names].map((name) => {
    const { type, offset, weights } = describe(bytes, name)
    if (type !== TYPE_Q8_0) throw new Error(`${name} is not Q8_0`)
    return { offset: data + offset, weights }
  })
}

function describe(bytes: Buffer, name: string) {
  let at = bytes.indexOf(name) + name.length
  const dimensions = bytes.readUInt32LE(at)
  at += 4
  let weights = 1
  for (let dimension = 0; dimension < dimensions; dimension++, at += 8)
    weights *= Number(bytes.readBigUInt64LE(at))
  const type = bytes.readUInt32LE(at)
  const offset = Number(bytes.readBigUInt64LE(at + 4))
  return { type, offset, weights, end: at + 12 }
}
