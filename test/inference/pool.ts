import t, { type Test } from 'tap'
import { silentLog } from '../../src/base/log.ts'
import { ms } from '../../src/base/units.ts'
import { InferenceError } from '../../src/inference/errors.ts'
import { Pool } from '../../src/inference/pool.ts'
import type { ChatRequest, GenerationRequest } from '../../src/inference/request.ts'
import { ManualClock } from '../support/clock.ts'
import { EchoBackend, type EchoOptions } from '../support/echo-backend.ts'

const request: ChatRequest = {
  kind: 'chat',
  messages: [{ role: 'user', content: 'a' }],
  tools: [],
  toolChoice: 'none',
  parallelToolCalls: true,
  format: { kind: 'text' },
  stop: [],
}

function setUp(t: Test, backends: Record<string, EchoBackend>) {
  const clock = new ManualClock()
  const services = Object.entries(backends).map(([serviceId, backend]) => ({ serviceId, backend }))
  const pool = new Pool({ clock, log: silentLog(), services }, { queueMax: 1 })
  t.teardown(() => pool.stop())
  const run = async (serviceId: string, signal = new AbortController().signal) => {
    try {
      const deadline = ms(clock.monotonic() + 60_000)
      return (await pool.generate(serviceId, request, { signal, deadline })).text
    } catch (error) {
      if (error instanceof InferenceError) return error.code
      throw error
    }
  }
  return { clock, pool, run }
}

function held(options: Partial<EchoOptions> = {}) {
  const ends: (() => void)[] = []
  const gate = (_: GenerationRequest, signal: AbortSignal) =>
    new Promise<void>((resolve, reject) => {
      ends.push(resolve)
      signal.addEventListener('abort', () => reject(signal.reason))
    })
  return { backend: new EchoBackend({ slots: 1, gate, ...options }), ends }
}

t.test('a service has its own backend', async (t) => {
  const a = new EchoBackend()
  const { pool, run } = setUp(t, { a, b: new EchoBackend() })
  t.equal(await run('a'), 'BUSY', 'not before the start')
  await pool.start()
  t.equal(await run('a'), 'You said: a')
  await a.stop()
  t.equal(await run('a'), 'STOPPED')
  t.equal(await run('b'), 'You said: a')
  t.equal(await run('c'), 'STOPPED', 'nobody serves it')
})

t.test('services that share a backend share its slots', async (t) => {
  const { backend, ends } = held()
  const { pool, run } = setUp(t, { a: backend, b: backend, c: new EchoBackend() })
  await pool.start()
  const works = [run('a'), run('b')]
  t.equal(await run('b'), 'BUSY', 'one slot and one place in the queue')
  t.equal(await run('c'), 'You said: a')
  const [shared, own] = pool.reports()
  t.match(shared, { services: ['a', 'b'], active: 1, queued: 1, state: 'ready' })
  t.match(own, { services: ['c'], active: 0, queued: 0 })
  for (let n = 0; n < 2; n++) {
    for (const end of ends) end()
    await works[n]
  }
  t.strictSame(await Promise.all(works), ['You said: a', 'You said: a'])
})

t.test('yielding', async (t) => {
  const { backend } = held()
  const { pool, run } = setUp(t, { a: backend, b: new EchoBackend() })
  await pool.start()
  const work = run('a')
  await pool.pause({ cancel: true })
  t.equal(await work, 'YIELDING')
  t.equal(await run('b'), 'YIELDING')
  t.strictSame(
    pool.reports().map(({ state }) => state),
    ['yielding', 'yielding'],
  )
  pool.resume()
  t.equal(await run('b'), 'You said: a')
})

t.test('a report says how long a request would take', async (t) => {
  const { backend, ends } = held()
  const { clock, pool, run } = setUp(t, { a: backend })
  await pool.start()
  t.equal(pool.reports()[0]?.predictedMs, 0)
  const work = run('a')
  await clock.advance(2_000)
  ends[0]?.()
  await work
  t.equal(pool.reports()[0]?.predictedMs, 2_000)
})

t.test('starting and stopping', async (t) => {
  await t.test('fails with what a backend failed with', async (t) => {
    const broken = new EchoBackend()
    const failure = new InferenceError('MODEL_LOAD', 'no weights')
    broken.start = async () => {
      throw failure
    }
    const { pool } = setUp(t, { a: new EchoBackend(), b: broken })
    await t.rejects(pool.start(), failure)
  })

  await t.test('stops everything once, and tells what did not', async (t) => {
    const { backend } = held()
    const stubborn = new EchoBackend()
    let stops = 0
    stubborn.stop = async () => {
      stops++
      throw new Error('would not')
    }
    const clock = new ManualClock()
    const services = [
      { serviceId: 'a', backend: stubborn },
      { serviceId: 'b', backend },
    ]
    const pool = new Pool({ clock, log: silentLog(), services })
    await pool.start()
    const { signal } = new AbortController()
    const deadline = ms(clock.monotonic() + 60_000)
    const work = pool.generate('b', request, { signal, deadline }).catch((error: unknown) => error)
    await t.rejects(pool.stop(), { errors: [{ message: 'would not' }] })
    await t.rejects(pool.stop(), { errors: [{ message: 'would not' }] })
    t.equal(stops, 1)
    t.match(await work, { code: 'STOPPED' })
    t.equal(backend.stats().state, 'stopped')
  })

  await t.test('a service with two backends is our own bug', async (t) => {
    const service = () => ({ serviceId: 'a', backend: new EchoBackend() })
    const services = [service(), service()]
    t.throws(() => new Pool({ clock: new ManualClock(), log: silentLog(), services }))
  })
})
