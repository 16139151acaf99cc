import t from 'tap'
import type { GenerationRequest } from '../../../src/inference/request.ts'
import { EXTENSIONS, type Extension } from '../../../src/inference/upstream/options.ts'
import { type Dialect, requestBody, seedNumber } from '../../../src/inference/upstream/requests.ts'
import { ask, complete } from '../../contract/backend-asks.ts'

const DIALECT: Dialect = {
  model: 'their-name',
  stream: true,
  maxTokensField: 'max_tokens',
  extensions: [],
  contextSize: 100,
}

/** As it is on the wire. */
const sent = (request: GenerationRequest, dialect: Partial<Dialect> = {}) =>
  JSON.parse(JSON.stringify(requestBody(request, { ...DIALECT, ...dialect }))) as Record<
    string,
    unknown
  >

function thrownBy(work: () => unknown): unknown {
  try {
    return work()
  } catch (error) {
    return error
  }
}

const STREAM = { stream: true, stream_options: { include_usage: true } }

t.test('a request that asks for little is short', (t) => {
  const { temperature: _, maxTokens: __, ...bare } = ask('hello')
  t.strictSame(sent(bare), {
    model: 'their-name',
    messages: [{ role: 'user', content: 'hello' }],
    ...STREAM,
  })
  t.strictSame(sent(bare, { stream: false }), {
    model: 'their-name',
    messages: [{ role: 'user', content: 'hello' }],
    stream: false,
  })
  t.end()
})

t.test('a chat with everything', (t) => {
  const request = ask('hello', {
    temperature: 0,
    topP: 0.5,
    topK: 0,
    minP: 0.1,
    presencePenalty: 1,
    frequencyPenalty: -1,
    repeatPenalty: 1.1,
    logitBias: new Map([[7, -100]]),
    seed: 7n,
    stop: ['a'],
    topLogprobs: 2,
    maxTokens: 20,
    tools: [{ name: 'f', description: 'd', parameters: { type: 'object' } }, { name: 'g' }],
    toolChoice: { name: 'f' },
    parallelToolCalls: false,
    format: { kind: 'schema', name: 's', schema: { type: 'object' } },
    thinking: { enabled: true, tokensMax: 64 },
    messages: [
      { role: 'system', content: 's' },
      { role: 'user', content: 'u' },
      {
        role: 'assistant',
        content: '',
        reasoning: 'r',
        toolCalls: [{ id: 'c', name: 'f', arguments: '{"a":1}' }],
      },
      { role: 'tool', content: 't', toolCallId: 'c', name: 'f' },
    ],
  })
  t.strictSame(sent(request, { extensions: EXTENSIONS, maxTokensField: 'max_completion_tokens' }), {
    model: 'their-name',
    messages: [
      { role: 'system', content: 's' },
      { role: 'user', content: 'u' },
      {
        role: 'assistant',
        content: null,
        tool_calls: [{ id: 'c', type: 'function', function: { name: 'f', arguments: '{"a":1}' } }],
        reasoning_content: 'r',
      },
      { role: 'tool', content: 't', tool_call_id: 'c' },
    ],
    tools: [
      {
        type: 'function',
        function: { name: 'f', description: 'd', parameters: { type: 'object' } },
      },
      { type: 'function', function: { name: 'g', parameters: { type: 'object', properties: {} } } },
    ],
    tool_choice: { type: 'function', function: { name: 'f' } },
    parallel_tool_calls: false,
    response_format: {
      type: 'json_schema',
      json_schema: { name: 's', schema: { type: 'object' }, strict: true },
    },
    logprobs: true,
    top_logprobs: 2,
    chat_template_kwargs: { enable_thinking: true },
    reasoning_effort: 'low',
    thinking_budget: 64,
    max_completion_tokens: 20,
    temperature: 0,
    top_p: 0.5,
    presence_penalty: 1,
    frequency_penalty: -1,
    logit_bias: { 7: -100 },
    seed: 7,
    stop: ['a'],
    top_k: -1,
    min_p: 0.1,
    repeat_penalty: 1.1,
    ...STREAM,
  })
  t.end()
})

t.test('a completion', (t) => {
  const request = complete([1, 2], { echo: true, topLogprobs: 3, maxTokens: 0, suffix: 'z' })
  t.strictSame(sent(request, { maxTokensField: 'max_completion_tokens' }), {
    model: 'their-name',
    prompt: [1, 2],
    suffix: 'z',
    echo: true,
    logprobs: 3,
    max_tokens: 0,
    temperature: 0,
    ...STREAM,
  })
  t.end()
})

t.test('tools that may not be called are not shown', (t) => {
  const body = sent(ask('a', { tools: [{ name: 'f' }], toolChoice: 'none' }))
  t.notOk('tools' in body)
  t.notOk('tool_choice' in body)
  t.end()
})

t.test('a wish for as many tokens as the context holds', (t) => {
  t.notOk('max_tokens' in sent(ask('a', { maxTokens: 100 })), 'a chat gets what fits')
  t.equal(sent(complete('a', { maxTokens: 500 }))['max_tokens'], 100, 'a completion would get 16')
  t.end()
})

t.test(
  'a field that the servers do not know is refused by name, unless it asks for nothing',
  (t) => {
    const rows: [more: Parameters<typeof ask>[1], param: string][] = [
      [{ topK: 5 }, 'top_k'],
      [{ minP: 0.1 }, 'min_p'],
      [{ repeatPenalty: 1.2 }, 'repeat_penalty'],
    ]
    for (const [more, param] of rows)
      t.match(
        thrownBy(() => sent(ask('a', more))),
        {
          code: 'BAD_REQUEST',
          data: { param, reason: 'unsupported_parameter' },
        },
      )
    const neutral = sent(ask('a', { topK: 0, minP: 0, repeatPenalty: 1 }))
    t.strictSame(
      Object.keys(neutral).filter((name) => /top_k|min_p|repeat/.test(name)),
      [],
    )
    const extensions: Extension[] = ['repetition_penalty']
    t.equal(sent(ask('a', { repeatPenalty: 1.2 }), { extensions })['repetition_penalty'], 1.2)
    t.end()
  },
)

t.test('seeds of 64 bits fit into what every server takes', (t) => {
  for (const seed of [0n, 1n, 7n, 2n ** 31n - 1n]) t.equal(seedNumber(seed), Number(seed))
  const large = [2n ** 31n, 2n ** 32n - 1n, 2n ** 63n, 2n ** 64n - 1n, 0x1234_5678_9abc_def0n]
  const folded = large.map(seedNumber)
  t.ok(folded.every((seed) => Number.isInteger(seed) && seed >= 0 && seed < 2 ** 31))
  t.equal(new Set(folded).size, large.length)
  t.end()
})
