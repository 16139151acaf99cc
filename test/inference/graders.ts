import t, { type Test } from 'tap'
import { hex, sha256, utf8 } from '../../src/base/bytes.ts'
import { LLAMACPP_DEFAULTS } from '../../src/inference/llamacpp/options.ts'
import { EchoBackend } from '../support/echo-backend.ts'
import { llamaCpp } from '../support/llamacpp.ts'
import { ask, localServer } from '../support/local-server.ts'
import { ChatCompletion, ErrorObject, TextCompletion } from '../support/openai-schema.ts'

const MODEL = 'pocket_network'
const LOREM = [
  'dolor sit amet consectetur adipiscing elit sed do eiusmod tempor ',
  'ut labore et dolore magna aliqua enim ad minim veniam ',
  'quis nostrud exercitation ullamco laboris nisi ut aliquip ex ea ',
  'duis aute irure dolor in reprehenderit in voluptate velit esse ',
  'excepteur sint occaecat cupidatat non proident sunt in culpa qui ',
]

/** The engine's own sampling is hot, so that what counts as unset shows. */
async function engine(t: Test) {
  t.testdir()
  const backend = llamaCpp(t, {
    entry: LLAMACPP_DEFAULTS.entry,
    contextSize: 512,
    slots: 8,
    defaults: { temperature: 4, topP: 1, topK: 0, minP: 0 },
  })
  const tokenizer = { tokenizer: { a: 1 }, tokenizer_config: { model_max_length: 1e30 } }
  const { url } = await localServer(t, [
    { serviceId: 'llm', backend, model: 'org/public', tokenizer: () => tokenizer },
  ])
  return {
    text: async (path: string, body?: unknown) => {
      const { status, text } = await ask(url + path, body === undefined ? {} : { body })
      t.equal(status, 200, `${path}: ${status === 200 ? '' : text}`)
      return text
    },
  }
}

const { text } = await engine(t)
const completion = async (body: object) =>
  TextCompletion.parse(JSON.parse(await text('/v1/completions', { model: MODEL, ...body })))
const chat = async (body: object) =>
  ChatCompletion.parse(JSON.parse(await text('/v1/chat/completions', { model: MODEL, ...body })))

/** As they are sent: a list of turns, at times with a type that is not of the API. */
const turns = (content: string) => [{ role: 'user', content, type: 'text' }]

t.test('the identity test: the same five texts, alone, again and under load', async (t) => {
  const identity = async (prompt: string, seed: number) => {
    const { choices } = await completion({ prompt, max_tokens: 100, seed, temperature: 0.0 })
    return choices[0]?.text ?? ''
  }
  const signature = (texts: string[]) => texts.map((text) => hex(sha256(utf8(text))))
  const alone: string[] = []
  for (const [seed, prompt] of LOREM.entries()) alone.push(await identity(prompt, seed))
  t.ok(
    alone.every((text) => text.length > 0),
    'an empty text counts as no answer',
  )
  const [again, ...load] = await Promise.all([
    Promise.all(LOREM.map(identity)),
    ...Array.from({ length: 6 }, (_, seed) => chat({ messages: turns('Who are you?'), seed })),
  ])
  t.strictSame(signature(again), signature(alone), 'under load')
  t.equal(load.length, 6)
  t.strictSame(
    signature(await Promise.all(LOREM.map((lorem) => identity(lorem, 9)))),
    signature(alone),
    'whatever the seed',
  )
  const hot = await completion({ prompt: LOREM[0], max_tokens: 100, seed: 0 })
  t.not(hot.choices[0]?.text, alone[0], 'zero is a temperature, not its absence')
})

t.test('a text that the model ends has a score for its last token, too', async (t) => {
  const { tokens } = JSON.parse(await text('/tokenize', { messages: turns('What is 17 + 25?') }))
  const body = { prompt: tokens, max_tokens: 100, temperature: 0, echo: true, logprobs: 2 }
  const { choices, usage } = await completion(body)
  const [choice] = choices
  t.equal(choice?.finish_reason, 'stop')
  t.equal(choice?.logprobs?.tokens.length, usage.prompt_tokens + usage.completion_tokens)
  t.equal(choice?.logprobs?.tokens.at(-1), '', 'which is not shown')
  t.ok(Number(choice?.logprobs?.token_logprobs.at(-1)) < 0)
  t.equal(choice?.logprobs?.text_offset.at(-1), choice?.text.length)
})

t.test('a chat as graders send it', async (t) => {
  const body = { messages: turns('What is 17 + 25?'), max_completion_tokens: 8_192, stop: null }
  const [a, b, c] = [
    await chat({ ...body, seed: 1234 }),
    await chat({ ...body, seed: 1234 }),
    await chat({ ...body, seed: 0 }),
  ]
  const contentOf = ({ choices }: typeof a) => choices[0]?.message.content
  t.equal(contentOf(a), contentOf(b), 'the same seed')
  t.equal(contentOf(c), contentOf(await chat({ ...body, seed: 0 })), 'zero is a seed')
  t.not(contentOf(a), contentOf(c), 'another seed')
  t.not(contentOf(c), contentOf(await chat(body)), 'none at all')
  t.equal(a.system_fingerprint, c.system_fingerprint)
  t.equal(a.model, 'org/public', 'the public name, whatever was asked for')
  const cold = { ...body, temperature: 0 }
  const full = contentOf(await chat(cold)) ?? ''
  const cut = await chat({ ...cold, stop: [' = ', 'x', 'y', 'z'] })
  t.equal(contentOf(cut), full.slice(0, full.indexOf(' = ')), 'without the stop itself')
  t.equal(cut.choices[0]?.finish_reason, 'stop')
  for (const limits of [{ max_tokens: 3 }, { max_tokens: 9, max_completion_tokens: 3 }]) {
    const short = await chat({ ...cold, ...limits })
    t.equal(short.choices[0]?.finish_reason, 'length')
    t.equal(short.usage.completion_tokens, 3)
  }
  const parameters = { type: 'object', properties: { a: { type: 'integer' } }, required: ['a'] }
  const tools = [{ type: 'function', function: { name: 'add', parameters } }]
  const auto = await chat({ ...cold, tools, tool_choice: 'auto' })
  t.type(auto.choices[0]?.message.content ?? '', 'string')
})

t.test('every body is one that validators take', async (t) => {
  const bodies = [
    await text('/v1/chat/completions', { messages: turns('Hello!'), temperature: 0 }),
    await text('/v1/completions', { prompt: LOREM[0], max_tokens: 5 }),
    await text('/v1/completions', { prompt: 'a', max_tokens: 1, echo: true, logprobs: 1 }),
  ]
  for (const body of bodies) {
    const keys = Object.keys(JSON.parse(body))
    t.strictSame(keys.slice(0, 6), [
      'id',
      'object',
      'created',
      'model',
      'system_fingerprint',
      'usage',
    ])
    t.equal(keys.at(-1), 'choices')
    t.notMatch(body, /"(tool_calls|error|usage)":null/)
    t.ok(Buffer.from(body).indexOf('"choices"') >= 512, 'the text is beyond what gateways search')
  }
  for (const path of ['/v1/models', '/v1/models/org/public', '/pokt/config', '/pokt/config-hash'])
    t.ok((await text(path)).length >= 100, path)
  const { tokenizer_config: config, tokenizer } = JSON.parse(await text('/pokt/tokenizer'))
  t.strictSame([config.model_max_length, tokenizer], ['512', { a: 1 }], 'an integer, as text')
  const { config: hf, ...flat } = JSON.parse(await text('/pokt/config'))
  t.strictSame(hf, {
    model_name: 'org/public',
    max_position_embeddings: 512,
    pokt_network_custom: true,
  })
  t.hasStrict(flat, {
    model_public_name: 'org/public',
    max_position_embeddings: '512',
    max_tokens: '512',
  })
})

t.test('log-likelihood', async (t) => {
  const score = { temperature: 0, max_tokens: 1, logprobs: 1, seed: 1234, echo: true }
  const ids = async (content: string): Promise<number[]> =>
    JSON.parse(await text('/tokenize', { content })).tokens
  const words = async (tokens: readonly number[]): Promise<string> =>
    JSON.parse(await text('/detokenize', { tokens })).content
  const likelihood = (
    choice: (typeof TextCompletion)['_output']['choices'][number] | undefined,
    context: number,
  ) => {
    const { token_logprobs: scores = [], top_logprobs: top } = choice?.logprobs ?? {}
    const part = scores.slice(context, -1)
    const isGreedy = part.every(
      (score, at) => score === Math.max(...Object.values(top?.[context + at] ?? {})),
    )
    return {
      sum: part.reduce<number>((sum, score) => sum + (score ?? Number.NaN), 0),
      isGreedy,
      scores: part,
    }
  }
  const context = LOREM[0] ?? ''
  const right = 'ut labore'
  const [whole, short] = [await ids(context + right), await ids(context)]
  t.equal(await words(whole), context + right, 'tokens and back')

  await t.test('of token ids, alone and in a list', async (t) => {
    const { choices, usage } = await completion({ ...score, prompt: whole })
    const {
      tokens = [],
      token_logprobs: scores = [],
      top_logprobs: top = [],
    } = choices[0]?.logprobs ?? {}
    t.equal(tokens.length, whole.length + 1, 'no hidden first token, and one that was generated')
    t.strictSame([scores.length, top?.length], [tokens.length, tokens.length])
    t.strictSame([scores[0], top?.[0]], [null, null])
    t.ok(scores.slice(1).every((score) => score !== null && score <= 0))
    t.hasStrict(usage, { prompt_tokens: whole.length, completion_tokens: 1 })
    t.ok(choices[0]?.text.startsWith(context + right))
    const list = await completion({ ...score, prompt: [whole, short] })
    t.strictSame(
      list.choices.map(({ index }) => index),
      [0, 1],
    )
    const near = likelihood(list.choices[0], short.length)
    t.ok(Math.abs(near.sum - likelihood(choices[0], short.length).sum) < 1e-3, 'the same in a list')
    t.ok(Number.isFinite(near.sum))
  })

  await t.test('what is said is likelier than what is not, and the best is greedy', async (t) => {
    const asked = await completion({ prompt: short, max_tokens: 5, temperature: 0, logprobs: 1 })
    const said = (await ids(asked.choices[0]?.text ?? '')).slice(0, 4)
    const sums: number[] = []
    for (const continuation of [said, [...said].reverse()]) {
      const { choices } = await completion({ ...score, prompt: [...short, ...continuation] })
      const { sum, isGreedy, scores } = likelihood(choices[0], short.length)
      sums.push(sum)
      t.equal(scores.length, continuation.length)
      t.equal(isGreedy, continuation === said)
      if (continuation !== said) continue
      const given = asked.choices[0]?.logprobs?.token_logprobs ?? []
      const isNear = (one: number | null, at: number) =>
        Math.abs((one ?? 1) - (scores[at] ?? -99)) < 1e-3
      t.equal(given.length, 5)
      t.ok(given.slice(0, 4).every(isNear), 'as they were when it was said')
    }
    t.ok((sums[0] ?? 0) > (sums[1] ?? 0))
  })

  await t.test('of a text, without anything generated', async (t) => {
    const { choices, usage } = await completion({
      ...score,
      prompt: context + right,
      max_tokens: 0,
    })
    t.equal(choices[0]?.text, context + right)
    t.equal(usage.completion_tokens, 0)
    t.equal(choices[0]?.logprobs?.tokens.join(''), context + right)
    t.strictSame(choices[0]?.logprobs?.token_logprobs[0], null)
  })
})

t.test('what gateways punish does not stand where they look', async (t) => {
  const backend = new EchoBackend({ slots: 1, contextSize: 99 })
  const { url, inference } = await localServer(
    t,
    [{ serviceId: 'llm', backend, showManifest: false }],
    {
      pool: { queueMax: 0 },
    },
  )
  const words = [
    'supplier',
    'certificate',
    'rate limit',
    'forbidden',
    'unauthorized',
    'is pruned',
    '502 bad gateway',
    '"error"',
  ]
  const said = words.join(' ')
  for (const [path, body] of [
    ['/v1/chat/completions', { messages: turns(said), reasoning_effort: 'high' }],
    ['/v1/completions', { prompt: said, max_tokens: 90 }],
    ['/v1/responses', { input: said }],
  ] as const) {
    const { text } = await ask(url + path, { body })
    const [head, rest] = [text.slice(0, 512).toLowerCase(), text.slice(512)]
    for (const word of words) t.notOk(head.includes(word), `${path}: ${word}`)
    t.match(rest, /rate limit forbidden/, path)
  }
  const thought = await ask(`${url}/v1/chat/completions`, {
    body: { messages: turns('a'), reasoning_effort: 'high' },
  })
  const { message } = JSON.parse(thought.text).choices[0]
  t.equal(message.reasoning, 'I was told something.')
  t.equal(message.reasoning_content, message.reasoning, 'by both names')
  await inference.pause({ cancel: true })
  const refused = await ask(`${url}/v1/completions`, { body: { prompt: 'a' } })
  t.equal(refused.status, 429, 'a refusal is never a 5xx')
  ErrorObject.parse(JSON.parse(refused.text))
})
