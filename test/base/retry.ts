import t from 'tap'
import { BaseError } from '../../src/base/errors.ts'
import { RETRY_DEFAULTS, retry, withDeadline } from '../../src/base/retry.ts'
import { ms } from '../../src/base/units.ts'
import { ManualClock } from '../support/clock.ts'

const forever = (signal: AbortSignal) =>
  new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))

t.test('a deadline ends the work and leaves no timer behind', async (t) => {
  const clock = new ManualClock()
  const late = withDeadline(clock, ms(50), undefined, forever)
  late.catch(() => {})
  await clock.advance(49)
  t.equal(clock.sleeping, 1)
  await clock.advance(1)
  await t.rejects(late, { code: 'DEADLINE', retryable: true })
  t.equal(await withDeadline(clock, ms(50), undefined, async () => 7), 7)
  await clock.advance(0)
  t.equal(clock.sleeping, 0)
})

t.test('who aborts first gives the reason', async (t) => {
  const clock = new ManualClock()
  const caller = new AbortController()
  const work = withDeadline(clock, ms(50), caller.signal, forever)
  caller.abort(new Error('client gone'))
  await t.rejects(work, { message: 'client gone' })
})

t.test('only what says it is worth it is tried again, with an end', async (t) => {
  const clock = new ManualClock()
  const deps = { clock, random: () => 0 }
  const signal = new AbortController().signal
  let calls = 0
  const soon = retry(deps, RETRY_DEFAULTS, signal, async () => {
    calls++
    throw new BaseError('DEADLINE', 'late', { retryable: true })
  })
  soon.catch(() => {})
  for (let i = 0; i < 6; i++) await clock.advance(10)
  await t.rejects(soon, { code: 'DEADLINE' })
  t.equal(calls, RETRY_DEFAULTS.attemptsMax)
  calls = 0
  const never = async () => {
    calls++
    throw new BaseError('DEADLINE', 'no')
  }
  await t.rejects(retry(deps, RETRY_DEFAULTS, signal, never))
  t.equal(calls, 1)
})
