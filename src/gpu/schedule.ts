/**
 * The hours in which the machine may serve, as its owner writes them: `mon-fri 18:00-08:00`, `sat,sun`,
 * `daily 00:00-07:30`. Hours that end before they begin go on into the next day.
 *
 * It is open when the clock on the owner's wall says so: an hour that a change of the clocks leaves out
 * does not come, one that comes twice counts twice. Tested by test/gpu/schedule.ts, minute by minute over
 * changes of the clocks.
 */
import { type Ms, ms } from '../base/units.ts'

const DAYS: readonly string[] = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat']
const MINUTE = 60_000
const DAY_MINUTES = 1_440
const WEEK_MINUTES = 7 * DAY_MINUTES
/** What does not change in two weeks does not change: a time of the week is skipped once a year at most. */
const AHEAD_MINUTES = 15 * DAY_MINUTES
const ENTRIES_MAX = 64

/** Minutes of the week from Sunday 00:00, `to` not included, within one week. */
interface Interval {
  readonly from: number
  readonly to: number
}

export interface Schedule {
  /** As it was written. */
  readonly text: string
  isOpen(at: Ms): boolean
  /** The first moment after `at` at which `isOpen` is another; absent: always open. */
  nextChange(at: Ms): Ms | undefined
}

/**
 * @param zone such as `Europe/Berlin`; absent: the machine's
 * @throws RangeError that names the entry or the zone
 */
export function parseSchedule(entries: readonly string[], zone?: string): Schedule {
  if (entries.length === 0) throw new RangeError('a schedule needs at least one entry')
  if (entries.length > ENTRIES_MAX)
    throw new RangeError(`a schedule has at most ${ENTRIES_MAX} entries, not ${entries.length}`)
  const intervals = entries.flatMap(parseEntry)
  return new Hours(entries.join('; '), intervals, offsetIn(zone))
}

function parseEntry(entry: string): Interval[] {
  const words = entry.trim().toLowerCase().split(/\s+/)
  const hasDays = !/^\d/.test(words[0] ?? '')
  const days = hasDays ? parseDays(words.shift() ?? '', entry) : [0, 1, 2, 3, 4, 5, 6]
  const hours = words.length === 0 ? [{ from: 0, to: DAY_MINUTES }] : parseHours(words, entry)
  return days.flatMap((day) =>
    hours.flatMap(({ from, to }) =>
      split({ from: day * DAY_MINUTES + from, to: day * DAY_MINUTES + to }),
    ),
  )
}

/** Saturday's night goes on on Sunday, where the week begins. */
function split({ from, to }: Interval): Interval[] {
  if (to <= WEEK_MINUTES) return [{ from, to }]
  return [
    { from, to: WEEK_MINUTES },
    { from: 0, to: to - WEEK_MINUTES },
  ]
}

function parseDays(text: string, entry: string): number[] {
  if (text === 'daily') return [0, 1, 2, 3, 4, 5, 6]
  return text.split(',').flatMap((part) => {
    const [first, last = first, ...more] = part.split('-').map((name) => dayOf(name, entry))
    if (first === undefined || last === undefined || more.length > 0) throw notDays(entry)
    return Array.from({ length: ((last - first + 7) % 7) + 1 }, (_, index) => (first + index) % 7)
  })
}

function dayOf(name: string, entry: string): number {
  const index = DAYS.indexOf(name)
  if (index === -1) throw notDays(entry)
  return index
}

function notDays(entry: string): RangeError {
  return new RangeError(
    `"${entry}": write days as mon, mon-fri, "sat,sun" or daily, in front of the hours`,
  )
}

function parseHours(words: readonly string[], entry: string): Interval[] {
  return words
    .join('')
    .split(',')
    .map((part) => {
      const match = /^(\d{1,2}):(\d{2})-(\d{1,2}):(\d{2})$/.exec(part)
      const [, h1, m1, h2, m2] = (match ?? []).map(Number)
      const from = minuteOf(h1, m1)
      const to = minuteOf(h2, m2)
      if (from === undefined || to === undefined || from === DAY_MINUTES)
        throw new RangeError(`"${entry}": write hours as 18:00-08:00, from 00:00 to 24:00`)
      if (from === to)
        throw new RangeError(
          `"${entry}": begins and ends at the same time; leave whole days without hours`,
        )
      return { from, to: to > from ? to : to + DAY_MINUTES }
    })
}

function minuteOf(hour: number | undefined, minute: number | undefined): number | undefined {
  if (hour === undefined || minute === undefined || minute > 59) return undefined
  const value = hour * 60 + minute
  return value <= DAY_MINUTES ? value : undefined
}

/** Minutes that the zone's wall is ahead of UTC at a moment, in ms since 1970. */
type OffsetAt = (at: number) => number

/** @throws RangeError for a zone that is not known */
function offsetIn(zone: string | undefined): OffsetAt {
  let format: Intl.DateTimeFormat
  try {
    format = new Intl.DateTimeFormat('en-US', {
      ...(zone === undefined ? {} : { timeZone: zone }),
      hourCycle: 'h23',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
    })
  } catch {
    throw new RangeError(`"${zone}" is not a time zone; write one such as Europe/Berlin`)
  }
  return (at) => {
    const whole = Math.floor(at / MINUTE) * MINUTE
    const part: Record<string, number> = {}
    for (const { type, value } of format.formatToParts(whole)) part[type] = Number(value)
    const { year = 0, month = 1, day = 1, hour = 0, minute = 0 } = part
    return (Date.UTC(year, month - 1, day, hour, minute) - whole) / MINUTE
  }
}

class Hours implements Schedule {
  readonly text: string
  readonly #open: Uint8Array
  readonly #offsetAt: OffsetAt

  constructor(text: string, intervals: readonly Interval[], offsetAt: OffsetAt) {
    this.text = text
    this.#offsetAt = offsetAt
    this.#open = new Uint8Array(WEEK_MINUTES)
    for (const { from, to } of intervals) this.#open.fill(1, from, to)
  }

  isOpen(at: Ms): boolean {
    const minute = Math.floor(at / MINUTE)
    return this.#isOpen(minute, this.#offsetAt(at))
  }

  nextChange(at: Ms): Ms | undefined {
    const start = Math.floor(at / MINUTE)
    const wasOpen = this.isOpen(at)
    const offsetOf = (minute: number) => this.#offsetAt(minute * MINUTE)
    for (let from = start, offset = offsetOf(start); from < start + AHEAD_MINUTES; ) {
      // One day at a time: clocks are never changed and changed back within one.
      const to = from + DAY_MINUTES
      const next = offsetOf(to)
      const turn = next === offset ? to : turnBetween(from, to, offset, offsetOf)
      for (let minute = from + 1; minute < turn; minute++)
        if (this.#isOpen(minute, offset) !== wasOpen) return ms(minute * MINUTE)
      if (this.#isOpen(turn, offsetOf(turn)) !== wasOpen) return ms(turn * MINUTE)
      from = turn
      offset = offsetOf(turn)
    }
    return undefined
  }

  #isOpen(minute: number, offset: number): boolean {
    // 1970 began on a Thursday.
    const ofWeek = minute + offset + 4 * DAY_MINUTES
    return this.#open[((ofWeek % WEEK_MINUTES) + WEEK_MINUTES) % WEEK_MINUTES] === 1
  }
}

/** The first minute with another offset than `offset`, which `from` has and `to` has not. */
function turnBetween(
  from: number,
  to: number,
  offset: number,
  offsetOf: (minute: number) => number,
): number {
  let [before, after] = [from, to]
  while (after - before > 1) {
    const middle = Math.floor((before + after) / 2)
    if (offsetOf(middle) === offset) before = middle
    else after = middle
  }
  return after
}
