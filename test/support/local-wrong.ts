/** Every field of every body with values that it can't have, and the field that the refusal names. */
import {
  ARRAY,
  BOOLEAN,
  CHAT,
  CHOICE,
  integer,
  OBJECT,
  SAMPLING,
  schemaAt,
  TEXT,
  TOOLS,
  type Wrong,
} from './local-wrong-chat.ts'

const PROMPTS = (param: string): readonly Wrong[] => [
  [param, [1, true, {}, [], null]],
  [param, [[1.5], [-1], [2 ** 31]], `${param}[0]`],
  [
    param,
    [
      ['a', 1],
      ['a', true],
      ['a', {}],
      ['a', null],
    ],
    `${param}[1]`,
  ],
  [param, [[[1], []]], `${param}[1]`],
  [param, [[[1], [1, 'a']]], `${param}[1][1]`],
]

const COMPLETION: readonly Wrong[] = [
  ...SAMPLING,
  ...PROMPTS('prompt'),
  ['max_tokens', integer(1)],
  ['max_tokens', integer(0), 'max_tokens', { echo: true }],
  ['n', integer(1, 32)],
  ['best_of', integer(1, 32)],
  ['best_of', [1], 'best_of', { n: 2 }],
  ['best_of', [2], 'best_of', { stream: true }],
  ['n', [17], 'n', { prompt: ['a', 'b'] }],
  ['logprobs', [...integer(0, 20), true, false]],
  ['echo', BOOLEAN],
  ['suffix', TEXT],
  ['suffix', ['a'], 'suffix', { echo: true }],
  ['deterministic', BOOLEAN],
  ['prompt', [Array(33).fill('a')]],
  ['response_format', [{ type: 'json_object' }, 'x']],
  ['tools', [TOOLS, 'x']],
  ['prompt_logprobs', [0, 1]],
  ['min_tokens', [1]],
  ['use_beam_search', [true]],
]

const EMBEDDING: readonly Wrong[] = [
  ...PROMPTS('input'),
  ['model', TEXT],
  ['input', ['']],
  ['input', [['a', '']], 'input[1]'],
  ['dimensions', integer(1, 65_536)],
  ['encoding_format', CHOICE],
]

const RESPONSE: readonly Wrong[] = [
  ...SAMPLING,
  ['input', [1, true, {}, [], null]],
  ['input', [['a'], [1], [null]], 'input[0]'],
  ['input', [[{ type: 'item_reference', id: 'a' }], [{ type: 1 }]], 'input[0].type'],
  ['input', [[{ content: 'a' }], [{ role: 'king', content: 'a' }]], 'input[0].role'],
  ['input', [[{ role: 'user', content: [{ type: 'input_image' }] }]], 'input[0].content[0].type'],
  [
    'input',
    [
      [{ type: 'function_call_output', output: 'a' }],
      [{ type: 'function_call_output', call_id: 'x', output: 'a' }],
    ],
    'input[0].call_id',
  ],
  ['instructions', TEXT],
  ['max_output_tokens', integer(1)],
  ['parallel_tool_calls', BOOLEAN],
  ['metadata', OBJECT],
  ['store', BOOLEAN],
  ['tools', ARRAY],
  [
    'tools',
    ['web_search', 'file_search', 'code_interpreter', 'mcp', 1].map((type) => [{ type }]),
    'tools[0].type',
  ],
  ['tools', [[{ type: 'function' }], [{ type: 'function', name: 'a b' }]], 'tools[0].name'],
  ['tool_choice', ['sideways', 1, 'required']],
  ['text', OBJECT],
  ['text', [{ format: 'x' }], 'text.format'],
  ['text', [{ format: { type: 'xml' } }], 'text.format.type'],
  [
    'text',
    schemaAt((schema) => ({ format: { type: 'json_schema', name: 'a', schema } })),
    'text.format.schema.',
  ],
  ['reasoning', OBJECT],
  ['reasoning', CHOICE.map((effort) => ({ effort })), 'reasoning.effort'],
  ['previous_response_id', ['resp_1', 1]],
  ['conversation', ['c', {}]],
  ['background', [true, 'x']],
  ['prompt', [{ id: 'p' }]],
  ['include', [['reasoning.encrypted_content'], 'x']],
  ['truncation', ['auto', 1]],
  ['top_logprobs', [1, 'x']],
  ['max_tool_calls', [1]],
]

const TOKENIZE: readonly Wrong[] = [
  ['prompt', TEXT],
  ['content', TEXT, 'content', { prompt: undefined }],
  ['messages', ['x', {}, []]],
  ['add_special_tokens', BOOLEAN],
  ['add_special', BOOLEAN],
  ['with_pieces', [true, 'x']],
  ['model', TEXT],
]

const DETOKENIZE: readonly Wrong[] = [
  ['tokens', [...ARRAY, null]],
  ['tokens', [['a'], [1.5], [-1], [null], [2 ** 31], [9_999_999]], 'tokens[0]'],
  ['model', TEXT],
]

/** What is right, so that only the wrong field can be at fault; and the wrong ones. */
export const WRONG: Readonly<Record<string, readonly [right: object, wrong: readonly Wrong[]]>> = {
  '/v1/chat/completions': [{ messages: [{ role: 'user', content: 'a b' }] }, CHAT],
  '/v1/completions': [{ prompt: 'a b' }, COMPLETION],
  '/v1/embeddings': [{ input: 'a b' }, EMBEDDING],
  '/v1/responses': [{ input: 'a b' }, RESPONSE],
  '/tokenize': [{ prompt: 'a b' }, TOKENIZE],
  '/detokenize': [{ tokens: [0] }, DETOKENIZE],
}
