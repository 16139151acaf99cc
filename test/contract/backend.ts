/**
 * What every `InferenceBackend` promises, as tests. The answers only need to be longer than a few
 * characters and a function of the request at temperature 0. What a backend has as `features` is
 * tested by backend-features.ts.
 */
import type { Test } from 'tap'
import type { InferenceBackend } from '../../src/inference/backend.ts'
import type { Delta, Generation } from '../../src/inference/request.ts'
import { ask, codeOf, complete, idle, never, type Suite } from './backend-asks.ts'
import { featureContract } from './backend-features.ts'

export interface ContractOptions {
  /** Text comes in several pieces while tokens come. */
  readonly streams?: boolean
  /** A chat whose whole answer has more than three tokens and three characters. */
  readonly prompt?: string
  /** False: a server that others use too, whose answers may depend on its load. */
  readonly repeatable?: boolean
}

/** @param factory a new backend, not started; the suite starts and stops it */
export async function backendContract(
  t: Test,
  name: string,
  factory: () => InferenceBackend | Promise<InferenceBackend>,
  options: ContractOptions = {},
): Promise<void> {
  const suite: Suite = {
    prompt: options.prompt ?? 'one two three four five six seven eight',
    streams: options.streams ?? false,
    repeatable: options.repeatable ?? true,
  }
  const create = async () => {
    const backend = await factory()
    t.teardown(() => backend.stop())
    return backend
  }
  await t.test(`${name}: may be stopped without a start`, async (t) => {
    const backend = await create()
    await backend.stop()
    t.equal(backend.stats().state, 'stopped')
  })
  const backend = await create()
  await t.test(`${name}: start`, (t) => start(t, backend))
  await t.test(`${name}: answers`, (t) => answers(t, suite, backend))
  await t.test(`${name}: sampling`, (t) => sampling(t, suite, backend))
  await t.test(`${name}: limits`, (t) => limits(t, suite, backend))
  await t.test(`${name}: aborts`, (t) => aborts(t, suite, backend))
  if (suite.repeatable) await t.test(`${name}: load`, (t) => load(t, suite, backend))
  await featureContract(t, name, suite, backend)
  await t.test(`${name}: stop`, (t) => stop(t, suite, backend))
}

async function start(t: Test, backend: InferenceBackend): Promise<void> {
  t.not(backend.stats().state, 'ready', 'before the start')
  await backend.start()
  t.equal(backend.stats().state, 'ready')
  t.equal(backend.stats().active, 0)
  const info = backend.info()
  t.equal(info.kind, backend.kind)
  t.not(info.model, '')
  t.not(info.device, '')
  t.ok(Number.isInteger(info.slots) && info.slots >= 1, 'has slots')
  t.ok(Number.isInteger(info.contextSize) && info.contextSize >= 1, 'has a context')
  t.match(info.fingerprint, /^\S{4,64}$/)
  t.ok(info.features.chat || info.features.completions, 'generates')
}

/** Ends what runs, refuses what comes, and may be repeated. */
async function stop(t: Test, suite: Suite, backend: InferenceBackend): Promise<void> {
  const request = ask(suite.prompt, { maxTokens: 200 })
  const running = codeOf(backend.generate(request, { signal: never() }))
  await backend.stop()
  t.equal(await running, 'STOPPED', 'what ran')
  t.equal(backend.stats().active, 0)
  t.equal(backend.stats().state, 'stopped')
  t.equal(await codeOf(backend.generate(request, { signal: never() })), 'STOPPED', 'what comes')
  t.equal(await codeOf(backend.embed({ inputs: ['a'] }, { signal: never() })), 'STOPPED')
  await backend.stop()
  t.equal(backend.stats().state, 'stopped', 'stopping twice is stopping')
}

/** What came in pieces, put together. */
async function collected(
  backend: InferenceBackend,
  request: Parameters<typeof backend.generate>[0],
) {
  const deltas: Delta[] = []
  const answer = await backend.generate(request, {
    signal: never(),
    onDelta: (delta) => deltas.push(delta),
  })
  return { answer, deltas, text: deltas.map(({ text = '' }) => text).join('') }
}

async function answers(t: Test, suite: Suite, backend: InferenceBackend): Promise<void> {
  const requests = [ask(suite.prompt), complete(suite.prompt)].filter(({ kind }) =>
    kind === 'chat' ? backend.info().features.chat : backend.info().features.completions,
  )
  for (const request of requests)
    await t.test(`a ${request.kind} has text, usage and a fingerprint`, async (t) => {
      const { answer, deltas, text } = await collected(backend, request)
      t.ok(answer.text.length > 3, 'says something')
      t.equal(text, answer.text, 'the pieces are the whole text')
      t.notOk(
        deltas.some((delta) => delta.text === '' || Object.keys(delta).length === 0),
        'no piece is empty',
      )
      if (suite.streams) t.ok(deltas.length > 1, 'in several pieces')
      const { promptTokens, completionTokens } = answer.usage
      t.ok(Number.isInteger(promptTokens) && promptTokens > 0, 'counts the prompt')
      t.ok(Number.isInteger(completionTokens) && completionTokens > 0, 'counts the answer')
      t.ok(completionTokens <= 24, 'keeps the limit')
      t.equal(answer.fingerprint, backend.info().fingerprint)
      t.match(answer.finishReason, /^(stop|length)$/)
      t.strictSame(answer.toolCalls, [])
      t.equal(answer.scores, undefined, 'scores that nobody asked for are not there')
    })

  await t.test('a longer prompt counts more tokens', async (t) => {
    const short = await backend.generate(ask(suite.prompt), { signal: never() })
    const long = await backend.generate(ask(`${suite.prompt} ${suite.prompt}`), {
      signal: never(),
    })
    t.ok(long.usage.promptTokens > short.usage.promptTokens)
    t.equal(long.fingerprint, short.fingerprint, 'the same engine has the same fingerprint')
  })

  await t.test('takes a whole conversation', async (t) => {
    const messages = [
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: 'Hello.' },
      { role: 'assistant', content: 'Hello!' },
      { role: 'user', content: suite.prompt },
    ] as const
    const answer = await backend.generate(ask('', { messages }), { signal: never() })
    const alone = await backend.generate(ask(suite.prompt), { signal: never() })
    t.ok(answer.usage.promptTokens > alone.usage.promptTokens, 'all of it is read')
  })
}

async function sampling(t: Test, suite: Suite, backend: InferenceBackend): Promise<void> {
  await t.test('temperature 0 gives the same text every time', async (t) => {
    const first = await backend.generate(ask(suite.prompt), { signal: never() })
    const second = await backend.generate(ask(suite.prompt, { seed: 7n }), { signal: never() })
    t.equal(second.text, first.text)
    t.equal(second.usage.promptTokens, first.usage.promptTokens)
    t.equal(second.usage.completionTokens, first.usage.completionTokens)
  })

  await t.test('a seed of 64 bits gives the same text every time', async (t) => {
    for (const seed of [0n, 4_000_000_000n, 0xffff_ffff_ffff_fffen]) {
      const request = ask(suite.prompt, { temperature: 1.5, topP: 0.9, seed })
      const first = await backend.generate(request, { signal: never() })
      const second = await backend.generate(request, { signal: never() })
      t.equal(second.text, first.text, String(seed))
    }
  })
}

async function limits(t: Test, suite: Suite, backend: InferenceBackend): Promise<void> {
  await t.test('ends at maxTokens and says so', async (t) => {
    const request = ask(suite.prompt, { maxTokens: 2 })
    const answer = await backend.generate(request, { signal: never() })
    t.equal(answer.finishReason, 'length')
    t.equal(answer.usage.completionTokens, 2)
  })

  await t.test('ends before a stop string and shows nothing of it', async (t) => {
    const whole = await backend.generate(ask(suite.prompt), { signal: never() })
    const end = whole.text.slice(2, 5)
    t.equal(end.length, 3, 'the answer is long enough')
    const request = ask(suite.prompt, { stop: ['\u0001never', end] })
    const { answer, text } = await collected(backend, request)
    t.equal(answer.text, whole.text.slice(0, whole.text.indexOf(end)))
    t.equal(answer.finishReason, 'stop')
    t.equal(text, answer.text)
  })

  await t.test('a prompt beyond the context is CONTEXT_LENGTH, and the next works', async (t) => {
    const long = 'word '.repeat(backend.info().contextSize + 1)
    t.equal(await codeOf(backend.generate(ask(long), { signal: never() })), 'CONTEXT_LENGTH')
    t.ok((await backend.generate(ask(suite.prompt), { signal: never() })).text.length > 3)
  })

  await t.test('a wish for more tokens than the context holds is no fault', async (t) => {
    if (!suite.repeatable) return
    const request = ask(suite.prompt, { maxTokens: backend.info().contextSize * 4 })
    const { usage } = await backend.generate(request, { signal: never() })
    t.ok(usage.promptTokens + usage.completionTokens <= backend.info().contextSize)
  })
}

async function aborts(t: Test, suite: Suite, backend: InferenceBackend): Promise<void> {
  await t.test('an aborted signal throws its reason', async (t) => {
    const reason = new Error('before')
    const signal = AbortSignal.abort(reason)
    await t.rejects(backend.generate(ask(suite.prompt), { signal }), reason)
  })

  await t.test('an abort while it runs throws its reason and frees the slot', async (t) => {
    const reason = new Error('while it ran')
    const controller = new AbortController()
    const running = backend.generate(ask(suite.prompt), { signal: controller.signal })
    controller.abort(reason)
    const thrown = await running.catch((error: unknown) => error)
    t.equal(thrown, reason)
    await idle(backend)
    t.equal(backend.stats().active, 0)
    t.ok((await backend.generate(ask(suite.prompt), { signal: never() })).text.length > 3)
  })

  if (!suite.streams) return
  await t.test('an abort between two pieces ends the text there', async (t) => {
    const reason = new Error('in the middle')
    const controller = new AbortController()
    const deltas: Delta[] = []
    const thrown = await backend
      .generate(ask(suite.prompt, { maxTokens: 200 }), {
        signal: controller.signal,
        onDelta: (delta) => {
          deltas.push(delta)
          controller.abort(reason)
        },
      })
      .catch((error: unknown) => error)
    t.equal(thrown, reason)
    t.equal(deltas.length, 1, 'nothing came after the abort')
  })
}

/** Greedy and seeded answers are the same alone and beside others. */
async function load(t: Test, suite: Suite, backend: InferenceBackend): Promise<void> {
  const requests = Array.from({ length: backend.info().slots }, (_, n) => {
    const prompt = `${suite.prompt}${' and more'.repeat(n)}`
    return n % 2 === 0
      ? ask(prompt)
      : ask(prompt, { temperature: 1.2, seed: 0x1234_5678_9abc_def0n })
  })
  const alone: Generation[] = []
  for (const request of requests) alone.push(await backend.generate(request, { signal: never() }))
  const together = await Promise.all(
    requests.map((request) => backend.generate(request, { signal: never() })),
  )
  for (const [n, answer] of together.entries()) {
    t.equal(answer.text, alone[n]?.text, `request ${n} says the same`)
    t.equal(answer.usage.promptTokens, alone[n]?.usage.promptTokens, `request ${n}`)
    t.equal(answer.usage.completionTokens, alone[n]?.usage.completionTokens, `request ${n}`)
  }
  t.equal(backend.stats().active, 0)
}
