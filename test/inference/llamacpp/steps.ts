import type { ControlledEvaluateInputItem, Token } from 'node-llama-cpp'
import t from 'tap'
import {
  type Job,
  type Outcome,
  type Sequence,
  STEP_DEFAULTS,
  StepLoop,
  type StepOptions,
} from '../../../src/inference/llamacpp/steps.ts'
import { ManualClock } from '../../support/clock.ts'
import { GREEDY_SAMPLING } from '../../support/tiny-model.ts'

/** What one sequence got in one batch. */
interface Row {
  readonly slot: number
  readonly tokens: readonly number[]
  /** The seed, where a token was asked for. */
  readonly seed: number | undefined
}

/**
 * A context that decodes what is queued in one tick as one batch, as node-llama-cpp does. The next token is
 * 1 + the one before.
 */
class FakeContext {
  readonly batches: Row[][] = []
  /** Called before a batch is answered. */
  onBatch: (batch: readonly Row[]) => void = () => {}
  #queued: { row: Row; answer: () => void; fail: (error: unknown) => void }[] = []

  sequence(slot: number): Sequence & { held: Token[] } {
    const context = this
    const sequence = {
      held: [] as Token[],
      get nextTokenIndex() {
        return sequence.held.length
      },
      compareContextTokens(tokens: Token[]) {
        const at = sequence.held.findIndex((token, i) => token !== tokens[i])
        return { firstDifferentIndex: at === -1 ? sequence.held.length : at }
      },
      async adaptStateToTokens(tokens: Token[]) {
        sequence.held.length = sequence.compareContextTokens(tokens).firstDifferentIndex
      },
      async controlledEvaluate(input: ControlledEvaluateInputItem[]) {
        const tokens = input.map((item) => (Array.isArray(item) ? item[0] : item))
        const asked = input.flatMap((item) => (Array.isArray(item) ? [item[1]] : []))[0]
        await context.#decode({ slot, tokens, seed: asked?.generateNext?.options?.seed })
        sequence.held.push(...tokens)
        const next = ((tokens.at(-1) ?? 0) + 1) as Token
        return input.map((item) => (Array.isArray(item) ? { next: { token: next } } : undefined))
      },
    }
    return sequence
  }

  #decode(row: Row): Promise<void> {
    return new Promise((answer, fail) => {
      if (this.#queued.push({ row, answer, fail }) > 1) return
      setImmediate(() => {
        const queued = this.#queued
        this.#queued = []
        const batch = queued.map((item) => item.row)
        this.batches.push(batch)
        try {
          this.onBatch(batch)
          for (const item of queued) item.answer()
        } catch (error) {
          for (const item of queued) item.fail(error)
        }
      })
    })
  }
}

function setUp(slots: number, options: Partial<StepOptions> = {}) {
  const context = new FakeContext()
  const sequences = Array.from({ length: slots }, (_, slot) => context.sequence(slot))
  const clock = new ManualClock()
  const loop = new StepLoop({ sequences, clock }, { ...STEP_DEFAULTS, ...options })
  const heard: number[][] = []
  const run = (
    prompt: readonly number[],
    tokensMax: number,
    more: { signal?: AbortSignal; onToken?: Job['onToken'] } = {},
  ): Promise<Outcome> => {
    const mine: number[] = []
    heard.push(mine)
    return loop.run(
      {
        prompt: prompt as Token[],
        tokensMax,
        sampling: GREEDY_SAMPLING,
        onToken(token) {
          mine.push(token)
          return more.onToken?.(token) ?? true
        },
      },
      more.signal ?? new AbortController().signal,
    )
  }
  return { context, sequences, clock, loop, heard, run }
}

const slotsOf = (batch: readonly Row[] | undefined) => batch?.map((row) => row.slot)
const upTo = (n: number, from = 1) => Array.from({ length: n }, (_, i) => from + i)

t.test('a job alone', async (t) => {
  const { context, heard, run, loop } = setUp(2)
  t.strictSame(await run([1, 2, 3], 3), { end: 'length', cachedTokens: 0, completionTokens: 3 })
  t.strictSame(heard, [[4, 5, 6]])
  t.strictSame(
    context.batches.map((batch) => batch.map((row) => row.tokens)),
    [[[1, 2, 3]], [[4]], [[5]]],
    'the last token is never evaluated: nobody asks what follows it',
  )
  const seeds = context.batches.map((batch) => batch[0]?.seed)
  t.equal(new Set(seeds).size, 3, 'a seed for each token')
  t.equal(loop.active, 0)
  t.equal(loop.steps, 3)
})

t.test('a job that has heard enough ends with "stop"', async (t) => {
  const { heard, run } = setUp(1)
  const outcome = await run([1], 10, { onToken: (token) => token < 3 })
  t.strictSame(outcome, { end: 'stop', cachedTokens: 0, completionTokens: 2 })
  t.strictSame(heard, [[2, 3]])
})

t.test('all slots of a step are one batch in ascending order', async (t) => {
  const { context, run } = setUp(4)
  await Promise.all([run([1], 3), run([10], 3), run([20], 3), run([30], 3)])
  t.strictSame(context.batches.map(slotsOf), [
    [0, 1, 2, 3],
    [0, 1, 2, 3],
    [0, 1, 2, 3],
  ])
})

t.test('a new job takes the lowest free slot', async (t) => {
  const { context, run } = setUp(3)
  const first = run([1], 2)
  const long = [run([10], 6), run([20], 6)]
  await first
  const next = run([30], 2)
  await Promise.all([...long, next])
  t.strictSame(context.batches.map(slotsOf).slice(0, 4), [
    [0, 1, 2],
    [0, 1, 2],
    [0, 1, 2],
    [0, 1, 2],
  ])
  t.strictSame(context.batches[2]?.[0]?.tokens, [30], 'the slot was filled in the very next step')
})

t.test('more jobs than slots wait for one', async (t) => {
  const { context, run, loop, heard } = setUp(2)
  const all = [run([1], 2), run([10], 2), run([20], 2)]
  t.equal(loop.active, 3)
  await Promise.all(all)
  t.strictSame(heard, [
    [2, 3],
    [11, 12],
    [21, 22],
  ])
  t.ok(context.batches.every((batch) => batch.length <= 2))
})

t.test('a long prompt goes in pieces and stalls nobody', async (t) => {
  const { context, run } = setUp(2, { chunkTokens: 4, batchTokens: 8 })
  await Promise.all([run([1], 4), run(upTo(10, 100), 1)])
  t.strictSame(
    context.batches.map((batch) => batch.map((row) => row.tokens.length)),
    [[1, 4], [1, 4], [1, 2], [1]],
  )
})

t.test(
  'a full step serves answers first, then prompts by age, and never cuts a piece',
  async (t) => {
    const { context, run, heard } = setUp(3, { chunkTokens: 4, batchTokens: 8 })
    // The oldest prompt gets the highest slot, because two short jobs hold the others.
    await Promise.all([
      ...[run([1], 1), run([2], 1), run(upTo(9, 100), 1)],
      ...[run(upTo(8, 200), 1), run(upTo(4, 300), 1)],
    ])
    const sizes = context.batches.map((batch) =>
      Object.fromEntries(batch.map((row) => [row.slot, row.tokens.length])),
    )
    t.strictSame(sizes, [{ 0: 1, 1: 1, 2: 4 }, { 0: 4, 2: 4 }, { 0: 4, 2: 1 }, { 1: 4 }])
    t.ok(
      context.batches.every((batch) =>
        batch.every((row, i) => i === 0 || row.slot > (batch[i - 1]?.slot ?? 0)),
      ),
    )
    t.strictSame(heard.at(-1), [304])
  },
)

t.test('what a slot still holds is not computed again', async (t) => {
  const { context, run, sequences } = setUp(1)
  await run(upTo(50), 2)
  t.strictSame(sequences[0]?.held, upTo(51))
  const again = await run([...upTo(51), 900, 901], 1)
  t.equal(again.cachedTokens, 51, 'the next turn of a conversation')
  t.strictSame(context.batches.at(-1)?.[0]?.tokens, [900, 901])
  const same = await run([...upTo(51), 900, 901], 1)
  t.equal(
    same.cachedTokens,
    52,
    'the same prompt: only its last token, to have something to sample from',
  )
  const shorter = await run(upTo(20), 1)
  t.equal(shorter.cachedTokens, 19)
  t.equal((await run([7, 8], 1)).cachedTokens, 0)
})

t.test('a higher slot is taken only for much of a conversation', async (t) => {
  const { run, context } = setUp(2, { reuseTokensMin: 32 })
  await Promise.all([run([1], 1), run(upTo(40, 100), 1)])
  await run(upTo(60, 100), 1)
  t.strictSame(slotsOf(context.batches.at(-1)), [1], 'forty tokens are worth it')
  await run([...upTo(20, 100), 7], 1)
  t.strictSame(slotsOf(context.batches.at(-1)), [0], 'twenty are not')
})

t.test('an abort ends a job within a step and frees its slot', async (t) => {
  const { context, run, loop, heard } = setUp(1)
  const controller = new AbortController()
  const job = run([1], 100, {
    signal: controller.signal,
    onToken(token) {
      if (token === 4) controller.abort(new Error('gone'))
      return true
    },
  })
  const next = run([50], 1)
  await t.rejects(job, { message: 'gone' })
  await next
  t.strictSame(heard[0], [2, 3, 4])
  t.equal(context.batches.length, 4, 'no step was spent on it')
  t.equal(loop.active, 0)
})

t.test('an abort while prompts are read, or while one waits', async (t) => {
  const { context, run, heard } = setUp(1, { chunkTokens: 4, batchTokens: 8 })
  const reading = new AbortController()
  const waiting = new AbortController()
  context.onBatch = () => reading.abort(new Error('reading'))
  const jobs = [
    run(upTo(40), 5, { signal: reading.signal }),
    run([1], 5, { signal: waiting.signal }),
    run([50], 1),
  ]
  waiting.abort(new Error('waiting'))
  const ends = await Promise.allSettled(jobs)
  t.match(ends, [
    { reason: { message: 'reading' } },
    { reason: { message: 'waiting' } },
    { status: 'fulfilled' },
  ])
  t.equal(context.batches.length, 2)
  t.strictSame(heard, [[], [], [51]])
})

t.test('a token that comes with the abort is not heard', async (t) => {
  const { context, run, heard } = setUp(1)
  const controller = new AbortController()
  context.onBatch = () => {
    if (context.batches.length === 2) controller.abort(new Error('gone'))
  }
  await t.rejects(run([1], 9, { signal: controller.signal }), { message: 'gone' })
  t.strictSame(heard, [[2]])
})

t.test('what the engine throws ends every job', async (t) => {
  const { context, run, loop } = setUp(2)
  context.onBatch = () => {
    if (context.batches.length === 2) throw new Error('device lost')
  }
  const ends = await Promise.allSettled([run([1], 9), run([2], 9), run([3], 9)])
  t.match(
    ends,
    [1, 2, 3].map(() => ({ status: 'rejected', reason: { message: 'device lost' } })),
  )
  t.equal(loop.active, 0)
})

t.test('speed is measured by the clock it is given', async (t) => {
  const { context, run, loop, clock } = setUp(2)
  t.equal(loop.tokensPerSecond, 0)
  context.onBatch = () => void clock.advance(10)
  await Promise.all([run([1], 5), run([2], 5)])
  t.equal(Math.round(loop.tokensPerSecond), 200, 'two tokens in ten milliseconds')
})

t.test('a step must have room for one piece and all answers', async (t) => {
  t.throws(() => setUp(4, { chunkTokens: 128, batchTokens: 130 }), { name: 'AssertionError' })
})
