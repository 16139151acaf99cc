/**
 * How well a tiny model answers, through the engine that serves it, and whether it reads as it was trained.
 *
 * Run with `npx tsc && node dist/scripts/tiny-model/evaluate.js MODEL.gguf SAMPLES.json` (samples.py
 * makes the samples). Ends with status 1 when the engine tokenizes a text otherwise than the trainer.
 */
import { readFile } from 'node:fs/promises'
import { z } from 'zod'
import { systemClock } from '../../src/base/clock.ts'
import { loadLibrary } from '../../src/inference/llamacpp/library.ts'
import { openModel } from '../../src/inference/llamacpp/model.ts'
import { generateMessage } from '../../src/inference/llamacpp/tasks.ts'
import type { ChatRequest } from '../../src/inference/request.ts'

const Samples = z.object({
  questions: z.array(z.object({ kind: z.string(), question: z.string(), answer: z.string() })),
  texts: z.array(z.object({ text: z.string(), tokens: z.array(z.number()) })),
})

const SLOTS = 16
const GREEDY = { temperature: 0, topP: 1, topK: 0, minP: 0 }

function ask(content: string): ChatRequest {
  return {
    kind: 'chat',
    messages: [{ role: 'user', content }],
    tools: [],
    toolChoice: 'none',
    parallelToolCalls: true,
    format: { kind: 'text' },
    stop: [],
  }
}

const [modelPath, samplesPath] = process.argv.slice(2)
if (modelPath === undefined || samplesPath === undefined) {
  process.stderr.write('usage: evaluate.js MODEL.gguf SAMPLES.json\n')
  process.exit(2)
}
const samples = Samples.parse(JSON.parse(await readFile(samplesPath, 'utf8')))
const library = await loadLibrary()

async function tokenized(path: string): Promise<number> {
  const llama = await library.llama.getLlama({ gpu: false, build: 'never', maxThreads: 1 })
  const model = await llama.loadModel({ modelPath: path, vocabOnly: true })
  const wrong = samples.texts.filter(
    ({ text, tokens }) => model.tokenize(text).join() !== tokens.join(),
  )
  await llama.dispose()
  return wrong.length
}

async function answered(path: string): Promise<void> {
  await using model = await openModel(
    { library, clock: systemClock, random: Math.random },
    {
      modelPath: path,
      contextSize: 256,
      slots: SLOTS,
      chunkTokens: 128,
      batchTokens: 512,
      gpu: false,
      threadsMax: 1,
    },
  )
  const kinds = new Map<string, { right: number; all: number }>()
  const started = systemClock.monotonic()
  let tokens = 0
  await Promise.all(
    samples.questions.map(async ({ kind, question, answer }) => {
      let text = ''
      const options = { defaults: GREEDY, random: Math.random }
      const { completionTokens } = await model.generate(
        generateMessage(0, ask(question), false, options),
        {
          signal: new AbortController().signal,
          onDelta: (more) => {
            text += more.text ?? ''
          },
        },
      )
      tokens += completionTokens
      const count = kinds.get(kind) ?? { right: 0, all: 0 }
      kinds.set(kind, { right: count.right + (text === answer ? 1 : 0), all: count.all + 1 })
    }),
  )
  const seconds = (systemClock.monotonic() - started) / 1000
  for (const [kind, { right, all }] of kinds) process.stdout.write(`${kind}: ${right} of ${all}\n`)
  process.stdout.write(`${Math.round(tokens / seconds)} tokens/s over ${SLOTS} slots\n`)
}

const wrong = await tokenized(modelPath)
process.stdout.write(`tokenized otherwise: ${wrong} of ${samples.texts.length}\n`)
await answered(modelPath)
if (wrong > 0) process.exitCode = 1
