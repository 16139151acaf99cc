import t from 'tap'
import { ms } from '../../src/base/units.ts'
import { Pace } from '../../src/inference/pace.ts'

t.test('the service time is a moving average', async (t) => {
  const pace = new Pace()
  t.equal(pace.serviceTime, 0)
  pace.record({ serviceTime: ms(1_000), completionTokens: 1 })
  t.equal(pace.serviceTime, 1_000, 'the first sample is the average')
  pace.record({ serviceTime: ms(2_000), completionTokens: 1 })
  t.equal(pace.serviceTime, 1_200)
  for (let n = 0; n < 50; n++) pace.record({ serviceTime: ms(500), completionTokens: 1 })
  t.ok(Math.abs(pace.serviceTime - 500) < 1, 'it forgets')
})

t.test('how many tokens fit in a time', async (t) => {
  await t.test('is unknown before an answer long enough', async (t) => {
    const pace = new Pace()
    t.equal(pace.tokensWithin(ms(1_000)), undefined)
    pace.record({ serviceTime: ms(1_000), completionTokens: 63 })
    t.equal(pace.tokensWithin(ms(1_000)), undefined, 'short and whole')
    pace.record({ serviceTime: ms(1_000), firstText: ms(100), completionTokens: 16 })
    t.equal(pace.tokensWithin(ms(1_000)), undefined, 'short and streamed')
    pace.record({ serviceTime: ms(1_000), completionTokens: 0 })
    t.equal(pace.tokensWithin(ms(1_000)), undefined, 'cut off')
  })

  await t.test('of an answer in one piece: tokens over the whole time, with caution', async (t) => {
    const pace = new Pace()
    pace.record({ serviceTime: ms(10_000), completionTokens: 100 })
    t.equal(pace.tokensWithin(ms(10_000)), 80)
  })

  await t.test('of a streamed answer: what is left after the time to the first text', async (t) => {
    const pace = new Pace()
    pace.record({ serviceTime: ms(3_000), firstText: ms(1_000), completionTokens: 101 })
    t.equal(pace.tokensWithin(ms(10_000)), 350, '(10 s × 0.8 − 1 s) × 50 tokens/s')
  })

  await t.test('is never less than one', async (t) => {
    const pace = new Pace()
    pace.record({ serviceTime: ms(3_000), firstText: ms(1_000), completionTokens: 101 })
    t.equal(pace.tokensWithin(ms(0)), 1)
  })

  await t.test('takes no harm from an engine faster than the clock', async (t) => {
    const pace = new Pace()
    pace.record({ serviceTime: ms(0), completionTokens: 500 })
    t.equal(pace.tokensWithin(ms(1_000)), undefined)
  })
})
