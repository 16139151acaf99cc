import t, { type Test } from 'tap'
import { systemClock } from '../../../src/base/clock.ts'
import { createLog, silentLog } from '../../../src/base/log.ts'
import { ms } from '../../../src/base/units.ts'
import { InferenceError } from '../../../src/inference/errors.ts'
import type { ChatRequest, Delta, GenerationRequest } from '../../../src/inference/request.ts'
import { UpstreamBackend } from '../../../src/inference/upstream/backend.ts'
import type { UpstreamLimits, UpstreamOptions } from '../../../src/inference/upstream/options.ts'
import { ask, codeOf, complete, never } from '../../contract/backend-asks.ts'
import { ManualClock } from '../../support/clock.ts'
import {
  type Behaviour,
  events,
  FakeUpstream,
  type FakeUpstreamOptions,
  MISBEHAVIOURS,
  status,
} from '../../support/upstream.ts'

const FEATURES = {
  chat: true,
  completions: true,
  logprobs: true,
  tools: true,
  forcedTools: true,
  jsonObject: true,
}

type Wishes = Partial<UpstreamOptions & UpstreamLimits> & {
  clock?: ManualClock
  fake?: Partial<FakeUpstreamOptions>
  headers?: Record<string, string>
  lines?: string[]
}

async function opened(t: Test, { clock, fake, headers, lines, ...more }: Wishes = {}) {
  const server = new FakeUpstream(fake)
  await server.open()
  t.teardown(() => server.close())
  const log =
    lines === undefined ? silentLog() : createLog('trace', { write: (line) => lines.push(line) })
  const backend = new UpstreamBackend(
    { clock: clock ?? systemClock, log, random: () => 0.5 },
    {
      endpoints: [{ url: server.url, slots: 3, ...(headers === undefined ? {} : { headers }) }],
      model: 'their-name',
      contextSize: 256,
      probe: false,
      features: FEATURES,
      responseBytesMax: 256 * 1024,
      ...more,
    },
  )
  t.teardown(() => backend.stop())
  return { server, backend }
}

const request: ChatRequest = ask('one two three', { stop: ['xyz'] })

async function errorOf(work: Promise<unknown>): Promise<InferenceError> {
  try {
    await work
  } catch (error) {
    if (error instanceof InferenceError) return error
    throw error
  }
  throw new Error('it answered')
}

t.test('starting', async (t) => {
  await t.test('fails where nobody listens, and may be tried later', async (t) => {
    const { server, backend } = await opened(t)
    const { port } = server
    await server.close()
    const error = await errorOf(backend.start())
    t.match(error, { code: 'ENGINE_FAILED', retryable: true, data: { detail: 'ECONNREFUSED' } })
    await server.open(port)
    await backend.start()
    t.equal(backend.stats().state, 'ready')
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

  await t.test('fails where a server that tells its models has not got ours', async (t) => {
    const { backend } = await opened(t, { model: 'another' })
    t.equal((await errorOf(backend.start())).code, 'MODEL_LOAD')
    const lenient = await opened(t, { model: 'another', fake: { ownedBy: 'llamacpp' } })
    await lenient.backend.start()
  })

  await t.test('gives up on a server that says nothing', async (t) => {
    const clock = new ManualClock()
    const silent = (await import('node:net')).createServer(() => {})
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
    t.teardown(() => silent.close())
    const { port } = silent.address() as { port: number }
    const endpoints = [{ url: `http://127.0.0.1:${port}`, slots: 1 }]
    const { backend } = await opened(t, { clock, endpoints, healthTimeout: ms(5_000) })
    const work = backend.start()
    work.catch(() => {})
    await clock.advance(5_000)
    await t.rejects(work, { code: 'ENGINE_FAILED', retryable: true })
    await backend.stop()
  })

  await t.test('believes a smaller context than is configured', async (t) => {
    const { backend } = await opened(t, { contextSize: 9_999, fake: { contextSize: 100 } })
    await backend.start()
    t.equal(backend.info().contextSize, 100)
  })
})

t.test('features', async (t) => {
  const none = { suffix: false }
  await t.test('are found out by asking', async (t) => {
    const { backend } = await opened(t, { probe: true, features: {} })
    t.equal(backend.info().features.chat, false, 'nothing is assumed')
    await backend.start()
    const { features } = backend.info()
    t.strictSame(
      Object.entries(features).filter(([, isThere]) => !isThere),
      Object.entries(none),
    )
  })

  await t.test('that a server ignores are not there', async (t) => {
    const ignores = ['echo', 'logit_bias', 'tool_choice', 'tools', 'response_format', 'logprobs']
    const { backend } = await opened(t, { probe: true, features: {}, fake: { ignores } })
    await backend.start()
    const { features } = backend.info()
    for (const name of ['echo', 'logitBias', 'forcedTools', 'jsonObject', 'logprobs'] as const)
      t.equal(features[name], false, name)
    t.equal(features.chat, true)
  })

  await t.test('are what the operator says, whatever is found', async (t) => {
    const features = { echo: true, chat: false }
    const { server, backend } = await opened(t, {
      probe: true,
      features,
      fake: { ignores: ['echo'] },
    })
    await backend.start()
    t.match(backend.info().features, { echo: true, chat: false, completions: true })
    t.equal(server.chats, 0, 'and nobody asks')
  })

  await t.test('say nothing while the server has no room', async (t) => {
    const { server, backend } = await opened(t, { probe: true, features: {} })
    server.behave = status(429)
    t.equal((await errorOf(backend.start())).code, 'BUSY')
  })

  await t.test('say nothing while the server is in trouble, but 501 is an answer', async (t) => {
    const troubled = await opened(t, { probe: true, features: {} })
    troubled.server.behave = status(500)
    const error = await errorOf(troubled.backend.start())
    t.match([error.code, error.retryable], ['ENGINE_FAILED', true])
    const { server, backend } = await opened(t, { probe: true, features: {} })
    server.behave = status(501)
    await backend.start()
    t.match(backend.info().features, { chat: false, embeddings: true })
  })
})

t.test('what is sent', async (t) => {
  await t.test('carries credentials and no header of a single hop', async (t) => {
    const headers = { Authorization: 'Bearer key', Host: 'evil', Connection: 'close', 'X-Own': '1' }
    const lines: string[] = []
    const { server, backend } = await opened(t, { headers, lines })
    await backend.start()
    await backend.generate(request, { signal: never() })
    for (const { headers, path } of server.received) {
      t.equal(headers['authorization'], 'Bearer key', path)
      t.equal(headers['x-own'], '1', path)
      t.match(headers['host'], /^127\.0\.0\.1:/, path)
      t.not(headers['connection'], 'close', path)
      t.equal(headers['accept-encoding'], 'identity', path)
    }
    t.ok(lines.length > 0)
    t.notMatch(lines.join(''), /Bearer|one two three/)
  })

  await t.test('goes below the path of the URL, or below /v1', async (t) => {
    for (const [path, expected] of [
      ['', '/v1/models'],
      ['/', '/v1/models'],
      ['/openai/v2/', '/openai/v2/models'],
    ] as const) {
      const { server } = await opened(t)
      const endpoints = [{ url: new URL(server.url).origin + path, slots: 1 }]
      const { backend } = await opened(t, { endpoints })
      await backend.start()
      t.equal(server.received.at(-1)?.path, expected, path)
    }
  })

  await t.test('is shortened once where a server says how long the prompt is', async (t) => {
    const { server, backend } = await opened(t)
    await backend.start()
    const message =
      "This model's maximum context length is 256 tokens. However, you requested 290 tokens (200 in the messages, 90 in the completion)."
    const refuse = status(400, { error: { message, code: 400 } })
    server.behave = (response, received) => {
      server.behave = undefined
      refuse(response, received)
    }
    await backend.generate({ ...request, maxTokens: 90 }, { signal: never() })
    t.equal(JSON.parse(server.received.at(-1)?.body ?? '').max_tokens, 56)
    server.behave = refuse
    const shorter = backend.generate({ ...request, maxTokens: 40 }, { signal: never() })
    t.equal(await codeOf(shorter), 'CONTEXT_LENGTH', 'a wish that fits was not at fault')
  })
})

t.test('an upstream that misbehaves', async (t) => {
  const { server, backend } = await opened(t, {
    breaker: { failuresMax: 99, rateMax: 2, rateWindow: 9, restFirst: ms(1), restMax: ms(1) },
  })
  await backend.start()
  const part = (content: string) => ({ choices: [{ index: 0, delta: { content } }] })
  const last = { choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] }
  const table: Record<string, Behaviour> = {
    ...MISBEHAVIOURS,
    noContent: status(204),
    streamCut: events([part('think')], 'cut'),
    streamEnds: events([part('think')]),
    streamWithoutUsage: events([part('a'), last, '[DONE]']),
    streamError: events([part('a'), { error: { message: 'secret words', code: 500 } }]),
    streamGarbage: events(['{"choices":[{"delta"']),
    streamOfTwo: events([{ choices: [{ index: 1, delta: { content: 'a' } }] }]),
    streamNotUtf8: (response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.end(Buffer.from([0x64, 0x61, 0x74, 0x61, 0x3a, 0xff, 0x0a, 0x0a]))
    },
  }
  delete table['silent']
  for (const [name, behave] of Object.entries(table)) {
    server.behave = behave
    const error = await errorOf(backend.generate(request, { signal: never() }))
    t.equal(error.code, 'ENGINE_FAILED', name)
    t.notMatch(`${error.message} ${String(error.cause)}`, /secret|think|private/, name)
    t.equal(backend.stats().active, 0, `${name}: the slot is free`)
  }
  t.notOk(
    server.received.some(({ path }) => path.includes('elsewhere')),
    'the redirect was not followed',
  )
  server.behave = undefined
  t.equal((await backend.generate(request, { signal: never() })).finishReason, 'stop')
})

t.test('an error before the first piece of a stream is a refusal like any other', async (t) => {
  const { server, backend } = await opened(t)
  await backend.start()
  server.behave = events([{ error: { message: 'too many tokens', code: 400 } }])
  const long = (asked: GenerationRequest) => errorOf(backend.generate(asked, { signal: never() }))
  t.match(await long(request), { code: 'CONTEXT_LENGTH', data: { param: 'messages' } })
  t.match(await long(complete('a')), { code: 'CONTEXT_LENGTH', data: { param: 'prompt' } })
})

t.test('nothing comes after an abort, and the connection is closed', async (t) => {
  const { server, backend } = await opened(t)
  await backend.start()
  let closed = 0
  const both = { choices: [{ index: 0, delta: { reasoning: 'a', content: 'b' } }] }
  const broken = { choices: [{ index: 1 }] }
  for (const event of [both, broken]) {
    server.behave = (response, received) => {
      response.on('close', () => closed++)
      events([event], 'open')(response, received)
    }
    const controller = new AbortController()
    const deltas: Delta[] = []
    const onDelta = (delta: Delta) => {
      deltas.push(delta)
      controller.abort(new Error('gone'))
    }
    const work = backend.generate(request, { signal: controller.signal, onDelta })
    t.match(await codeOf(work), event === both ? 'Error: gone' : 'ENGINE_FAILED')
    t.equal(deltas.length, event === both ? 1 : 0)
  }
  for (let turn = 0; turn < 100 && closed < 2; turn++)
    await new Promise((resolve) => setTimeout(resolve, 5))
  t.equal(closed, 2)
})

t.test('completions are asked for where completions are', async (t) => {
  const { server, backend } = await opened(t)
  await backend.start()
  const answer = await backend.generate(complete('one two'), { signal: never() })
  t.equal(server.received.at(-1)?.path, '/v1/completions')
  t.equal(answer.text, 'You said: one two')
})
