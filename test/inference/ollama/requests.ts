import t from 'tap'
import {
  ChunkReader,
  chatBody,
  generateBody,
  type OllamaDialect,
} from '../../../src/inference/ollama/requests.ts'
import { ask, complete } from '../../contract/backend-asks.ts'

const DIALECT: OllamaDialect = { model: 'echo', contextSize: 100, thinks: 'yes' }

t.test('a chat with everything', (t) => {
  const request = ask('hello', {
    topK: 0,
    topP: 0.5,
    minP: 0.1,
    presencePenalty: 1,
    frequencyPenalty: -1,
    repeatPenalty: 1.1,
    seed: 2n ** 64n - 1n,
    stop: ['a'],
    topLogprobs: 2,
    maxTokens: 500,
    tools: [{ name: 'f', description: 'd' }],
    toolChoice: 'auto',
    format: { kind: 'schema', name: 's', schema: { type: 'object' } },
    thinking: { enabled: false },
    messages: [
      { role: 'system', content: 's' },
      {
        role: 'assistant',
        content: '',
        reasoning: 'r',
        toolCalls: [{ id: 'c', name: 'f', arguments: '{"a":1}' }],
      },
      { role: 'tool', content: 't', toolCallId: 'c', name: 'f' },
    ],
  })
  t.strictSame(chatBody(request, { ...DIALECT, keepAliveSeconds: -1 }), {
    model: 'echo',
    truncate: false,
    shift: false,
    keep_alive: -1,
    logprobs: true,
    top_logprobs: 2,
    options: {
      num_ctx: 100,
      num_predict: 100,
      temperature: 0,
      top_k: 0,
      top_p: 0.5,
      min_p: 0.1,
      repeat_penalty: 1.1,
      presence_penalty: 1,
      frequency_penalty: -1,
      seed: 3,
      stop: ['a'],
    },
    messages: [
      { role: 'system', content: 's' },
      {
        role: 'assistant',
        content: '',
        thinking: 'r',
        tool_calls: [{ function: { name: 'f', arguments: { a: 1 } } }],
      },
      { role: 'tool', content: 't', tool_name: 'f' },
    ],
    tools: [
      {
        type: 'function',
        function: { name: 'f', description: 'd', parameters: { type: 'object', properties: {} } },
      },
    ],
    format: { type: 'object' },
    think: false,
  })
  t.end()
})

t.test('what is left out is left to the model', (t) => {
  const { temperature: _, maxTokens: __, ...bare } = ask('hello')
  t.strictSame(chatBody({ ...bare, format: { kind: 'json' } }, DIALECT), {
    model: 'echo',
    truncate: false,
    shift: false,
    options: { num_ctx: 100, num_predict: 100 },
    messages: [{ role: 'user', content: 'hello' }],
    format: 'json',
  })
  const hidden = chatBody(ask('a', { tools: [{ name: 'f' }], toolChoice: 'none' }), DIALECT)
  t.notOk('tools' in hidden)
  t.end()
})

t.test('thinking is asked for in the words that the model knows', (t) => {
  const think = (
    thinking: { enabled?: boolean; tokensMax?: number },
    thinks: OllamaDialect['thinks'],
  ) => chatBody(ask('a', { thinking }), { ...DIALECT, thinks }).think
  t.equal(think({ enabled: true }, 'yes'), true)
  t.equal(think({ enabled: true }, 'no'), undefined)
  t.equal(think({}, 'yes'), undefined)
  t.equal(think({ enabled: true, tokensMax: 256 }, 'by effort'), 'low')
  t.equal(think({ enabled: true }, 'by effort'), 'medium')
  t.equal(think({ enabled: true, tokensMax: 16_384 }, 'by effort'), 'high')
  t.equal(think({ enabled: false }, 'by effort'), false)
  t.end()
})

t.test('a completion is raw', (t) => {
  t.match(generateBody(complete('one'), DIALECT), { prompt: 'one', raw: true })
  t.notOk('raw' in generateBody(complete('one', { suffix: 'b' }), DIALECT))
  t.end()
})

t.test('lines in other words', (t) => {
  const reader = new ChunkReader('0.1 ab')
  const call = { function: { name: 'f', arguments: { a: 1 } } }
  t.strictSame(reader.read({ message: { content: 'a', thinking: 'b' }, done: false }), {
    choices: [{ delta: { content: 'a', reasoning: 'b' }, logprobs: null, finish_reason: null }],
    system_fingerprint: '0.1 ab',
  })
  const calls = [1, 2].map(() => reader.read({ message: { content: '', tool_calls: [call] } }))
  const made = calls.map(({ choices }) => choices) as { delta: { tool_calls: unknown } }[][]
  t.strictSame(
    made.map(([choice]) => choice?.delta.tool_calls),
    [[{ ...call, index: 0 }], [{ ...call, index: 1 }]],
    'each has a number of its own',
  )
  const last = {
    response: '',
    done: true,
    done_reason: 'length',
    prompt_eval_count: 3,
    eval_count: 2,
  }
  t.strictSame(reader.read({ ...last, logprobs: [] }), {
    choices: [
      {
        delta: { content: '', reasoning: undefined },
        logprobs: { content: [] },
        finish_reason: 'length',
      },
    ],
    system_fingerprint: '0.1 ab',
    usage: { prompt_tokens: 3, completion_tokens: 2 },
  })
  t.end()
})
