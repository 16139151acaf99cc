/**
 * The proof's form in `MsgSubmitProof.proof`: Go's gob encoding of `SparseCompactMerkleClosestProof`.
 *
 * There is no protobuf form. A writer repeats the same type definitions before every proof, so ours
 * are a constant; a reader may not assume their ids and goes by the definitions in the stream and
 * the names of fields. Zero values are not sent: empty bytes and lists, the integer 0.
 * Source: pokt-network/smt proofs.go; encoding/gob of Go. Tested by test/smst/gob.ts.
 */
import { concat, unhex } from '../base/bytes.ts'
import { PATH_BITS } from './node.ts'
import type { CompactProof } from './proof.ts'
import { GOB, type GobReader, type GobType, gobError, openGob, skipGob } from './stream.ts'

/** The Go struct, field for field; what Go leaves nil is empty here. */
export interface WireProof {
  path: Uint8Array
  /** Big-endian integers; Go writes them with as few bytes as they need, and one for 0. */
  flippedBits: Uint8Array[]
  depth: Uint8Array
  closestPath: Uint8Array
  closestValueHash: Uint8Array
  closestProof: WireSiblings | undefined
}

/** `SparseCompactMerkleProof`. */
export interface WireSiblings {
  sideNodes: Uint8Array[]
  nonMembershipLeafData: Uint8Array
  bitMask: Uint8Array
  /** An int64: a foreign proof may say anything. */
  numSideNodes: bigint
  siblingData: Uint8Array
}

const NOTHING: Uint8Array = new Uint8Array()
const PROOF_ID = 64n
/** Definitions of types 64 (the proof), 65 ([][]byte) and 66 (its siblings). */
const PREFIX = unhex(
  [
    'ff877f0301011f537061727365436f6d706163744d65726b6c65436c6f7365737450726f6f6601ff8000010601',
    '0450617468010a00010b466c69707065644269747301ff820001054465707468010a00010b436c6f7365737450',
    '617468010a000110436c6f7365737456616c756548617368010a00010c436c6f7365737450726f6f6601ff8400',
    '000017ff81020101095b5d5b5d75696e743801ff8200010a00007cff8303010118537061727365436f6d706163',
    '744d65726b6c6550726f6f6601ff840001050109536964654e6f64657301ff820001154e6f6e4d656d62657273',
    '6869704c65616644617461010a0001074269744d61736b010a00010c4e756d536964654e6f646573010400010b',
    '5369626c696e6744617461010a000000',
  ].join(''),
)

export function encodeProof(proof: CompactProof): Uint8Array {
  return encodeWireProof({
    path: proof.path,
    flippedBits: proof.flippedBits.map(minimal),
    depth: minimal(proof.depth),
    closestPath: proof.closestPath,
    closestValueHash: proof.closestValueHash,
    closestProof: {
      sideNodes: [...proof.sideNodes],
      nonMembershipLeafData: NOTHING,
      bitMask: proof.bitMask,
      numSideNodes: BigInt(proof.numSideNodes),
      siblingData: proof.siblingData ?? NOTHING,
    },
  })
}

/**
 * Reads any type ids; what follows the value is ignored, as the chain does. Stricter than the chain:
 * integers have no leading zeros, and there is no data of a foreign leaf. @throws SmstError GOB
 */
export function decodeProof(bytes: Uint8Array): CompactProof {
  const { closestProof, ...proof } = decodeWireProof(bytes)
  if (closestProof === undefined) throw gobError('a proof without siblings')
  if (closestProof.nonMembershipLeafData.length > 0) throw gobError('a proof that a leaf is absent')
  const { sideNodes, bitMask, numSideNodes, siblingData } = closestProof
  if (numSideNodes < 0n || numSideNodes > BigInt(PATH_BITS))
    throw gobError(`a proof with ${numSideNodes} siblings`)
  return {
    path: proof.path,
    flippedBits: proof.flippedBits.map(fromMinimal),
    depth: fromMinimal(proof.depth),
    closestPath: proof.closestPath,
    closestValueHash: proof.closestValueHash,
    sideNodes,
    bitMask,
    numSideNodes: Number(numSideNodes),
    ...(siblingData.length > 0 && { siblingData }),
  }
}

export function encodeWireProof(proof: WireProof): Uint8Array {
  const siblings = proof.closestProof
  const body = concat(
    int(PROOF_ID),
    struct([
      bytes(proof.path),
      list(proof.flippedBits),
      bytes(proof.depth),
      bytes(proof.closestPath),
      bytes(proof.closestValueHash),
      siblings === undefined
        ? NOTHING
        : struct([
            list(siblings.sideNodes),
            bytes(siblings.nonMembershipLeafData),
            bytes(siblings.bitMask),
            siblings.numSideNodes === 0n ? NOTHING : int(siblings.numSideNodes),
            bytes(siblings.siblingData),
          ]),
    ]),
  )
  return concat(PREFIX, uint(BigInt(body.length)), body)
}

/** Accepts what Go's `Unmarshal` accepts of a proof. @throws SmstError GOB */
export function decodeWireProof(bytes: Uint8Array): WireProof {
  const { types, id, value } = openGob(bytes)
  const proof: WireProof = {
    path: NOTHING,
    flippedBits: [],
    depth: NOTHING,
    closestPath: NOTHING,
    closestValueHash: NOTHING,
    closestProof: undefined,
  }
  if (!readStruct(types, id, value, PROOF, proof)) throw gobError('a value that is no proof at all')
  return proof
}

type Types = ReadonlyMap<number, GobType>

/** A field that we know: which types may carry it, and where it goes. */
interface Field<T> {
  readonly fits: (types: Types, id: number) => boolean
  readonly read: (into: T, reader: GobReader, types: Types, id: number) => void
}

type Fields<T> = Readonly<Record<string, Field<T>>>

function bytesField<T>(set: (into: T, value: Uint8Array) => void): Field<T> {
  return {
    fits: (_, id) => id === GOB.bytes,
    read: (into, reader) => set(into, reader.bytes()),
  }
}

function listField<T>(set: (into: T, value: Uint8Array[]) => void): Field<T> {
  return {
    fits: (types, id) => {
      const type = types.get(id)
      return type?.kind === 'slice' && type.element === GOB.bytes
    },
    read: (into, reader) =>
      set(
        into,
        reader.list(() => reader.bytes()),
      ),
  }
}

const SIBLINGS: Fields<WireSiblings> = {
  SideNodes: listField((into, value) => {
    into.sideNodes = value
  }),
  NonMembershipLeafData: bytesField((into, value) => {
    into.nonMembershipLeafData = value
  }),
  BitMask: bytesField((into, value) => {
    into.bitMask = value
  }),
  NumSideNodes: {
    fits: (_, id) => id === GOB.int,
    read: (into, reader) => {
      into.numSideNodes = reader.int()
    },
  },
  SiblingData: bytesField((into, value) => {
    into.siblingData = value
  }),
}

const PROOF: Fields<WireProof> = {
  Path: bytesField((into, value) => {
    into.path = value
  }),
  FlippedBits: listField((into, value) => {
    into.flippedBits = value
  }),
  Depth: bytesField((into, value) => {
    into.depth = value
  }),
  ClosestPath: bytesField((into, value) => {
    into.closestPath = value
  }),
  ClosestValueHash: bytesField((into, value) => {
    into.closestValueHash = value
  }),
  ClosestProof: {
    fits: (types, id) => types.get(id)?.kind === 'struct',
    read: (into, reader, types, id) => {
      into.closestProof = noSiblings()
      readStruct(types, id, reader, SIBLINGS, into.closestProof)
    },
  },
}

/** Fills what the stream has of `fields`, by name; others are skipped. @returns whether it has any */
function readStruct<T>(
  types: Types,
  id: number,
  reader: GobReader,
  fields: Fields<T>,
  into: T,
): boolean {
  const type = types.get(id)
  if (type?.kind !== 'struct') throw gobError('a value that is not a struct')
  const found = new Set<Field<T>>()
  const known = type.fields.map(({ name, id: fieldId }) => {
    const field = Object.hasOwn(fields, name) ? fields[name] : undefined
    if (field === undefined) return { field, fieldId }
    if (found.has(field)) throw gobError(`${name} is there twice`)
    if (!field.fits(types, fieldId)) throw gobError(`${name} has another type`)
    found.add(field)
    return { field, fieldId }
  })
  reader.struct(known.length, (index) => {
    const { field, fieldId = 0 } = known[index] ?? {}
    if (field === undefined) skipGob(types, fieldId, reader)
    else field.read(into, reader, types, fieldId)
  })
  return found.size > 0
}

function noSiblings(): WireSiblings {
  return {
    sideNodes: [],
    nonMembershipLeafData: NOTHING,
    bitMask: NOTHING,
    numSideNodes: 0n,
    siblingData: NOTHING,
  }
}

/** Each value as it is sent; what is not sent is empty. */
function struct(values: readonly Uint8Array[]): Uint8Array {
  const parts: Uint8Array[] = []
  let previous = -1
  for (const [index, value] of values.entries()) {
    if (value.length === 0) continue
    parts.push(uint(BigInt(index - previous)), value)
    previous = index
  }
  return concat(...parts, uint(0n))
}

function bytes(value: Uint8Array): Uint8Array {
  return value.length === 0 ? NOTHING : concat(uint(BigInt(value.length)), value)
}

function list(values: readonly Uint8Array[]): Uint8Array {
  if (values.length === 0) return NOTHING
  const parts = values.flatMap((value) => [uint(BigInt(value.length)), value])
  return concat(uint(BigInt(values.length)), ...parts)
}

function uint(value: bigint): Uint8Array {
  if (value < 0x80n) return new Uint8Array([Number(value)])
  const digits = bigEndian(value)
  return concat(new Uint8Array([256 - digits.length]), digits)
}

function int(value: bigint): Uint8Array {
  return uint(value < 0n ? (~value << 1n) | 1n : value << 1n)
}

/** As few bytes as `value` needs, at least one. */
function bigEndian(value: bigint): Uint8Array {
  const digits = value.toString(16)
  return unhex(digits.length % 2 === 0 ? digits : `0${digits}`)
}

function minimal(value: number): Uint8Array {
  return bigEndian(BigInt(value))
}

/** A depth, 0 … 65535. */
function fromMinimal(digits: Uint8Array): number {
  const [high = 0, low] = digits
  if (digits.length === 1) return high
  if (digits.length !== 2 || low === undefined || high === 0)
    throw gobError('a depth that is not one')
  return (high << 8) | low
}
