/**
 * The text of a grammar (GBNF) as expressions: what grammar.ts writes, read again.
 *
 * Literals, classes, groups, alternatives, `*`, `+`, `?`, `{m,n}` and rules by name; no comments. Tested by
 * test/inference/grammar-state.ts.
 */
import { assert } from '../base/errors.ts'

/** Inclusive code points. */
export type CodeRange = readonly [from: number, to: number]

export type Expression =
  | { readonly kind: 'chars'; readonly ranges: readonly CodeRange[] }
  | { readonly kind: 'sequence'; readonly of: readonly Expression[] }
  | { readonly kind: 'either'; readonly of: readonly Expression[] }
  | {
      readonly kind: 'repeat'
      readonly of: Expression
      readonly min: number
      readonly max: number
    }
  | { readonly kind: 'rule'; readonly name: string }

const CODE_MAX = 0x10ffff
const NAME = /[A-Za-z0-9_-]+/y
const COUNT = /\{(\d+)(,(\d*))?\}/y
const ESCAPED: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t' }

/** @returns the rules by name; `root` is the whole */
export function parseGrammar(text: string): ReadonlyMap<string, Expression> {
  const rules = new Map<string, Expression>()
  for (const line of text.split('\n')) {
    if (line.trim() === '') continue
    const at = line.indexOf('::=')
    assert(at > 0, 'a rule has a name and a body')
    const reader = new BodyReader(line.slice(at + 3))
    rules.set(line.slice(0, at).trim(), reader.read())
  }
  assert(rules.has('root'), 'a grammar has a root')
  return rules
}

class BodyReader {
  readonly #text: string
  #at = 0

  constructor(text: string) {
    this.#text = text
  }

  read(): Expression {
    const whole = this.#either()
    this.#blanks()
    assert(this.#at === this.#text.length, 'a body is read to its end')
    return whole
  }

  #either(): Expression {
    const of = [this.#sequence()]
    while (this.#takes('|')) of.push(this.#sequence())
    return of.length === 1 && of[0] !== undefined ? of[0] : { kind: 'either', of }
  }

  #sequence(): Expression {
    const of: Expression[] = []
    for (;;) {
      this.#blanks()
      const next = this.#text[this.#at]
      if (next === undefined || next === '|' || next === ')') break
      of.push(this.#repeated(this.#atom(next)))
    }
    return of.length === 1 && of[0] !== undefined ? of[0] : { kind: 'sequence', of }
  }

  #atom(next: string): Expression {
    if (next === '"') return this.#literal()
    if (next === '[') return this.#class()
    if (this.#takes('(')) {
      const inner = this.#either()
      assert(this.#takes(')'), 'a group is closed')
      return inner
    }
    const name = this.#match(NAME)?.[0]
    assert(name !== undefined, 'an atom is a literal, a class, a group or a name')
    return { kind: 'rule', name }
  }

  #repeated(of: Expression): Expression {
    if (this.#takes('*', false))
      return { kind: 'repeat', of, min: 0, max: Number.POSITIVE_INFINITY }
    if (this.#takes('+', false))
      return { kind: 'repeat', of, min: 1, max: Number.POSITIVE_INFINITY }
    if (this.#takes('?', false)) return { kind: 'repeat', of, min: 0, max: 1 }
    const count = this.#match(COUNT)
    if (count === undefined) return of
    const min = Number(count[1])
    const most =
      count[3] === undefined || count[3] === '' ? Number.POSITIVE_INFINITY : Number(count[3])
    return { kind: 'repeat', of, min, max: count[2] === undefined ? min : most }
  }

  #literal(): Expression {
    this.#at++
    const of: Expression[] = []
    while (this.#text[this.#at] !== '"') {
      const code = this.#char()
      of.push({ kind: 'chars', ranges: [[code, code]] })
    }
    this.#at++
    return of.length === 1 && of[0] !== undefined ? of[0] : { kind: 'sequence', of }
  }

  #class(): Expression {
    this.#at++
    const isNot = this.#takes('^', false)
    const ranges: CodeRange[] = []
    while (this.#text[this.#at] !== ']') {
      const from = this.#char()
      const isRange = this.#text[this.#at] === '-' && this.#text[this.#at + 1] !== ']'
      if (isRange) this.#at++
      ranges.push([from, isRange ? this.#char() : from])
    }
    this.#at++
    return { kind: 'chars', ranges: isNot ? others(ranges) : ranges }
  }

  /** One character of a literal or a class, escapes undone. */
  #char(): number {
    const code = this.#text.codePointAt(this.#at)
    assert(code !== undefined, 'a literal or a class is closed')
    this.#at += code > 0xffff ? 2 : 1
    if (code !== 0x5c) return code
    const letter = this.#text[this.#at++] ?? ''
    const digits = { x: 2, u: 4, U: 8 }[letter]
    if (digits === undefined) return (ESCAPED[letter] ?? letter).codePointAt(0) ?? 0
    const value = Number.parseInt(this.#text.slice(this.#at, this.#at + digits), 16)
    this.#at += digits
    return value
  }

  #takes(char: string, afterBlanks = true): boolean {
    if (afterBlanks) this.#blanks()
    if (this.#text[this.#at] !== char) return false
    this.#at++
    return true
  }

  #match(pattern: RegExp): RegExpExecArray | undefined {
    const sticky = new RegExp(pattern)
    sticky.lastIndex = this.#at
    const found = sticky.exec(this.#text) ?? undefined
    if (found !== undefined) this.#at = sticky.lastIndex
    return found
  }

  #blanks(): void {
    while (this.#text[this.#at] === ' ' || this.#text[this.#at] === '\t') this.#at++
  }
}

function others(ranges: readonly CodeRange[]): CodeRange[] {
  const out: CodeRange[] = []
  let next = 0
  for (const [from, to] of [...ranges].sort(([a], [b]) => a - b)) {
    if (from > next) out.push([next, from - 1])
    next = Math.max(next, to + 1)
  }
  if (next <= CODE_MAX) out.push([next, CODE_MAX])
  return out
}
