import fc from 'fast-check'
import t from 'tap'
import { ms } from '../../src/base/units.ts'
import { parseSchedule } from '../../src/gpu/schedule.ts'

const MINUTE = 60_000
const at = (text: string) => ms(Date.parse(text))

t.test('hours as owners write them', async (t) => {
  const table: [string, string[], string[], string[]][] = [
    [
      'nights of the week',
      ['mon-fri 18:00-08:00'],
      ['2026-12-01T18:00Z', '2026-12-02T07:59Z', '2026-12-05T07:59Z', '2026-12-04T23:59Z'],
      ['2026-12-01T17:59Z', '2026-12-02T08:00Z', '2026-12-05T08:00Z', '2026-11-30T07:59Z'],
    ],
    ['whole days', ['sat,sun'], ['2026-11-28T00:00Z', '2026-11-29T23:59Z'], ['2026-11-30T00:00Z']],
    ['every day', ['daily 00:00-07:30'], ['2026-11-30T07:29Z'], ['2026-11-30T07:30Z']],
    ['hours alone', ['9:00-10:00'], ['2026-11-30T09:00Z'], ['2026-11-30T10:00Z']],
    ['over the end of the week', ['sat 22:00-02:00'], ['2026-11-29T01:59Z'], ['2026-11-28T01:59Z']],
    ['days over the end of the week', ['fri-mon'], ['2026-11-30T12:00Z'], ['2026-12-01T12:00Z']],
    ['to midnight', ['mon 12:00-24:00'], ['2026-11-30T23:59Z'], ['2026-12-01T00:00Z']],
    ['several hours', ['mon 1:00-2:00, 3:00-4:00'], ['2026-11-30T03:30Z'], ['2026-11-30T02:30Z']],
    ['several entries', ['mon', 'TUE 08:00-09:00'], ['2026-12-01T08:30Z'], ['2026-12-01T09:30Z']],
  ]
  for (const [what, entries, open, closed] of table) {
    const schedule = parseSchedule(entries, 'UTC')
    for (const time of open) t.ok(schedule.isOpen(at(time)), `${what}: open at ${time}`)
    for (const time of closed) t.notOk(schedule.isOpen(at(time)), `${what}: closed at ${time}`)
  }
})

t.test('errors name the entry', async (t) => {
  const wrong = [
    'someday',
    'mon-',
    'mon-tue-wed',
    'mon 8-9',
    'mon 08:00',
    'mon 08:60-09:00',
    'mon 24:00-01:00',
    'mon 25:00-26:00',
    'mon 24:01-24:02',
    'mon 08:00-08:00',
    'daily,mon 08:00-09:00',
    '',
    'mon  08:00-09:00 x',
  ]
  for (const entry of wrong)
    t.throws(() => parseSchedule([entry]), { name: 'RangeError', message: `"${entry}"` }, entry)
  t.throws(() => parseSchedule([]), RangeError)
  t.throws(() => parseSchedule(Array.from({ length: 65 }, () => 'mon')), RangeError)
  t.throws(() => parseSchedule(['mon'], 'Europe/Nowhere'), { message: /Europe\/Nowhere/ })
})

t.test('the next change', async (t) => {
  const nights = parseSchedule(['mon-fri 18:00-08:00'], 'UTC')
  t.equal(nights.nextChange(at('2026-12-01T12:00Z')), at('2026-12-01T18:00Z'))
  t.equal(nights.nextChange(at('2026-12-01T18:00Z')), at('2026-12-02T08:00Z'))
  t.equal(nights.nextChange(at('2026-12-05T08:00Z')), at('2026-12-07T18:00Z'), 'over the weekend')
  t.equal(parseSchedule(['daily']).nextChange(at('2026-12-01T12:00Z')), undefined, 'never')
  const joined = parseSchedule(['mon-sun 00:00-12:00', 'daily 12:00-24:00'], 'Asia/Tokyo')
  t.equal(joined.nextChange(at('2026-12-01T12:00Z')), undefined, 'no gap between')
  t.ok(parseSchedule(['daily']).isOpen(ms(0)), "the machine's own zone")
})

t.test('changes of the clocks, at their edges', async (t) => {
  const berlin = parseSchedule(['daily 02:15-02:45'], 'Europe/Berlin')
  // 29 March 2026: 01:59:59 +01:00 is followed by 03:00 +02:00.
  t.notOk(berlin.isOpen(at('2026-03-29T01:30Z')), 'half past two does not come')
  t.equal(berlin.nextChange(at('2026-03-28T12:00Z')), at('2026-03-30T00:15Z'))
  // 25 October 2026: from 03:00 +02:00 back to 02:00 +01:00.
  t.ok(berlin.isOpen(at('2026-10-25T00:30Z')))
  t.ok(berlin.isOpen(at('2026-10-25T01:30Z')), 'half past two comes twice')
  t.equal(berlin.nextChange(at('2026-10-25T00:50Z')), at('2026-10-25T01:15Z'))
  const across = parseSchedule(['sun 01:00-02:30'], 'Europe/Berlin')
  t.equal(across.nextChange(at('2026-03-29T00:30Z')), at('2026-03-29T01:00Z'), 'ends with the jump')
})

/** The change of the clocks lies in the middle of four days. */
const TURNS: [string, string][] = [
  ['Europe/Berlin', '2026-03-29T01:00Z'],
  ['Europe/Berlin', '2026-10-25T01:00Z'],
  ['America/New_York', '2026-03-08T07:00Z'],
  ['America/New_York', '2026-11-01T06:00Z'],
  ['Australia/Lord_Howe', '2026-04-04T15:00Z'],
  ['Australia/Lord_Howe', '2026-10-03T15:30Z'],
]
const WINDOW = 4 * 1_440

/** Weekday and minute of the day on the wall, of each minute of the window: by names, not by offsets. */
function walls(zone: string, start: number): { day: string; minute: number }[] {
  const format = new Intl.DateTimeFormat('en-GB', {
    timeZone: zone,
    weekday: 'short',
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  })
  return Array.from({ length: WINDOW }, (_, index) => {
    const text = format.format(start + index * MINUTE)
    const [, day = '', hour, minute] = /^(\w+)[, ]+(\d+):(\d+)$/.exec(text) ?? []
    return { day: day.toLowerCase(), minute: Number(hour) * 60 + Number(minute) }
  })
}

const DAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat']
const two = (value: number) => String(value).padStart(2, '0')
const clockText = (minute: number) => `${two(Math.floor(minute / 60))}:${two(minute % 60)}`
// Half of all times lie in the small hours, where clocks are changed.
const time = fc.oneof(fc.integer({ min: 0, max: 1_439 }), fc.integer({ min: 0, max: 240 }))
const entry = fc
  .record({ days: fc.subarray(DAYS, { minLength: 1 }), from: time, to: time })
  .filter(({ from, to }) => from !== to)

for (const [zone, turn] of TURNS)
  t.test(`is right minute by minute around ${turn} in ${zone}`, async (t) => {
    const start = at(turn) - (WINDOW / 2) * MINUTE
    const wall = walls(zone, start)
    t.match(wall[0]?.day, /^(sun|mon|tue|wed|thu|fri|sat)$/)
    fc.assert(
      fc.property(
        fc.array(entry, { minLength: 1, maxLength: 3 }),
        fc.integer({ min: 0, max: WINDOW - 1 }),
        fc.integer({ min: 0, max: MINUTE - 1 }),
        (entries, index, rest) => {
          const texts = entries.map(
            ({ days, from, to }) => `${days.join(',')} ${clockText(from)}-${clockText(to)}`,
          )
          const schedule = parseSchedule(texts, zone)
          const isOpen = ({ day, minute }: { day: string; minute: number }) =>
            entries.some(({ days, from, to }) => {
              const before = DAYS[(DAYS.indexOf(day) + 6) % 7] ?? ''
              if (from < to) return days.includes(day) && minute >= from && minute < to
              return (
                (days.includes(day) && minute >= from) || (days.includes(before) && minute < to)
              )
            })
          const wanted = wall.map(isOpen)
          const moment = ms(start + index * MINUTE + rest)
          if (schedule.isOpen(moment) !== wanted[index]) return false
          const next = wanted.findIndex((open, at) => at > index && open !== wanted[index])
          const change = schedule.nextChange(moment)
          if (next === -1) return change === undefined || change >= start + WINDOW * MINUTE
          return change === start + next * MINUTE
        },
      ),
      { numRuns: 60 },
    )
  })
