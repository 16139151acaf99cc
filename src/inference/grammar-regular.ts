/**
 * Regular languages over characters, as expressions with conjunction and complement.
 *
 * The grammar of a schema needs both: a pattern and a length, a number between two others, any name but these.
 * Expressions are never changed, and two of the same `key` are the same language.
 * Tested by test/inference/schema.ts and grammar.ts.
 */
/** Code points from `from` to `to`, both included. */
export interface Range {
  readonly from: number
  readonly to: number
}

export type Regular = { readonly key: string; readonly nullable: boolean } & (
  | { readonly kind: 'none' | 'empty' }
  /** Ranges ascend and do not touch. */
  | { readonly kind: 'set'; readonly ranges: readonly Range[] }
  | { readonly kind: 'cat'; readonly head: Regular; readonly tail: Regular }
  | { readonly kind: 'repeat'; readonly of: Regular; readonly min: number; readonly max: number }
  | { readonly kind: 'or' | 'and'; readonly of: readonly Regular[] }
  | { readonly kind: 'not'; readonly of: Regular }
)

const LAST = 0x10ffff
export const NONE: Regular = { kind: 'none', key: '0', nullable: false }
export const EMPTY: Regular = { kind: 'empty', key: 'e', nullable: true }

export function set(ranges: readonly Range[]): Regular {
  const joined: Range[] = []
  for (const range of [...ranges].sort((a, b) => a.from - b.from)) {
    const last = joined.at(-1)
    if (last !== undefined && range.from <= last.to + 1)
      joined[joined.length - 1] = { from: last.from, to: Math.max(last.to, range.to) }
    else joined.push(range)
  }
  if (joined.length === 0) return NONE
  const key = `[${joined.map(({ from, to }) => `${from.toString(36)}-${to.toString(36)}`).join()}]`
  return { kind: 'set', ranges: joined, key, nullable: false }
}

/** `chars('az', '_')`: from a to z, and the underscore. */
export function chars(...pairs: readonly string[]): Regular {
  return set(
    pairs.map((pair) => {
      const [from = '', to = from] = pair
      return { from: from.codePointAt(0) ?? 0, to: to.codePointAt(0) ?? 0 }
    }),
  )
}

/** Every character that is in none of `ranges`. */
export function except(ranges: readonly Range[]): Range[] {
  const out: Range[] = []
  let next = 0
  for (const { from, to } of [...ranges].sort((a, b) => a.from - b.from)) {
    if (from > next) out.push({ from: next, to: from - 1 })
    next = Math.max(next, to + 1)
  }
  if (next <= LAST) out.push({ from: next, to: LAST })
  return out
}

export function text(value: string): Regular {
  return cat(...[...value].map((char) => chars(char)))
}

export function cat(...parts: readonly Regular[]): Regular {
  return parts.reduceRight((tail, head) => pair(head, tail), EMPTY)
}

function pair(head: Regular, tail: Regular): Regular {
  if (head.kind === 'none' || tail.kind === 'none') return NONE
  if (head.kind === 'empty') return tail
  if (tail.kind === 'empty') return head
  if (head.kind === 'cat') return pair(head.head, pair(head.tail, tail))
  return {
    kind: 'cat',
    head,
    tail,
    key: `${head.key}${tail.key}`,
    nullable: head.nullable && tail.nullable,
  }
}

/** @param max Infinity: no end */
export function repeat(of: Regular, min = 0, max = Number.POSITIVE_INFINITY): Regular {
  if (max < min) return NONE
  if (max === 0 || of.kind === 'empty') return EMPTY
  if (of.kind === 'none') return min === 0 ? EMPTY : NONE
  if (min === 1 && max === 1) return of
  const times =
    max === Number.POSITIVE_INFINITY ? (min === 0 ? '*' : `{${min}*}`) : `{${min}_${max}}`
  return {
    kind: 'repeat',
    of,
    min,
    max,
    key: `(${of.key})${times}`,
    nullable: min === 0 || of.nullable,
  }
}

export function optional(of: Regular): Regular {
  return repeat(of, 0, 1)
}

export const ANYTHING: Regular = repeat(set([{ from: 0, to: LAST }]))

export function or(...of: readonly Regular[]): Regular {
  const members = flat('or', of).filter(({ kind }) => kind !== 'none')
  if (members.some(({ key }) => key === ANYTHING.key)) return ANYTHING
  const ranges = members.flatMap((member) => (member.kind === 'set' ? member.ranges : []))
  const others = members.filter(({ kind }) => kind !== 'set')
  return many('or', ranges.length === 0 ? others : [...others, set(ranges)], NONE)
}

export function and(...of: readonly Regular[]): Regular {
  const members = flat('and', of)
  if (members.some(({ kind }) => kind === 'none')) return NONE
  return many(
    'and',
    members.filter(({ key }) => key !== ANYTHING.key),
    ANYTHING,
  )
}

export function not(of: Regular): Regular {
  if (of.kind === 'not') return of.of
  if (of.kind === 'none') return ANYTHING
  return { kind: 'not', of, key: `!(${of.key})`, nullable: !of.nullable }
}

function flat(kind: 'or' | 'and', of: readonly Regular[]): Regular[] {
  return of.flatMap((member) => (member.kind === kind ? member.of : [member]))
}

function many(kind: 'or' | 'and', members: readonly Regular[], ofNone: Regular): Regular {
  const byKey = new Map(members.map((member) => [member.key, member]))
  const of = [...byKey.keys()].sort().map((key) => byKey.get(key) ?? NONE)
  const [first] = of
  if (first === undefined) return ofNone
  if (of.length === 1) return first
  const nullable =
    kind === 'or' ? of.some((member) => member.nullable) : of.every((member) => member.nullable)
  const sign = kind === 'or' ? '|' : '&'
  return { kind, of, key: `(${of.map(({ key }) => key).join(sign)})`, nullable }
}

/** The lengths of its texts lie within these bounds, which need not be reached. */
export function lengths(of: Regular): readonly [min: number, max: number] {
  switch (of.kind) {
    case 'none':
    case 'empty':
      return [0, 0]
    case 'set':
      return [1, 1]
    case 'not':
      return [0, Number.POSITIVE_INFINITY]
    case 'cat': {
      const [a, b] = [lengths(of.head), lengths(of.tail)]
      return [a[0] + b[0], a[1] + b[1]]
    }
    case 'repeat': {
      const [min, max] = lengths(of.of)
      return [min * of.min, max === 0 ? 0 : max * of.max]
    }
    case 'or': {
      const all = of.of.map(lengths)
      return [Math.min(...all.map(([min]) => min)), Math.max(...all.map(([, max]) => max))]
    }
    case 'and': {
      const all = of.of.map(lengths)
      return [Math.max(...all.map(([min]) => min)), Math.min(...all.map(([, max]) => max))]
    }
  }
}

/** What may follow after `char`. */
export function after(of: Regular, char: number): Regular {
  switch (of.kind) {
    case 'none':
    case 'empty':
      return NONE
    case 'set':
      return of.ranges.some(({ from, to }) => from <= char && char <= to) ? EMPTY : NONE
    case 'cat': {
      const first = pair(after(of.head, char), of.tail)
      return of.head.nullable ? or(first, after(of.tail, char)) : first
    }
    case 'repeat': {
      const rest = repeat(of.of, Math.max(0, of.min - 1), of.max - 1)
      return pair(after(of.of, char), rest)
    }
    case 'not':
      return not(after(of.of, char))
    case 'or':
      return or(...of.of.map((member) => after(member, char)))
    case 'and':
      return and(...of.of.map((member) => after(member, char)))
  }
}

export function matches(of: Regular, value: string): boolean {
  let rest = of
  for (const char of value) {
    rest = after(rest, char.codePointAt(0) ?? 0)
    if (rest.kind === 'none') return false
  }
  return rest.nullable
}
