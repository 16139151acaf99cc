/**
 * Texts as JSON strings in a grammar.
 *
 * Where a text is not free, each character has one spelling, that of `JSON.stringify`, so that lengths and
 * patterns count characters and names can be told apart. Control characters without a short escape are then
 * left out. Tested by test/inference/grammar.ts.
 */
import { automaton, type Budget, type State } from './grammar-automaton.ts'
import { and, lengths, type Range, type Regular, repeat, set } from './grammar-regular.ts'
import type { StringShape } from './schema-shape.ts'

const QUOTE = 0x22
const BACKSLASH = 0x5c
/** Written with a backslash, and the letter after it. */
const ESCAPES: ReadonlyMap<number, string> = new Map([
  [8, 'b'],
  [9, 't'],
  [10, 'n'],
  [12, 'f'],
  [13, 'r'],
  [QUOTE, '"'],
  [BACKSLASH, '\\'],
])
const ALPHABET: readonly Range[] = [
  { from: 8, to: 10 },
  { from: 12, to: 13 },
  { from: 0x20, to: 0xd7ff },
  { from: 0xe000, to: 0x10ffff },
]

/** @returns undefined: too large; []: no text fits */
export function textAutomaton(
  { min, max, language }: TextShape,
  budget: Budget,
): readonly State[] | undefined {
  const [least, most] = lengths(language)
  if (min <= least && most <= max) return automaton(language, ALPHABET, budget)
  const counted = repeat(set([{ from: 0, to: 0x10ffff }]), min, max)
  return automaton(and(language, counted), ALPHABET, budget)
}

/** Where the language is a row of any of some characters: those, and how many. */
export function rowOf({ min, max, language }: TextShape): TextRow | undefined {
  const row = language.kind === 'set' ? { of: language, min: 1, max: 1 } : language
  if (!('of' in row) || !('min' in row) || row.of.kind !== 'set') return undefined
  const inside = row.of.ranges.flatMap((range) =>
    ALPHABET.map(({ from, to }) => ({
      from: Math.max(from, range.from),
      to: Math.min(to, range.to),
    })),
  )
  const ranges = inside.filter(({ from, to }) => from <= to)
  const [least, most] = [Math.max(min, row.min), Math.min(max, row.max)]
  return ranges.length === 0 || most < least ? undefined : { ranges, min: least, max: most }
}

export interface TextRow {
  readonly ranges: readonly Range[]
  readonly min: number
  readonly max: number
}

/** A string that is not free. */
export type TextShape = StringShape & { readonly language: Regular }

/** Names of properties that are none of `names`. */
export function nameAutomaton(others: Regular, budget: Budget): readonly State[] | undefined {
  return automaton(others, ALPHABET, budget)
}

/** One character of `ranges` as alternatives of a GBNF rule: as it is, or with a backslash. */
export function spellings(ranges: readonly Range[]): string[] {
  const letters: string[] = []
  let plain = ranges.filter(({ to }) => to >= 0x20)
  for (const [code, letter] of ESCAPES) {
    if (!ranges.some(({ from, to }) => from <= code && code <= to)) continue
    letters.push(letter)
    plain = plain.flatMap((range) => without(range, code))
  }
  const codes = letters.map((letter) => letter.charCodeAt(0))
  return [
    ...(plain.length === 0 ? [] : [charClass(plain)]),
    ...(codes.length === 0
      ? []
      : [`"\\\\" ${charClass(codes.map((at) => ({ from: at, to: at })))}`]),
  ]
}

function without({ from, to }: Range, code: number): Range[] {
  if (code < from || code > to) return [{ from, to }]
  return [
    { from, to: code - 1 },
    { from: code + 1, to },
  ].filter((range) => range.from <= range.to)
}

export function charClass(ranges: readonly Range[]): string {
  const parts = ranges.map(({ from, to }) =>
    from === to ? classChar(from) : `${classChar(from)}-${classChar(to)}`,
  )
  return `[${parts.join('')}]`
}

function classChar(code: number): string {
  const char = String.fromCodePoint(code)
  return /^[A-Za-z0-9 _.,:;/+@#%&()=]$/.test(char) ? char : hex(code)
}

function hex(code: number): string {
  if (code < 0x100) return `\\x${code.toString(16).padStart(2, '0')}`
  if (code < 0x10000) return `\\u${code.toString(16).padStart(4, '0')}`
  return `\\U${code.toString(16).padStart(8, '0')}`
}

/** `value` itself as a GBNF literal. */
export function literal(value: string): string {
  const chars = [...value].map((char) => {
    const code = char.codePointAt(0) ?? 0
    if (char === '"' || char === '\\') return `\\${char}`
    return code < 0x20 || code > 0x7e ? hex(code) : char
  })
  return `"${chars.join('')}"`
}
