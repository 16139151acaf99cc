import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import { concat, equal, hex, sha256, u64, unhex, utf8 } from '../../src/base/bytes.ts'
import { SmstError } from '../../src/smst/errors.ts'
import { type Closest, foldClosest, foldRoot } from '../../src/smst/fold.ts'
import {
  decodeProof,
  decodeWireProof,
  encodeProof,
  encodeWireProof,
  type WireProof,
} from '../../src/smst/gob.ts'
import { bitAt, leafDigest, PLACEHOLDER } from '../../src/smst/node.ts'
import {
  type CompactProof,
  compactProof,
  decompactProof,
  provenValue,
  verifyProof,
  verifyProofLenient,
} from '../../src/smst/proof.ts'
import {
  exampleLeaves,
  leafAt,
  leavesOf,
  type ProofRow,
  plainInner,
  sorted,
  type TestLeaf,
  testLeaf,
  trieRows,
} from '../support/smst.ts'
import { json, rows } from '../support/vectors.ts'

/** The chain's word on bytes, both steps at once. */
function chainAccepts(bytes: Uint8Array, root: Uint8Array): boolean {
  try {
    return verifyProofLenient(decompactProof(decodeWireProof(bytes)), root)
  } catch (error) {
    if (error instanceof SmstError && /^(GOB|PROOF)$/.test(error.code)) return false
    throw error
  }
}

/** Our word on bytes. */
function weAccept(bytes: Uint8Array, root: Uint8Array): boolean {
  try {
    return verifyProof(decodeProof(bytes), root)
  } catch (error) {
    if (error instanceof SmstError && error.code === 'GOB') return false
    throw error
  }
}

interface GoldenProof {
  name: string
  root: Uint8Array
  leaf: TestLeaf
  expected: ProofRow
  /** Without sibling data, as we send it, and with the recorded one. */
  bare: CompactProof
  full: CompactProof
}

async function goldenProofs(): Promise<GoldenProof[]> {
  const proofs: GoldenProof[] = []
  for (const row of await trieRows()) {
    const leaves = leavesOf(row)
    for (const expected of leaves.length === 0 ? [] : (row.proofs ?? [])) {
      const closest = await foldClosest(leaves, unhex(expected.path))
      const leaf = leafAt(leaves, closest.path)
      // A tree of one leaf has no sibling.
      const sibling = expected.sibling_data === '' ? undefined : unhex(expected.sibling_data)
      proofs.push({
        name: `${row.id} towards ${expected.path}`,
        root: unhex(row.root),
        leaf,
        expected,
        bare: compactProof(closest, leaf.value, leaf.weight),
        full: compactProof(closest, leaf.value, leaf.weight, sibling),
      })
    }
  }
  return proofs
}

const golden = await goldenProofs()

t.test('every golden proof is made byte for byte', async (t) => {
  t.equal(golden.length, 680)
  for (const { name, expected, bare, full } of golden) {
    t.equal(hex(bare.closestValueHash), expected.closest_value_hash, `${name}: value`)
    // For two paths that share 255 bits the library leaves the depth at 0; where bits were
    // flipped it cannot compact that.
    if (expected.compact === undefined) continue
    t.equal(hex(bare.bitMask), expected.compact.bit_mask, `${name}: bit mask`)
    t.equal(bare.numSideNodes, expected.compact.num_side_nodes, `${name}: number`)
    t.equal(bare.sideNodes.length, expected.compact.side_nodes_count, `${name}: siblings`)
    const { depth } = expected
    const bareBytes = encodeProof({ ...bare, depth })
    const fullBytes = encodeProof({ ...full, depth })
    t.equal(bareBytes.length, expected.gob_bare_len, `${name}: bare length`)
    t.equal(hex(sha256(bareBytes)), expected.gob_bare_sha256, `${name}: bare bytes`)
    t.equal(fullBytes.length, expected.gob_len, `${name}: length`)
    t.equal(hex(sha256(fullBytes)), expected.gob_sha256, `${name}: bytes`)
    if (expected.gob !== undefined) t.equal(hex(fullBytes), expected.gob, `${name}: gob`)
  }
})

t.test('every golden proof is judged as the Go library judges it', async (t) => {
  let refused = 0
  for (const { name, root, leaf, expected, bare, full } of golden) {
    const provable = leaf.value.length > 0 || leaf.weight > 0n
    if (!provable) refused += 1
    if (bare.depth === expected.depth) {
      t.equal(expected.verify_bare, provable, `${name}: bare, by the library`)
      t.equal(expected.verify, provable, `${name}: by the library`)
    }
    for (const [kind, proof] of Object.entries({ bare, full })) {
      t.equal(chainAccepts(encodeProof(proof), root), provable, `${name}: ${kind}, by the chain`)
      t.equal(verifyProof(proof, root), provable, `${name}: ${kind}, by us`)
    }
  }
  t.equal(refused, 2, 'proofs of an empty relay that weighs nothing')
})

interface VerdictRow {
  root: string
  gob: string
  verify: boolean
  note: string
}

/** Whatever else the Go library lets pass is not what we send. */
const AS_WE_MAKE_THEM = [
  'unaltered',
  'without sibling data',
  // An honest proof, for another target that leads to the same leaf.
  'path altered in its last bit',
  // Of a stream only the first value counts.
  'gob with a trailing byte',
  'gob with itself appended',
]

t.test('altered proofs are judged as the Go library judges them, and stricter by us', async (t) => {
  const verdicts = rows<VerdictRow>('smst.jsonl', 'verdict')
  t.equal(verdicts.length, 74)
  for (const { id, note, gob, root, verify } of verdicts) {
    t.equal(chainAccepts(unhex(gob), unhex(root)), verify, `${id} ${note}: by the chain`)
    t.equal(
      weAccept(unhex(gob), unhex(root)),
      AS_WE_MAKE_THEM.includes(note),
      `${id} ${note}: by us`,
    )
  }
})

interface RecordedSession {
  tag: string
  cupr: number
  proof_path: string
  wal: { relay_hash: string; compute_units: number; relay_hex: string }[]
  claims: { root_hex: string; sum: string; count: string }[]
  proofs: { code: number; proof_gob_hex: string }[]
}

t.test('sessions of a real chain give their root and their proof', async (t) => {
  const sessions = json<RecordedSession[]>('chain/sessions.json')
  let proven = 0
  for (const { tag, wal, proof_path, claims, proofs } of sessions) {
    const root = unhex(claims[0]?.root_hex ?? '')
    const leaves = sorted(
      wal.map(({ relay_hex, relay_hash, compute_units }) => {
        t.equal(hex(sha256(unhex(relay_hex))), relay_hash, `${tag}: relay hash`)
        const path = sha256(unhex(relay_hash))
        return testLeaf(path, unhex(relay_hex), BigInt(compute_units))
      }),
    )
    // B2 has no log: its miner lost it.
    if (leaves.length === 0) continue
    t.equal(hex(await foldRoot(leaves)), hex(root), `${tag}: root`)
    const closest = await foldClosest(leaves, unhex(proof_path))
    const { value, weight } = leafAt(leaves, closest.path)
    const ours = compactProof(closest, value, weight)
    t.ok(verifyProof(ours, root), `${tag}: our proof, by us`)
    t.ok(chainAccepts(encodeProof(ours), root), `${tag}: our proof, by the chain`)
    for (const { proof_gob_hex, code } of proofs ?? []) {
      const theirs = decodeProof(unhex(proof_gob_hex))
      // Forged by hand towards another path.
      if (hex(theirs.path) !== proof_path) {
        t.ok(['B1', 'E'].includes(tag), `${tag}: a proof for another path`)
        t.equal(hex(provenValue(theirs)), wal[0]?.relay_hex, `${tag}: relay`)
        continue
      }
      proven += 1
      const { siblingData, ...bare } = theirs
      t.equal(hex(encodeProof(bare)), hex(encodeProof(ours)), `${tag}: without sibling data`)
      const asTheirs = compactProof(closest, value, weight, siblingData)
      t.equal(hex(encodeProof(asTheirs)), proof_gob_hex, `${tag}: as they sent it (code ${code})`)
      t.ok(verifyProof(theirs, root), `${tag}: their proof, by us`)
      t.ok(chainAccepts(unhex(proof_gob_hex), root), `${tag}: their proof, by the chain`)
      t.equal(hex(provenValue(theirs)), hex(value), `${tag}: relay`)
    }
  }
  t.equal(sessions.length, 7)
  t.equal(proven, 4)
})

interface SessionRow {
  compute_units_per_relay: number
  relays: { relay: string }[]
  root: string
  proof_path: string
  proof: string
  proof_without_sibling_data: string
  closest_path: string
  flipped_bits: number[]
  depth: number
}

t.test('sessions of the Go code give their root and their proof', async (t) => {
  for (const row of rows<SessionRow>('proof.jsonl', 'session')) {
    const weight = BigInt(row.compute_units_per_relay)
    const leaves = sorted(
      row.relays.map(({ relay }) => {
        const value = unhex(relay)
        return testLeaf(sha256(sha256(value)), value, weight)
      }),
    )
    t.equal(hex(await foldRoot(leaves)), row.root, `${row.id}: root`)
    const closest = await foldClosest(leaves, unhex(row.proof_path))
    t.equal(hex(closest.path), row.closest_path, `${row.id}: leaf`)
    t.strictSame(closest.flippedBits, row.flipped_bits, `${row.id}: flipped bits`)
    t.equal(closest.sideNodes.length, row.depth, `${row.id}: depth`)
    const { value } = leafAt(leaves, closest.path)
    const bare = compactProof(closest, value, weight)
    t.equal(hex(encodeProof(bare)), row.proof_without_sibling_data, `${row.id}: bare proof`)
    const { siblingData } = decodeProof(unhex(row.proof))
    const full = compactProof(closest, value, weight, siblingData)
    t.equal(hex(encodeProof(full)), row.proof, `${row.id}: proof`)
  }
})

interface ChainVerdictRow {
  proof: string
  root: string
  relay?: string
  end_of_block?: string | null
}

t.test('the chain refuses a proof for its tree where the recorded chain does', async (t) => {
  const verdicts = rows<ChainVerdictRow>('proof.jsonl', 'chain-verdict')
  t.equal(verdicts.length, 59)
  for (const { id, note = '', proof, root, relay, end_of_block } of verdicts) {
    const bytes = unhex(proof)
    const other = end_of_block?.startsWith('invalid closest merkle proof') === true
    const readable = note !== 'proof: not gob'
    t.equal(chainAccepts(bytes, unhex(root)), readable && !other, `${id} ${note}: by the chain`)
    if (readable && relay !== undefined)
      t.equal(hex(provenValue(decodeWireProof(bytes))), relay, `${id} ${note}: relay`)
  }
})

/** Paths that share long prefixes, so that a proof has placeholders and flipped bits. */
const path = fc.tuple(fc.nat(2), fc.array(fc.nat(255), { maxLength: 2 })).map(([base, flips]) => {
  const bytes = new Uint8Array(sha256(utf8(`base ${base}`)))
  for (const bit of flips) bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (0x80 >> (bit & 7))
  return bytes
})
const leaves = fc
  .array(
    fc
      .tuple(path, fc.uint8Array({ minLength: 1, maxLength: 6 }), fc.bigInt(1n, 5000n))
      .map(([path, value, weight]) => testLeaf(path, value, weight)),
    { minLength: 1, maxLength: 12 },
  )
  .map(sorted)

async function proofFor(of: ReturnType<typeof sorted>, target: Uint8Array) {
  const closest = await foldClosest(of, target)
  const { value, weight } = leafAt(of, closest.path)
  return { root: closest.root, proof: compactProof(closest, value, weight) }
}

t.test('a proof of any tree for any target is accepted by us and by the chain', async () => {
  await fc.assert(
    fc.asyncProperty(leaves, path, async (leaves, target) => {
      const { proof, root } = await proofFor(leaves, target)
      return verifyProof(proof, root) && chainAccepts(encodeProof(proof), root)
    }),
  )
})

function flipped(bytes: Uint8Array, bit: number): Uint8Array {
  const changed = new Uint8Array(bytes)
  changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (0x80 >> (bit & 7))
  return changed
}

function replaced<T>(list: readonly T[], index: number, value: T): T[] {
  return list.map((each, i) => (i === index ? value : each))
}

/** Every proof that differs from `proof` in one bit, but for bits of the target. */
function* oneBitOff(proof: CompactProof): Generator<[where: string, CompactProof]> {
  for (const field of ['closestPath', 'closestValueHash', 'bitMask'] as const)
    for (let bit = 0; bit < 8 * proof[field].length; bit++)
      yield [`${field} ${bit}`, { ...proof, [field]: flipped(proof[field], bit) }]
  for (const field of ['depth', 'numSideNodes'] as const)
    for (let bit = 0; bit < 10; bit++)
      yield [`${field} ${bit}`, { ...proof, [field]: proof[field] ^ (1 << bit) }]
  for (const [i, depth] of proof.flippedBits.entries())
    for (let bit = 0; bit < 10; bit++) {
      const flippedBits = replaced(proof.flippedBits, i, depth ^ (1 << bit))
      yield [`flipped bit ${i} ${bit}`, { ...proof, flippedBits }]
    }
  for (const [i, node] of proof.sideNodes.entries())
    for (let bit = 0; bit < 8 * node.length; bit++) {
      const sideNodes = replaced(proof.sideNodes, i, flipped(node, bit))
      yield [`sibling ${i} ${bit}`, { ...proof, sideNodes }]
    }
}

t.test('a proof that differs in one bit is refused', async (t) => {
  const target = sha256(utf8('base 0'))
  const flips = [sha256(utf8('base 1')), flipped(target, 20), flipped(flipped(target, 20), 200)]
  const near = flips.map((path, i) => testLeaf(path, utf8(`relay ${i}`), 7n))
  for (const tree of [exampleLeaves(1), exampleLeaves(10), sorted(near)]) {
    const { proof, root } = await proofFor(tree, target)
    t.ok(verifyProof(proof, root), 'unaltered')
    const changes = [...oneBitOff(proof)]
    t.ok(changes.length > 300, `${changes.length} changes`)
    const accepted = changes.filter(([, changed]) => verifyProof(changed, root))
    t.strictSame(
      accepted.map(([where]) => where),
      [],
      `${tree.length} leaves: changes that were not noticed`,
    )
    const roots = Array.from({ length: 384 }, (_, bit) => flipped(root, bit))
    t.notOk(
      roots.some((changed) => verifyProof(proof, changed)),
      'another root',
    )
    // A change of the target is refused unless the same leaf is the closest one, proven alike.
    for (let bit = 0; bit < 256; bit++) {
      const changed = { ...proof, path: flipped(proof.path, bit) }
      const honest = bit < proof.depth ? undefined : await proofFor(tree, changed.path)
      if (verifyProof(changed, root) !== isDeepStrictEqual(honest?.proof, changed))
        t.fail(`${tree.length} leaves: target bit ${bit}`)
    }
  }
  const many = await proofFor(sorted(near), target)
  t.ok(many.proof.flippedBits.length > 0 && many.proof.sideNodes.length < many.proof.depth)
})

t.test('what the chain lets pass and we do not', async (t) => {
  const tree = exampleLeaves(10)
  const { proof, root } = await proofFor(tree, new Uint8Array(32))
  t.strictSame([proof.flippedBits, proof.depth], [[2], 4])
  const sibling = proof.sideNodes[0] ?? PLACEHOLDER
  const masked = proof.sideNodes.toSpliced(1, 0, PLACEHOLDER)
  const loose: Record<string, CompactProof> = {
    'a bit flipped where there are leaves': {
      ...proof,
      path: flipped(proof.path, 0),
      flippedBits: [0, 2],
    },
    'flipped bits that undo each other': { ...proof, flippedBits: [0, 0, 2] },
    'flipped bits in another order': { ...proof, flippedBits: [3, 2, 3] },
    'a depth below the number of siblings': { ...proof, depth: 3 },
    'a placeholder in clear': { ...proof, sideNodes: masked, bitMask: new Uint8Array(1) },
    'a sibling with a byte too many': {
      ...proof,
      sideNodes: replaced(proof.sideNodes, 0, concat(sibling, new Uint8Array(1))),
    },
    'a leaf path with a byte too many': {
      ...proof,
      closestPath: concat(proof.closestPath, new Uint8Array(1)),
    },
  }
  for (const [name, changed] of Object.entries(loose)) {
    t.ok(chainAccepts(encodeProof(changed), root), `${name}: the chain`)
    t.notOk(verifyProof(changed, root), `${name}: we`)
  }
  const extra = testLeaf(sha256(utf8('counted two')), utf8('relay'), 1n)
  const two = concat(extra.value, u64(1), u64(2))
  const twice = { ...(await proofFor([extra], extra.path)).proof, closestValueHash: two }
  const rootOfTwo = concat(sha256(concat(new Uint8Array(1), extra.path, two)), two.subarray(-16))
  t.ok(chainAccepts(encodeProof(twice), rootOfTwo), 'a leaf that counts two: the chain')
  t.notOk(verifyProof(twice, rootOfTwo), 'a leaf that counts two: we')
  const one = (await proofFor([extra], extra.path)).proof
  const sunk = { ...one, depth: 1, numSideNodes: 1, bitMask: new Uint8Array([0x80]) }
  const sunkRoot = plainInner(extra.digest, PLACEHOLDER)
  t.equal(bitAt(extra.path, 0), 0)
  t.ok(chainAccepts(encodeProof(sunk), sunkRoot), 'a leaf deeper than need be: the chain')
  t.notOk(verifyProof(sunk, sunkRoot), 'a leaf deeper than need be: we')
})

t.test(
  'the chain takes an empty relay for no leaf, or for the foreign leaf in its place',
  async (t) => {
    const there = testLeaf(sha256(utf8('there')), utf8('relay'), 3n)
    const encoding = concat(new Uint8Array(1), there.path, there.value, u64(there.weight), u64(1))
    const wire = (change: Partial<WireProof>, foreign: Uint8Array = encoding): WireProof => ({
      path: sha256(utf8('absent')),
      flippedBits: [],
      depth: new Uint8Array(1),
      closestPath: sha256(utf8('absent')),
      closestValueHash: new Uint8Array(),
      closestProof: {
        sideNodes: [],
        nonMembershipLeafData: foreign,
        bitMask: new Uint8Array(),
        numSideNodes: 0n,
        siblingData: new Uint8Array(),
      },
      ...change,
    })
    const verdict = (proof: WireProof, root: Uint8Array) =>
      verifyProofLenient(decompactProof(proof), root)
    const none = new Uint8Array()
    t.ok(verdict(wire({}), there.digest), 'a foreign leaf is there')
    t.ok(verdict(wire({ closestValueHash: new Uint8Array(16) }), there.digest), 'weight 0')
    t.notOk(verdict(wire({ closestValueHash: concat(u64(1), u64(1)) }), there.digest), 'weight 1')
    t.notOk(verdict(wire({ closestPath: there.path }), there.digest), 'that very leaf')
    t.notOk(verdict(wire({}, concat(new Uint8Array([1]), encoding)), there.digest), 'not a leaf')
    t.ok(verdict(wire({}, none), PLACEHOLDER), 'nothing is there')
    t.notOk(verdict(wire({}, none), there.digest), 'something is there')
    t.throws(() => decompactProof({ ...wire({}), closestProof: undefined }), { code: 'PROOF' })
  },
)

t.test('where the library panics, the chain refuses', async (t) => {
  const { proof, root } = await proofFor(exampleLeaves(10), new Uint8Array(32))
  const wire = decodeWireProof(encodeProof(proof))
  const siblings = wire.closestProof
  if (siblings === undefined) throw new RangeError('it has siblings')
  const [first = PLACEHOLDER, second = PLACEHOLDER] = siblings.sideNodes
  t.strictSame([hex(siblings.bitMask), siblings.sideNodes.length], ['40', 3])
  const past = { ...siblings, bitMask: new Uint8Array([0x41]), sideNodes: [first, second] }
  t.throws(
    () => decompactProof({ ...wire, closestProof: past }),
    { code: 'PROOF' },
    'a bit past the last sibling instead of the sibling',
  )
  const twins = [0, 1].map((last) => {
    const path = new Uint8Array(32).fill(0xff)
    path[31] = 0xfe + last
    return testLeaf(path, utf8(`twin ${last}`), 1n)
  })
  const deep = await proofFor(twins, twins[0]?.path ?? PLACEHOLDER)
  t.equal(deep.proof.depth, 256)
  t.ok(chainAccepts(encodeProof(deep.proof), deep.root))
  t.notOk(
    chainAccepts(encodeProof({ ...deep.proof, flippedBits: [256] }), deep.root),
    'a flipped bit past the path',
  )
  t.ok(chainAccepts(encodeWireProof(wire), root))
})

t.test('judging a proof does not change it', async (t) => {
  const { proof, root } = await proofFor(exampleLeaves(3), new Uint8Array(32))
  t.strictSame(proof.flippedBits, [2])
  const chain = decompactProof(decodeWireProof(encodeProof(proof)))
  t.ok(verifyProofLenient(chain, root))
  t.ok(verifyProofLenient(chain, root), 'again')
  t.strictSame(chain.path, new Uint8Array(32))
})

t.test('a relay that is not in the tree is no proof', async (t) => {
  const closest: Closest = await foldClosest(exampleLeaves(3), new Uint8Array(32))
  t.throws(() => compactProof(closest, utf8('relay-2'), 100n), { code: 'LEAF' })
  t.throws(() => compactProof(closest, utf8('relay-1'), 101n), { code: 'LEAF' })
  const proof = compactProof(closest, utf8('relay-1'), 100n)
  t.equal(hex(provenValue(proof)), hex(utf8('relay-1')))
  t.throws(() => provenValue({ closestValueHash: new Uint8Array(15) }), { code: 'PROOF' })
  t.equal(provenValue({ closestValueHash: new Uint8Array(16) }).length, 0)
})

t.test('a proven relay is a copy', async (t) => {
  const value = Buffer.concat([utf8('relay'), new Uint8Array(16)])
  const proven = provenValue({ closestValueHash: value })
  value.fill(0)
  t.equal(hex(proven), hex(utf8('relay')))
})

t.test('an honest empty relay that weighs something is proven', async (t) => {
  const leaf = testLeaf(sha256(utf8('path')), new Uint8Array(), 5n)
  const { proof, root } = await proofFor([leaf], new Uint8Array(32))
  t.ok(equal(root, leafDigest(leaf.path, leaf.value, 5n)))
  t.ok(verifyProof(proof, root))
  t.ok(chainAccepts(encodeProof(proof), root))
})
