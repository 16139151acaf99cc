/**
 * The least that a part of a grammar takes, in bytes of UTF-8.
 *
 * Tested by test/inference/grammar-state.ts.
 */
import type { Expression } from './grammar-text.ts'

/** @returns bytes of the shortest text of an expression; Infinity where there is none */
export function leastOf(
  rules: ReadonlyMap<string, Expression>,
): (expression: Expression) => number {
  const byRule = new Map<string, number>()
  const least = (expression: Expression): number => {
    switch (expression.kind) {
      case 'chars':
        return leastBytes(expression.ranges)
      case 'rule':
        return byRule.get(expression.name) ?? Number.POSITIVE_INFINITY
      case 'either':
        return Math.min(...expression.of.map(least))
      case 'sequence':
        return expression.of.reduce((sum, one) => sum + least(one), 0)
      case 'repeat':
        return expression.min === 0 ? 0 : expression.min * least(expression.of)
    }
  }
  // Rules name each other, so their lengths are lowered until nothing changes.
  let changed = true
  while (changed) {
    changed = false
    for (const [name, body] of rules) {
      const now = least(body)
      if (now >= (byRule.get(name) ?? Number.POSITIVE_INFINITY)) continue
      byRule.set(name, now)
      changed = true
    }
  }
  const known = new Map<Expression, number>()
  return (expression) => {
    const before = known.get(expression)
    if (before !== undefined) return before
    const now = least(expression)
    known.set(expression, now)
    return now
  }
}

/** Of one character. */
export function leastBytes(ranges: readonly (readonly [number, number])[]): number {
  const code = Math.min(...ranges.map(([from]) => from))
  return code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4
}
