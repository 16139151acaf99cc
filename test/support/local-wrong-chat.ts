/** Every field of a chat with values that it can't have, and the field that the refusal names. */

/** The field, wrong values of it, where it isn't the field itself the name in the refusal, what goes with it. */
export type Wrong = readonly [
  param: string,
  values: readonly unknown[],
  named?: string,
  beside?: Readonly<Record<string, unknown>>,
]

const INT32_MAX = 2 ** 31 - 1
export const BOOLEAN = ['true', 0, 1, [], {}]
export const TEXT = [1, true, [], {}]
export const OBJECT = ['{}', 1, true, []]
export const ARRAY = ['[]', 1, true, {}]
export const integer = (least: number, most = INT32_MAX) => [
  ...['1', true, [], {}, least + 0.5, least - 1, most + 1, 1e300],
]
const number = (least: number, most: number) => [
  ...['1', true, [], {}, least - 0.01, most + 0.01, -1e300, 1e300],
]
/** None of any words. */
export const CHOICE = ['sideways', 1, true, [], {}]

export const SAMPLING: readonly Wrong[] = [
  ['temperature', number(0, 2)],
  ['top_p', [...number(0, 1), 0]],
  ['top_k', integer(-1)],
  ['min_p', number(0, 1)],
  ['presence_penalty', number(-2, 2)],
  ['frequency_penalty', number(-2, 2)],
  ['repeat_penalty', [...number(0.01, 10), 0]],
  ['repetition_penalty', [...number(0.01, 10), 0]],
  ['seed', ['1', true, [], {}, 0.5, 2 ** 65, -(2 ** 64), 1e300]],
  ['stop', [1, true, {}, '', ['a', 'b', 'c', 'd', 'e'], 'x'.repeat(1_025)]],
  ['stop', [[1], [''], [null], [['a']]], 'stop[0]'],
  ['logit_bias', OBJECT],
  ['logit_bias', [{ a: 1 }, { a: 'x' }], 'logit_bias.a'],
  ['logit_bias', [{ 5: 101 }, { 5: -101 }, { 5: 'x' }, { 5: null }], 'logit_bias.5'],
  ['stream', BOOLEAN],
  ['stream_options', OBJECT],
  [
    'stream_options',
    BOOLEAN.map((include_usage) => ({ include_usage })),
    'stream_options.include_usage',
  ],
  ['model', TEXT],
]

export const schemaAt = (wrap: (schema: unknown) => unknown) =>
  [
    { type: 'integer', multipleOf: 3 },
    { not: {} },
    Object.fromEntries([
      ['if', {}],
      ['then', {}],
    ]),
    { patternProperties: { a: {} } },
    { type: 'array', uniqueItems: true },
    { $ref: '#/nowhere' },
  ].map((inner) => wrap({ type: 'object', properties: { a: inner }, required: ['a'] }))

const format = (schema: unknown) => ({ type: 'json_schema', json_schema: { name: 'a', schema } })
const tool = (parameters: unknown) => ({ name: 'f', parameters })
export const TOOLS = [{ type: 'function', function: { name: 'f' } }]

export const CHAT: readonly Wrong[] = [
  ...SAMPLING,
  ['messages', [...ARRAY, [], null]],
  ['messages', [['x'], [1], [null], [[]]], 'messages[0]'],
  [
    'messages',
    [
      [{ content: 'a' }],
      [{ role: 'king', content: 'a' }],
      [{ role: 1, content: 'a' }],
      [{ role: 'function', content: 'a' }],
    ],
    'messages[0].role',
  ],
  [
    'messages',
    [
      [{ role: 'user' }],
      [{ role: 'user', content: 1 }],
      [{ role: 'user', content: {} }],
      [{ role: 'user', content: [] }],
      [{ role: 'system', content: null }],
      [{ role: 'assistant' }],
    ],
    'messages[0].content',
  ],
  ['messages', [[{ role: 'user', content: ['a'] }]], 'messages[0].content[0]'],
  [
    'messages',
    ['image_url', 'input_audio', 'file', 1, {}].map((type) => [
      { role: 'user', content: [{ type }] },
    ]),
    'messages[0].content[0].type',
  ],
  [
    'messages',
    [
      [{ role: 'user', content: [{ type: 'text' }] }],
      [{ role: 'user', content: [{ type: 'text', text: 1 }] }],
    ],
    'messages[0].content[0].text',
  ],
  [
    'messages',
    [
      [{ role: 'tool', content: 'a' }],
      [{ role: 'tool', content: 'a', tool_call_id: 'x' }],
      [{ role: 'tool', content: 'a', tool_call_id: 1 }],
    ],
    'messages[0].tool_call_id',
  ],
  [
    'messages',
    [[{ role: 'user', content: 'a', tool_calls: [1] }], [{ role: 'assistant', tool_calls: {} }]],
    'messages[0].tool_calls',
  ],
  [
    'messages',
    ['x', '[]', '1', '{"a":'].map((text) => [
      {
        role: 'assistant',
        tool_calls: [{ id: 'c', type: 'function', function: { name: 'f', arguments: text } }],
      },
    ]),
    'messages[0].tool_calls[0].function.arguments',
  ],
  [
    'messages',
    [
      [
        {
          role: 'assistant',
          tool_calls: [{ type: 'function', function: { name: 'f', arguments: '{}' } }],
        },
      ],
    ],
    'messages[0].tool_calls[0].id',
  ],
  ['max_tokens', integer(1)],
  ['max_completion_tokens', integer(1)],
  ['n', integer(1, 32)],
  ['logprobs', BOOLEAN],
  ['top_logprobs', integer(0, 20), 'top_logprobs', { logprobs: true }],
  ['top_logprobs', [1]],
  ['parallel_tool_calls', BOOLEAN],
  ['deterministic', BOOLEAN],
  ['tools', ARRAY],
  ['tools', [['x'], [1], [null]], 'tools[0]'],
  ['tools', [[{}], [{ type: 'web_search' }], [{ type: 1 }]], 'tools[0].type'],
  ['tools', [[{ type: 'function' }], [{ type: 'function', function: 'f' }]], 'tools[0].function'],
  [
    'tools',
    [undefined, '', 'a b', 'x'.repeat(65), 1].map((name) => [
      { type: 'function', function: { name } },
    ]),
    'tools[0].function.name',
  ],
  [
    'tools',
    OBJECT.map((parameters) => [{ type: 'function', function: tool(parameters) }]),
    'tools[0].function.parameters',
  ],
  ['tools', [[TOOLS[0], TOOLS[0]]], 'tools[1].function.name'],
  ['tool_choice', [...CHOICE.filter((value) => JSON.stringify(value) !== '{}'), 'required']],
  ['tool_choice', [{}, { type: 'x' }, { type: 'allowed_tools' }], 'tool_choice.type'],
  [
    'tool_choice',
    [{ type: 'function' }, { type: 'function', function: { name: 'g' } }],
    'tool_choice.function.name',
    { tools: TOOLS },
  ],
  ['response_format', OBJECT],
  ['response_format', [{}, { type: 'xml' }, { type: 1 }], 'response_format.type'],
  [
    'response_format',
    [{ type: 'json_schema' }, { type: 'json_schema', json_schema: 'x' }],
    'response_format.json_schema',
  ],
  [
    'response_format',
    [
      { type: 'json_schema', json_schema: { schema: {} } },
      { type: 'json_schema', json_schema: { name: 'a b', schema: {} } },
    ],
    'response_format.json_schema.name',
  ],
  [
    'response_format',
    [
      { type: 'json_schema', json_schema: { name: 'a' } },
      { type: 'json_schema', json_schema: { name: 'a', schema: 'x' } },
    ],
    'response_format.json_schema.schema',
  ],
  ['response_format', schemaAt(format), 'response_format.json_schema.schema.'],
  ['reasoning_effort', CHOICE],
  ['enable_thinking', BOOLEAN],
  ['thinking_budget', integer(0)],
  ['thinking_budget_tokens', integer(0)],
  ['chat_template_kwargs', OBJECT],
  ['chat_template_kwargs', [{ enable_thinking: 'no' }], 'chat_template_kwargs.enable_thinking'],
  ['functions', [[TOOLS[0]], 'x', {}]],
  ['function_call', [{ name: 'f' }, 1]],
  ['modalities', [['audio'], ['text', 'audio'], 'audio', 1, []]],
  ['audio', [{ voice: 'a' }, 1]],
  ['web_search_options', [{}, 1]],
  ['min_tokens', [1, 'x']],
  ['best_of', [2, 'x']],
  ['use_beam_search', [true, 1]],
  ['echo', [true, 'x']],
]
