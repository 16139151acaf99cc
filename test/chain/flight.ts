import t from 'tap'
import { Flights } from '../../src/chain/flight.ts'

/** Work whose end the test decides. */
function held() {
  let calls = 0
  let aborted = false
  let resolve = (_: string) => {}
  let reject = (_: Error) => {}
  const work = (signal: AbortSignal) => {
    calls++
    signal.addEventListener('abort', () => {
      aborted = true
    })
    return new Promise<string>((ok, bad) => {
      resolve = ok
      reject = bad
    })
  }
  return {
    work,
    land: (value: string) => resolve(value),
    crash: (error: Error) => reject(error),
    get calls() {
      return calls
    },
    get aborted() {
      return aborted
    },
  }
}

t.test('identical questions are asked once, different ones apart', async (t) => {
  const flights = new Flights()
  const one = held()
  const other = held()
  const answers = [
    flights.join('a', undefined, one.work),
    flights.join('a', undefined, one.work),
    flights.join('b', undefined, other.work),
  ]
  one.land('one')
  other.land('other')
  t.strictSame(await Promise.all(answers), ['one', 'one', 'other'])
  t.equal(one.calls, 1)
  t.equal(flights.size, 0, 'nothing is remembered')
  const again = flights.join('a', undefined, one.work)
  one.land('again')
  t.equal(await again, 'again')
  t.equal(one.calls, 2)
})

t.test('a failure reaches every caller and is not remembered', async (t) => {
  const flights = new Flights()
  const one = held()
  const answers = [flights.join('a', undefined, one.work), flights.join('a', undefined, one.work)]
  one.crash(new Error('no luck'))
  for (const answer of answers) await t.rejects(answer, { message: 'no luck' })
  t.equal(flights.size, 0)
})

t.test('a caller that gives up leaves the others alone', async (t) => {
  const flights = new Flights()
  const one = held()
  const impatient = new AbortController()
  const reason = new Error('enough')
  const first = flights.join('a', impatient.signal, one.work)
  const second = flights.join('a', new AbortController().signal, one.work)
  impatient.abort(reason)
  await t.rejects(first, reason)
  t.equal(one.aborted, false, 'somebody still waits')
  one.land('answer')
  t.equal(await second, 'answer')
})

t.test('the work ends when nobody waits, and is not joined any more', async (t) => {
  const flights = new Flights()
  const abandoned = held()
  const fresh = held()
  const controller = new AbortController()
  const first = flights.join('a', controller.signal, abandoned.work)
  controller.abort(new Error('enough'))
  await t.rejects(first, { message: 'enough' })
  t.equal(abandoned.aborted, true)
  const second = flights.join('a', undefined, fresh.work)
  abandoned.crash(new Error('late'))
  fresh.land('fresh')
  t.equal(await second, 'fresh')
  t.equal(flights.size, 0)
})

t.test('an aborted caller starts nothing', async (t) => {
  const flights = new Flights()
  const one = held()
  await t.rejects(flights.join('a', AbortSignal.abort(new Error('over')), one.work), {
    message: 'over',
  })
  t.equal(one.calls, 0)
})
