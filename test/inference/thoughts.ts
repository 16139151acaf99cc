import fc from 'fast-check'
import t from 'tap'
import {
  beginsInside,
  type ThoughtForm,
  thoughtFormOf,
  thoughtMarkers,
  thoughtStream,
} from '../../src/inference/tools/thoughts.ts'

function read(form: ThoughtForm, inside: boolean, pieces: readonly string[]) {
  const stream = thoughtStream(form, inside)
  const deltas = [...pieces.map((piece) => stream.push(piece)), stream.end()]
  return {
    reasoning: deltas.map((delta) => delta.reasoning).join(''),
    text: deltas.map((delta) => delta.text).join(''),
  }
}

const CALL = '<|channel|>commentary to=functions.f <|constrain|>json<|message|>{"a":1}'
const CASES: readonly (readonly [
  form: ThoughtForm,
  inside: boolean,
  answer: string,
  reasoning: string,
  text: string,
])[] = [
  ['none', false, '<think>a</think>b', '', '<think>a</think>b'],
  ['think', false, '<think>\nWell.\n\nSo.\n</think>\n\nYes.', 'Well.\n\nSo.', 'Yes.'],
  ['think', false, '\n <think>a</think>b', 'a', 'b'],
  ['think', true, 'Well.\n</think>\n\n  Yes.\n', 'Well.', '  Yes.\n'],
  ['think', true, '\n\n</think>\n\nYes.', '', 'Yes.'],
  ['think', true, 'no end <thi', 'no end <thi', ''],
  ['think', false, '<think>no end\n', 'no end', ''],
  ['think', false, 'No thoughts.', '', 'No thoughts.'],
  [
    'think',
    false,
    '\n\nNo thoughts, <think>quoted</think>.',
    '',
    '\n\nNo thoughts, <think>quoted</think>.',
  ],
  ['think', false, '<thin', '', '<thin'],
  ['think', false, '<think>a</think>b </think> c', 'a', 'b </think> c'],
  ['think', true, 'a < b </thin> c</think>d', 'a < b </thin> c', 'd'],
  ['think', true, 'a</think>', 'a', ''],
  ['think', true, '', '', ''],
  ['brackets', false, '[THINK]hm[/THINK]\nYes.', 'hm', 'Yes.'],
  ['brackets', false, '[1, 2]', '', '[1, 2]'],
  [
    'channels',
    false,
    '<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>Yes.<|return|>',
    'hm',
    'Yes.',
  ],
  ['channels', false, '<|channel|>final<|message|>a < b', '', 'a < b'],
  ['channels', false, '<|channel|>analysis<|message|>no end <|e', 'no end <|e', ''],
  ['channels', false, '<|channel|>anal', '', ''],
  ['channels', false, 'assistance is near', '', 'assistance is near'],
  ['channels', false, '<|channel|>analysis<|message|>a<|end|><|start|>assistant', 'a', ''],
  [
    'channels',
    false,
    '<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>analysis<|message|>b<|end|>',
    'a\nb',
    '',
  ],
  [
    'channels',
    false,
    `<|channel|>analysis<|message|>a<|end|><|start|>assistant${CALL}<|call|>`,
    'a',
    '<|channel|>commentary to=functions.f<|message|>{"a":1}<|call|>',
  ],
  [
    'channels',
    false,
    ' to=functions.f<|channel|>commentary json<|message|>{}',
    '',
    '<|channel|>commentary to=functions.f<|message|>{}',
  ],
  [
    'channels',
    false,
    '<|channel|>commentary<|message|>First I look.<|end|><|start|>assistant<|channel|>final<|message|>Done.',
    '',
    'First I look.\nDone.',
  ],
]

t.test('thoughts and text', async (t) => {
  for (const [form, inside, answer, reasoning, text] of CASES) {
    t.strictSame(read(form, inside, [answer]), { reasoning, text }, JSON.stringify(answer))
    t.strictSame(read(form, inside, [...answer]), { reasoning, text }, `by letters: ${answer}`)
  }
})

t.test('however the answer is cut', async (t) => {
  const words = [
    '<think>',
    '</think>',
    '[THINK]',
    '\n',
    ' ',
    'a',
    '<',
    '<|end|>',
    '<|message|>',
    '<|channel|>analysis',
    '<|start|>assistant',
    ' to=functions.f',
    '{}',
  ]
  fc.assert(
    fc.property(
      fc.constantFrom<ThoughtForm>('think', 'brackets', 'channels'),
      fc.boolean(),
      fc.array(fc.constantFrom(...words), { maxLength: 9 }).map((parts) => parts.join('')),
      fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 20 }),
      (form, inside, answer, sizes) => {
        const whole = read(form, inside, [answer])
        const pieces: string[] = []
        for (let at = 0, count = 0; at < answer.length; count++) {
          const size = sizes[count % sizes.length] ?? 1
          pieces.push(answer.slice(at, at + size))
          at += size
        }
        const cut = read(form, inside, pieces)
        return cut.reasoning === whole.reasoning && cut.text === whole.text
      },
    ),
    { numRuns: 500 },
  )
  t.pass('the result is the same')
})

t.test('text comes as soon as it is certain', async (t) => {
  const stream = thoughtStream('think', true)
  t.strictSame(stream.push('Well, '), { reasoning: 'Well,', text: '' })
  t.strictSame(stream.push('a <'), { reasoning: ' a', text: '' })
  t.strictSame(stream.push('b'), { reasoning: ' <b', text: '' })
  t.strictSame(stream.push('</think>\n\nY'), { reasoning: '', text: 'Y' })
  t.strictSame(stream.push('es. '), { reasoning: '', text: 'es. ' })
})

t.test('the form shows in the template, the place in the prompt', async (t) => {
  t.equal(thoughtFormOf(undefined), 'none')
  t.equal(thoughtFormOf("{{ message['content'] }}"), 'none')
  t.equal(thoughtFormOf("content.split('</think>')[-1]"), 'think')
  t.equal(thoughtFormOf("{{ '[THINK]' + block['thinking'] + '[/THINK]' }}"), 'brackets')
  t.equal(thoughtFormOf("{{ '<|start|>assistant<|channel|>analysis<|message|>' }}"), 'channels')
  t.equal(beginsInside('think', '<|im_start|>assistant\n<think>\n'), true)
  t.equal(beginsInside('think', '<|im_start|>assistant\n<think>\n\n</think>\n\n'), false)
  t.equal(beginsInside('none', '<think>'), false)
  t.equal(beginsInside('channels', '<|start|>assistant'), false)
  t.ok(thoughtMarkers('channels').includes('<|message|>'))
  t.strictSame(thoughtMarkers('think'), ['<think>', '</think>'])
  t.strictSame(thoughtMarkers('none'), [])
})
