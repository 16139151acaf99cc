import t from 'tap'
import { InferenceError } from '../../../src/inference/errors.ts'
import type { ReadRules } from '../../../src/inference/read/chat.ts'
import { type CompletionAsked, readCompletion } from '../../../src/inference/read/completion.ts'
import { readDetokenize, readEmbedding, readTokenize } from '../../../src/inference/read/others.ts'
import type { JsonObject } from '../../../src/inference/request.ts'

const rules: ReadRules = { model: 'demo', strictModel: false, canStream: true, choicesMax: 8 }

function read(fields: JsonObject, more: Partial<ReadRules> = {}): CompletionAsked {
  return readCompletion({ model: 'x', prompt: 'a', ...fields }, { ...rules, ...more })
}

/** The field that the refusal names; undefined where nothing is refused. */
function paramOf(work: () => unknown): unknown {
  try {
    work()
    return undefined
  } catch (error) {
    if (!(error instanceof InferenceError) || error.code !== 'BAD_REQUEST') throw error
    return error.data['param']
  }
}

const BAD: readonly [fields: JsonObject, param: string][] = [
  [{ prompt: undefined }, 'prompt'],
  [{ prompt: null }, 'prompt'],
  [{ prompt: 1 }, 'prompt'],
  [{ prompt: {} }, 'prompt'],
  [{ prompt: [] }, 'prompt'],
  [{ prompt: [[]] }, 'prompt[0]'],
  [{ prompt: ['a', 1] }, 'prompt[1]'],
  [{ prompt: [null] }, 'prompt[0]'],
  [{ prompt: [1, -1] }, 'prompt[1]'],
  [{ prompt: [1.5] }, 'prompt[0]'],
  [{ prompt: [[1, 'a']] }, 'prompt[0][1]'],
  [{ prompt: Array(129).fill('a') }, 'prompt'],
  [{ prompt: Array(9).fill('a') }, 'prompt'],
  [{ max_tokens: 0 }, 'max_tokens'],
  [{ max_tokens: -1, echo: true }, 'max_tokens'],
  [{ max_tokens: 'x' }, 'max_tokens'],
  [{ logprobs: true }, 'logprobs'],
  [{ logprobs: 21 }, 'logprobs'],
  [{ logprobs: -1 }, 'logprobs'],
  [{ logprobs: 1.5 }, 'logprobs'],
  [{ echo: 1 }, 'echo'],
  [{ n: 9 }, 'n'],
  [{ n: 0 }, 'n'],
  [{ n: 5, prompt: ['a', 'b'] }, 'n'],
  [{ best_of: 1, n: 2 }, 'best_of'],
  [{ best_of: 9 }, 'best_of'],
  [{ best_of: 5, prompt: ['a', 'b'] }, 'best_of'],
  [{ best_of: 3, n: 2, stream: true }, 'best_of'],
  [{ suffix: 1 }, 'suffix'],
  [{ suffix: 'b', echo: true }, 'suffix'],
  [{ stop: ['a', 'b', 'c', 'd', 'e'] }, 'stop'],
  [{ seed: 'x' }, 'seed'],
  [{ temperature: 3 }, 'temperature'],
  [{ top_p: 0 }, 'top_p'],
  [{ stream: 'x' }, 'stream'],
  [{ response_format: { type: 'json_object' } }, 'response_format'],
  [{ prompt_logprobs: 1 }, 'prompt_logprobs'],
  [{ model: 5 }, 'model'],
]

t.test('every fault of a completion names its field', async (t) => {
  for (const [fields, param] of BAD)
    t.equal(
      paramOf(() => read(fields)),
      param,
      JSON.stringify(fields),
    )
  t.equal(
    paramOf(() => read({ stream: true }, { canStream: false })),
    'stream',
  )
})

t.test('prompts in each of their forms', async (t) => {
  const prompts = (prompt: unknown) => read({ prompt }).requests.map((one) => one.prompt)
  t.strictSame(prompts('a'), ['a'])
  t.strictSame(prompts(''), [''], 'an empty text is a prompt')
  t.strictSame(prompts(['a', 'b']), ['a', 'b'])
  t.strictSame(prompts([1, 2]), [[1, 2]])
  t.strictSame(prompts([[1], [2, 3]]), [[1], [2, 3]])
  t.strictSame(prompts(['a', [1]]), ['a', [1]])
})

t.test('what graders send', async (t) => {
  const identity = read({ prompt: 'lorem ', max_tokens: 100, seed: 0, temperature: 0.0 })
  t.hasStrict(identity.requests[0], { maxTokens: 100, seed: 0n, temperature: 0, echo: false })
  const scoring = read({ prompt: [5, 6], temperature: 0, max_tokens: 1, logprobs: 1, echo: true })
  t.hasStrict(scoring.requests[0], { echo: true, topLogprobs: 1, maxTokens: 1 })
  t.equal(read({ max_tokens: 0, echo: true }).requests[0]?.maxTokens, 0)
})

t.test('tokens, choices and scores', async (t) => {
  t.equal(read({}).requests[0]?.maxTokens, 16, 'as the API says where nothing is said')
  t.equal(read({ max_tokens: null }).requests[0]?.maxTokens, 16)
  t.equal(read({ max_tokens: 500 }, { answerTokensMax: 40 }).requests[0]?.maxTokens, 40)
  t.hasStrict(read({ n: 2 }), { n: 2, bestOf: 2, showScores: false })
  const best = read({ n: 1, best_of: 4 })
  t.hasStrict(best, { n: 1, bestOf: 4, showScores: false })
  t.equal(best.requests[0]?.topLogprobs, 0, 'the best one is told by its scores')
  t.equal(read({ best_of: 4, logprobs: 2 }).showScores, true)
  t.equal(read({ suffix: '' }).requests[0]?.suffix, undefined)
  t.equal(read({ suffix: 'end' }).requests[0]?.suffix, 'end')
})

t.test('embeddings', async (t) => {
  const embed = (fields: JsonObject) => readEmbedding({ input: 'a', ...fields }, rules)
  t.strictSame(embed({}).request, { inputs: ['a'] })
  t.equal(embed({}).encoding, 'float')
  t.hasStrict(embed({ dimensions: 8, encoding_format: 'base64' }), {
    encoding: 'base64',
    request: { dimensions: 8 },
  })
  t.strictSame(embed({ input: [[1, 2], [3]] }).request.inputs, [[1, 2], [3]])
  for (const [fields, param] of [
    [{ input: '' }, 'input'],
    [{ input: ['a', ''] }, 'input[1]'],
    [{ input: undefined }, 'input'],
    [{ input: [] }, 'input'],
    [{ input: [{}] }, 'input[0]'],
    [{ dimensions: 0 }, 'dimensions'],
    [{ dimensions: 'x' }, 'dimensions'],
    [{ encoding_format: 'hex' }, 'encoding_format'],
  ] as const)
    t.equal(
      paramOf(() => embed(fields)),
      param,
      JSON.stringify(fields),
    )
})

t.test('tokenize and detokenize, by the names of both servers', async (t) => {
  t.strictSame(readTokenize({ prompt: 'a' }, rules), {
    kind: 'tokenize',
    of: 'a',
    addSpecial: true,
  })
  t.equal(readTokenize({ content: 'a' }, rules).addSpecial, false)
  t.equal(readTokenize({ prompt: 'a', add_special_tokens: false }, rules).addSpecial, false)
  t.strictSame(readTokenize({ messages: [{ role: 'user', content: 'a' }] }, rules).of, [
    { role: 'user', content: 'a' },
  ])
  t.equal(
    paramOf(() => readTokenize({}, rules)),
    'prompt',
  )
  t.equal(
    paramOf(() => readTokenize({ prompt: 1 }, rules)),
    'prompt',
  )
  t.strictSame(readDetokenize({ tokens: [1, 2] }, rules).tokens, [1, 2])
  t.strictSame(readDetokenize({ tokens: [] }, rules).tokens, [])
  for (const tokens of [undefined, 'a', {}])
    t.equal(
      paramOf(() => readDetokenize({ tokens }, rules)),
      'tokens',
    )
  t.equal(
    paramOf(() => readDetokenize({ tokens: [1, 'a'] }, rules)),
    'tokens[1]',
  )
})
