import fc from 'fast-check'
import t from 'tap'
import type { Tool } from '../../src/inference/request.ts'
import { ToolStream } from '../../src/inference/tools/calls.ts'
import { type ToolFormatName, toolFormat, toolFormatOf } from '../../src/inference/tools/format.ts'
import { chance } from '../support/random-schema.ts'

const TOOLS: readonly Tool[] = [
  {
    name: 'get_weather',
    description: 'The weather in a city.',
    parameters: {
      type: 'object',
      properties: { city: { type: 'string' }, days: { type: 'integer' }, id: { type: 'string' } },
      required: ['city'],
    },
  },
  { name: 'get_time' },
]

type Call = readonly [name: string, args: string]
interface Read {
  readonly text: string
  readonly calls: readonly Call[]
}

function read(name: ToolFormatName, pieces: readonly string[], parallel = true): Read {
  const stream = new ToolStream(
    { random: chance(1) },
    { format: toolFormat(name), tools: TOOLS, parallel },
  )
  const deltas = [...pieces.map((piece) => stream.push(piece)), stream.end()]
  return {
    text: deltas.map((delta) => delta.text).join(''),
    calls: deltas.flatMap(({ calls }) => calls.map((call) => [call.name, call.arguments] as const)),
  }
}

const W: Call = ['get_weather', '{"city":"Rome"}']
const T: Call = ['get_time', '{}']
const HERMES_W = '<tool_call>\n{"name": "get_weather", "arguments": {"city":"Rome"}}\n</tool_call>'
const HERMES_T = '<tool_call>{"name":"get_time","arguments":{}}</tool_call>'
const DS = {
  begin: '<｜tool▁calls▁begin｜>',
  call: '<｜tool▁call▁begin｜>',
  sep: '<｜tool▁sep｜>',
  end: '<｜tool▁call▁end｜>',
  close: '<｜tool▁calls▁end｜>',
}

const CASES: readonly (readonly [ToolFormatName, answer: string, text: string, ...Call[]])[] = [
  ['hermes', 'No call.\n', 'No call.\n'],
  ['hermes', HERMES_W, '', W],
  ['generic', `I look.\n\n${HERMES_W}\n${HERMES_T}\n`, 'I look.', W, T],
  ['hermes', `${HERMES_W} and more`, ' and more', W],
  ['hermes', `${HERMES_W.replace('\n</tool_call>', '')}`, '', W],
  ['hermes', `${HERMES_W.replace('</tool_call>', '')}${HERMES_T}`, '', W, T],
  ['hermes', 'a < b <tool', 'a < b <tool'],
  ['hermes', '<tool_call>not JSON</tool_call>', '<tool_call>not JSON</tool_call>'],
  [
    'hermes',
    '<tool_call>{"name": "get_time", "arguments": {]}</tool_call>',
    '<tool_call>{"name": "get_time", "arguments": {]}</tool_call>',
  ],
  ['hermes', '<tool_call>{"name": "get_time", "arg', '<tool_call>{"name": "get_time", "arg'],
  [
    'hermes',
    '<tool_call>{"name":"other","arguments":{}}</tool_call>',
    '<tool_call>{"name":"other","arguments":{}}</tool_call>',
  ],
  [
    'hermes',
    '<tool_call>{"name":"get_time","arguments":[1]}</tool_call>x',
    '<tool_call>{"name":"get_time","arguments":[1]}</tool_call>x',
  ],
  ['hermes', '<tool_call>{"name":"get_time"}</tool_call>', '', T],
  ['hermes', '<tool_call>{"name":"get_time","arguments":null}</tool_call>', '', T],
  [
    'hermes',
    '<tool_call>{"name":"get_weather","arguments":"{\\"city\\":\\"Rome\\"}"}</tool_call>',
    '',
    W,
  ],
  [
    'hermes',
    '<tool_call>{"arguments":{"city":"}</tool_call>\\"{"},"name":"get_weather"}</tool_call>',
    '',
    ['get_weather', '{"city":"}</tool_call>\\"{"}'],
  ],
  [
    'hermes',
    '<tool_call>{"type":"function","function":{"name":"get_time","parameters":{}}}</tool_call>',
    '',
    T,
  ],
  [
    'hermes',
    '<tool_call>{"name":"get_weather","arguments":{"id": 12345678901234567890}}</tool_call>',
    '',
    ['get_weather', '{"id": 12345678901234567890}'],
  ],
  ['llama3', '{"name": "get_weather", "parameters": {"city":"Rome"}}', '', W],
  ['llama3', '<|python_tag|>{"name": "get_time", "parameters": {}}', '', T],
  ['llama3', '{"type": "function", "name": "get_time", "parameters": {}}', '', T],
  [
    'llama3',
    '\n{"name":"get_time","parameters":{}}; {"name":"get_weather","parameters":{"city":"Rome"}}\n',
    '',
    T,
    W,
  ],
  ['llama3', '{"answer": {"name": "get_time"}}', '{"answer": {"name": "get_time"}}'],
  ['llama3', 'See {"name":"get_time","parameters":{}}', 'See {"name":"get_time","parameters":{}}'],
  ['llama3', '<|python_tag|>print(1)', '<|python_tag|>print(1)'],
  ['llama3', '{"name": "other", "parameters": {}}', '{"name": "other", "parameters": {}}'],
  [
    'mistral',
    '[TOOL_CALLS][{"name": "get_weather", "arguments": {"city":"Rome"}}, {"name":"get_time","arguments":{}}]',
    '',
    W,
    T,
  ],
  ['mistral', 'Yes. [TOOL_CALLS] [{"name":"get_time","arguments":{}}', 'Yes.', T],
  ['mistral', '[TOOL_CALLS][]', '[TOOL_CALLS][]'],
  ['mistral', '[TOOL_CALLS] nothing', '[TOOL_CALLS] nothing'],
  [
    'mistral-args',
    '[TOOL_CALLS]get_weather[ARGS]{"city":"Rome"}[TOOL_CALLS]get_time[ARGS]{}',
    '',
    W,
    T,
  ],
  ['mistral-args', '[TOOL_CALLS]get_time[CALL_ID]a1b2c3d4e[ARGS]{}', '', T],
  ['mistral-args', '[TOOL_CALLS]no name at all[ARGS]{}', '[TOOL_CALLS]no name at all[ARGS]{}'],
  [
    'deepseek',
    `${DS.begin}${DS.call}function${DS.sep}get_weather\n\`\`\`json\n{"city":"Rome"}\n\`\`\`${DS.end}\n${DS.call}function${DS.sep}get_time\n\`\`\`json\n{}\n\`\`\`${DS.end}${DS.close}`,
    '',
    W,
    T,
  ],
  [
    'deepseek',
    `Hm. ${DS.begin}${DS.call}get_weather${DS.sep}{"city":"Rome"}${DS.end}${DS.close}`,
    'Hm.',
    W,
  ],
  ['deepseek', `${DS.call}?${DS.end}`, `${DS.call}?${DS.end}`],
  [
    'harmony',
    '<|channel|>commentary to=functions.get_weather<|message|>{"city":"Rome"}<|call|>',
    '',
    W,
  ],
  ['harmony', '<|channel|>commentary to=functions.get_time <|constrain|>json<|message|>{}', '', T],
  [
    'functionary',
    'x<function=get_weather>{"city":"Rome"}</function><function=get_time>{}</function>',
    'x',
    W,
    T,
  ],
  ['functionary', '<function=get_weather>no</function>', '<function=get_weather>no</function>'],
  [
    'elements',
    '<tool_call>\n<function=get_weather>\n<parameter=city>\nRome\n</parameter>\n<parameter=days>\n3\n</parameter>\n<parameter=id>\n42\n</parameter>\n</function>\n</tool_call>',
    '',
    ['get_weather', '{"city":"Rome","days":3,"id":"42"}'],
  ],
  ['elements', `${HERMES_W}<function=get_time>\n</function>`, '', W, T],
  ['elements', '<tool_call>words', '<tool_call>words'],
]

t.test('calls and text', async (t) => {
  for (const [name, answer, text, ...calls] of CASES) {
    t.strictSame(read(name, [answer]), { text, calls }, `${name}: ${answer}`)
    t.strictSame(read(name, [...answer]), { text, calls }, `by letters: ${answer}`)
  }
})

t.test('however the answer is cut', async (t) => {
  const sizes = fc.array(fc.integer({ min: 1, max: 25 }), { minLength: 1, maxLength: 20 })
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom(...CASES), { minLength: 1, maxLength: 3 }),
      sizes,
      fc.boolean(),
      fc.nat(),
      (cases, pattern, parallel, end) => {
        const [name] = cases[0] ?? ['hermes']
        const all = cases.map(([, answer]) => answer).join('\n')
        const answer = all.slice(0, 1 + (end % (all.length * 2)))
        const pieces: string[] = []
        for (let at = 0, count = 0; at < answer.length; count++) {
          const size = pattern[count % pattern.length] ?? 1
          pieces.push(answer.slice(at, at + size))
          at += size
        }
        const whole = read(name, [answer], parallel)
        const cut = read(name, pieces, parallel)
        for (const [, args] of whole.calls) JSON.parse(args)
        return JSON.stringify(cut) === JSON.stringify(whole)
      },
    ),
    { numRuns: 1500 },
  )
  t.pass('the result is the same')
})

t.test('one call only, where more are not wanted', async (t) => {
  const stream = new ToolStream(
    { random: chance(3) },
    { format: toolFormat('hermes'), tools: TOOLS, parallel: false },
  )
  const first = stream.push(`Well: ${HERMES_W}${HERMES_T}`)
  t.equal(first.text, 'Well:')
  t.match(first.calls, [{ name: 'get_weather' }])
  t.equal(first.calls.length, 1)
  t.equal(stream.done, true)
  t.strictSame(stream.push(`more ${HERMES_T}`), { text: '', calls: [] })
  t.strictSame(stream.end(), { text: '', calls: [] })
  const list = '[TOOL_CALLS][{"name":"get_time","arguments":{}},{"name":"get_time","arguments":{}}]'
  t.strictSame(read('mistral', [list], false).calls, [T])
})

t.test('ids are letters and digits by chance', async (t) => {
  const ids = (random: () => number) => {
    const options = { format: toolFormat('hermes'), tools: TOOLS, parallel: true }
    const stream = new ToolStream({ random }, options)
    return stream.push(HERMES_W + HERMES_T).calls.map(({ id }) => id)
  }
  const [a, b] = ids(chance(5))
  t.match(a, /^call_[A-Za-z0-9]{24}$/)
  t.match(b, /^call_[A-Za-z0-9]{24}$/)
  t.not(a, b)
  t.strictSame(
    ids(() => 0.999999),
    Array(2).fill(`call_${'9'.repeat(24)}`),
  )
})

t.test('text is shown as soon as it can be no call', async (t) => {
  const options = { format: toolFormat('hermes'), tools: TOOLS, parallel: true }
  const stream = new ToolStream({ random: chance(1) }, options)
  t.equal(stream.push('Hello, ').text, 'Hello,')
  t.equal(stream.push('a <').text, ' a')
  t.equal(stream.push('b').text, ' <b')
  t.equal(stream.push('<tool_call>').text, '')
  t.equal(stream.push('x').text, '<tool_call>x')
  const long = new ToolStream({ random: chance(1) }, options)
  const args = JSON.stringify({ city: 'x'.repeat(200) })
  const letters = [...`<tool_call>{"name":"get_weather","arguments":${args}}</tool_call>`]
  const last = letters.map((letter) => long.push(letter)).at(-1)
  t.equal(last?.calls[0]?.arguments, args, 'a call comes with its last letter')
  const llama = new ToolStream({ random: chance(1) }, { ...options, format: toolFormat('llama3') })
  t.equal(llama.push('{"na').text, '')
  t.equal(llama.push('tion"').text, '{"nation"', 'an answer in JSON need not wait for its end')
})

t.test('the form shows in the template', async (t) => {
  const list = '{%- if tools %}{{ tools | tojson }}{% endif %}'
  const rows: readonly (readonly [template: string | undefined, name: ToolFormatName])[] = [
    [undefined, 'generic'],
    ["{{ message['content'] }}", 'generic'],
    ["{{ '<tool_call>' + message.tool_calls + '\"arguments\"' }}", 'generic'],
    [
      `${list}<tool_call>\\n{"name": <function-name>, "arguments": <args>}\\n</tool_call>`,
      'hermes',
    ],
    [`${list}<tool_call>{\\"arguments\\"`, 'hermes'],
    [`${list}<tool_call>\\n<function=a>\\n<parameter=b>`, 'elements'],
    [`${list}<tool_call>name<arg_key>`, 'generic'],
    [`${list}<|start_header_id|>{"name": function name, "parameters": dictionary}`, 'llama3'],
    [`${list}[TOOL_CALLS]`, 'mistral'],
    [`${list}[TOOL_CALLS]x[ARGS]`, 'mistral-args'],
    [`${list}<｜tool▁call▁begin｜>function<｜tool▁sep｜>`, 'deepseek'],
    [`${list}<|channel|>commentary to=functions.`, 'harmony'],
    [`${list}'<function=' + name`, 'functionary'],
    [`${list}<|tool_call|>`, 'generic'],
  ]
  for (const [template, name] of rows) t.equal(toolFormatOf(template).name, name, `${template}`)
})
