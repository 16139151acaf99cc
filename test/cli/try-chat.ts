import t from 'tap'
import { Chat, type ChatDeps, figuresText } from '../../src/cli/try-chat.ts'
import { Watts } from '../../src/cli/try-watts.ts'
import type { InferenceBackend, RunOptions } from '../../src/inference/backend.ts'
import { InferenceError } from '../../src/inference/errors.ts'
import type { Delta, Generation, GenerationRequest } from '../../src/inference/request.ts'
import { ManualClock } from '../support/clock.ts'

const { signal } = new AbortController()
const clock = new ManualClock()

/** Answers with the question in capitals, and holds so many turns. */
class Capitals {
  readonly seen: number[] = []
  readonly #turns: number
  readonly #deltas: (text: string) => Delta[]

  constructor(turns: number, deltas = (text: string): Delta[] => [{ text }]) {
    this.#turns = turns
    this.#deltas = deltas
  }

  async generate(
    request: GenerationRequest,
    { onDelta, signal }: RunOptions & { readonly onDelta?: (delta: Delta) => void },
  ): Promise<Generation> {
    const turns = request.kind === 'chat' ? request.messages : []
    if (turns.length > this.#turns) throw new InferenceError('CONTEXT_LENGTH', 'too long')
    this.seen.push(turns.length)
    const text = turns.at(-1)?.content.toUpperCase() ?? ''
    for (const delta of this.#deltas(text)) {
      await clock.advance(100)
      signal.throwIfAborted()
      onDelta?.(delta)
    }
    signal.throwIfAborted()
    const usage = { promptTokens: 20, completionTokens: 11 }
    return { text, toolCalls: [], finishReason: 'stop', usage, fingerprint: '' }
  }
}

function chatWith(backend: Capitals, more: Partial<ChatDeps> = {}) {
  let [written, said, thought] = ['', '', '']
  const cards = async () => ({ gpus: [], problems: [] })
  const chat = new Chat(
    {
      clock,
      backend: backend as unknown as InferenceBackend,
      watts: new Watts({ clock, cards }),
      write: (text) => {
        written += text
      },
      say: (text) => {
        said += `${text}\n`
      },
      think: (text) => {
        thought += text
      },
      onInterrupt: () => ({ [Symbol.dispose]() {} }),
      ...more,
    },
    signal,
  )
  return { chat, told: () => ({ written, said, thought }) }
}

t.test('what came first is forgotten when the context is full', async (t) => {
  const backend = new Capitals(3)
  const { chat, told } = chatWith(backend)
  for (const question of ['a', 'b', 'c']) await chat.ask(question)
  t.strictSame(backend.seen, [1, 3, 3])
  t.match(told(), { written: 'A\nB\nC\n', said: /^\(the eldest question is forgotten.*\n$/ })
  const none = chatWith(new Capitals(0)).chat
  await t.rejects(none.ask('a'), { code: 'CONTEXT_LENGTH' }, 'one question alone is too long')
})

t.test('thoughts are told apart, and nothing commands the terminal', async (t) => {
  const pieces = (text: string): Delta[] => [
    { reasoning: 'hm\u001b[2J' },
    { text: '\u001b]0;title\u0007' },
    { text: `${text}\n\t👩‍🚀` },
  ]
  const { chat, told } = chatWith(new Capitals(9, pieces))
  const answer = await chat.ask('a')
  t.match(told(), { thought: 'hm[2J', written: ']0;titleA\n\t👩‍🚀\n', said: '' })
  t.strictSame(answer?.figures, {
    promptTokens: 20,
    promptSeconds: 0.1,
    answerTokens: 10,
    answerSeconds: 0.2,
  })
  t.equal(
    answer && figuresText(answer),
    '(11 tokens of answer at 50.0 tokens/s; 20 of prompt at 200 tokens/s; first after 0.10 s)',
  )
})

t.test('an answer that is stopped stays in the conversation as far as it came', async (t) => {
  let stop = () => {}
  const onInterrupt = (on: () => void) => {
    stop = on
    return { [Symbol.dispose]() {} }
  }
  const pieces = (text: string): Delta[] => [{ text }, { text }]
  let isStopping = true
  const backend = new Capitals(9, pieces)
  const { chat, told } = chatWith(backend, {
    onInterrupt,
    write: () => isStopping && stop(),
  })
  t.equal(await chat.ask('a'), undefined)
  t.equal(told().said, '(stopped)\n')
  isStopping = false
  t.ok(await chat.ask('b'))
  t.strictSame(backend.seen, [1, 3])
})

t.test('figures that cannot be told are left out', async (t) => {
  const figures = { promptTokens: 0, promptSeconds: 0, answerTokens: 0, answerSeconds: 0 }
  const usage = { promptTokens: 9, completionTokens: 1, cachedTokens: 9 }
  const generation = {
    text: '',
    toolCalls: [],
    finishReason: 'length',
    usage,
    fingerprint: '',
  } as const
  t.equal(
    figuresText({ figures, generation }),
    '(1 tokens of answer; 9 of prompt, 9 of them known; first after 0.00 s; cut: the context is full)',
  )
})
