import fc from 'fast-check'
import t from 'tap'
import { utf8 } from '../../src/base/bytes.ts'
import { silentLog } from '../../src/base/log.ts'
import { ms } from '../../src/base/units.ts'
import { Inference } from '../../src/inference/inference.ts'
import { ManualClock } from '../support/clock.ts'
import { EchoBackend } from '../support/echo-backend.ts'
import { BODIES } from '../support/local-bodies.ts'
import { WHOLE, wrongEvents } from '../support/local-schema.ts'
import { WRONG } from '../support/local-wrong.ts'
import { ErrorObject, Model, ModelList } from '../support/openai-schema.ts'

const BODY_MAX = 4_000
const clock = new ManualClock()
const inference = new Inference({
  clock,
  log: silentLog(),
  randomBytes: (length) => new Uint8Array(length),
  services: [
    {
      serviceId: 'llm',
      backend: new EchoBackend({ slots: 32 }),
      rules: { bodyBytesMax: BODY_MAX },
    },
  ],
})
t.before(() => inference.start())
t.teardown(() => inference.stop())

async function answer(method: string, url: string, body: Uint8Array) {
  const told: string[] = []
  const answer = await inference.answer(
    'llm',
    { method, url, headers: [], body },
    {
      signal: new AbortController().signal,
      deadline: ms(clock.monotonic() + 1_000),
      onEvents: (events) => told.push(events),
    },
  )
  const text = new TextDecoder('utf-8', { fatal: true }).decode(answer.body)
  return { ...answer, text, told: told.join('') }
}

const post = (url: string, body: unknown) => answer('POST', url, utf8(JSON.stringify(body)))

type Answer = Awaited<ReturnType<typeof answer>>

/** Says what is wrong with an answer; '' if nothing is. */
function wrong(answer: Answer, path: string): string {
  const { status, body, text, told, contentType, refused, failed } = answer
  if (failed !== undefined) return `failed: ${status}`
  if (status === 200 && contentType === 'text/event-stream')
    return text === told ? wrongEvents(path, text) : 'other events were told'
  const value: unknown = JSON.parse(text)
  if (status === 200) {
    const schemas = WHOLE[path] === undefined ? [Model, ModelList] : [WHOLE[path]]
    if (refused !== undefined || body.length < 100) return 'no answer'
    const problems = schemas.map((schema) => schema.safeParse(value).error?.message)
    return problems.includes(undefined) ? '' : String(problems)
  }
  if (![400, 404, 405, 413, 429].includes(status)) return `status ${status}`
  if ((refused === true) !== (status === 413 || status === 429)) return 'wrongly flagged'
  const { error } = ErrorObject.parse(value)
  if (error.code === null) return 'no code'
  return status === 400 && (error.param ?? '') === '' ? 'no field is named' : ''
}

t.test('random bodies are answered in shape or refused by name', async (t) => {
  for (const [path, bodies] of Object.entries(BODIES)) {
    const statuses = new Map<number, number>()
    await fc.assert(
      fc.asyncProperty(bodies, async (body) => {
        const given = await post(path, body)
        statuses.set(given.status, (statuses.get(given.status) ?? 0) + 1)
        const complaint = wrong(given, path)
        if (complaint !== '') throw new Error(complaint)
      }),
      { numRuns: 400, seed: 20_260, endOnFailure: false },
    )
    const count = (status: number) => statuses.get(status) ?? 0
    t.ok(count(200) > 100 && count(400) > 10, `${path}: ${[...statuses].join(' ')}`)
  }
})

t.test('every field of the wrong type or out of range is named', async (t) => {
  let count = 0
  for (const [path, [right, fields]] of Object.entries(WRONG)) {
    const fine = await post(path, right)
    t.equal(fine.status, 200, `${path} is right without it`)
    for (const [param, values, named = param, beside = {}] of fields) {
      for (const value of values) {
        count++
        const given = await post(path, { ...right, ...beside, [param]: value })
        const what = `${path} ${param} = ${JSON.stringify(value).slice(0, 90)}`
        if (!t.equal(given.status, 400, what)) continue
        const { error } = ErrorObject.parse(JSON.parse(given.text))
        const isNamed = named.endsWith('.') ? error.param?.startsWith(named) : error.param === named
        t.ok(isNamed, `${what}: ${error.param} is named, ${named} is at fault`)
        t.hasStrict(error, { type: 'invalid_request_error' }, what)
        t.equal(given.told, '', 'before anything was streamed')
      }
    }
  }
  t.ok(count > 750, `${count} wrong values`)
})

t.test('what asks for nothing is taken', async (t) => {
  const harmless = {
    '/v1/chat/completions': {
      ...{ n: null, stop: null, tools: [], tool_choice: 'none', functions: [], logit_bias: {} },
      ...{ user: 'u', store: false, service_tier: 'auto', metadata: {}, prompt_cache_key: 'k' },
      ...{ temperature: 0, seed: 0, top_logprobs: 0, min_tokens: 0, best_of: 1, echo: false },
      ...{ modalities: ['text'], response_format: { type: 'text' }, top_k: -1, anything: [{}] },
    },
    '/v1/completions': { tools: [], response_format: { type: 'text' }, suffix: '', best_of: 1 },
    '/v1/responses': {
      ...{ background: false, include: [], truncation: 'disabled', previous_response_id: null },
      ...{ store: true, service_tier: 'auto', tool_choice: 'auto', user: 'u', top_logprobs: 0 },
    },
    '/v1/embeddings': { user: 'u', dimensions: null, encoding_format: null },
  }
  for (const [path, fields] of Object.entries(harmless)) {
    const given = await post(path, { ...WRONG[path]?.[0], ...fields })
    t.strictSame([given.status, wrong(given, path)], [200, ''], `${path}: ${given.text}`)
  }
})

t.test('seeds of 64 bits, whatever JSON makes of them', async (t) => {
  for (const seed of [
    '18446744073709551615',
    '-9223372036854775808',
    '9223372036854775807',
    '-0',
  ]) {
    const body = utf8(`{"prompt": "one two three", "temperature": 1, "seed": ${seed}}`)
    const [one, other] = [
      await answer('POST', '/completions', body),
      await answer('POST', '/completions', body),
    ]
    t.equal(one.status, 200, seed)
    t.equal(one.text, other.text)
  }
})

t.test('as many choices as may be asked for, without a warning of leaks', async (t) => {
  const warnings: string[] = []
  const note = ({ message }: Error) => warnings.push(message)
  process.on('warning', note)
  t.teardown(() => process.off('warning', note))
  for (const stream of [false, true]) {
    const given = await post('/v1/chat/completions', {
      ...WRONG['/v1/chat/completions']?.[0],
      n: 32,
      stream,
    })
    t.strictSame([given.status, wrong(given, '/v1/chat/completions')], [200, ''])
  }
  await new Promise((resolve) => setImmediate(resolve))
  t.strictSame(warnings, [])
})

t.test('what is not JSON', async (t) => {
  const texts = {
    'nothing at all': '',
    'a broken object': '{"messages": [',
    'trailing garbage': '{"prompt": "a"} x',
    'two objects': '{"prompt": "a"}{"prompt": "b"}',
    'a trailing comma': '{"prompt": "a",}',
    'an array': '[]',
    'a text': '"prompt"',
    null: 'null',
    NaN: '{"prompt": "a", "temperature": NaN}',
    'an array without end': '['.repeat(3_999),
  }
  for (const path of Object.keys(WRONG)) {
    for (const [what, text] of Object.entries(texts)) {
      const { status, text: told } = await answer('POST', path, utf8(text))
      t.equal(status, 400, `${path}: ${what}`)
      t.hasStrict(JSON.parse(told).error, { param: 'body', code: 'invalid_json' }, what)
    }
    const cut = new Uint8Array([...utf8('{"prompt":"'), 0xf0, 0x9f, ...utf8('"}')])
    t.equal((await answer('POST', path, cut)).status, 400, 'half a character')
    const long = utf8(`{"prompt": "${'a'.repeat(BODY_MAX)}"}`)
    t.hasStrict(await answer('POST', path, long), { status: 413, refused: true })
  }
  const endless = await answer(
    'POST',
    '/v1/completions',
    utf8('{"prompt":"a","temperature":1e999}'),
  )
  t.equal(JSON.parse(endless.text).error.param, 'temperature', 'a number beyond all numbers')
})

t.test('any method, path and body', async (t) => {
  const method = fc.oneof(fc.constantFrom('GET', 'POST', 'PUT', 'HEAD'), fc.string())
  const words = ['v1', 'chat', 'completions', 'models', 'echo', 'pokt', '..', '%2e', '', '%', '%00']
  const segment = fc.oneof(fc.constantFrom(...words), fc.webSegment())
  const url = fc.oneof(
    fc.array(segment, { maxLength: 5 }).map((parts) => `http://h/${parts.join('/')}`),
    fc.string({ unit: 'binary' }),
  )
  const body = fc.oneof(
    fc.jsonValue({ maxDepth: 3 }).map((value) => utf8(JSON.stringify(value))),
    fc.uint8Array(),
  )
  await fc.assert(
    fc.asyncProperty(method, url, body, async (method, url, body) => {
      const complaint = wrong(await answer(method, url, body), 'any')
      if (complaint !== '') throw new Error(complaint)
    }),
    { numRuns: 400, seed: 20_260 },
  )
  t.pass('is answered or refused in shape')
})
