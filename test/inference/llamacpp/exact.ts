import type { Token } from 'node-llama-cpp'
import t from 'tap'
import { EnginePicker, ExactPicker } from '../../../src/inference/llamacpp/picker.ts'
import type { NextOutput } from '../../../src/inference/llamacpp/scores.ts'
import { type Asked, openTiny, type Wishes } from '../../support/opened-model.ts'
import { ANSWERS, GREEDY_SETTINGS } from '../../support/tiny-model.ts'

const { model, ask } = await openTiny(t, { chunkTokens: 32, slots: 8 })
const { prompts } = model
const LONG = `${'Hello! '.repeat(40)}Who are you?`

const bytesOf = ({ scores }: Asked) => Buffer.concat(scores.map(({ bytes }) => bytes))
const logprobs = ({ scores }: Asked) => scores.map(({ logprob }) => logprob)
const text = (text: string) => ({ kind: 'text', text }) as const
/** Log-probabilities, and reuse of earlier work in whole pieces only. */
const exact = { exact: true, repeatable: true }

t.test(
  'greedy text and log-probabilities are the same bits alone, under load, cached',
  async (t) => {
    const wishes: Wishes = { settings: { topLogprobs: 3 }, message: exact }
    const questions = [...ANSWERS.map(([question]) => question).slice(0, 7), LONG]
    const alone: Asked[] = []
    for (const question of questions) alone.push(await ask(question, wishes))
    const together = await Promise.all(questions.map((question) => ask(question, wishes)))
    const cached: Asked[] = []
    for (const question of questions) cached.push(await ask(question, wishes))
    for (const [at, want] of alone.entries()) {
      for (const [how, answers] of [['load', together] as const, ['cache', cached] as const]) {
        t.equal(answers[at]?.text, want.text, `${how}: ${want.text}`)
        t.strictSame(answers[at]?.scores, want.scores, `${how}: ${want.text}`)
      }
      t.equal(bytesOf(want).toString(), want.text)
    }
    const last = cached.at(-1)
    t.equal(last?.cachedTokens, 128, 'whole pieces only')
  },
)

t.test('a seed of 64 bits gives one text, alone and under load', async (t) => {
  const wild = (seed: bigint, topLogprobs?: number) =>
    ask('Who are you?', {
      tokensMax: 40,
      message: exact,
      settings: {
        ...{ temperature: 4, seed },
        ...(topLogprobs === undefined ? {} : { topLogprobs }),
      },
    })
  const seeds = [0n, 1n, 1n << 32n, (1n << 64n) - 1n, 0x8000_0000_0000_0000n]
  const alone = new Map<bigint, string>()
  for (const seed of seeds) alone.set(seed, (await wild(seed)).text)
  t.equal(new Set(alone.values()).size, seeds.length, 'all 64 bits count')
  const all = [...seeds, 7n, 8n, 9n]
  const together = await Promise.all(all.map((seed) => wild(seed)))
  for (const [at, seed] of seeds.entries()) t.equal(together[at]?.text, alone.get(seed), `${seed}`)
  const scored = await wild(1n, 5)
  t.equal(scored.text, alone.get(1n), 'and the same where log-probabilities are wanted')
})

t.test('both ways of picking agree at temperature 0', async (t) => {
  for (const [question] of ANSWERS) {
    const engine = await ask(question)
    const own = await ask(question, { message: { exact: true } })
    const scored = await ask(question, { message: { exact: true }, settings: { topLogprobs: 2 } })
    t.equal(own.text, engine.text)
    t.equal(scored.text, engine.text)
  }
})

t.test('both ways of asking give the same logits', async (t) => {
  const settings = { ...GREEDY_SETTINGS, temperature: 1, topK: 20 }
  const { vocabulary } = prompts
  const deps = { vocabulary, constraint: undefined }
  const asked = (topLogprobs?: number) =>
    new ExactPicker(
      deps,
      { ...settings, ...(topLogprobs === undefined ? {} : { topLogprobs }) },
      {},
    )
  const heard: NextOutput[] = []
  for (const picker of [asked(), asked(20), new EnginePicker(settings)]) {
    await model.loop.run(
      {
        prompt: prompts.tokensOf('What is 17 + 25?', true),
        tokensMax: 1,
        picker: {
          ask: () => picker.ask(0),
          pick: (position, next) => {
            heard.push(next)
            return picker.pick(position, next)
          },
        },
        isExact: true,
        isAlone: false,
        onToken: () => 'end',
      },
      new AbortController().signal,
    )
  }
  const [quick, whole, engine] = heard
  t.equal(quick?.logits?.size, 20)
  t.strictSame([...(quick?.logits ?? [])], [...(whole?.logits ?? [])])
  t.equal(engine?.logits, undefined)
})

t.test('an echo scores a text as it was scored when it was written', async (t) => {
  const prompt = 'What is 17 + 25?'
  for (const topLogprobs of [0, 2]) {
    const wishes = { settings: { topLogprobs }, message: exact }
    const made = await ask('', { ...wishes, prompt: text(prompt), tokensMax: 30 })
    const given = prompts.tokensOf(prompt, true)
    // The token that ended the text is not part of it.
    const shown = made.scores.filter(({ bytes }) => bytes.length > 0)
    t.equal(shown.length, made.scores.length - 1)
    const tokens = [...given, ...idsOf({ ...made, scores: shown })]
    const echo = await ask('', {
      ...wishes,
      prompt: { kind: 'tokens', tokens },
      tokensMax: 0,
      message: { ...exact, echo: true },
    })
    t.equal(echo.text, prompt + made.text)
    t.equal(bytesOf(echo).toString(), echo.text)
    t.equal(echo.scores[0]?.logprob, null)
    t.equal(echo.completionTokens, 0)
    const written = logprobs({ ...made, scores: shown })
    const tail = logprobs(echo).slice(-written.length)
    for (const [at, logprob] of written.entries())
      t.ok(Math.abs((tail[at] ?? 9) - (logprob ?? 0)) < 1e-5, `token ${at}`)
  }
  const both = await ask('', {
    settings: { topLogprobs: 1 },
    prompt: text('Count from 4 to 9. é€😀'),
    tokensMax: 4,
    message: { ...exact, echo: true },
  })
  t.match(both.text, /^Count from 4 to 9. é€😀/)
  t.equal(bytesOf(both).toString(), both.text, 'also where pieces cut a character')
})

/** Tokens by their bytes: the tiny model has one for each of them. */
function idsOf({ scores }: Asked): number[] {
  const { vocabulary } = prompts
  return scores.map(({ bytes }) => {
    for (let token = vocabulary.size - 1; token > 258; token--)
      if (Buffer.compare(vocabulary.bytesOf(token), bytes) === 0) return token
    throw new Error('no such token')
  })
}

t.test('a character of several tokens joins byte for byte', async (t) => {
  const grammar = 'root ::= "say " "😀" "é" " ok"'
  const wishes = { tokensMax: 30, settings: { topLogprobs: 2 } }
  const { text, scores, pieces } = await ask('Hello!', { ...wishes, message: { grammar } })
  t.equal(text, 'say 😀é ok')
  t.ok(scores.length > 6, 'the emoji is four tokens')
  t.equal(Buffer.concat(scores.map(({ bytes }) => bytes)).toString(), text)
  t.notOk(pieces.some((piece) => piece.includes('\ufffd')))
})

t.test('a bias of ±100 forces and forbids', async (t) => {
  const [hot = 0] = prompts.tokensOf('Saturday', false)
  const forced = await ask('Hello!', {
    tokensMax: 3,
    message: exact,
    settings: { logitBias: new Map([[hot, 100]]), topLogprobs: 1 },
  })
  const shown = prompts.vocabulary.bytesOf(hot)
  t.ok(forced.scores.every(({ bytes }) => Buffer.compare(bytes.slice(-2), shown.slice(-2)) === 0))
  t.ok((forced.scores[0]?.logprob ?? 0) < -1, 'its log-probability stays that of the model')
  const free = await ask('Hello!', { message: exact, settings: { topLogprobs: 0 } })
  const [first = 0] = idsOf(free)
  const banned = await ask('Hello!', {
    message: exact,
    settings: { logitBias: new Map([[first, -100]]), topLogprobs: 0 },
  })
  t.notOk(idsOf(banned).includes(first))
})

t.test('penalties change what they should', async (t) => {
  const [hot = 0] = prompts.tokensOf('8', false).slice(-1)
  const eights: Wishes = { tokensMax: 30, message: exact }
  const logitBias = new Map([[hot, 25]])
  const plain = await ask('Hello!', { ...eights, settings: { logitBias } })
  t.equal(plain.text, '8'.repeat(30))
  for (const more of [{ frequencyPenalty: 2 }, { repeatPenalty: 5 }]) {
    const name = Object.keys(more).join()
    const less = await ask('Hello!', { ...eights, settings: { ...more, logitBias } })
    t.match(less.text, /^8/, name)
    t.ok(new Set(less.text).size > 1, name)
    const settings = { ...more, logitBias, topLogprobs: 4 }
    const scored = await ask('Hello!', { ...eights, settings })
    t.equal(scored.text, less.text, `${name}: however it is asked`)
  }
})

t.test('no token is likelier than certain', async (t) => {
  const answer = await ask('What is the capital of Japan?', {
    message: exact,
    settings: { topLogprobs: 20 },
  })
  for (const { logprob, top } of answer.scores) {
    t.ok((logprob ?? 1) <= 1e-6)
    t.equal(top.length, 20)
    t.equal(top[0]?.logprob, logprob, 'the greedy choice is the likeliest')
    const sum = top.reduce((sum, other) => sum + Math.exp(other.logprob), 0)
    t.ok(sum <= 1.0001, String(sum))
  }
})

t.test('tokens that a model does not have', async (t) => {
  const prompt = { kind: 'tokens', tokens: [1, 640 as Token] } as const
  await t.rejects(ask('', { prompt: { ...prompt, tokens: [...prompt.tokens] } }), {
    code: 'BAD_REQUEST',
    data: { param: 'prompt[1]' },
  })
})
