/** Rows of the table in schemas.ts: lists and objects. */
import { row, type SchemaCase } from './schema-case.ts'

export const LISTS: readonly SchemaCase[] = [
  row(
    'list',
    { type: 'array' },
    ['[]', '[ ]', '[1,"a",[]]', '[\n  1,\n  2\n]'],
    ['[1 ,2]', '[1,  2]', '[,]', '{}'],
  ),
  row(
    'list of integers',
    { type: 'array', items: { type: 'integer' } },
    ['[]', '[1]', '[1, 2]'],
    ['[1.5]', '["1"]'],
  ),
  row(
    'two to three',
    { type: 'array', items: { type: 'integer' }, minItems: 2, maxItems: 3 },
    ['[1,2]', '[1,2,3]'],
    ['[]', '[1]', '[1,2,3,4]'],
  ),
  row(
    'at least one',
    { type: 'array', items: { type: 'null' }, minItems: 1 },
    ['[null]', '[null,null,null]'],
    ['[]', '[ ]'],
  ),
  row(
    'at most one',
    { type: 'array', items: { type: 'null' }, maxItems: 1 },
    ['[]', '[null]'],
    ['[null,null]'],
  ),
  row('none', { type: 'array', maxItems: 0 }, ['[]', '[ ]'], ['[1]']),
  row(
    'many',
    { type: 'array', items: { const: 1 }, minItems: 300, maxItems: 600 },
    [list(300), list(601 - 1), list(450)],
    [list(299), list(601)],
  ),
  row(
    'tuple',
    { type: 'array', prefixItems: [{ type: 'string' }, { type: 'integer' }], items: false },
    ['[]', '["a"]', '["a",1]'],
    ['[1]', '["a",1,2]', '["a","b"]'],
  ),
  row(
    'tuple, whole',
    {
      type: 'array',
      prefixItems: [{ type: 'string' }, { type: 'integer' }],
      minItems: 2,
      items: false,
    },
    ['["a",1]'],
    ['[]', '["a"]', '["a",1,1]'],
  ),
  row(
    'tuple and more',
    {
      type: 'array',
      prefixItems: [{ type: 'string' }],
      items: { type: 'integer' },
      minItems: 2,
      maxItems: 3,
    },
    ['["a",1]', '["a",1,2]'],
    ['["a"]', '["a",1,2,3]', '["a","b"]'],
  ),
  row(
    'tuple of draft 7',
    { type: 'array', items: [{ const: 1 }, { const: 2 }], additionalItems: { const: 3 } },
    ['[]', '[1,2]', '[1,2,3,3]'],
    ['[2]', '[1,2,4]'],
  ),
  row('meant as a list', { items: { type: 'boolean' } }, ['[true]'], ['[1]', '"a"']),
]

function list(length: number): string {
  return `[${Array.from({ length }, () => 1).join()}]`
}

const PERSON = { name: { type: 'string' }, age: { type: 'integer' }, mail: { type: 'string' } }

export const OBJECTS: readonly SchemaCase[] = [
  row(
    'object',
    { type: 'object' },
    ['{}', '{ }', '{"a":1}', '{"a": {"b": []}, "c": null}', '{\n  "a": 1\n}'],
    ['[]', '{"a":1,}', '{a:1}', '{"a" :1}'],
  ),
  row(
    'all required',
    { type: 'object', properties: PERSON, required: ['name', 'age', 'mail'] },
    [
      '{"name":"x","age":3,"mail":""}',
      '{"name": "x", "age": 3, "mail": ""}',
      '{\n  "name": "x",\n  "age": 3,\n  "mail": ""\n}',
    ],
    [
      '{}',
      '{"name":"x","age":3}',
      '{"age":3,"name":"x","mail":""}',
      '{"name":"x","age":3,"mail":"","z":1}',
      '{"name":"x" ,"age":3,"mail":""}',
    ],
  ),
  row(
    'none required',
    { type: 'object', properties: PERSON },
    [
      '{}',
      '{"name":"x"}',
      '{"age":3}',
      '{"mail":""}',
      '{"name":"x","mail":""}',
      '{"age":1,"mail":""}',
    ],
    ['{"mail":"","age":1}', '{"x":1}', '{,"age":1}', '{"age":1,}', '{"age":1,"age":2}'],
  ),
  row(
    'the second required',
    { type: 'object', properties: PERSON, required: ['age'] },
    ['{"age":1}', '{"name":"x","age":1}', '{"age":1,"mail":""}'],
    ['{}', '{"name":"x"}', '{"mail":"","age":1}'],
  ),
  row(
    'others are integers',
    {
      type: 'object',
      properties: { a: { type: 'string' } },
      additionalProperties: { type: 'integer' },
    },
    ['{}', '{"a":"x"}', '{"b":1}', '{"a":"x","b":1,"c":2}', '{"ab":1}', '{"":1}', '{"é\\"":1}'],
    ['{"a":1}', '{"b":"x"}', '{"b":1,"a":"x"}', '{"\\u0061":1}'],
  ),
  row(
    'others are allowed',
    {
      type: 'object',
      properties: { a: { const: 1 } },
      required: ['a'],
      additionalProperties: true,
    },
    ['{"a":1}', '{"a":1,"b":[2]}'],
    ['{}', '{"b":1}', '{"a":2}'],
  ),
  row(
    'a map',
    { type: 'object', additionalProperties: { type: 'boolean' } },
    ['{}', '{"x":true, "y":false}'],
    ['{"x":1}'],
  ),
  row('no properties at all', { type: 'object', properties: {} }, ['{}', '{ }'], ['{"a":1}']),
  row('nothing else', { type: 'object', additionalProperties: false }, ['{}'], ['{"a":1}']),
  row(
    'required but not listed',
    {
      type: 'object',
      properties: { a: { const: 1 } },
      required: ['b'],
      additionalProperties: { type: 'null' },
    },
    ['{"b":null}', '{"a":1,"b":null,"c":null}'],
    ['{}', '{"a":1}', '{"b":1}'],
  ),
  row('required alone', { required: ['a'] }, ['{"a":1}', '{"a":[],"b":2}'], ['{}', '{"b":1}']),
  row(
    'never there',
    { type: 'object', properties: { a: false, b: { const: 1 } }, additionalProperties: true },
    ['{}', '{"b":1,"c":2}'],
    ['{"a":1}'],
  ),
  row(
    'odd names',
    {
      type: 'object',
      properties: { 'a"b\\c': { const: 1 }, 'é\n': { const: 2 }, __proto__x: { const: 3 } },
      required: ['a"b\\c', 'é\n'],
    },
    ['{"a\\"b\\\\c":1,"é\\n":2}'],
    ['{"ab":1}'],
  ),
  row(
    'nested',
    {
      type: 'object',
      properties: {
        a: {
          type: 'object',
          properties: {
            b: {
              type: 'array',
              items: { type: 'object', properties: { c: { type: 'null' } }, required: ['c'] },
            },
          },
          required: ['b'],
        },
      },
      required: ['a'],
    },
    ['{"a":{"b":[]}}', '{"a": {"b": [{"c": null}, {"c": null}]}}'],
    ['{"a":{}}', '{"a":{"b":[{}]}}'],
  ),
  row(
    'counts that hold anyway',
    {
      type: 'object',
      properties: { a: true },
      required: ['a'],
      additionalProperties: false,
      minProperties: 1,
      maxProperties: 5,
    },
    ['{"a":1}'],
    ['{}'],
  ),
]
