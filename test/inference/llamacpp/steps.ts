import t from 'tap'
import { setUp, slotsOf, upTo } from '../../support/fake-context.ts'

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
  t.strictSame(seeds, [0, 1, 2], 'each is asked for its position')
  t.equal(loop.active, 0)
  t.equal(loop.steps, 3)
})

t.test('a job that has heard enough ends with "stop"', async (t) => {
  const { heard, run } = setUp(1)
  const outcome = await run([1], 10, { onToken: (token) => (token < 3 ? 'go on' : 'end') })
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
    [[1], [4], [1], [4], [1], [2], [1]],
    'pieces of one length are one batch',
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
    t.strictSame(sizes, [{ 0: 1, 1: 1 }, { 2: 4 }, { 0: 4, 2: 4 }, { 0: 4 }, { 2: 1 }, { 1: 4 }])
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
      return 'go on'
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
