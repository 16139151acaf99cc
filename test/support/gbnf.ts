/**
 * A small reader of GBNF, by which tests judge our grammars: written from the description of the form and
 * without knowledge of how we make them. Classes, literals, groups, repetitions and rules.
 */
import { strict as assert } from 'node:assert'

type Item =
  | { readonly kind: 'chars'; readonly ranges: readonly (readonly [number, number])[] }
  | { readonly kind: 'rule'; readonly name: string }
  | { readonly kind: 'group'; readonly of: Alternatives }
  | { readonly kind: 'repeat'; readonly of: Item; readonly min: number; readonly max: number }
type Alternatives = readonly (readonly Item[])[]

export class Gbnf {
  readonly rules = new Map<string, Alternatives>()

  constructor(text: string) {
    for (const line of text.split('\n')) {
      if (line === '') continue
      const [, name, body] = /^([a-zA-Z0-9-]+) ::= ?(.*)$/.exec(line) ?? []
      assert(name !== undefined && body !== undefined, `a rule: ${line.slice(0, 80)}`)
      assert(!this.rules.has(name), `${name} is defined once`)
      this.rules.set(name, new LineReader(body).whole())
    }
    for (const [name, of] of this.rules) this.#check(name, of)
  }

  #check(name: string, of: Alternatives): void {
    for (const item of of.flat()) {
      const inner = item.kind === 'repeat' ? item.of : item
      if (inner.kind === 'rule') assert(this.rules.has(inner.name), `${name} uses ${inner.name}`)
      if (inner.kind === 'group') this.#check(name, inner.of)
    }
  }

  /** Whether the whole of `text` is a `root`. */
  accepts(text: string): boolean {
    const codes = [...text].map((char) => char.codePointAt(0) ?? 0)
    return new Match(this.rules, codes).ends('root', 0).has(codes.length)
  }
}

/** Texts of a grammar, made by chance; after `fuel` choices always the shortest way to an end. */
export class Sampler {
  readonly #rules: ReadonlyMap<string, Alternatives>
  readonly #random: () => number
  /** How deep rules must go at least. */
  readonly #heights = new Map<string, number>()
  #fuel = 0

  constructor(grammar: Gbnf, random: () => number) {
    this.#rules = grammar.rules
    this.#random = random
    for (let changed = true; changed; ) {
      changed = false
      for (const [name, of] of this.#rules) {
        const height = 1 + Math.min(...of.map((items) => this.#height(items)))
        if (height === (this.#heights.get(name) ?? Number.POSITIVE_INFINITY)) continue
        this.#heights.set(name, height)
        changed = true
      }
    }
  }

  text(fuel: number): string {
    this.#fuel = fuel
    return this.#any(this.#rules.get('root') ?? [])
  }

  #height(items: readonly Item[]): number {
    return Math.max(
      0,
      ...items.map((item): number => {
        if (item.kind === 'rule') return this.#heights.get(item.name) ?? Number.POSITIVE_INFINITY
        if (item.kind === 'group') return Math.min(...item.of.map((of) => this.#height(of)))
        return item.kind === 'repeat' && item.min > 0 ? this.#height([item.of]) : 0
      }),
    )
  }

  #any(of: Alternatives): string {
    this.#fuel -= 1
    const heights = of.map((items) => this.#height(items))
    const least = Math.min(...heights)
    const open = of.filter((_, at) => this.#fuel > 0 || heights[at] === least)
    const items = open[Math.floor(this.#random() * open.length)] ?? []
    return items.map((item) => this.#item(item)).join('')
  }

  #item(item: Item): string {
    if (item.kind === 'rule') return this.#any(this.#rules.get(item.name) ?? [])
    if (item.kind === 'group') return this.#any(item.of)
    if (item.kind === 'chars') {
      const [from, to] = item.ranges[Math.floor(this.#random() * item.ranges.length)] ?? [0, 0]
      const size = Math.min(to - from + 1, this.#random() < 0.9 ? 96 : to - from + 1)
      return String.fromCodePoint(from + Math.floor(this.#random() * size))
    }
    const most = Math.min(item.max, item.min + (this.#fuel > 0 ? 3 : 0))
    const count = item.min + Math.floor(this.#random() * (most - item.min + 1))
    return Array.from({ length: count }, () => this.#item(item.of)).join('')
  }
}

class Match {
  readonly #known = new Map<string, Set<number>>()
  readonly #rules: ReadonlyMap<string, Alternatives>
  readonly #codes: readonly number[]

  constructor(rules: ReadonlyMap<string, Alternatives>, codes: readonly number[]) {
    this.#rules = rules
    this.#codes = codes
  }

  /** Where a `name` that begins at `from` can end. */
  ends(name: string, from: number): Set<number> {
    const key = `${name} ${from}`
    const known = this.#known.get(key)
    if (known !== undefined) return known
    const out = this.#any(this.#rules.get(name) ?? [], from)
    this.#known.set(key, out)
    return out
  }

  #any(of: Alternatives, from: number): Set<number> {
    return new Set(of.flatMap((items) => [...this.#all(items, from)]))
  }

  #all(items: readonly Item[], from: number): Set<number> {
    let at = new Set([from])
    for (const item of items) {
      at = new Set([...at].flatMap((place) => [...this.#item(item, place)]))
      if (at.size === 0) break
    }
    return at
  }

  #item(item: Item, from: number): Set<number> {
    if (item.kind === 'rule') return this.ends(item.name, from)
    if (item.kind === 'group') return this.#any(item.of, from)
    if (item.kind === 'repeat') return this.#repeated(item, from)
    const code = this.#codes[from]
    const fits = code !== undefined && item.ranges.some(([a, b]) => a <= code && code <= b)
    return new Set(fits ? [from + 1] : [])
  }

  #repeated(item: Extract<Item, { kind: 'repeat' }>, from: number): Set<number> {
    const out = new Set<number>()
    let at = new Set([from])
    for (let count = 0; at.size > 0 && count <= item.max; count++) {
      if (count >= item.min) {
        const before = out.size
        for (const place of at) out.add(place)
        if (out.size === before && count > item.min) break
      }
      at = new Set([...at].flatMap((place) => [...this.#item(item.of, place)]))
    }
    return out
  }
}

class LineReader {
  readonly #text: string
  #at = 0

  constructor(text: string) {
    this.#text = text
  }

  whole(): Alternatives {
    const of = this.#alternatives()
    assert.equal(this.#at, this.#text.length, `read to the end: ${this.#text.slice(0, 120)}`)
    return of
  }

  #skip(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at
    const found = pattern.exec(this.#text)?.[0]
    this.#at += found?.length ?? 0
    return found
  }

  #alternatives(): Alternatives {
    const out: Item[][] = []
    do out.push(this.#sequence())
    while (this.#skip(/ *\| */y) !== undefined)
    return out
  }

  #sequence(): Item[] {
    const items: Item[] = []
    for (;;) {
      this.#skip(/ */y)
      const next = this.#text[this.#at]
      if (next === undefined || next === '|' || next === ')') return items
      const begun = items.length
      if (this.#skip(/"/y) !== undefined) {
        while (this.#skip(/"/y) === undefined) {
          const code = this.#char()
          items.push({ kind: 'chars', ranges: [[code, code]] })
        }
      } else if (this.#skip(/\[/y) !== undefined) items.push(this.#class())
      else if (this.#skip(/\( */y) !== undefined) {
        items.push({ kind: 'group', of: this.#alternatives() })
        assert(this.#skip(/ *\)/y) !== undefined, 'a group ends')
      } else {
        const name = this.#skip(/[a-zA-Z0-9-]+/y)
        assert(name !== undefined, `an item: ${this.#text.slice(this.#at, this.#at + 60)}`)
        items.push({ kind: 'rule', name })
      }
      this.#repeat(items, begun)
    }
  }

  /** Of a literal the whole is repeated. */
  #repeat(items: Item[], begun: number): void {
    const sign = this.#skip(/[*+?]|\{\d+(,\d*)?\}/y)
    if (sign === undefined) return
    const [, min = '', comma, max = ''] = /^\{(\d+)(,?)(\d*)\}$/.exec(sign) ?? []
    const limits: Record<string, readonly [number, number]> = {
      '*': [0, Number.POSITIVE_INFINITY],
      '+': [1, Number.POSITIVE_INFINITY],
      '?': [0, 1],
    }
    const most = comma === '' ? Number(min) : max === '' ? Number.POSITIVE_INFINITY : Number(max)
    const [least, limit] = limits[sign] ?? [Number(min), most]
    assert(least <= 2000 && (limit <= 2000 || limit === Number.POSITIVE_INFINITY), sign)
    const of: Item = { kind: 'group', of: [items.splice(begun)] }
    items.push({ kind: 'repeat', of, min: least, max: limit })
  }

  #class(): Item {
    assert(this.#skip(/\^/y) === undefined, 'no inverted class is made')
    const ranges: [number, number][] = []
    while (this.#skip(/\]/y) === undefined) {
      const from = this.#char()
      const isRange = this.#skip(/-(?!\])/y) !== undefined
      ranges.push([from, isRange ? this.#char() : from])
    }
    return { kind: 'chars', ranges }
  }

  #char(): number {
    const coded = this.#skip(/\\(x[\da-fA-F]{2}|u[\da-fA-F]{4}|U[\da-fA-F]{8})/y)
    if (coded !== undefined) return Number.parseInt(coded.slice(2), 16)
    const escaped = this.#skip(/\\[trn\\"[\]-]/y)
    if (escaped !== undefined) {
      const known: Record<string, string> = { t: '\t', r: '\r', n: '\n' }
      return (known[escaped[1] ?? ''] ?? escaped[1] ?? '').charCodeAt(0)
    }
    const char = this.#skip(/[^\\]/uy)
    assert(char !== undefined, `a character: ${this.#text.slice(this.#at, this.#at + 20)}`)
    return char.codePointAt(0) ?? 0
  }
}
