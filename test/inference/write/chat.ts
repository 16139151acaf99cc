import t from 'tap'
import { utf8 } from '../../../src/base/bytes.ts'
import type { Generation, TokenScore } from '../../../src/inference/request.ts'
import { ChatStream, chatBody } from '../../../src/inference/write/chat.ts'
import { usageSum } from '../../../src/inference/write/frame.ts'
import { ChatChunk, ChatCompletion } from '../../support/openai-schema.ts'

const text = (bytes: Uint8Array) => new TextDecoder('utf-8', { fatal: true }).decode(bytes)

const generation: Generation = {
  text: 'The supplier said: 502 Bad Gateway, rate limit. € and 🙂',
  toolCalls: [],
  finishReason: 'stop',
  usage: { promptTokens: 5, completionTokens: 9 },
  fingerprint: 'pk1-0123456789abcdef',
}
const frame = {
  id: 'chatcmpl-1',
  created: 1_750_000_000,
  model: 'm',
  fingerprint: generation.fingerprint,
  manifest: { v: 1 },
}
const call = { id: 'call_1', name: 'f', arguments: '{"a":1}' }
const scores: TokenScore[] = [
  {
    text: '€',
    bytes: utf8('€'),
    logprob: -0.5,
    top: [{ text: '€', bytes: utf8('€'), logprob: -0.5 }],
  },
  { text: 'x', bytes: utf8('x'), logprob: Number.NEGATIVE_INFINITY, top: [] },
]

const parsed = (choices: readonly Generation[]) =>
  ChatCompletion.parse(JSON.parse(text(chatBody(choices, generation.usage, frame))))

t.test('has the shape that readers insist on', async (t) => {
  const answer = parsed([generation])
  t.equal(answer.choices[0]?.message.content, generation.text)
  t.equal(answer.usage.total_tokens, 14)
  const full = parsed([
    { ...generation, reasoning: 'hm', scores },
    { ...generation, text: '', toolCalls: [call, call], finishReason: 'tool_calls' },
    { ...generation, text: '', finishReason: 'length' },
  ])
  const [first, second, third] = full.choices
  t.hasStrict(first?.message, { reasoning: 'hm', reasoning_content: 'hm' })
  t.strictSame(first?.logprobs?.content[0]?.bytes, [0xe2, 0x82, 0xac])
  t.equal(first?.logprobs?.content[1]?.logprob, -9_999, 'JSON has no infinity')
  t.equal(second?.message.content, null)
  t.equal(second?.message.tool_calls?.length, 2)
  t.equal(third?.message.content, '')
  t.strictSame(
    full.choices.map(({ index }) => index),
    [0, 1, 2],
  )
})

t.test('has its text beyond the bytes that gateways search', async (t) => {
  for (const pad of [0, 1, 60, 80, 90, 95, 100, 105, 400, 600]) {
    const manifest = { v: 1, note: '€'.repeat(pad) }
    const body = chatBody([generation], generation.usage, { ...frame, manifest })
    const searched = Buffer.from(body.slice(0, 512))
    t.notOk(searched.includes('choices'), `${pad}: only metadata`)
    t.ok(Buffer.from(body).includes('502 Bad Gateway'), `${pad}: the text is there`)
    t.ok(ChatCompletion.safeParse(JSON.parse(text(body))).success, `${pad}: still the shape`)
  }
  const { manifest: _, ...silent } = frame
  const body = chatBody([generation], generation.usage, silent)
  t.notOk(Buffer.from(body.slice(0, 512)).includes('choices'), 'without a manifest too')
})

t.test('has usage, fingerprint and manifest before its choices', async (t) => {
  const body = text(chatBody([generation], generation.usage, frame))
  t.strictSame(Object.keys(JSON.parse(body)), [
    'id',
    'object',
    'created',
    'model',
    'system_fingerprint',
    'usage',
    'pocket',
    'choices',
  ])
  t.notMatch(body, /"error"|tool_calls/)
})

/** The events of a stream, each checked. */
function events(sent: string) {
  const lines = sent.split('\n\n').filter((line) => line !== '')
  return lines.map((line) => {
    if (line === 'data: [DONE]') return '[DONE]'
    return ChatChunk.parse(JSON.parse(line.replace(/^data: /, '')))
  })
}

t.test(
  'a stream begins with the role, ends with a reason, and tells its usage if asked',
  async (t) => {
    const stream = new ChatStream(frame, true)
    const sent = [
      stream.begin(0),
      stream.delta(0, { reasoning: 'hm' }),
      stream.delta(0, { text: 'Hi', scores }),
      stream.delta(0, { text: '' }),
      stream.delta(0, { toolCall: call }),
      stream.delta(0, { toolCall: { ...call, id: 'call_2' } }),
      stream.end(0, { ...generation, finishReason: 'tool_calls' }),
      stream.finish(generation.usage, { v: 1 }),
    ]
    const all = events(sent.join(''))
    const chunks = all.filter((event) => typeof event !== 'string')
    const deltas = chunks.map(({ choices }) => choices[0]?.delta)
    t.strictSame(deltas[0], { role: 'assistant', content: '' })
    t.strictSame(deltas[1], { reasoning: 'hm', reasoning_content: 'hm' })
    t.equal(deltas[2]?.content, 'Hi')
    t.equal(chunks[2]?.choices[0]?.logprobs?.content.length, 2)
    t.strictSame(
      [deltas[3], deltas[4]].map((delta) => delta?.tool_calls?.[0]?.index),
      [0, 1],
    )
    t.strictSame(deltas[5], {})
    t.equal(chunks[5]?.choices[0]?.finish_reason, 'tool_calls')
    t.strictSame(
      chunks.slice(0, 6).map(({ usage }) => usage),
      Array(6).fill(null),
    )
    t.strictSame(chunks[6]?.choices, [])
    t.equal(chunks[6]?.usage?.total_tokens, 14)
    t.equal(all.at(-1), '[DONE]')
  },
)

t.test('a stream whose usage nobody asked for has no such key', async (t) => {
  const stream = new ChatStream(frame, false)
  const sent = `${stream.begin(0)}${stream.end(0, generation)}${stream.finish(generation.usage, {})}`
  t.notMatch(sent, /usage/)
  t.equal(events(sent).length, 3)
})

t.test('usage of several choices: the prompt once, everything that was made', async (t) => {
  const one = { promptTokens: 5, completionTokens: 2, cachedTokens: 3, reasoningTokens: 1 }
  t.strictSame(usageSum([one], [one, one, one]), {
    promptTokens: 5,
    completionTokens: 6,
    cachedTokens: 3,
    reasoningTokens: 3,
  })
})
