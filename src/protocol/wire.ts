/**
 * Protobuf's wire form, read strictly and written canonically, for the messages that are hashed,
 * signed or handed in by strangers.
 *
 * The generated decoders neither merge a message that comes twice nor refuse what follows a stray
 * end-group tag, so these messages are read by hand. Written: ascending fields, zero values left
 * out, present messages always. Refused: truncation, varints of more than ten bytes, field number 0,
 * a lone end group, invalid UTF-8. Unknown fields are skipped. As in Go, bits past 64 are dropped and
 * a varint may have needless trailing groups. Unlike Go, a message and all in it may have so many
 * fields and no more: a body of the largest size that is nothing but tags would take seconds.
 * Source: gogo/protobuf's generated Unmarshal and MarshalToSizedBuffer. Tested by test/protocol/wire.ts.
 */
import { ProtocolError } from './errors.ts'

export const WIRE_VARINT = 0
const WIRE_FIXED64 = 1
export const WIRE_BYTES = 2
const WIRE_GROUP = 3
const WIRE_GROUP_END = 4
const WIRE_FIXED32 = 5

const TAG_MAX = 0xffff_ffff
/** Far more than a relay has: as many as fit, at two bytes each, into the largest that may be mined. */
const TAGS_MAX = 262_144
const SAFE_MAX = BigInt(Number.MAX_SAFE_INTEGER)
// A byte order mark is kept: text must come out as the bytes that went in.
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const encoder = new TextEncoder()

export interface Tag {
  readonly field: number
  readonly wire: number
}

/**
 * Reads one message; a sub-message has a reader of its own, bounded by its length. Every method
 * throws ProtocolError WIRE. Those that take a tag refuse another wire type than theirs.
 */
export class Reader {
  readonly #bytes: Uint8Array
  /** What is left of `TAGS_MAX`, for the outermost message and all that are in it. */
  readonly #budget: { tags: number }
  #at = 0

  constructor(bytes: Uint8Array, budget: { tags: number } = { tags: TAGS_MAX }) {
    this.#bytes = bytes
    this.#budget = budget
  }

  /** The tags in order. The loop's body must take or skip the value of each. */
  *[Symbol.iterator](): Generator<Tag> {
    while (this.#at < this.#bytes.length) {
      const tag = this.#tag()
      if (tag.wire === WIRE_GROUP_END) throw wireError('end group for non-group')
      yield tag
    }
  }

  int64(tag: Tag): bigint {
    return BigInt.asIntN(64, this.#scalar(tag))
  }

  /** Bits past 32 are dropped, as Go does. */
  uint32(tag: Tag): number {
    return Number(BigInt.asUintN(32, this.#scalar(tag)))
  }

  /** A copy, so that the buffer of a connection is not kept alive or altered under us. */
  bytes(tag: Tag): Uint8Array {
    // Not slice(): a Buffer's does not copy.
    return new Uint8Array(this.#value(tag))
  }

  string(tag: Tag): string {
    const bytes = this.#value(tag)
    try {
      return decoder.decode(bytes)
    } catch {
      throw wireError('a string is not UTF-8')
    }
  }

  message(tag: Tag): Reader {
    return new Reader(this.#value(tag), this.#budget)
  }

  /** Passes over the value of an unknown field; over a group with all that is in it. */
  skip(tag: Tag): void {
    let depth = 0
    for (let { wire } = tag; ; { wire } = this.#tag()) {
      if (wire === WIRE_VARINT) this.#varint()
      else if (wire === WIRE_FIXED64) this.#take(8)
      else if (wire === WIRE_BYTES) this.#take(this.#size())
      else if (wire === WIRE_GROUP) depth++
      else if (wire === WIRE_GROUP_END) depth--
      else if (wire === WIRE_FIXED32) this.#take(4)
      else throw wireError(`wire type ${wire}`)
      if (depth === 0) return
    }
  }

  #scalar(tag: Tag): bigint {
    if (tag.wire !== WIRE_VARINT) throw wireError(`wire type ${tag.wire} for field ${tag.field}`)
    return this.#varint()
  }

  #value(tag: Tag): Uint8Array {
    if (tag.wire !== WIRE_BYTES) throw wireError(`wire type ${tag.wire} for field ${tag.field}`)
    return this.#take(this.#size())
  }

  #tag(): Tag {
    if (--this.#budget.tags < 0) throw wireError('too many fields')
    const tag = this.#size()
    if (tag < 8 || tag > TAG_MAX) throw wireError(`illegal tag ${tag}`)
    return { field: Math.floor(tag / 8), wire: tag % 8 }
  }

  /** A tag or a length: exact while it is small enough to be either, and too large otherwise. */
  #size(): number {
    const byte = this.#bytes[this.#at]
    if (byte === undefined || byte >= 0x80) return Number(this.#varint())
    this.#at++
    return byte
  }

  #varint(): bigint {
    let value = 0n
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.#bytes[this.#at++]
      if (byte === undefined) throw wireError('cut inside a varint')
      value |= BigInt(byte & 0x7f) << shift
      if (byte < 0x80) return BigInt.asUintN(64, value)
    }
    throw wireError('varint of more than ten bytes')
  }

  #take(length: number): Uint8Array {
    const from = this.#at
    if (length > this.#bytes.length - from) throw wireError('length past the end')
    this.#at = from + length
    return this.#bytes.subarray(from, this.#at)
  }
}

/** Gathers the fields of one message; `finish` copies once. Fields are to be given in ascending order. */
export class Writer {
  readonly #parts: Uint8Array[] = []
  #length = 0

  /** int64, uint64 or uint32; zero is left out. */
  varint(field: number, value: bigint | number): this {
    const unsigned = BigInt.asUintN(64, BigInt(value))
    return unsigned === 0n ? this : this.#head(field, WIRE_VARINT, unsigned)
  }

  /** Empty is left out. Not copied before `finish`. */
  bytes(field: number, value: Uint8Array | undefined): this {
    if (value === undefined || value.length === 0) return this
    return this.#head(field, WIRE_BYTES, value.length).#push(value)
  }

  string(field: number, value: string): this {
    return this.bytes(field, value === '' ? undefined : encoder.encode(value))
  }

  /** An element of a repeated field: written even if empty. */
  element(field: number, value: string): this {
    const bytes = encoder.encode(value)
    return this.#head(field, WIRE_BYTES, bytes.length).#push(bytes)
  }

  /** Undefined is left out, an empty message is written with length 0. */
  message(field: number, value: Writer | undefined): this {
    if (value === undefined) return this
    this.#head(field, WIRE_BYTES, value.#length)
    for (const part of value.#parts) this.#push(part)
    return this
  }

  finish(): Uint8Array {
    const out = new Uint8Array(this.#length)
    let at = 0
    for (const part of this.#parts) {
      out.set(part, at)
      at += part.length
    }
    return out
  }

  /** A tag and the number that follows it: a length or a value. */
  #head(field: number, wire: number, value: bigint | number): this {
    const out: number[] = []
    pushVarint(out, field * 8 + wire)
    let rest = value
    if (typeof rest === 'bigint') {
      for (; rest > SAFE_MAX; rest >>= 7n) out.push(Number(rest & 0x7fn) | 0x80)
      rest = Number(rest)
    }
    pushVarint(out, rest)
    return this.#push(new Uint8Array(out))
  }

  #push(part: Uint8Array): this {
    this.#parts.push(part)
    this.#length += part.length
    return this
  }
}

/** @param value a safe integer of at least 0 */
function pushVarint(out: number[], value: number): void {
  let rest = value
  for (; rest > 0x7f; rest = Math.floor(rest / 128)) out.push((rest % 128) | 0x80)
  out.push(rest)
}

/** @throws ProtocolError WIRE for a text that UTF-8 cannot hold: half of a surrogate pair */
export function requireUnicode(text: string): void {
  if (/\p{Surrogate}/u.test(text)) throw wireError('text is not valid Unicode')
}

export function wireError(reason: string): ProtocolError {
  return new ProtocolError('WIRE', `malformed message: ${reason}`)
}
