/** Schemas, each with texts that its grammar must accept and texts that it must not. */
import { row, type SchemaCase } from './schema-case.ts'
import { LISTS, OBJECTS } from './schemas-holders.ts'
import { NUMBERS, SCALARS, STRINGS } from './schemas-scalars.ts'

const TREE = {
  type: 'object',
  properties: { value: { type: 'integer' }, children: { type: 'array', items: { $ref: '#' } } },
  required: ['value'],
}

const COMBINED: readonly SchemaCase[] = [
  row(
    'anyOf',
    { anyOf: [{ type: 'integer' }, { type: 'string', maxLength: 1 }] },
    ['1', '"a"'],
    ['"ab"', 'null'],
  ),
  row(
    'oneOf',
    {
      oneOf: [
        { type: 'null' },
        { type: 'object', properties: { a: { const: 1 } }, required: ['a'] },
      ],
    },
    ['null', '{"a":1}'],
    ['{}'],
  ),
  row(
    'anyOf of objects',
    {
      anyOf: [
        {
          type: 'object',
          properties: { kind: { const: 'a' }, x: { type: 'integer' } },
          required: ['kind', 'x'],
        },
        {
          type: 'object',
          properties: { kind: { const: 'b' }, y: { type: 'string' } },
          required: ['kind', 'y'],
        },
      ],
    },
    ['{"kind":"a","x":1}', '{"kind":"b","y":""}'],
    ['{"kind":"a","y":""}', '{"kind":"b"}'],
  ),
  row(
    'anyOf beside properties',
    {
      type: 'object',
      properties: { a: { type: 'integer' }, b: { type: 'integer' } },
      anyOf: [{ required: ['a'] }, { required: ['b'] }],
    },
    ['{"a":1}', '{"b":1}', '{"a":1,"b":2}'],
    ['{}', '{"c":1}'],
  ),
  row(
    'anyOf beside a type',
    { type: 'string', anyOf: [{ maxLength: 1 }, { pattern: '^xx$' }] },
    ['"a"', '"xx"'],
    ['"yy"', '1'],
  ),
  row(
    'allOf of objects',
    {
      allOf: [
        { type: 'object', properties: { a: { type: 'integer' } }, required: ['a'] },
        { properties: { b: { type: 'string' }, a: { minimum: 5 } }, required: ['b'] },
      ],
    },
    ['{"a":5,"b":""}'],
    ['{"a":4,"b":""}', '{"a":5}', '{"b":"","a":5}'],
  ),
  row(
    'allOf of strings',
    { allOf: [{ type: 'string', minLength: 2 }, { pattern: '^a' }, { pattern: 'z$' }] },
    ['"az"', '"abz"'],
    ['"a"', '"ab"', '"z"'],
  ),
  row(
    'allOf of numbers',
    {
      allOf: [
        { type: 'number', minimum: 1 },
        { type: 'integer', maximum: 3 },
        { exclusiveMinimum: 1 },
      ],
    },
    ['2', '3'],
    ['1', '4', '2.5'],
  ),
  row(
    'allOf of lists',
    { allOf: [{ type: 'array', minItems: 1 }, { items: { type: 'integer' } }, { maxItems: 2 }] },
    ['[1]', '[1,2]'],
    ['[]', '["a"]', '[1,2,3]'],
  ),
  row(
    'reference',
    { $defs: { n: { type: 'integer' } }, type: 'array', items: { $ref: '#/$defs/n' } },
    ['[1,2]'],
    ['["a"]'],
  ),
  row(
    'reference in definitions',
    { definitions: { 'a/b~c d': { const: 1 } }, $ref: '#/definitions/a~1b~0c%20d' },
    ['1'],
    ['2'],
  ),
  row(
    'reference with neighbours',
    {
      $defs: { n: { type: 'integer', minimum: 1 } },
      $ref: '#/$defs/n',
      maximum: 3,
      description: 'x',
    },
    ['1', '3'],
    ['0', '4'],
  ),
  row(
    'a tree',
    TREE,
    ['{"value":1}', '{"value":1,"children":[{"value":2,"children":[]}]}'],
    ['{}', '{"value":1,"children":[{}]}'],
  ),
  row(
    'a linked list',
    {
      $defs: {
        node: {
          type: 'object',
          properties: {
            v: { type: 'null' },
            next: { anyOf: [{ $ref: '#/$defs/node' }, { type: 'null' }] },
          },
          required: ['v', 'next'],
        },
      },
      $ref: '#/$defs/node',
    },
    ['{"v":null,"next":null}', '{"v":null,"next":{"v":null,"next":null}}'],
    ['{"v":null}', '{"v":null,"next":1}'],
  ),
  row(
    'any but integers',
    { anyOf: [{ type: ['string', 'null', 'boolean'] }, { type: 'array' }, { type: 'object' }] },
    ['"a"', '[]', '{}'],
    ['1'],
  ),
]

export const SCHEMA_CASES: readonly SchemaCase[] = [
  ...SCALARS,
  ...STRINGS,
  ...NUMBERS,
  ...LISTS,
  ...OBJECTS,
  ...COMBINED,
]
