import fc from 'fast-check'
import t, { type Test } from 'tap'
import { ms } from '../../src/base/units.ts'
import { engineFailed, InferenceError } from '../../src/inference/errors.ts'
import type { Job } from '../../src/inference/job.ts'
import type { ChatRequest, Generation, GenerationRequest } from '../../src/inference/request.ts'
import { Slots } from '../../src/inference/slots.ts'
import { ManualClock } from '../support/clock.ts'
import { EchoBackend, type EchoOptions } from '../support/echo-backend.ts'

const turn = () => new Promise((resolve) => setImmediate(resolve))

async function settle(): Promise<void> {
  for (let n = 0; n < 12; n++) await turn()
}

function ask(content: string, maxTokens?: number): ChatRequest {
  return {
    kind: 'chat',
    messages: [{ role: 'user', content }],
    tools: [],
    toolChoice: 'none',
    parallelToolCalls: true,
    format: { kind: 'text' },
    temperature: 0,
    stop: [],
    ...(maxTokens === undefined ? {} : { maxTokens }),
  }
}

function contentOf(request: GenerationRequest): string {
  return request.kind === 'chat' ? (request.messages[0]?.content ?? '') : ''
}

/** Moves on by single steps of waiting promises until the queue has given its request on. */
async function handover(held: Held): Promise<void> {
  for (let n = 0; n < 100 && held.slots.queued > 0; n++) await Promise.resolve()
}

/** Makes the engine answer within the same turn of the event loop in which `end` is called. */
function instantly(held: Held): Map<string, () => void> {
  const ends = new Map<string, () => void>()
  held.backend.generate = async (request, { signal }) => {
    held.begun.push(request)
    await new Promise<void>((resolve, reject) => {
      ends.set(contentOf(request), resolve)
      signal.addEventListener('abort', () => reject(signal.reason))
    })
    const usage = { promptTokens: 1, completionTokens: 1 }
    return { text: 'done', toolCalls: [], finishReason: 'stop', usage, fingerprint: 'f' }
  }
  return ends
}

/** Requests stay in the engine until `end(content)`; what reached it is in `begun`. */
class Held {
  readonly clock = new ManualClock(1_000_000)
  readonly begun: GenerationRequest[] = []
  readonly backend: EchoBackend
  readonly slots: Slots
  readonly #ends = new Map<string, () => void>()
  deaf = false

  constructor(options: Partial<EchoOptions> & { queueMax?: number } = {}) {
    const gate = (request: GenerationRequest, signal: AbortSignal) =>
      new Promise<void>((resolve, reject) => {
        this.begun.push(request)
        this.#ends.set(contentOf(request), resolve)
        if (!this.deaf) signal.addEventListener('abort', () => reject(signal.reason))
      })
    this.backend = new EchoBackend({ slots: 1, gate, ...options }, { clock: this.clock })
    const { queueMax = 4 } = options
    const settings = { queueMax, retryAfterSeconds: 30 }
    this.slots = new Slots({ clock: this.clock, backend: this.backend }, settings)
  }

  static async ready(
    t: Test,
    options: Partial<EchoOptions> & { queueMax?: number } = {},
  ): Promise<Held> {
    const held = new Held(options)
    await held.backend.start()
    t.teardown(() => held.backend.stop())
    return held
  }

  get contents(): string[] {
    return this.begun.map(contentOf)
  }

  /** Resolves with the text, or with the code (and reason) of the refusal, or with what was thrown. */
  async serve(
    content: string,
    {
      seconds = 60,
      signal = new AbortController().signal,
      maxTokens = 50,
      promptTokens = 1,
      party = '',
    } = {},
  ): Promise<unknown> {
    try {
      const deadline = ms(this.clock.monotonic() + seconds * 1_000)
      const request = ask(content, maxTokens)
      const job: Job<Generation> = {
        work: { promptTokens, completionTokens: maxTokens },
        run: ({ signal, tokensMax = maxTokens, onPiece }) =>
          this.backend.generate(
            { ...request, maxTokens: Math.min(maxTokens, tokensMax) },
            { signal, onDelta: onPiece },
          ),
        usageOf: ({ usage }) => usage,
      }
      const { text } = await this.slots.serve(job, { signal, deadline, party })
      return text
    } catch (error) {
      if (!(error instanceof InferenceError)) return error
      const { reason, retryAfterSeconds: after } = error.data
      return [error.code, reason, after].filter((part) => part !== undefined).join(' ')
    }
  }

  async end(content: string): Promise<void> {
    this.#ends.get(content)?.()
    await settle()
  }

  /** One request that takes so long: what the averages are then made of. */
  async sample(seconds: number): Promise<void> {
    const work = this.serve('sample', { seconds: 10_000 })
    await turn()
    await this.clock.advance(seconds * 1_000)
    await this.end('sample')
    await work
  }
}

t.test('as many at a time as there are slots, then in order of arrival', async (t) => {
  const held = await Held.ready(t, { slots: 2 })
  const works = ['a', 'b', 'c', 'd'].map((content) => held.serve(content))
  await settle()
  t.strictSame(held.contents, ['a', 'b'])
  t.strictSame([held.slots.active, held.slots.queued], [2, 2])
  await held.end('b')
  t.strictSame(held.contents, ['a', 'b', 'c'])
  await held.end('a')
  await held.end('c')
  await held.end('d')
  t.strictSame(
    await Promise.all(works),
    ['a', 'b', 'c', 'd'].map((c) => `You said: ${c}`),
  )
  t.strictSame([held.slots.active, held.slots.queued], [0, 0])
})

t.test('refusing early', async (t) => {
  await t.test('a full queue', async (t) => {
    const held = await Held.ready(t, { queueMax: 1 })
    const works = [held.serve('a'), held.serve('b')]
    t.equal(await held.serve('c'), 'BUSY queue_full 1')
    await held.end('a')
    await held.end('b')
    t.strictSame(await Promise.all(works), ['You said: a', 'You said: b'])
  })

  await t.test('no queue at all', async (t) => {
    const held = await Held.ready(t, { queueMax: 0 })
    const work = held.serve('a')
    t.equal(await held.serve('b'), 'BUSY queue_full 1')
    await held.end('a')
    t.equal(await work, 'You said: a')
  })

  await t.test('a predicted finish after the deadline', async (t) => {
    const held = await Held.ready(t)
    await held.sample(10)
    const works = [held.serve('a')]
    await held.clock.advance(4_000)
    t.equal(held.slots.predictedFinish(), held.clock.monotonic() + 16_000, '6 s left and 10 s own')
    t.equal(await held.serve('b', { seconds: 15 }), 'BUSY deadline 6')
    works.push(held.serve('c', { seconds: 17 }))
    t.equal(await held.serve('d', { seconds: 25 }), 'BUSY deadline 16', 'behind c')
    works.push(held.serve('e', { seconds: 27 }))
    for (const content of ['a', 'c', 'e']) await held.end(content)
    t.strictSame(
      await Promise.all(works),
      ['a', 'c', 'e'].map((c) => `You said: ${c}`),
    )
  })

  await t.test('several slots share the queue', async (t) => {
    const held = await Held.ready(t, { slots: 2 })
    await held.sample(10)
    const works = [held.serve('a')]
    await held.clock.advance(5_000)
    works.push(held.serve('b'), held.serve('c'), held.serve('d'))
    t.equal(held.slots.predictedFinish() - held.clock.monotonic(), 25_000, 'after c, on a’s slot')
    for (const content of ['a', 'b', 'c', 'd']) await held.end(content)
    await Promise.all(works)
  })

  await t.test('a free slot is never refused for its averages', async (t) => {
    const held = await Held.ready(t)
    await held.sample(100)
    const work = held.serve('a', { seconds: 5 })
    await held.end('a')
    t.equal(await work, 'You said: a')
  })

  await t.test('a deadline that has passed', async (t) => {
    const held = await Held.ready(t)
    t.equal(await held.serve('a', { seconds: 0 }), 'BUSY deadline 1')
    t.equal(held.begun.length, 0)
  })

  await t.test('an engine that is not ready', async (t) => {
    const held = new Held()
    t.equal(await held.serve('a'), 'BUSY model_loading 30')
    await held.backend.start()
    held.backend.become('restarting')
    t.equal(await held.serve('a'), 'BUSY model_loading 30')
    await held.backend.stop()
    t.equal(await held.serve('a'), 'STOPPED 30')
    t.equal(held.begun.length, 0, 'nothing reached it')
  })
})

t.test('the deadline', async (t) => {
  await t.test('of a waiting request is a refusal: nothing was done for it', async (t) => {
    const held = await Held.ready(t)
    const first = held.serve('a')
    const second = held.serve('b', { seconds: 3 })
    await held.clock.advance(3_000)
    t.equal(await second, 'BUSY deadline 1')
    t.equal(held.slots.queued, 0)
    await held.end('a')
    t.equal(await first, 'You said: a')
    t.strictSame(held.contents, ['a'])
  })

  await t.test('of a running request cancels it', async (t) => {
    const held = await Held.ready(t)
    const work = held.serve('a', { seconds: 3 })
    await settle()
    await held.clock.advance(2_999)
    t.equal(held.slots.active, 1)
    await held.clock.advance(1)
    t.equal(await work, 'ENGINE_TIMEOUT')
    await settle()
    t.equal(held.slots.active, 0)
    t.equal(held.backend.stats().active, 0, 'the engine noticed')
    t.equal(held.slots.predictedFinish() - held.clock.monotonic(), 3_000, 'and it counts as slow')
  })

  await t.test('an engine that does not notice keeps its slot, not its caller', async (t) => {
    const held = await Held.ready(t)
    held.deaf = true
    const late = held.serve('a', { seconds: 3 })
    const next = held.serve('b')
    await settle()
    await held.clock.advance(3_000)
    t.equal(await late, 'ENGINE_TIMEOUT')
    t.strictSame([held.slots.active, held.slots.queued], [1, 1])
    await held.end('a')
    await held.end('b')
    t.equal(await next, 'You said: b')
  })

  await t.test('leaves no timer behind', async (t) => {
    const held = await Held.ready(t)
    const works = [held.serve('a'), held.serve('b')]
    await settle()
    t.equal(held.clock.sleeping, 2)
    await held.end('a')
    await held.end('b')
    await Promise.all(works)
    t.equal(held.clock.sleeping, 0)
  })
})

t.test('an abort', async (t) => {
  const reason = new Error('the gateway has gone')

  await t.test('before', async (t) => {
    const held = await Held.ready(t)
    t.equal(await held.serve('a', { signal: AbortSignal.abort(reason) }), reason)
  })

  await t.test('while waiting', async (t) => {
    const held = await Held.ready(t)
    const controller = new AbortController()
    const first = held.serve('a')
    const second = held.serve('b', { signal: controller.signal })
    controller.abort(reason)
    t.equal(await second, reason)
    t.equal(held.slots.queued, 0)
    await held.end('a')
    await first
    t.strictSame(held.contents, ['a'])
  })

  await t.test('while running', async (t) => {
    const held = await Held.ready(t)
    const controller = new AbortController()
    const first = held.serve('a', { signal: controller.signal })
    const second = held.serve('b')
    await settle()
    await held.clock.advance(7_000)
    controller.abort(reason)
    t.equal(await first, reason)
    await settle()
    t.strictSame(held.contents, ['a', 'b'], 'the slot went on')
    t.equal(held.slots.predictedFinish(), held.clock.monotonic(), 'it tells nothing of the pace')
    await held.end('b')
    t.equal(await second, 'You said: b')
  })

  await t.test('in the moment in which the slot comes', async (t) => {
    const held = await Held.ready(t)
    const ends = instantly(held)
    const controller = new AbortController()
    const first = held.serve('a')
    const second = held.serve('b', { signal: controller.signal })
    await settle()
    ends.get('a')?.()
    await handover(held)
    t.strictSame(held.contents, ['a'], 'b has its slot and has not begun')
    controller.abort(reason)
    t.equal(await second, reason)
    await first
    await settle()
    t.strictSame([held.slots.active, held.contents], [0, ['a']], 'no slot is lost')
  })
})

t.test('yielding', async (t) => {
  await t.test('refuses what waits and what comes, and lets what runs end', async (t) => {
    const held = await Held.ready(t)
    const works = [held.serve('a'), held.serve('b')]
    await settle()
    let isIdle = false
    const paused = held.slots.pause({ cancel: false }).then(() => {
      isIdle = true
    })
    t.equal(await works[1], 'YIELDING 30')
    t.equal(await held.serve('c'), 'YIELDING 30')
    await settle()
    t.equal(isIdle, false, 'one still runs')
    await held.end('a')
    await paused
    t.equal(await works[0], 'You said: a')
    held.slots.resume()
    const after = held.serve('d')
    await held.end('d')
    t.equal(await after, 'You said: d')
  })

  await t.test('breaks off what runs where it is told to', async (t) => {
    const held = await Held.ready(t, { slots: 2 })
    const works = [held.serve('a'), held.serve('b'), held.serve('c')]
    await settle()
    await held.slots.pause({ cancel: true })
    t.strictSame(await Promise.all(works), ['YIELDING 30', 'YIELDING 30', 'YIELDING 30'])
    t.equal(held.slots.active, 0)
  })

  await t.test('waits for one that has just been given its slot', async (t) => {
    const held = await Held.ready(t)
    const ends = instantly(held)
    const works = [held.serve('a'), held.serve('b')]
    await settle()
    ends.get('a')?.()
    await handover(held)
    t.strictSame(held.contents, ['a'], 'b has its slot and has not begun')
    let isIdle = false
    const paused = held.slots.pause({ cancel: false }).then(() => {
      isIdle = true
    })
    await settle()
    t.equal(isIdle, false)
    ends.get('b')?.()
    await paused
    t.strictSame(await Promise.all(works), ['done', 'done'])
  })

  await t.test('is not undone by resuming after a stop', async (t) => {
    const held = await Held.ready(t)
    const work = held.serve('a')
    await settle()
    await held.slots.stop()
    t.equal(await work, 'STOPPED 30')
    held.slots.resume()
    t.equal(await held.serve('b'), 'STOPPED 30')
    await held.slots.pause({ cancel: false })
    held.slots.resume()
    t.equal(await held.serve('b'), 'STOPPED 30')
  })
})

t.test('an engine that fails gives its slot on', async (t) => {
  const held = await Held.ready(t, {
    gate: async (request) => {
      if (contentOf(request) === 'bad') throw engineFailed('it broke')
    },
  })
  t.strictSame(await Promise.all([held.serve('bad'), held.serve('good')]), [
    'ENGINE_FAILED',
    'You said: good',
  ])
  held.backend.generate = (() => {
    throw new TypeError('not even a promise')
  }) as () => Promise<Generation>
  t.match(await held.serve('bad'), { name: 'TypeError' })
  await settle()
  t.equal(held.slots.active, 0)
})

t.test('tokens are fitted to the time that is left', async (t) => {
  const wishes: (number | undefined)[] = []
  const held = await Held.ready(t, {
    contextSize: 1_000,
    tokenDelay: ms(100),
    gate: async ({ maxTokens }) => {
      wishes.push(maxTokens)
    },
  })
  const run = async (content: string, seconds: number, maxTokens: number) => {
    let answer: unknown
    const work = held.serve(content, { seconds, maxTokens }).then((text) => {
      answer = text
    })
    for (let n = 0; n < 2_000 && answer === undefined; n++) await held.clock.advance(100)
    await work
  }
  const long = 'word '.repeat(400)
  await run(long, 100, 100)
  await run(long, 10, 100)
  await run(long, 10, 5)
  await run(long, 100, 100)
  const [first, fitted = 0, short, long100] = wishes
  t.strictSame([first, short, long100], [100, 5, 100], 'what is known to fit, and the unknown')
  t.ok(Math.abs(fitted - 79) <= 1, `(10 s × 0.8 − 0.1 s) × 10 tokens/s is 79, not ${fitted}`)
  t.equal(held.clock.sleeping, 0)
})

t.test('one application cannot keep the others out', async (t) => {
  await t.test('a slot goes to who has the fewest', async (t) => {
    const held = await Held.ready(t, { slots: 2, queueMax: 8 })
    const works = ['a1', 'a2', 'a3', 'a4'].map((content) => held.serve(content, { party: 'a' }))
    works.push(held.serve('b1', { party: 'b' }))
    await settle()
    await held.end('a1')
    t.strictSame(held.contents, ['a1', 'a2', 'b1'], 'not a3, though it came first')
    await held.end('a2')
    t.strictSame(held.contents, ['a1', 'a2', 'b1', 'a3'])
    for (const content of ['b1', 'a3', 'a4']) await held.end(content)
    await Promise.all(works)
  })

  await t.test('a full queue makes room for who has no place in it', async (t) => {
    const held = await Held.ready(t, { queueMax: 2 })
    const works = ['a1', 'a2', 'a3'].map((content) => held.serve(content, { party: 'a' }))
    await settle()
    const other = held.serve('b1', { party: 'b' })
    t.equal(await works[2], 'BUSY queue_full 1', 'the last one of the crowd goes')
    t.equal(await held.serve('c1', { party: 'c' }), 'BUSY queue_full 1', 'each has one place')
    for (const content of ['a1', 'a2', 'b1']) await held.end(content)
    t.equal(await other, 'You said: b1')
    t.equal(await works[1], 'You said: a2')
  })
})

t.test('never more than the slots, and everyone gets an answer', async () => {
  const step = fc.record({
    kind: fc.constantFrom('ask', 'ask', 'end', 'abort', 'time', 'pause', 'resume'),
    which: fc.nat(9),
  })
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 3 }), fc.array(step, { maxLength: 30 }), play),
    { numRuns: 60 },
  )
})

async function play(
  slots: number,
  steps: readonly { kind: string; which: number }[],
): Promise<boolean> {
  const held = new Held({ slots, queueMax: 3 })
  await held.backend.start()
  const works: Promise<unknown>[] = []
  const controllers: AbortController[] = []
  for (const [n, { kind, which }] of steps.entries()) {
    if (kind === 'ask') {
      const controller = new AbortController()
      controllers.push(controller)
      works.push(held.serve(`${n}`, { seconds: 1 + which, signal: controller.signal }))
    } else if (kind === 'end') await held.end(held.contents.at(which % held.begun.length) ?? '')
    else if (kind === 'abort') controllers.at(which % controllers.length)?.abort(new Error('gone'))
    else if (kind === 'time') await held.clock.advance(1_000 * which)
    else if (kind === 'pause') void held.slots.pause({ cancel: which > 4 })
    else held.slots.resume()
    await turn()
    if (held.backend.stats().active > slots || held.slots.active > slots) return false
  }
  await held.slots.stop()
  await Promise.all(works)
  return held.slots.active === 0 && held.slots.queued === 0 && held.clock.sleeping === 0
}
