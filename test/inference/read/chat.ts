import fc from 'fast-check'
import t from 'tap'
import { InferenceError } from '../../../src/inference/errors.ts'
import { type ChatAsked, type ReadRules, readChat } from '../../../src/inference/read/chat.ts'
import type { ChatRequest } from '../../../src/inference/request.ts'
import { errorObject, errorStatus } from '../../../src/inference/write/error.ts'

const rules: ReadRules = { model: 'demo', strictModel: false, canStream: false, choicesMax: 8 }
const messages = [{ role: 'user', content: 'Hello.' }]

function asked(fields: Record<string, unknown>, more: Partial<ReadRules> = {}): ChatAsked {
  return readChat({ model: 'pocket_network', messages, ...fields }, { ...rules, ...more })
}

function read(fields: Record<string, unknown>, more: Partial<ReadRules> = {}): ChatRequest {
  return asked(fields, more).request
}

function refusal(fields: Record<string, unknown>, more: Partial<ReadRules> = {}) {
  try {
    read(fields, more)
  } catch (error) {
    if (!(error instanceof InferenceError)) throw error
    const { error: told } = errorObject(error)
    return { status: errorStatus(error), ...(told as object) } as {
      status: number
      message: string
      param: string
      code: string
    }
  }
  return undefined
}

const message = (value: unknown) => ({ messages: [...messages, value] })
const content = (value: unknown) => message({ role: 'user', content: value })
const call = (id: string, text: unknown = '{}') => ({
  id,
  type: 'function',
  function: { name: 'f', arguments: text },
})
const assistant = (calls: unknown) => message({ role: 'assistant', content: '', tool_calls: calls })
const tool = (described: unknown) => ({ type: 'function', function: described })
const uneven = { type: 'object', properties: { a: { type: 'integer', multipleOf: 3 } } }
const schema = (value: unknown, more: object = {}) => ({
  type: 'json_schema',
  json_schema: { name: 'x', schema: value, ...more },
})

/** Each a fault, and the field that the answer must name. */
const BAD: readonly [fields: Record<string, unknown>, param: string][] = [
  [{ messages: undefined }, 'messages'],
  [{ messages: null }, 'messages'],
  [{ messages: [] }, 'messages'],
  [{ messages: {} }, 'messages'],
  [{ messages: 'Hello.' }, 'messages'],
  [{ messages: 1 }, 'messages'],
  [{ messages: false }, 'messages'],
  [message(null), 'messages[1]'],
  [message('Hello.'), 'messages[1]'],
  [message(['user', 'Hello.']), 'messages[1]'],
  [message({ content: 'a' }), 'messages[1].role'],
  [message({ role: null, content: 'a' }), 'messages[1].role'],
  [message({ role: 'User', content: 'a' }), 'messages[1].role'],
  [message({ role: 'human', content: 'a' }), 'messages[1].role'],
  [message({ role: '', content: 'a' }), 'messages[1].role'],
  [message({ role: 1, content: 'a' }), 'messages[1].role'],
  [message({ role: ['user'], content: 'a' }), 'messages[1].role'],
  [message({ role: 'tool', content: 'a' }), 'messages[1].tool_call_id'],
  [message({ role: 'tool', tool_call_id: 'c', content: 'a' }), 'messages[1].tool_call_id'],
  [message({ role: 'user', content: 'a', tool_calls: [call('c')] }), 'messages[1].tool_calls'],
  [message({ role: 'function', name: 'f', content: 'a' }), 'messages[1].role'],
  [message({ role: 'user' }), 'messages[1].content'],
  [content(null), 'messages[1].content'],
  [content(1), 'messages[1].content'],
  [content(true), 'messages[1].content'],
  [content({ type: 'text', text: 'a' }), 'messages[1].content'],
  [content([]), 'messages[1].content'],
  [content(['a']), 'messages[1].content[0]'],
  [content([null]), 'messages[1].content[0]'],
  [content([{ text: 'a' }]), 'messages[1].content[0].type'],
  [content([{ type: 1, text: 'a' }]), 'messages[1].content[0].type'],
  [content([{ type: 'text' }]), 'messages[1].content[0].text'],
  [content([{ type: 'text', text: null }]), 'messages[1].content[0].text'],
  [content([{ type: 'text', text: ['a'] }]), 'messages[1].content[0].text'],
  [content([{ type: 'text', text: 'a' }, { type: 'image_url' }]), 'messages[1].content[1].type'],
  [content([{ type: 'input_audio', input_audio: {} }]), 'messages[1].content[0].type'],
  [content([{ type: 'file', file: {} }]), 'messages[1].content[0].type'],
  [content([{ type: 'Text', text: 'a' }]), 'messages[1].content[0].type'],
  [message({ role: 'assistant' }), 'messages[1].content'],
  [assistant([{}]), 'messages[1].tool_calls[0].id'],
  [assistant([null]), 'messages[1].tool_calls[0]'],
  [assistant([{ ...call('c'), type: 'custom' }]), 'messages[1].tool_calls[0].type'],
  [assistant([{ id: 'c' }]), 'messages[1].tool_calls[0].function'],
  [assistant([{ id: 'c', function: {} }]), 'messages[1].tool_calls[0].function.name'],
  [assistant([call('c', '[1]')]), 'messages[1].tool_calls[0].function.arguments'],
  [assistant([call('c', '{"a":')]), 'messages[1].tool_calls[0].function.arguments'],
  [assistant([call('c', { a: 1 })]), 'messages[1].tool_calls[0].function.arguments'],
  [message({ role: 'assistant', content: '', tool_calls: 'x' }), 'messages[1].tool_calls'],
  [message({ role: 'assistant', content: '', function_call: {} }), 'messages[1].function_call'],
  [message({ role: 'assistant', content: '', audio: { id: 'a' } }), 'messages[1].audio'],
  [{ model: 1 }, 'model'],
  [{ model: ['demo'] }, 'model'],
  [{ model: {} }, 'model'],
  [{ max_tokens: 0 }, 'max_tokens'],
  [{ max_tokens: -1 }, 'max_tokens'],
  [{ max_tokens: 1.5 }, 'max_tokens'],
  [{ max_tokens: '16' }, 'max_tokens'],
  [{ max_tokens: true }, 'max_tokens'],
  [{ max_tokens: 1e300 }, 'max_tokens'],
  [{ max_tokens: Number.POSITIVE_INFINITY }, 'max_tokens'],
  [{ max_completion_tokens: 0 }, 'max_completion_tokens'],
  [{ max_completion_tokens: 0.5 }, 'max_completion_tokens'],
  [{ max_completion_tokens: [] }, 'max_completion_tokens'],
  [{ max_tokens: 5, max_completion_tokens: -5 }, 'max_completion_tokens'],
  [{ temperature: -0.1 }, 'temperature'],
  [{ temperature: 2.1 }, 'temperature'],
  [{ temperature: '0' }, 'temperature'],
  [{ temperature: false }, 'temperature'],
  [{ temperature: Number.POSITIVE_INFINITY }, 'temperature'],
  [{ top_p: 0 }, 'top_p'],
  [{ top_p: -1 }, 'top_p'],
  [{ top_p: 1.01 }, 'top_p'],
  [{ top_p: '1' }, 'top_p'],
  [{ seed: 1.5 }, 'seed'],
  [{ seed: '1' }, 'seed'],
  [{ seed: 2 ** 65 }, 'seed'],
  [{ seed: -(2 ** 64) }, 'seed'],
  [{ seed: Number.POSITIVE_INFINITY }, 'seed'],
  [{ stop: '' }, 'stop'],
  [{ stop: 1 }, 'stop'],
  [{ stop: {} }, 'stop'],
  [{ stop: ['a', ''] }, 'stop[1]'],
  [{ stop: ['a', null] }, 'stop[1]'],
  [{ stop: [['a']] }, 'stop[0]'],
  [{ stop: ['a', 'b', 'c', 'd', 'e'] }, 'stop'],
  [{ n: 9 }, 'n'],
  [{ n: 0 }, 'n'],
  [{ n: '1' }, 'n'],
  [{ n: 1.5 }, 'n'],
  [{ best_of: 2 }, 'best_of'],
  [{ stream: true }, 'stream'],
  [{ stream: 'true' }, 'stream'],
  [{ stream: 1 }, 'stream'],
  [{ stream_options: true }, 'stream_options'],
  [{ stream_options: { include_usage: 'yes' } }, 'stream_options.include_usage'],
  [{ tools: {} }, 'tools'],
  [{ tools: [null] }, 'tools[0]'],
  [{ tools: [{}] }, 'tools[0].type'],
  [{ tools: [{ type: 'web_search' }] }, 'tools[0].type'],
  [{ tools: [{ type: 'function' }] }, 'tools[0].function'],
  [{ tools: [tool({})] }, 'tools[0].function.name'],
  [{ tools: [tool({ name: 'a b' })] }, 'tools[0].function.name'],
  [{ tools: [tool({ name: 'f' }), tool({ name: 'f' })] }, 'tools[1].function.name'],
  [{ tools: [tool({ name: 'f', description: 1 })] }, 'tools[0].function.description'],
  [{ tools: [tool({ name: 'f', parameters: 'x' })] }, 'tools[0].function.parameters'],
  [{ tools: [tool({ name: 'f', strict: 1 })] }, 'tools[0].function.strict'],
  [
    { tools: [tool({ name: 'f', parameters: uneven })], tool_choice: 'required' },
    'tools[0].function.parameters.properties.a.multipleOf',
  ],
  [
    { tools: [tool({ name: 'f', parameters: uneven, strict: true })] },
    'tools[0].function.parameters.properties.a.multipleOf',
  ],
  [{ tool_choice: 'required' }, 'tool_choice'],
  [{ tool_choice: 'any' }, 'tool_choice'],
  [{ tool_choice: 1 }, 'tool_choice'],
  [{ tool_choice: { type: 'tool', name: 'f' } }, 'tool_choice.type'],
  [{ tool_choice: { type: 'function' } }, 'tool_choice.function.name'],
  [{ tool_choice: { type: 'function', function: { name: 'f' } } }, 'tool_choice.function.name'],
  [{ parallel_tool_calls: 'no' }, 'parallel_tool_calls'],
  [{ functions: [{ name: 'f' }] }, 'functions'],
  [{ function_call: { name: 'f' } }, 'function_call'],
  [{ response_format: { type: 'json_schema' } }, 'response_format.json_schema'],
  [{ response_format: schema(undefined) }, 'response_format.json_schema.schema'],
  [
    { response_format: schema({ type: 'object' }, { name: 'a b' }) },
    'response_format.json_schema.name',
  ],
  [
    { response_format: schema(uneven) },
    'response_format.json_schema.schema.properties.a.multipleOf',
  ],
  [
    { response_format: schema({ $ref: '#/$defs/none' }) },
    'response_format.json_schema.schema.$ref',
  ],
  [{ response_format: schema({ not: {} }) }, 'response_format.json_schema.schema.not'],
  [{ response_format: { type: 'xml' } }, 'response_format.type'],
  [{ response_format: {} }, 'response_format.type'],
  [{ response_format: 'text' }, 'response_format'],
  [{ logprobs: 1 }, 'logprobs'],
  [{ top_logprobs: 5 }, 'top_logprobs'],
  [{ logprobs: true, top_logprobs: 21 }, 'top_logprobs'],
  [{ logprobs: true, top_logprobs: -1 }, 'top_logprobs'],
  [{ logit_bias: { a: 1 } }, 'logit_bias.a'],
  [{ logit_bias: { 5: 101 } }, 'logit_bias.5'],
  [{ logit_bias: { 5: '1' } }, 'logit_bias.5'],
  [{ logit_bias: [] }, 'logit_bias'],
  [{ presence_penalty: 2.5 }, 'presence_penalty'],
  [{ presence_penalty: '0' }, 'presence_penalty'],
  [{ frequency_penalty: -3 }, 'frequency_penalty'],
  [{ repeat_penalty: 0 }, 'repeat_penalty'],
  [{ repetition_penalty: 'x' }, 'repetition_penalty'],
  [{ top_k: 1.5 }, 'top_k'],
  [{ top_k: -2 }, 'top_k'],
  [{ min_p: 2 }, 'min_p'],
  [{ min_tokens: 3 }, 'min_tokens'],
  [{ reasoning_effort: 'huge' }, 'reasoning_effort'],
  [{ enable_thinking: 'no' }, 'enable_thinking'],
  [{ chat_template_kwargs: [] }, 'chat_template_kwargs'],
  [{ thinking_budget: -1 }, 'thinking_budget'],
  [{ deterministic: 1 }, 'deterministic'],
  [{ modalities: ['text', 'audio'] }, 'modalities'],
  [{ modalities: 'text' }, 'modalities'],
  [{ audio: { voice: 'x' } }, 'audio'],
  [{ web_search_options: {} }, 'web_search_options'],
]

t.test('every fault is a 400 that names its field', async (t) => {
  t.ok(BAD.length >= 130, `${BAD.length} rows`)
  for (const [fields, param] of BAD) {
    const row = JSON.stringify(fields)
    const answer = refusal(fields)
    t.equal(answer?.status, 400, row)
    t.equal(answer?.param, param, row)
    t.match(answer?.code, /^(invalid_value|unsupported_parameter|missing_required_parameter)$/, row)
  }
})

t.test('a feature that is not there says so', async (t) => {
  for (const fields of [
    { stream: true },
    { response_format: schema(uneven) },
    { tools: [{ type: 'code_interpreter' }] },
    content([{ type: 'image_url' }]),
  ])
    t.equal(refusal(fields)?.code, 'unsupported_parameter', JSON.stringify(fields))
  t.equal(refusal({ top_p: 7 })?.code, 'invalid_value')
})

/** What is asked where nothing is said. */
const PLAIN = {
  kind: 'chat',
  tools: [],
  toolChoice: 'none',
  parallelToolCalls: true,
  format: { kind: 'text' },
  stop: [],
}

t.test('what is taken', async (t) => {
  await t.test('null means absent, everywhere', async (t) => {
    const fields = `model max_tokens max_completion_tokens temperature top_p seed stop n stream tools
      functions tool_choice function_call response_format logprobs top_logprobs logit_bias
      presence_penalty frequency_penalty modalities audio web_search_options stream_options top_k
      min_p repeat_penalty reasoning_effort enable_thinking chat_template_kwargs thinking_budget`
    const nulls = Object.fromEntries(fields.split(/\s+/).map((name) => [name, null]))
    t.strictSame(asked(nulls), {
      kind: 'chat',
      request: { ...PLAIN, messages },
      n: 1,
      stream: false,
      includeUsage: false,
    })
  })

  await t.test('values that ask for nothing, and unknown fields', async (t) => {
    const harmless = [
      { n: 1 },
      { stream: false },
      { stream_options: { include_usage: true } },
      { tools: [] },
      { tool_choice: 'auto' },
      { tools: [], tool_choice: 'none' },
      { response_format: { type: 'text' } },
      { logprobs: false, top_logprobs: 0 },
      { logit_bias: {} },
      { presence_penalty: 0, frequency_penalty: -0 },
      { modalities: ['text'] },
      { parallel_tool_calls: true, user: 'x', store: true, metadata: {}, whatever: [1] },
      { tools: [tool({ name: 'f', parameters: uneven })] },
      JSON.parse('{"__proto__":{"n":2},"constructor":1}'),
    ]
    for (const fields of harmless) t.equal(refusal(fields), undefined, JSON.stringify(fields))
  })

  await t.test('zero is a value', async (t) => {
    const { temperature, seed } = read({ temperature: 0, seed: 0 })
    t.strictSame({ temperature, seed }, { temperature: 0, seed: 0n })
    t.equal(read({ temperature: 2 }).temperature, 2)
    t.equal(read({ top_p: 1 }).topP, 1)
  })

  await t.test('the smallest limit of tokens wins', async (t) => {
    t.equal(read({}).maxTokens, undefined)
    t.equal(read({ max_tokens: 5 }).maxTokens, 5)
    t.equal(read({ max_completion_tokens: 6 }).maxTokens, 6)
    t.equal(read({ max_tokens: 5, max_completion_tokens: 6 }).maxTokens, 5)
    t.equal(read({ max_tokens: 7, max_completion_tokens: 6 }).maxTokens, 6)
    t.equal(read({ max_tokens: 7 }, { answerTokensMax: 3 }).maxTokens, 3)
    t.equal(read({ max_tokens: 2 }, { answerTokensMax: 3 }).maxTokens, 2)
    t.equal(read({}, { answerTokensMax: 3 }).maxTokens, 3)
  })

  await t.test('stop as a string, as a list, as nothing', async (t) => {
    t.strictSame(read({ stop: 'a' }).stop, ['a'])
    t.strictSame(read({ stop: ['a', '\n', 'c', 'd'] }).stop, ['a', '\n', 'c', 'd'])
    t.strictSame(read({ stop: [] }).stop, [])
  })

  await t.test('roles, parts and fields that are not of the standard', async (t) => {
    const { messages } = read({
      messages: [
        { role: 'developer', content: 'a', type: 'text', name: 'x' },
        { role: 'system', content: '' },
        { role: 'assistant', content: 'b', tool_calls: [], refusal: null, audio: null },
        {
          role: 'user',
          content: [
            { type: 'text', text: 'c' },
            { type: 'text', text: 'd', cache_control: {} },
          ],
        },
      ],
    })
    t.strictSame(messages, [
      { role: 'system', content: 'a' },
      { role: 'system', content: '' },
      { role: 'assistant', content: 'b' },
      { role: 'user', content: 'c\nd' },
    ])
  })

  await t.test('half a character becomes a whole one', async (t) => {
    const { messages } = read(
      JSON.parse('{"messages":[{"role":"user","content":"a\\ud800b\\ud83d\\ude42"}]}'),
    )
    t.equal(messages[0]?.content, 'a\ufffdb🙂')
  })

  await t.test('any name of a model, unless the service is strict', async (t) => {
    t.equal(refusal({ model: 'gpt-4' }), undefined)
    t.match(refusal({ model: 'gpt-4' }, { strictModel: true }), {
      status: 404,
      param: 'model',
      code: 'model_not_found',
    })
    t.equal(refusal({ model: 'demo' }, { strictModel: true }), undefined)
    t.equal(refusal({ model: null }, { strictModel: true }), undefined)
  })

  await t.test('streams where they can be sent', async (t) => {
    const streamed = asked(
      { stream: true, stream_options: { include_usage: true } },
      { canStream: true },
    )
    t.hasStrict(streamed, { stream: true, includeUsage: true })
    t.equal(refusal({ stream: 'yes' }, { canStream: true })?.param, 'stream')
  })

  await t.test('tools, their choice, calls and results', async (t) => {
    const tools = [tool({ name: 'f', description: 'd', parameters: { type: 'object' } })]
    t.strictSame(read({ tools }).tools, [
      { name: 'f', description: 'd', parameters: { type: 'object' } },
    ])
    t.equal(read({ tools }).toolChoice, 'auto')
    t.equal(read({ tools, tool_choice: 'required' }).toolChoice, 'required')
    t.strictSame(
      read({ tools, tool_choice: { type: 'function', function: { name: 'f' } } }).toolChoice,
      { name: 'f' },
    )
    const { messages } = read({
      messages: [
        { role: 'user', content: 'a' },
        { role: 'assistant', content: null, tool_calls: [call('c', '')], reasoning: 'hm' },
        { role: 'tool', tool_call_id: 'c', content: 'r' },
      ],
    })
    t.strictSame(messages.slice(1), [
      {
        role: 'assistant',
        content: '',
        toolCalls: [{ id: 'c', name: 'f', arguments: '{}' }],
        reasoning: 'hm',
      },
      { role: 'tool', content: 'r', toolCallId: 'c', name: 'f' },
    ])
  })

  await t.test('everything about sampling', async (t) => {
    const request = read({
      top_k: -1,
      min_p: 0.1,
      presence_penalty: -2,
      frequency_penalty: 2,
      repetition_penalty: 1.1,
      logit_bias: { 7: -100 },
      logprobs: true,
      top_logprobs: 20,
    })
    t.hasStrict(request, {
      topK: 0,
      minP: 0.1,
      presencePenalty: -2,
      frequencyPenalty: 2,
      repeatPenalty: 1.1,
      topLogprobs: 20,
    })
    t.strictSame([...(request.logitBias ?? [])], [[7, -100]])
    t.equal(read({ logprobs: true }).topLogprobs, 0)
  })

  await t.test('thoughts, by each of their names', async (t) => {
    const thinking = (fields: Record<string, unknown>) => read(fields).thinking
    t.equal(thinking({}), undefined)
    t.strictSame(thinking({ reasoning_effort: 'none' }), { enabled: false })
    t.strictSame(thinking({ reasoning_effort: 'low' }), { enabled: true, tokensMax: 1_024 })
    t.strictSame(thinking({ enable_thinking: false }), { enabled: false })
    t.strictSame(thinking({ chat_template_kwargs: { enable_thinking: true } }), { enabled: true })
    t.strictSame(thinking({ thinking_budget: 50 }), { enabled: true, tokensMax: 50 })
    t.strictSame(thinking({ thinking_budget: 0 }), { enabled: false })
  })
})

t.test('seeds', async (t) => {
  const seed = (value: number) => read({ seed: value }).seed
  for (const [given, taken] of [
    [0, 0n],
    [1234, 1234n],
    [2 ** 32, 2n ** 32n],
    [-1, 2n ** 64n - 1n],
    [-(2 ** 63), 2n ** 63n],
    [2 ** 63, 2n ** 63n],
  ] as const)
    t.equal(seed(given), taken, `${given}`)

  fc.assert(
    fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), (given) => {
      const first = seed(JSON.parse(`${given}`))
      const isUint64 = first !== undefined && first >= 0n && first < 2n ** 64n
      return isUint64 && seed(JSON.parse(`${given}`)) === first
    }),
  )
  t.pass('any 64-bit integer is a seed, and always the same one')
})
