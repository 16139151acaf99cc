/**
 * Go's gob streams, read from anyone: lengths, integers, type definitions, values to skip.
 *
 * A stream is a row of messages `uint(length) ‖ content`. A content that begins with a negative type
 * id defines a type; the first other one is the value. Integers are one byte below 128, else a byte
 * `256 − n` and n bytes, big-endian; signed ones carry their sign in the lowest bit. A struct is a
 * row of `uint(field − previous field) ‖ value` and ends with 0, or with its message.
 *
 * Whatever the bytes say, no more is allocated than they hold, nesting has an end, and the only
 * error is SmstError GOB. Unlike Go this refuses interfaces and values nested over 64 deep, which no
 * proof has. Source: encoding/gob of Go (doc.go, decode.go). Tested by test/smst/stream.ts.
 */
import { SmstError } from './errors.ts'

/** Ids of the types that need no definition. */
export const GOB = {
  bool: 1,
  int: 2,
  uint: 3,
  float: 4,
  bytes: 5,
  string: 6,
  complex: 7,
} as const

const USER_IDS_FROM = 64
const ID_MAX = 0x7fff_ffffn
const INTEGER_BYTES_MAX = 8
const NESTING_MAX = 64

export interface GobField {
  readonly name: string
  readonly id: number
}

/** A defined type; `opaque` is one with an encoding of its own, sent as bytes. */
export type GobType =
  | { readonly kind: 'struct'; readonly fields: readonly GobField[] }
  | { readonly kind: 'array' | 'slice'; readonly element: number }
  | { readonly kind: 'map'; readonly key: number; readonly element: number }
  | { readonly kind: 'opaque' }

export function gobError(message: string): SmstError {
  return new SmstError('GOB', message)
}

/** A cursor over one message. */
export class GobReader {
  readonly #bytes: Uint8Array
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  get remaining(): number {
    return this.#bytes.length - this.#at
  }

  uint(): bigint {
    const first = this.#take(1)[0] ?? 0
    if (first < 0x80) return BigInt(first)
    const size = 256 - first
    if (size > INTEGER_BYTES_MAX) throw gobError('an integer has more than 64 bits')
    let value = 0n
    for (const byte of this.#take(size)) value = (value << 8n) | BigInt(byte)
    return value
  }

  /** −2^63 … 2^63−1 */
  int(): bigint {
    const value = this.uint()
    return (value & 1n) === 0n ? value >> 1n : ~(value >> 1n)
  }

  /** A length or count; what it counts takes at least a byte each. */
  length(): number {
    const value = this.uint()
    if (value > BigInt(this.remaining)) throw gobError('a length exceeds the input')
    return Number(value)
  }

  /** A copy, also of a Buffer, whose slice() is a view. */
  bytes(): Uint8Array {
    return new Uint8Array(this.#take(this.length()))
  }

  text(): string {
    return new TextDecoder().decode(this.#take(this.length()))
  }

  /** `read(index)` is called for each field that was sent and takes its value. */
  struct(fieldCount: number, read: (index: number) => void): void {
    let index = -1
    while (this.remaining > 0) {
      const delta = this.uint()
      if (delta === 0n) return
      if (delta >= BigInt(fieldCount - index)) throw gobError('a struct has no such field')
      index += Number(delta)
      read(index)
    }
  }

  /** @param read takes one element */
  list<T>(read: () => T): T[] {
    const elements: T[] = []
    for (let count = this.length(); count > 0; count--) elements.push(read())
    return elements
  }

  #take(count: number): Uint8Array {
    if (count > this.remaining) throw gobError('the input ends early')
    this.#at += count
    return this.#bytes.subarray(this.#at - count, this.#at)
  }
}

/** The value message of a stream: read `value` as type `id`. */
export interface GobStream {
  readonly types: ReadonlyMap<number, GobType>
  readonly id: number
  readonly value: GobReader
}

/** Reads up to the first value; what follows it is not looked at. @throws SmstError GOB */
export function openGob(bytes: Uint8Array): GobStream {
  const types = new Map<number, GobType>()
  const stream = new GobReader(bytes)
  for (;;) {
    const message = new GobReader(stream.bytes())
    const id = typeId(message)
    if (id >= 0) return { types, id, value: message }
    if (-id < USER_IDS_FROM || types.has(-id)) throw gobError('a type is defined twice')
    types.set(-id, definition(message))
    if (message.remaining > 0) throw gobError('a type definition has more after it')
  }
}

/** Takes a value of type `id` and forgets it. @throws SmstError GOB */
export function skipGob(
  types: ReadonlyMap<number, GobType>,
  id: number,
  reader: GobReader,
  nesting = 0,
): void {
  if (nesting > NESTING_MAX) throw gobError('values are nested too deep')
  const skip = (inner: number) => {
    if (reader.remaining === 0) throw gobError('the input ends early')
    skipGob(types, inner, reader, nesting + 1)
  }
  if (id === GOB.bool || id === GOB.int || id === GOB.uint || id === GOB.float) reader.uint()
  else if (id === GOB.bytes || id === GOB.string) reader.bytes()
  else if (id === GOB.complex) {
    reader.uint()
    reader.uint()
  } else {
    const type = types.get(id)
    if (type === undefined) throw gobError('a type is not defined')
    if (type.kind === 'opaque') reader.bytes()
    else if (type.kind === 'struct')
      reader.struct(type.fields.length, (index) => skip(type.fields[index]?.id ?? 0))
    else
      for (let count = reader.length(); count > 0; count--) {
        if (type.kind === 'map') skip(type.key)
        skip(type.element)
      }
  }
}

/** Go's `wireType`: a struct of which one field is set, each but the fourth beginning with name and id. */
function definition(reader: GobReader): GobType {
  let type: GobType | undefined
  reader.struct(7, (kind) => {
    if (type !== undefined) throw gobError('a type is two types')
    if (kind === 2) type = structDefinition(reader)
    else type = plainDefinition(reader, kind)
  })
  if (type === undefined) throw gobError('a type definition is empty')
  return type
}

/** An array (element, length), slice (element), map (key, element) or a type with its own encoding. */
function plainDefinition(reader: GobReader, kind: number): GobType {
  const numbers = [0, 0]
  const numberCount = [2, 1, 0, 2][kind] ?? 0
  reader.struct(1 + numberCount, (index) => {
    if (index === 0) common(reader)
    else if (kind === 0 && index === 2) reader.int()
    else numbers[index - 1] = typeId(reader)
  })
  const [first = 0, second = 0] = numbers
  if (kind === 0) return { kind: 'array', element: first }
  if (kind === 1) return { kind: 'slice', element: first }
  return kind === 3 ? { kind: 'map', key: first, element: second } : { kind: 'opaque' }
}

function structDefinition(reader: GobReader): GobType {
  let fields: GobField[] = []
  reader.struct(2, (index) => {
    if (index === 0) common(reader)
    else fields = reader.list(() => fieldDefinition(reader))
  })
  return { kind: 'struct', fields }
}

function fieldDefinition(reader: GobReader): GobField {
  let name = ''
  let id = 0
  reader.struct(2, (index) => {
    if (index === 0) name = reader.text()
    else id = typeId(reader)
  })
  return { name, id }
}

/** A type's name and its id once more: Go goes by neither. */
function common(reader: GobReader): void {
  reader.struct(2, (index) => {
    if (index === 0) reader.text()
    else reader.int()
  })
}

function typeId(reader: GobReader): number {
  const id = reader.int()
  if (id > ID_MAX || id < -ID_MAX) throw gobError('a type id has more than 32 bits')
  return Number(id)
}
