import t, { type Test } from 'tap'
import { systemClock } from '../../src/base/clock.ts'
import { ms } from '../../src/base/units.ts'
import type { ChatRequest } from '../../src/inference/backend.ts'
import { InferenceError } from '../../src/inference/errors.ts'
import { UpstreamBackend, type UpstreamOptions } from '../../src/inference/upstream.ts'
import { backendContract } from '../contract/backend.ts'
import { ManualClock } from '../support/clock.ts'
import { type Behaviour, FakeUpstream, MISBEHAVIOURS, status } from '../support/upstream.ts'

async function opened(t: Test, more: Partial<UpstreamOptions> = {}) {
  const server = new FakeUpstream()
  await server.open()
  t.teardown(() => server.close())
  const backend = new UpstreamBackend(
    { clock: systemClock },
    {
      url: server.url,
      model: 'their-name',
      contextSize: 256,
      slots: 3,
      responseBytesMax: 256 * 1024,
      ...more,
    },
  )
  t.teardown(() => backend.stop())
  return { server, backend }
}

const request: ChatRequest = {
  messages: [
    { role: 'system', content: 'a private system prompt' },
    { role: 'user', content: 'one two three' },
  ],
  maxTokens: 20,
  temperature: 0,
  topP: 0.5,
  seed: 7,
  stop: ['xyz'],
  body: {
    model: 'anything',
    top_k: 40,
    min_p: { not: 'a scalar' },
    reasoning_effort: null,
    user: 'somebody',
    store: true,
  },
}

const never = () => new AbortController().signal

async function errorOf(work: Promise<unknown>): Promise<InferenceError> {
  try {
    await work
  } catch (error) {
    if (error instanceof InferenceError) return error
    throw error
  }
  throw new Error('it answered')
}

t.test('an upstream keeps the backend contract', async (t) => {
  const server = new FakeUpstream()
  await server.open()
  t.teardown(() => server.close())
  const options = { url: server.url, model: 'm', contextSize: 256, slots: 3 }
  await backendContract(t, 'upstream', () => new UpstreamBackend({ clock: systemClock }, options))
})

t.test('what is sent', async (t) => {
  await t.test('is the checked request with the upstream’s name of the model', async (t) => {
    const { server, backend } = await opened(t)
    await backend.start()
    const completion = await backend.chat(request, { signal: never() })
    const sent = server.received.at(-1)
    t.equal(sent?.method, 'POST')
    t.equal(sent?.path, '/v1/chat/completions')
    t.strictSame(JSON.parse(sent?.body ?? ''), {
      top_k: 40,
      model: 'their-name',
      messages: request.messages,
      max_tokens: 20,
      temperature: 0,
      top_p: 0.5,
      seed: 7,
      stop: ['xyz'],
      stream: false,
    })
    t.equal(completion.text, 'You said: one two three')
    t.match(completion.fingerprint, /^pk1-[0-9a-f]{16}$/)
  })

  await t.test('leaves out what the request leaves out', async (t) => {
    const { server, backend } = await opened(t)
    await backend.start()
    const { messages } = request
    await backend.chat({ messages, stop: [], body: {} }, { signal: never() })
    const sent = JSON.parse(server.received.at(-1)?.body ?? '')
    t.strictSame(Object.keys(sent).sort(), ['messages', 'model', 'stream'])
  })

  await t.test('carries credentials and no header of a single hop', async (t) => {
    const headers = { Authorization: 'Bearer key', Host: 'evil', Connection: 'close', 'X-Own': '1' }
    const { server, backend } = await opened(t, { headers })
    await backend.start()
    await backend.chat(request, { signal: never() })
    for (const { headers, path } of server.received) {
      t.equal(headers['authorization'], 'Bearer key', path)
      t.equal(headers['x-own'], '1', path)
      t.match(headers['host'], /^127\.0\.0\.1:/, path)
      t.not(headers['connection'], 'close', path)
      t.equal(headers['accept-encoding'], 'identity', path)
    }
  })

  await t.test('goes below the path of the URL, or below /v1', async (t) => {
    for (const [path, expected] of [
      ['', '/v1/models'],
      ['/', '/v1/models'],
      ['/openai/v2/', '/openai/v2/models'],
    ] as const) {
      const { server } = await opened(t)
      const url = new URL(server.url).origin + path
      const options = { url, model: 'm', contextSize: 1, slots: 1 }
      const backend = new UpstreamBackend({ clock: systemClock }, options)
      t.teardown(() => backend.stop())
      await backend.start()
      t.equal(server.received.at(-1)?.path, expected, path)
    }
  })
})

t.test('an upstream that misbehaves', async (t) => {
  const { server, backend } = await opened(t)
  await backend.start()
  const table: Record<string, Behaviour> = { ...MISBEHAVIOURS, noContent: status(204) }
  delete table['silent']
  for (const [name, behave] of Object.entries(table)) {
    server.behave = behave
    const error = await errorOf(backend.chat(request, { signal: never() }))
    t.equal(error.code, 'ENGINE_FAILED', name)
    t.notMatch(`${error.message} ${String(error.cause)}`, /secret|think|private/, name)
    t.equal(backend.stats().active, 0, `${name}: the slot is free`)
  }
  t.notOk(
    server.received.some(({ path }) => path.includes('elsewhere')),
    'the redirect was not followed',
  )
  server.behave = undefined
  t.equal((await backend.chat(request, { signal: never() })).finishReason, 'stop', 'it recovers')
})

t.test('whose fault a status is', async (t) => {
  const { server, backend } = await opened(t)
  await backend.start()
  const told = { error: { message: 'their-name: bad\ntop_p', param: 'top_p', code: 'bad_value' } }
  const rows: [code: number, expected: string, status?: number][] = [
    [301, 'ENGINE_FAILED'],
    [400, 'BAD_REQUEST', 400],
    [401, 'ENGINE_FAILED'],
    [402, 'ENGINE_FAILED'],
    [403, 'ENGINE_FAILED'],
    [404, 'ENGINE_FAILED'],
    [405, 'ENGINE_FAILED'],
    [408, 'ENGINE_FAILED'],
    [413, 'TOO_LARGE'],
    [415, 'ENGINE_FAILED'],
    [422, 'BAD_REQUEST', 422],
    [429, 'BUSY'],
    [500, 'ENGINE_FAILED'],
    [503, 'ENGINE_FAILED'],
    [504, 'ENGINE_FAILED'],
  ]
  for (const [code, expected, passed] of rows) {
    server.behave = status(code, told)
    const error = await errorOf(backend.chat(request, { signal: never() }))
    t.equal(error.code, expected, `${code}`)
    if (passed === undefined) continue
    t.strictSame(error.data, { status: passed, param: 'top_p', reason: 'bad_value' }, `${code}`)
    t.equal(error.message, 'the model: bad top_p', `${code}`)
  }
})

t.test('what a refusal says', async (t) => {
  const { server, backend } = await opened(t)
  await backend.start()
  const refuse = async (body: unknown, headers?: Record<string, string>, code = 400) => {
    server.behave = status(code, body, headers)
    return await errorOf(backend.chat(request, { signal: never() }))
  }
  const byCode = await refuse({ error: { message: 'no', code: 'context_length_exceeded' } })
  t.equal(byCode.code, 'CONTEXT_LENGTH', 'by code')
  const byText = await refuse({ error: "This model's maximum context length is 8 tokens." })
  t.equal(byText.code, 'CONTEXT_LENGTH', 'by text')
  t.equal((await refuse('<html>')).message, 'The request was not accepted.')
  t.equal((await refuse({ message: 'plain' })).message, 'plain')
  t.equal((await refuse({ error: { message: 'x'.repeat(9_999) } })).message.length, 500)
  const odd = await refuse({ error: { message: 'm', param: 'a b\n', code: 7 } })
  t.strictSame(odd.data, { reason: 'invalid_value', status: 400 }, 'odd names are dropped')
  for (const [header, seconds] of [
    ['20', 20],
    ['0', 1],
    ['99999999', 3_600],
    ['Wed, 21 Oct 2026 07:28:00 GMT', 1],
  ] as const) {
    const error = await refuse('', { 'retry-after': header }, 429)
    t.equal(error.data['retryAfterSeconds'], seconds, header)
  }
})

t.test('what an answer is made into', async (t) => {
  const { server, backend } = await opened(t)
  await backend.start()
  const usage = { prompt_tokens: 3, completion_tokens: 2 }
  const chat = async (choice: unknown, more: object = {}) => {
    server.behave = status(200, { choices: [choice], usage, ...more })
    return await backend.chat(request, { signal: never() })
  }
  const length = await chat({ message: { content: 'a' }, finish_reason: 'length' })
  t.equal(length.finishReason, 'length')
  const left = await chat({ message: { content: 'before xyz after' }, finish_reason: 'length' })
  t.equal(left.text, 'before ', 'a stop string that was left in is cut')
  t.equal(left.finishReason, 'stop')
  const empty = await chat({ message: { content: null }, finish_reason: null })
  t.equal(empty.text, '')
  t.equal(empty.finishReason, 'stop')
  const other = await chat({ message: { content: 'a' } }, { system_fingerprint: 'fp_2' })
  t.not(other.fingerprint, length.fingerprint, 'their fingerprint is part of ours')
  const bad: object[] = [{ prompt_tokens: null }, { prompt_tokens: 1.5 }, { completion_tokens: -1 }]
  for (const wrong of bad) {
    const work = chat({ message: { content: 'a' } }, { usage: { ...usage, ...wrong } })
    t.equal((await errorOf(work)).code, 'ENGINE_FAILED', JSON.stringify(wrong))
  }
})

t.test('waiting for an upstream', async (t) => {
  await t.test('a silent upstream ends with the signal only', async (t) => {
    const { server, backend } = await opened(t)
    await backend.start()
    server.behave = MISBEHAVIOURS.silent
    const controller = new AbortController()
    const work = backend.chat(request, { signal: controller.signal }).catch((e: unknown) => e)
    await server.next()
    t.equal(backend.stats().active, 1)
    const reason = new Error('the deadline')
    controller.abort(reason)
    t.equal(await work, reason)
    t.equal(backend.stats().active, 0)
  })

  await t.test('more requests than slots are BUSY', async (t) => {
    const { server, backend } = await opened(t, { slots: 1 })
    await backend.start()
    server.behave = MISBEHAVIOURS.silent
    const first = errorOf(backend.chat(request, { signal: never() }))
    await server.next()
    t.equal((await errorOf(backend.chat(request, { signal: never() }))).code, 'BUSY')
    await backend.stop()
    t.equal((await first).code, 'STOPPED')
  })
})

t.test('starting', async (t) => {
  await t.test('fails where nobody listens, and may be tried later', async (t) => {
    const { server, backend } = await opened(t)
    await server.close().catch(() => {})
    const error = await errorOf(backend.start())
    t.equal(error.code, 'ENGINE_FAILED')
    t.equal(error.retryable, true)
    t.equal(error.data['detail'], 'ECONNREFUSED')
  })

  await t.test('fails for good where the credentials are refused', async (t) => {
    const { server, backend } = await opened(t)
    server.modelsStatus = 401
    const error = await errorOf(backend.start())
    t.strictSame([error.code, error.retryable], ['ENGINE_FAILED', false])
    t.not(backend.stats().state, 'ready')
  })

  await t.test('does without a list of models', async (t) => {
    const { server, backend } = await opened(t)
    server.modelsStatus = 404
    await backend.start()
    t.equal(backend.stats().state, 'ready')
  })

  await t.test('gives up on a server that says nothing', async (t) => {
    const clock = new ManualClock()
    const silent = (await import('node:net')).createServer(() => {})
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
    t.teardown(() => silent.close())
    const { port } = silent.address() as { port: number }
    const options = { url: `http://127.0.0.1:${port}`, model: 'm', contextSize: 1, slots: 1 }
    const backend = new UpstreamBackend({ clock }, { ...options, probeTimeout: ms(5_000) })
    t.teardown(() => backend.stop())
    const work = errorOf(backend.start())
    await clock.advance(5_000)
    t.match(await work, { code: 'ENGINE_FAILED', retryable: true, data: { detail: 'DEADLINE' } })
  })
})
