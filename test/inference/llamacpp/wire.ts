import fc from 'fast-check'
import t from 'tap'
import {
  type ChatMessageToEngine,
  type FromEngine,
  parseFromEngine,
  parseToEngine,
  type ToEngine,
  WIRE_LIMITS,
} from '../../../src/inference/llamacpp/wire.ts'
import { GREEDY_SAMPLING, TINY_OPTIONS, user } from '../../support/tiny-model.ts'

const chat: ChatMessageToEngine = {
  type: 'chat',
  id: 0,
  messages: user('Hi'),
  sampling: GREEDY_SAMPLING,
  stop: [],
}

const TO_ENGINE: readonly ToEngine[] = [
  { type: 'load', niceness: 0, ...TINY_OPTIONS },
  {
    type: 'load',
    niceness: 0,
    ...TINY_OPTIONS,
    library: 'file:///x.js',
    gpu: 'cuda',
    gpuLayers: 0,
    templateArguments: { a: true },
  },
  { ...chat, messages: user('Hi') },
  { ...chat, messages: user(''), tokensMax: 1, stop: ['\n'] },
  { type: 'abort', id: 1 },
  { type: 'ping', id: 2 },
]

const FROM_ENGINE: readonly FromEngine[] = [
  { type: 'ready', device: 'cpu', contextSize: 256, threads: 1, engine: 'x' },
  { type: 'unready', code: 'MODEL_LOAD', message: 'x' },
  { type: 'text', id: 0, text: '😀' },
  {
    type: 'done',
    id: 0,
    finishReason: 'length',
    promptTokens: 1,
    cachedTokens: 0,
    completionTokens: 1,
  },
  { type: 'refused', id: 0, code: 'BAD_REQUEST', message: 'x', data: { param: 'messages' } },
  { type: 'pong', id: 0, steps: 1, active: 0, tokensPerSecond: 0.5 },
]

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
  t.ok(parseToEngine({ ...chat, messages: [...user(long), ...user(long)] }))
  const many = Array.from({ length: WIRE_LIMITS.messagesMax + 1 }, () => user('x')[0])
  const tooMuch: readonly [string, unknown][] = [
    ['all messages together', { ...chat, messages: [...user(long), ...user(long), ...user('x')] }],
    ['messages', { ...chat, messages: many }],
    ['no message', { ...chat, messages: [] }],
    ['stops', { ...chat, stop: Array.from({ length: WIRE_LIMITS.stopMax + 1 }, () => 'x') }],
    ['a stop', { ...chat, stop: ['x'.repeat(WIRE_LIMITS.stopTextMax + 1)] }],
    ['a seed', { ...chat, sampling: { ...GREEDY_SAMPLING, seed: 2 ** 32 } }],
    ['no tokens', { ...chat, tokensMax: 0 }],
    ['a role', { ...chat, messages: [{ role: 'tool', content: 'x' }] }],
    ['slots', { type: 'load', niceness: 0, ...TINY_OPTIONS, slots: WIRE_LIMITS.slotsMax + 1 }],
  ]
  for (const [name, message] of tooMuch)
    t.throws(() => parseToEngine(message), { code: 'BAD_REQUEST' }, name)
  t.throws(
    () => parseFromEngine({ type: 'text', id: 0, text: 'x'.repeat(WIRE_LIMITS.textMax + 1) }),
    { code: 'ENGINE_FAILED' },
  )
})

t.test('an error says which field, and not what a person wrote', async (t) => {
  const secret = {
    ...chat,
    messages: [{ role: 'user', content: 'my password is 1234', more: 'my password' }],
  }
  try {
    parseToEngine(secret)
    t.fail('it was taken')
  } catch (error) {
    t.match(error, { message: /messages\.0/ })
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
