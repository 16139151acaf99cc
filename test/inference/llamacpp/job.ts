import type { Token } from 'node-llama-cpp'
import t from 'tap'
import { InferenceError } from '../../../src/inference/errors.ts'
import type { Score } from '../../../src/inference/llamacpp/scores.ts'
import { setUp, slotsOf, upTo } from '../../support/fake-context.ts'

const SMALL = { chunkTokens: 4, batchTokens: 8 }

t.test('tokens that are forced are read with the last one and count as given', async (t) => {
  const { context, heard, run } = setUp(1)
  const outcome = await run([1], 6, {
    onToken: (token) => (token === 3 ? ([50, 51] as Token[]) : 'go on'),
  })
  t.strictSame(heard, [[2, 3, 52, 53]])
  t.strictSame(outcome, { end: 'length', cachedTokens: 0, completionTokens: 6 })
  t.strictSame(
    context.batches.map((batch) => batch[0]?.tokens),
    [[1], [2], [3, 50, 51], [52]],
  )
  t.strictSame(
    context.batches.map((batch) => batch[0]?.seed),
    [0, 1, 4, 5],
    'positions go on behind them',
  )
  const more = await run([1], 3, { onToken: () => upTo(9, 60) as Token[] })
  t.hasStrict(more, { end: 'length', completionTokens: 3 }, 'never more than were asked for')
})

t.test('a prompt is scored in pieces, each token by the one before', async (t) => {
  const { context, heard, run } = setUp(2, SMALL)
  await run([1, 2, 3, 4, 9, 9, 9], 1)
  const pieces: Score[][] = []
  const outcome = await run([1, 2, 3, 4, 9, 9], 0, {
    scorePrompt: 1,
    onPrompt: (scores) => pieces.push([...scores]),
  })
  t.strictSame(outcome, { end: 'length', cachedTokens: 0, completionTokens: 0 })
  t.strictSame(heard[1], [])
  t.strictSame(
    pieces.map((scores) => scores.map(({ token }) => Number(token))),
    [[1, 2, 3, 4, 9], [9]],
    'the token behind a piece is scored with it',
  )
  const sure = 1 - (1 + Math.log(2))
  t.equal(pieces[0]?.[0]?.logprob, null, 'nothing is before the first')
  t.equal(pieces[0]?.[1]?.logprob, sure)
  t.equal(pieces[0]?.[4]?.logprob, sure - 1, 'nine was not what came after four')
  t.strictSame(pieces[0]?.[4]?.top, [{ token: 5, logprob: sure }])
  t.equal(context.batches.at(-1)?.[0]?.seed, undefined, 'nothing is asked of the last token')
})

t.test('an answer that must repeat takes over whole pieces only', async (t) => {
  const { run } = setUp(1, SMALL)
  const exact = { isExact: true }
  await run(upTo(11), 3, exact)
  t.equal((await run(upTo(13), 1, exact)).cachedTokens, 8, 'two pieces of four')
  t.equal((await run(upTo(13), 1)).cachedTokens, 12, 'where it need not, all there is')
  t.equal((await run(upTo(13), 1, exact)).cachedTokens, 12, 'by now three')
  await run(upTo(6), 1)
  t.equal((await run(upTo(13), 1, exact)).cachedTokens, 4, 'nor what another prompt has cut')
  await run([...upTo(9), 77, 78], 1, exact)
  t.equal((await run([...upTo(4), 70, 71, 72, 73, 74], 1, exact)).cachedTokens, 4)
  const answered = setUp(1, SMALL)
  await answered.run(upTo(4), 9)
  t.equal((await answered.run(upTo(13), 1, exact)).cachedTokens, 4, 'nor tokens of an answer')
})

t.test(
  'an answer that must be alone waits for those before it, and those after it wait',
  async (t) => {
    const { context, run } = setUp(3)
    await Promise.all([
      run([1], 3),
      run([10], 2, { isAlone: true }),
      run([20], 2),
      run([30], 2, { isAlone: true }),
    ])
    t.strictSame(context.batches.map(slotsOf), [[0], [0], [0], [1], [1], [2], [2], [0], [0]])
    t.ok(context.batches.every((batch) => batch.length === 1))
  },
)

t.test('a fault of one answer does not end the others', async (t) => {
  const { run, heard, loop } = setUp(3)
  const fault = new InferenceError('ENGINE_FAILED', 'no token fits')
  const broken = (): never => {
    throw fault
  }
  const picker = { ask: broken, pick: broken }
  const ends = await Promise.allSettled([
    run([1], 4),
    run([10], 4, { onToken: (token) => (token === 12 ? broken() : 'go on') }),
    run([20], 4, { picker }),
  ])
  t.match(ends, [{ status: 'fulfilled' }, { reason: fault }, { reason: fault }])
  t.strictSame(heard[0], [2, 3, 4, 5])
  t.equal(loop.active, 0)
  t.match(await run([40], 1), { completionTokens: 1 })
})

t.test(
  'an idle loop is probed in the slot that holds the least, and keeps what it holds',
  async (t) => {
    const { context, run, loop, sequences } = setUp(2)
    await Promise.all([run(upTo(9), 1), run([5], 1)])
    await loop.probe(1 as Token)
    t.strictSame(context.batches.at(-1), [{ slot: 1, tokens: [5], seed: undefined }])
    t.strictSame(
      sequences.map(({ held }) => held.length),
      [9, 1],
    )
    const fresh = setUp(2)
    await fresh.loop.probe(1 as Token)
    t.strictSame(fresh.context.batches, [[{ slot: 0, tokens: [1], seed: undefined }]])
    fresh.context.onBatch = () => {
      throw new Error('device lost')
    }
    await t.rejects(fresh.loop.probe(1 as Token), { message: 'device lost' })
  },
)
