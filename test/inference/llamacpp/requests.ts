import t from 'tap'
import { InferenceError } from '../../../src/inference/errors.ts'
import { Requests } from '../../../src/inference/llamacpp/requests.ts'
import type { GenerateMessage, ToEngine } from '../../../src/inference/llamacpp/wire.ts'
import type { Delta, TokenScore } from '../../../src/inference/request.ts'
import { chat, GREEDY_SETTINGS } from '../../support/tiny-model.ts'

function setUp(slots: number, queueMax: number) {
  const sent: ToEngine[] = []
  const requests = new Requests({ send: (message) => sent.push(message) }, { queueMax })
  let id = 0
  const add = (
    signal = new AbortController().signal,
    onDelta: (delta: Delta) => void = () => {},
    more: Partial<GenerateMessage> = {},
  ) => requests.add(chat('Hi', { id: id++, ...more }), { signal, onDelta })
  const done = (id: number) =>
    requests.take({
      type: 'done',
      id,
      finishReason: 'stop',
      promptTokens: 5,
      cachedTokens: 3,
      completionTokens: 2,
      reasoningTokens: 0,
    })
  const ids = () =>
    sent.map((message) => (message.type === 'load' ? 'load' : `${message.type} ${message.id}`))
  const open = () => requests.open(slots)
  return { requests, open, add, done, ids }
}

t.test('an answer is what was said, piece by piece', async (t) => {
  const { requests, open, add, done } = setUp(1, 0)
  open()
  const heard: string[] = []
  const answer = add(undefined, ({ text = '' }) => heard.push(text))
  requests.take({ type: 'delta', id: 0, text: 'Hel' })
  requests.take({ type: 'delta', id: 0, text: 'lo' })
  requests.take({ type: 'delta', id: 7, text: 'about nobody' })
  done(0)
  t.strictSame(await answer, {
    type: 'done',
    id: 0,
    text: 'Hello',
    toolCalls: [],
    finishReason: 'stop',
    promptTokens: 5,
    cachedTokens: 3,
    completionTokens: 2,
    reasoningTokens: 0,
  })
  t.strictSame(heard, ['Hel', 'lo'])
  t.equal(requests.active, 0)
})

t.test(
  'no more are out than there are slots; the rest wait in order, and then it is full',
  async (t) => {
    const { requests, open, add, done, ids } = setUp(2, 2)
    open()
    const answers = [add(), add(), add(), add()]
    t.strictSame([requests.active, requests.queued], [2, 2])
    t.strictSame(ids(), ['generate 0', 'generate 1'])
    await t.rejects(add(), { code: 'BUSY', retryable: true })
    done(1)
    t.strictSame(ids(), ['generate 0', 'generate 1', 'generate 2'])
    for (const id of [0, 2, 3]) done(id)
    t.equal((await Promise.all(answers)).length, 4)
  },
)

t.test('without a queue a free slot is still taken', async (t) => {
  const { requests, open, add } = setUp(1, 0)
  await t.rejects(add(), { code: 'BUSY' }, 'no engine yet')
  open()
  void add()
  t.equal(requests.active, 1)
  await t.rejects(add(), { code: 'BUSY' })
})

t.test('an abort is answered at once, and the slot is free when the engine says so', async (t) => {
  const { requests, open, add, done, ids } = setUp(1, 5)
  open()
  const [running, waiting] = [new AbortController(), new AbortController()]
  const heard: string[] = []
  const first = add(running.signal, ({ text = '' }) => heard.push(text))
  const second = add(waiting.signal)
  const third = add()
  waiting.abort(new Error('second'))
  running.abort(new Error('first'))
  await t.rejects(first, { message: 'first' })
  await t.rejects(second, { message: 'second' })
  t.strictSame([requests.active, requests.queued], [1, 1])
  requests.take({ type: 'delta', id: 0, text: 'too late' })
  requests.take({ type: 'refused', id: 0, code: 'STOPPED', message: 'aborted', data: {} })
  t.strictSame(ids(), ['generate 0', 'abort 0', 'generate 2'], 'the one that waited was never sent')
  t.strictSame(heard, [])
  done(2)
  await third
  running.abort()
  t.equal(ids().length, 3, 'an abort after the end means nothing')
})

t.test('a listener that throws ends its own request only', async (t) => {
  const { requests, open, add, ids } = setUp(2, 0)
  open()
  const broken = add(undefined, () => {
    throw new Error('socket closed')
  })
  void add()
  requests.take({ type: 'delta', id: 0, text: 'Hi' })
  await t.rejects(broken, { message: 'socket closed' })
  t.strictSame(ids(), ['generate 0', 'generate 1', 'abort 0'])
})

t.test('a refusal keeps its code and its facts', async (t) => {
  const { requests, open, add } = setUp(1, 0)
  open()
  const answer = add()
  const data = { promptTokens: 300, contextSize: 256 }
  requests.take({ type: 'refused', id: 0, code: 'CONTEXT_LENGTH', message: 'too long', data })
  await t.rejects(answer, { code: 'CONTEXT_LENGTH', message: 'too long', data, retryable: false })
})

t.test('an engine that is lost takes with it what was out, and nothing else', async (t) => {
  const { requests, open, add, done, ids } = setUp(1, 5)
  open()
  const out = add()
  const waiting = add()
  const gone = requests.lost(
    new InferenceError('ENGINE_FAILED', 'the engine ended', { retryable: true }),
  )
  t.strictSame(
    gone.map(({ id }) => id),
    [0],
    'tells what was out',
  )
  await t.rejects(out, { code: 'ENGINE_FAILED' })
  const late = add()
  t.strictSame([requests.active, requests.queued], [0, 2])
  open()
  t.strictSame(ids(), ['generate 0', 'generate 1'])
  done(1)
  await waiting
  requests.lost(new Error('again'))
  await t.rejects(late, { message: 'again' })
})

t.test('nobody has to wait for ever', async (t) => {
  const { requests, add } = setUp(1, 5)
  const waiting = [add(), add()]
  requests.failWaiting(new Error('does not come back'))
  for (const answer of waiting) await t.rejects(answer, { message: 'does not come back' })
})

t.test('thoughts, calls and scores are gathered as they come', async (t) => {
  const { requests, open, add, done } = setUp(2, 0)
  open()
  const settings = { ...GREEDY_SETTINGS, logitBias: new Map(), topLogprobs: 0 }
  const scored = add(undefined, undefined, { settings })
  const plain = add()
  const score: TokenScore = { text: 'a', bytes: Uint8Array.of(97), logprob: -1, top: [] }
  const toolCall = { id: 'call_1', name: 'f', arguments: '{}' }
  for (const id of [0, 1]) {
    requests.take({ type: 'delta', id, reasoning: 'hm' })
    requests.take({
      type: 'delta',
      id,
      text: 'a',
      scores: [{ ...score, bytes: Uint8Array.of(97), top: [] }],
    })
    requests.take({ type: 'delta', id, toolCall })
    done(id)
  }
  t.match(await scored, { reasoning: 'hm', text: 'a', toolCalls: [toolCall], scores: [score] })
  t.equal((await plain).scores, undefined, 'nobody asked for them')
})
