/**
 * Moving through a schema as the caller wrote it: places, limits, checked fields. And through a shape.
 *
 * Tested by test/inference/schema.ts.
 */
import { utf8 } from '../base/bytes.ts'
import { badRequest } from './errors.ts'
import type { JsonObject } from './request.ts'
import type { Shape } from './schema-shape.ts'

const SCHEMA_BYTES_MAX = 64 * 1024
const SCHEMA_DEPTH_MAX = 64

export function isRecord(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The place of `key` in the object at `at`, as the caller would write it. */
export function child(at: string, key: string): string {
  if (/^[A-Za-z_$][\w$-]*$/.test(key)) return `${at}.${key}`
  return `${at}[${JSON.stringify(key.length > 60 ? `${key.slice(0, 60)}…` : key)}]`
}

/** @throws InferenceError BAD_REQUEST for a schema that is too deep or too long to be looked at */
export function measure(schema: unknown, param: string): void {
  let level: unknown[] = [schema]
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > SCHEMA_DEPTH_MAX)
      throw badRequest(param, `'${param}' is nested more than ${SCHEMA_DEPTH_MAX} levels deep.`)
    level = level.flatMap((value) =>
      typeof value === 'object' && value !== null ? Object.values(value) : [],
    )
  }
  if (utf8(JSON.stringify(schema) ?? '').length > SCHEMA_BYTES_MAX)
    throw badRequest(param, `'${param}' is longer than ${SCHEMA_BYTES_MAX} bytes of JSON.`)
}

/** A count such as `minLength`; `absent` where the schema says nothing. */
export function wholeNumber(raw: JsonObject, keyword: string, at: string, absent: number): number {
  const value = raw[keyword] ?? absent
  if (value === absent) return absent
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0)
    throw badRequest(`${at}.${keyword}`, `'${at}.${keyword}' must be an integer of at least 0.`)
  return value
}

/** The shapes that a value of `shape` must hold if it holds as little as it may. */
export function subschemas(shape: Shape): readonly Shape[] {
  if (shape.kind === 'object')
    return shape.properties.filter(({ required }) => required).map((property) => property.shape)
  if (shape.kind !== 'array') return []
  const needed = shape.prefix.slice(0, shape.min)
  return shape.min > shape.prefix.length ? [...needed, shape.items] : needed
}
