import fc from 'fast-check'
import t from 'tap'
import {
  type FromEngine,
  parseFromEngine,
  parseToEngine,
  type ToEngine,
  WIRE_LIMITS,
} from '../../../src/inference/llamacpp/wire.ts'
import {
  chat as chatMessage,
  GREEDY_SETTINGS,
  TINY_OPTIONS,
  user,
} from '../../support/tiny-model.ts'

const chat = chatMessage('Hi')
const said = (messages: unknown[]) => ({ ...chat, prompt: { ...chat.prompt, messages } })
const settings = { ...GREEDY_SETTINGS, logitBias: new Map() }

const TO_ENGINE: readonly ToEngine[] = [
  { type: 'load', niceness: 0, ...TINY_OPTIONS },
  {
    type: 'load',
    niceness: 0,
    ...TINY_OPTIONS,
    library: 'file:///x.js',
    gpu: 'cuda',
    gpuLayers: 0,
    vramMax: 1,
    contextSize: 'auto',
    slots: 'auto',
    templateArguments: { a: true },
  },
  chat,
  {
    ...chat,
    prompt: {
      kind: 'chat',
      messages: [
        { role: 'system', content: '' },
        {
          role: 'assistant',
          content: '',
          reasoning: 'hm',
          toolCalls: [{ id: 'call_1', name: 'f', arguments: '{}' }],
        },
        { role: 'tool', content: 'x', toolCallId: 'call_1', name: 'f' },
      ],
      tools: [{ name: 'f', description: 'x', parameters: { type: 'object' } }],
      toolChoice: { name: 'f' },
      parallelToolCalls: false,
      thinking: { enabled: true, tokensMax: 5 },
    },
    settings: {
      ...settings,
      seed: 2n ** 64n - 1n,
      logitBias: new Map([[3, -100]]),
      topLogprobs: 20,
    },
    tokensMax: 1,
    stop: ['\n'],
    grammar: 'root ::= "a"',
  },
  { ...chat, prompt: { kind: 'text', text: '', suffix: 'x' }, tokensMax: 0, echo: true },
  { ...chat, prompt: { kind: 'tokens', tokens: [1, 2] } },
  { type: 'embed', id: 1, inputs: ['a', [1]] },
  { type: 'tokenize', id: 1, of: 'a', addSpecial: true },
  { type: 'tokenize', id: 1, of: [{ role: 'user', content: 'a' }], addSpecial: true },
  { type: 'detokenize', id: 1, tokens: [0] },
  { type: 'abort', id: 1 },
  { type: 'ping', id: 2, probe: true },
]

const score = {
  text: 'a',
  bytes: Uint8Array.of(97),
  logprob: null,
  top: [{ text: 'b', bytes: Uint8Array.of(98), logprob: -1 }],
}
const hash = 'ab'.repeat(32)
const FROM_ENGINE: readonly FromEngine[] = [
  {
    ...{ type: 'ready', device: 'cpu', contextSize: 256, slots: 4, threads: 1, engine: 'x' },
    ...{ onCpu: true, hasGpu: false, vocabularySize: 640, quantisation: 'Q8_0' },
    ...{ templateSha256: hash, tokenizerSha256: hash, thinking: false, infill: true },
  },
  { type: 'unready', code: 'MODEL_LOAD', message: 'x' },
  { type: 'delta', id: 0, text: '😀', scores: [score] },
  { type: 'delta', id: 0, reasoning: 'hm' },
  { type: 'delta', id: 0, toolCall: { id: 'call_1', name: 'f', arguments: '{}' } },
  {
    ...{ type: 'done', id: 0, finishReason: 'length', promptTokens: 1, cachedTokens: 0 },
    ...{ completionTokens: 1, reasoningTokens: 0 },
  },
  { type: 'vectors', id: 0, vectors: [new Float32Array(2)], promptTokens: 1 },
  { type: 'tokens', id: 0, tokens: [1] },
  { type: 'words', id: 0, text: 'x' },
  { type: 'refused', id: 0, code: 'BAD_REQUEST', message: 'x', data: { param: 'messages' } },
  { type: 'pong', id: 0, steps: 1, active: 0, tokensPerSecond: 0.5 },
] as FromEngine[]

t.test('what is said is understood as it was said', async (t) => {
  for (const message of TO_ENGINE) t.strictSame(parseToEngine(message), message, message.type)
  for (const message of FROM_ENGINE) t.strictSame(parseFromEngine(message), message, message.type)
})

t.test('a missing, an odd or an additional field is no message', async (t) => {
  const both = [
    [TO_ENGINE, parseToEngine, 'BAD_REQUEST'],
    [FROM_ENGINE, parseFromEngine, 'ENGINE_FAILED'],
  ] as const
  for (const [messages, parse, code] of both) {
    for (const message of messages) {
      t.throws(() => parse({ ...message, more: 1 }), { code }, `${message.type} with more`)
      for (const name of Object.keys(message)) {
        for (const odd of [null, new Date(0)])
          t.throws(() => parse({ ...message, [name]: odd }), { code }, `${message.type}.${name}`)
      }
    }
  }
  t.throws(() => parseToEngine(FROM_ENGINE[0]), { code: 'BAD_REQUEST' }, 'the wrong way round')
  t.throws(() => parseFromEngine(TO_ENGINE[0]), { code: 'ENGINE_FAILED' }, 'the wrong way round')
})

t.test('limits', async (t) => {
  const long = 'x'.repeat(WIRE_LIMITS.contentMax / 2)
  t.ok(parseToEngine(said([...user(long), ...user(long)])))
  const many = Array.from({ length: WIRE_LIMITS.messagesMax + 1 }, () => user('x')[0])
  const with_ = (more: object) => ({ ...chat, settings: { ...settings, ...more } })
  const biases = new Map(Array.from({ length: WIRE_LIMITS.biasMax + 1 }, (_, n) => [n, 1]))
  const tooMuch: readonly [string, unknown][] = [
    ['all messages together', said([...user(long), ...user(long), ...user('x')])],
    ['messages', said(many)],
    ['no message', said([])],
    ['a role', said([{ role: 'developer', content: 'x' }])],
    ['stops', { ...chat, stop: Array.from({ length: WIRE_LIMITS.stopMax + 1 }, () => 'x') }],
    ['a stop', { ...chat, stop: ['x'.repeat(WIRE_LIMITS.stopTextMax + 1)] }],
    ['a seed', with_({ seed: 2n ** 64n })],
    ['a negative seed', with_({ seed: -1n })],
    ['a bias', with_({ logitBias: new Map([[1, 101]]) })],
    ['biases', with_({ logitBias: biases })],
    ['log-probabilities', with_({ topLogprobs: 21 })],
    ['negative tokens', { ...chat, tokensMax: -1 }],
    ['inputs', { type: 'embed', id: 0, inputs: [] }],
    ['a token', { type: 'detokenize', id: 0, tokens: [2 ** 31] }],
    ['slots', { type: 'load', niceness: 0, ...TINY_OPTIONS, slots: WIRE_LIMITS.slotsMax + 1 }],
  ]
  for (const [name, message] of tooMuch)
    t.throws(() => parseToEngine(message), { code: 'BAD_REQUEST' }, name)
  t.throws(
    () => parseFromEngine({ type: 'delta', id: 0, text: 'x'.repeat(WIRE_LIMITS.contentMax + 1) }),
    { code: 'ENGINE_FAILED' },
  )
})

t.test('an error says which field, and not what a person wrote', async (t) => {
  const secret = said([{ role: 'user', content: 'my password is 1234', more: 'my password' }])
  try {
    parseToEngine(secret)
    t.fail('it was taken')
  } catch (error) {
    t.match(error, { message: /prompt\.messages\.0/ })
    t.notMatch((error as Error).message, /password/)
  }
})

t.test('nothing but a message passes', async () => {
  fc.assert(
    fc.property(fc.anything(), (value) => {
      for (const parse of [parseToEngine, parseFromEngine]) {
        try {
          parse(value)
          return false
        } catch (error) {
          if (!/protocol/.test(String(error))) return false
        }
      }
      return true
    }),
  )
})
