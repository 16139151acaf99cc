/**
 * The automaton of a regular language, which becomes rules of a grammar: one for each state.
 *
 * Made by derivatives (Brzozowski 1964; Owens, Reppy, Turon 2009): a state is what may still follow. It is
 * deterministic, so that the engine has one alternative open at a time.
 * Tested by test/inference/grammar.ts.
 */
import { assert } from '../base/errors.ts'
import { after, type Range, type Regular } from './grammar-regular.ts'

const STATES_MAX = 3_000

/** Work that may still be done, in characters of keys: a million take some ten milliseconds. */
export interface Budget {
  left: number
}

export interface State {
  readonly accepts: boolean
  readonly steps: readonly { readonly ranges: readonly Range[]; readonly to: number }[]
}

/**
 * The automaton without states that lead nowhere; 0 is the start.
 * @param alphabet characters outside it do not exist
 * @param budget is spent; it bounds expressions that grow as they are derived
 * @returns undefined if it has more than `STATES_MAX` states or is too much work; [] if nothing is accepted
 */
export function automaton(
  of: Regular,
  alphabet: readonly Range[],
  budget: Budget,
): readonly State[] | undefined {
  const states: Regular[] = [of]
  const numbers = new Map([[of.key, 0]])
  const table: Map<number, Range[]>[] = []
  for (let at = 0; at < states.length; at++) {
    const state = states[at]
    assert(state !== undefined, 'every number has a state')
    const steps = new Map<number, Range[]>()
    for (const range of pieces(state, alphabet)) {
      const next = after(state, range.from)
      if (next.kind === 'none') continue
      const to = numbers.get(next.key) ?? states.push(next) - 1
      numbers.set(next.key, to)
      budget.left -= next.key.length
      if (states.length > STATES_MAX || budget.left < 0) return undefined
      const known = steps.get(to)
      const last = known?.at(-1)
      if (known === undefined) steps.set(to, [range])
      else if (last?.to === range.from - 1)
        known[known.length - 1] = { from: last.from, to: range.to }
      else known.push(range)
    }
    table.push(steps)
  }
  return trimmed(states, table)
}

function pieces(state: Regular, alphabet: readonly Range[]): Range[] {
  const cuts = new Set<number>()
  borders(state, cuts)
  const sorted = [...cuts].sort((a, b) => a - b)
  return alphabet.flatMap(({ from, to }) => {
    const starts = [from, ...sorted.filter((cut) => cut > from && cut <= to)]
    return starts.map((start, at) => ({ from: start, to: (starts[at + 1] ?? to + 1) - 1 }))
  })
}

/** Without the states from which no accepted text can be reached. */
function trimmed(states: readonly Regular[], table: readonly Map<number, Range[]>[]): State[] {
  const useful = states.map((state) => state.nullable)
  for (let changed = true; changed; ) {
    changed = false
    for (const [at, steps] of [...table.entries()].reverse())
      if (!useful[at] && [...steps.keys()].some((to) => useful[to])) changed = useful[at] = true
  }
  if (!useful[0]) return []
  const numbers = new Map<number, number>()
  for (const [at, is] of useful.entries()) if (is) numbers.set(at, numbers.size)
  return [...numbers.keys()].map((at) => ({
    accepts: states[at]?.nullable ?? false,
    steps: [...(table[at] ?? [])].flatMap(([to, ranges]) => {
      const number = numbers.get(to)
      return number === undefined ? [] : [{ ranges, to: number }]
    }),
  }))
}

/** Where the answer to "what follows after this character" may change. */
function borders(of: Regular, into: Set<number>): void {
  switch (of.kind) {
    case 'none':
    case 'empty':
      return
    case 'set':
      for (const { from, to } of of.ranges) into.add(from).add(to + 1)
      return
    case 'cat':
      borders(of.head, into)
      if (of.head.nullable) borders(of.tail, into)
      return
    case 'repeat':
    case 'not':
      borders(of.of, into)
      return
    case 'or':
    case 'and':
      for (const member of of.of) borders(member, into)
  }
}
