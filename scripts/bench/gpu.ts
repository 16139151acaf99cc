/**
 * Tokens a second of one and of eight streams on this machine's graphics card, against llama.cpp's own programs on
 * the same card and weights where LLAMA_BENCH names the folder that holds them (`llama-batched-bench`,
 * `llama-bench`). Ours run in this process, in turn with theirs. Card, engine and weights: test/support/hardware.ts.
 * Run: npx tsc && LLAMA_BENCH=~/llama.cpp/build/bin node dist/scripts/bench/gpu.js
 */
import { execFile } from 'node:child_process'
import { access } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { systemClock } from '../../src/base/clock.ts'
import { readEnvironment } from '../../src/config/environment.ts'
import { loadLibrary } from '../../src/inference/llamacpp/library.ts'
import { type LoadedModel, openModel } from '../../src/inference/llamacpp/model.ts'
import { findHardware, Hardware, never } from '../../test/support/hardware.ts'
import { chat, TINY_OPTIONS } from '../../test/support/tiny-model.ts'
import { host, row } from './measure.ts'

const STREAMS = [1, 8] as const
const TOKENS = 256
const ROUNDS = 3
const CONTEXT = 1_024
const QUESTION = 'streams: tell me something long about numbers, and then about letters.'

/** Tokens of a prompt, and generated tokens a second, prompts counted in. */
interface Rate {
  readonly promptTokens: number
  readonly perSecond: number
}

/** New prompts each time: nothing that was read before is of use. */
let asked = 0

async function ours(model: LoadedModel, streams: number): Promise<Rate> {
  const start = performance.now()
  const ends = await Promise.all(
    Array.from({ length: streams }, () =>
      model.generate(chat(`${asked++} ${QUESTION}`, { tokensMax: TOKENS }), {
        signal: never(),
        onDelta: () => {},
      }),
    ),
  )
  const seconds = (performance.now() - start) / 1_000
  const tokens = ends.reduce((sum, { completionTokens }) => sum + completionTokens, 0)
  return { promptTokens: ends[0]?.promptTokens ?? 0, perSecond: tokens / seconds }
}

/** One of llama.cpp's programs; undefined: it is not there. @throws what it said when it fails */
async function program(name: string, words: readonly string[]): Promise<string | undefined> {
  const folder = process.env['LLAMA_BENCH']
  if (folder === undefined) return undefined
  const path = join(folder, process.platform === 'win32' ? `${name}.exe` : name)
  const isThere = await access(path).then(
    () => true,
    () => false,
  )
  if (!isThere) return undefined
  const env = { ...readEnvironment().engine, ...machine.environment }
  const options = { env, maxBuffer: 64 * 1024 * 1024 }
  return (await promisify(execFile)(path, [...words], options)).stdout
}

/** As many streams as ours, with prompts as long, and counted in the same way. */
async function batched(streams: number, promptTokens: number): Promise<number | undefined> {
  const text = await program('llama-batched-bench', [
    ...['-m', machine.modelPath, '-ngl', '99', '-c', String(CONTEXT * streams), '-fa', 'on'],
    ...['-npp', String(promptTokens), '-ntg', String(TOKENS), '-npl', String(streams)],
    ...['--output-format', 'jsonl'],
  ])
  for (const line of text?.split('\n') ?? []) {
    if (!line.trim().startsWith('{')) continue
    const { tg, pl, t_pp, t_tg } = JSON.parse(line) as Record<string, number>
    return ((tg ?? 0) * (pl ?? 0)) / ((t_pp ?? 0) + (t_tg ?? 0))
  }
  return undefined
}

/** One stream without a prompt. */
async function single(): Promise<number | undefined> {
  const text = await program('llama-bench', [
    ...['-m', machine.modelPath, '-ngl', '99', '-fa', '1', '-o', 'json'],
    ...['-p', '0', '-n', String(TOKENS), '-r', '1'],
  ])
  if (text === undefined) return undefined
  const [first] = JSON.parse(text.slice(text.indexOf('['))) as { avg_ts?: number }[]
  return first?.avg_ts
}

const best = (values: readonly (number | undefined)[]) =>
  Math.max(0, ...values.filter((value) => value !== undefined))
const text = (value: number) => (value === 0 ? 'not there' : value.toFixed(1))
const ratio = (a: number, b: number) => (b === 0 ? '-' : (a / b).toFixed(3))

async function run(): Promise<void> {
  Object.assign(process.env, machine.environment)
  const library = await loadLibrary(machine.engine.url)
  const options = { ...TINY_OPTIONS, modelPath: machine.modelPath, gpu: machine.kind }
  const { threadsMax: _, ...free } = options
  const gains: number[] = []
  for (const streams of STREAMS) {
    const rates: Record<'ours' | 'batched' | 'single', (number | undefined)[]> = {
      ...{ ours: [], batched: [], single: [] },
    }
    for (let round = 0; round < ROUNDS; round++) {
      // Anew each time: while theirs run, ours has nothing on the card.
      const model = await openModel(
        { library, clock: systemClock, random: Math.random },
        { ...free, contextSize: CONTEXT, slots: streams },
      )
      await ours(model, streams)
      const { promptTokens, perSecond } = await ours(model, streams)
      await model[Symbol.asyncDispose]()
      rates.ours.push(perSecond)
      rates.batched.push(await batched(streams, promptTokens))
      if (streams === 1) rates.single.push(await single())
    }
    const [mine, theirs, bare] = [best(rates.ours), best(rates.batched), best(rates.single)]
    gains.push(mine)
    const name = streams === 1 ? 'one stream' : `${streams} streams`
    row(`${name}, tokens/s: ours, llama-batched-bench`, `${text(mine)}, ${text(theirs)}`)
    row(`${name}, ratio of ours to it`, ratio(mine, theirs))
    if (streams === 1) {
      row('llama-bench, without a prompt, tokens/s', text(bare))
      row('one stream, ratio of ours to it', ratio(mine, bare))
    }
  }
  row(`gain of ${STREAMS[1]} streams over one`, ratio(gains[1] ?? 0, gains[0] ?? 0))
}

const bench = host()
const found = await findHardware()
if (typeof found === 'string') {
  process.stdout.write(`nothing is measured: ${found}\n`)
  process.exit(0)
}
const machine = await Hardware.open(found, bench)
row('card', machine.name)
if (process.env['LLAMA_BENCH'] === undefined)
  row('llama.cpp itself', 'not compared: set LLAMA_BENCH to the folder of llama-batched-bench')
try {
  await run()
} finally {
  await bench.close()
}
