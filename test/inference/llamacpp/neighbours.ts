/** A model whose numbers are of every size, unlike the tiny one's: there the pieces of a prompt can be told. */
import { join } from 'node:path'
import t from 'tap'
import { LLAMACPP_DEFAULTS } from '../../../src/inference/llamacpp/options.ts'
import { complete, never } from '../../contract/backend-asks.ts'
import { llamaCpp } from '../../support/llamacpp.ts'
import { writeRandomModel } from '../../support/random-gguf.ts'

const LENGTHS = [3, 45, 7, 60, 12, 31, 90, 5]
const TOKENS = 24

t.test('an answer does not depend on prompts of other lengths beside it', async (t) => {
  const modelPath = join(t.testdir(), 'random.gguf')
  writeRandomModel(modelPath, {
    kind: 'llama',
    width: 256,
    layers: 4,
    hidden: 512,
    heads: 8,
    keyHeads: 2,
    vocabulary: 2_048,
    context: 512,
  })
  const backend = llamaCpp(t, {
    entry: LLAMACPP_DEFAULTS.entry,
    modelPath,
    contextSize: 256,
    slots: 8,
  })
  await backend.start()
  const prompts = LENGTHS.map((length, at) =>
    Array.from({ length }, (_, position) => 300 + ((at * 131 + position * 17) % 1_500)),
  )
  const ask = async (prompt: readonly number[]) => {
    const request = complete(prompt, { maxTokens: TOKENS, topLogprobs: 2 })
    const { text, scores } = await backend.generate(request, { signal: never() })
    return { text, scores }
  }
  const alone: Awaited<ReturnType<typeof ask>>[] = []
  for (const prompt of prompts) alone.push(await ask(prompt))
  t.strictSame(await Promise.all(prompts.map(ask)), alone, 'all at once')
  const staggered: ReturnType<typeof ask>[] = []
  for (const prompt of prompts) {
    staggered.push(ask(prompt))
    await new Promise((resolve) => setImmediate(resolve))
  }
  t.strictSame(await Promise.all(staggered), alone, 'one after the other')
})
