/**
 * A small validator of JSON Schema for the keywords that we serve, straight from the standard: tests judge by it
 * what our grammars let through. Like them it takes an object with a list of properties as closed.
 */
import { isDeepStrictEqual } from 'node:util'

type Json = Record<string, unknown>

export function isValid(schema: unknown, value: unknown, root: unknown = schema): boolean {
  if (typeof schema === 'boolean') return schema
  const of = schema as Json
  const valid = (part: unknown, item: unknown) => isValid(part, item, root)
  if (of['nullable'] === true && value === null) return true
  const checks: Readonly<Record<string, (said: never) => boolean>> = {
    $ref: (ref: string) => valid(pointed(root, ref), value),
    type: (types: string | string[]) => [types].flat().some((type) => hasType(type, value)),
    enum: (values: unknown[]) => values.some((one) => isDeepStrictEqual(one, value)),
    const: (one: unknown) => isDeepStrictEqual(one, value),
    allOf: (parts: unknown[]) => parts.every((part) => valid(part, value)),
    anyOf: (parts: unknown[]) => parts.some((part) => valid(part, value)),
    oneOf: (parts: unknown[]) => parts.some((part) => valid(part, value)),
  }
  for (const [keyword, check] of Object.entries(checks))
    if (
      Object.hasOwn(of, keyword) &&
      (of[keyword] !== null || keyword === 'const') &&
      !check(of[keyword] as never)
    )
      return false
  if (typeof value === 'string') return isValidText(of, value)
  if (typeof value === 'number') return isValidNumber(of, value)
  if (Array.isArray(value)) return isValidList(of, value, valid)
  return value === null || typeof value !== 'object' || isValidObject(of, value as Json, valid)
}

function pointed(root: unknown, ref: string): unknown {
  let at = root
  for (const key of ref.split('/').slice(1))
    at = (at as Json)[decodeURIComponent(key).replaceAll('~1', '/').replaceAll('~0', '~')]
  return at
}

function hasType(type: string, value: unknown): boolean {
  if (type === 'null') return value === null
  if (type === 'array') return Array.isArray(value)
  if (type === 'object') return typeof value === 'object' && value !== null && !Array.isArray(value)
  if (type === 'integer') return Number.isInteger(value)
  return typeof value === type
}

function isValidText(of: Json, value: string): boolean {
  const length = [...value].length
  if (length < number(of['minLength'], 0) || length > number(of['maxLength'], Infinity))
    return false
  const { pattern } = of
  return typeof pattern !== 'string' || new RegExp(pattern, 'u').test(value)
}

function number(value: unknown, absent: number): number {
  return typeof value === 'number' ? value : absent
}

function isValidNumber(of: Json, value: number): boolean {
  if (value < number(of['minimum'], -Infinity) || value > number(of['maximum'], Infinity))
    return false
  return (
    value > number(of['exclusiveMinimum'], -Infinity) &&
    value < number(of['exclusiveMaximum'], Infinity)
  )
}

type Check = (part: unknown, item: unknown) => boolean

function isValidList(of: Json, value: readonly unknown[], valid: Check): boolean {
  if (value.length < number(of['minItems'], 0) || value.length > number(of['maxItems'], Infinity))
    return false
  const prefix = (of['prefixItems'] ?? []) as unknown[]
  return value.every((item, at) => valid(prefix[at] ?? of['items'] ?? true, item))
}

function isValidObject(of: Json, value: Json, valid: Check): boolean {
  const required = (of['required'] ?? []) as string[]
  if (!required.every((name) => Object.hasOwn(value, name))) return false
  const properties = (of['properties'] ?? {}) as Json
  const rest = of['additionalProperties'] ?? true
  return Object.entries(value).every(([name, item]) =>
    valid(Object.hasOwn(properties, name) ? properties[name] : rest, item),
  )
}
