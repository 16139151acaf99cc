/**
 * The decimal numbers between two bounds, as a regular language.
 *
 * Digits are compared as one compares by hand: more digits before the point win, then the first
 * that differs. Numbers between bounds have no exponent and at most 20 digits before the point.
 * Tested by test/inference/grammar.ts.
 */
import {
  and,
  cat,
  chars,
  EMPTY,
  NONE,
  optional,
  or,
  type Regular,
  repeat,
} from './grammar-regular.ts'
import { leastInteger } from './schema-meet.ts'
import type { Bound, NumberShape } from './schema-shape.ts'

const DIGIT = chars('09')
const NONZERO = chars('19')
const DIGITS = repeat(DIGIT)
const POINT = chars('.')
const ANY = chars('09', '.')
const INTEGER_DIGITS_MAX = 20
const FRACTION_DIGITS_MAX = 15
/** Two decimals with at most so many digits are never the same double. */
const DISTINCT_DIGITS = 15

/** A bound without sign and exponent; `fraction` has no zeros at its end. */
interface Decimal {
  readonly whole: string
  readonly fraction: string
  readonly open: boolean
}

/** Whether every text beside `bound` is read as a number beside it: 0.3 and 0.30000000000000001 are the same. */
export function isExact(bound: Bound): boolean {
  const { whole, fraction } = decimal(bound)
  return !bound.open || whole.length + fraction.length < DISTINCT_DIGITS
}

/** Texts of numbers of `shape`, which has a bound at least. */
export function numberLanguage({ integer, min, max }: NumberShape): Regular {
  const [low, high] = integer ? [ceiling(min), floor(max)] : [min, max]
  const form = integer ? wholes(low, high) : decimals(low, high)
  const zero: Bound = { at: 0, open: true }
  const above = low === undefined || low.at < 0 ? repeat(ANY) : atLeast(decimal(low))
  const below = high === undefined ? repeat(ANY) : atMost(decimal(high))
  // Below zero the bounds change places. There is no -0.
  const near = atLeast(decimal(high !== undefined && high.at < 0 ? high : zero))
  const far = low === undefined ? repeat(ANY) : atMost(decimal(low))
  return or(
    high !== undefined && high.at < 0 ? NONE : and(form, above, below),
    low !== undefined && low.at >= 0 ? NONE : cat(chars('-'), and(form, near, far)),
  )
}

function ceiling(min: Bound | undefined): Bound | undefined {
  return min === undefined ? undefined : { at: Number(leastInteger(min)), open: false }
}

function floor(max: Bound | undefined): Bound | undefined {
  if (max === undefined) return undefined
  return { at: -Number(leastInteger({ at: -max.at, open: max.open })), open: false }
}

/** Digits before the point; room for those of the bounds. */
function wholes(...bounds: readonly (Bound | undefined)[]): Regular {
  const lengths = bounds.map((bound) => (bound === undefined ? 0 : decimal(bound).whole.length))
  const digitsMax = Math.max(INTEGER_DIGITS_MAX, ...lengths)
  return or(chars('0'), cat(NONZERO, repeat(DIGIT, 0, digitsMax - 1)))
}

/** So many digits after the point that no text comes closer to an open bound than its double does. */
function decimals(low: Bound | undefined, high: Bound | undefined): Regular {
  const room = [low, high].map((bound) => {
    if (bound === undefined) return FRACTION_DIGITS_MAX
    const { whole, fraction } = decimal(bound)
    const free = DISTINCT_DIGITS - 1 - whole.length
    return Math.max(1, fraction.length, bound.open ? free : FRACTION_DIGITS_MAX)
  })
  const digits = Math.min(...room)
  return cat(wholes(low, high), optional(cat(POINT, repeat(DIGIT, 1, digits))))
}

/** Without its sign. */
function decimal({ at, open }: Bound): Decimal {
  const [digits = '', exponent = '0'] = Math.abs(at).toExponential().split('e')
  const figures = digits.replace('.', '')
  const point = Number(exponent) + 1
  const padded =
    point > 0 ? figures.padEnd(point, '0') : figures.padStart(figures.length - point + 1, '0')
  const cut = Math.max(1, point)
  return { whole: padded.slice(0, cut), fraction: padded.slice(cut).replace(/0+$/, ''), open }
}

function digitsBetween(from: number, to: number): Regular {
  return from > to ? NONE : chars(`${from}${to}`)
}

/** Any digits that bring the number of them to that of a bound, then any fraction. */
function filled(count: number): Regular {
  return cat(repeat(DIGIT, count, count), optional(cat(POINT, DIGITS)))
}

function atLeast(bound: Decimal): Regular {
  const { whole } = bound
  const longer = cat(NONZERO, DIGITS, filled(whole.length))
  const sameLength = [...whole].reduceRight(
    (rest, digit, at) =>
      or(
        cat(digitsBetween(Number(digit) + 1, 9), filled(whole.length - at - 1)),
        cat(chars(digit), rest),
      ),
    fractionAtLeast(bound),
  )
  return or(longer, sameLength)
}

function fractionAtLeast({ fraction, open }: Decimal): Regular {
  if (fraction === '')
    return open ? cat(POINT, DIGITS, NONZERO, DIGITS) : optional(cat(POINT, DIGITS))
  const digits = [...fraction].reduceRight<Regular>(
    (rest, digit) => or(cat(digitsBetween(Number(digit) + 1, 9), DIGITS), cat(chars(digit), rest)),
    open ? cat(DIGITS, NONZERO, DIGITS) : DIGITS,
  )
  return cat(POINT, digits)
}

function atMost(bound: Decimal): Regular {
  const { whole } = bound
  const shorter = or(
    cat(chars('0'), filled(0)),
    cat(NONZERO, repeat(DIGIT, 0, whole.length - 2), filled(0)),
  )
  const sameLength = [...whole].reduceRight((rest, digit, at) => {
    const least = at === 0 && whole.length > 1 ? 1 : 0
    const less = cat(digitsBetween(least, Number(digit) - 1), filled(whole.length - at - 1))
    return or(less, cat(chars(digit), rest))
  }, fractionAtMost(bound))
  return whole.length === 1 ? sameLength : or(shorter, sameLength)
}

function fractionAtMost({ fraction, open }: Decimal): Regular {
  const zeros = repeat(chars('0'))
  if (fraction === '') return open ? NONE : optional(cat(POINT, zeros))
  // Wherever the digits end before those of the bound, the number is less.
  const digits = [...fraction].reduceRight<Regular>(
    (rest, digit) =>
      or(EMPTY, cat(digitsBetween(0, Number(digit) - 1), DIGITS), cat(chars(digit), rest)),
    open ? NONE : zeros,
  )
  return or(EMPTY, cat(POINT, digits))
}
