import OpenAI from 'openai'
import t from 'tap'
import { LLAMACPP_DEFAULTS } from '../../src/inference/llamacpp/options.ts'
import { EchoBackend } from '../support/echo-backend.ts'
import { llamaCpp } from '../support/llamacpp.ts'
import { MODEL, refused, sdkClient, sdkSuite } from '../support/local-sdk.ts'
import { localServer, until } from '../support/local-server.ts'

const messages = [{ role: 'user' as const, content: 'a b c' }]

t.test('the official client over an echo', async (t) => {
  const backend = new EchoBackend({ slots: 8, contextSize: 2_048 })
  const { url } = await localServer(t, [{ serviceId: 'llm', backend }])
  const question = 'one two three'
  await sdkSuite(t, { client: sdkClient(url), question, answer: `You said: ${question}` })
})

t.test('the official client over the built-in engine', async (t) => {
  t.testdir()
  const { entry } = LLAMACPP_DEFAULTS
  const backend = llamaCpp(t, { entry, contextSize: 2_048, slots: 8 })
  const { url, inference } = await localServer(t, [{ serviceId: 'llm', backend }])
  const client = sdkClient(url)
  const [question, answer] = ['Count from 4 to 9.', '4, 5, 6, 7, 8, 9']
  await sdkSuite(t, { client, question, answer })

  await t.test('a stream that is left gives its slot back', async (t) => {
    const items = { type: 'integer', minimum: 0, maximum: 9 }
    const schema = {
      type: 'object',
      properties: { all: { type: 'array', items, minItems: 500, maxItems: 500 } },
      required: ['all'],
    }
    const stream = await client.chat.completions.create({
      model: MODEL,
      messages,
      stream: true,
      response_format: { type: 'json_schema', json_schema: { name: 'long', schema } },
    })
    let pieces = 0
    for await (const _ of stream) if (++pieces > 3) break
    const at = Date.now()
    await until(() => inference.stats().backends[0]?.active === 0, 'the slot is free')
    t.ok(Date.now() - at < 2_000)
  })
})

t.test('what the client makes of a refusal', async (t) => {
  const ends: (() => void)[] = []
  const gate = (_: unknown, signal: AbortSignal) =>
    new Promise<void>((resolve, reject) => {
      ends.push(resolve)
      signal.addEventListener('abort', () => reject(signal.reason))
    })
  const backend = new EchoBackend({ slots: 1, gate })
  const options = { apiKey: 'right', pool: { queueMax: 0 } }
  const { url, inference } = await localServer(t, [{ serviceId: 'llm', backend }], options)
  const wrong = await refused(sdkClient(url, 'wrong').models.list())
  t.ok(wrong instanceof OpenAI.AuthenticationError)
  const client = sdkClient(url, 'right')
  const body = { model: MODEL, messages }

  const leaving = new AbortController()
  const left = client.chat.completions.create(body, { signal: leaving.signal })
  await until(() => ends.length === 1, 'the only slot is taken')
  const error = await refused(client.chat.completions.create(body))
  t.ok(error instanceof OpenAI.RateLimitError)
  t.match(error, { status: 429, code: 'queue_full', type: 'rate_limit_error' })
  if (error instanceof OpenAI.APIError) t.equal(error.headers?.get('retry-after'), '1')
  leaving.abort()
  t.ok((await refused(left)) instanceof OpenAI.APIUserAbortError)
  await until(() => inference.stats().backends[0]?.active === 0, 'the slot is free')

  const patient = client.chat.completions.create(body, { maxRetries: 2 })
  await until(() => ends.length === 2, 'the slot is taken again')
  ends[1]?.()
  t.equal((await patient).choices[0]?.message.content, 'You said: a b c')
})
