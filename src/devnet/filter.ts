/**
 * Subscription queries: `tm.event='Tx' AND message.sender='pokt1…'`.
 *
 * Conditions joined by AND; a condition holds when one of the values of its key does.
 * Source: cometbft libs/pubsub/query/syntax. Tested by test/devnet/filter.ts.
 */
import { DevnetError } from './errors.ts'

type Operator = '=' | '<' | '<=' | '>' | '>=' | 'CONTAINS' | 'EXISTS'

export interface Condition {
  readonly key: string
  readonly operator: Operator
  readonly value: string
}

const KEY = /^\s*([\w.:/-]+)\s*/
const OPERATOR = /^(<=|>=|=|<|>|CONTAINS\b|EXISTS\b)\s*/
const VALUE = /^(?:'([^']*)'|(?:TIME|DATE)\s+\S+|(-?\d+(?:\.\d+)?))\s*/

/** @throws DevnetError REFUSED with where it stopped making sense */
export function parseQuery(query: string): Condition[] {
  const conditions: Condition[] = []
  let at = 0
  const take = (pattern: RegExp): RegExpExecArray => {
    const match = pattern.exec(query.slice(at))
    if (match === null) throw stopped(query, at)
    at += match[0].length
    return match
  }
  for (;;) {
    const key = take(KEY)[1] ?? ''
    const operator = (take(OPERATOR)[1] ?? '=') as Operator
    const [, text, number] = operator === 'EXISTS' ? [] : take(VALUE)
    conditions.push({ key, operator, value: text ?? number ?? '' })
    if (at >= query.length) return conditions
    take(/^AND\b/)
  }
}

function stopped(query: string, at: number): DevnetError {
  const what = at >= query.length || /['"]/.test(query[at] ?? '') ? 'EOF' : 'unexpected token'
  const offset = what === 'EOF' ? query.length : at
  return new DevnetError('REFUSED', `failed to parse query: offset ${offset}: ${what}`)
}

export function matches(
  conditions: readonly Condition[],
  events: Readonly<Record<string, readonly string[]>>,
): boolean {
  return conditions.every(({ key, operator, value }) => {
    const found = Object.hasOwn(events, key) ? events[key] : undefined
    return found?.some((one) => holds(operator, one, value)) ?? false
  })
}

function holds(operator: Operator, found: string, value: string): boolean {
  if (operator === 'EXISTS') return true
  if (operator === '=') return found === value
  if (operator === 'CONTAINS') return found.includes(value)
  const [a, b] = [Number(found), Number(value)]
  if (operator === '<') return a < b
  if (operator === '<=') return a <= b
  return operator === '>' ? a > b : a >= b
}
