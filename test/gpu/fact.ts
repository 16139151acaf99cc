import t from 'tap'
import { ms } from '../../src/base/units.ts'
import { Fact } from '../../src/gpu/fact.ts'
import { ManualClock } from '../support/clock.ts'

const OPTIONS = { every: ms(5_000), deadline: ms(4_000), keep: ms(30_000) }
const { signal } = new AbortController()

function setUp(read: (signal: AbortSignal) => Promise<number | undefined>) {
  const clock = new ManualClock()
  const start = clock.now()
  return { clock, start, fact: new Fact('load', { clock, read }, OPTIONS) }
}

t.test('a failure leaves what was known for a while', async (t) => {
  const answers: (number | undefined | Error)[] = [7, undefined, new Error('broken'), 8]
  const { clock, start, fact } = setUp(async () => {
    const answer = answers.shift()
    if (answer instanceof Error) throw answer
    return answer
  })
  t.equal(fact.known, undefined)
  t.ok(fact.isDue)
  t.notOk(fact.isTried)
  await fact.read(signal)
  t.strictSame(fact.known, { value: 7, at: start })
  t.notOk(fact.isDue)
  await clock.advance(5_000)
  t.ok(fact.isDue)
  await fact.read(signal)
  t.equal(fact.known?.value, 7)
  await clock.advance(25_000)
  await fact.read(signal)
  t.equal(fact.known?.value, 7)
  await clock.advance(1)
  t.equal(fact.known, undefined, 'after half a minute nobody knows')
  await fact.read(signal)
  t.strictSame(fact.known, { value: 8, at: start + 30_001 })
  t.equal(clock.sleeping, 0, 'no timer is left')
})

t.test('a slow reading is joined and does not pile up', async (t) => {
  let begun = 0
  let end: (value: number) => void = () => {}
  const { clock, fact } = setUp(() => {
    begun++
    return new Promise<number>((resolve) => {
      end = resolve
    })
  })
  const both = Promise.all([fact.read(signal), fact.read(signal)])
  t.equal(begun, 1)
  t.notOk(fact.isDue)
  end(3)
  await both
  t.equal(fact.known?.value, 3)
  await clock.advance(5_000)
  const late = fact.read(signal)
  await clock.advance(4_000)
  await late
  await clock.advance(60_000)
  t.notOk(fact.isDue, 'it hears no signal, and goes on alone')
  t.equal(fact.known, undefined)
  end(4)
  await clock.advance(0)
  t.ok(fact.isDue)
  t.equal(fact.known, undefined, 'an answer of a minute ago is old')
})

t.test('a first reading that hangs counts as tried at its deadline', async (t) => {
  const { clock, fact } = setUp(() => new Promise(() => {}))
  const reading = fact.read(signal)
  await clock.advance(3_999)
  t.notOk(fact.isTried)
  await clock.advance(1)
  await reading
  t.ok(fact.isTried)
  t.equal(fact.known, undefined)
})

t.test('the deadline ends a reading that hears', async (t) => {
  let seen: unknown
  const { clock, fact } = setUp((signal) => {
    return new Promise((_, reject) => {
      signal.addEventListener('abort', () => {
        seen = signal.reason
        reject(signal.reason)
      })
    })
  })
  const reading = fact.read(signal)
  await clock.advance(4_000)
  await reading
  t.match(seen, { code: 'DEADLINE' })
  t.ok(fact.isTried)
})

t.test('an abort ends the wait, and is no failure', async (t) => {
  const controller = new AbortController()
  const reason = new Error('gone')
  const { clock, fact } = setUp(() => new Promise(() => {}))
  const reading = fact.read(controller.signal)
  controller.abort(reason)
  await t.rejects(reading, reason)
  t.notOk(fact.isTried)
  t.ok(clock.sleeping <= 1)
  await t.rejects(fact.read(controller.signal), reason)
})
