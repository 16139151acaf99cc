import t from 'tap'
import { formatPokt } from '../../src/base/units.ts'
import type { Machine } from '../../src/models/fit-place.ts'
import { type Candidate, income, recommend } from '../../src/models/recommend.ts'
import { GEMMA3_12B, LLAMA_8B, QWEN3_30B_A3B } from '../support/known-models.ts'
import { type Plan, shapeOfPlan } from '../support/model-heads.ts'

const GIB = 1024 ** 3
const Q8_0 = 8

function machine(memory: number, name?: string, gib = 0): Machine {
  const own = { free: gib * GIB, total: gib * GIB, isShared: false }
  return {
    memoryFree: memory * GIB,
    gpus: name === undefined ? [] : [{ id: 'a', name, ...own }],
  }
}

function candidate(name: string, plan: Plan): Candidate {
  const finer = { ...plan, type: Q8_0, fileType: 7 }
  return {
    name,
    variants: [
      { name: 'Q8_0', size: shapeOfPlan(finer) },
      { name: 'Q4_K_M', size: shapeOfPlan(plan) },
    ],
  }
}

const candidates = [
  candidate('llama', LLAMA_8B),
  candidate('gemma', GEMMA3_12B),
  candidate('qwen-moe', QWEN3_30B_A3B),
]
const order = (on: Machine) =>
  recommend({ machine: on, candidates }).map(
    ({ model, variant, plan }) => `${model} ${variant} ${plan.verdict}`,
  )

t.test('the largest that fits comes first, in the finest variant that does', async (t) => {
  t.strictSame(order(machine(32, 'NVIDIA GeForce RTX 4090', 24)), [
    'qwen-moe Q4_K_M gpu',
    'gemma Q8_0 gpu',
    'llama Q8_0 gpu',
  ])
  t.strictSame(order(machine(32, 'NVIDIA GeForce RTX 3060', 12)).slice(1), [
    'gemma Q4_K_M gpu',
    'llama Q8_0 gpu',
  ])
  t.strictSame(
    order(machine(6)),
    ['llama Q4_K_M cpu', 'qwen-moe Q4_K_M no', 'gemma Q4_K_M no'],
    'what does not fit is last',
  )
  t.strictSame(recommend({ machine: machine(6), candidates: [] }), [])
  t.strictSame(recommend({ machine: machine(6), candidates: [{ name: 'a', variants: [] }] }), [])
})

t.test('a small one that is fast is before a large one that is slow', async (t) => {
  const small = candidate('small', { ...LLAMA_8B, layers: 6 })
  const [first, second] = recommend({
    machine: machine(16),
    candidates: [candidate('llama', LLAMA_8B), small],
  })
  t.match([first?.model, second?.model], ['small', 'llama'])
  t.ok((first?.speed?.decode ?? 0) > 8 && (second?.speed?.decode ?? 9) < 8)
  t.equal(first?.variant, 'Q8_0', 'the finest that is fast enough')
  t.equal(second?.variant, 'Q4_K_M', 'the nearest to it')
})

t.test('each says why', async (t) => {
  const why = (on: Machine) =>
    new Map(recommend({ machine: on, candidates }).map((one) => [one.model, one.why]))
  const fast = why(machine(32, 'NVIDIA GeForce RTX 4090', 24))
  t.match(
    fast.get('llama'),
    /^Q8_0 fits one card with \d x \d+ tokens, at about \d+ tokens\/s \(modelled\); of 2 variants it is the finest/,
  )
  t.match(fast.get('qwen-moe'), /since a token needs a part of it only/)
  const slow = why(machine(16))
  t.match(slow.get('llama'), /runs on the processor .* which is too slow for most callers/)
  t.match(slow.get('qwen-moe'), /^Q4_K_M is the smallest of 2 and does not fit: what helps: /)
})

t.test('money, power and energy', async (t) => {
  const [best] = recommend({
    machine: machine(32, 'NVIDIA GeForce RTX 4090', 24),
    candidates: [candidate('llama', LLAMA_8B)],
    wish: { contextSize: 4_096, slots: 1 },
    economy: {
      upoktPerRelay: 1_500n,
      relaysPerDay: 2_000,
      pricePerKwh: 0.3,
      watts: 400,
    },
  })
  t.equal(best?.upoktPerDay, 3_000_000n)
  t.equal(formatPokt(best?.upoktPerDay ?? (0n as never)), '3 POKT')
  t.equal(best?.powerPerDay?.toFixed(2), '2.88', '0.4 kW x 24 h x 0.3')
  t.equal(best?.joulesPerToken, 400 / (best?.speed?.together ?? 1))
  const speed = { says: 'measured', decode: 10, together: 40, prefill: 100, because: '' } as const
  t.equal(
    income({ upoktPerRelay: 7n, tokensPerRelay: 400 }, speed),
    BigInt(Math.floor((40 * 86_400) / 400)) * 7n,
    'without a guess, as many as can be answered',
  )
  t.equal(income({ upoktPerRelay: 7n, relaysPerDay: 1e9 }, speed), 8_640n * 7n, 'and no more')
  t.equal(income({ upoktPerRelay: 7n, relaysPerDay: 10 }, speed), 70n)
})

t.test('with a price, what brings more comes first', async (t) => {
  const on = machine(32, 'NVIDIA GeForce RTX 4090', 24)
  const [first] = recommend({ machine: on, candidates, economy: { upoktPerRelay: 10n } })
  const days = recommend({ machine: on, candidates, economy: { upoktPerRelay: 10n } }).map(
    ({ upoktPerDay }) => upoktPerDay ?? 0n,
  )
  t.strictSame(
    days,
    [...days].sort((a, b) => (a < b ? 1 : -1)),
  )
  t.ok((first?.upoktPerDay ?? 0n) > 0n)
})

t.test('a measured speed is used', async (t) => {
  const size = shapeOfPlan(LLAMA_8B)
  const [one] = recommend({
    machine: machine(16),
    candidates: [{ name: 'llama', variants: [{ name: 'Q4', size, measured: { decode: 21 } }] }],
  })
  t.match(one, { speed: { says: 'measured', decode: 21 }, why: /21 tokens\/s \(measured\)/ })
})

t.test('a model that is known roughly comes near the one that was read', async (t) => {
  const on = machine(32, 'NVIDIA GeForce RTX 4090', 24)
  for (const plan of [LLAMA_8B, QWEN3_30B_A3B]) {
    const shape = shapeOfPlan(plan)
    const { total, active } = shape.weights
    const rough = {
      bytes: total,
      parameters: shape.parameters,
      parametersActive: (shape.parameters * active) / total,
      layers: plan.layers,
      kvBytesPerToken: plan === LLAMA_8B ? 131_072 : 98_304,
    }
    const wish = { contextSize: 8_192, slots: 1 }
    const of = (size: typeof shape | typeof rough) =>
      recommend({
        machine: on,
        wish,
        candidates: [{ name: 'a', variants: [{ name: 'Q4_K_M', size }] }],
      })[0]
    const exact = of(shape)
    const near = of(rough)
    t.match([exact?.isRough, near?.isRough], [false, true])
    const ratio = (near?.plan.demand.total ?? 0) / (exact?.plan.demand.total ?? 1)
    t.ok(Math.abs(ratio - 1) < 0.05, `${plan.name}: ${ratio}`)
    const speed = (near?.speed?.decode ?? 0) / (exact?.speed?.decode ?? 1)
    t.ok(speed > 0.75 && speed < 1.35, `${plan.name}: ${speed} of the speed`)
  }
})
