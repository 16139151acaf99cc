import fc from 'fast-check'
import t from 'tap'
import { ms } from '../../src/base/units.ts'
import { passing } from '../../src/models/errors.ts'
import { Pace, Speed } from '../../src/models/pull-pace.ts'
import { Ranges } from '../../src/models/pull-ranges.ts'
import { PULL_RETRY_DEFAULTS, persist, retryAfter } from '../../src/models/pull-retry.ts'
import { ManualClock } from '../support/clock.ts'

const { signal } = new AbortController()

t.test('ranges are what a set of bytes is', (t) => {
  const range = fc
    .tuple(fc.nat(60), fc.nat(20))
    .map(([start, length]) => ({ start, end: start + length }))
  fc.assert(
    fc.property(
      fc.array(range, { maxLength: 12 }),
      fc.integer({ min: 1, max: 16 }),
      (all, chunk) => {
        const ranges = new Ranges()
        const bytes = new Set<number>()
        for (const { start, end } of all) {
          ranges.add({ start, end })
          for (let at = start; at < end; at++) bytes.add(at)
        }
        const seen = ranges.all.flatMap(({ start, end }) =>
          Array.from({ length: end - start }, (_, n) => start + n),
        )
        if (ranges.size !== bytes.size || !seen.every((at) => bytes.has(at))) return false
        let prefix = 0
        while (bytes.has(prefix)) prefix++
        if (ranges.prefix !== prefix) return false
        const missing = ranges.missing(70, chunk)
        for (const { start, end } of missing) {
          if (
            end - start > chunk ||
            end <= start ||
            Math.floor(start / chunk) !== Math.floor((end - 1) / chunk)
          )
            return false
          for (let at = start; at < end; at++) if (bytes.has(at)) return false
        }
        const gaps = missing.reduce((sum, { start, end }) => sum + end - start, 0)
        return gaps === 70 - [...bytes].filter((at) => at < 70).length
      },
    ),
  )
  t.end()
})

t.test('no more bytes than the rate, over all that share it', async (t) => {
  const clock = new ManualClock()
  const pace = new Pace(clock, 1_000)
  let taken = 0
  const worker = async () => {
    for (let n = 0; n < 10; n++) {
      await pace.take(100, signal)
      taken += 100
    }
  }
  const both = Promise.all([worker(), worker()])
  for (let at = 0; at < 1_900; at += 100) {
    await clock.advance(100)
    t.ok(taken <= at + 100 + 100, `${taken} bytes after ${at + 100} ms`)
  }
  while (clock.sleeping > 0) await clock.advance(100)
  await both
  t.equal(taken, 2_000)
  await new Pace(clock, Number.POSITIVE_INFINITY).take(1e12, signal)
  const stop = new AbortController()
  const waiting = new Pace(clock, 1).take(1e6, stop.signal)
  const reason = new Error('stop')
  stop.abort(reason)
  await t.rejects(waiting, reason)
})

t.test('speed is that of the last seconds', async (t) => {
  const clock = new ManualClock()
  const speed = new Speed(clock)
  t.equal(speed.at(0), 0)
  await clock.advance(1_000)
  t.equal(speed.at(500), 500)
  await clock.advance(20_000)
  speed.at(500)
  await clock.advance(1_000)
  t.equal(speed.at(2_500), 2_000)
})

t.test('another try is later each time, and there is an end', async (t) => {
  const clock = new ManualClock()
  const delays: number[] = []
  const counting = { ...clock, now: () => clock.now(), monotonic: () => clock.monotonic() }
  const sleep = async (duration: number) => void delays.push(duration)
  const deps = { clock: { ...counting, sleep }, random: () => 0.999_999 }
  const failure = passing('SOURCE_UNREACHABLE', 'no')
  const options = { ...PULL_RETRY_DEFAULTS, attemptsMax: 5, delayMax: ms(3_000) }
  const failing = () => Promise.reject(failure)
  await t.rejects(persist(deps, options, signal, { work: failing }), failure)
  t.strictSame(delays.map(Math.round), [500, 1_000, 2_000, 3_000])
  let tries = 0
  const progress = () => Math.min(tries, 10)
  const work = () => {
    tries++
    return failing()
  }
  await t.rejects(persist(deps, options, signal, { work, progress }), failure)
  t.equal(tries, 14, 'whoever gets on counts anew')
  delays.length = 0
  const later = passing('SOURCE_UNREACHABLE', 'later', { data: { retryAfter: '7' } })
  await t.rejects(persist(deps, options, signal, { work: () => Promise.reject(later) }), later)
  t.strictSame(delays, [7_000, 7_000, 7_000, 7_000])
  const full = passing('DISK_FULL', 'full')
  delays.length = 0
  await t.rejects(persist(deps, options, signal, { work: () => Promise.reject(full) }), full)
  t.strictSame(delays, [])
})

t.test('Retry-After in seconds and as a date', (t) => {
  const now = Date.parse('Sun, 29 Nov 2026 12:00:00 GMT')
  t.equal(retryAfter('120', now), 120_000)
  t.equal(retryAfter('Sun, 29 Nov 2026 12:00:30 GMT', now), 30_000)
  t.equal(retryAfter('Sun, 29 Nov 2026 11:00:30 GMT', now), 0)
  for (const value of ['soon', '', undefined, 7]) t.equal(retryAfter(value, now), undefined)
  t.end()
})
