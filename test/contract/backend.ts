/**
 * What every `InferenceBackend` promises, as tests. The answers only need to be longer than a few
 * characters and a function of the request at temperature 0.
 */
import type { Test } from 'tap'
import type { ChatRequest, Completion, InferenceBackend } from '../../src/inference/backend.ts'
import { InferenceError } from '../../src/inference/errors.ts'

export interface ContractOptions {
  /** Text comes in several pieces while tokens come. */
  readonly streams?: boolean
  /** A chat whose whole answer has more than three tokens and three characters. */
  readonly prompt?: string
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
  await t.test(`${name}: slots`, (t) => slots(t, suite, backend))
  await t.test(`${name}: stop`, (t) => stop(t, suite, backend))
}

interface Suite {
  readonly prompt: string
  readonly streams: boolean
}

function ask(content: string, more: Partial<ChatRequest> = {}): ChatRequest {
  const { messages: _, body: __, ...rest } = more
  const messages = [{ role: 'user' as const, content }]
  return { messages, temperature: 0, maxTokens: 24, stop: [], ...rest, body: { messages } }
}

const never = () => new AbortController().signal

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work
    return 'answered'
  } catch (error) {
    return error instanceof InferenceError ? error.code : String(error)
  }
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
}

/** Ends what runs, refuses what comes, and may be repeated. */
async function stop(t: Test, suite: Suite, backend: InferenceBackend): Promise<void> {
  const request = ask(suite.prompt, { maxTokens: 200 })
  const running = codeOf(backend.chat(request, { signal: never() }))
  await backend.stop()
  t.equal(await running, 'STOPPED', 'what ran')
  t.equal(backend.stats().active, 0)
  t.equal(backend.stats().state, 'stopped')
  t.equal(await codeOf(backend.chat(request, { signal: never() })), 'STOPPED', 'what comes')
  await backend.stop()
  t.equal(backend.stats().state, 'stopped', 'stopping twice is stopping')
}

async function answers(t: Test, suite: Suite, backend: InferenceBackend): Promise<void> {
  await t.test('answers with text, usage and a fingerprint', async (t) => {
    const pieces: string[] = []
    const answer = await backend.chat(ask(suite.prompt), {
      signal: never(),
      onText: (text) => pieces.push(text),
    })
    t.ok(answer.text.length > 3, 'says something')
    t.equal(pieces.join(''), answer.text, 'onText got the whole text')
    t.notOk(pieces.includes(''), 'no piece is empty')
    if (suite.streams) t.ok(pieces.length > 1, 'in several pieces')
    const { promptTokens, completionTokens } = answer.usage
    t.ok(Number.isInteger(promptTokens) && promptTokens > 0, 'counts the prompt')
    t.ok(Number.isInteger(completionTokens) && completionTokens > 0, 'counts the answer')
    t.ok(completionTokens <= 24, 'keeps the limit')
    t.match(answer.fingerprint, /^\S{4,64}$/)
    t.match(answer.finishReason, /^(stop|length)$/)
  })

  await t.test('a longer prompt counts more tokens', async (t) => {
    const short = await backend.chat(ask(suite.prompt), { signal: never() })
    const long = await backend.chat(ask(`${suite.prompt} ${suite.prompt}`), { signal: never() })
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
    const answer = await backend.chat({ ...ask(''), messages }, { signal: never() })
    const alone = await backend.chat(ask(suite.prompt), { signal: never() })
    t.ok(answer.usage.promptTokens > alone.usage.promptTokens, 'all of it is read')
  })
}

async function sampling(t: Test, suite: Suite, backend: InferenceBackend): Promise<void> {
  await t.test('temperature 0 gives the same text every time', async (t) => {
    const first = await backend.chat(ask(suite.prompt), { signal: never() })
    const second = await backend.chat(ask(suite.prompt, { seed: 7 }), { signal: never() })
    t.equal(second.text, first.text)
    t.strictSame(second.usage, first.usage)
  })

  await t.test('a seed gives the same text every time', async (t) => {
    const request = ask(suite.prompt, { temperature: 1.5, topP: 0.9, seed: 4_000_000_000 })
    const first = await backend.chat(request, { signal: never() })
    t.equal((await backend.chat(request, { signal: never() })).text, first.text)
  })
}

async function limits(t: Test, suite: Suite, backend: InferenceBackend): Promise<void> {
  await t.test('ends at maxTokens and says so', async (t) => {
    const answer = await backend.chat(ask(suite.prompt, { maxTokens: 2 }), { signal: never() })
    t.equal(answer.finishReason, 'length')
    t.equal(answer.usage.completionTokens, 2)
  })

  await t.test('ends before a stop string and shows nothing of it', async (t) => {
    const whole = await backend.chat(ask(suite.prompt), { signal: never() })
    const end = whole.text.slice(2, 5)
    t.equal(end.length, 3, 'the answer is long enough')
    let shown = ''
    const answer = await backend.chat(ask(suite.prompt, { stop: ['\u0000never', end] }), {
      signal: never(),
      onText: (text) => {
        shown += text
      },
    })
    t.equal(answer.text, whole.text.slice(0, whole.text.indexOf(end)))
    t.equal(answer.finishReason, 'stop')
    t.equal(shown, answer.text)
  })

  await t.test(
    'a prompt beyond the context is CONTEXT_LENGTH, and the next one works',
    async (t) => {
      const long = 'word '.repeat(backend.info().contextSize + 1)
      t.equal(await codeOf(backend.chat(ask(long), { signal: never() })), 'CONTEXT_LENGTH')
      t.ok((await backend.chat(ask(suite.prompt), { signal: never() })).text.length > 3)
    },
  )

  await t.test('a wish for more tokens than the context holds is no fault', async (t) => {
    const request = ask(suite.prompt, { maxTokens: backend.info().contextSize * 4 })
    const { usage } = await backend.chat(request, { signal: never() })
    t.ok(usage.promptTokens + usage.completionTokens <= backend.info().contextSize)
  })
}

async function aborts(t: Test, suite: Suite, backend: InferenceBackend): Promise<void> {
  await t.test('an aborted signal throws its reason', async (t) => {
    const reason = new Error('before')
    const signal = AbortSignal.abort(reason)
    await t.rejects(backend.chat(ask(suite.prompt), { signal }), reason)
  })

  await t.test('an abort while it runs throws its reason and frees the slot', async (t) => {
    const reason = new Error('while it ran')
    const controller = new AbortController()
    const running = backend.chat(ask(suite.prompt), { signal: controller.signal })
    controller.abort(reason)
    const thrown = await running.catch((error: unknown) => error)
    t.equal(thrown, reason)
    await idle(backend)
    t.equal(backend.stats().active, 0)
    t.ok((await backend.chat(ask(suite.prompt), { signal: never() })).text.length > 3)
  })

  if (!suite.streams) return
  await t.test('an abort between two pieces ends the text there', async (t) => {
    const reason = new Error('in the middle')
    const controller = new AbortController()
    const pieces: string[] = []
    const thrown = await backend
      .chat(ask(suite.prompt, { maxTokens: 200 }), {
        signal: controller.signal,
        onText: (text) => {
          pieces.push(text)
          controller.abort(reason)
        },
      })
      .catch((error: unknown) => error)
    t.equal(thrown, reason)
    t.equal(pieces.length, 1, 'nothing came after the abort')
  })
}

async function slots(t: Test, suite: Suite, backend: InferenceBackend): Promise<void> {
  await t.test('answers as many requests at a time as it has slots, as if alone', async (t) => {
    const prompts = Array.from(
      { length: backend.info().slots },
      (_, n) => `${suite.prompt}${' and more'.repeat(n)}`,
    )
    const alone: Completion[] = []
    for (const prompt of prompts) alone.push(await backend.chat(ask(prompt), { signal: never() }))
    const together = await Promise.all(
      prompts.map((prompt) => backend.chat(ask(prompt), { signal: never() })),
    )
    for (const [n, answer] of together.entries()) {
      t.equal(answer.text, alone[n]?.text, `request ${n} says the same`)
      t.strictSame(answer.usage, alone[n]?.usage, `request ${n} counts the same`)
    }
    t.equal(backend.stats().active, 0)
  })
}

/** An engine may need a moment after an abort; some turns of the event loop are that moment. */
async function idle(backend: InferenceBackend): Promise<void> {
  for (let turn = 0; turn < 500 && backend.stats().active > 0; turn++)
    await new Promise((resolve) => setTimeout(resolve, 10))
}
