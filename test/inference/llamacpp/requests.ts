import t from 'tap'
import { InferenceError } from '../../../src/inference/errors.ts'
import { Requests } from '../../../src/inference/llamacpp/requests.ts'
import type { ToEngine } from '../../../src/inference/llamacpp/wire.ts'
import { GREEDY_SAMPLING, user } from '../../support/tiny-model.ts'

function setUp(slots: number, queueMax: number) {
  const sent: ToEngine[] = []
  const requests = new Requests({ send: (message) => sent.push(message) }, { slots, queueMax })
  let id = 0
  const add = (signal = new AbortController().signal, onText?: (text: string) => void) =>
    requests.add(
      { type: 'chat', id: id++, messages: user('Hi'), sampling: GREEDY_SAMPLING, stop: [] },
      onText === undefined ? { signal } : { signal, onText },
    )
  const done = (id: number) =>
    requests.take({
      type: 'done',
      id,
      finishReason: 'stop',
      promptTokens: 5,
      cachedTokens: 3,
      completionTokens: 2,
    })
  const ids = () =>
    sent.map((message) => (message.type === 'load' ? 'load' : `${message.type} ${message.id}`))
  return { requests, add, done, ids }
}

t.test('an answer is what was said, piece by piece', async (t) => {
  const { requests, add, done } = setUp(1, 0)
  requests.open()
  const heard: string[] = []
  const answer = add(undefined, (text) => heard.push(text))
  requests.take({ type: 'text', id: 0, text: 'Hel' })
  requests.take({ type: 'text', id: 0, text: 'lo' })
  requests.take({ type: 'text', id: 7, text: 'about nobody' })
  done(0)
  t.strictSame(await answer, {
    text: 'Hello',
    finishReason: 'stop',
    usage: { promptTokens: 5, completionTokens: 2 },
  })
  t.strictSame(heard, ['Hel', 'lo'])
  t.equal(requests.active, 0)
})

t.test(
  'no more are out than there are slots; the rest wait in order, and then it is full',
  async (t) => {
    const { requests, add, done, ids } = setUp(2, 2)
    requests.open()
    const answers = [add(), add(), add(), add()]
    t.strictSame([requests.active, requests.queued], [2, 2])
    t.strictSame(ids(), ['chat 0', 'chat 1'])
    await t.rejects(add(), { code: 'BUSY', retryable: true })
    done(1)
    t.strictSame(ids(), ['chat 0', 'chat 1', 'chat 2'])
    for (const id of [0, 2, 3]) done(id)
    t.equal((await Promise.all(answers)).length, 4)
  },
)

t.test('without a queue a free slot is still taken', async (t) => {
  const { requests, add } = setUp(1, 0)
  await t.rejects(add(), { code: 'BUSY' }, 'no engine yet')
  requests.open()
  void add()
  t.equal(requests.active, 1)
  await t.rejects(add(), { code: 'BUSY' })
})

t.test('an abort is answered at once, and the slot is free when the engine says so', async (t) => {
  const { requests, add, done, ids } = setUp(1, 5)
  requests.open()
  const [running, waiting] = [new AbortController(), new AbortController()]
  const heard: string[] = []
  const first = add(running.signal, (text) => heard.push(text))
  const second = add(waiting.signal)
  const third = add()
  waiting.abort(new Error('second'))
  running.abort(new Error('first'))
  await t.rejects(first, { message: 'first' })
  await t.rejects(second, { message: 'second' })
  t.strictSame([requests.active, requests.queued], [1, 1])
  requests.take({ type: 'text', id: 0, text: 'too late' })
  requests.take({ type: 'refused', id: 0, code: 'STOPPED', message: 'aborted', data: {} })
  t.strictSame(ids(), ['chat 0', 'abort 0', 'chat 2'], 'the one that waited was never sent')
  t.strictSame(heard, [])
  done(2)
  await third
  running.abort()
  t.equal(ids().length, 3, 'an abort after the end means nothing')
})

t.test('a listener that throws ends its own request only', async (t) => {
  const { requests, add, ids } = setUp(2, 0)
  requests.open()
  const broken = add(undefined, () => {
    throw new Error('socket closed')
  })
  void add()
  requests.take({ type: 'text', id: 0, text: 'Hi' })
  await t.rejects(broken, { message: 'socket closed' })
  t.strictSame(ids(), ['chat 0', 'chat 1', 'abort 0'])
})

t.test('a refusal keeps its code and its facts', async (t) => {
  const { requests, add } = setUp(1, 0)
  requests.open()
  const answer = add()
  const data = { promptTokens: 300, contextSize: 256 }
  requests.take({ type: 'refused', id: 0, code: 'CONTEXT_LENGTH', message: 'too long', data })
  await t.rejects(answer, { code: 'CONTEXT_LENGTH', message: 'too long', data, retryable: false })
})

t.test('an engine that is lost takes with it what was out, and nothing else', async (t) => {
  const { requests, add, done, ids } = setUp(1, 5)
  requests.open()
  const out = add()
  const waiting = add()
  requests.lost(new InferenceError('ENGINE_FAILED', 'the engine ended', { retryable: true }))
  await t.rejects(out, { code: 'ENGINE_FAILED' })
  const late = add()
  t.strictSame([requests.active, requests.queued], [0, 2])
  requests.open()
  t.strictSame(ids(), ['chat 0', 'chat 1'])
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
