/**
 * A commitment to the log-probabilities of an answer: 32 bytes now, any position opened later.
 *
 * The leaves are the tokens in order (of several choices one after the other). A leaf is, big-endian:
 * position (8 bytes), the token's bytes with their length before them (4), its log-probability in
 * thousandths of a nat as a signed number (4; the lowest one stands for none), how many alternatives (1), each
 * as bytes and log-probability again. Tree: sha256 as in RFC 6962, 0x00 before a leaf, 0x01 before two nodes,
 * the left half as large a power of two as can be; the root is sha256(0x02, count (8), node), so that the
 * number of tokens is bound too. A token is named by its bytes, which every engine knows, not by its id.
 * Tested by test/inference/commitment.ts.
 */
import { concat, equal, hex, sha256, u64, unhex } from '../base/bytes.ts'
import { InferenceError } from './errors.ts'
import { isObject } from './json.ts'
import type { JsonObject, TokenAlternative, TokenScore } from './request.ts'

/** Alternatives of a token that are bound; more are left out. */
export const COMMITTED_TOP_MAX = 8

/** Thousandths of a nat: finer differences are noise of the hardware. */
const SCALE = 1_000
const LOWEST = -0x8000_0000

/** Of an array of bytes beside the bytes. */
const LEAF_OVERHEAD = 100

/** The leaves of one answer, in a form that is cheap to keep. */
export class Commitment {
  readonly #leaves: readonly Uint8Array[]
  /** 32 bytes. */
  readonly root: Uint8Array

  constructor(scores: readonly TokenScore[]) {
    this.#leaves = scores.map((score, position) => leafOf(score, position))
    this.root = rootOf(this.#leaves.length, this.#node(0, this.#leaves.length))
  }

  get count(): number {
    return this.#leaves.length
  }

  /** Memory that it takes, roughly. */
  get bytes(): number {
    return this.#leaves.reduce((sum, leaf) => sum + leaf.length + LEAF_OVERHEAD, 0)
  }

  /** @throws InferenceError NOT_FOUND: no such position */
  open(position: number): Opening {
    const leaf = this.#leaves[position]
    if (leaf === undefined)
      throw new InferenceError('NOT_FOUND', `This answer has ${this.count} tokens.`, {
        data: { param: 'position', reason: 'invalid_value' },
      })
    return { position, count: this.count, leaf, path: this.#path(position, 0, this.count) }
  }

  #node(from: number, to: number): Uint8Array {
    if (to === from) return sha256(new Uint8Array(0))
    const leaf = this.#leaves[from]
    if (to - from === 1 && leaf !== undefined) return sha256(concat(Uint8Array.of(0), leaf))
    const middle = from + leftHalf(to - from)
    return inner(this.#node(from, middle), this.#node(middle, to))
  }

  /** What stands beside the way from the leaf to the root, from the leaf on. */
  #path(position: number, from: number, to: number): Uint8Array[] {
    if (to - from === 1) return []
    const middle = from + leftHalf(to - from)
    return position < middle
      ? [...this.#path(position, from, middle), this.#node(middle, to)]
      : [...this.#path(position, middle, to), this.#node(from, middle)]
  }
}

export interface Opening {
  readonly position: number
  /** Tokens of the answer. */
  readonly count: number
  readonly leaf: Uint8Array
  readonly path: readonly Uint8Array[]
}

/** True if the opening belongs to the root. */
export function verifyOpening(root: Uint8Array, opening: Opening): boolean {
  const { position, count, leaf, path } = opening
  const isPlace = Number.isSafeInteger(count) && Number.isInteger(position)
  if (!isPlace || position < 0 || position >= count) return false
  const node = climb(sha256(concat(Uint8Array.of(0), leaf)), [...path], position, count)
  return (
    node !== undefined && equal(rootOf(count, node), root) && equal(leaf.slice(0, 8), u64(position))
  )
}

/** @returns undefined for a path of another length */
function climb(
  leaf: Uint8Array,
  path: Uint8Array[],
  position: number,
  count: number,
): Uint8Array | undefined {
  if (count === 1) return path.length === 0 ? leaf : undefined
  const beside = path.pop()
  if (beside === undefined) return undefined
  const left = leftHalf(count)
  const isLeft = position < left
  const below = isLeft
    ? climb(leaf, path, position, left)
    : climb(leaf, path, position - left, count - left)
  if (below === undefined) return undefined
  return isLeft ? inner(below, beside) : inner(beside, below)
}

/** The largest power of two below `count`. */
function leftHalf(count: number): number {
  let half = 1
  while (half * 2 < count) half *= 2
  return half
}

function inner(left: Uint8Array, right: Uint8Array): Uint8Array {
  return sha256(concat(Uint8Array.of(1), left, right))
}

function rootOf(count: number, node: Uint8Array): Uint8Array {
  return sha256(concat(Uint8Array.of(2), u64(count), node))
}

function leafOf({ bytes, logprob, top }: TokenScore, position: number): Uint8Array {
  const others = top.slice(0, COMMITTED_TOP_MAX)
  return concat(
    u64(position),
    sized(bytes),
    quantised(logprob),
    Uint8Array.of(others.length),
    ...others.flatMap((other) => [sized(other.bytes), quantised(other.logprob)]),
  )
}

function sized(bytes: Uint8Array): Uint8Array {
  return concat(int32(bytes.length), bytes)
}

function quantised(logprob: number | null): Uint8Array {
  if (logprob === null) return int32(LOWEST)
  return int32(Math.max(LOWEST + 1, Math.min(0, Math.round(logprob * SCALE))))
}

function int32(value: number): Uint8Array {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setInt32(0, value)
  return bytes
}

/** What a leaf says. @throws InferenceError BAD_REQUEST: not a leaf */
export function readLeaf(leaf: Uint8Array): TokenScore & { readonly position: number } {
  const view = new DataView(leaf.buffer, leaf.byteOffset, leaf.length)
  let at = 8
  const token = () => {
    const length = view.getInt32(at)
    if (length < 0 || at + 4 + length > leaf.length) throw new RangeError('too long')
    const bytes = leaf.slice(at + 4, at + 4 + length)
    const milli = view.getInt32(at + 4 + length)
    at += 8 + length
    return { text: new TextDecoder().decode(bytes), bytes, milli }
  }
  try {
    const position = Number(view.getBigUint64(0))
    const { milli, ...own } = token()
    const top: TokenAlternative[] = []
    const count = view.getUint8(at++)
    for (let other = 0; other < count; other++) {
      const { milli: theirs, ...rest } = token()
      top.push({ ...rest, logprob: theirs / SCALE })
    }
    if (at !== leaf.length) throw new RangeError('too long')
    return { position, ...own, logprob: milli === LOWEST ? null : milli / SCALE, top }
  } catch (cause) {
    throw new InferenceError('BAD_REQUEST', 'This is not a leaf of a commitment.', { cause })
  }
}

/** The body of an opening: what its leaf says, and what proves it, in hex. */
export function openingObject(id: string, root: Uint8Array, opening: Opening): JsonObject {
  const { position, count, leaf, path } = opening
  const { logprob, bytes, text, top } = readLeaf(leaf)
  return {
    id,
    logprob_root: hex(root),
    position,
    count,
    token: text,
    bytes: [...bytes],
    logprob,
    top_logprobs: top.map((other) => ({
      token: other.text,
      bytes: [...other.bytes],
      logprob: other.logprob,
    })),
    leaf: hex(leaf),
    path: path.map(hex),
  }
}

/** The proof in such a body. @throws InferenceError BAD_REQUEST */
export function readOpening(value: unknown): { root: Uint8Array; opening: Opening } {
  try {
    if (!isObject(value)) throw new RangeError('no object')
    const { logprob_root: root, position, count, leaf, path } = value
    const parts = Array.isArray(path) ? path.map((part) => unhex(String(part))) : []
    const opening = { position: Number(position), count: Number(count), path: parts }
    return { root: unhex(String(root)), opening: { ...opening, leaf: unhex(String(leaf)) } }
  } catch (cause) {
    throw new InferenceError('BAD_REQUEST', 'This is not an opening of a commitment.', { cause })
  }
}

export interface OpeningsOptions {
  /** Answers that are kept; the ones that were asked for longest ago go first. */
  readonly answersMax: number
  /** Of memory, roughly, for all of them together. */
  readonly bytesMax: number
}

export const OPENINGS_DEFAULTS: OpeningsOptions = {
  answersMax: 10_000,
  bytesMax: 64 * 1024 * 1024,
}

/** What is needed to open commitments of late, in memory only. */
export class Openings {
  readonly #options: OpeningsOptions
  /** Longest not asked for first. */
  readonly #kept = new Map<string, Commitment>()
  #bytes = 0

  constructor(options: Partial<OpeningsOptions> = {}) {
    this.#options = { ...OPENINGS_DEFAULTS, ...options }
  }

  /** @param id of the answer. @returns the root, in hex */
  commit(id: string, scores: readonly TokenScore[]): string {
    const commitment = new Commitment(scores)
    this.#drop(id)
    this.#kept.set(id, commitment)
    this.#bytes += commitment.bytes
    const { answersMax, bytesMax } = this.#options
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size <= answersMax && this.#bytes <= bytesMax) break
      this.#drop(oldest)
    }
    return hex(commitment.root)
  }

  /** The body of `GET /pokt/logprobs/{id}?position=N`. @throws InferenceError NOT_FOUND */
  open(id: string, position: number): JsonObject {
    const commitment = this.#kept.get(id)
    if (commitment === undefined)
      throw new InferenceError('NOT_FOUND', 'No commitment of such an answer is kept here.')
    this.#kept.delete(id)
    this.#kept.set(id, commitment)
    return openingObject(id, commitment.root, commitment.open(position))
  }

  #drop(id: string): void {
    this.#bytes -= this.#kept.get(id)?.bytes ?? 0
    this.#kept.delete(id)
  }
}
