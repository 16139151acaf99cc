import fc from 'fast-check'
import t from 'tap'
import { utf8 } from '../../src/base/bytes.ts'
import { silentLog } from '../../src/base/log.ts'
import { ms } from '../../src/base/units.ts'
import { Inference } from '../../src/inference/inference.ts'
import { ManualClock } from '../support/clock.ts'
import { EchoBackend } from '../support/echo-backend.ts'
import { ChatCompletion, ErrorObject, Model, ModelList } from '../support/openai-schema.ts'

const REFUSALS = new Set([400, 404, 405, 413, 429])

const clock = new ManualClock()
const inference = new Inference({
  clock,
  log: silentLog(),
  randomBytes: (length) => new Uint8Array(length),
  services: [{ serviceId: 'llm', backend: new EchoBackend(), rules: { bodyBytesMax: 2_000 } }],
})

async function answer(method: string, url: string, body: Uint8Array) {
  const options = { signal: new AbortController().signal, deadline: ms(clock.monotonic() + 1_000) }
  return await inference.answer('llm', { method, url, headers: [], body }, options)
}

/** Says what is wrong with an answer; '' if nothing is. */
async function wrong(method: string, url: string, body: Uint8Array): Promise<string> {
  const { status, body: bytes, refused, failed } = await answer(method, url, body)
  const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  if (status === 200) {
    const isRight = [ChatCompletion, Model, ModelList].some((s) => s.safeParse(value).success)
    if (!isRight || refused !== undefined || failed !== undefined) return 'not an answer'
    return bytes.length >= 100 ? '' : 'too short'
  }
  if (!REFUSALS.has(status) || failed !== undefined) return `status ${status}`
  if ((refused === true) !== (status === 413 || status === 429)) return 'wrongly flagged'
  return ErrorObject.safeParse(value).success ? '' : 'not an error object'
}

t.before(() => inference.start())
t.teardown(() => inference.stop())

const anything = fc.jsonValue({ maxDepth: 3 })
const role = fc.oneof(fc.constantFrom('system', 'user', 'assistant', 'developer', 'tool'), anything)
const content = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.array(fc.record({ type: fc.constantFrom('text', 'image_url'), text: fc.string() })),
  anything,
)
/** Mostly right, or no request would get past the first checks. */
const mostly = <T>(right: fc.Arbitrary<T>, other: fc.Arbitrary<unknown> = anything) =>
  fc.oneof(
    { weight: 19, arbitrary: right as fc.Arbitrary<unknown> },
    { weight: 1, arbitrary: other },
  )
const message = mostly(
  fc.record({ role: fc.constantFrom('system', 'user'), content: fc.string() }),
  fc.oneof(fc.record({ role, content }, { requiredKeys: [] }), anything),
)
const optional = (...values: unknown[]) => mostly(fc.constantFrom(...values))
const chatBody = fc.record(
  {
    messages: mostly(fc.array(message, { maxLength: 4 })),
    model: optional('demo', null),
    max_tokens: optional(1, 16, null),
    max_completion_tokens: optional(1, 16, null),
    temperature: optional(0, 1, 2, null),
    top_p: optional(1, 0.5, null),
    seed: optional(0, -1, 2 ** 53, null),
    stop: optional('a', ['a', ' '], [], null),
    n: optional(1, null),
    stream: optional(false, null),
    tools: optional([], null),
    logprobs: optional(false, null),
  },
  { requiredKeys: [] },
)

t.test('a chat with any fields is answered or refused in shape', async (t) => {
  let answered = 0
  await fc.assert(
    fc.asyncProperty(chatBody, async (body) => {
      const bytes = utf8(JSON.stringify(body))
      const complaint = await wrong('POST', '/v1/chat/completions', bytes)
      if ((await answer('POST', '/', bytes)).status === 200) answered++
      if (complaint !== '') throw new Error(complaint)
    }),
    { numRuns: 300 },
  )
  t.ok(answered > 20, `${answered} of 300 were answered`)
})

t.test('any method, path and JSON', async (t) => {
  const method = fc.oneof(fc.constantFrom('GET', 'POST', 'PUT', 'HEAD'), fc.string())
  const segment = fc.oneof(
    fc.constantFrom('v1', 'chat', 'completions', 'models', 'echo', '..', '%2e', '', '%'),
    fc.webSegment(),
  )
  const url = fc.oneof(
    fc.array(segment, { maxLength: 5 }).map((parts) => `http://h/${parts.join('/')}`),
    fc.string({ unit: 'binary' }),
  )
  const body = fc.oneof(
    anything.map((value) => utf8(JSON.stringify(value))),
    fc.uint8Array(),
  )
  await fc.assert(
    fc.asyncProperty(method, url, body, async (method, url, body) => {
      const complaint = await wrong(method, url, body)
      if (complaint !== '') throw new Error(complaint)
    }),
    { numRuns: 300 },
  )
  t.pass('is answered or refused in shape')
})
