import t, { type Test } from 'tap'
import { createLog, silentLog } from '../../../src/base/log.ts'
import { ms } from '../../../src/base/units.ts'
import { InferenceError } from '../../../src/inference/errors.ts'
import { UpstreamBackend } from '../../../src/inference/upstream/backend.ts'
import type { UpstreamLimits } from '../../../src/inference/upstream/options.ts'
import { ask, codeOf, never } from '../../contract/backend-asks.ts'
import { ManualClock } from '../../support/clock.ts'
import { FakeUpstream, MISBEHAVIOURS, status } from '../../support/upstream.ts'

const HOUR = 3_600_000

async function several(t: Test, slots: readonly number[], more: Partial<UpstreamLimits> = {}) {
  const clock = new ManualClock()
  const lines: string[] = []
  const log = createLog('debug', { write: (line) => lines.push(line) })
  const servers = slots.map(() => new FakeUpstream())
  for (const server of servers) {
    await server.open()
    t.teardown(() => server.close().catch(() => {}))
  }
  const backend = new UpstreamBackend(
    { clock, log, random: () => 0.5 },
    {
      endpoints: servers.map(({ url }, at) => ({
        url,
        slots: slots[at] ?? 1,
        headers: { authorization: `Bearer key-of-${at}` },
      })),
      model: 'their-name',
      contextSize: 256,
      probe: false,
      features: { chat: true },
      ...more,
    },
  )
  t.teardown(() => backend.stop())
  await backend.start()
  const [a, b] = servers as [FakeUpstream, FakeUpstream]
  const chat = async (signal = never()) => await backend.generate(ask('one two'), { signal })
  return { clock, backend, servers, a, b, chat, lines }
}

/** Until what was started has got as far as it can. */
async function until(holds: () => boolean): Promise<void> {
  for (let turn = 0; turn < 500 && !holds(); turn++)
    await new Promise((resolve) => setTimeout(resolve, 2))
}

t.test('the least loaded server takes a request', async (t) => {
  const { a, b, backend, chat } = await several(t, [2, 4])
  t.equal(backend.info().slots, 6)
  const held = [a.hold(), a.hold(), b.hold(), b.hold(), b.hold(), b.hold()]
  const work: Promise<unknown>[] = []
  const loads: number[][] = []
  for (let count = 1; count <= 6; count++) {
    work.push(chat())
    await until(() => a.chats + b.chats === count)
    loads.push((backend.stats().servers ?? []).map(({ inFlight }) => inFlight))
  }
  t.strictSame(loads, [
    [1, 0],
    [1, 1],
    [1, 2],
    [2, 2],
    [2, 3],
    [2, 4],
  ])
  t.equal(backend.stats().active, 6)
  t.equal(await codeOf(chat()), 'BUSY', 'and then every slot is taken')
  for (const { release } of held) release()
  await Promise.all(work)
  t.equal(backend.stats().active, 0)
})

t.test('another server takes over', async (t) => {
  await t.test('where nothing was sent', async (t) => {
    const { a, b, backend, chat } = await several(t, [1, 1])
    await a.close()
    t.equal((await chat()).text, 'You said: one two')
    t.equal(b.chats, 1)
    t.match((backend.stats().servers ?? [])[0], { state: 'ok', lastFailure: 'ECONNREFUSED' })
  })

  await t.test('where the first has no room', async (t) => {
    for (const code of [429, 503]) {
      const { a, b, chat } = await several(t, [1, 1])
      a.behave = status(code, '', { 'retry-after': '30' })
      t.equal((await chat()).text, 'You said: one two', `${code}`)
      a.behave = undefined
      await chat()
      t.strictSame([a.chats, b.chats], [1, 2], 'and is preferred for a while')
    }
  })

  await t.test('not where it may have been done', async (t) => {
    for (const behave of [status(500), MISBEHAVIOURS.cut, MISBEHAVIOURS.garbage]) {
      const { a, b, chat } = await several(t, [1, 1])
      a.behave = behave
      t.equal(await codeOf(chat()), 'ENGINE_FAILED')
      t.equal(b.chats, 0)
    }
  })

  await t.test('and if there is none, the refusal is quick and says when', async (t) => {
    const { a, b, chat } = await several(t, [1, 1])
    a.behave = status(429, '', { 'retry-after': '7' })
    b.behave = status(503, '', { 'retry-after': '9' })
    const error = (await chat().catch((e: unknown) => e)) as InferenceError
    t.match(error, { code: 'BUSY', data: { retryAfterSeconds: 9 } })
    await a.close()
    await b.close()
    // A connection that is closed at this moment may have carried the request.
    await new Promise((resolve) => setTimeout(resolve, 20))
    t.match(await chat().catch((e: unknown) => e), {
      code: 'BUSY',
      data: { reason: 'unavailable' },
    })
  })
})

t.test('a server that fails rests, then gets one request as a probe', async (t) => {
  const { a, backend, clock, chat } = await several(t, [4], { healthEvery: ms(HOUR) })
  a.behave = status(500)
  for (let count = 0; count < 3; count++) t.equal(await codeOf(chat()), 'ENGINE_FAILED')
  t.match(backend.stats().servers ?? [], [
    { state: 'open', restMs: 5_000, lastFailure: 'status 500' },
  ])
  t.equal(backend.stats().state, 'restarting')
  const refused = (await chat().catch((e: unknown) => e)) as InferenceError
  t.match(refused, { code: 'BUSY', data: { retryAfterSeconds: 5, reason: 'unavailable' } })
  t.equal(a.chats, 3, 'nobody asks it')
  await clock.advance(5_000)
  t.equal(backend.stats().state, 'ready')
  a.behave = undefined
  const held = a.hold()
  const probe = chat()
  await held.caught
  t.match(backend.stats().servers ?? [], [{ state: 'half-open' }])
  t.equal(await codeOf(chat()), 'BUSY', 'one at a time')
  held.release()
  await probe
  t.match(backend.stats().servers ?? [], [{ state: 'ok' }])
})

t.test('what says nothing about a server does not count', async (t) => {
  const { a, backend, chat } = await several(t, [2])
  a.behave = status(400, { error: { message: 'bad' } })
  for (let count = 0; count < 5; count++) t.equal(await codeOf(chat()), 'BAD_REQUEST')
  a.behave = MISBEHAVIOURS.silent
  for (let count = 0; count < 5; count++) {
    const controller = new AbortController()
    const work = codeOf(chat(controller.signal))
    await a.next()
    controller.abort(new Error('gone'))
    await work
  }
  a.behave = status(200, {
    choices: [{ message: { content: 'no JSON' } }],
    usage: { prompt_tokens: 1, completion_tokens: 1 },
  })
  for (let count = 0; count < 5; count++) {
    const asked = ask('a', { format: { kind: 'json' } })
    t.equal(await codeOf(backend.generate(asked, { signal: never() })), 'ENGINE_FAILED')
  }
  t.match(backend.stats().servers ?? [], [{ state: 'ok', inFlight: 0 }])
})

t.test('a server that says nothing until the deadline has failed', async (t) => {
  const { a, backend, chat } = await several(t, [2])
  a.behave = MISBEHAVIOURS.silent
  for (let count = 0; count < 3; count++) {
    const controller = new AbortController()
    const work = codeOf(chat(controller.signal))
    await a.next()
    controller.abort(new InferenceError('ENGINE_TIMEOUT', 'late'))
    t.equal(await work, 'ENGINE_TIMEOUT')
  }
  t.match(backend.stats().servers ?? [], [{ state: 'open', lastFailure: 'SILENT' }])
})

t.test('a stream that falls silent is ended', async (t) => {
  const { a, clock, backend } = await several(t, [2], { idleTimeout: ms(1_000) })
  const part = 'data: {"choices":[{"index":0,"delta":{"content":"a "}}]}\n\n'
  let more = () => {}
  a.behave = (response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write(part)
    more = () => void response.write(part)
  }
  let pieces = 0
  const onDelta = () => void pieces++
  const work = codeOf(backend.generate(ask('a'), { signal: never(), onDelta }))
  await until(() => pieces === 1)
  await clock.advance(900)
  more()
  await until(() => pieces === 2)
  await clock.advance(900)
  t.equal(backend.stats().active, 1, 'each piece begins the time again')
  await clock.advance(100)
  t.equal(await work, 'ENGINE_FAILED')
  a.behave = MISBEHAVIOURS.silent
  const controller = new AbortController()
  const reason = new Error('the deadline')
  const waiting = backend.generate(ask('a'), { signal: controller.signal }).catch((e: unknown) => e)
  await a.next()
  await clock.advance(HOUR / 2)
  t.equal(backend.stats().active, 1, 'before the first piece only the signal ends it')
  controller.abort(reason)
  t.equal(await waiting, reason)
})

t.test('servers are asked whether they are well', async (t) => {
  const { a, b, backend, clock, chat, lines } = await several(t, [1, 2])
  a.modelsStatus = 500
  const asked = b.next()
  await clock.advance(15_000)
  await asked
  await until(() => (backend.stats().servers ?? [])[0]?.state === 'unhealthy')
  t.match(backend.stats().servers ?? [], [
    { state: 'unhealthy', lastFailure: 'status 500' },
    { state: 'ok' },
  ])
  t.equal(backend.info().slots, 2, 'its slots do not count')
  await chat()
  t.strictSame([a.chats, b.chats], [0, 1])
  a.modelsStatus = 200
  await until(() => clock.sleeping > 0)
  await clock.advance(15_000)
  await until(() => (backend.stats().servers ?? [])[0]?.state === 'ok')
  t.match(backend.stats().servers ?? [], [{ state: 'ok' }, { state: 'ok' }])
  await until(() => lines.some((line) => line.includes('upstream is well')))
  t.match(lines.join(''), /upstream is not well[\s\S]*upstream is well/)
  t.notMatch(lines.join(''), /key-of|one two/, 'no credentials, no prompts')
})

t.test('an abort closes the connection', async (t) => {
  const { a, chat } = await several(t, [1])
  const closed = new Promise<void>((resolve) => {
    a.behave = (response) => void response.on('close', resolve)
  })
  const controller = new AbortController()
  const work = chat(controller.signal).catch(() => {})
  await a.next()
  controller.abort(new Error('gone'))
  await work
  await closed
})

t.test('the cap on tokens', async (t) => {
  const { backend, chat, clock } = await several(t, [1], { tokensMax: { perHour: 15 } })
  await chat()
  t.strictSame(backend.stats().spent, { hour: 8, day: 8 }, '3 of the prompt, 5 of the answer')
  await chat()
  const refused = (await chat().catch((e: unknown) => e)) as InferenceError
  t.match(refused, { code: 'BUSY', data: { reason: 'spend_cap' } })
  const { retryAfterSeconds } = refused.data
  t.ok(Number(retryAfterSeconds) > 3_540 && Number(retryAfterSeconds) <= 3_660)
  await clock.advance(Number(retryAfterSeconds) * 1_000)
  await chat()
})

t.test('a backend that is stopped while it starts', async (t) => {
  const server = new FakeUpstream()
  await server.open()
  t.teardown(() => server.close())
  const deps = { clock: new ManualClock(), log: silentLog(), random: () => 0 }
  const endpoints = [{ url: server.url, slots: 1 }]
  const backend = new UpstreamBackend(deps, { endpoints, model: 'their-name', contextSize: 9 })
  const starting = codeOf(backend.start())
  await backend.stop()
  t.equal(await starting, 'STOPPED')
  t.equal(await codeOf(backend.start()), 'STOPPED')
})
