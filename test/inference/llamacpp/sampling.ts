import fc from 'fast-check'
import t from 'tap'
import { SAMPLING_DEFAULTS, samplingOf, seedAt } from '../../../src/inference/llamacpp/sampling.ts'
import { request } from '../../support/tiny-model.ts'

const never = () => {
  throw new Error('no chance was needed')
}

t.test('a request comes before the model, the model before chance', async (t) => {
  t.strictSame(
    samplingOf(request('Hi', { seed: 7 }), SAMPLING_DEFAULTS, never),
    { ...SAMPLING_DEFAULTS, seed: 7 },
    'says nothing',
  )
  const wishes = request('Hi', { temperature: 0, topP: 0.5, seed: 7 })
  t.strictSame(
    samplingOf(wishes, SAMPLING_DEFAULTS, never),
    { ...SAMPLING_DEFAULTS, temperature: 0, topP: 0.5, seed: 7 },
    'greedy is a wish too',
  )
  t.equal(samplingOf(request('Hi'), SAMPLING_DEFAULTS, () => 0.5).seed, 2 ** 31, 'a seed by chance')
})

t.test('any integer is a seed', async (t) => {
  const seedOf = (seed: number) =>
    samplingOf(request('Hi', { seed }), SAMPLING_DEFAULTS, never).seed
  t.equal(seedOf(-1), 0xffff_ffff, 'negative')
  t.equal(seedOf(2 ** 32 + 5), 5, 'large')
  fc.assert(
    fc.property(fc.maxSafeInteger(), (seed) => {
      const folded = seedOf(seed)
      return Number.isInteger(folded) && folded >= 0 && folded <= 0xffff_ffff
    }),
  )
})

t.test('every position of an answer has a seed of its own', async (t) => {
  const seeds = new Set(Array.from({ length: 4_096 }, (_, position) => seedAt(42, position)))
  t.equal(seeds.size, 4_096, 'none repeats')
  t.equal(seedAt(42, 3), seedAt(42, 3), 'and it is always the same')
  t.not(seedAt(42, 3), seedAt(43, 3), 'another seed, another one')
  t.not(seedAt(42, 1), seedAt(43, 0), 'neighbours do not meet')
})

t.test('never the number that llama.cpp takes for "any"', async (t) => {
  // Found by inverting the mixer: this pair would give 0xffffffff.
  t.equal(seedAt(INVERSE, 0), 0)
  fc.assert(
    fc.property(fc.nat(0xffff_ffff), fc.nat(1 << 20), (seed, position) => {
      const value = seedAt(seed, position)
      return value >= 0 && value < 0xffff_ffff
    }),
  )
})

/** The seed whose mixed value is all ones: the mixer's steps, backwards. */
const INVERSE = (() => {
  const inverse = (odd: number) => {
    let x = odd
    for (let i = 0; i < 5; i++) x = Math.imul(x, 2 - Math.imul(odd, x))
    return x
  }
  let value = 0xffff_ffff | 0
  value ^= value >>> 16
  value = Math.imul(value, inverse(0xc2b2_ae35 | 0))
  value = value ^ (value >>> 13) ^ (value >>> 26)
  value = Math.imul(value, inverse(0x85eb_ca6b | 0))
  value ^= value >>> 16
  return value >>> 0
})()
