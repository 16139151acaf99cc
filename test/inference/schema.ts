import fc from 'fast-check'
import t from 'tap'
import { InferenceError } from '../../src/inference/errors.ts'
import { FORMATS, patternLanguage } from '../../src/inference/grammar-pattern.ts'
import { checkArguments, checkSchema, checkShown } from '../../src/inference/schema.ts'
import { SCHEMA_CASES } from '../support/schemas.ts'

const PARAM = 'response_format.json_schema.schema'
const NOT_SERVED = 'unsupported_parameter'
const WRONG = 'invalid_value'

/** What is refused: the place below the schema and the reason; undefined: nothing. */
function refusal(
  check: () => void,
): { param: string; reason: string; message: string } | undefined {
  try {
    check()
    return undefined
  } catch (error) {
    if (!(error instanceof InferenceError)) throw error
    const { param, reason } = error.data
    return { param: String(param), reason: String(reason), message: error.message }
  }
}

function deep(levels: number): unknown {
  let schema: unknown = { type: 'null' }
  for (let level = 0; level < levels; level++) schema = { type: 'array', items: schema }
  return schema
}

const object = (properties: object, more: object = {}) => ({ type: 'object', properties, ...more })
const TREE = {
  $defs: { a: object({ b: { $ref: '#/$defs/a' } }, { required: ['b'] }) },
  $ref: '#/$defs/a',
}
const CHAIN = Object.fromEntries(
  Array.from({ length: 1500 }, (_, at) => [`d${at}`, { $ref: `#/$defs/d${at + 1}` }]),
)
const list = (to: string) =>
  object({ next: { anyOf: [{ $ref: `#/$defs/${to}` }, { type: 'null' }] } })
/** What both allow would be a third one, and so on. */
const TWINS = { a: list('a'), b: list('b') }
const LONG = { type: 'string', enum: ['x'.repeat(70_000)] }
/** Each another count, none of which another can use. */
const lengths = (at: number) => ({
  type: 'string',
  minLength: at % 30,
  maxLength: 220 + Math.floor(at / 30),
})
const MANY = Array.from({ length: 1001 }, (_, at) => `v${at}`)

const REFUSED: readonly (readonly [schema: unknown, at: string, reason: string])[] = [
  // Keywords that have no grammar.
  [{ type: 'integer', multipleOf: 2 }, '.multipleOf', NOT_SERVED],
  [object({ a: { type: 'integer', multipleOf: 2 } }), '.properties.a.multipleOf', NOT_SERVED],
  [{ not: {} }, '.not', NOT_SERVED],
  [{ if: {} }, '.if', NOT_SERVED],
  [Object.fromEntries([['then', {}]]), '.then', NOT_SERVED],
  [{ else: {} }, '.else', NOT_SERVED],
  [{ type: 'object', patternProperties: {} }, '.patternProperties', NOT_SERVED],
  [{ type: 'object', propertyNames: {} }, '.propertyNames', NOT_SERVED],
  [{ type: 'array', uniqueItems: true }, '.uniqueItems', NOT_SERVED],
  [{ type: 'array', contains: {} }, '.contains', NOT_SERVED],
  [{ type: 'array', minContains: 1 }, '.minContains', NOT_SERVED],
  [{ dependentRequired: {} }, '.dependentRequired', NOT_SERVED],
  [{ dependentSchemas: {} }, '.dependentSchemas', NOT_SERVED],
  [{ dependencies: {} }, '.dependencies', NOT_SERVED],
  [{ unevaluatedProperties: false }, '.unevaluatedProperties', NOT_SERVED],
  [{ unevaluatedItems: false }, '.unevaluatedItems', NOT_SERVED],
  [{ $dynamicRef: '#x' }, '.$dynamicRef', NOT_SERVED],
  [object({ a: {} }, { minProperties: 1 }), '.minProperties', NOT_SERVED],
  [{ type: 'object', maxProperties: 3 }, '.maxProperties', NOT_SERVED],
  [{ type: 'string', format: 'regex' }, '.format', NOT_SERVED],
  // References.
  [{ $ref: 'https://example.org/schema' }, '.$ref', NOT_SERVED],
  [{ $ref: '#name' }, '.$ref', NOT_SERVED],
  [{ $ref: '#/$defs/x' }, '.$ref', WRONG],
  [{ $ref: 3 }, '.$ref', WRONG],
  [{ $ref: '#' }, '.$ref', WRONG],
  [
    { $defs: { a: { $ref: '#/$defs/b' }, b: { $ref: '#/$defs/a' } }, $ref: '#/$defs/a' },
    '.$ref',
    WRONG,
  ],
  [
    { $defs: { a: { anyOf: [{ type: 'null' }, { $ref: '#/$defs/a' }] } }, $ref: '#/$defs/a' },
    '.$ref',
    WRONG,
  ],
  [TREE, '', WRONG],
  [object({ a: { $ref: '#', minItems: 1 } }), '.properties.a', NOT_SERVED],
  // Malformed.
  [{ type: 'text' }, '.type', WRONG],
  [{ type: [] }, '.type', WRONG],
  [{ type: ['string', 'date'] }, '.type', WRONG],
  [{ type: 5 }, '.type', WRONG],
  [object({ a: 5 }), '.properties.a', WRONG],
  [object({ 'a b': 5 }), '.properties["a b"]', WRONG],
  [{ type: 'object', properties: [] }, '.properties', WRONG],
  [{ type: 'object', required: 'a' }, '.required', WRONG],
  [{ type: 'object', required: [1] }, '.required', WRONG],
  [{ type: 'array', items: 5 }, '.items', WRONG],
  [{ type: 'array', prefixItems: {} }, '.prefixItems', WRONG],
  [{ type: 'array', items: [5] }, '.items[0]', WRONG],
  [{ enum: [] }, '.enum', WRONG],
  [{ enum: 'a' }, '.enum', WRONG],
  [{ anyOf: [] }, '.anyOf', WRONG],
  [{ anyOf: [{}, 5] }, '.anyOf[1]', WRONG],
  [{ oneOf: {} }, '.oneOf', WRONG],
  [{ allOf: [{ type: 'x' }] }, '.allOf[0].type', WRONG],
  [{ type: 'string', minLength: -1 }, '.minLength', WRONG],
  [{ type: 'string', maxLength: 1.5 }, '.maxLength', WRONG],
  [{ type: 'string', maxLength: 1e9 }, '.maxLength', WRONG],
  [{ type: 'number', minimum: '3' }, '.minimum', WRONG],
  [{ type: 'string', pattern: 5 }, '.pattern', WRONG],
  // Patterns.
  [{ type: 'string', pattern: 'a(?=b)' }, '.pattern', NOT_SERVED],
  [{ type: 'string', pattern: '(a)\\1' }, '.pattern', NOT_SERVED],
  [{ type: 'string', pattern: '\\bword' }, '.pattern', NOT_SERVED],
  [{ type: 'string', pattern: '\\p{L}' }, '.pattern', NOT_SERVED],
  [{ type: 'string', pattern: 'a^b' }, '.pattern', NOT_SERVED],
  [{ type: 'string', pattern: '(a' }, '.pattern', NOT_SERVED],
  [{ type: 'string', pattern: '[a' }, '.pattern', NOT_SERVED],
  [{ type: 'string', pattern: 'a{3,1}' }, '.pattern', NOT_SERVED],
  [{ type: 'string', pattern: '*a' }, '.pattern', NOT_SERVED],
  [{ type: 'string', pattern: '[z-a]' }, '.pattern', NOT_SERVED],
  [{ type: 'string', pattern: 'a{1,5000}' }, '.pattern', NOT_SERVED],
  [{ type: 'string', pattern: 'x'.repeat(1001) }, '.pattern', NOT_SERVED],
  [{ type: 'string', pattern: '(a|b)*a(a|b){15}' }, '', NOT_SERVED],
  // Nothing can satisfy these.
  [false, '', WRONG],
  [{ type: 'array', minItems: 3, maxItems: 2 }, '.minItems', WRONG],
  [{ type: 'array', prefixItems: [{}], items: false, minItems: 2 }, '.minItems', WRONG],
  [{ type: 'string', minLength: 3, maxLength: 2 }, '.minLength', WRONG],
  [{ type: 'integer', minimum: 3, maximum: 2 }, '.minimum', WRONG],
  [{ type: 'integer', exclusiveMinimum: 1, exclusiveMaximum: 2 }, '.exclusiveMinimum', WRONG],
  [object({ a: {} }, { required: ['a', 'b'], additionalProperties: false }), '.required[1]', WRONG],
  [object({ a: false }, { required: ['a'] }), '', WRONG],
  [{ type: 'string', enum: [1, 2] }, '', WRONG],
  [{ allOf: [{ type: 'string' }, { type: 'integer' }] }, '', WRONG],
  [object({ a: { type: 'string', anyOf: [{ type: 'null' }] } }), '.properties.a', WRONG],
  [{ type: 'string', pattern: '^a$', minLength: 2 }, '', WRONG],
  // Limits.
  [{ $defs: CHAIN, $ref: '#/$defs/d0' }, '.$defs.d199', WRONG],
  [{ $defs: TWINS, allOf: [{ $ref: '#/$defs/a' }, { $ref: '#/$defs/b' }] }, '', WRONG],
  [deep(70), '', WRONG],
  [LONG, '', WRONG],
  [{ enum: MANY }, '.enum', WRONG],
  [object(Object.fromEntries(MANY.map((name) => [name, true]))), '.properties', WRONG],
  [
    object(
      Object.fromEntries(MANY.slice(0, 900).map((name) => [name, lengths(Number(name.slice(1)))])),
    ),
    '',
    NOT_SERVED,
  ],
  [{ type: 'number', exclusiveMinimum: 1 / 7 }, '.exclusiveMinimum', NOT_SERVED],
]

t.test('what is refused, by its name', async (t) => {
  for (const [schema, at, reason] of REFUSED) {
    const text = JSON.stringify(schema).slice(0, 90)
    t.match(
      refusal(() => checkSchema(schema, PARAM)),
      schema === false ? { param: PARAM } : { param: `${PARAM}${at}`, reason },
      text,
    )
    // References lead to the root and `false` allows the empty list: these mean something else further in.
    if (text.includes('#') || schema === false) continue
    const inner = refusal(() => checkSchema({ type: 'array', items: schema }, PARAM))
    const place = at === '' && inner?.param === PARAM ? PARAM : `${PARAM}.items${at}`
    t.match(inner, { param: place }, `in a list: ${text}`)
  }
})

t.test('messages say what to do', async (t) => {
  const message = (schema: unknown) => refusal(() => checkSchema(schema, PARAM))?.message
  t.equal(message({ type: 'array', uniqueItems: true }), "'uniqueItems' is not supported here.")
  t.equal(
    message({ type: 'text' }),
    `'${PARAM}.type' must be one or more of: object, array, string, number, integer, boolean, null.`,
  )
  t.equal(
    message({ type: 'string', pattern: '(?=a)' }),
    `'${PARAM}.pattern' looks ahead or behind, or has flags.`,
  )
  t.match(message({ type: 'string', format: 'x' }), /must be one of: date, time, date-time/)
})

t.test('what is served passes', async (t) => {
  for (const { name, schema } of SCHEMA_CASES)
    t.equal(
      schema === true ? undefined : refusal(() => checkSchema(schema, PARAM)),
      undefined,
      name,
    )
  t.equal(
    refusal(() => checkSchema(deep(30), PARAM)),
    undefined,
  )
  t.equal(
    refusal(() => checkSchema({ type: 'array', uniqueItems: false }, PARAM)),
    undefined,
  )
})

t.test('patterns are languages, and so are formats', async (t) => {
  for (const [name, pattern] of Object.entries(FORMATS)) {
    patternLanguage(pattern, (why) => new Error(`${name} ${why}`))
    t.equal(
      refusal(() => checkSchema({ type: 'string', format: name }, PARAM)),
      undefined,
      name,
    )
  }
  const links = { type: 'string', format: 'uri', minLength: 1, maxLength: 2083 }
  t.equal(
    refusal(() => checkSchema(links, PARAM)),
    undefined,
    'as generators write it',
  )
})

t.test('arguments of tools', async (t) => {
  const param = 'tools[1].function.parameters'
  const at = (parameters: unknown) => refusal(() => checkArguments(parameters, param))?.param
  t.equal(at(object({ a: { type: 'string' } })), undefined)
  t.equal(at({}), undefined)
  t.equal(at({ type: 'string' }), param)
  t.equal(at('x'), param)
  t.equal(at(object({ a: { not: {} } })), `${param}.properties.a.not`)
  const shown = (parameters: unknown) => refusal(() => checkShown(parameters, param))?.param
  t.equal(shown(object({ a: { not: {} } })), undefined, 'only shown to the model')
  t.equal(shown([]), param)
  t.equal(shown(LONG), param)
})

t.test('whatever the body says, the answer is a refusal or a grammar', async (t) => {
  const words = [
    'type',
    'items',
    'properties',
    'required',
    'enum',
    'anyOf',
    'allOf',
    '$ref',
    'const',
  ]
  const more = ['pattern', 'minimum', 'maxLength', 'minItems', 'additionalProperties', 'format']
  const values = fc.constantFrom<unknown>(
    'string',
    'object',
    'array',
    '#',
    '#/items',
    1,
    -1,
    null,
    true,
    false,
  )
  const { any } = fc.letrec<{ any: unknown }>((tie) => ({
    any: fc.oneof(
      { maxDepth: 4, withCrossShrink: true },
      values,
      fc.dictionary(fc.constantFrom(...words, ...more), tie('any'), { maxKeys: 4 }),
      fc.array(tie('any'), { maxLength: 3 }),
    ),
  }))
  let served = 0
  fc.assert(
    fc.property(any, (schema) => {
      if (refusal(() => checkSchema(schema, PARAM)) === undefined) served += 1
    }),
    { numRuns: 2000 },
  )
  t.ok(served > 20, `${served} of 2000 are served`)
})
