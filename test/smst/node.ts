import fc from 'fast-check'
import t from 'tap'
import { concat, hex, sha256, u64, unhex, utf8 } from '../../src/base/bytes.ts'
import { SmstError } from '../../src/smst/errors.ts'
import {
  bitAt,
  countOf,
  digestOf,
  InnerNode,
  innerDigest,
  leafDigest,
  PLACEHOLDER,
  sumOf,
} from '../../src/smst/node.ts'
import { exampleLeaves, plainBit, plainInner } from '../support/smst.ts'
import { rows } from '../support/vectors.ts'

const META_1 = '00000000000000640000000000000001'
const META_2 = '00000000000000c80000000000000002'
const uint64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })
const digest = fc
  .tuple(fc.uint8Array({ minLength: 32, maxLength: 32 }), uint64, uint64)
  .map(([hash, sum, count]) => concat(hash, u64(sum), u64(count)))

t.test('a leaf is named by path, relay and weight', async (t) => {
  const path = sha256(sha256(utf8('relay-0')))
  t.equal(hex(path), 'a7098ae6903dd7330f37323d99043fa485ea9bbe126d99bbffa0e5caa061277f')
  t.equal(
    hex(leafDigest(path, utf8('relay-0'), 100n)),
    `f56b96f291ee6cf96bcfbe62af9570972c16ac048cc134cfab0534721476fdb6${META_1}`,
  )
  t.equal(
    hex(leafDigest(path, utf8('relay-0'), 7n)),
    '9ba6fa5fe0838218e7e35414d11c8735b73a394531c955e9c1e4bf7655c7c06b00000000000000070000000000000001',
  )
  t.throws(() => leafDigest(path, utf8(''), -1n), RangeError)
  t.throws(() => leafDigest(path, utf8(''), 2n ** 64n), RangeError)
})

t.test('the nodes of the three-leaf example are those that the Go library stores', async (t) => {
  const named = new Map(exampleLeaves(3).map((leaf) => [hex(leaf.value), leaf.digest]))
  const leaf = (i: number) => named.get(hex(utf8(`relay-${i}`))) ?? PLACEHOLDER
  t.match(hex(leaf(1)), /^26559018e8f00df88eeb99795f9e20cc7c5d56fa593c37ddf65c7f40a2bf92fb/)
  t.match(hex(leaf(2)), /^87edb005e3b8f6dc5e8acd3de340e62feaa3bcf857d067085a3a3371bb72bef3/)
  const deepest = innerDigest(leaf(1), leaf(2))
  t.equal(hex(deepest), `6028d40559f8d5ece5cca0f59282401b8ccf2e2637813dd088f9d8ea54be8a3d${META_2}`)
  const second = innerDigest(PLACEHOLDER, deepest)
  t.equal(hex(second), `b58ea5f6b5cd15f66f7610d8e165d9b4aa478dd469f80c329655a6f0f79f8a3c${META_2}`)
  const first = innerDigest(second, PLACEHOLDER)
  t.equal(hex(first), `685fb0a05b8228306728d8a52a254dbff90e9bffe377dc91fd3ed351672cc5d7${META_2}`)
  const root = innerDigest(first, leaf(0))
  t.equal(
    hex(root),
    'e3a0bdc646fa235930608083409c8e4fb5f315d2cfd35096fd836095aba34de8000000000000012c0000000000000003',
  )
  t.equal(sumOf(root), 300n)
  t.equal(countOf(root), 3n)
})

t.test('sums and counts add up and wrap as 64 bits do', async () => {
  fc.assert(
    fc.property(digest, digest, (left, right) => {
      return hex(innerDigest(left, right)) === hex(plainInner(left, right))
    }),
  )
})

t.test('an inner node may be used again, and may write into its own child', async (t) => {
  fc.assert(
    fc.property(digest, digest, digest, (a, b, c) => {
      const node = new InnerNode()
      const out = new Uint8Array(a)
      node.setLeft(out)
      node.setRight(b)
      node.digestInto(out)
      const once = hex(out) === hex(plainInner(a, b)) && hex(node.left) === hex(a)
      node.setLeft(c)
      node.digestInto(out)
      return once && hex(out) === hex(plainInner(c, b)) && hex(node.left) === hex(c)
    }),
  )
  t.equal(new InnerNode().left.length, 48)
})

t.test('any encoding is named by its hash and its last sixteen bytes', async (t) => {
  const encoding = concat(new Uint8Array(40).fill(7), u64(5), u64(1))
  t.equal(hex(digestOf(encoding)), hex(concat(sha256(encoding), u64(5), u64(1))))
})

t.test('sum and count are read from 48 bytes only', async (t) => {
  interface RootRow {
    root: string
    sum?: string
    count?: string
  }
  const roots = rows<RootRow>('proof.jsonl', 'root')
  t.equal(roots.length, 18)
  for (const { id, root, sum, count } of roots) {
    const bytes = unhex(root)
    if (bytes.length === 48) {
      t.equal(sumOf(bytes), BigInt(sum ?? -1), `${id}: sum`)
      t.equal(countOf(bytes), BigInt(count ?? -1), `${id}: count`)
    } else {
      t.throws(() => sumOf(bytes), { code: 'DIGEST' }, `${id}: sum`)
      t.throws(() => countOf(bytes), { code: 'DIGEST' }, `${id}: count`)
    }
  }
  t.throws(() => sumOf(new Uint8Array(0)), SmstError)
})

t.test('bits of a path are counted from the most significant one', async (t) => {
  const path = sha256(utf8('bits'))
  for (let depth = 0; depth < 256; depth++)
    t.equal(String(bitAt(path, depth)), plainBit(path, depth), `bit ${depth}`)
})
