import { readFile } from 'node:fs/promises'
import t from 'tap'
import { hex, sha256 } from '../../../src/base/bytes.ts'
import { loadLibrary } from '../../../src/inference/llamacpp/library.ts'
import type { ChatMessage } from '../../../src/inference/request.ts'
import { openTiny, type Wishes } from '../../support/opened-model.ts'
import { ANSWERS, TINY_MODEL, user } from '../../support/tiny-model.ts'

const { model, batches, ask } = await openTiny(t, { chunkTokens: 32 })

const LONG = `${'Hello! '.repeat(60)}Who are you?`

t.test('the file is the one that its sum names', async (t) => {
  const [sum] = (await readFile(`${TINY_MODEL}.sha256`, 'utf8')).split(' ')
  t.equal(hex(sha256(await readFile(TINY_MODEL))), sum)
})

t.test('what was loaded', async (t) => {
  t.match(model.facts, {
    device: 'cpu',
    onCpu: true,
    hasGpu: false,
    contextSize: 256,
    slots: 4,
    threads: 1,
    vocabularySize: 640,
    quantisation: 'Q8_0',
    thinking: false,
    infill: false,
  })
  t.match(model.facts.engine, /^node-llama-cpp 3\.\d+\.\d+, llama\.cpp \S+$/)
})

t.test('the tiny model knows its answers, alone', async (t) => {
  for (const [question, want] of ANSWERS) {
    const { text, finishReason, pieces } = await ask(question)
    t.equal(text, want, question)
    t.equal(finishReason, 'stop', question)
    t.ok(pieces.length > 4, `in pieces: ${question}`)
  }
})

t.test('and says the same in company, in batches that are whole', async (t) => {
  batches.length = 0
  const steps = model.loop.steps
  const long = await ask(LONG)
  const questions = [...ANSWERS, [LONG, long.text] as const, ...ANSWERS]
  const together = await Promise.all(questions.map(([question]) => ask(question)))
  for (const [at, [question, want]] of questions.entries())
    t.equal(together[at]?.text, want, question.slice(-40))
  t.equal(batches.length, model.loop.steps - steps, 'one decode for each step')
  t.equal(Math.max(...batches.map((items) => items.length)), 4, 'of all four slots')
  const full = batches.filter((items) => items.length === 4).length
  t.ok(full > batches.length / 3, `${full} of ${batches.length} steps had all of them`)
})

t.test('the batch is queued by slot', async (t) => {
  batches.length = 0
  const asked = ['1+1=', '2+2=', '3+3=', '4+4=']
  await Promise.all(asked.map((question) => ask(question, { tokensMax: 1 })))
  // In order of slot, and the slots were filled in the order of asking.
  const first = batches.find((items) => items.length === 4) ?? []
  t.equal(first.length, 4)
  const digits = first.map((item) => item.tokens.map((token) => Number(token)).join())
  t.strictSame(digits, [...digits].sort(), 'ascending as the digits are')
})

t.test('a long prompt is read in pieces, and what is known is not read again', async (t) => {
  const steps = model.loop.steps
  await ask([{ role: 'system', content: 'Answer briefly.' }], { tokensMax: 1 })
  const first = await ask(LONG)
  t.ok(first.promptTokens > 5 * 32, `${first.promptTokens} tokens`)
  t.ok(model.loop.steps - steps >= 5 + first.completionTokens)
  const again = await ask(LONG)
  t.equal(again.text, first.text)
  t.equal(again.cachedTokens, again.promptTokens - 1)
})

t.test('the next turn of a conversation reads only what is new', async (t) => {
  const turns: ChatMessage[] = user('What is 17 + 25?')
  const first = await ask(turns)
  turns.push(
    { role: 'assistant', content: first.text },
    { role: 'user', content: 'And what is the capital of Japan?' },
  )
  const second = await ask(turns)
  t.equal(second.text, 'The capital of Japan is Tokyo.')
  // All but the last token of the answer, which nobody had to evaluate.
  t.equal(second.cachedTokens, first.promptTokens + first.completionTokens - 1)
})

t.test('a seed gives one text, alone and in company; another seed another', async (t) => {
  const wild = (seed: number) =>
    ask('Who are you?', { settings: { temperature: 2, seed: BigInt(seed) } })
  const alone = await wild(5)
  const [same, other] = await Promise.all([wild(5), wild(6), ask(LONG)])
  t.equal(same.text, alone.text)
  t.not(other.text, alone.text)
  t.ok(new Set(alone.text).size > 5, 'not one token over and over')
})

t.test('stop strings', async (t) => {
  const cut = await ask('What is 17 + 25?', { stop: ['zzz', ', so'] })
  t.hasStrict(cut, { text: '10 + 20 = 30 and 7 + 5 = 12', finishReason: 'stop' })
  t.notOk(
    cut.pieces.some((piece) => piece.includes(',')),
    'no part of it was shown',
  )
  const whole = await ask('What is 17 + 25?', { stop: ['42!'] })
  t.equal(whole.text, '10 + 20 = 30 and 7 + 5 = 12, so 17 + 25 = 42', 'what was held back is shown')
})

t.test('as many tokens as were asked for', async (t) => {
  const answer = await ask('Count from 4 to 9.', { tokensMax: 5 })
  t.hasStrict(answer, { text: '4, 5,', finishReason: 'length', completionTokens: 5 })
  const exact = await ask('Count from 4 to 9.')
  const same = await ask('Count from 4 to 9.', { tokensMax: exact.completionTokens })
  t.hasStrict(same, { text: exact.text, finishReason: 'stop' }, 'the end itself is a token')
  const less = await ask('Count from 4 to 9.', { tokensMax: exact.completionTokens - 1 })
  t.hasStrict(less, { text: exact.text, finishReason: 'length' })
})

t.test('an answer never leaves the context', async (t) => {
  const { promptTokens } = await ask(LONG, { tokensMax: 1 })
  const text = `${LONG}${'7'.repeat(256 - promptTokens - 3)}`
  const answer = await ask(text, { tokensMax: 100, settings: { temperature: 9, seed: 3n } })
  t.equal(answer.promptTokens + answer.completionTokens, 256)
  t.equal(answer.finishReason, 'length')
  await t.rejects(ask(`${text}777`), {
    code: 'CONTEXT_LENGTH',
    data: { promptTokens: 256, contextSize: 256 },
    retryable: false,
  })
})

t.test('an abort ends an answer within a token', async (t) => {
  const controller = new AbortController()
  const reason = new Error('gone')
  const pieces: string[] = []
  const wishes: Wishes = {
    signal: controller.signal,
    onText: (text) => {
      if (pieces.push(text) === 3) controller.abort(reason)
    },
  }
  await t.rejects(ask('Who are you?', wishes), reason)
  t.equal(pieces.length, 3)
  t.equal(model.loop.active, 0)
  const [question = '', want] = ANSWERS[1] ?? []
  t.equal((await ask(question)).text, want, 'and the slot serves the next')
})

t.test('an abort while the prompt is read frees the slot within a step', async (t) => {
  const controller = new AbortController()
  const steps = model.loop.steps
  const reading = ask(`And now: ${LONG}`, { signal: controller.signal })
  while (model.loop.steps === steps) await new Promise((resolve) => setImmediate(resolve))
  controller.abort(new Error('gone'))
  await t.rejects(reading, { message: 'gone' })
  t.ok(model.loop.steps - steps <= 2, 'of more than five')
  t.equal(model.loop.active, 0)
})

t.test('a probe is one step of real work and loses nothing', async (t) => {
  const first = await ask(LONG, { tokensMax: 1 })
  const [steps, count] = [model.loop.steps, batches.length]
  await model.loop.probe(model.prompts.anyToken)
  t.equal(model.loop.steps, steps + 1)
  t.equal(batches.length, count + 1)
  t.equal((await ask(LONG, { tokensMax: 1 })).cachedTokens, first.promptTokens - 1)
  const busy = ask(LONG)
  await model.loop.probe(model.prompts.anyToken)
  t.equal(model.loop.active, 1, 'an engine at work is not asked')
  await busy
})

t.test('the text of the pieces is what the engine makes of all tokens', async (t) => {
  for (const [question] of ANSWERS) {
    const answer = await ask(question, {
      message: { exact: true },
      settings: { temperature: 1.4, seed: 11n, topLogprobs: 0 },
    })
    const joined = Buffer.concat(answer.scores.map(({ bytes }) => bytes)).toString('utf8')
    const tokens = model.prompts.tokensOf(answer.text, false)
    t.equal(joined, answer.text)
    t.equal(model.prompts.display.textOf(tokens), answer.text)
  }
})

t.test('an engine that is not there', async (t) => {
  await t.rejects(loadLibrary('file:///nowhere/node-llama-cpp/dist/index.js'), {
    code: 'ENGINE_MISSING',
  })
})
