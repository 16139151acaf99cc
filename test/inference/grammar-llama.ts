/** The grammars as the engine itself reads them, and what the tiny model writes under them. */
import type { Token } from 'node-llama-cpp'
import t from 'tap'
import { afterThoughts, schemaGrammar, toolCallGrammar } from '../../src/inference/grammar.ts'
import { loadLibrary } from '../../src/inference/llamacpp/library.ts'
import { type ToolFormatName, toolFormat } from '../../src/inference/tools/format.ts'
import { isValid } from '../support/json-schema.ts'
import { SCHEMA_CASES } from '../support/schemas.ts'
import { TINY_MODEL } from '../support/tiny-model.ts'

const library = await loadLibrary()
const llama = await library.llama.getLlama({
  gpu: false,
  build: 'never',
  skipDownload: true,
  logLevel: library.llama.LlamaLogLevel.error,
  maxThreads: 1,
})
t.teardown(() => llama.dispose())

/** The engine's own judgement, which its types keep to themselves. */
interface Judge {
  _testText(text: string): boolean
}

t.test('the engine reads every grammar and judges as the table says', async (t) => {
  for (const { name, schema, yes, no } of SCHEMA_CASES) {
    const grammar = await llama.createGrammar({ grammar: schemaGrammar(schema) })
    const judge = grammar as unknown as Judge
    const wrong = [
      ...yes.filter((text) => !judge._testText(text)).map((text) => `not accepted: ${text}`),
      ...no.filter((text) => judge._testText(text)).map((text) => `accepted: ${text}`),
    ]
    t.strictSame(wrong, [], name)
  }
})

t.test('the engine reads the grammars of calls, and of answers after thoughts', async (t) => {
  const tools = [{ name: 'f', parameters: { type: 'object', properties: { a: { const: 1 } } } }]
  const texts: readonly (readonly [ToolFormatName, string])[] = [
    ['hermes', '<tool_call>\n{"name": "f", "arguments": {"a":1}}\n</tool_call>'],
    ['llama3', '{"name": "f", "parameters": {}}; {"name": "f", "parameters": {"a": 1}}'],
    ['mistral', '[TOOL_CALLS][{"name": "f", "arguments": {}}, {"name": "f", "arguments": {}}]'],
    ['mistral-args', '[TOOL_CALLS]f[ARGS]{"a":1}[TOOL_CALLS]f[ARGS]{}'],
    ['functionary', '<function=f>{}</function>'],
    [
      'deepseek',
      '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
    ],
    ['harmony', '<|channel|>commentary to=functions.f <|constrain|>json<|message|>{}<|call|>'],
  ]
  for (const [name, text] of texts) {
    const calls = toolCallGrammar(toolFormat(name), tools, 'required', true)
    const plain = (await llama.createGrammar({ grammar: calls })) as unknown as Judge
    t.ok(plain._testText(text), text)
    t.notOk(plain._testText(`${text}.`), `${text}.`)
    const thinking = afterThoughts(calls, { form: 'think', inside: true }, true)
    const after = (await llama.createGrammar({ grammar: thinking })) as unknown as Judge
    t.ok(after._testText(`Hm < so.</think>\n${text}`), `after a thought: ${text}`)
    t.notOk(after._testText(text), `without a thought: ${text}`)
  }
})

/** All bounded, so that an answer has an end; with letters that are no tokens of the tiny model. */
const WRITTEN: readonly unknown[] = [
  {
    type: 'object',
    properties: {
      city: { type: 'string', minLength: 1, maxLength: 12 },
      size: { enum: ['small', 'large', 'größer'] },
      age: { type: 'integer', minimum: 18, maximum: 120 },
      share: { type: 'number', minimum: 0, maximum: 1 },
      when: { type: 'string', format: 'date' },
    },
    required: ['city', 'age', 'when'],
  },
  {
    type: 'array',
    items: { anyOf: [{ type: 'boolean' }, { type: 'string', pattern: '^[A-Z]{2}-\\d{1,3}$' }] },
    minItems: 2,
    maxItems: 5,
  },
  {
    $defs: {
      node: {
        type: 'object',
        properties: {
          v: { type: 'integer', minimum: -9, maximum: 9 },
          next: { $ref: '#/$defs/end' },
        },
        required: ['v', 'next'],
      },
      end: { anyOf: [{ type: 'null' }, { $ref: '#/$defs/node' }] },
    },
    $ref: '#/$defs/node',
  },
]
const TOKENS_MAX = 400

t.test('what the model writes, hot, is what the schema allows', async (t) => {
  const { LlamaGrammarEvaluationState: State } = library.llama
  const model = await llama.loadModel({ modelPath: TINY_MODEL, gpuLayers: 0 })
  const context = await model.createContext({ contextSize: 512, threads: 1 })
  const sequence = context.getSequence()
  let ended = 0
  for (const schema of WRITTEN) {
    const grammar = await llama.createGrammar({ grammar: schemaGrammar(schema) })
    for (let seed = 1; seed <= 6; seed++) {
      await sequence.clearHistory()
      const written: Token[] = []
      const tokens = sequence.evaluate(model.tokenize('Who are you?'), {
        temperature: 1.5,
        topK: 0,
        topP: 1,
        seed,
        grammarEvaluationState: new State({ model, grammar }),
      })
      for await (const token of tokens) if (written.push(token) >= TOKENS_MAX) break
      if (written.length >= TOKENS_MAX) continue
      ended += 1
      const text = model.detokenize(written)
      t.ok(isValid(schema, parsed(text)), `seed ${seed}: ${text}`)
    }
  }
  t.ok(ended >= 15, `${ended} answers came to an end`)
})

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
