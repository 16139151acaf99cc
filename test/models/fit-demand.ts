import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { getLlama, LlamaLogLevel } from 'node-llama-cpp'
import t from 'tap'
import { packageRoot } from '../../src/config/root.ts'
import { type DemandOptions, demandOf } from '../../src/models/fit-demand.ts'
import { readGgufHeads } from '../../src/models/gguf.ts'
import { shapeOf } from '../../src/models/shape.ts'
import {
  GEMMA3_12B,
  GPT_OSS_20B,
  GRANITE4_MICRO,
  KNOWN,
  LLAMA_8B,
  MAMBA_130M,
  MISTRAL_7B,
  QWEN3_8B,
  QWEN3_30B_A3B,
} from '../support/known-models.ts'
import { type Plan, shapeOfPlan, writeHollow } from '../support/model-heads.ts'

const MIB = 1024 ** 2
const ERROR_MAX = 0.1

const usual: DemandOptions = {
  contextSize: 4_096,
  slots: 1,
  kvType: 'f16',
  flashAttention: true,
  batchTokens: 512,
}

/** Of these the rule for scratch memory is the engine's own; of others, its pieces do not always fit together. */
const EXACT = [LLAMA_8B, MISTRAL_7B, QWEN3_8B, QWEN3_30B_A3B, GEMMA3_12B, GRANITE4_MICRO].map(
  ({ name }) => name,
)

interface Recorded {
  readonly models: readonly {
    readonly name: string
    readonly weights: number
    readonly contexts: readonly (DemandOptions & { readonly bytes: number })[]
  }[]
}

t.test('is what the engine says of models that everyone knows, within a tenth', async (t) => {
  const file = join(packageRoot(), 'test/vectors/engine-memory.json')
  const { models } = JSON.parse(readFileSync(file, 'utf8')) as Recorded
  let worst = 0
  let count = 0
  for (const { name, weights, contexts } of models) {
    const plan = KNOWN.find((one) => one.name === name)
    if (plan === undefined) throw new Error(`${name} is not known`)
    const shape = shapeOfPlan(plan)
    const off = Math.abs(shape.weights.total - weights) / weights
    t.ok(off < 0.001, `${name}: weights are off by ${(off * 100).toFixed(3)} %`)
    for (const { bytes, ...options } of contexts) {
      const { kv, recurrent, compute } = demandOf(shape, options)
      const ours = kv + recurrent + compute
      const error = (ours - bytes) / (bytes + weights)
      worst = Math.max(worst, Math.abs(error))
      count++
      const what = `${name} ${JSON.stringify(options)}: ${(error * 100).toFixed(2)} %`
      t.ok(Math.abs(error) < 0.02, what)
      // The context alone: what a wrong rule would show most.
      const most = EXACT.includes(name) ? 0.01 : 0.15
      t.ok(Math.abs(ours - bytes) / bytes < most, `${what}, the context alone`)
    }
  }
  t.ok(count >= 100, `${count} combinations`)
  t.comment(`worst error of the whole: ${(worst * 100).toFixed(2)} %`)
})

const SMALL: Partial<Plan> = {
  layers: 4,
  embedding: 256,
  feedForward: 512,
  heads: 8,
  kvHeads: 2,
  headLength: 32,
  vocabulary: 2_048,
  context: 8_192,
  type: 1,
}
const ROPE = { 'rope.dimension_count': 32 }

t.test('is what a running engine takes', async (t) => {
  const plans: Plan[] = [
    { ...LLAMA_8B, ...SMALL, extras: ROPE },
    {
      ...QWEN3_30B_A3B,
      ...SMALL,
      extras: ROPE,
      experts: { count: 8, used: 2, width: 128 },
    },
    { ...GEMMA3_12B, ...SMALL, layers: 6, extras: { 'attention.sliding_window': 64, ...ROPE } },
    { ...MAMBA_130M, layers: 4, vocabulary: 2_048 },
  ]
  const folder = t.testdir()
  const said: string[] = []
  const llama = await getLlama({
    gpu: false,
    build: 'never',
    skipDownload: true,
    maxThreads: 1,
    logLevel: LlamaLogLevel.info,
    logger: (_, message) => said.push(message),
  })
  t.teardown(() => llama.dispose())
  for (const plan of plans) {
    const path = join(folder, `${plan.architecture}.gguf`)
    writeHollow(path, plan)
    const shape = shapeOf(await readGgufHeads(path, new AbortController().signal))
    const model = await llama.loadModel({ modelPath: path })
    for (const options of [
      { ...usual, contextSize: 2_000, slots: 2 },
      { ...usual, contextSize: 4_096, slots: 1, batchTokens: 256, flashAttention: false },
      { ...usual, contextSize: 1_024, slots: 4, batchTokens: 128 },
    ]) {
      said.length = 0
      const context = await model.createContext({
        contextSize: options.contextSize,
        sequences: options.slots,
        batchSize: options.batchTokens,
        flashAttention: options.flashAttention,
      })
      await context.dispose()
      const theirs = buffers(said)
      const demand = demandOf(shape, options)
      const kv = demand.kv + demand.recurrent
      const what = `${plan.architecture} ${JSON.stringify(options)}`
      t.ok(Math.abs(kv - theirs.cache) < 0.02 * MIB, `${what}: cache ${kv} and ${theirs.cache}`)
      const ours = demand.total - demand.weights
      const all = theirs.cache + theirs.compute + theirs.output
      const error = (ours - all) / (all + demand.weights)
      t.ok(
        Math.abs(error) < ERROR_MAX,
        `${what}: ${ours} and ${all}, ${(error * 100).toFixed(2)} %`,
      )
    }
    await model.dispose()
  }
})

/** Bytes by what the engine writes in its log. */
function buffers(lines: readonly string[]) {
  const sum = (kind: RegExp) =>
    lines
      .flatMap((line) => line.split('\n'))
      .filter((line) => kind.test(line))
      .reduce((all, line) => all + Number(/size = +([\d.]+) MiB/.exec(line)?.[1] ?? 0) * MIB, 0)
  const found = {
    cache: sum(/(KV|RS) buffer size/),
    compute: sum(/compute buffer size/),
    output: sum(/output buffer size/),
  }
  if (found.compute === 0) throw new Error('the engine did not say what it takes')
  return found
}

t.test('parts add up', async (t) => {
  const shape = shapeOfPlan(LLAMA_8B)
  const demand = demandOf(shape, { ...usual, contextSize: 8_000, slots: 2 })
  t.equal(demand.kv, 8_192 * 2 * 131_072, 'a context is rounded up to pieces of 256')
  t.equal(demand.output, 2 * 128_256 * 4)
  const { weights, kv, recurrent, compute, output } = demand
  t.equal(demand.total, weights + kv + recurrent + compute + output)
  const own = shape.weights.embedding + shape.weights.output + shape.weights.other
  t.equal(
    demand.perLayer.reduce((all, one) => all + one, own),
    weights + kv,
  )
})

t.test('windows keep what they see and a step', async (t) => {
  const shape = shapeOfPlan(GPT_OSS_20B)
  const full = 12 * 2_048
  const cells = 128 + 512 + 1
  const { kv } = demandOf(shape, { ...usual, contextSize: 32_768 })
  t.equal(kv, full * 32_768 + 12 * 2_048 * Math.ceil(cells / 256) * 256)
  const whole = demandOf(shape, { ...usual, contextSize: 32_768, isWindowIgnored: true })
  t.equal(whole.kv, 2 * full * 32_768)
})

t.test('values are padded without flash attention, where layers differ', async (t) => {
  const pattern = Array.from({ length: 32 }, (_, at) => (at % 2 === 0 ? 1 : 0))
  const shape = shapeOfPlan({
    ...LLAMA_8B,
    architecture: 'gemma4',
    extras: {
      'attention.sliding_window': 512,
      'attention.sliding_window_pattern': pattern,
      'attention.key_length_swa': 64,
      'attention.value_length_swa': 64,
    },
  })
  const bytes = (flashAttention: boolean) =>
    demandOf(shape, { ...usual, contextSize: 512, flashAttention }).kv
  t.equal(bytes(true), 512 * 16 * (8 * 128 + 8 * 64) * 2 * 2)
  t.equal(bytes(false), 512 * 16 * (8 * 128 + 8 * 64 + 2 * 8 * 128) * 2)
})

t.test('never gets smaller with more context, slots, or larger steps', async () => {
  const shapes = KNOWN.map((plan) => shapeOfPlan(plan))
  fc.assert(
    fc.property(
      fc.constantFrom(...shapes),
      fc.record({
        contextSize: fc.integer({ min: 1, max: 200_000 }),
        slots: fc.integer({ min: 1, max: 32 }),
        kvType: fc.constantFrom('f16' as const, 'q8_0' as const, 'q4_0' as const),
        flashAttention: fc.boolean(),
        batchTokens: fc.integer({ min: 1, max: 4_096 }),
      }),
      fc.constantFrom('contextSize' as const, 'slots' as const, 'batchTokens' as const),
      fc.integer({ min: 1, max: 1_000 }),
      (shape, options, grows, by) => {
        const before = demandOf(shape, options)
        const after = demandOf(shape, { ...options, [grows]: options[grows] + by })
        const quantised = demandOf(shape, { ...options, kvType: 'q4_0' })
        return (
          Number.isSafeInteger(before.total) &&
          after.total >= before.total &&
          after.kv >= before.kv &&
          quantised.total <= before.total
        )
      },
    ),
  )
})
