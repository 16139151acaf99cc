/**
 * The rules of a grammar in GBNF, the form that llama.cpp reads.
 *
 * Its limits are kept here: a repetition is written out at most 2,000 times, a rule may not begin with itself,
 * and every alternative that is open at a place is tried for every token, so rules share their
 * beginnings. Rules that say the same are one. Tested by test/inference/grammar.ts.
 */

import type { State } from './grammar-automaton.ts'
import { charClass, literal, spellings } from './grammar-strings.ts'

const GRAMMAR_CHARS_MAX = 512 * 1024
/** Of repetitions, written out as the engine does. */
const COPIES_MAX = 100_000
/** Longer repetitions are written as blocks of blocks. */
const DIRECT_MAX = 256

export class Rules {
  readonly #bodies = new Map<string, string>()
  readonly #names = new Map<string, string>()
  readonly #refuse: () => Error
  readonly #prefix: string
  #size = 0
  #copies = 0

  /**
   * @param refuse makes the error for a grammar that grows too large
   * @param prefix of the names of rules: a letter
   */
  constructor(refuse: () => Error, prefix = 'r') {
    this.#refuse = refuse
    this.#prefix = prefix
  }

  /** A rule with this body; one that is there already serves. */
  add(body: string): string {
    const known = this.#names.get(body)
    if (known !== undefined) return known
    const name = this.reserve()
    this.define(name, body)
    this.#names.set(body, name)
    return name
  }

  /** A name whose rule is still to come. */
  reserve(): string {
    const name = `${this.#prefix}${this.#bodies.size}`
    this.#bodies.set(name, '')
    return name
  }

  define(name: string, body: string): void {
    this.#bodies.set(name, body)
    this.#size += name.length + body.length + 6
    if (this.#size > GRAMMAR_CHARS_MAX) throw this.#refuse()
  }

  /** @param atom the name of a rule, or a class */
  repeat(atom: string, min: number, max: number): string {
    if (max === Number.POSITIVE_INFINITY) {
      if (min === 0) return `${atom}*`
      return min <= DIRECT_MAX ? this.#copied(atom, min) : `${this.#exactly(atom, min)} ${atom}*`
    }
    if (max <= DIRECT_MAX) return this.#copied(atom, min, max)
    const parts = [min === 0 ? '' : this.#exactly(atom, min), this.#upTo(atom, max - min)]
    return parts.filter((part) => part !== '').join(' ')
  }

  #copied(atom: string, min: number, max?: number): string {
    this.#copies += max ?? min
    if (this.#copies > COPIES_MAX) throw this.#refuse()
    if (max === undefined) return `${atom}{${min},}`
    if (max === 0) return ''
    return min === 1 && max === 1 ? atom : `${atom}{${min},${max}}`
  }

  #exactly(atom: string, count: number): string {
    if (count <= DIRECT_MAX) return this.#copied(atom, count, count)
    const size = Math.ceil(Math.sqrt(count))
    const blocks = Math.floor(count / size)
    const block = this.add(this.#copied(atom, size, size))
    const rest = count - blocks * size
    const head = this.#copied(block, blocks, blocks)
    return rest === 0 ? head : `${head} ${this.#copied(atom, rest, rest)}`
  }

  /** Blocks, and then so many single ones that no count is left out. */
  #upTo(atom: string, count: number): string {
    if (count <= DIRECT_MAX) return this.#copied(atom, 0, count)
    const size = Math.ceil(Math.sqrt(count))
    const blocks = Math.floor((count - size + 1) / size)
    const block = this.add(this.#copied(atom, size, size))
    return `${this.#copied(block, 0, blocks)} ${this.#copied(atom, 0, count - blocks * size)}`
  }

  /** One of `texts`; those that begin alike share a rule. */
  oneOf(texts: readonly string[]): string {
    const sorted = [...new Set(texts)].sort()
    const first = [...(sorted[0] ?? '')]
    const last = [...(sorted.at(-1) ?? '')]
    let shared = 0
    while (shared < first.length && first[shared] === last[shared]) shared += 1
    const prefix = first.slice(0, shared).join('')
    if (sorted.length === 1) return literal(prefix)
    const byNext = new Map<string, string[]>()
    for (const text of sorted) {
      const code = text.codePointAt(prefix.length)
      const next = code === undefined ? '' : String.fromCodePoint(code)
      const group = byNext.get(next)
      if (group === undefined) byNext.set(next, [text.slice(prefix.length)])
      else group.push(text.slice(prefix.length))
    }
    const branches = this.add([...byNext.values()].map((group) => this.oneOf(group)).join(' | '))
    return prefix === '' ? branches : `${literal(prefix)} ${branches}`
  }

  /** The inside of a JSON string, with its closing quote: one rule for each state. */
  string(states: readonly State[]): string {
    return this.#states(states, spellings, literal('"'))
  }

  /** Plain characters. */
  plain(states: readonly State[]): string {
    return this.#states(states, (ranges) => [charClass(ranges)], '""')
  }

  #states(
    states: readonly State[],
    spell: (ranges: State['steps'][number]['ranges']) => string[],
    end: string,
  ): string {
    const names = states.map(() => this.reserve())
    for (const [at, { accepts, steps }] of states.entries()) {
      const alternatives = steps.flatMap(({ ranges, to }) =>
        spell(ranges).map((char) => `${char} ${names[to]}`),
      )
      this.define(names[at] ?? '', [...alternatives, ...(accepts ? [end] : [])].join(' | '))
    }
    return names[0] ?? ''
  }

  /** @param shared rules by name, after the root */
  text(root: string, shared: Readonly<Record<string, string>>): string {
    return lines([['root', root], ...Object.entries(shared), ...this.#bodies])
  }
}

function lines(rules: readonly (readonly [name: string, body: string])[]): string {
  return `${rules.map(([name, body]) => `${name} ::= ${body}`).join('\n')}\n`
}
