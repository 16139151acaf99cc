/**
 * The built-in engine against a plain step loop on the same binary and weights: eight streams, what batching
 * gains, the first token under load, memory of a slot, and what exact picking and a grammar cost. Both run in
 * this process, in turn; the weights are made of chance, large enough for decoding to dominate.
 * Run: npx tsc && node dist/scripts/bench/engine.js [threads]
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { LlamaContextSequence, Token } from 'node-llama-cpp'
import { systemClock } from '../../src/base/clock.ts'
import { jsonObjectGrammar } from '../../src/inference/grammar.ts'
import { loadLibrary } from '../../src/inference/llamacpp/library.ts'
import { type LoadedModel, openModel } from '../../src/inference/llamacpp/model.ts'
import type { GenerateMessage } from '../../src/inference/llamacpp/wire.ts'
import { type RandomModel, writeRandomModel } from '../../test/support/random-gguf.ts'
import { chat, GREEDY_SETTINGS, TINY_OPTIONS } from '../../test/support/tiny-model.ts'
import { processorSeconds, residentMiB, row } from './measure.ts'

const STREAMS = 8
const TOKENS = 32
const ROUNDS = 5
const CONTEXT = 1_024
const SHAPE: RandomModel = {
  ...{ width: 1_024, layers: 8, heads: 16, keyHeads: 4, hidden: 4_096 },
  ...{ context: CONTEXT, vocabulary: 32_000, kind: 'llama' },
}

const threads = Number(process.argv[2] ?? 1)
const folder = mkdtempSync(join(tmpdir(), 'engine-bench-'))
const modelPath = join(folder, 'random.gguf')
writeRandomModel(modelPath, SHAPE)
const library = await loadLibrary()
const never = new AbortController().signal

const options = { ...TINY_OPTIONS, modelPath, contextSize: CONTEXT, threadsMax: threads }
const open = (slots: number) =>
  openModel({ library, clock: systemClock, random: Math.random }, { ...options, slots })

/** New ones each time: nothing that was read before is of use. */
let asked = 0
const prompt = () => chat(`${asked++} streams`).prompt

/** Tokens a second of `streams` answers at the same time. */
async function ours(
  model: LoadedModel,
  streams: number,
  more: Partial<GenerateMessage> = {},
): Promise<number> {
  const start = performance.now()
  const ends = await Promise.all(
    Array.from({ length: streams }, () =>
      model.generate(chat('', { prompt: prompt(), tokensMax: TOKENS, ...more }), {
        signal: never,
        onDelta: () => {},
      }),
    ),
  )
  const tokens = ends.reduce((sum, { completionTokens }) => sum + completionTokens, 0)
  return tokens / ((performance.now() - start) / 1_000)
}

/** The same steps without anything around them. */
async function plain(
  model: LoadedModel,
  sequences: readonly LlamaContextSequence[],
): Promise<number> {
  const start = performance.now()
  let next = sequences.map(() => [...model.prompts.read(prompt(), false).tokens])
  for (const sequence of sequences) await sequence.clearHistory()
  for (let step = 0; step < TOKENS; step++) {
    const results = await Promise.all(
      sequences.map((sequence, at) => {
        const tokens = next[at] ?? []
        return sequence.controlledEvaluate(
          tokens.map((token, n) =>
            n === tokens.length - 1
              ? [token, { generateNext: { token: true, options: { temperature: 0 } } }]
              : token,
          ),
        )
      }),
    )
    next = results.map((result) => [result.at(-1)?.next.token ?? (0 as Token)])
  }
  return (sequences.length * TOKENS) / ((performance.now() - start) / 1_000)
}

async function plainContext() {
  const llama = await library.llama.getLlama({ gpu: false, build: 'never', maxThreads: threads })
  llama.maxThreads = threads
  const weights = await llama.loadModel({ modelPath, gpuLayers: 0 })
  const context = await weights.createContext({
    contextSize: CONTEXT,
    sequences: STREAMS,
    batchSize: 512,
    threads,
  })
  return { llama, sequences: Array.from({ length: STREAMS }, () => context.getSequence()) }
}

/** Of the best of several rounds: a busy machine only ever takes away. */
const ratio = (a: readonly number[], b: readonly number[]) => Math.max(...a) / Math.max(...b)

/** Milliseconds to the first text of a prompt of some 300 tokens. */
async function firstToken(model: LoadedModel, n: number): Promise<number> {
  const start = performance.now()
  let first = 0
  const long = `${n} ${'some words of a long prompt '.repeat(11)}`
  await model.generate(chat(long, { tokensMax: 2, exact: true }), {
    signal: never,
    onDelta: () => {
      first ||= performance.now() - start
    },
  })
  return first || performance.now() - start
}

async function run(): Promise<void> {
  const before = residentMiB(process.pid)
  const one = await open(1)
  const single = residentMiB(process.pid)
  await one[Symbol.asyncDispose]()
  const model = await open(STREAMS)
  row(
    'resident: one slot, eight slots (MiB)',
    `${(single - before).toFixed(0)}, ${(residentMiB(process.pid) - before).toFixed(0)}`,
  )
  const bare = await plainContext()
  await ours(model, STREAMS)
  await plain(model, bare.sequences)

  const rates: Record<'ours' | 'plain' | 'alone', number[]> = { ours: [], plain: [], alone: [] }
  // Processor time does not depend on who else uses the machine.
  const used = { ours: 0, plain: 0 }
  for (let round = 0; round < ROUNDS; round++) {
    const start = processorSeconds(process.pid)
    rates.ours.push(await ours(model, STREAMS))
    const between = processorSeconds(process.pid)
    rates.plain.push(await plain(model, bare.sequences))
    used.ours += between - start
    used.plain += processorSeconds(process.pid) - between
    rates.alone.push(await ours(model, 1))
  }
  const rate = (values: readonly number[]) => Math.max(...values).toFixed(1)
  row('eight streams, tokens/s: ours, plain loop', `${rate(rates.ours)}, ${rate(rates.plain)}`)
  row('ratio, ours to plain loop', ratio(rates.ours, rates.plain).toFixed(3))
  row('the same by processor time', (used.plain / used.ours).toFixed(3))
  row('gain of eight streams over one', ratio(rates.ours, rates.alone).toFixed(2))

  const settings = { ...GREEDY_SETTINGS, logitBias: new Map() }
  const ways: [string, Partial<GenerateMessage>][] = [
    ['log-probabilities of the chosen', { exact: true, settings: { ...settings, topLogprobs: 0 } }],
    ['five log-probabilities', { exact: true, settings: { ...settings, topLogprobs: 5 } }],
    ['a seed, top-k 40', { exact: true, settings: { ...settings, temperature: 1, topK: 40 } }],
    ['a seed, every token', { exact: true, settings: { ...settings, temperature: 1 } }],
    ['a JSON grammar, greedy', { grammar: jsonObjectGrammar() }],
  ]
  for (const [name, more] of ways) {
    const [with_, without]: [number[], number[]] = [[], []]
    for (let round = 0; round < 2; round++) {
      with_.push(await ours(model, STREAMS, more))
      without.push(await ours(model, STREAMS))
    }
    row(`eight streams with ${name}, ratio to greedy`, ratio(with_, without).toFixed(3))
  }
  const alone = await firstToken(model, 0)
  const load = Promise.all(Array.from({ length: STREAMS - 1 }, () => ours(model, 1)))
  const loaded = await firstToken(model, 1)
  await load
  row(
    'first token of a long prompt, ms: alone, under load',
    `${alone.toFixed(0)}, ${loaded.toFixed(0)}`,
  )
  await model[Symbol.asyncDispose]()
  await bare.llama.dispose()
}

try {
  await run()
} finally {
  rmSync(folder, { recursive: true })
}
