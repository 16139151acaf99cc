import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import { hex, sha256, utf8 } from '../../src/base/bytes.ts'
import { ClosestFold, foldClosest, foldRoot, type Leaf, RootFold } from '../../src/smst/fold.ts'
import { countOf, PLACEHOLDER, sumOf } from '../../src/smst/node.ts'
import {
  exampleLeaves,
  leavesOf,
  plainClosest,
  plainRoot,
  sorted,
  type TestLeaf,
  testLeaf,
  trieRows,
} from '../support/smst.ts'

const ZEROS = new Uint8Array(32)
const rows = await trieRows()

async function* slowly(leaves: readonly Leaf[]): AsyncIterable<Leaf> {
  for (const leaf of leaves) {
    await Promise.resolve()
    yield leaf
  }
}

/** Everything about a closest leaf as text, to be compared at once. */
function told(closest: Awaited<ReturnType<typeof foldClosest>>): Record<string, unknown> {
  return {
    target: hex(closest.target),
    path: hex(closest.path),
    digest: hex(closest.digest),
    flippedBits: closest.flippedBits,
    sideNodes: closest.sideNodes.map(hex),
    root: hex(closest.root),
  }
}

t.test('the example trees have the roots of the Go library', async (t) => {
  const roots: [count: number, root: string][] = [
    [0, hex(PLACEHOLDER)],
    [
      1,
      'f56b96f291ee6cf96bcfbe62af9570972c16ac048cc134cfab0534721476fdb600000000000000640000000000000001',
    ],
    [
      2,
      '635e00824a902d71454d2907765aef1a42279a85c220a440221e5a4b9c16bbfb00000000000000c80000000000000002',
    ],
    [
      3,
      'e3a0bdc646fa235930608083409c8e4fb5f315d2cfd35096fd836095aba34de8000000000000012c0000000000000003',
    ],
    [
      10,
      '10a0a0f294250ce2035fe90730d33915a4f262b2023384c5333a286d7b771d0f00000000000003e8000000000000000a',
    ],
    [
      1000,
      'ca3ee031848c5f1dd21ae055f061a6a1c825472ce029f92047e76923447fe6b100000000000186a000000000000003e8',
    ],
  ]
  for (const [count, root] of roots)
    t.equal(hex(await foldRoot(exampleLeaves(count))), root, `${count} leaves`)
})

t.test('every golden tree has its root, sum and count', async (t) => {
  t.equal(rows.length, 178)
  for (const row of rows) {
    const root = await foldRoot(leavesOf(row))
    t.equal(hex(root), row.root, `${row.id}: root`)
    t.equal(sumOf(root), BigInt(row.sum), `${row.id}: sum`)
    t.equal(countOf(root), BigInt(row.count), `${row.id}: count`)
  }
})

t.test('every golden proof has its leaf, flipped bits and siblings', async (t) => {
  let proofs = 0
  for (const row of rows) {
    const leaves = leavesOf(row)
    for (const proof of leaves.length === 0 ? [] : (row.proofs ?? [])) {
      proofs += 1
      const target = Buffer.from(proof.path, 'hex')
      const closest = await foldClosest(leaves, target)
      const name = `${row.id} towards ${proof.path}`
      t.equal(hex(closest.path), proof.closest_path, `${name}: leaf`)
      t.strictSame(closest.flippedBits, proof.flipped_bits, `${name}: flipped bits`)
      t.strictSame(
        closest.sideNodes.map((node) => (node.some((byte) => byte > 0) ? hex(node) : '')),
        proof.side_nodes,
        `${name}: siblings`,
      )
      t.equal(hex(closest.root), row.root, `${name}: root`)
      // For two paths that share 255 bits the Go library leaves the depth at 0.
      if (proof.side_nodes.length < 256)
        t.equal(closest.sideNodes.length, proof.depth, `${name}: depth`)
    }
  }
  t.ok(proofs > 670, `${proofs} proofs were compared`)
})

/** Few bases, each with a few bits flipped anywhere: pairs share 0 to 255 bits. */
const path = fc.tuple(fc.nat(3), fc.array(fc.nat(255), { maxLength: 3 })).map(([base, flips]) => {
  const bytes = base === 0 ? new Uint8Array(32) : sha256(utf8(`base ${base}`))
  for (const bit of flips) bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (0x80 >> (bit & 7))
  return bytes
})
const leaf = fc
  .tuple(
    path,
    fc.uint8Array({ minLength: 1, maxLength: 40 }),
    fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  )
  .map(([path, value, weight]) => testLeaf(path, value, weight))
const leafSet = fc.array(leaf, { maxLength: 40 }).map(sorted)
/** Independent of the leaves, one of them, or one bit beside one of them. */
const targetFor = (leaves: readonly TestLeaf[]) =>
  fc.oneof(
    path,
    fc.uint8Array({ minLength: 32, maxLength: 32 }),
    fc.tuple(fc.nat(), fc.option(fc.nat(255))).map(([index, bit]) => {
      const near = new Uint8Array(leaves[index % leaves.length]?.path ?? ZEROS)
      if (bit !== null) near[bit >> 3] = (near[bit >> 3] ?? 0) ^ (0x80 >> (bit & 7))
      return near
    }),
  )

t.test('one pass gives the root that the definition gives', async () => {
  await fc.assert(
    fc.asyncProperty(leafSet, async (leaves) => {
      const expected = hex(plainRoot(leaves))
      return (
        hex(await foldRoot(leaves)) === expected && hex(await foldRoot(slowly(leaves))) === expected
      )
    }),
    { numRuns: 150 },
  )
})

t.test('one pass gives the closest leaf that the definition gives', async () => {
  const sets = leafSet.filter((leaves) => leaves.length > 0)
  await fc.assert(
    fc.asyncProperty(
      sets.chain((leaves) => fc.tuple(fc.constant(leaves), targetFor(leaves))),
      async ([leaves, target]) => {
        const expected = told(plainClosest(leaves, target))
        const folded = [
          await foldClosest(leaves, target),
          await foldClosest(slowly(leaves), target),
        ]
        return folded.every((closest) => isDeepStrictEqual(told(closest), expected))
      },
    ),
    { numRuns: 150 },
  )
})

t.test('the caller may reuse the bytes of a leaf and of the target', async (t) => {
  const leaves = exampleLeaves(50)
  const target = sha256(utf8('target'))
  const expected = told(plainClosest(leaves, target))
  const reused = {
    path: new Uint8Array(32),
    digest: new Uint8Array(48),
    target: new Uint8Array(target),
  }
  const root = new RootFold()
  const closest = new ClosestFold(reused.target)
  reused.target.fill(0)
  for (const leaf of leaves) {
    reused.path.set(leaf.path)
    reused.digest.set(leaf.digest)
    root.push(reused.path, reused.digest)
    closest.push(reused.path, reused.digest)
  }
  reused.path.fill(0)
  reused.digest.fill(0)
  t.equal(hex(root.finish()), expected['root'])
  t.strictSame(told(closest.finish()), expected)
})

t.test('leaves out of order are refused', async (t) => {
  const [first, second] = exampleLeaves(2)
  if (first === undefined || second === undefined) throw new RangeError('two leaves')
  for (const leaves of [
    [second, first],
    [first, first],
    [first, second, second],
  ]) {
    await t.rejects(foldRoot(leaves), { code: 'ORDER' })
    await t.rejects(foldRoot(slowly(leaves)), { code: 'ORDER' })
    await t.rejects(foldClosest(leaves, ZEROS), { code: 'ORDER' })
  }
})

t.test('a leaf of another size is refused', async (t) => {
  const digest = new Uint8Array(48)
  for (const [path, bytes] of [
    [new Uint8Array(31), digest],
    [new Uint8Array(33), digest],
    [ZEROS, new Uint8Array(47)],
    [ZEROS, new Uint8Array(32)],
  ] as const) {
    const name = `${path.length} and ${bytes.length} bytes`
    t.throws(() => new RootFold().push(path, bytes), { code: 'LEAF' }, name)
    t.throws(() => new ClosestFold(ZEROS).push(path, bytes), { code: 'LEAF' }, name)
  }
})

t.test('a tree without leaves has a root and no closest leaf', async (t) => {
  t.equal(hex(await foldRoot([])), hex(PLACEHOLDER))
  await t.rejects(foldClosest([], ZEROS), { code: 'EMPTY' })
  await t.rejects(foldClosest(slowly([]), ZEROS), { code: 'EMPTY' })
})

t.test('our own mistakes stop the process', async (t) => {
  const fold = new RootFold()
  fold.finish()
  t.throws(() => fold.push(ZEROS, PLACEHOLDER), { name: 'AssertionError' })
  t.throws(() => fold.finish(), { name: 'AssertionError' })
  t.throws(() => new ClosestFold(new Uint8Array(31)), { name: 'AssertionError' })
})

t.test('an error of the source ends the fold', async (t) => {
  async function* failing(): AsyncIterable<Leaf> {
    yield* exampleLeaves(1)
    throw new RangeError('disk')
  }
  await t.rejects(foldRoot(failing()), { message: 'disk' })
  await t.rejects(foldClosest(failing(), ZEROS), { message: 'disk' })
})
