import type { Token } from 'node-llama-cpp'
import t from 'tap'
import { Vocabulary } from '../../../src/inference/llamacpp/vocabulary.ts'
import { openTiny } from '../../support/opened-model.ts'

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString('utf8')

function vocabulary(kind: string, tokens: string[], types: number[] = []) {
  return new Vocabulary({
    kind,
    tokens,
    types: tokens.map((_, at) => types[at] ?? 1),
    text: (token) => `engine's ${token}`,
    isEnd: (token) => tokens[token] === '<|end|>',
  })
}

t.test('a list in the manner of SentencePiece', async (t) => {
  const of = vocabulary('llama', ['<|end|>', '<0xE2>', '\u2581two\u2581', '<0xE2>', 'é'], [3, 6])
  t.equal(of.size, 5)
  t.equal(of.bytesOf(0).length, 0, 'a control token is no text')
  t.equal(text(of.shownBytes(0)), '<|end|>')
  t.strictSame(of.bytesOf(1), Uint8Array.of(0xe2))
  t.equal(text(of.bytesOf(2)), ' two ')
  t.equal(text(of.bytesOf(3)), '<0xE2>', 'only a byte token is a byte')
  t.equal(text(of.bytesOf(4)), 'é')
  t.ok(of.isEnd(0) && of.isControl(0) && !of.isControl(1))
})

t.test('a list in the manner of GPT-2', async (t) => {
  const of = vocabulary(
    'gpt2',
    ['Ġtwo', 'Ċ', 'Ã©', 'ðŁĺ', 'Ģ', '<tool>', '日', 'Ġ'],
    [1, 1, 1, 1, 1, 4],
  )
  t.equal(text(of.bytesOf(0)), ' two')
  t.equal(text(of.bytesOf(1)), '\n')
  t.equal(text(of.bytesOf(2)), 'é')
  t.equal(text(Buffer.concat([of.bytesOf(3), of.bytesOf(4)])), '😀', 'half a character each')
  t.equal(text(of.bytesOf(5)), '<tool>', 'the users own words are plain')
  t.equal(text(of.bytesOf(6)), '日', 'what is not in the alphabet is itself')
  t.strictSame(of.singles, [1, 7, 4], 'by byte')
})

t.test('any other list is read by the engine', async (t) => {
  t.equal(text(vocabulary('bert', ['x']).bytesOf(0)), "engine's 0")
})

t.test('one token for each byte, after those that end', async (t) => {
  const of = vocabulary('llama', ['b', 'a', '<|end|>', 'a', 'ab', 'é'], [1, 1, 3])
  t.strictSame(of.singles, [2, 1, 0])
})

t.test('as the engine reads the tiny model', async (t) => {
  const { model } = await openTiny(t)
  const { vocabulary, display, tokensOf } = {
    ...model.prompts,
    vocabulary: model.prompts.vocabulary,
    display: model.prompts.display,
    tokensOf: (words: string) => model.prompts.tokensOf(words, false),
  }
  for (const words of ['What is 17 + 25?', ' two  spaces\n', 'naïve 😀 text €', '\t"{}\\']) {
    const tokens = tokensOf(words)
    const bytes = Buffer.concat(tokens.map((token) => vocabulary.bytesOf(token)))
    t.equal(bytes.toString('utf8'), words)
    t.equal(display.textOf(tokens), words)
  }
  const [a = 0] = tokensOf('x')
  for (let token = 0; token < vocabulary.size; token++) {
    if (vocabulary.isControl(token)) continue
    const engine = display.textOf([a as Token, token as Token]).slice(1)
    if (engine.includes('\ufffd')) continue
    if (text(vocabulary.bytesOf(token)) !== engine) t.equal(text(vocabulary.bytesOf(token)), engine)
  }
  t.equal(vocabulary.singles.length > 256, true, 'every byte has a token')
})
