import fc from 'fast-check'
import t from 'tap'
import { afterThoughts, jsonObjectGrammar, schemaGrammar } from '../../src/inference/grammar.ts'
import { patternLanguage } from '../../src/inference/grammar-pattern.ts'
import { matches } from '../../src/inference/grammar-regular.ts'
import { Gbnf, Sampler } from '../support/gbnf.ts'
import { isValid } from '../support/json-schema.ts'
import { chance, SchemaMaker } from '../support/random-schema.ts'
import { SCHEMA_CASES } from '../support/schemas.ts'

/** Texts that the grammar makes and the schema does not allow. */
function wrongSamples(schema: unknown, grammar: Gbnf, seed: number, count: number): string[] {
  const sampler = new Sampler(grammar, chance(seed))
  const texts = Array.from({ length: count }, (_, at) => sampler.text(5 + at * 5))
  return texts.filter((text) => {
    try {
      return !isValid(schema, JSON.parse(text))
    } catch {
      return true
    }
  })
}

t.test('the table of schemas', async (t) => {
  t.ok(SCHEMA_CASES.length >= 80, `${SCHEMA_CASES.length} schemas`)
  for (const { name, schema, yes, no } of SCHEMA_CASES) {
    const grammar = new Gbnf(schemaGrammar(schema))
    const wrong = [
      ...yes.filter((text) => !grammar.accepts(text)).map((text) => `not accepted: ${text}`),
      ...no.filter((text) => grammar.accepts(text)).map((text) => `accepted: ${text}`),
      ...yes
        .filter((text) => !isValid(schema, JSON.parse(text)))
        .map((text) => `not valid: ${text}`),
      ...wrongSamples(schema, grammar, 7, 10).map((text) => `made: ${text}`),
    ]
    t.strictSame(wrong, [], name)
  }
})

t.test('what a schema allows, its grammar accepts, and makes nothing else', async (t) => {
  let made = 0
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const maker = new SchemaMaker(chance(seed))
      const { schema, value } = maker.schema(3)
      const grammar = new Gbnf(schemaGrammar(schema))
      for (let count = 0; count < 3; count++) {
        const one = value()
        if (!isValid(schema, one)) throw new Error(`the maker is wrong: ${JSON.stringify(one)}`)
        for (const text of [JSON.stringify(one), JSON.stringify(one, null, 2)])
          if (!grammar.accepts(text)) throw new Error(`not accepted: ${text}`)
      }
      const wrong = wrongSamples(schema, grammar, seed, 4)
      made += 4
      if (wrong.length > 0) throw new Error(`made: ${wrong[0]} of ${JSON.stringify(schema)}`)
    }),
    { numRuns: 150 },
  )
  t.equal(made, 600)
})

t.test('values of other schemas are accepted only where they fit', async (t) => {
  let refused = 0
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const maker = new SchemaMaker(chance(seed))
      const { schema } = maker.schema(2)
      const grammar = new Gbnf(schemaGrammar(schema))
      for (let count = 0; count < 5; count++) {
        const other = maker.schema(2).value()
        const fits = isValid(schema, other)
        if (!fits) refused += 1
        if (grammar.accepts(JSON.stringify(other)) && !fits)
          throw new Error(`accepted: ${JSON.stringify(other)} by ${JSON.stringify(schema)}`)
      }
    }),
    { numRuns: 100 },
  )
  t.ok(refused > 100, `${refused} did not fit`)
})

t.test('any object', async (t) => {
  const grammar = new Gbnf(jsonObjectGrammar())
  t.ok(grammar.accepts('{"a":[1,{"b":null}]}'))
  t.ok(grammar.accepts('{}'))
  for (const text of ['[]', '1', '{"a":1} ', ' {}', '{"a":  1}', '{\n\n}', '{"a":1,\n\n"b":2}'])
    t.notOk(grammar.accepts(text), text)
  const blanks = `{\n${' '.repeat(24)}}`
  t.ok(grammar.accepts(blanks))
  t.notOk(grammar.accepts(blanks.replace('}', ' }')), 'blanks have an end')
})

t.test('an answer after thoughts', async (t) => {
  const answer = schemaGrammar({ type: 'array', items: { type: 'integer' } })
  const inside = new Gbnf(afterThoughts(answer, { form: 'think', inside: true }))
  for (const text of ['</think>[1]', 'Hm, <think> of </b>.\n</think>\n\n[1, 2]', 'é😀</think>\n[]'])
    t.ok(inside.accepts(text), text)
  for (const text of ['[1]', 'Hm[1]', 'a</think>b</think>[1]', '</think>\n\n\n[]', '</think>[1] '])
    t.notOk(inside.accepts(text), text)
  const free = new Gbnf(afterThoughts(answer, { form: 'brackets', inside: false }))
  for (const text of ['[1]', '[THINK]a[/THINK]\n[1]']) t.ok(free.accepts(text), text)
  for (const text of ['a[/THINK][1]', '[THINK]a[1]']) t.notOk(free.accepts(text), text)
  const channels = new Gbnf(afterThoughts(answer, { form: 'channels', inside: false }))
  const final = '<|channel|>final<|message|>[1]'
  t.ok(channels.accepts(final))
  t.ok(channels.accepts(`<|channel|>analysis<|message|>a<b<|end|><|start|>assistant${final}`))
  t.notOk(channels.accepts('[1]'))
  t.equal(afterThoughts(answer, { form: 'none', inside: false }), answer)
})

t.test('long counts leave no length out', async (t) => {
  for (const [minLength, maxLength] of [
    [0, 300],
    [7, 290],
    [260, 530],
  ] as const) {
    const grammar = new Gbnf(schemaGrammar({ type: 'string', minLength, maxLength }))
    const accepted = Array.from({ length: maxLength + 3 }, (_, length) => length).filter((length) =>
      grammar.accepts(`"${'x'.repeat(length)}"`),
    )
    const wanted = maxLength - minLength + 1
    t.strictSame([accepted.length, accepted[0], accepted.at(-1)], [wanted, minLength, maxLength])
  }
})

t.test('schemas that share their parts stay small', async (t) => {
  const both = (at: number) => [{ $ref: `#/$defs/a${at}` }, { $ref: `#/$defs/b${at}` }]
  const levels = Array.from({ length: 60 }, (_, at) => [
    [`a${at}`, { anyOf: both(at + 1) }],
    [`b${at}`, { anyOf: both(at + 1) }],
  ])
  const ends = { a60: { type: 'null' }, b60: { type: 'boolean' } }
  const unions = { $defs: { ...Object.fromEntries(levels.flat()), ...ends }, $ref: '#/$defs/a0' }
  let objects: unknown = { type: 'null' }
  for (let level = 0; level < 28; level++)
    objects = { type: 'object', properties: { x: objects }, anyOf: [{ required: ['x'] }, {}] }
  for (const [schema, value] of [
    [unions, true],
    [objects, { x: { x: {} } }],
  ] as const) {
    const text = schemaGrammar(schema)
    t.ok(text.length < 20_000, `${text.length} characters`)
    t.ok(new Gbnf(text).accepts(JSON.stringify(value)))
  }
})

t.test('patterns find what regular expressions of the language find', async (t) => {
  const part = fc.constantFrom('a', 'b', '.', '\\d', '[^a]', '[a-c1]', '\\n', 'é', '\\.', '\\W')
  const count = fc.constantFrom('', '', '*', '+', '?', '{2}', '{1,2}', '{0,}?')
  const term = fc.tuple(part, count).map((both) => both.join(''))
  const row = fc.array(term, { maxLength: 4 }).map((terms) => terms.join(''))
  const group = fc.tuple(row, row, count).map(([a, b, times]) => `(?:${a}|${b})${times}`)
  const side = fc.tuple(fc.constantFrom('', '^'), row, group, row, fc.constantFrom('', '$'))
  const pattern = fc.array(
    side.map((parts) => parts.join('')),
    { minLength: 1, maxLength: 2 },
  )
  const text = fc.array(fc.constantFrom('a', 'b', 'c', '1', '.', '\n', 'é', '😀'), { maxLength: 7 })
  let found = 0
  fc.assert(
    fc.property(pattern, text, (sides, letters) => {
      const [source, value] = [sides.join('|'), letters.join('')]
      const wanted = new RegExp(source, 'u').test(value)
      if (wanted) found += 1
      const language = patternLanguage(source, (why) => new Error(`${source} ${why}`))
      return matches(language, value) === wanted
    }),
    { numRuns: 1000 },
  )
  t.ok(found > 100 && found < 900, `${found} of 1000 found`)
})
