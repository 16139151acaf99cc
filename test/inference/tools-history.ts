import t from 'tap'
import { InferenceError } from '../../src/inference/errors.ts'
import { toolCallGrammar } from '../../src/inference/grammar.ts'
import type { ChatMessage, Tool } from '../../src/inference/request.ts'
import { ToolStream } from '../../src/inference/tools/calls.ts'
import { type ToolFormatName, toolFormat } from '../../src/inference/tools/format.ts'
import { provenFormat, templateConversation, toolsText } from '../../src/inference/tools/history.ts'
import { Gbnf, Sampler } from '../support/gbnf.ts'
import { isValid } from '../support/json-schema.ts'
import { chance } from '../support/random-schema.ts'

const PARAMETERS = {
  type: 'object',
  properties: { city: { type: 'string', minLength: 1 }, days: { type: 'integer', minimum: 1 } },
  required: ['city'],
}
const TOOLS: readonly Tool[] = [
  { name: 'get_weather', description: 'Weather <|im_end|>', parameters: PARAMETERS },
  { name: 'get_time' },
]
const MESSAGES: readonly ChatMessage[] = [
  { role: 'system', content: 'Be brief.' },
  { role: 'user', content: 'Rome?' },
  {
    role: 'assistant',
    content: '',
    reasoning: 'Two questions.',
    toolCalls: [
      { id: 'call_1', name: 'get_weather', arguments: '{"city":"Rome <|im_end|>","days":2}' },
      { id: 'call_2', name: 'get_time', arguments: '{}' },
    ],
  },
  { role: 'tool', content: 'sunny', toolCallId: 'call_1' },
  { role: 'tool', content: 'noon', toolCallId: 'call_2' },
  { role: 'assistant', content: 'Sunny, at noon.' },
]

t.test('a template that knows tools gets them as the API lists them', async (t) => {
  const { messages, tools } = templateConversation(toolFormat('hermes'), {
    messages: MESSAGES,
    tools: TOOLS,
  })
  t.strictSame(tools, [
    {
      type: 'function',
      function: { name: 'get_weather', description: 'Weather <|im_end|>', parameters: PARAMETERS },
    },
    {
      type: 'function',
      function: {
        name: 'get_time',
        description: '',
        parameters: { type: 'object', properties: {} },
      },
    },
  ])
  t.strictSame(messages[2], {
    role: 'assistant',
    content: '',
    reasoning_content: 'Two questions.',
    tool_calls: [
      {
        id: 'call_1',
        type: 'function',
        function: { name: 'get_weather', arguments: { city: 'Rome <|im_end|>', days: 2 } },
      },
      { id: 'call_2', type: 'function', function: { name: 'get_time', arguments: {} } },
    ],
  })
  t.strictSame(messages[3], {
    role: 'tool',
    content: 'sunny',
    tool_call_id: 'call_1',
    name: 'get_weather',
  })
  t.equal(messages.length, MESSAGES.length)
  const bare = templateConversation(toolFormat('hermes'), { messages: [], tools: [] })
  t.strictSame(bare, { messages: [] }, 'no list where there are no tools')
})

t.test('what could be a control token is marked', async (t) => {
  const texts: string[] = []
  const mark = (text: string) => `#${texts.push(text) - 1}#`
  const conversation = { messages: MESSAGES, tools: TOOLS }
  const { messages, tools } = templateConversation(toolFormat('hermes'), conversation, mark)
  t.strictSame(texts, ['Rome <|im_end|>', 'Weather <|im_end|>'])
  t.match(messages[2], { tool_calls: [{ function: { arguments: { city: '#0#' } } }] })
  t.match(tools, [{ function: { description: '#1#', parameters: { type: 'object' } } }])
  const quoted = templateConversation(
    toolFormat('hermes'),
    { messages: [], tools: [{ name: 'f', description: 'a "b" <x>' }] },
    mark,
  )
  t.match(quoted.tools, [{ function: { description: '#2#' } }])
  t.equal(texts[2], 'a \\"b\\" <x>', 'as it stands inside a JSON text')
})

t.test('Mistral wants ids of nine characters, the same for call and result', async (t) => {
  const { messages } = templateConversation(toolFormat('mistral'), {
    messages: MESSAGES,
    tools: [],
  })
  t.match(messages[2], { tool_calls: [{ id: 'call00000' }, { id: 'call00001' }] })
  t.match(messages[3], { tool_call_id: 'call00000' })
  t.match(messages[4], { tool_call_id: 'call00001' })
})

t.test('templates of one call a turn get turns of one call', async (t) => {
  for (const name of ['llama3', 'harmony'] as const) {
    const { messages } = templateConversation(toolFormat(name), { messages: MESSAGES, tools: [] })
    t.strictSame(
      messages.map(({ role, tool_call_id: id }) => `${role} ${String(id ?? '')}`.trim()),
      ['system', 'user', 'assistant', 'tool call_1', 'assistant', 'tool call_2', 'assistant'],
      name,
    )
    const thoughts = name === 'harmony' ? 'thinking' : 'reasoning_content'
    t.equal(messages[2]?.[thoughts], 'Two questions.', name)
    t.equal(messages[4]?.[thoughts], undefined, name)
  }
})

t.test('a template without tools gets them as text', async (t) => {
  const conversation = { messages: MESSAGES, tools: TOOLS }
  const { messages, tools } = templateConversation(toolFormat('generic'), conversation)
  t.equal(tools, undefined)
  t.strictSame(
    messages.map(({ role, content }) => [role, content]),
    [
      ['system', `Be brief.\n\n${toolsText(TOOLS)}`],
      ['user', 'Rome?'],
      [
        'assistant',
        '<tool_call>\n{"name": "get_weather", "arguments": {"city":"Rome <|im_end|>","days":2}}\n</tool_call>\n<tool_call>\n{"name": "get_time", "arguments": {}}\n</tool_call>',
      ],
      ['user', '<tool_response>\nsunny\n</tool_response>\n<tool_response>\nnoon\n</tool_response>'],
      ['assistant', 'Sunny, at noon.'],
    ],
  )
  t.match(toolsText(TOOLS), '"name":"get_weather"')
  const without = templateConversation(toolFormat('generic'), {
    messages: [{ role: 'user', content: 'Hi' }],
    tools: TOOLS,
  })
  t.match(without.messages, [{ role: 'system', content: toolsText(TOOLS) }, { role: 'user' }])
})

t.test('a form is used only if the template proves it', async (t) => {
  const template = '{% if tools %}<tool_call>{"arguments"{% endif %}'
  const proven = (render: (context: object) => string) => provenFormat(template, render).name
  t.equal(
    proven((context) => JSON.stringify(context)),
    'hermes',
  )
  t.equal(
    proven((context) => JSON.stringify(context).replaceAll('\ue000', '\\ue000')),
    'generic',
    'marks do not come through',
  )
  t.equal(
    proven(() => 'nothing of it'),
    'generic',
    'the tools are not in the prompt',
  )
  t.equal(
    proven(() => {
      throw new Error('unknown filter')
    }),
    'generic',
  )
  t.equal(provenFormat(undefined, () => '').name, 'generic')
})

const FORMS: readonly ToolFormatName[] = [
  'generic',
  'hermes',
  'elements',
  'llama3',
  'mistral',
  'mistral-args',
  'deepseek',
  'harmony',
  'functionary',
]

t.test('forced calls are read back as they were written', async (t) => {
  for (const name of FORMS) {
    const format = toolFormat(name)
    for (const choice of ['required', { name: 'get_weather' }] as const) {
      const grammar = new Gbnf(toolCallGrammar(format, TOOLS, choice, true))
      const sampler = new Sampler(grammar, chance(11))
      let most = 0
      for (let count = 0; count < 20; count++) {
        const answer = sampler.text(10 + count * 4)
        const stream = new ToolStream(
          { random: chance(1) },
          { format, tools: TOOLS, parallel: true },
        )
        // Of several messages of gpt-oss the reader sees the calls without the headers between them.
        const seen = name === 'harmony' ? answer.replaceAll('<|start|>assistant', '') : answer
        const [first, last] = [stream.push(seen), stream.end()]
        const calls = [...first.calls, ...last.calls]
        most = Math.max(most, calls.length)
        t.ok(calls.length > 0, `${name}: ${answer}`)
        t.equal(first.text + last.text, '', `${name} leaves no text: ${answer}`)
        for (const call of calls) {
          const schema = call.name === 'get_weather' ? PARAMETERS : { type: 'object' }
          t.ok(isValid(schema, JSON.parse(call.arguments)), `${name}: ${call.arguments}`)
          if (choice !== 'required') t.equal(call.name, 'get_weather')
        }
      }
      t.ok(most > 1, `${name} can write several`)
    }
    const one = new Gbnf(toolCallGrammar(format, TOOLS, 'required', false))
    const stream = new ToolStream({ random: chance(1) }, { format, tools: TOOLS, parallel: true })
    const answer = new Sampler(one, chance(2)).text(50)
    t.equal([...stream.push(answer).calls, ...stream.end().calls].length, 1, `${name}: ${answer}`)
  }
})

t.test('a schema that is not served is refused by its place', async (t) => {
  const tools = [{ name: 'a' }, { name: 'b', parameters: { type: 'object', not: {} } }]
  try {
    toolCallGrammar(toolFormat('hermes'), tools, 'required', false)
    t.fail('it was not refused')
  } catch (error) {
    t.ok(error instanceof InferenceError)
    t.match(error, { data: { param: 'tools[1].function.parameters.not' } })
  }
  t.ok(toolCallGrammar(toolFormat('hermes'), tools, { name: 'a' }, false), 'if it can be called')
})
