import t from 'tap'
import { ms } from '../../src/base/units.ts'
import { forecast, Pace } from '../../src/inference/pace.ts'

const NOTHING = { promptTokens: 0 }

t.test('the service time is a moving average', async (t) => {
  const pace = new Pace()
  t.equal(pace.serviceTime, 0)
  pace.record({ promptTokens: 0, serviceTime: ms(1_000), completionTokens: 1 })
  t.equal(pace.serviceTime, 1_000, 'the first sample is the average')
  pace.record({ promptTokens: 0, serviceTime: ms(2_000), completionTokens: 1 })
  t.equal(pace.serviceTime, 1_200)
  for (let n = 0; n < 50; n++)
    pace.record({ promptTokens: 0, serviceTime: ms(500), completionTokens: 1 })
  t.ok(Math.abs(pace.serviceTime - 500) < 1, 'it forgets')
})

t.test('how many tokens fit in a time', async (t) => {
  await t.test('is unknown before an answer long enough', async (t) => {
    const pace = new Pace()
    t.equal(pace.tokensWithin(ms(1_000), NOTHING), undefined)
    pace.record({ promptTokens: 0, serviceTime: ms(1_000), completionTokens: 63 })
    t.equal(pace.tokensWithin(ms(1_000), NOTHING), undefined, 'short and whole')
    pace.record({
      promptTokens: 0,
      serviceTime: ms(1_000),
      firstText: ms(100),
      completionTokens: 16,
    })
    t.equal(pace.tokensWithin(ms(1_000), NOTHING), undefined, 'short and streamed')
    pace.record({ promptTokens: 0, serviceTime: ms(1_000), completionTokens: 0 })
    t.equal(pace.tokensWithin(ms(1_000), NOTHING), undefined, 'cut off')
  })

  await t.test('of an answer in one piece: tokens over the whole time, with caution', async (t) => {
    const pace = new Pace()
    pace.record({ promptTokens: 0, serviceTime: ms(10_000), completionTokens: 100 })
    t.equal(pace.tokensWithin(ms(10_000), NOTHING), 80)
  })

  await t.test('of a streamed answer: what is left after the time to the first text', async (t) => {
    const pace = new Pace()
    pace.record({
      promptTokens: 0,
      serviceTime: ms(3_000),
      firstText: ms(1_000),
      completionTokens: 101,
    })
    t.equal(pace.tokensWithin(ms(10_000), NOTHING), 350, '(10 s × 0.8 − 1 s) × 50 tokens/s')
  })

  await t.test('is never less than one', async (t) => {
    const pace = new Pace()
    pace.record({
      promptTokens: 0,
      serviceTime: ms(3_000),
      firstText: ms(1_000),
      completionTokens: 101,
    })
    t.equal(pace.tokensWithin(ms(0), NOTHING), 1)
  })

  await t.test('takes no harm from an engine faster than the clock', async (t) => {
    const pace = new Pace()
    pace.record({ promptTokens: 0, serviceTime: ms(0), completionTokens: 500 })
    t.equal(pace.tokensWithin(ms(1_000), NOTHING), undefined)
  })
})

t.test('a long prompt takes its own time', async (t) => {
  const pace = new Pace()
  pace.record({
    promptTokens: 1_000,
    serviceTime: ms(12_000),
    firstText: ms(2_000),
    completionTokens: 101,
  })
  t.equal(pace.predict({ promptTokens: 1_000, completionTokens: 10 }), 3_000, '2 s and 10 × 0.1 s')
  t.equal(pace.predict({ promptTokens: 0, completionTokens: 500 }), 10_100, 'as long as is usual')
  t.equal(pace.predict({ promptTokens: 0 }), 10_100)
  t.equal(pace.canStart({ promptTokens: 4_000 }, ms(9_000)), false, '8 s of reading')
  t.equal(pace.canStart({ promptTokens: 4_000 }, ms(10_000)), true)
  t.equal(pace.tokensWithin(ms(10_000), { promptTokens: 1_000 }), 60, '(8 s − 2 s) × 10')
  t.equal(pace.tokensPerSecond, 10)
})

t.test('without rates the average counts', async (t) => {
  const pace = new Pace()
  pace.record({ promptTokens: 5, serviceTime: ms(700), completionTokens: 3 })
  t.equal(pace.predict({ promptTokens: 100_000 }), 700)
  t.equal(pace.canStart({ promptTokens: 100_000 }, ms(1)), true, 'nothing is known')
  t.equal(pace.tokensPerSecond, undefined)
})

t.test('a line is played forward', async (t) => {
  const pace = new Pace()
  pace.record({ promptTokens: 0, serviceTime: ms(1_000), completionTokens: 1 })
  const work = NOTHING
  const at = (slots: number, running: number[], waiting: number) =>
    forecast(
      {
        now: ms(10_000),
        slots,
        running: running.map((startedAt) => ({ startedAt: ms(startedAt), work })),
        waiting: Array.from({ length: waiting }, () => ({ work })),
      },
      pace,
    )
  t.equal(at(2, [9_500], 0), 10_000, 'a free slot')
  t.equal(at(1, [9_500], 0), 10_500)
  t.equal(at(1, [9_500], 2), 12_500)
  t.equal(at(2, [9_500, 9_900], 1), 10_900, 'the other one')
  t.equal(at(1, [1_000], 0), 10_000, 'overdue is any moment')
})
