import { join } from 'node:path'
import t from 'tap'
import { openTiny } from '../../support/opened-model.ts'
import { type RandomModel, writeRandomModel } from '../../support/random-gguf.ts'

const SMALL = { width: 64, layers: 1, heads: 2, keyHeads: 2, hidden: 64, context: 256 }
const folder = t.testdir({})

/** Weights of chance, so that any token may come. */
async function open(kind: RandomModel['kind']) {
  const modelPath = join(folder, `${kind}.gguf`)
  writeRandomModel(modelPath, { ...SMALL, kind, vocabulary: 400 })
  return await openTiny(t, { modelPath, chunkTokens: 8 })
}

const opened = [
  { kind: 'llama', ...(await open('llama')) },
  { kind: 'gpt2', ...(await open('gpt2')) },
] as const

for (const { kind, model, ask } of opened) {
  const scored = { exact: true, repeatable: true }
  const joined = (scores: readonly { bytes: Uint8Array }[]) =>
    Buffer.concat(scores.map(({ bytes }) => bytes))

  t.test(`${kind}: a text is what the engine makes of all its tokens`, async (t) => {
    for (const seed of [1n, 2n, 3n, 4n]) {
      const settings = { temperature: 1, seed, topLogprobs: 1 }
      const given = model.prompts.tokensOf('Count w370', true)
      const prompt = { kind: 'tokens' as const, tokens: [...given] }
      const made = await ask('', { prompt, settings, message: scored, tokensMax: 40 })
      const shown = joined(made.scores)
      // Half a character at the end is left out of the text; bytes of none are shown one by one.
      const clean = (text: string) => text.replace(/\ufffd+/g, '?').replace(/\?$/, '')
      t.equal(clean(shown.toString('utf8')), clean(made.text))
      const chat = await ask('Hello!', { settings, message: scored, tokensMax: 20 })
      const text = joined(chat.scores)
        .toString('utf8')
        .replace(/\ufffd+$/, '')
      t.equal(text, chat.text.replace(/\ufffd+$/, ''), 'and of a chat')
    }
  })

  t.test(`${kind}: an echo in pieces is the prompt, its bytes and the answer's`, async (t) => {
    for (const text of ['one two three four', ' two  spaces', 'naïve 😀 text €', 'w']) {
      const message = { ...scored, echo: true }
      const settings = { topLogprobs: 1, logitBias: new Map([[390, 100]]) }
      const whole = await ask('', {
        prompt: { kind: 'text', text },
        settings,
        message,
        tokensMax: 0,
      })
      t.equal(whole.text, text)
      t.equal(joined(whole.scores).toString(), text)
      const more = await ask('', {
        prompt: { kind: 'text', text },
        settings,
        message,
        tokensMax: 2,
      })
      t.equal(more.text, `${text} w390 w390`)
      t.equal(joined(more.scores).toString(), more.text)
      const plain = await ask('', {
        prompt: { kind: 'text', text },
        settings: { logitBias: settings.logitBias },
        message: { echo: true, exact: true },
        tokensMax: 2,
      })
      t.equal(plain.text, more.text, 'without scores, too')
    }
  })

  t.test(`${kind}: an empty prompt`, async (t) => {
    if (kind === 'gpt2') return
    const settings = { topLogprobs: 0, logitBias: new Map([[390, 100]]) }
    const message = { ...scored, echo: true }
    const made = await ask('', {
      prompt: { kind: 'text', text: '' },
      settings,
      message,
      tokensMax: 2,
    })
    t.equal(joined(made.scores).toString(), made.text)
    t.equal(made.text, 'w390 w390')
  })
}
