import fc from 'fast-check'
import t from 'tap'
import type { ChatRequest } from '../../src/inference/backend.ts'
import { type ChatRules, readChat } from '../../src/inference/chat.ts'
import { InferenceError } from '../../src/inference/errors.ts'
import { errorReply } from '../../src/inference/openai.ts'

const rules: ChatRules = { model: 'demo', strictModel: false, streamAsWhole: false }
const messages = [{ role: 'user', content: 'Hello.' }]

function read(fields: Record<string, unknown>, more: Partial<ChatRules> = {}): ChatRequest {
  return readChat({ model: 'pocket_network', messages, ...fields }, { ...rules, ...more })
}

function refusal(fields: Record<string, unknown>, more: Partial<ChatRules> = {}) {
  try {
    read(fields, more)
  } catch (error) {
    if (!(error instanceof InferenceError)) throw error
    const { status, body } = errorReply(error)
    const { error: told } = JSON.parse(new TextDecoder().decode(body))
    return { status, ...told } as { status: number; message: string; param: string; code: string }
  }
  return undefined
}

const message = (value: unknown) => ({ messages: [...messages, value] })
const content = (value: unknown) => message({ role: 'user', content: value })

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
  [message({ role: 'tool', tool_call_id: 'c', content: 'a' }), 'messages[1].role'],
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
  [content([{ type: 'text', text: 'a' }, { type: 'image_url' }]), 'messages[1].content[1]'],
  [content([{ type: 'input_audio', input_audio: {} }]), 'messages[1].content[0]'],
  [content([{ type: 'file', file: {} }]), 'messages[1].content[0]'],
  [content([{ type: 'Text', text: 'a' }]), 'messages[1].content[0]'],
  [message({ role: 'assistant', content: '', tool_calls: [{}] }), 'messages[1].tool_calls'],
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
  [{ seed: 2 ** 64 }, 'seed'],
  [{ seed: -(2 ** 64) }, 'seed'],
  [{ seed: Number.POSITIVE_INFINITY }, 'seed'],
  [{ stop: '' }, 'stop'],
  [{ stop: 1 }, 'stop'],
  [{ stop: {} }, 'stop'],
  [{ stop: ['a', ''] }, 'stop[1]'],
  [{ stop: ['a', null] }, 'stop[1]'],
  [{ stop: [['a']] }, 'stop[0]'],
  [{ stop: ['a', 'b', 'c', 'd', 'e'] }, 'stop'],
  [{ n: 2 }, 'n'],
  [{ n: 0 }, 'n'],
  [{ n: '1' }, 'n'],
  [{ stream: true }, 'stream'],
  [{ stream: 'true' }, 'stream'],
  [{ stream: 1 }, 'stream'],
  [{ tools: [{ type: 'function', function: { name: 'f' } }] }, 'tools'],
  [{ tools: {} }, 'tools'],
  [{ tool_choice: 'required' }, 'tool_choice'],
  [{ tool_choice: { type: 'function', function: { name: 'f' } } }, 'tool_choice'],
  [{ functions: [{ name: 'f' }] }, 'functions'],
  [{ function_call: { name: 'f' } }, 'function_call'],
  [{ response_format: { type: 'json_object' } }, 'response_format'],
  [{ response_format: { type: 'json_schema', json_schema: {} } }, 'response_format'],
  [{ response_format: {} }, 'response_format'],
  [{ response_format: 'text' }, 'response_format'],
  [{ logprobs: true }, 'logprobs'],
  [{ logprobs: 1 }, 'logprobs'],
  [{ top_logprobs: 5 }, 'top_logprobs'],
  [{ logit_bias: { 50256: -100 } }, 'logit_bias'],
  [{ logit_bias: [] }, 'logit_bias'],
  [{ presence_penalty: 0.5 }, 'presence_penalty'],
  [{ presence_penalty: '0' }, 'presence_penalty'],
  [{ frequency_penalty: -2 }, 'frequency_penalty'],
  [{ modalities: ['text', 'audio'] }, 'modalities'],
  [{ modalities: 'text' }, 'modalities'],
  [{ audio: { voice: 'x' } }, 'audio'],
  [{ web_search_options: {} }, 'web_search_options'],
]

t.test('every fault is a 400 that names its field', async (t) => {
  t.ok(BAD.length >= 80, `${BAD.length} rows`)
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
    { n: 2 },
    { stream: true },
    { logprobs: true },
    content([{ type: 'image' }]),
  ])
    t.equal(refusal(fields)?.code, 'unsupported_parameter', JSON.stringify(fields))
  t.equal(refusal({ stream: true })?.message, 'streaming is not supported through this endpoint')
  t.equal(refusal({ top_p: 7 })?.code, 'invalid_value')
})

t.test('what is taken', async (t) => {
  await t.test('null means absent, everywhere', async (t) => {
    const fields = `model max_tokens max_completion_tokens temperature top_p seed stop n stream tools
      functions tool_choice function_call response_format logprobs top_logprobs logit_bias
      presence_penalty frequency_penalty modalities audio web_search_options`
    const nulls = Object.fromEntries(fields.split(/\s+/).map((name) => [name, null]))
    const { body, ...rest } = read(nulls)
    t.strictSame(rest, { messages, stop: [] })
    t.equal(body['model'], null, 'the body is kept as it came')
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
      JSON.parse('{"__proto__":{"n":2},"constructor":1}'),
    ]
    for (const fields of harmless) t.equal(refusal(fields), undefined, JSON.stringify(fields))
  })

  await t.test('zero is a value', async (t) => {
    const { temperature, seed } = read({ temperature: 0, seed: 0 })
    t.strictSame({ temperature, seed }, { temperature: 0, seed: 0 })
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

  await t.test('stream as a whole where the service says so', async (t) => {
    t.equal(refusal({ stream: true }, { streamAsWhole: true }), undefined)
    t.equal(refusal({ stream: 'yes' }, { streamAsWhole: true })?.param, 'stream')
  })
})

t.test('seeds', async (t) => {
  const seed = (value: number) => read({ seed: value }).seed
  for (const [given, taken] of [
    [0, 0],
    [1234, 1234],
    [2 ** 32 - 1, 2 ** 32 - 1],
    [2 ** 32, 1],
    [2 ** 33 + 5, 7],
    [-1, 0],
    [-5, 4],
    [-(2 ** 63), 2 ** 31],
    [2 ** 63, 2 ** 31],
  ] as const)
    t.equal(seed(given), taken, `${given}`)

  fc.assert(
    fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), (given) => {
      const first = seed(JSON.parse(`${given}`))
      const isUint32 =
        first !== undefined && Number.isInteger(first) && first >= 0 && first < 2 ** 32
      return isUint32 && seed(JSON.parse(`${given}`)) === first
    }),
  )
  t.pass('any 64-bit integer is a seed, and always the same one')
})
