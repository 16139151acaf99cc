/** Random bodies of every path: mostly right in each field, or none would get past the first checks. */
import fc from 'fast-check'

const anything = fc.jsonValue({ maxDepth: 3 })

/** @param share of wrong values, in a thousand */
const mostly = (right: fc.Arbitrary<unknown>, share = 15) =>
  fc.oneof({ weight: 1_000 - share, arbitrary: right }, { weight: share, arbitrary: anything })
const of = (...values: unknown[]) => mostly(fc.constantFrom(...values, null))
/** Of what is needed, so that null is wrong. */
const needed = (...values: unknown[]) => mostly(fc.constantFrom(...values))
const number = (least: number, most: number) =>
  mostly(fc.oneof(fc.double({ min: least, max: most, noNaN: true }), fc.constant(null)))

const text = fc.oneof(fc.string({ unit: 'binary' }), fc.lorem({ maxCount: 5 }), fc.constant('f 😀'))
const names = fc.stringMatching(/^[a-z_]{1,8}$/)
const schema = fc.constantFrom(
  {},
  { type: 'object' },
  { type: 'object', properties: { a: { type: 'string' } }, required: ['a'] },
  { type: 'object', properties: { a: { enum: ['x', 1] }, b: { type: 'array' } } },
  { type: 'object', properties: { a: { not: {} } } },
)

const sampling = {
  model: of('a', 'gpt-4'),
  temperature: number(0, 2),
  top_p: number(0.1, 1),
  top_k: of(-1, 0, 40),
  min_p: number(0, 1),
  presence_penalty: number(-2, 2),
  frequency_penalty: number(-2, 2),
  repeat_penalty: of(1, 1.1),
  seed: mostly(fc.oneof(fc.maxSafeInteger(), fc.constantFrom(0, -1, 2 ** 63))),
  stop: of('a', ['a', ' '], [], ['said', 'b', 'c', 'd']),
  logit_bias: of({}, { 5: -100 }, { 5: 100, 7: 1.5 }),
  stream: of(false, true),
  stream_options: of({}, { include_usage: true }),
  user: of('u'),
  metadata: of({}, { a: 'b' }),
  unknown_field: anything,
}

const call = fc.record({
  id: needed('call_1'),
  type: needed('function'),
  function: fc.record({ name: mostly(names), arguments: needed('{}', '', '{"a":1}') }),
})
const part = fc.record({
  type: needed('text', 'refusal'),
  text: mostly(text),
  refusal: mostly(text),
})
const content = mostly(fc.oneof(text, fc.array(part, { minLength: 1, maxLength: 2 })), 30)
const message = fc.oneof(
  { weight: 8, arbitrary: fc.record({ role: needed('system', 'user', 'developer'), content }) },
  {
    weight: 2,
    arbitrary: fc.record({ role: fc.constant('assistant'), content, reasoning: of('a') }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      role: fc.constant('assistant'),
      content: fc.constant(null),
      tool_calls: fc.array(call, { maxLength: 2 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ role: fc.constant('tool'), content, tool_call_id: needed('call_1') }),
  },
)
const messages = mostly(fc.array(message, { minLength: 1, maxLength: 3 }))

/** All of some fields, mostly, and a few of others. */
const optional = (
  always: Record<string, fc.Arbitrary<unknown>>,
  fields: Record<string, fc.Arbitrary<unknown>>,
) =>
  fc
    .tuple(
      fc.record(always, { requiredKeys: [] }),
      fc.record(always),
      fc.subarray(Object.keys(fields), { maxLength: Math.min(6, Object.keys(fields).length) }),
      fc.record(fields),
      fc.nat(19),
    )
    .map(([few, all, kept, values, dice]) => ({
      ...(dice === 0 ? few : all),
      ...Object.fromEntries(kept.map((name) => [name, values[name]])),
    }))

const tools = fc.array(
  fc.record({
    type: needed('function'),
    function: fc.record({ name: mostly(names), parameters: mostly(schema) }),
  }),
  { maxLength: 2 },
)

/** By path. */
export const BODIES: Readonly<Record<string, fc.Arbitrary<unknown>>> = {
  '/v1/chat/completions': optional(
    { messages },
    {
      ...sampling,
      tools: mostly(tools),
      tool_choice: of('auto', 'none', 'required', { type: 'function', function: { name: 'f' } }),
      parallel_tool_calls: of(true, false),
      response_format: mostly(
        fc.oneof(
          fc.constantFrom({ type: 'text' }, { type: 'json_object' }),
          schema.map((schema) => ({ type: 'json_schema', json_schema: { name: 'a', schema } })),
        ),
      ),
      max_tokens: of(1, 16),
      max_completion_tokens: of(1, 16, 1e6),
      n: of(1, 2, 3),
      logprobs: of(true, false),
      top_logprobs: of(0, 1, 5),
      reasoning_effort: of('none', 'low', 'high'),
      deterministic: of(true),
    },
  ),
  '/v1/completions': optional(
    {
      prompt: mostly(
        fc.oneof(
          text,
          fc.array(text, { maxLength: 3 }),
          fc.array(fc.nat(3), { maxLength: 5 }),
          fc.array(fc.array(fc.nat(3), { maxLength: 3 }), { maxLength: 2 }),
        ),
      ),
    },
    {
      ...sampling,
      max_tokens: of(0, 1, 16),
      echo: of(true, false),
      logprobs: of(0, 1, 5),
      n: of(1, 2),
      best_of: of(1, 2, 4),
      suffix: of('', 'a'),
    },
  ),
  '/v1/embeddings': optional(
    { input: mostly(fc.oneof(text, fc.array(text, { maxLength: 3 }), fc.array(fc.nat(3)))) },
    { dimensions: of(1, 4, 8), encoding_format: of('float', 'base64'), model: of('a') },
  ),
  '/v1/responses': optional(
    { input: mostly(fc.oneof(text, fc.array(message, { minLength: 1, maxLength: 3 }))) },
    {
      ...sampling,
      instructions: mostly(text),
      max_output_tokens: of(1, 16),
      tools: mostly(
        fc.array(
          fc.record({ type: needed('function'), name: mostly(names), parameters: mostly(schema) }),
          {
            maxLength: 2,
          },
        ),
      ),
      tool_choice: of('auto', 'none', 'required'),
      text: of({ format: { type: 'text' } }, { format: { type: 'json_object' } }, {}),
      reasoning: of({ effort: 'low' }, {}),
      store: of(true, false),
      truncation: of('disabled'),
      previous_response_id: fc.constant(null),
    },
  ),
  '/tokenize': optional(
    { content: mostly(text) },
    { prompt: mostly(text), messages, add_special: of(true, false), with_pieces: of(false) },
  ),
  '/detokenize': optional({ tokens: mostly(fc.array(fc.nat(3))) }, { model: of('a') }),
}
