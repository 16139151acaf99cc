import fc from 'fast-check'
import t from 'tap'
import { jsonObjectGrammar, schemaGrammar, toolCallGrammar } from '../../src/inference/grammar.ts'
import { GrammarState } from '../../src/inference/grammar-state.ts'
import { parseGrammar } from '../../src/inference/grammar-text.ts'
import { toolFormat } from '../../src/inference/tools/format.ts'
import { Gbnf, Sampler } from '../support/gbnf.ts'
import { isValid } from '../support/json-schema.ts'
import { chance, SchemaMaker } from '../support/random-schema.ts'
import { SCHEMA_CASES } from '../support/schemas.ts'

const bytesOf = (text: string) => new Uint8Array(Buffer.from(text))

/** Whether the whole text is taken, in pieces that end at these bytes. */
function takes(grammar: string, text: string, cuts: readonly number[] = []): boolean {
  const state = new GrammarState(grammar)
  const bytes = bytesOf(text)
  const at = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b)
  for (const [n, end] of [...at, bytes.length].entries()) {
    const piece = bytes.subarray(n === 0 ? 0 : at[n - 1], end)
    if (!state.allows(piece)) return false
    state.advance(piece)
  }
  return state.canEnd
}

t.test('takes what the table of schemas says, and nothing else', async (t) => {
  for (const { name, schema, yes, no } of SCHEMA_CASES) {
    const grammar = schemaGrammar(schema)
    const wrong = [
      ...yes.filter((text) => !takes(grammar, text)).map((text) => `refused: ${text}`),
      ...yes
        .filter((text) => !takes(grammar, text, [1, 2, 5, 9, 11]))
        .map((text) => `cut: ${text}`),
      ...no.filter((text) => takes(grammar, text)).map((text) => `taken: ${text}`),
    ]
    t.strictSame(wrong, [], name)
  }
})

t.test('is of one mind with a slow reading of the same grammar, wherever it is cut', async () => {
  fc.assert(
    fc.property(fc.integer(), fc.array(fc.nat(400), { maxLength: 8 }), (seed, cuts) => {
      const maker = new SchemaMaker(chance(seed))
      const { schema, value } = maker.schema(3)
      const grammar = schemaGrammar(schema)
      const slow = new Gbnf(grammar)
      const sampler = new Sampler(slow, chance(seed))
      for (const text of [
        JSON.stringify(value()),
        JSON.stringify(maker.schema(2).value()),
        sampler.text(20),
      ])
        if (takes(grammar, text, cuts) !== slow.accepts(text)) throw new Error(text)
      const made = sampler.text(20)
      if (!isValid(schema, JSON.parse(made)) || !takes(grammar, made, cuts)) throw new Error(made)
    }),
    { numRuns: 80 },
  )
})

t.test('every beginning of a text is allowed, and what cannot become one is not', async (t) => {
  const grammar = schemaGrammar({ enum: ['größer', 'grün 😀', 'grau'] })
  const state = new GrammarState(grammar)
  const bytes = bytesOf('"grün 😀"')
  for (const byte of bytes) {
    t.equal(state.canEnd, false)
    t.equal(state.allows(Uint8Array.of(0xff)), false)
    t.equal(state.allows(Uint8Array.of(byte)), true)
    state.advance(Uint8Array.of(byte))
  }
  t.equal(state.canEnd, true)
  t.equal(state.allows(Uint8Array.of(0x20)), false)
  const half = new GrammarState('root ::= [é-ê]')
  t.equal(half.allows(Uint8Array.of(0xc3)), true, 'may become one of both')
  half.advance(Uint8Array.of(0xc3))
  t.equal(half.canEnd, false)
  t.strictSame(
    [0xa8, 0xa9, 0xaa, 0xab, 0x41].map((byte) => half.allows(Uint8Array.of(byte))),
    [false, true, true, false, false],
  )
})

t.test('bytes that are no UTF-8 are never allowed', async (t) => {
  const state = new GrammarState('root ::= [^a]*')
  const none = [[0x80], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf4, 0x90], [0xf5], [0xe2, 0x28]]
  for (const bytes of none) t.equal(state.allows(Uint8Array.from(bytes)), false, bytes.join())
  for (const text of ['é', '€', '😀', '\u{10ffff}', '\0'])
    t.equal(state.allows(bytesOf(text)), true)
  t.equal(state.allows(bytesOf('xa')), false)
})

t.test('calls in every form, forced', async (t) => {
  const tools = [
    {
      name: 'look',
      parameters: {
        type: 'object',
        properties: { a: { type: 'integer' } },
        required: ['a'],
        additionalProperties: false,
      },
    },
  ]
  for (const name of [
    'hermes',
    'llama3',
    'mistral',
    'mistral-args',
    'deepseek',
    'harmony',
    'functionary',
    'generic',
  ] as const) {
    const format = toolFormat(name)
    for (const parallel of [true, false]) {
      const grammar = toolCallGrammar(format, tools, 'required', parallel)
      const sampler = new Sampler(new Gbnf(grammar), chance(3))
      for (let n = 0; n < 5; n++) t.ok(takes(grammar, sampler.text(8), [n, 7, 20]), name)
      t.notOk(takes(grammar, 'Sure!'), name)
    }
  }
})

t.test('knows how much it still needs at least', async (t) => {
  const grammar = schemaGrammar({
    type: 'object',
    properties: { a: { type: 'string', minLength: 3 }, b: { enum: ['é', 'longer'] } },
    required: ['a', 'b'],
    additionalProperties: false,
  })
  const state = new GrammarState(grammar)
  const least = '{"a":"xyz","b":"é"}'
  let left = bytesOf(least).length
  t.equal(state.least, left)
  for (const byte of bytesOf(least)) {
    t.equal(state.allows(Uint8Array.of(byte), left), true)
    state.advance(Uint8Array.of(byte))
    left--
    // Half a character counts when it is whole.
    if (byte < 0x80) t.equal(state.least, left)
  }
  const open = new GrammarState(grammar)
  open.advance(bytesOf('{"a":"xyz and more'))
  t.equal(open.allows(bytesOf('"'), 10), true)
  t.equal(open.allows(bytesOf('"'), 9), false)
  t.equal(open.allows(bytesOf('x'), 11), true)
  t.equal(open.allows(bytesOf('x'), 10), false)
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const { schema } = new SchemaMaker(chance(seed)).schema(3)
      const grammar = schemaGrammar(schema)
      const state = new GrammarState(grammar)
      const text = new Sampler(new Gbnf(grammar), chance(seed)).text(10)
      const { least } = state
      for (const [at, byte] of bytesOf(text).entries()) {
        const room = bytesOf(text).length - at - 1
        if (!state.allows(Uint8Array.of(byte), room)) throw new Error(`${text} at ${at}`)
        state.advance(Uint8Array.of(byte))
      }
      if (least > bytesOf(text).length || state.least !== 0) throw new Error(text)
    }),
    { numRuns: 60 },
  )
})

t.test('readings that end in different places are followed together', async (t) => {
  const grammar = 'root ::= (a | b)* "x"?\na ::= "o" | "oo"\nb ::= ("o" "o")+ | ""'
  t.ok(takes(grammar, 'o'.repeat(300)))
  t.ok(takes(grammar, `${'o'.repeat(301)}x`))
  t.notOk(takes(grammar, 'xo'))
  t.ok(takes(grammar, ''))
  const counted = 'root ::= ("a"? "b"?){2,4}'
  for (const [text, want] of [
    ['', true],
    ['abab', true],
    ['aaaa', true],
    ['aaaaa', false],
    ['bbbba', false],
  ] as const)
    t.equal(takes(counted, text), want, text)
})

t.test('a grammar of too many readings is refused, not followed', async (t) => {
  const wide = Array.from({ length: 12_000 }, (_, n) => `"a" "${n}"`).join(' | ')
  t.throws(() => new GrammarState(`root ::= ${wide}`), { code: 'BAD_REQUEST' })
})

t.test('what is not a grammar is a mistake of ours', async (t) => {
  for (const text of ['a ::= "x"', 'root ::= "x" )', 'root ::= ("x"', 'root', 'root ::= "x']) {
    t.throws(() => parseGrammar(text), { name: 'AssertionError' }, text)
  }
  t.throws(() => new GrammarState('root ::= other'), { name: 'AssertionError' })
})

t.test('a long answer takes little time and no memory', async (t) => {
  const state = new GrammarState(jsonObjectGrammar())
  const one = '"key": ["some words – and 😀", -12.5e3, {"deep": [true, null]}], '
  const text = `{${one.repeat(1_600)}"end": 1}`
  t.ok(text.length > 100_000)
  // In pieces as tokens are, with a look at ten others for each.
  const bytes = bytesOf(text)
  const others = ['"', '}', 'word', ' the', '\n', '1', ', "', ']', '\\', '{'].map(bytesOf)
  const before = process.memoryUsage().heapUsed
  const started = performance.now()
  for (let at = 0; at < bytes.length; at += 3) {
    for (const other of others) state.allows(other)
    const piece = bytes.subarray(at, at + 3)
    if (!state.allows(piece)) t.fail(`at ${at}`)
    state.advance(piece)
  }
  const seconds = (performance.now() - started) / 1_000
  t.equal(state.canEnd, true)
  t.ok(seconds < 5, `${seconds} s for ${Math.round(bytes.length / 3)} tokens`)
  t.ok(process.memoryUsage().heapUsed - before < 64 * 1024 ** 2, 'bounded')
  const deep = new GrammarState(jsonObjectGrammar())
  for (let n = 0; n < 1_000; n++) deep.advance(bytesOf('{"a":['))
  t.ok(deep.allows(bytesOf('{"a":[')), 'as deep as it goes')
})
