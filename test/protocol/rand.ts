import fc from 'fast-check'
import t from 'tap'
import { hex, sha256, unhex } from '../../src/base/bytes.ts'
import { firstInt63s, goVarint, seededFloat64 } from '../../src/protocol/rand.ts'
import { rows } from '../support/vectors.ts'

/** The 64 bits of a float, as Go's math.Float64bits gives them. */
function floatBits(value: number): string {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setFloat64(0, value)
  return hex(bytes)
}

const seeded = rows<{
  input: string
  sha256: string
  varint_bytes: number
  seed: string
  int63: string
  float: number
  float_bits: string
}>('proof.jsonl', 'seeded')

t.test('every draw of the Go implementation, to the last bit', async (t) => {
  t.equal(seeded.length, 446)
  for (const row of seeded) {
    const input = unhex(row.input)
    t.equal(hex(sha256(input)), row.sha256, `${row.id} hash`)
    const seed = goVarint(sha256(input))
    t.equal(seed, BigInt(row.seed), `${row.id} seed`)
    t.equal(firstInt63s(seed)[0], BigInt(row.int63), `${row.id} integer`)
    t.equal(floatBits(seededFloat64(input)), row.float_bits, `${row.id} float`)
  }
  const oneByte = seeded.filter((row) => row.varint_bytes === 1)
  t.equal(new Set(oneByte.map((row) => row.seed)).size, 106, 'most of the 128 seeds of one byte')
})

t.test('the generator with seeds at the edge', async (t) => {
  const all = rows<{ seed: string; int63: string[]; float: number }>('proof.jsonl', 'source')
  t.equal(all.length, 16)
  for (const row of all) {
    const draws = firstInt63s(BigInt(row.seed))
    t.strictSame(draws.map(String), row.int63.slice(0, 2), `${row.id} seed ${row.seed}`)
    t.equal(floatBits(Number(draws[0]) / 2 ** 63), floatBits(row.float), `${row.id} float`)
  }
})

t.test('varints as Go reads them', async (t) => {
  const cases: [bytes: string, seed: bigint][] = [
    ['00', 0n],
    ['01', -1n],
    ['02', 1n],
    ['7f', -64n],
    ['8001', 64n],
    ['feffffffffffffffff01', 2n ** 63n - 1n],
    ['ffffffffffffffffff01', -(2n ** 63n)],
    ['ffffffffffffffffff02', 0n],
    ['8080808080808080808001', 0n],
    ['80', 0n],
    ['', 0n],
  ]
  for (const [bytes, seed] of cases) t.equal(goVarint(unhex(bytes)), seed, bytes)
  const oneByte = Array.from({ length: 128 }, (_, byte) => goVarint(new Uint8Array([byte, 0xff])))
  const expected = Array.from({ length: 128 }, (_, i) => BigInt(i - 64))
  t.strictSame(
    oneByte.sort((a, b) => Number(a - b)),
    expected,
    'half of all hashes give one of 128 seeds',
  )
})

t.test('a draw is at least 0 and below 1', async () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), (input) => {
      const sample = seededFloat64(input)
      return sample >= 0 && sample < 1
    }),
  )
})
