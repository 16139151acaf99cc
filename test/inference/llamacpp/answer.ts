import fc from 'fast-check'
import type { Token } from 'node-llama-cpp'
import t from 'tap'
import { AnswerStream } from '../../../src/inference/llamacpp/answer.ts'
import { TextStream } from '../../../src/inference/llamacpp/output.ts'
import type { Delta, TokenScore } from '../../../src/inference/request.ts'
import { ToolStream } from '../../../src/inference/tools/calls.ts'
import { toolFormat } from '../../../src/inference/tools/format.ts'
import { type ThoughtForm, thoughtStream } from '../../../src/inference/tools/thoughts.ts'

interface Case {
  readonly parts: readonly Uint8Array[]
  readonly thoughts?: ThoughtForm
  readonly isThinking?: boolean
  readonly stop?: string[]
  readonly tools?: boolean
  readonly parallel?: boolean
}

/** Every part is a token. */
function read({ parts, thoughts = 'none', isThinking = false, stop = [], tools, parallel }: Case) {
  const deltas: Delta[] = []
  const detokenize = (tokens: readonly Token[]) =>
    Buffer.concat(tokens.map((token) => parts[token] ?? new Uint8Array())).toString('utf8')
  const format = toolFormat('hermes')
  const calls =
    tools === true
      ? new ToolStream(
          { random: () => 0 },
          { format, tools: [{ name: 'look' }], parallel: parallel ?? true },
        )
      : undefined
  const answer = new AnswerStream({
    output: new TextStream<TokenScore>({ detokenize }, stop),
    thoughts: thoughtStream(thoughts, isThinking),
    calls,
    beginsText: true,
    onDelta: (delta) => deltas.push(delta),
  })
  for (const [at, bytes] of parts.entries()) {
    answer.push(at as Token, { text: `${at}`, bytes, logprob: -1, top: [] })
    if (answer.isOver) break
  }
  answer.end()
  const joined = (field: 'text' | 'reasoning') => deltas.map((delta) => delta[field] ?? '').join('')
  return {
    answer,
    deltas,
    text: joined('text'),
    reasoning: joined('reasoning'),
    calls: deltas.flatMap(({ toolCall }) => (toolCall === undefined ? [] : [toolCall])),
    scores: deltas.flatMap(({ scores = [] }) => scores),
  }
}

const words = (...texts: string[]) => texts.map((text) => Buffer.from(text))
const CALL = '<tool_call>\n{"name": "look", "arguments": {"at": "é"}}\n</tool_call>'

t.test('plain text comes with its scores, held back or not', async (t) => {
  const { deltas, text, scores, answer } = read({
    parts: words('one', ' END', ' two'),
    stop: ['END!'],
  })
  t.equal(text, 'one END two')
  t.strictSame(
    deltas.map(({ text = '', scores = [] }) => [text, scores.length]),
    [
      ['one', 1],
      [' ', 1],
      ['END two', 1],
    ],
  )
  t.equal(Buffer.concat(scores.map(({ bytes }) => bytes)).toString(), text)
  t.hasStrict(answer, { thoughtTokens: 0, calls: 0, isOver: false, isAtStart: false })
})

t.test('a stop string ends it, and tokens behind it have no scores', async (t) => {
  const { text, scores, answer } = read({ parts: words('a', 'bX', 'Yc', 'd'), stop: ['XY'] })
  t.equal(text, 'ab')
  t.equal(scores.length, 2)
  t.equal(answer.isOver, true)
})

t.test('thoughts come apart, are counted and have no scores', async (t) => {
  const parts = words('hm', '…', '\n</think>', '\n\n', 'Yes', '.')
  const { text, reasoning, scores, answer, deltas } = read({
    parts,
    thoughts: 'think',
    isThinking: true,
  })
  t.strictSame([reasoning, text], ['hm…', 'Yes.'])
  t.equal(answer.thoughtTokens, 3)
  t.equal(scores.map(({ text }) => text).join(), '4,5')
  t.ok(
    deltas.every((delta) => Object.keys(delta).length > 0),
    'no delta is empty',
  )
})

t.test('blank lines after a thought have neither text nor bytes', async (t) => {
  const cases = [
    ['x</think>', '\n', '\n', 'Yes'],
    ['x</think>', '\n\nYes'],
    ['x</think>\n', '  Yes'],
    ['x', '</think>', '\n', '  ', 'Yes', '\n', '!'],
  ]
  for (const parts of cases) {
    const { text, scores } = read({ parts: words(...parts), thoughts: 'think', isThinking: true })
    t.match(text, /Yes/)
    t.equal(Buffer.concat(scores.map(({ bytes }) => bytes)).toString(), text, JSON.stringify(parts))
  }
})

t.test('calls come whole; text beside them stays', async (t) => {
  const { calls, text, answer } = read({ parts: words('Look: ', CALL), tools: true })
  t.equal(text, 'Look:')
  t.match(calls, [{ id: /^call_/, name: 'look', arguments: /^\{"at": ?"é"\}$/ }])
  t.equal(answer.calls, 1)
  t.equal(answer.isOver, false)
  const only = read({ parts: words(CALL, CALL), tools: true, parallel: false })
  t.equal(only.calls.length, 1)
  t.equal(only.answer.isOver, true, 'one was enough')
  t.equal(read({ parts: words(CALL) }).text, CALL, 'without tools it is text')
})

t.test('the result does not depend on where tokens end', async (t) => {
  const texts = [
    `<think>\nhm €</think>\n\nSee: ${CALL}\n${CALL}`,
    `<think>never ended 😀`,
    `No thought. ${CALL} and on`,
    `<think></think>{"a": "b"} STOP after`,
  ]
  const cuts = fc.array(fc.nat(300), { maxLength: 30 })
  fc.assert(
    fc.property(fc.constantFrom(...texts), cuts, (text, cuts) => {
      const bytes = Buffer.from(text)
      const at = [...new Set(cuts.filter((cut) => cut > 0 && cut < bytes.length))].sort(
        (a, b) => a - b,
      )
      const parts = [0, ...at].map((start, n) => bytes.subarray(start, at[n] ?? bytes.length))
      const options: Omit<Case, 'parts'> = { thoughts: 'think', tools: true, stop: ['STOP'] }
      const [cut, whole] = [read({ ...options, parts }), read({ ...options, parts: [bytes] })]
      return (
        cut.text === whole.text &&
        cut.reasoning === whole.reasoning &&
        JSON.stringify(cut.calls) === JSON.stringify(whole.calls)
      )
    }),
  )
  t.equal(read({ parts: words(texts[0] ?? ''), thoughts: 'think', tools: true }).calls.length, 2)
})
