/**
 * Regular expressions of JSON Schema (`pattern`) as regular languages, and the patterns behind `format`.
 *
 * The useful part of ECMA-262: classes, groups, alternatives, quantifiers, `^` and `$` at the ends. As the
 * standard says, a pattern without them is searched for anywhere in the text. What is no regular
 * language or would change how the text is read (look-around, back references, `\b`) is refused.
 * Tested by test/inference/schema.ts.
 */
import {
  ANYTHING,
  cat,
  chars,
  EMPTY,
  except,
  NONE,
  or,
  type Range,
  type Regular,
  repeat,
  set,
} from './grammar-regular.ts'

const LENGTH_MAX = 1_000
const REPEAT_MAX = 1_000
const GROUPS_MAX = 30

/** Of ECMA-262: `\s`. */
const SPACES: readonly Range[] = [
  [9, 13],
  [32, 32],
  [0xa0, 0xa0],
  [0x1680, 0x1680],
  [0x2000, 0x200a],
  [0x2028, 0x2029],
  [0x202f, 0x202f],
  [0x205f, 0x205f],
  [0x3000, 0x3000],
  [0xfeff, 0xfeff],
].map(([from = 0, to = 0]) => ({ from, to }))
const LINE_ENDS: readonly Range[] = [10, 13, 0x2028, 0x2029].map((at) => ({ from: at, to: at }))
const DIGITS: readonly Range[] = rangesOf(chars('09'))
const WORDS: readonly Range[] = rangesOf(chars('09', 'az', 'AZ', '_'))
const CLASSES: Readonly<Record<string, readonly Range[]>> = {
  d: DIGITS,
  D: except(DIGITS),
  w: WORDS,
  W: except(WORDS),
  s: SPACES,
  S: except(SPACES),
}
const CONTROLS: Readonly<Record<string, number>> = { t: 9, n: 10, v: 11, f: 12, r: 13, '0': 0 }

function rangesOf(of: Regular): readonly Range[] {
  return of.kind === 'set' ? of.ranges : []
}

/**
 * The texts in which `pattern` is found.
 * @param refuse makes the error for a pattern that is malformed or not served
 */
export function patternLanguage(pattern: string, refuse: (why: string) => Error): Regular {
  if (pattern.length > LENGTH_MAX) throw refuse(`is longer than ${LENGTH_MAX} characters`)
  return new PatternReader(pattern, refuse).whole()
}

class PatternReader {
  readonly #chars: readonly string[]
  readonly #refuse: (why: string) => Error
  #at = 0
  #depth = 0

  constructor(pattern: string, refuse: (why: string) => Error) {
    this.#chars = [...pattern]
    this.#refuse = refuse
  }

  whole(): Regular {
    const alternatives: Regular[] = []
    do {
      const begins = this.#skip('^')
      const middle = this.#terms()
      const ends = this.#skip('$')
      alternatives.push(cat(begins ? EMPTY : ANYTHING, middle, ends ? EMPTY : ANYTHING))
    } while (this.#skip('|'))
    if (this.#at < this.#chars.length) throw this.#odd()
    return or(...alternatives)
  }

  get #next(): string {
    return this.#chars[this.#at] ?? ''
  }

  #skip(text: string): boolean {
    const is = this.#chars.slice(this.#at, this.#at + text.length).join('') === text
    if (is) this.#at += text.length
    return is
  }

  #odd(): Error {
    if (this.#next === '^' || this.#next === '$')
      return this.#refuse(`has ${this.#next} elsewhere than at an end of the whole`)
    return this.#refuse(`is malformed at character ${this.#at + 1}`)
  }

  #terms(): Regular {
    const terms: Regular[] = []
    while (this.#at < this.#chars.length && !'|)$^'.includes(this.#next))
      terms.push(this.#quantified(this.#atom()))
    return cat(...terms)
  }

  #atom(): Regular {
    if (this.#skip('(')) return this.#group()
    if (this.#skip('[')) return this.#class()
    if (this.#skip('.')) return set(except(LINE_ENDS))
    if ('*+?{'.includes(this.#next)) throw this.#odd()
    return set(this.#char())
  }

  #group(): Regular {
    if (this.#next === '?' && !this.#skip('?:')) {
      const named = /^\?<[A-Za-z_$][\w$]*>/.exec(
        this.#chars.slice(this.#at, this.#at + 80).join(''),
      )
      if (named === null) throw this.#refuse('looks ahead or behind, or has flags')
      this.#at += named[0].length
    }
    if (++this.#depth > GROUPS_MAX) throw this.#refuse('has too many groups in each other')
    const alternatives: Regular[] = []
    do alternatives.push(this.#terms())
    while (this.#skip('|'))
    if (!this.#skip(')')) throw this.#odd()
    this.#depth -= 1
    return or(...alternatives)
  }

  #quantified(of: Regular): Regular {
    const [min, max] = this.#quantifier()
    if (min === undefined || max === undefined) return of
    if (max < min) throw this.#refuse('has a quantifier whose limits are the wrong way round')
    if (Math.max(min, max === Number.POSITIVE_INFINITY ? 0 : max) > REPEAT_MAX)
      throw this.#refuse(`repeats something more than ${REPEAT_MAX} times`)
    // A lazy quantifier finds another place, not another text.
    this.#skip('?')
    return repeat(of, min, max)
  }

  #quantifier(): [min?: number, max?: number] {
    if (this.#skip('*')) return [0, Number.POSITIVE_INFINITY]
    if (this.#skip('+')) return [1, Number.POSITIVE_INFINITY]
    if (this.#skip('?')) return [0, 1]
    if (this.#next !== '{') return []
    const found = /^\{(\d+)(,?)(\d*)\}/.exec(this.#chars.slice(this.#at, this.#at + 24).join(''))
    if (found === null) throw this.#odd()
    const [all, min, comma, max] = found
    this.#at += all.length
    if (comma === '') return [Number(min), Number(min)]
    return [Number(min), max === '' ? Number.POSITIVE_INFINITY : Number(max)]
  }

  #class(): Regular {
    const inverted = this.#skip('^')
    const ranges: Range[] = []
    while (!this.#skip(']')) {
      if (this.#at >= this.#chars.length) throw this.#refuse('has a class without an end')
      const first = this.#char(true)
      const [low] = first
      if (this.#next === '-' && this.#chars[this.#at + 1] !== ']' && first.length === 1) {
        this.#at += 1
        const [high, ...more] = this.#char(true)
        if (low === undefined || high === undefined || more.length > 0) throw this.#odd()
        if (high.from < low.from) throw this.#refuse('has a range that is the wrong way round')
        ranges.push({ from: low.from, to: high.from })
      } else ranges.push(...first)
    }
    if (inverted) return set(except(ranges))
    return ranges.length === 0 ? NONE : set(ranges)
  }

  /** One character, or one of those that an escape like `\d` stands for. */
  #char(inClass = false): readonly Range[] {
    if (this.#at >= this.#chars.length) throw this.#odd()
    if (!this.#skip('\\')) {
      const code = this.#next.codePointAt(0) ?? 0
      this.#at += 1
      return [{ from: code, to: code }]
    }
    const letter = this.#next
    this.#at += 1
    const known = CLASSES[letter]
    if (known !== undefined) return known
    const code = inClass && letter === 'b' ? 8 : (CONTROLS[letter] ?? this.#coded(letter))
    return [{ from: code, to: code }]
  }

  #coded(letter: string): number {
    if (letter === 'x' || letter === 'u') {
      const ahead = this.#chars.slice(this.#at, this.#at + 10).join('')
      const form = letter === 'x' ? /^([\da-f]{2})/i : /^(?:\{([\da-f]{1,6})\}|([\da-f]{4}))/i
      const found = form.exec(ahead)
      const code = Number.parseInt(found?.[1] ?? found?.[2] ?? '', 16)
      if (found === null || code > 0x10ffff) throw this.#odd()
      this.#at += found[0].length
      return code
    }
    if (letter === '' || /[\w]/.test(letter))
      throw this.#refuse(`uses \\${letter}, which is not served`)
    return letter.codePointAt(0) ?? 0
  }
}

const YEAR = '\\d{4}'
const LEAP_YEAR = '(?:\\d\\d(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)'
const DATE = `(?:${YEAR}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)|02-(?:0[1-9]|1\\d|2[0-8]))|${LEAP_YEAR}-02-29)`
const ZONE = '(?:Z|[+-](?:[01]\\d|2[0-3]):[0-5]\\d)'
const TIME = `(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(?:\\.\\d{1,9})?${ZONE}`
const BYTE = '(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)'
const IPV4 = `${BYTE}(?:\\.${BYTE}){3}`
const LABEL = '[A-Za-z0-9](?:[A-Za-z0-9-]{0,24}[A-Za-z0-9])?'
const HOST = `${LABEL}(?:\\.${LABEL}){0,5}`
const LOCAL = '[A-Za-z0-9_+-]{1,20}'
const HEX4 = '[\\da-fA-F]{1,4}'
const URI_CHAR = "[A-Za-z0-9._~:/@!$&'()*+,;=-]"

/**
 * Everything that these accept is of the format. Rare forms are left out: quoted names in e-mail addresses, leap
 * seconds, labels of hosts above 26 characters, IPv6 addresses with several groups after their gap.
 */
export const FORMATS: Readonly<Record<string, string>> = {
  date: `^${DATE}$`,
  time: `^${TIME}$`,
  'date-time': `^${DATE}T${TIME}$`,
  duration:
    '^P(?:\\d{1,9}W|(?:\\d{1,9}Y(?:\\d{1,9}M(?:\\d{1,9}D)?)?|\\d{1,9}M(?:\\d{1,9}D)?|\\d{1,9}D)(?:T(?:\\d{1,9}H(?:\\d{1,9}M(?:\\d{1,9}S)?)?|\\d{1,9}M(?:\\d{1,9}S)?|\\d{1,9}S))?|T(?:\\d{1,9}H(?:\\d{1,9}M(?:\\d{1,9}S)?)?|\\d{1,9}M(?:\\d{1,9}S)?|\\d{1,9}S))$',
  uuid: '^[\\da-fA-F]{8}(?:-[\\da-fA-F]{4}){3}-[\\da-fA-F]{12}$',
  email: `^${LOCAL}(?:\\.${LOCAL}){0,2}@${LABEL}(?:\\.${LABEL}){1,4}$`,
  hostname: `^${HOST}$`,
  ipv4: `^${IPV4}$`,
  ipv6: `^(?:(?:${HEX4}:){7}${HEX4}|(?:${HEX4}:){1,6}:${HEX4}|(?:${HEX4}:){1,7}:|:(?::${HEX4}){1,7}|::)$`,
  uri: `^[A-Za-z][A-Za-z0-9+.-]{0,9}://${HOST}(?::\\d{1,5})?(?:/${URI_CHAR}{0,200})?(?:\\?${URI_CHAR}{0,100})?(?:#${URI_CHAR}{0,50})?$`,
}
