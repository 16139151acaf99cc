import t from 'tap'
import { utf8 } from '../../../src/base/bytes.ts'
import type { InferenceError } from '../../../src/inference/errors.ts'
import type { Delta, GenerationRequest, JsonObject } from '../../../src/inference/request.ts'
import { UpstreamAnswer } from '../../../src/inference/upstream/answer.ts'
import { ask, complete } from '../../contract/backend-asks.ts'

const USAGE = { prompt_tokens: 3, completion_tokens: 2 }
const TOOLS = [{ name: 'add' }, { name: 'mul' }]

/** The answer to `request` that comes as these pieces. */
function answered(request: GenerationRequest, pieces: readonly JsonObject[], isDone = true) {
  const deltas: Delta[] = []
  const deps = { random: () => 0.5, onDelta: (delta: Delta) => void deltas.push(delta) }
  const answer = new UpstreamAnswer(deps, request, 'm')
  for (const piece of pieces) answer.take(piece)
  return { generation: answer.end(isDone), deltas }
}

function failure(work: () => unknown): string {
  try {
    work()
    return 'answered'
  } catch (error) {
    return `${(error as InferenceError).code}: ${(error as Error).message}`
  }
}

const delta = (fields: JsonObject, more: JsonObject = {}) => ({
  choices: [{ index: 0, delta: fields, ...more }],
})
const last = (reason: string | null = 'stop') => ({
  choices: [{ index: 0, delta: {}, finish_reason: reason }],
  usage: USAGE,
})
const whole = (message: JsonObject, more: JsonObject = {}) => ({
  choices: [{ message, finish_reason: 'stop', ...more }],
  usage: USAGE,
})
const call = (index: number, fields: JsonObject) => ({ tool_calls: [{ index, ...fields }] })

t.test('a whole body', (t) => {
  const read = (
    message: JsonObject,
    more: JsonObject = {},
    request = ask('a', { stop: ['xyz'] }),
  ) => answered(request, [whole(message, more)]).generation
  t.equal(read({ content: 'a' }, { finish_reason: 'length' }).finishReason, 'length')
  t.equal(
    read({ content: 'a' }, { finish_reason: 'content_filter' }).finishReason,
    'content_filter',
  )
  const left = read({ content: 'before xyz after' }, { finish_reason: 'length' })
  t.equal(left.text, 'before ', 'a stop string that was left in is cut')
  t.equal(left.finishReason, 'stop')
  const empty = read({ content: null }, { finish_reason: null })
  t.strictSame([empty.text, empty.finishReason], ['', 'stop'])
  t.equal(read({ content: 'a', reasoning: 'b' }).reasoning, 'b')
  const body = { ...whole({ content: 'a' }), system_fingerprint: 'fp_2' }
  const other = answered(ask('a'), [body]).generation
  t.match(other.fingerprint, /^pk1-[0-9a-f]{16}$/)
  t.not(other.fingerprint, empty.fingerprint, 'their fingerprint is part of ours')
  const text = answered(complete('a'), [{ choices: [{ text: 'b' }], usage: USAGE }]).generation
  t.equal(text.text, 'b')
  t.end()
})

t.test('counts', (t) => {
  const bad: JsonObject[] = [
    { prompt_tokens: null },
    { prompt_tokens: 1.5 },
    { completion_tokens: -1 },
    { completion_tokens: undefined },
    { prompt_tokens_details: { cached_tokens: 'a' } },
  ]
  for (const wrong of bad) {
    const body = { ...whole({ content: 'a' }), usage: { ...USAGE, ...wrong } }
    const told = failure(() => answered(ask('a'), [body]))
    t.equal(told, 'ENGINE_FAILED: the upstream answered without counts of tokens')
  }
  const details = {
    prompt_tokens_details: { cached_tokens: 1 },
    completion_tokens_details: { reasoning_tokens: 2 },
  }
  const body = { ...whole({ content: 'a' }), usage: { ...USAGE, ...details } }
  t.strictSame(answered(ask('a'), [body]).generation.usage, {
    promptTokens: 3,
    completionTokens: 2,
    cachedTokens: 1,
    reasoningTokens: 2,
  })
  t.end()
})

t.test('a stream', (t) => {
  const { generation, deltas } = answered(ask('a', { stop: ['END'] }), [
    delta({ role: 'assistant', content: '' }),
    delta({ reasoning_content: 'hm' }),
    delta({ content: 'one E' }),
    delta({ content: 'N two E' }),
    delta({ content: 'ND three' }),
    last('length'),
  ])
  t.strictSame(deltas, [{ reasoning: 'hm' }, { text: 'one ' }, { text: 'EN two ' }])
  t.match(generation, { text: 'one EN two ', reasoning: 'hm', finishReason: 'stop' })
  const held = answered(ask('a', { stop: ['END'] }), [delta({ content: 'a EN' }), last()])
  t.equal(held.generation.text, 'a EN', 'what could have been a stop string is shown at the end')
  const broken = failure(() => answered(ask('a'), [delta({ content: 'a' })], false))
  t.match(broken, /broke off in the middle/)
  t.match(
    failure(() => answered(ask('a'), [last('abort')])),
    /gave the answer up/,
  )
  t.match(
    failure(() => answered(ask('a'), [delta({ content: 7 })])),
    /another kind/,
  )
  t.end()
})

t.test('calls', (t) => {
  const request = ask('a', { tools: TOOLS, toolChoice: 'auto' })
  const { generation, deltas } = answered(request, [
    delta(call(0, { id: 'x', function: { name: 'add', arguments: '' } })),
    delta(call(0, { function: { arguments: '{"a":' } })),
    delta(call(0, { function: { arguments: '12345678901234567890}' } })),
    delta(call(1, { id: 'x', function: { name: 'mul', arguments: '' } })),
    last('stop'),
  ])
  const made = 'call_ffffffffffffffffffffffff'
  t.strictSame(generation.toolCalls, [
    { id: 'x', name: 'add', arguments: '{"a":12345678901234567890}' },
    { id: made, name: 'mul', arguments: '{}' },
  ])
  t.equal(generation.finishReason, 'tool_calls')
  t.strictSame(
    deltas.map(({ toolCall }) => toolCall),
    generation.toolCalls,
    'each comes when it is whole',
  )
  const one = answered({ ...request, parallelToolCalls: false }, [
    delta(call(0, { id: 'x', function: { name: 'add', arguments: '{}' } })),
    delta(call(1, { id: 'y', function: { name: 'mul', arguments: '{}' } })),
    last('tool_calls'),
  ])
  t.equal(one.generation.toolCalls.length, 1)
  const cut = answered(request, [
    delta(call(0, { id: 'x', function: { name: 'add', arguments: '{"a":' } })),
    last('length'),
  ])
  t.strictSame([cut.generation.toolCalls, cut.generation.finishReason], [[], 'length'])
  const asObject = whole({
    tool_calls: [{ id: 'x', function: { name: 'add', arguments: { b: 1 } } }],
  })
  t.equal(answered(request, [asObject]).generation.toolCalls[0]?.arguments, '{"b":1}')
  for (const [name, text] of [
    ['add', '{"a":'],
    ['add', '[1]'],
    ['add', 'null'],
    ['other', '{}'],
  ] as const) {
    const body = whole({ tool_calls: [{ id: 'x', function: { name, arguments: text } }] })
    t.match(
      failure(() => answered(request, [body])),
      /^ENGINE_FAILED/,
      `${name} ${text}`,
    )
  }
  t.end()
})

t.test('what was insisted on', (t) => {
  const text = [whole({ content: 'no' })]
  const forced = ask('a', { tools: TOOLS, toolChoice: 'required' })
  t.match(
    failure(() => answered(forced, text)),
    /did not call/,
  )
  const named = ask('a', { tools: TOOLS, toolChoice: { name: 'mul' } })
  const other = [whole({ tool_calls: [{ id: 'x', function: { name: 'add', arguments: '{}' } }] })]
  t.match(
    failure(() => answered(named, other)),
    /did not call/,
  )
  t.equal(
    answered(forced, [whole({ content: 'n' }, { finish_reason: 'length' })]).generation.text,
    'n',
  )
  const json = ask('a', { format: { kind: 'json' } })
  for (const content of ['no', '[1]', '7', '{"a"'])
    t.match(
      failure(() => answered(json, [whole({ content })])),
      /other than JSON/,
      content,
    )
  t.equal(answered(json, [whole({ content: '{"a":1}' })]).generation.text, '{"a":1}')
  const scored = ask('a', { topLogprobs: 1 })
  t.match(
    failure(() => answered(scored, text)),
    /without log-probabilities/,
  )
  t.end()
})

const score = (token: string, logprob: number, bytes?: readonly number[], top: unknown[] = []) => ({
  token,
  logprob,
  bytes: bytes ?? null,
  top_logprobs: top,
})

t.test('log-probabilities of chats', (t) => {
  const request = ask('a', { topLogprobs: 1, stop: ['END'] })
  const top = [score('b', -3), score('a', 0.0005), score('c', -5)]
  const logprobs = (...content: unknown[]) => ({ logprobs: { content } })
  const { generation, deltas } = answered(request, [
    delta({ reasoning_content: 'hm' }, logprobs(score('hm', -1))),
    delta({ content: '' }, logprobs(score('\ufffd', -1, [0xf0, 0x9f]))),
    delta({ content: '😀' }, logprobs(score('\ufffd', -2, [0x98, 0x80]))),
    delta({ content: ' a' }, logprobs(score(' a', -0.5, undefined, top))),
    delta({ content: ' EN' }, logprobs(score(' EN', -1))),
    delta({ content: 'D' }, logprobs(score('D', -1))),
    delta({}, logprobs(score('<|end|>', -1))),
    last(),
  ])
  t.equal(generation.text, '😀 a ')
  const shown = (generation.scores ?? []).map(({ text, logprob }) => [text, logprob])
  t.strictSame(shown, [
    ['\ufffd', -1],
    ['\ufffd\ufffd', -2],
    [' a', -0.5],
    [' EN', -1],
  ])
  t.strictSame(generation.scores?.[2]?.top, [{ text: 'a', bytes: utf8('a'), logprob: 0 }])
  t.equal(deltas.flatMap(({ scores = [] }) => scores).length, 4)
  for (const [wrong, message] of [
    [logprobs(score('b', -1)), /of another text/],
    [logprobs(score('a', 1)), /of another form/],
    [logprobs(score('a', -1, [300])), /of another form/],
    [logprobs({ logprob: -1 }), /of another form/],
    [{ logprobs: 7 }, /of another form/],
  ] as const)
    t.match(
      failure(() => answered(request, [delta({ content: 'a' }, wrong), last()])),
      message,
    )
  t.end()
})

t.test('log-probabilities in the classic arrays, with an echo', (t) => {
  const request = complete('a b', { echo: true, topLogprobs: 2, stop: [' b'] })
  const text = (part: string, logprobs: JsonObject) => ({
    choices: [{ index: 0, text: part, logprobs }],
  })
  const { generation } = answered(request, [
    text('a b', {
      tokens: ['a', ' b'],
      token_logprobs: [null, -0.5],
      top_logprobs: [null, { ' c': -2, ' b': -0.5, ' d': -3 }],
      text_offset: [0, 1],
    }),
    text('é', { tokens: ['bytes:\\xc3', 'bytes:\\xa9'], token_logprobs: [-1, -2] }),
    last(),
  ])
  t.equal(generation.text, 'a bé', 'a stop string in the prompt means nothing')
  t.strictSame(
    (generation.scores ?? []).map(({ logprob }) => logprob),
    [null, -0.5, -1, -2],
  )
  t.strictSame(
    generation.scores?.[1]?.top.map(({ text, logprob }) => [text, logprob]),
    [
      [' b', -0.5],
      [' c', -2],
    ],
  )
  t.strictSame(generation.scores?.[2]?.bytes, Uint8Array.of(0xc3))
  t.end()
})
