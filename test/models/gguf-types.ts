import { GgmlType } from 'node-llama-cpp'
import t from 'tap'
import { kvRowBytes, quantisationOf, tensorBytes, typeName } from '../../src/models/gguf-types.ts'

t.test('kinds of numbers have the names and numbers of the engine', async (t) => {
  const theirs = Object.entries(GgmlType).filter(([name]) => Number.isNaN(Number(name)))
  t.ok(theirs.length > 25)
  // Withdrawn, or never in a file.
  const gone = /^Q4_[23]$|^Q4_0_[48]_[48]$|^IQ4_NL_\d_\d$|^COUNT$/
  for (const [name, id] of theirs)
    if (!gone.test(name)) t.equal(typeName(Number(id)), name, `${name} is ${id}`)
})

t.test('bytes of a tensor', async (t) => {
  const bytes = (type: number, ...dimensions: number[]) =>
    tensorBytes({ name: 'a', dimensions, type })
  t.equal(bytes(0, 10), 40)
  t.equal(bytes(1, 10, 3), 60)
  t.equal(bytes(8, 64, 2), 2 * 2 * 34, 'Q8_0')
  t.equal(bytes(12, 4_096, 4_096), (4_096 * 4_096 * 4.5) / 8, 'Q4_K: 4.5 bits')
  t.equal(bytes(14, 256, 4), (1_024 * 6.5625) / 8, 'Q6_K: 6.5625 bits')
  t.equal(bytes(39, 2_880, 2_880, 32), (2_880 * 2_880 * 32 * 4.25) / 8, 'MXFP4: 4.25 bits')
  t.throws(() => bytes(4, 32), { code: 'MODEL_LOAD', message: /kind 4/ })
  t.throws(() => bytes(12, 100), { code: 'MODEL_LOAD', message: /do not go into blocks/ })
})

t.test('quantisations have names', async (t) => {
  t.equal(quantisationOf(15), 'Q4_K_M')
  t.equal(quantisationOf(7), 'Q8_0')
  t.equal(quantisationOf(30), 'IQ4_XS')
  t.equal(quantisationOf(38), 'MXFP4_MOE')
  t.equal(quantisationOf(1_024 + 1), 'F16', 'a guess is one too')
  t.equal(quantisationOf(5), undefined)
  t.equal(quantisationOf(99), undefined)
  t.equal(quantisationOf(undefined), undefined)
})

t.test('rows of a cache', async (t) => {
  t.equal(kvRowBytes('f16', 1_024), 2_048)
  t.equal(kvRowBytes('q8_0', 1_024), 1_088)
  t.equal(kvRowBytes('q4_0', 1_024), 576)
  t.equal(kvRowBytes('f16', 0), 0)
})
