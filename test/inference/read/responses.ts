import t from 'tap'
import { InferenceError } from '../../../src/inference/errors.ts'
import type { ReadRules } from '../../../src/inference/read/chat.ts'
import { readResponse } from '../../../src/inference/read/responses.ts'
import type { JsonObject } from '../../../src/inference/request.ts'

const rules: ReadRules = { model: 'demo', strictModel: false, canStream: true, choicesMax: 8 }

const read = (fields: JsonObject) => readResponse({ model: 'x', input: 'Hello.', ...fields }, rules)

function paramOf(fields: JsonObject): unknown {
  try {
    read(fields)
    return undefined
  } catch (error) {
    if (!(error instanceof InferenceError) || error.code !== 'BAD_REQUEST') throw error
    return error.data['param']
  }
}

const BAD: readonly [fields: JsonObject, param: string][] = [
  [{ input: undefined }, 'input'],
  [{ input: [] }, 'input'],
  [{ input: 1 }, 'input'],
  [{ input: [1] }, 'input[0]'],
  [{ input: [{ type: 'item_reference', id: 'x' }] }, 'input[0].type'],
  [{ input: [{ role: 'robot', content: 'a' }] }, 'input[0].role'],
  [{ input: [{ role: 'user', content: [{ type: 'input_image' }] }] }, 'input[0].content[0].type'],
  [{ input: [{ role: 'user', content: [{ type: 'input_text' }] }] }, 'input[0].content[0].text'],
  [{ input: [{ type: 'function_call', name: 'f', arguments: '{}' }] }, 'input[0].call_id'],
  [
    { input: [{ type: 'function_call', call_id: 'c', name: 'f', arguments: '[' }] },
    'input[0].arguments',
  ],
  [{ input: [{ type: 'function_call_output', call_id: 'c', output: 'r' }] }, 'input[0].call_id'],
  [{ previous_response_id: 'resp_1' }, 'previous_response_id'],
  [{ conversation: 'c' }, 'conversation'],
  [{ background: true }, 'background'],
  [{ include: ['reasoning.encrypted_content'] }, 'include'],
  [{ truncation: 'auto' }, 'truncation'],
  [{ prompt: { id: 'p' } }, 'prompt'],
  [{ tools: [{ type: 'web_search' }] }, 'tools[0].type'],
  [{ tools: [{ type: 'function' }] }, 'tools[0].name'],
  [{ tool_choice: { type: 'function', name: 'f' } }, 'tool_choice.name'],
  [{ max_output_tokens: 0 }, 'max_output_tokens'],
  [{ text: { format: { type: 'json_schema', name: 'x' } } }, 'text.format.schema'],
  [
    { text: { format: { type: 'json_schema', name: 'x', schema: { not: {} } } } },
    'text.format.schema.not',
  ],
  [{ reasoning: { effort: 'x' } }, 'reasoning.effort'],
  [{ instructions: 1 }, 'instructions'],
]

t.test('every fault names its field as it was sent', async (t) => {
  for (const [fields, param] of BAD) t.equal(paramOf(fields), param, JSON.stringify(fields))
})

t.test('a text, instructions, formats and tools', async (t) => {
  const { request, echo } = read({
    instructions: 'Be brief.',
    max_output_tokens: 9,
    tools: [{ type: 'function', name: 'f', parameters: { type: 'object' } }],
    tool_choice: { type: 'function', name: 'f' },
    text: { format: { type: 'json_object' } },
    reasoning: { effort: 'none' },
    store: true,
  })
  t.hasStrict(request, {
    messages: [
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: 'Hello.' },
    ],
    tools: [{ name: 'f', parameters: { type: 'object' } }],
    toolChoice: { name: 'f' },
    format: { kind: 'json' },
    maxTokens: 9,
    thinking: { enabled: false },
  })
  t.hasStrict(echo, { store: false, max_output_tokens: 9, instructions: 'Be brief.' })
})

t.test('the items of one turn are one message', async (t) => {
  const { request } = read({
    input: [
      { role: 'user', content: [{ type: 'input_text', text: 'a' }] },
      { type: 'reasoning', summary: [{ type: 'summary_text', text: 'hm' }] },
      {
        type: 'message',
        role: 'assistant',
        content: [{ type: 'output_text', text: 'b', annotations: [] }],
      },
      { type: 'function_call', call_id: 'c', name: 'f', arguments: '{"x":1}' },
      { type: 'function_call', call_id: 'd', name: 'g', arguments: '' },
      { type: 'function_call_output', call_id: 'c', output: 'r' },
      { type: 'function_call_output', call_id: 'd', output: [{ type: 'input_text', text: 's' }] },
    ],
  })
  t.strictSame(request.messages, [
    { role: 'user', content: 'a' },
    {
      role: 'assistant',
      content: 'b',
      reasoning: 'hm',
      toolCalls: [
        { id: 'c', name: 'f', arguments: '{"x":1}' },
        { id: 'd', name: 'g', arguments: '{}' },
      ],
    },
    { role: 'tool', content: 'r', toolCallId: 'c', name: 'f' },
    { role: 'tool', content: 's', toolCallId: 'd', name: 'g' },
  ])
})
