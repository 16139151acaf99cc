import fc from 'fast-check'
import t from 'tap'
import {
  needsExact,
  SAMPLING_DEFAULTS,
  seedAt,
  settingsOf,
} from '../../../src/inference/llamacpp/sampling.ts'
import { GREEDY_SETTINGS, request } from '../../support/tiny-model.ts'

const never = () => {
  throw new Error('no chance was needed')
}

t.test('a request comes before the model, the model before chance', async (t) => {
  const none = { presencePenalty: 0, frequencyPenalty: 0, repeatPenalty: 1, logitBias: new Map() }
  t.strictSame(
    settingsOf(request('Hi', { seed: 7n }), SAMPLING_DEFAULTS, never),
    { ...SAMPLING_DEFAULTS, ...none, seed: 7n },
    'says nothing',
  )
  const wishes = {
    temperature: 0,
    topP: 0.5,
    topK: 3,
    minP: 0,
    seed: 0xffff_ffff_ffff_ffffn,
    presencePenalty: 1,
    frequencyPenalty: -1,
    repeatPenalty: 1.1,
    logitBias: new Map([[3, -100]]),
    topLogprobs: 0,
  }
  t.strictSame(settingsOf(request('Hi', wishes), SAMPLING_DEFAULTS, never), wishes)
  const chance = settingsOf(request('Hi'), SAMPLING_DEFAULTS, () => 0.5)
  t.equal(chance.seed, 2n ** 31n, 'a seed by chance')
})

t.test('the engine picks for itself unless exact numbers are needed', async (t) => {
  t.equal(needsExact(GREEDY_SETTINGS, true), false, 'a seed of a greedy answer means nothing')
  t.equal(needsExact({ ...GREEDY_SETTINGS, temperature: 1 }, false), false)
  t.equal(needsExact({ ...GREEDY_SETTINGS, temperature: 1 }, true), true)
  for (const more of [
    { topLogprobs: 0 },
    { presencePenalty: 0.1 },
    { frequencyPenalty: -0.1 },
    { repeatPenalty: 1.1 },
    { logitBias: new Map([[1, 0]]) },
  ])
    t.equal(needsExact({ ...GREEDY_SETTINGS, ...more }, false), true, Object.keys(more).join())
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
