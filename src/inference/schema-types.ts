/**
 * The keywords of JSON Schema that belong to one type: of strings, numbers, arrays and objects.
 *
 * Tested by test/inference/schema.ts.
 */
import { badRequest } from './errors.ts'
import { isExact } from './grammar-numbers.ts'
import { FORMATS, patternLanguage } from './grammar-pattern.ts'
import { and, type Regular } from './grammar-regular.ts'
import type { JsonObject } from './request.ts'
import { arrayShape, numberShape, objectShape } from './schema-meet.ts'
import { ANY, type Bound, NEVER, type Property, type Shape } from './schema-shape.ts'
import { child, isRecord, wholeNumber } from './schema-walk.ts'

export const TYPES = ['object', 'array', 'string', 'number', 'integer', 'boolean', 'null'] as const
export type TypeName = (typeof TYPES)[number]

/** Longer texts and lists are not counted by a grammar; the limit keeps grammars short. */
const COUNT_MAX = 100_000

export interface TypeDeps {
  read(raw: unknown, at: string): Shape
  /** @throws when there are too many */
  countProperties(count: number, at: string): void
}

/** Whose keywords are there, where no `type` says what is meant. */
const HINTS: readonly (readonly [TypeName, readonly string[]])[] = [
  ['object', ['properties', 'required', 'additionalProperties', 'minProperties', 'maxProperties']],
  ['array', ['items', 'prefixItems', 'additionalItems', 'minItems', 'maxItems']],
  ['string', ['minLength', 'maxLength', 'pattern', 'format']],
  ['number', ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum']],
]

/** @returns undefined: any */
export function typesOf(raw: JsonObject, at: string): readonly TypeName[] | undefined {
  const given = raw['type']
  if (given === undefined) {
    const meant = HINTS.filter(([, words]) => words.some((word) => raw[word] !== undefined))
    return meant.length === 0 ? undefined : meant.map(([type]) => type)
  }
  const place = `${at}.type`
  const list: unknown[] = Array.isArray(given) ? given : [given]
  const types = TYPES.filter((type) => list.includes(type))
  if (types.length === 0 || list.some((name) => !TYPES.some((type) => type === name)))
    throw badRequest(place, `'${place}' must be one or more of: ${TYPES.join(', ')}.`)
  return types.includes('number') ? types.filter((type) => type !== 'integer') : types
}

export function typeShape(type: TypeName, raw: JsonObject, at: string, deps: TypeDeps): Shape {
  switch (type) {
    case 'object':
      return readObject(raw, at, deps)
    case 'array':
      return readArray(raw, at, deps)
    case 'string':
      return readString(raw, at)
    case 'number':
    case 'integer':
      return readNumber(raw, at, type === 'integer')
    default:
      return { kind: type }
  }
}

/** @param words the names of the least and the most */
function limits(raw: JsonObject, words: readonly [string, string], at: string): [number, number] {
  const [least, most] = words
  const min = wholeNumber(raw, least, at, 0)
  const max = wholeNumber(raw, most, at, Number.POSITIVE_INFINITY)
  if (min > max) throw badRequest(`${at}.${least}`, `'${at}.${least}' is above '${most}'.`)
  for (const word of words) {
    const value = raw[word]
    if (typeof value === 'number' && value > COUNT_MAX)
      throw badRequest(`${at}.${word}`, `'${at}.${word}' must not be above ${COUNT_MAX}.`)
  }
  return [min, max]
}

function readString(raw: JsonObject, at: string): Shape {
  const [min, max] = limits(raw, ['minLength', 'maxLength'], at)
  const languages: Regular[] = []
  const { pattern, format } = raw
  if (pattern !== undefined) {
    const place = `${at}.pattern`
    if (typeof pattern !== 'string') throw badRequest(place, `'${place}' must be a string.`)
    languages.push(
      patternLanguage(pattern, (why) =>
        badRequest(place, `'${place}' ${why}.`, 'unsupported_parameter'),
      ),
    )
  }
  if (format !== undefined) languages.push(formatLanguage(format, `${at}.format`))
  return {
    kind: 'string',
    min,
    max,
    ...(languages.length === 0 ? {} : { language: and(...languages) }),
  }
}

function formatLanguage(format: unknown, at: string): Regular {
  const names = Object.keys(FORMATS)
  const known = names.find((name) => name === format)
  if (known === undefined)
    throw badRequest(at, `'${at}' must be one of: ${names.join(', ')}.`, 'unsupported_parameter')
  return patternLanguage(FORMATS[known] ?? '', (why) => badRequest(at, `'${at}' ${why}.`))
}

function readNumber(raw: JsonObject, at: string, integer: boolean): Shape {
  const min = bound(raw, ['minimum', 'exclusiveMinimum'], at, (x, y) => x > y)
  const max = bound(raw, ['maximum', 'exclusiveMaximum'], at, (x, y) => x < y)
  for (const [end, word] of [
    [min, 'exclusiveMinimum'],
    [max, 'exclusiveMaximum'],
  ] as const)
    if (end !== undefined && !isExact(end))
      throw badRequest(
        `${at}.${word}`,
        `'${at}.${word}' has too many digits to be kept out exactly.`,
        'unsupported_parameter',
      )
  const shape = numberShape(integer, min, max)
  if (shape.kind === 'never') {
    const place = `${at}.${raw['minimum'] === undefined ? 'exclusiveMinimum' : 'minimum'}`
    throw badRequest(place, `'${place}' leaves no number below the maximum.`)
  }
  return shape
}

/** In draft 4 `exclusiveMinimum: true` makes `minimum` exclusive; later it is a number of its own. */
function bound(
  raw: JsonObject,
  [closed, open]: readonly [string, string],
  at: string,
  isTighter: (x: number, y: number) => boolean,
): Bound | undefined {
  const flag = typeof raw[open] === 'boolean'
  const ends = [closed, open].flatMap((word): Bound[] => {
    const value = raw[word]
    if (value === undefined || (word === open && flag)) return []
    if (typeof value !== 'number' || !Number.isFinite(value))
      throw badRequest(`${at}.${word}`, `'${at}.${word}' must be a number.`)
    return [{ at: value, open: word === open || (flag && raw[open] === true) }]
  })
  const [first, second] = ends
  if (first === undefined || second === undefined) return first
  return isTighter(first.at, second.at) ? first : second
}

function readArray(raw: JsonObject, at: string, deps: TypeDeps): Shape {
  const [min, max] = limits(raw, ['minItems', 'maxItems'], at)
  // Before 2020-12 a list in `items` was what `prefixItems` is now, and `additionalItems` came after it.
  const old = Array.isArray(raw['items'])
  const [listed, others] = old ? ['items', 'additionalItems'] : ['prefixItems', 'items']
  const list = raw[listed] ?? []
  if (!Array.isArray(list))
    throw badRequest(`${at}.${listed}`, `'${at}.${listed}' must be a list of schemas.`)
  const prefix = list.map((item, index) => deps.read(item, `${at}.${listed}[${index}]`))
  const items = raw[others] === undefined ? ANY : deps.read(raw[others], `${at}.${others}`)
  const shape = arrayShape(prefix, items, min, max)
  if (shape.kind === 'never')
    throw badRequest(`${at}.minItems`, `'${at}.minItems' asks for more items than are allowed.`)
  return shape
}

function readObject(raw: JsonObject, at: string, deps: TypeDeps): Shape {
  const listed = raw['properties']
  if (listed !== undefined && !isRecord(listed))
    throw badRequest(`${at}.properties`, `'${at}.properties' must be an object.`)
  const required = readRequired(raw, at)
  const said = raw['additionalProperties']
  const rest = said === undefined ? ANY : deps.read(said, `${at}.additionalProperties`)
  const names = Object.keys(listed ?? {})
  deps.countProperties(names.length, `${at}.properties`)
  const properties = names.map((name): Property => {
    const shape = deps.read(listed?.[name], child(`${at}.properties`, name))
    return { name, shape, required: required.includes(name) }
  })
  for (const [index, name] of required.entries()) {
    if (names.includes(name)) continue
    if (rest.kind === 'never') {
      const place = `${at}.required[${index}]`
      throw badRequest(place, `'${place}' is not among the properties, and others are not allowed.`)
    }
    properties.push({ name, shape: rest, required: true })
  }
  const closed = rest.kind === 'never' || (said === undefined && listed !== undefined)
  checkCounts(raw, at, required.length, closed ? properties.length : Number.POSITIVE_INFINITY)
  return objectShape(properties, rest.kind === 'never' ? NEVER : rest, {
    restSaid: said !== undefined,
    listed: listed !== undefined,
  })
}

function readRequired(raw: JsonObject, at: string): string[] {
  const value = raw['required'] ?? []
  const place = `${at}.required`
  // Draft 3 and some generators write `required: true` at the property itself; it says nothing here.
  if (typeof value === 'boolean') return []
  if (!Array.isArray(value) || value.some((name) => typeof name !== 'string'))
    throw badRequest(place, `'${place}' must be a list of names.`)
  return [...new Set(value as string[])]
}

/** Grammars cannot count properties: only limits that hold anyway are served. */
function checkCounts(raw: JsonObject, at: string, least: number, most: number): void {
  const [min, max] = limits(raw, ['minProperties', 'maxProperties'], at)
  for (const [word, holds] of [
    ['minProperties', min <= least],
    ['maxProperties', max >= most],
  ] as const)
    if (!holds)
      throw badRequest(`${at}.${word}`, `'${word}' is not supported here.`, 'unsupported_parameter')
}
