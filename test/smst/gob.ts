import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import { concat, hex, sha256, unhex } from '../../src/base/bytes.ts'
import { SmstError } from '../../src/smst/errors.ts'
import { foldClosest } from '../../src/smst/fold.ts'
import {
  decodeProof,
  decodeWireProof,
  encodeProof,
  encodeWireProof,
  type WireProof,
  type WireSiblings,
} from '../../src/smst/gob.ts'
import { type CompactProof, compactProof } from '../../src/smst/proof.ts'
import { exampleLeaves, leafAt } from '../support/smst.ts'
import { rows } from '../support/vectors.ts'

const PREFIX_BYTES = 286

interface GoSiblings {
  side_nodes: string[] | null
  non_membership_leaf_data: string | null
  bit_mask: string | null
  num_side_nodes: string
  sibling_data: string | null
}

interface GoProof {
  path: string | null
  flipped_bits: string[] | null
  depth: string | null
  closest_path: string | null
  closest_value_hash: string | null
  closest_proof: GoSiblings | null
}

interface GobRow {
  value?: GoProof
  decoded?: GoProof
  gob?: string
  value_len?: number
  gob_len?: number
  gob_sha256?: string
}

/** nil and empty are one to us, as they are on the wire. */
const bytesOf = (text: string | null): Uint8Array => unhex(text ?? '')
const listOf = (texts: string[] | null): Uint8Array[] => (texts ?? []).map(unhex)

function wireOf(go: GoProof): WireProof {
  const inner = go.closest_proof
  const siblings: WireSiblings | undefined =
    inner === null
      ? undefined
      : {
          sideNodes: listOf(inner.side_nodes),
          nonMembershipLeafData: bytesOf(inner.non_membership_leaf_data),
          bitMask: bytesOf(inner.bit_mask),
          numSideNodes: BigInt(inner.num_side_nodes),
          siblingData: bytesOf(inner.sibling_data),
        }
  return {
    path: bytesOf(go.path),
    flippedBits: listOf(go.flipped_bits),
    depth: bytesOf(go.depth),
    closestPath: bytesOf(go.closest_path),
    closestValueHash: bytesOf(go.closest_value_hash),
    closestProof: siblings,
  }
}

const KINDS = ['shape', 'field', 'length', 'int', 'depth', 'random', 'other-ids']
const golden = KINDS.flatMap((kind) => rows<GobRow>('gob.jsonl', kind))

t.test('every golden value is encoded and decoded as Go does it', async (t) => {
  t.equal(golden.length, 149)
  for (const { id, kind, note = '', value, gob, decoded } of golden) {
    if (value === undefined || gob === undefined) continue
    const name = `${id} ${note}`
    if (kind !== 'other-ids') t.equal(hex(encodeWireProof(wireOf(value))), gob, `${name}: encoded`)
    t.strictSame(decodeWireProof(unhex(gob)), wireOf(decoded ?? value), `${name}: decoded`)
    if (decoded !== undefined) t.strictSame(wireOf(decoded), wireOf(value), `${name}: empty is nil`)
  }
})

t.test('the two largest golden values are encoded and decoded as Go does it', async (t) => {
  const large = golden.filter((row) => row.gob === undefined)
  t.equal(large.length, 2)
  for (const { id, value_len = 0, gob_len, gob_sha256 } of large) {
    const closestValueHash = new Uint8Array(value_len).fill(0x5a)
    const value = { ...wireOf(golden[0]?.value ?? nothing), closestValueHash }
    const bytes = encodeWireProof(value)
    t.equal(bytes.length, gob_len, `${id}: length`)
    t.equal(hex(sha256(bytes)), gob_sha256, `${id}: bytes`)
    t.strictSame(decodeWireProof(bytes), value, `${id}: decoded`)
  }
})

const nothing: GoProof = {
  path: null,
  flipped_bits: null,
  depth: null,
  closest_path: null,
  closest_value_hash: null,
  closest_proof: null,
}

/** After the type definitions; from the Go library, target and leaves as named. */
const BODIES: readonly [leaves: number, target: number, siblingData: string, body: string][] = [
  [
    1,
    0x00,
    '',
    `65ff80012000000000000000000000000000000000000000000000000000000000000000000201000120a7098ae6903d
    d7330f37323d99043fa485ea9bbe126d99bbffa0e5caa061277f011772656c61792d30000000000000006400000000000
    00001010000`,
  ],
  [
    3,
    0x00,
    `003a7269e77fc4e99122bc221f8ac4a8910583c4013977430b0d3af1889f4eb94772656c61792d32000000000000006400
    00000000000001`,
    `fe010cff800120000000000000000000000000000000000000000000000000000000000000000001010102010104012020
    042f314f91692e748aa331d96f9afbcae0e04893c4a330fcf06b39ac1e0803011772656c61792d31000000000000006400
    000000000000010101023087edb005e3b8f6dc5e8acd3de340e62feaa3bcf857d067085a3a3371bb72bef3000000000000
    0064000000000000000130f56b96f291ee6cf96bcfbe62af9570972c16ac048cc134cfab0534721476fdb6000000000000
    0064000000000000000102016001080138003a7269e77fc4e99122bc221f8ac4a8910583c4013977430b0d3af1889f4eb9
    4772656c61792d32000000000000006400000000000000010000`,
  ],
  [
    3,
    0xff,
    `0201033a7269e77fc4e99122bc221f8ac4a8910583c4013977430b0d3af1889f4eb9476028d40559f8d5ece5cca0f59282
    401b8ccf2e2637813dd088f9d8ea54be8a3d00000000000000c8000000000000000200000000000000c800000000000000
    02`,
    `fe0102ff800120ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff0201010120a7098ae690
    3dd7330f37323d99043fa485ea9bbe126d99bbffa0e5caa061277f011772656c61792d3000000000000000640000000000
    00000101010130685fb0a05b8228306728d8a52a254dbff90e9bffe377dc91fd3ed351672cc5d700000000000000c80000
    0000000000020201000102016302 01033a7269e77fc4e99122bc221f8ac4a8910583c4013977430b0d3af1889f4eb9476
    028d40559f8d5ece5cca0f59282401b8ccf2e2637813dd088f9d8ea54be8a3d00000000000000c80000000000000002000
    00000000000c800000000000000020000`,
  ],
]

async function exampleProof(leaves: number, target: number, sibling: string) {
  const tree = exampleLeaves(leaves)
  const closest = await foldClosest(tree, new Uint8Array(32).fill(target))
  const { value, weight } = leafAt(tree, closest.path)
  return compactProof(closest, value, weight, sibling === '' ? undefined : unhex(sibling))
}

t.test('the documented proofs are written byte for byte', async (t) => {
  for (const [leaves, target, siblingData, body] of BODIES) {
    const proof = await exampleProof(leaves, target, siblingData.replace(/\s/g, ''))
    const bytes = encodeProof(proof)
    const name = `${leaves} leaves towards ${target}`
    t.equal(
      hex(sha256(bytes.subarray(0, PREFIX_BYTES))),
      'abc030532ee74acf6039c22b4c8e679ce7082adc4bb8ec0792f0796737c46925',
      `${name}: type definitions`,
    )
    t.equal(hex(bytes.subarray(PREFIX_BYTES)), body.replace(/\s/g, ''), name)
    t.strictSame(decodeProof(bytes), plain(proof), `${name}: decoded`)
  }
  const ten = await exampleProof(10, 0, '')
  t.equal(hex(ten.bitMask), '40')
  t.strictSame(
    ten.sideNodes.map((node) => hex(node.subarray(0, 4))),
    ['44f95179', '55982865', '29479f84'],
  )
})

/** Buffers as what they stand for, so that a comparison sees only bytes. */
function plain(proof: CompactProof): CompactProof {
  const { siblingData } = proof
  return {
    ...proof,
    path: new Uint8Array(proof.path),
    closestPath: new Uint8Array(proof.closestPath),
    ...(siblingData !== undefined && { siblingData: new Uint8Array(siblingData) }),
  }
}

const someBytes = fc.uint8Array({ maxLength: 300 })
const lists = fc.array(someBytes, { maxLength: 5 })
const int64 = fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n)
const siblings: fc.Arbitrary<WireSiblings> = fc.record(
  {
    sideNodes: lists,
    nonMembershipLeafData: someBytes,
    bitMask: someBytes,
    numSideNodes: fc.oneof(fc.constant(0n), fc.bigInt(-300n, 300n), int64),
    siblingData: someBytes,
  },
  { noNullPrototype: true },
)
const wire: fc.Arbitrary<WireProof> = fc.record(
  {
    path: someBytes,
    flippedBits: lists,
    depth: someBytes,
    closestPath: someBytes,
    closestValueHash: someBytes,
    closestProof: fc.option(siblings, { nil: undefined }),
  },
  { noNullPrototype: true },
)
const proofs: fc.Arbitrary<CompactProof> = fc
  .record({
    path: someBytes,
    flippedBits: fc.array(fc.nat(0xffff), { maxLength: 5 }),
    depth: fc.nat(0xffff),
    closestPath: someBytes,
    closestValueHash: someBytes,
    sideNodes: lists,
    bitMask: someBytes,
    numSideNodes: fc.nat(256),
    siblingData: fc.option(fc.uint8Array({ minLength: 1, maxLength: 300 }), { nil: undefined }),
  })
  .map(({ siblingData, ...rest }) => ({ ...rest, ...(siblingData && { siblingData }) }))

t.test('what was encoded is decoded', async () => {
  fc.assert(
    fc.property(wire, (value) => isDeepStrictEqual(decodeWireProof(encodeWireProof(value)), value)),
  )
  fc.assert(
    fc.property(proofs, (value) => isDeepStrictEqual(decodeProof(encodeProof(value)), value)),
  )
})

/** Nothing but SmstError GOB comes out of a decoder, whatever goes in. */
function staysCalm(bytes: Uint8Array): boolean {
  for (const decode of [decodeWireProof, decodeProof])
    try {
      decode(bytes)
    } catch (error) {
      if (!(error instanceof SmstError) || error.code !== 'GOB') throw error
    }
  return true
}

t.test('no input but gives a proof or one kind of error', async () => {
  const valid = wire.map(encodeWireProof)
  const edit = fc.record({
    at: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
    remove: fc.nat(4),
    insert: fc.uint8Array({ maxLength: 4 }),
  })
  const edited = fc
    .tuple(valid, fc.array(edit, { minLength: 1, maxLength: 4 }))
    .map(([bytes, edits]) =>
      edits.reduce((now, { at, remove, insert }) => {
        const index = Math.floor(at * now.length)
        return concat(now.subarray(0, index), insert, now.subarray(index + remove))
      }, bytes),
    )
  fc.assert(fc.property(edited, staysCalm), { numRuns: 2_000 })
  fc.assert(fc.property(fc.uint8Array({ maxLength: 60 }), staysCalm), { numRuns: 2_000 })
})

t.test('a proof cut anywhere is refused', async (t) => {
  const bytes = encodeProof(await exampleProof(10, 0, ''))
  for (let length = 0; length < bytes.length; length++)
    t.throws(
      () => decodeWireProof(bytes.subarray(0, length)),
      { name: 'SmstError', code: 'GOB' },
      `${length} bytes`,
    )
  t.strictSame(decodeProof(concat(bytes, bytes)), decodeProof(bytes), 'what follows is not read')
})

t.test('lengths that the input does not hold cost nothing', async (t) => {
  const bytes = encodeProof(await exampleProof(1, 0, ''))
  const huge = 'f87fffffffffffffff'
  const prefix = bytes.subarray(0, PREFIX_BYTES)
  const body = (text: string) => concat(prefix, new Uint8Array([text.length / 2]), unhex(text))
  for (const [name, bad] of [
    ['a message', concat(prefix, unhex(huge))],
    ['a path', body(`ff8001${huge}`)],
    ['a list of flipped bits', body(`ff8002${huge}`)],
    ['a field', body(`ff80${huge}`)],
    ['more than 64 bits', body('ff8001f7010000000000000000')],
  ] as const)
    t.throws(() => decodeWireProof(bad), { code: 'GOB' }, name)
})

t.test('a proof whose memory is reused stays as it was read', async (t) => {
  const proof = plain(await exampleProof(3, 0, ''))
  const bytes = Buffer.from(encodeProof(proof))
  const decoded = decodeProof(bytes)
  bytes.fill(0)
  t.strictSame(decoded, proof)
})

t.test('what only a foreign proof says is refused where we read our own', async (t) => {
  const own: WireProof = {
    ...wireOf(nothing),
    flippedBits: [unhex('02')],
    depth: unhex('0100'),
    closestProof: {
      sideNodes: [],
      nonMembershipLeafData: unhex(''),
      bitMask: unhex(''),
      numSideNodes: 256n,
      siblingData: unhex(''),
    },
  }
  const { flippedBits, depth, numSideNodes } = decodeProof(encodeWireProof(own))
  t.strictSame([flippedBits, depth, numSideNodes], [[2], 256, 256])
  const inner = own.closestProof
  if (inner === undefined) throw new RangeError('it has siblings')
  for (const [name, change] of Object.entries<Partial<WireProof>>({
    'no siblings': { closestProof: undefined },
    'a foreign leaf': { closestProof: { ...inner, nonMembershipLeafData: new Uint8Array(33) } },
    'too many siblings': { closestProof: { ...inner, numSideNodes: 257n } },
    'fewer than none': { closestProof: { ...inner, numSideNodes: -1n } },
    'a depth with a leading zero': { depth: unhex('0002') },
    'a depth of three bytes': { depth: unhex('010000') },
    'no depth': { depth: unhex('') },
    'a flipped bit with a leading zero': { flippedBits: [unhex('0002')] },
    'an empty flipped bit': { flippedBits: [unhex('')] },
  })) {
    const bytes = encodeWireProof({ ...own, ...change })
    t.throws(() => decodeProof(bytes), { code: 'GOB' }, name)
    t.doesNotThrow(() => decodeWireProof(bytes), name)
  }
})
