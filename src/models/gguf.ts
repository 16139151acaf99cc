/**
 * What a GGUF file says about its model, read without the engine: names, settings, the vocabulary, and
 * which tensors follow.
 *
 * Only the head is read, in one piece that grows until everything before the tensors is in it. Layout:
 * ggml-org/ggml docs/gguf.md, versions 2 and 3, little-endian. Of a model in several files the first one
 * has all settings, and each lists its own tensors. Tested by test/inference/tokenizer-files.ts and
 * test/models/gguf.ts.
 */
import { type FileHandle, open } from 'node:fs/promises'
import { shardsOf } from './digest.ts'
import { ModelError } from './errors.ts'

export type GgufValue = string | number | bigint | boolean | readonly GgufValue[]

/** By the names of the format, such as `tokenizer.ggml.tokens`. */
export type GgufMetadata = ReadonlyMap<string, GgufValue>

export interface GgufTensor {
  /** Such as `blk.0.attn_q.weight`. */
  readonly name: string
  /** The fastest first. */
  readonly dimensions: readonly number[]
  /** By the numbers of ggml: see gguf-types.ts. */
  readonly type: number
}

export interface GgufHead {
  readonly metadata: GgufMetadata
  readonly tensors: readonly GgufTensor[]
}

/** Bytes that are read first; then four times as many, until the head is whole. */
export const HEAD_FIRST = 1024 * 1024
export const HEAD_GROWTH = 4
/** The largest vocabularies take some tens of megabytes. */
export const HEAD_MAX = 512 * 1024 * 1024
const KEYS_MAX = 65_536
/** Of all lists of a file together: the largest vocabularies have some hundreds of thousands of words. */
const ITEMS_MAX = 8_388_608
const TEXT_MAX = 64 * 1024 * 1024
const TENSORS_MAX = 262_144
const DIMENSIONS_MAX = 4

const TYPE_STRING = 8
const TYPE_ARRAY = 9
const DEPTH_MAX = 4

/** @throws ModelError MODEL_LOAD: no such file, or not a GGUF; `signal.reason` */
export async function readGguf(path: string, signal: AbortSignal): Promise<GgufMetadata> {
  return await readStart(path, parseGguf, signal)
}

/**
 * Heads of all files of a model, in order.
 * @param path of the first file. @throws ModelError MODEL_LOAD; `signal.reason`
 */
export async function readGgufHeads(path: string, signal: AbortSignal): Promise<GgufHead[]> {
  const heads: GgufHead[] = []
  for (const shard of shardsOf(path)) heads.push(await readStart(shard, parseGgufHead, signal))
  return heads
}

async function readStart<T>(
  path: string,
  parse: (head: Uint8Array) => T | undefined,
  signal: AbortSignal,
): Promise<T> {
  let file: FileHandle | undefined
  try {
    file = await open(path, 'r')
    const { size } = await file.stat()
    for (let length = HEAD_FIRST; ; length *= HEAD_GROWTH) {
      signal.throwIfAborted()
      const head = Buffer.alloc(Math.min(length, size, HEAD_MAX))
      await file.read(head, 0, head.length, 0)
      const parsed = parse(head)
      if (parsed !== undefined) return parsed
      if (head.length < length) throw broken('it ends within its head')
    }
  } catch (error) {
    signal.throwIfAborted()
    if (error instanceof ModelError) throw error
    throw new ModelError('MODEL_LOAD', `cannot read ${path}`, { cause: error })
  } finally {
    await file?.close()
  }
}

/**
 * @param head the file from its first byte on
 * @returns undefined when the head goes on beyond these bytes. @throws ModelError MODEL_LOAD
 */
export function parseGguf(head: Uint8Array): GgufMetadata | undefined {
  return untilTheEnd(() => settings(new Cursor(head)).metadata)
}

/** As `parseGguf`, with the list of tensors. */
export function parseGgufHead(head: Uint8Array): GgufHead | undefined {
  return untilTheEnd(() => {
    const cursor = new Cursor(head)
    const { metadata, tensorCount } = settings(cursor)
    const tensors: GgufTensor[] = []
    for (let at = 0; at < tensorCount; at++) tensors.push(tensor(cursor))
    return { metadata, tensors }
  })
}

function untilTheEnd<T>(parse: () => T): T | undefined {
  try {
    return parse()
  } catch (error) {
    if (error instanceof RangeError) return undefined
    throw error
  }
}

function settings(cursor: Cursor): { metadata: GgufMetadata; tensorCount: number } {
  if (cursor.word(4) !== 'GGUF') throw broken('it does not begin with GGUF')
  const version = cursor.number(4)
  if (version !== 2 && version !== 3) throw broken(`its version is ${version}`)
  const tensorCount = cursor.count()
  if (tensorCount > TENSORS_MAX) throw broken('it has too many tensors')
  const keys = cursor.count()
  if (keys > KEYS_MAX) throw broken('it has too many keys')
  const metadata = new Map<string, GgufValue>()
  for (let at = 0; at < keys; at++) {
    const key = cursor.string()
    metadata.set(key, cursor.value(cursor.number(4), 0))
  }
  return { metadata, tensorCount }
}

function tensor(cursor: Cursor): GgufTensor {
  const name = cursor.string()
  const count = cursor.number(4)
  if (count > DIMENSIONS_MAX) throw broken(`a tensor of it has ${count} dimensions`)
  const dimensions = Array.from({ length: count }, () => cursor.size())
  if (!Number.isSafeInteger(dimensions.reduce((all, one) => all * one, 1)))
    throw broken('a tensor of it is beyond all measure')
  const type = cursor.number(4)
  cursor.size()
  return { name, dimensions, type }
}

/** Throws RangeError where the bytes end. */
class Cursor {
  readonly #bytes: Buffer
  #at = 0
  #items = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  }

  word(length: number): string {
    const start = this.#at
    this.#at += length
    if (this.#at > this.#bytes.length) throw new RangeError('the bytes end')
    return this.#bytes.toString('utf8', start, this.#at)
  }

  number(length: 1 | 2 | 4): number {
    const value = this.#bytes.readUIntLE(this.#at, length)
    this.#at += length
    return value
  }

  count(): number {
    const value = this.#bytes.readBigUInt64LE(this.#at)
    this.#at += 8
    if (value > BigInt(HEAD_MAX)) throw broken('a length in it is beyond all measure')
    return Number(value)
  }

  /** A count of bytes or of numbers in the part that is not read: it may be large. */
  size(): number {
    const value = this.#bytes.readBigUInt64LE(this.#at)
    this.#at += 8
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw broken('a size in it is beyond all measure')
    return Number(value)
  }

  string(): string {
    const length = this.count()
    if (length > TEXT_MAX) throw broken('a text in it is too long')
    return this.word(length)
  }

  value(type: number, depth: number): GgufValue {
    if (type === TYPE_STRING) return this.string()
    if (type !== TYPE_ARRAY) return this.#scalar(type)
    if (depth === DEPTH_MAX) throw broken('its lists are too deep')
    const of = this.number(4)
    const length = this.count()
    this.#items += length
    if (this.#items > ITEMS_MAX) throw broken('its lists are too long')
    const values: GgufValue[] = []
    for (let at = 0; at < length; at++) values.push(this.value(of, depth + 1))
    return values
  }

  #scalar(type: number): GgufValue {
    const [length, read] = SCALARS[type] ?? []
    if (length === undefined || read === undefined) throw broken(`it has a value of type ${type}`)
    const value = read(this.#bytes, this.#at)
    this.#at += length
    return value
  }
}

type Scalar = readonly [length: number, read: (bytes: Buffer, at: number) => GgufValue]

/** By the numbers of the format. */
const SCALARS: Readonly<Record<number, Scalar>> = {
  0: [1, (bytes, at) => bytes.readUInt8(at)],
  1: [1, (bytes, at) => bytes.readInt8(at)],
  2: [2, (bytes, at) => bytes.readUInt16LE(at)],
  3: [2, (bytes, at) => bytes.readInt16LE(at)],
  4: [4, (bytes, at) => bytes.readUInt32LE(at)],
  5: [4, (bytes, at) => bytes.readInt32LE(at)],
  6: [4, (bytes, at) => bytes.readFloatLE(at)],
  7: [1, (bytes, at) => bytes.readUInt8(at) !== 0],
  10: [8, (bytes, at) => bytes.readBigUInt64LE(at)],
  11: [8, (bytes, at) => bytes.readBigInt64LE(at)],
  12: [8, (bytes, at) => bytes.readDoubleLE(at)],
}

export function broken(how: string): ModelError {
  return new ModelError('MODEL_LOAD', `this is not a GGUF file that can be read: ${how}`)
}

/** A list of texts; empty where there is none. */
export function textsOf(metadata: GgufMetadata, key: string): readonly string[] {
  const value = metadata.get(key)
  return Array.isArray(value) ? value.map(String) : []
}

export function numbersOf(metadata: GgufMetadata, key: string): readonly number[] {
  const value = metadata.get(key)
  return Array.isArray(value) ? value.map(Number) : []
}

export function textOf(metadata: GgufMetadata, key: string): string | undefined {
  const value = metadata.get(key)
  return typeof value === 'string' ? value : undefined
}

export function numberOf(metadata: GgufMetadata, key: string): number | undefined {
  const value = metadata.get(key)
  return typeof value === 'number' || typeof value === 'bigint' ? Number(value) : undefined
}
