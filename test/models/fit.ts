import fc from 'fast-check'
import t from 'tap'
import { type FitPlan, fit } from '../../src/models/fit.ts'
import { type Card, type Machine, usable, usableMemory } from '../../src/models/fit-place.ts'
import {
  GEMMA3_12B,
  GPT_OSS_20B,
  KNOWN,
  LLAMA_8B,
  MAMBA_130M,
  QWEN3_30B_A3B,
} from '../support/known-models.ts'
import { shapeOfPlan } from '../support/model-heads.ts'

const GIB = 1024 ** 3
const MIB = 1024 ** 2

function card(id: string, free: number, total = free, more: Partial<Card> = {}): Card {
  return { id, name: `Card ${id}`, free: free * GIB, total: total * GIB, isShared: false, ...more }
}

function machine(memoryFree: number, ...gpus: Card[]): Machine {
  return { gpus, memoryFree: memoryFree * GIB }
}

const llama = shapeOfPlan(LLAMA_8B)
const said = (plan: FitPlan) => plan.lines.join('\n')

t.test('one card holds it', async (t) => {
  const plan = fit(llama, machine(16, card('a', 23.5, 24)))
  t.match(plan, { verdict: 'gpu', contextSize: 16_384, slots: 8, gpuLayers: 33, cpuLayers: 0 })
  t.strictSame([...plan.layersByGpu], [['a', 32]])
  const bytes = plan.needs.gpus.get('a') ?? 0
  t.ok(bytes <= (23.5 - 2.4) * GIB, 'a tenth stays free')
  const { weights, kv, compute } = plan.demand
  const table = llama.weights.embedding
  t.equal(bytes, weights - table + kv + compute + 320 * MIB, 'the table of words is in memory')
})

t.test('slots come first, then more context', async (t) => {
  const of = (free: number) => {
    const { contextSize, slots, verdict } = fit(llama, machine(16, card('a', free, 24)))
    return { contextSize, slots, verdict }
  }
  t.strictSame(of(7.5), { contextSize: 4_096, slots: 1, verdict: 'gpu' })
  t.strictSame(of(8), { contextSize: 8_192, slots: 1, verdict: 'gpu' })
  t.strictSame(of(9), { contextSize: 8_192, slots: 2, verdict: 'gpu' })
  t.strictSame(of(12), { contextSize: 8_192, slots: 4, verdict: 'gpu' })
  t.strictSame(of(24), { contextSize: 16_384, slots: 8, verdict: 'gpu' })
})

t.test('what is wished is held', async (t) => {
  const gpu = card('a', 24)
  const plan = fit(llama, machine(16, gpu), { contextSize: 5_000, slots: 3, kvType: 'q8_0' })
  t.match(plan, { verdict: 'gpu', contextSize: 5_000, slots: 3, kvType: 'q8_0' })
  t.equal(plan.demand.kv, 5_120 * 3 * 69_632)
  t.match(fit(llama, machine(16, gpu), { contextSize: 16_384 }), { contextSize: 16_384, slots: 8 })
  t.match(fit(llama, machine(16, gpu), { slots: 1 }), { contextSize: 32_768, slots: 1 })
  const tight = fit(llama, machine(16, gpu), { reserve: 16 * GIB })
  t.match(tight, { verdict: 'gpu', contextSize: 8_192, slots: 2 }, 'what is to stay free, too')
})

t.test('of several cards the one is taken on which least room is left', async (t) => {
  const cards = [card('large', 24), card('fair', 12), card('small', 5)]
  const plan = fit(llama, machine(32, ...cards))
  t.strictSame([...plan.layersByGpu], [['fair', 32]])
  t.equal(plan.verdict, 'gpu')
})

t.test('several cards hold it, by their free memory', async (t) => {
  const moe = shapeOfPlan(QWEN3_30B_A3B)
  const cards = [card('a', 12), card('b', 4), card('c', 12)]
  const plan = fit(moe, machine(32, ...cards), { contextSize: 4_096, slots: 1 })
  t.equal(plan.verdict, 'split')
  t.strictSame(
    [...plan.layersByGpu],
    [
      ['a', 25],
      ['c', 23],
    ],
    'as few as are needed; the last one makes words too',
  )
  t.equal(plan.cpuLayers, 0)
})

t.test('some layers are left to the processor', async (t) => {
  const moe = shapeOfPlan(QWEN3_30B_A3B)
  const plan = fit(moe, machine(32, card('a', 12)))
  t.match(plan, { verdict: 'partial', contextSize: 4_096, slots: 1 })
  const onCard = plan.layersByGpu.get('a') ?? 0
  t.equal(onCard + plan.cpuLayers, 48)
  t.ok(onCard > 20 && onCard < 32, `${onCard} layers`)
  t.equal(plan.gpuLayers, onCard + 1)
  const one = (plan.needs.gpus.get('a') ?? 0) + (moe.layers[0]?.weights ?? 0)
  t.ok(one > 12 * GIB * 0.9 - 100 * MIB, 'not one more has room')
})

t.test('the processor does it, modestly', async (t) => {
  const plan = fit(llama, machine(16))
  t.match(plan, { verdict: 'cpu', gpuLayers: 0, cpuLayers: 32, slots: 4 })
  t.ok(plan.demand.total - plan.demand.weights <= (16 * GIB * 0.9 - plan.demand.weights) / 2)
  t.match(fit(llama, machine(8)), { verdict: 'cpu', contextSize: 8_192, slots: 1 })
  const told = fit(llama, machine(16), { contextSize: 65_536, slots: 1 })
  t.equal(told.verdict, 'cpu', 'more than half if it is told to')
  t.equal(fit(llama, machine(16, card('a', 1))).verdict, 'cpu', 'a card that is too small')
})

t.test('it does not fit, and what would help', async (t) => {
  const plan = fit(llama, machine(4, card('a', 2)))
  t.match(plan, { verdict: 'no', gpuLayers: 0, cpuLayers: 0 })
  t.equal(plan.layersByGpu.size, 0)
  t.match(said(plan), /does not fit: 4\.\d\d GiB are needed without a card, 3\.60 GiB of memory/)
  t.match(said(plan), /what helps: a variant whose weights take at most (\d\.\d\d) GiB/)
  const most = Number(/at most ([\d.]+) GiB/.exec(said(plan))?.[1] ?? 0) * GIB
  const layers = llama.layers.map((layer) => ({
    ...layer,
    weights: (layer.weights * (most - 0.1 * GIB)) / llama.weights.total,
  }))
  const own = { embedding: 0, output: 0, other: 0, isOutputTied: false, active: most }
  const smaller = { ...llama, layers, weights: { ...own, total: most - 0.1 * GIB } }
  t.not(fit(smaller, machine(4, card('a', 2)), { contextSize: 512, slots: 1 }).verdict, 'no')
  const long = fit(llama, machine(12), { contextSize: 131_072, slots: 1 })
  t.equal(long.verdict, 'no')
  t.match(said(long), /keys and values as q8_0; a smaller context/)
})

t.test('a card that uses the machine’s memory', async (t) => {
  const shared = { isShared: true, hasDisplay: false }
  t.match(fit(llama, machine(12, card('apple', 11, 16, shared))), { verdict: 'gpu' })
  const tight = fit(llama, machine(4.8, card('apple', 11, 16, shared)))
  t.not(tight.verdict, 'gpu', 'both come from the same memory')
})

t.test('a display keeps half a gibibyte, and a card may be without one', async (t) => {
  t.equal(usable(card('a', 4), undefined), 3.5 * GIB)
  t.equal(usable(card('a', 4, 4, { hasDisplay: false }), undefined), Math.floor(3.52 * GIB))
  t.equal(usable(card('a', 1, 24), undefined), 0, 'the owner uses it')
  t.equal(usable(card('a', 4), 1 * GIB), 3 * GIB)
})

t.test('the arithmetic is written', async (t) => {
  const plan = fit(llama, machine(16, card('a', 10, 12)), { contextSize: 8_192, slots: 1 })
  const lines = said(plan)
  t.match(lines, /^weights: 4\.21 GiB \(Q4_K_M, 32 layers\)$/m)
  t.match(lines, /^keys and values: 1\.00 GiB = 1 slots x 8192 tokens x 128 KiB \(f16\)$/m)
  t.match(lines, /^scratch memory of a step: 267 MiB, and 501 KiB for what it answers$/m)
  t.match(
    lines,
    /^Card a: 5\.\d\d GiB for 32 layers, with 320 MiB of its driver, of 8\.56 GiB that may be used \(10\.00 GiB free\)$/m,
  )
  t.match(lines, /^memory: \d+ MiB, with 128 MiB of the engine itself, of 14\.40 GiB that may/m)
  const gemma = fit(shapeOfPlan(GEMMA3_12B), machine(16, card('a', 24)))
  t.match(said(gemma), / \+ \d\.\d\d GiB of 40 layers that see 1024 tokens$/m)
  t.match(said(fit(shapeOfPlan(MAMBA_130M), machine(4))), /^states: \d+ MiB = 4 slots x 3 MiB$/m)
  const beyond = fit(llama, machine(64), { contextSize: 140_000, slots: 1 })
  t.match(said(beyond), /trained for 131072 tokens/)
})

t.test('a plan never takes what is not free', async () => {
  const shapes = [LLAMA_8B, QWEN3_30B_A3B, GPT_OSS_20B, GEMMA3_12B, MAMBA_130M].map((plan) =>
    shapeOfPlan(plan),
  )
  const gpu = fc
    .record({
      free: fc.integer({ min: 0, max: 48 * GIB }),
      used: fc.integer({ min: 0, max: 8 * GIB }),
      isShared: fc.boolean(),
      hasDisplay: fc.boolean(),
    })
    .map(({ free, used, ...rest }) => ({ free, total: free + used, ...rest }))
  const wish = fc.record({
    contextSize: fc.constantFrom('auto' as const, 512, 4_096, 32_768),
    slots: fc.constantFrom('auto' as const, 1, 4),
  })
  fc.assert(
    fc.property(
      fc.constantFrom(...shapes),
      fc.array(gpu, { maxLength: 4 }),
      fc.integer({ min: 0, max: 64 * GIB }),
      wish,
      (shape, cards, memoryFree, wished) => {
        const gpus = cards.map((one, at) => ({ id: `${at}`, name: `Card ${at}`, ...one }))
        const plan = fit(shape, { gpus, memoryFree }, wished)
        const onCards = [...plan.layersByGpu.values()].reduce((all, one) => all + one, 0)
        const shared = gpus
          .filter(({ isShared }) => isShared)
          .reduce((all, { id }) => all + (plan.needs.gpus.get(id) ?? 0), 0)
        const isHeld =
          plan.verdict === 'no' ||
          ((wished.contextSize === 'auto' || plan.contextSize === wished.contextSize) &&
            (wished.slots === 'auto' || plan.slots === wished.slots) &&
            onCards + plan.cpuLayers === shape.layers.length)
        return (
          isHeld &&
          plan.contextSize <= Math.max(shape.contextTrained, 32_768) &&
          gpus.every((one) => (plan.needs.gpus.get(one.id) ?? 0) <= usable(one, undefined)) &&
          plan.needs.memory + shared <= usableMemory({ gpus, memoryFree }) &&
          plan.lines.length >= 4
        )
      },
    ),
    { numRuns: 400 },
  )
})

t.test('more memory never makes it worse', async () => {
  const rank = ['no', 'cpu', 'partial', 'split', 'gpu']
  const shapes = KNOWN.map((plan) => shapeOfPlan(plan))
  fc.assert(
    fc.property(
      fc.constantFrom(...shapes),
      fc.integer({ min: 1, max: 40 }),
      fc.integer({ min: 1, max: 40 }),
      fc.integer({ min: 0, max: 20 }),
      (shape, free, memoryFree, more) => {
        const verdict = (one: number, two: number) =>
          rank.indexOf(fit(shape, machine(two, card('a', one))).verdict)
        return verdict(free + more, memoryFree + more) >= verdict(free, memoryFree)
      },
    ),
  )
})
