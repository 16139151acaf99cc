/**
 * Kinds of numbers in a GGUF file and the room they take, and the names of quantisations.
 *
 * Both lists are llama.cpp's: `enum ggml_type` and the blocks of ggml-common.h, `enum llama_ftype` of
 * llama.h. Tested by test/models/gguf-types.ts.
 */
import { broken, type GgufTensor } from './gguf.ts'

interface TensorType {
  readonly name: string
  /** Numbers that are kept together. */
  readonly block: number
  /** Bytes of such a block. */
  readonly bytes: number
}

type Row = readonly [id: number, name: string, block: number, bytes: number]

const ROWS: readonly Row[] = [
  [0, 'F32', 1, 4],
  [1, 'F16', 1, 2],
  [2, 'Q4_0', 32, 18],
  [3, 'Q4_1', 32, 20],
  [6, 'Q5_0', 32, 22],
  [7, 'Q5_1', 32, 24],
  [8, 'Q8_0', 32, 34],
  [9, 'Q8_1', 32, 36],
  [10, 'Q2_K', 256, 84],
  [11, 'Q3_K', 256, 110],
  [12, 'Q4_K', 256, 144],
  [13, 'Q5_K', 256, 176],
  [14, 'Q6_K', 256, 210],
  [15, 'Q8_K', 256, 292],
  [16, 'IQ2_XXS', 256, 66],
  [17, 'IQ2_XS', 256, 74],
  [18, 'IQ3_XXS', 256, 98],
  [19, 'IQ1_S', 256, 50],
  [20, 'IQ4_NL', 32, 18],
  [21, 'IQ3_S', 256, 110],
  [22, 'IQ2_S', 256, 82],
  [23, 'IQ4_XS', 256, 136],
  [24, 'I8', 1, 1],
  [25, 'I16', 1, 2],
  [26, 'I32', 1, 4],
  [27, 'I64', 1, 8],
  [28, 'F64', 1, 8],
  [29, 'IQ1_M', 256, 56],
  [30, 'BF16', 1, 2],
  [34, 'TQ1_0', 256, 54],
  [35, 'TQ2_0', 256, 66],
  [39, 'MXFP4', 32, 17],
  [40, 'NVFP4', 64, 36],
  [41, 'Q1_0', 128, 18],
  [42, 'Q2_0', 64, 18],
]

const TYPES: ReadonlyMap<number, TensorType> = new Map(
  ROWS.map(([id, name, block, bytes]) => [id, { name, block, bytes }]),
)

/** What `general.file_type` says, by its number; numbers that are missing were withdrawn. */
const FILE_TYPES: readonly string[] =
  `F32 F16 Q4_0 Q4_1 - - - Q8_0 Q5_0 Q5_1 Q2_K Q3_K_S Q3_K_M Q3_K_L Q4_K_S Q4_K_M Q5_K_S Q5_K_M Q6_K
  IQ2_XXS IQ2_XS Q2_K_S IQ3_XS IQ3_XXS IQ1_S IQ4_NL IQ3_S IQ3_M IQ2_S IQ2_M IQ4_XS IQ1_M BF16 - - -
  TQ1_0 TQ2_0 MXFP4_MOE NVFP4 Q1_0 Q2_0`.split(/\s+/)

/** Kinds that an engine can keep keys and values in. */
export type KvType = 'f16' | 'q8_0' | 'q4_0'

const KV_TYPES: Readonly<Record<KvType, number>> = { f16: 1, q8_0: 8, q4_0: 2 }

/** @throws ModelError MODEL_LOAD: a kind that is not known, or rows that do not go into blocks */
export function tensorBytes({ name, dimensions, type }: GgufTensor): number {
  const kind = TYPES.get(type)
  if (kind === undefined) throw broken(`its tensor ${name} has numbers of kind ${type}`)
  const [row = 1, ...rest] = dimensions
  if (row % kind.block !== 0) throw broken(`rows of its tensor ${name} do not go into blocks`)
  return rest.reduce((all, one) => all * one, (row / kind.block) * kind.bytes)
}

export function typeName(type: number): string | undefined {
  return TYPES.get(type)?.name
}

/** Such as `Q4_K_M`; undefined for a number that is not known. */
export function quantisationOf(fileType: number | undefined): string | undefined {
  // Bit 10 says that the number was guessed.
  const name = fileType === undefined ? undefined : FILE_TYPES[fileType & ~1_024]
  return name === '-' ? undefined : name
}

/** Bytes of a row of `width` numbers in a cache. */
export function kvRowBytes(type: KvType, width: number): number {
  const kind = TYPES.get(KV_TYPES[type])
  return kind === undefined ? 0 : Math.ceil(width / kind.block) * kind.bytes
}
