/** What a backend promises with each of its features; what it lacks is not asked of it. */
import type { Test } from 'tap'
import { concat } from '../../src/base/bytes.ts'
import type { InferenceBackend } from '../../src/inference/backend.ts'
import type { Delta, Features, Generation, TokenScore } from '../../src/inference/request.ts'
import { ask, codeOf, complete, never, type Suite } from './backend-asks.ts'

type Check = (t: Test, suite: Suite, backend: InferenceBackend) => Promise<void>

export async function featureContract(
  t: Test,
  name: string,
  suite: Suite,
  backend: InferenceBackend,
): Promise<void> {
  for (const [feature, check] of Object.entries(CHECKS) as [keyof Features, Check][])
    if (backend.info().features[feature])
      await t.test(`${name}: ${feature}`, (t) => check(t, suite, backend))
}

const WEATHER = {
  name: 'get_weather',
  description: 'The weather of a city.',
  parameters: {
    type: 'object',
    properties: { city: { type: 'string', maxLength: 8 }, days: { type: 'integer' } },
    required: ['city', 'days'],
    additionalProperties: false,
  },
}
const CLOCK = { name: 'get_time' }

const CHECKS: Partial<Record<keyof Features, Check>> = {
  logprobs: async (t, suite, backend) => {
    const { chat, completions } = backend.info().features
    const wishes = { topLogprobs: 3 }
    const requests = [
      ...(chat ? [ask(suite.prompt, wishes), ask(`${suite.prompt} 😀 end`, wishes)] : []),
      ...(completions ? [complete(suite.prompt, wishes)] : []),
    ]
    for (const request of requests) {
      const deltas: Delta[] = []
      const onDelta = (delta: Delta) => deltas.push(delta)
      const answer = await backend.generate(request, { signal: never(), onDelta })
      checkScores(t, answer, 3)
      const streamed = deltas.flatMap(({ scores = [] }) => scores)
      t.strictSame(streamed, answer.scores, `${request.kind}: the pieces have them all`)
      if (!suite.repeatable) continue
      const again = await backend.generate(request, { signal: never() })
      t.strictSame(again.scores, answer.scores, `${request.kind}: the same again`)
    }
    const none = await backend.generate(ask(suite.prompt, { topLogprobs: 0 }), { signal: never() })
    t.ok((none.scores ?? []).length > 0, 'of the chosen tokens only')
    t.ok((none.scores ?? []).every(({ top }) => top.length === 0))
  },

  echo: async (t, suite, backend) => {
    const { logprobs } = backend.info().features
    const score = logprobs ? { topLogprobs: 1 } : {}
    const plain = complete(suite.prompt, { maxTokens: 6, ...score })
    const answer = await backend.generate(plain, { signal: never() })
    const echoed = await backend.generate({ ...plain, echo: true }, { signal: never() })
    t.equal(echoed.text, suite.prompt + answer.text)
    const whole = complete(echoed.text, { maxTokens: 0, echo: true, ...score })
    const scored = await backend.generate(whole, { signal: never() })
    t.equal(scored.text, echoed.text)
    t.equal(scored.finishReason, 'length')
    if (!logprobs) return
    t.equal(scored.scores?.[0]?.logprob, null, 'nothing comes before the first token')
    checkScores(t, scored, 1)
    const made = (answer.scores ?? []).map(({ text }) => text)
    const tail = (scored.scores ?? []).slice(-made.length)
    if (tail.map(({ text }) => text).join('|') !== made.join('|')) return
    for (const [at, { logprob }] of tail.entries()) {
      const difference = (logprob ?? 0) - (answer.scores?.[at]?.logprob ?? 0)
      t.ok(Math.abs(difference) < 0.01, `token ${at} scores as when it was written`)
    }
  },

  tokenPrompts: async (t, suite, backend) => {
    if (!backend.info().features.tokenize) return
    const tokens = await backend.tokenize(suite.prompt, true, { signal: never() })
    const byTokens = await backend.generate(complete(tokens), { signal: never() })
    const byText = await backend.generate(complete(suite.prompt), { signal: never() })
    t.equal(byTokens.text, byText.text)
    t.equal(byTokens.usage.promptTokens, tokens.length)
    const absent = complete([2 ** 31 - 1])
    t.equal(await codeOf(backend.generate(absent, { signal: never() })), 'BAD_REQUEST')
  },

  logitBias: async (t, suite, backend) => {
    const { completions, tokenize } = backend.info().features
    if (!completions || !tokenize) return
    const plain = complete(suite.prompt)
    const { text } = await backend.generate(plain, { signal: never() })
    const tokens = await backend.tokenize(text, false, { signal: never() })
    const logitBias = new Map(tokens.map((token) => [token, -100]))
    const other = await backend.generate({ ...plain, logitBias }, { signal: never() })
    t.not(other.text, text, 'tokens that are banned do not come')
  },

  tools: async (t, suite, backend) => {
    const request = ask(suite.prompt, {
      tools: [WEATHER, CLOCK],
      toolChoice: 'auto',
      maxTokens: 200,
    })
    const answer = await backend.generate(request, { signal: never() })
    checkCalls(t, answer, [WEATHER.name, CLOCK.name])
    const call = { id: 'call_1', name: CLOCK.name, arguments: '{}' }
    const messages = [
      { role: 'user', content: 'What time is it?' },
      { role: 'assistant', content: '', toolCalls: [call] },
      { role: 'tool', content: '12:00', toolCallId: 'call_1', name: CLOCK.name },
    ] as const
    const after = await backend.generate(
      { ...request, messages, maxTokens: 24 },
      {
        signal: never(),
      },
    )
    t.ok(after.usage.promptTokens > 0, 'a result is taken')
  },

  forcedTools: async (t, suite, backend) => {
    for (const toolChoice of ['required', { name: WEATHER.name }] as const)
      for (const temperature of [0, 1.5]) {
        const tools = [WEATHER, CLOCK]
        const wishes = { tools, toolChoice, temperature, seed: 5n, maxTokens: 200 }
        const deltas: Delta[] = []
        const answer = await backend.generate(ask(suite.prompt, wishes), {
          signal: never(),
          onDelta: (delta) => deltas.push(delta),
        })
        t.equal(answer.finishReason, 'tool_calls')
        t.ok(answer.toolCalls.length > 0, 'it calls')
        checkCalls(
          t,
          answer,
          toolChoice === 'required' ? ['get_weather', 'get_time'] : ['get_weather'],
        )
        const called = deltas.flatMap(({ toolCall }) => (toolCall === undefined ? [] : [toolCall]))
        t.strictSame(called, answer.toolCalls, 'the pieces have every call')
      }
  },

  jsonObject: async (t, suite, backend) => {
    const request = ask(suite.prompt, { format: { kind: 'json' }, maxTokens: 120 })
    const answer = await backend.generate(request, { signal: never() })
    if (answer.finishReason === 'stop') t.type(JSON.parse(answer.text), 'object')
    else t.match(answer.text, /^\s*\{/)
  },

  jsonSchema: async (t, suite, backend) => {
    const schema = {
      type: 'object',
      properties: { word: { enum: ['yes', 'no'] }, count: { type: 'boolean' } },
      required: ['word', 'count'],
      additionalProperties: false,
    }
    const request = ask(suite.prompt, {
      format: { kind: 'schema', name: 'answer', schema },
      maxTokens: 120,
    })
    const answer = await backend.generate(request, { signal: never() })
    t.equal(answer.finishReason, 'stop')
    const value = JSON.parse(answer.text) as Record<string, unknown>
    t.strictSame(Object.keys(value).sort(), ['count', 'word'])
    t.ok(['yes', 'no'].includes(String(value['word'])))
    t.type(value['count'], 'boolean')
  },

  embeddings: async (t, suite, backend) => {
    const embed = async (...inputs: string[]) =>
      await backend.embed({ inputs }, { signal: never() })
    const alone = await embed(suite.prompt)
    const [vector] = alone.vectors
    t.ok(alone.promptTokens > 0)
    t.ok(Math.abs(Math.hypot(...(vector ?? [])) - 1) < 1e-4, 'of length 1')
    t.strictSame((await embed(suite.prompt)).vectors[0], vector, 'the same again')
    const batch = await embed('something else', suite.prompt, 'more')
    t.equal(batch.vectors.length, 3)
    t.strictSame(batch.vectors[1], vector, 'the same in a batch')
    t.notSame(batch.vectors[0], vector)
    const short = await backend.embed(
      { inputs: [suite.prompt], dimensions: 2 },
      { signal: never() },
    )
    t.equal(short.vectors[0]?.length, 2)
    t.ok(Math.abs(Math.hypot(...(short.vectors[0] ?? [])) - 1) < 1e-4, 'cut and of length 1')
  },

  tokenize: async (t, suite, backend) => {
    for (const text of [suite.prompt, 'naïve 😀 text', ' two  spaces\n']) {
      const tokens = await backend.tokenize(text, false, { signal: never() })
      t.ok(tokens.length > 0)
      t.equal(await backend.detokenize(tokens, { signal: never() }), text)
    }
    const messages = [{ role: 'user' as const, content: suite.prompt }]
    const chat = await backend.tokenize(messages, true, { signal: never() })
    const plain = await backend.tokenize(suite.prompt, false, { signal: never() })
    t.ok(chat.length >= plain.length, 'a conversation as the template writes it')
    const absent = backend.detokenize([2 ** 31 - 1], { signal: never() })
    t.equal(await codeOf(absent), 'BAD_REQUEST')
  },

  thinking: async (t, suite, backend) => {
    const request = ask(suite.prompt, { thinking: { enabled: true }, maxTokens: 100 })
    const deltas: Delta[] = []
    const onDelta = (delta: Delta) => deltas.push(delta)
    const answer = await backend.generate(request, { signal: never(), onDelta })
    const streamed = deltas.map(({ reasoning = '' }) => reasoning).join('')
    t.equal(streamed, answer.reasoning ?? '', 'thoughts come apart from the text')
    const off = await backend.generate(ask(suite.prompt, { thinking: { enabled: false } }), {
      signal: never(),
    })
    t.equal(off.reasoning ?? '', '', 'and not at all where they are not wanted')
  },
}

function checkScores(t: Test, answer: Generation, most: number): void {
  const scores = answer.scores ?? []
  t.ok(scores.length > 0, 'there are scores')
  const joined = new TextDecoder().decode(concat(...scores.map(({ bytes }) => bytes)))
  t.equal(joined, answer.text, 'their bytes are the text')
  t.ok(scores.every(isLikely), 'none is above 0')
  for (const { top } of scores) {
    t.ok(top.length <= most)
    const sorted = [...top].sort((a, b) => b.logprob - a.logprob)
    t.strictSame(top, sorted, 'the best comes first')
  }
}

function isLikely({ logprob, top }: TokenScore): boolean {
  return [logprob ?? 0, ...top.map((other) => other.logprob)].every((value) => value <= 0)
}

function checkCalls(t: Test, answer: Generation, names: readonly string[]): void {
  for (const { id, name, arguments: text } of answer.toolCalls) {
    t.match(id, /^\S+$/)
    t.ok(names.includes(name), name)
    t.type(JSON.parse(text), 'object', 'arguments are an object')
  }
  t.equal(new Set(answer.toolCalls.map(({ id }) => id)).size, answer.toolCalls.length)
}
