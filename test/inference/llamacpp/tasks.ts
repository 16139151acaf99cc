import t from 'tap'
import { generateMessage, type TaskOptions } from '../../../src/inference/llamacpp/tasks.ts'
import { parseToEngine } from '../../../src/inference/llamacpp/wire.ts'
import type { CompletionRequest } from '../../../src/inference/request.ts'
import { GREEDY, GREEDY_SETTINGS, request } from '../../support/tiny-model.ts'

const OPTIONS: TaskOptions = { defaults: GREEDY, random: () => 0 }
const make = (asked: Parameters<typeof generateMessage>[1], options = OPTIONS) =>
  parseToEngine(generateMessage(7, asked, false, options))
const completion: CompletionRequest = { kind: 'completion', prompt: 'a', echo: false, stop: [] }

t.test('a chat that wishes nothing', async (t) => {
  t.strictSame(make(request('Hi')), {
    type: 'generate',
    id: 7,
    prompt: {
      ...{ kind: 'chat', tools: [], toolChoice: 'none', parallelToolCalls: true, thinking: {} },
      messages: [{ role: 'user', content: 'Hi' }],
    },
    echo: false,
    settings: { ...GREEDY_SETTINGS, seed: 0n },
    ...{ exact: false, repeatable: true, alone: false },
    stop: [],
  })
})

t.test('what must repeat, and what must be picked exactly', async (t) => {
  const of = (more: object) => {
    const { exact, repeatable } = generateMessage(0, request('Hi', more), false, OPTIONS)
    return [exact, repeatable]
  }
  t.strictSame(of({ temperature: 1 }), [false, false])
  t.strictSame(of({ temperature: 1, deterministic: true }), [false, true])
  t.strictSame(of({ temperature: 1, seed: 5n }), [true, true])
  t.strictSame(of({ topLogprobs: 0 }), [true, true])
  t.equal(generateMessage(0, request('Hi'), true, OPTIONS).alone, true)
})

t.test('a completion of text, with a gap, or of ids', async (t) => {
  t.match(make({ ...completion, suffix: 'z', echo: true, maxTokens: 0 }), {
    prompt: { kind: 'text', text: 'a', suffix: 'z' },
    echo: true,
    tokensMax: 0,
  })
  t.match(make({ ...completion, prompt: [1, 2] }), { prompt: { kind: 'tokens', tokens: [1, 2] } })
})

t.test('formats become grammars', async (t) => {
  const schema = { type: 'object', properties: { a: { enum: ['x'] } }, required: ['a'] }
  t.match(make(request('Hi', { format: { kind: 'json' } })), { grammar: /^root ::=/m })
  const held = make(request('Hi', { format: { kind: 'schema', name: 'n', schema } }))
  t.match(held, { grammar: /\\"a\\"/ })
  const odd = { kind: 'schema' as const, name: 'n', schema: { type: 'object', multipleOf: 2 } }
  t.throws(() => make(request('Hi', { format: odd })), { code: 'BAD_REQUEST' })
})

t.test('thoughts are bounded by the request, or else by the owner', async (t) => {
  const of = (thinking: object | undefined, thinkingTokensMax?: number) => {
    const options = {
      ...OPTIONS,
      ...(thinkingTokensMax === undefined ? {} : { thinkingTokensMax }),
    }
    const { prompt } = generateMessage(
      0,
      request('Hi', thinking ? { thinking } : {}),
      false,
      options,
    )
    return prompt.kind === 'chat' ? prompt.thinking : undefined
  }
  t.strictSame(of(undefined), {})
  t.strictSame(of(undefined, 9), { tokensMax: 9 })
  t.strictSame(of({ tokensMax: 3, enabled: true }, 9), { tokensMax: 3, enabled: true })
})

t.test('calls of earlier turns go along', async (t) => {
  const messages = [
    { role: 'assistant', content: '', toolCalls: [{ id: 'c', name: 'f', arguments: '{}' }] },
    { role: 'tool', content: 'x', toolCallId: 'c' },
  ] as const
  const tools = [{ name: 'f' }]
  t.match(make(request('', { messages, tools, toolChoice: { name: 'f' } })), {
    prompt: { messages, tools, toolChoice: { name: 'f' } },
  })
})
