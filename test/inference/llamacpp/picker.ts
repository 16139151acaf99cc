import type { Token } from 'node-llama-cpp'
import t from 'tap'
import { GrammarState } from '../../../src/inference/grammar-state.ts'
import { type Constraint, ExactPicker } from '../../../src/inference/llamacpp/picker.ts'
import { type PickSettings, uniform } from '../../../src/inference/llamacpp/sampling.ts'
import { type NextOutput, scaleOf, scoreOf } from '../../../src/inference/llamacpp/scores.ts'
import { Vocabulary } from '../../../src/inference/llamacpp/vocabulary.ts'
import { GREEDY_SETTINGS } from '../../support/tiny-model.ts'
import { json } from '../../support/vectors.ts'

/** Made by an independent program: what another implementation of icdf-v1 must give, too. */
interface Golden {
  readonly uniform: readonly { seed: string; position: number; value: number }[]
  readonly picks: readonly (Record<
    'temperature' | 'topK' | 'topP' | 'minP' | 'position',
    number
  > & {
    seed: string
    logits: [Token, number][]
    token: number
  })[]
}
const GOLDEN = json<Golden>('icdf.json')

const WORDS = ['', 'a', 'b', 'ab', '"', '{', '}', 'yes', 'no', 'z']
const END = 0
const vocabulary = new Vocabulary({
  kind: 'llama',
  tokens: [...WORDS, ...Array.from({ length: 90 }, (_, n) => `w${n}`)],
  types: [3, ...Array.from({ length: 99 }, () => 1)],
  text: () => '',
  isEnd: (token) => token === END,
})

function picker(
  settings: Partial<PickSettings> = {},
  prompt: number[] = [],
  held?: Constraint,
  tokensMax?: number,
) {
  const all = { ...GREEDY_SETTINGS, ...settings }
  return new ExactPicker({ vocabulary, constraint: held }, all, {
    prompt: prompt as Token[],
    ...(tokensMax === undefined ? {} : { tokensMax }),
  })
}

const next = (...logits: [number, number][]): NextOutput => ({
  token: (logits[0]?.[0] ?? 0) as Token,
  logits: new Map(logits as [Token, number][]),
  totalLogitWeight: 2,
})

/** How many of the likeliest are asked for, and which others. */
function asked(of: ExactPicker) {
  const { logits, totalLogitWeight } = of.ask(0)
  const filter = typeof logits === 'object' ? logits.filter : { tokens: [], includeTop: -1 }
  return { top: filter.includeTop, tokens: filter.tokens, weight: totalLogitWeight === true }
}

t.test('chance is the same as in the golden data', async (t) => {
  for (const { seed, position, value } of GOLDEN.uniform)
    t.equal(uniform(BigInt(seed), position), value, `${seed} ${position}`)
  t.ok(GOLDEN.uniform.every(({ value }) => value >= 0 && value < 1))
})

t.test('and so is what it picks', async (t) => {
  for (const [at, { logits, seed, position, token, ...settings }] of GOLDEN.picks.entries()) {
    const of = picker({ ...settings, seed: BigInt(seed) })
    of.ask(0)
    // As the engine gives them: likeliest first.
    logits.sort(([a, x], [b, y]) => y - x || a - b)
    t.equal(of.pick(position, next(...logits)).token, token, `pick ${at}`)
  }
})

t.test('equal logits: the lower token', async (t) => {
  const of = picker()
  of.ask(0)
  t.equal(of.pick(0, next([7, 3], [2, 3], [5, 3])).token, 2)
})

t.test('no more is asked of the engine than is needed', async (t) => {
  t.strictSame(asked(picker()), { top: 4, tokens: [], weight: false })
  t.strictSame(asked(picker({ topLogprobs: 0 })), { top: 0, tokens: [], weight: true })
  t.strictSame(asked(picker({ topLogprobs: 5 })), { top: 5, tokens: [], weight: true })
  t.strictSame(asked(picker({ temperature: 1, topK: 40 })), { top: 40, tokens: [], weight: false })
  t.strictSame(asked(picker({ temperature: 1 })), { top: 1024, tokens: [], weight: false })
  const raised = picker({
    logitBias: new Map([
      [3, 5],
      [4, -5],
      [5_000, 9],
    ]),
  })
  t.strictSame(asked(raised), { top: 6, tokens: [3], weight: true })
  const penalised = picker({ frequencyPenalty: 1 })
  penalised.ask(0)
  penalised.pick(0, next([7, 3]))
  t.strictSame(asked(penalised), { top: 5, tokens: [], weight: false }, 'one is behind another now')
})

t.test('bias and penalties', async (t) => {
  const logits: [number, number][] = [
    [1, 5],
    [2, 4.5],
    [3, 1],
  ]
  const first = (settings: Partial<PickSettings>, prompt: number[] = []) => {
    const of = picker(settings, prompt)
    const tokens: number[] = []
    for (const position of [0, 1, 2, 3]) {
      of.ask(0)
      tokens.push(of.pick(position, next(...logits)).token)
    }
    return tokens
  }
  t.strictSame(first({}), [1, 1, 1, 1])
  t.strictSame(first({ presencePenalty: 1 }), [1, 2, 1, 1], 'once is enough')
  t.strictSame(first({ frequencyPenalty: 1 }), [1, 2, 1, 2])
  t.strictSame(first({ repeatPenalty: 2 }, [1]), [2, 1, 1, 1], 'looks back at the prompt')
  t.strictSame(first({ presencePenalty: 1 }, [1]), [1, 2, 1, 1], 'these do not')
  t.strictSame(first({ logitBias: new Map([[3, 100]]) }), [3, 3, 3, 3])
  t.strictSame(
    first({
      logitBias: new Map([
        [1, -100],
        [2, -100],
      ]),
    }),
    [3, 3, 3, 3],
  )
  t.strictSame(first({ presencePenalty: -2, logitBias: new Map([[2, 1]]) }), [2, 2, 2, 2])
})

t.test('a score is of the model itself, before anything else', async (t) => {
  const of = picker({ topLogprobs: 2, logitBias: new Map([[3, 100]]) })
  of.ask(0)
  const { token, score } = of.pick(0, next([1, 5], [2, 4.5], [3, 1]))
  const scale = 5 + Math.log(2)
  t.equal(token, 3)
  t.strictSame(score, {
    token: 3,
    logprob: 1 - scale,
    top: [
      { token: 1, logprob: 5 - scale },
      { token: 2, logprob: 4.5 - scale },
    ],
  })
  const many = next([4, 1], [9, 2], [2, 2], [1, 3], [8, 0])
  const top = scoreOf(4 as Token, many, scaleOf(many), 4).top.map(({ token }) => Number(token))
  t.strictSame(top, [1, 2, 9, 4], 'likeliest first, of equals the lower')
})

t.test('a grammar decides which candidates there are', async (t) => {
  const write = (settings: Partial<PickSettings>, ...steps: [number, number][][]) => {
    const of = picker(settings, [], new GrammarState('root ::= "{" ("yes" | "no" | "ab") "}"'))
    return steps.map((logits, position) => {
      of.ask(0)
      return WORDS[of.pick(position, next(...logits)).token]
    })
  }
  const all: [number, number][] = WORDS.map((_, token) => [token, 10 - token])
  t.strictSame(write({}, all, all, all, all, all), ['{', 'a', 'b', '}', ''])
  t.strictSame(write({ temperature: 1, seed: 3n }, all, [[7, 1]], all, all), ['{', 'yes', '}', ''])
  t.strictSame(
    write({}, [[9, 1]], [[9, 1]], [[9, 1]], [[9, 1]]),
    ['{', 'a', 'b', '}'],
    'where nothing likely fits, the lowest byte that does',
  )
  t.strictSame(
    write({ topLogprobs: 0 }, [
      [5, 1],
      [9, 1],
    ]),
    ['{'],
  )
})

t.test('a score is there for what only the grammar wanted', async (t) => {
  const of = picker({ topLogprobs: 1 }, [], new GrammarState('root ::= "b"'))
  t.strictSame(asked(of), { top: 1024, tokens: [2], weight: true })
  t.match(of.pick(0, next([9, 5], [2, -3])), { token: 2, score: { top: [{ token: 9 }] } })
})

t.test('an engine that gives nothing is a fault of one answer', async (t) => {
  const failed = { code: 'ENGINE_FAILED', retryable: true }
  for (const answer of [{}, { logits: new Map() }, { token: 1 as Token }] as NextOutput[]) {
    const of = picker({ topLogprobs: 0 })
    of.ask(0)
    t.throws(() => of.pick(0, answer), failed)
  }
  const held = picker({}, [], { allows: () => false, advance: () => {}, canEnd: false, least: 1 })
  held.ask(0)
  t.throws(() => held.pick(0, next([1, 1])), failed)
})

t.test('what is held to a grammar ends by itself before its last token', async (t) => {
  const all: [number, number][] = WORDS.map((_, token) => [token, token === 1 ? 9 : 1])
  const write = (tokensMax: number, grammar: string) => {
    const of = picker({}, [], new GrammarState(grammar), tokensMax)
    const words: string[] = []
    for (let position = 0; position < tokensMax; position++) {
      of.ask(position)
      const { token } = of.pick(position, next(...all))
      words.push(WORDS[token] ?? '?')
      if (token === END) break
    }
    return [words.join(''), words.at(-1) === '', of.isCropped]
  }
  const list = 'root ::= "{" "a"* "b" "}"'
  t.strictSame(write(8, list), ['{aaaab}', true, true])
  t.strictSame(write(4, list), ['{b}', true, true], 'the least that there is')
  t.strictSame(write(3, list), ['{aa', false, false], 'less cannot end, so nothing is changed')
  t.strictSame(write(8, 'root ::= "{" "a" "}"'), ['{a}', true, false], 'nothing was cut')
})
