import t from 'tap'
import { tinyModelPath } from '../../../src/config/root.ts'
import type { Scored } from '../../../src/inference/audit/score.ts'
import { readAnswer } from '../../../src/inference/audit/target.ts'
import { TokenIds } from '../../../src/inference/audit/tokens.ts'
import { judge, judgeMeasures, measure } from '../../../src/inference/audit/verdict.ts'
import { parseGguf, readGguf } from '../../../src/models/gguf.ts'
import { bpeMeta, ggufBytes } from '../../support/gguf.ts'

const { signal } = new AbortController()
const SHA256 = 'a'.repeat(64)

function scored(
  kind: 'text' | 'chat',
  ours: number,
  theirs: number | undefined,
  best = ours,
): Scored {
  const position = { ours, best, ...(theirs === undefined ? {} : { theirs }) }
  return { kind, positions: Array(30).fill(position), matchedPrefix: best > ours ? 0 : 30 }
}

t.test('numbers', async (t) => {
  await t.test('are means with twice their standard error', async (t) => {
    const positions = [
      { ours: -1, theirs: -1.1, best: -1 },
      { ours: -2, theirs: -2.3, best: -1.5 },
      { ours: -0.01, theirs: -5, best: -0.01 },
      { ours: -3, best: -3 },
    ]
    const measures = measure([{ kind: 'text', positions, matchedPrefix: 1 }])
    t.match(measures, {
      answers: 1,
      tokens: 4,
      given: 3,
      open: 2,
      agreement: 0.75,
      matchedPrefix: 1,
    })
    const near = (value: number | undefined, expected: number) =>
      t.ok(Math.abs((value ?? Number.NaN) - expected) < 1e-9, `${value} is ${expected}`)
    near(measures.difference?.mean, 0.2)
    near(measures.difference?.margin, 0.2)
    near(measures.regret?.mean, 0.125)
    near(measures.regret?.margin, 0.25)
    t.strictSame(measure([]), {
      answers: 0,
      tokens: 0,
      given: 0,
      open: 0,
      agreement: 0,
      matchedPrefix: 0,
    })
  })

  await t.test('are judged with care', async (t) => {
    const twice = (...of: Parameters<typeof scored>) => [scored(...of), scored(...of)]
    const cases: [name: string, given: Scored[], verdict: string, reason: RegExp][] = [
      ['nothing', [], 'cannot tell', /only 0 tokens/],
      ['too few', [scored('text', -1, -1)], 'cannot tell', /only 30 tokens/],
      ['equal', twice('text', -1, -1), 'consistent', /differ by 0\.0000/],
      ['a little off', twice('text', -1, -1.04), 'consistent', /0\.0400/],
      ['in between', twice('text', -1, -1.1), 'cannot tell', /too much for the same/],
      ['far off', twice('text', -1, -1.13), 'inconsistent', /more than devices explain/],
      [
        'plain tokens only',
        twice('text', -0.01, -3),
        'cannot tell',
        /only 0 tokens were not plain/,
      ],
      ['no numbers', twice('text', -1, undefined), 'cannot tell', /no log-probabilities/],
      ['other tokens', twice('text', -1, undefined, -0.5), 'inconsistent', /other tokens/],
      ['tokens that are near', twice('text', -1, -1, -0.9), 'cannot tell', /0\.0000/],
    ]
    for (const [name, given, verdict, reason] of cases) {
      const judged = judgeMeasures(measure(given))
      t.equal(judged.verdict, verdict, name)
      t.match(judged.reasons[0], reason, name)
    }
  })

  await t.test('go together with what is stated', async (t) => {
    const texts = [scored('text', -1, -1), scored('text', -1, -1)]
    const lies = [scored('chat', -1, -3), scored('chat', -1, -3)]
    const evidence = { scored: texts, claimed: SHA256, sha256: SHA256, untrue: [] }
    t.strictSame(judge(evidence), {
      verdict: 'consistent',
      reasons: ['log-probabilities differ by 0.0000 ± 0.0000 nats'],
    })
    const { claimed: _, ...silent } = evidence
    t.match(judge(silent), { verdict: 'consistent', reasons: [/differ/, /does not state/] })
    t.match(judge({ ...evidence, claimed: 'b'.repeat(64) }), {
      verdict: 'cannot tell',
      reasons: [/states other weights/, /differ/],
    })
    t.match(judge({ ...evidence, scored: [...texts, ...lies] }), {
      verdict: 'cannot tell',
      reasons: [/another template/],
    })
    t.equal(judge({ ...evidence, scored: lies }).verdict, 'inconsistent', 'chats alone')
    const half = [scored('text', -1, -1), scored('chat', -1, -1)]
    t.equal(judge({ ...evidence, scored: half }).verdict, 'consistent', 'together they are enough')
    t.strictSame(judge({ ...evidence, untrue: ['a lie'] }), {
      verdict: 'inconsistent',
      reasons: ['a lie'],
    })
  })
})

t.test('answers are read in every form', async (t) => {
  const bytes = (...values: number[]) => Uint8Array.from(values)
  const read = (choice: unknown) => readAnswer({ choices: [choice] })
  const classic = { tokens: ['a', 'bytes:\\xe2\\x82'], token_logprobs: [-1, -2] }
  const chat = {
    content: [
      { token: 'a', logprob: -1 },
      { token: '?', bytes: [226], logprob: 0 },
    ],
  }
  t.strictSame(read({ text: 'a', logprobs: classic }), {
    text: 'a',
    isThinking: false,
    tokens: [
      { bytes: bytes(97), logprob: -1 },
      { bytes: bytes(226, 130), logprob: -2 },
    ],
  })
  t.match(read({ message: { content: 'a' }, logprobs: chat }).tokens, [
    { bytes: bytes(97), logprob: -1 },
    { bytes: bytes(226), logprob: 0 },
  ])
  t.match(read({ text: 'a', logprobs: chat }).tokens, [{}, {}], 'the form of chats in a completion')
  t.equal(read({ message: { content: 'a', reasoning: 'hm' } }).isThinking, true)
  t.equal(read({ message: { content: '<think>hm' } }).isThinking, true)
  t.strictSame(read({ message: { content: null }, logprobs: null }), {
    text: '',
    isThinking: false,
  })
  const odd = [
    { tokens: ['a'], token_logprobs: [null] },
    { tokens: [], token_logprobs: [] },
    { content: [{ token: 1 }] },
    { content: [null] },
  ]
  for (const logprobs of odd)
    t.equal(read({ text: 'a', logprobs }).tokens, undefined, JSON.stringify(logprobs))
  for (const body of [undefined, 'text', {}, { choices: [] }, { choices: [{ text: 1 }] }])
    t.throws(() => readAnswer(body), { code: 'ENGINE_FAILED' }, JSON.stringify(body))
})

t.test('tokens are found by their bytes', async (t) => {
  const tiny = new TokenIds(await readGguf(tinyModelPath(), signal))
  t.equal(tiny.idOf(Buffer.from(' the')), tiny.idOf(Uint8Array.from(Buffer.from(' the'))))
  t.equal(tiny.idOf(Buffer.from('not a token')), undefined)
  t.equal(tiny.idOf(Buffer.from('<|im_end|>')), 260, 'control tokens by their name')
  t.equal(tiny.idOf(Uint8Array.of(0)), 3, 'lone bytes')
  t.ok(tiny.words.includes('capital'), 'words to begin a question with')
  const bpe = new TokenIds(parseGguf(ggufBytes(bpeMeta('gpt-2'))) ?? new Map())
  t.equal(bpe.idOf(Buffer.from(' the')), 258)
  t.equal(bpe.idOf(Buffer.from('ü')), 270)
  t.strictSame(bpe.words, ['the', 'wor', 'world', 'zzz'])
})
