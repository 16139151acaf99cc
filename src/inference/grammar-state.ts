/**
 * Where an answer stands in its grammar: which bytes may come next, and whether it may end.
 *
 * All readings of the text so far are followed at the same time. A reading is a stack of what is still to
 * come; stacks share their lower parts and equal ones are one, so that an ambiguous grammar costs no more
 * than its ambiguity at one place. What follows a set of readings is remembered, up to a limit: inside a
 * string every token is then a few look-ups. Tokens may end inside a character: the rest of it then has to
 * be one that the grammar takes. Tested by test/inference/grammar-state.ts.
 */
import { assert } from '../base/errors.ts'
import { badRequest, type InferenceError } from './errors.ts'
import { leastBytes, leastOf } from './grammar-least.ts'
import { type Expression, parseGrammar } from './grammar-text.ts'
import { type CharacterAt, characterAt } from './utf8.ts'

/** What is still to come, from the top: an expression (with how often it was repeated), then the rest. */
interface Stack {
  readonly id: number
  readonly top: Expression
  readonly count: number
  readonly rest: Stack | undefined
  /** Bytes that it takes at least. */
  readonly least: number
}

type Characters = Extract<Expression, { kind: 'chars' }>

/** One reading: the next character, and what comes after it. */
interface Reading {
  readonly next: Characters
  readonly rest: Stack | undefined
}

interface Readings {
  readonly open: readonly Reading[]
  readonly canEnd: boolean
  /** Bytes to an end, at least. */
  readonly least: number
  /** By the code of the next character, as far as it was asked. */
  readonly next: Map<number, Readings>
}

/** So many readings at one place are too many to follow for every token. */
const READINGS_MAX = 10_000
/** Stacks and steps that are remembered; then all of them are forgotten. */
const REMEMBERED_MAX = 50_000

export class GrammarState {
  readonly #rules: ReadonlyMap<string, Expression>
  readonly #stacks = new Map<string, Stack>()
  readonly #ids = new Map<Expression, number>()
  readonly #least: (expression: Expression) => number
  /** What follows a stack is the same whenever it comes up. */
  readonly #known = new Map<number, Readings>()
  /** Equal sets of readings are one. */
  readonly #equal = new Map<string, Readings>()
  #stackCount = 0
  #remembered = 0
  #readings: Readings
  /** Bytes of a character that is not whole yet. */
  #partial: Uint8Array = new Uint8Array(0)

  /** @param grammar as grammar.ts writes it */
  constructor(grammar: string) {
    this.#rules = parseGrammar(grammar)
    this.#least = leastOf(this.#rules)
    this.#readings = this.#closure(this.#stack(this.#rule('root'), 0, undefined))
  }

  get canEnd(): boolean {
    return this.#partial.length === 0 && this.#readings.canEnd
  }

  /** Bytes that the text still needs, at least. */
  get least(): number {
    return this.#after(NOTHING)?.least ?? Number.POSITIVE_INFINITY
  }

  /**
   * Whether the text may go on with these bytes, and end within `room` more. Changes nothing.
   * @throws InferenceError BAD_REQUEST: the grammar can be read in too many ways
   */
  allows(bytes: Uint8Array, room = Number.POSITIVE_INFINITY): boolean {
    const after = this.#after(bytes)
    return after !== undefined && after.least <= room
  }

  /** The text goes on with these bytes, which were allowed. */
  advance(bytes: Uint8Array): void {
    const after = this.#after(bytes)
    assert(after !== undefined, 'only what was allowed is taken')
    this.#readings = after.readings
    this.#partial = after.partial
    if (this.#remembered > REMEMBERED_MAX) this.#forget()
  }

  #after(bytes: Uint8Array): After | undefined {
    const all = this.#partial.length === 0 ? bytes : joined(this.#partial, bytes)
    let readings = this.#readings
    let at = 0
    while (at < all.length) {
      const byte = all[at] ?? 0
      if (byte < 0x80) {
        readings = this.#step(readings, byte)
        at++
      } else {
        const char = characterAt(all, at)
        if (char === undefined) return undefined
        if (!char.isWhole) return inside(readings, char, all.slice(at))
        readings = this.#step(readings, char.from)
        at += char.length
      }
      if (readings.open.length === 0 && !readings.canEnd) return undefined
    }
    return { readings, partial: NOTHING, least: readings.least }
  }

  #step(readings: Readings, code: number): Readings {
    if (readings.open.length === 0) return NONE
    const known = readings.next.get(code)
    if (known !== undefined) return known
    const rests = readings.open
      .filter(({ next }) => next.ranges.some(([from, to]) => from <= code && code <= to))
      .map(({ rest }) => this.#closure(rest))
    const [only] = rests
    const next =
      rests.length === 1 && only !== undefined
        ? only
        : this.#shared(
            rests.flatMap(({ open }) => open),
            rests.some(({ canEnd }) => canEnd),
          )
    readings.next.set(code, next)
    this.#remembered++
    return next
  }

  /** Every way to the next character. */
  #closure(stack: Stack | undefined): Readings {
    if (stack === undefined) return END
    const known = this.#known.get(stack.id)
    if (known !== undefined) return known
    const open: Reading[] = []
    const seen = new Set<number>()
    let canEnd = false
    const todo: (Stack | undefined)[] = [stack]
    while (todo.length > 0) {
      const next = todo.pop()
      if (next === undefined) {
        canEnd = true
        continue
      }
      if (seen.has(next.id)) continue
      seen.add(next.id)
      if (seen.size > READINGS_MAX) throw tooAmbiguous()
      if (next.top.kind === 'chars') open.push({ next: next.top, rest: next.rest })
      else todo.push(...this.#unfolded(next))
    }
    const readings = this.#shared(open, canEnd)
    this.#known.set(stack.id, readings)
    return readings
  }

  /** The same set of readings as before, if there was one. */
  #shared(open: readonly Reading[], canEnd: boolean): Readings {
    if (open.length === 0) return canEnd ? END : NONE
    const byKey = new Map(
      open.map((reading) => [`${this.#idOf(reading.next)} ${reading.rest?.id}`, reading]),
    )
    if (byKey.size > READINGS_MAX) throw tooAmbiguous()
    const key = `${[...byKey.keys()].sort().join()} ${canEnd}`
    const known = this.#equal.get(key)
    if (known !== undefined) return known
    const all = [...byKey.values()]
    const needs = all.map(({ next, rest }) => leastBytes(next.ranges) + (rest?.least ?? 0))
    const least = canEnd ? 0 : Math.min(...needs)
    const readings = { open: all, canEnd, least, next: new Map() }
    this.#equal.set(key, readings)
    this.#remembered += byKey.size
    return readings
  }

  /** Stacks that are still needed stay alive by themselves; equal ones are then two for a while. */
  #forget(): void {
    this.#readings = { ...this.#readings, next: new Map() }
    for (const memory of [this.#stacks, this.#known, this.#equal]) memory.clear()
    this.#remembered = 0
  }

  #unfolded({ top, count, rest }: Stack): (Stack | undefined)[] {
    switch (top.kind) {
      case 'chars':
        return []
      case 'rule':
        return [this.#stack(this.#rule(top.name), 0, rest)]
      case 'either':
        return top.of.map((one) => this.#stack(one, 0, rest))
      case 'sequence':
        return [
          top.of.reduceRight<Stack | undefined>((below, one) => this.#stack(one, 0, below), rest),
        ]
      case 'repeat': {
        const { of, min, max } = top
        // Without an end only the least number counts.
        const done = max === Number.POSITIVE_INFINITY ? Math.min(count + 1, min) : count + 1
        const again = count < max ? [this.#stack(of, 0, this.#stack(top, done, rest))] : []
        return count >= min ? [...again, rest] : again
      }
    }
  }

  #stack(top: Expression, count: number, rest: Stack | undefined): Stack {
    const key = `${this.#idOf(top)} ${count} ${rest?.id}`
    const known = this.#stacks.get(key)
    if (known !== undefined) return known
    const each = this.#least(top.kind === 'repeat' ? top.of : top)
    const own = top.kind !== 'repeat' ? each : top.min > count ? (top.min - count) * each : 0
    const least = own + (rest?.least ?? 0)
    const stack = { id: this.#stackCount++, top, count, rest, least }
    this.#stacks.set(key, stack)
    this.#remembered++
    return stack
  }

  #idOf(expression: Expression): number {
    const known = this.#ids.get(expression) ?? this.#ids.size
    this.#ids.set(expression, known)
    return known
  }

  #rule(name: string): Expression {
    const rule = this.#rules.get(name)
    assert(rule !== undefined, 'a rule that is named is there')
    return rule
  }
}

const NOTHING = new Uint8Array(0)
/** Nothing may follow these, so nothing is ever remembered in them. */
const END: Readings = { open: [], canEnd: true, least: 0, next: new Map() }
const NONE: Readings = { ...END, canEnd: false, least: Number.POSITIVE_INFINITY, next: new Map() }

/** Between two characters, or inside one. */
interface After {
  readonly readings: Readings
  readonly partial: Uint8Array
  readonly least: number
}

/** @returns undefined: no reading goes on with such a character */
function inside(readings: Readings, char: CharacterAt, partial: Uint8Array): After | undefined {
  const needs = readings.open
    .filter(({ next }) => next.ranges.some(([from, to]) => from <= char.to && to >= char.from))
    .map(({ rest }) => char.length - partial.length + (rest?.least ?? 0))
  return needs.length === 0 ? undefined : { readings, partial, least: Math.min(...needs) }
}

function tooAmbiguous(): InferenceError {
  return badRequest(
    'response_format',
    'The schema can be read in too many ways at the same time.',
    'unsupported_schema',
  )
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  const out = new Uint8Array(a.length + b.length)
  out.set(a)
  out.set(b, a.length)
  return out
}
