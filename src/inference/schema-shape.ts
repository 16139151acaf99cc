/**
 * A JSON Schema as what it allows: the form between reading (schema.ts) and grammars (grammar.ts).
 *
 * Everything that is checked is checked by then: bounds are the right way round, references lead
 * somewhere, names are decided. Tested by test/inference/schema.ts.
 */
import { assert } from '../base/errors.ts'
import { matches, type Regular } from './grammar-regular.ts'
import type { JsonObject } from './request.ts'

/** Lengths are in characters (code points), as the standard counts. */
export interface StringShape {
  readonly kind: 'string'
  readonly min: number
  readonly max: number
  /** Of `pattern` and `format`; absent: any text. */
  readonly language?: Regular
}

/** A bound of a number; JSON's own numbers, so as exact as they were written. */
export interface Bound {
  readonly at: number
  /** The bound itself is not allowed. */
  readonly open: boolean
}

export interface NumberShape {
  readonly kind: 'number'
  readonly integer: boolean
  readonly min?: Bound
  readonly max?: Bound
}

export interface ArrayShape {
  readonly kind: 'array'
  readonly prefix: readonly Shape[]
  /** What comes after the prefix. */
  readonly items: Shape
  readonly min: number
  readonly max: number
}

export interface Property {
  readonly name: string
  readonly shape: Shape
  readonly required: boolean
}

export interface ObjectShape {
  readonly kind: 'object'
  /** In the order of the schema; one of the shape `never` must not be there. */
  readonly properties: readonly Property[]
  /** What properties of other names hold. */
  readonly rest: Shape
  /** The schema says so itself. */
  readonly restSaid: boolean
  /** The schema has a list of properties: where `rest` is not said, there are no others. */
  readonly listed: boolean
}

export type Shape =
  | { readonly kind: 'any' | 'never' | 'null' | 'boolean' }
  /** A string, number, boolean or null; objects and arrays in `const` are shapes of their own. */
  | { readonly kind: 'literal'; readonly value: string | number | boolean | null }
  | StringShape
  | NumberShape
  | ArrayShape
  | ObjectShape
  | { readonly kind: 'union'; readonly of: readonly Shape[] }
  /** `target` is a key of `Schema.definitions`. */
  | { readonly kind: 'reference'; readonly target: string }

/** A schema that was read: what it allows, and what its references lead to. */
export interface Schema {
  readonly root: Shape
  readonly definitions: ReadonlyMap<string, Shape>
}

export const ANY: Shape = { kind: 'any' }
export const NEVER: Shape = { kind: 'never' }
export const ANY_OBJECT: ObjectShape = {
  kind: 'object',
  properties: [],
  rest: ANY,
  restSaid: false,
  listed: false,
}

export function union(of: readonly Shape[]): Shape {
  const members = of
    .flatMap((shape) => (shape.kind === 'union' ? shape.of : [shape]))
    .filter(({ kind }) => kind !== 'never')
  const [first = NEVER] = members
  if (members.some(({ kind }) => kind === 'any')) return ANY
  return members.length > 1 ? { kind: 'union', of: members } : first
}

/** The shape that allows exactly `value`. */
export function exactly(value: unknown): Shape {
  if (Array.isArray(value)) {
    const prefix = value.map(exactly)
    return { kind: 'array', prefix, items: NEVER, min: prefix.length, max: prefix.length }
  }
  if (typeof value === 'object' && value !== null) {
    const properties = Object.entries(value).map(([name, of]) => ({
      name,
      shape: exactly(of),
      required: true,
    }))
    return { kind: 'object', properties, rest: NEVER, restSaid: true, listed: true }
  }
  return { kind: 'literal', value: value as string | number | boolean | null }
}

/** Gives what a reference leads to. */
export type Follow = (target: string) => Shape

export function followIn(definitions: Schema['definitions']): Follow {
  return (target) => {
    const shape = definitions.get(target)
    assert(shape !== undefined, 'a reference leads to a definition')
    return shape
  }
}

/** Whether `shape` allows a JSON value. */
export function allows(shape: Shape, value: unknown, follow: Follow): boolean {
  switch (shape.kind) {
    case 'any':
      return true
    case 'never':
      return false
    case 'null':
      return value === null
    case 'boolean':
      return typeof value === 'boolean'
    case 'literal':
      return value === shape.value
    case 'string':
      return typeof value === 'string' && allowsText(shape, value)
    case 'number':
      return typeof value === 'number' && allowsNumber(shape, value)
    case 'array':
      return Array.isArray(value) && allowsArray(shape, value, follow)
    case 'object':
      return isRecord(value) && allowsObject(shape, value, follow)
    case 'union':
      return shape.of.some((member) => allows(member, value, follow))
    case 'reference':
      return allows(follow(shape.target), value, follow)
  }
}

function isRecord(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function allowsText(shape: StringShape, value: string): boolean {
  const length = [...value].length
  if (length < shape.min || length > shape.max) return false
  return shape.language === undefined || matches(shape.language, value)
}

function allowsNumber({ integer, min, max }: NumberShape, value: number): boolean {
  if (integer && !Number.isInteger(value)) return false
  if (min !== undefined && (value < min.at || (min.open && value === min.at))) return false
  return max === undefined || value < max.at || (!max.open && value === max.at)
}

function allowsArray(shape: ArrayShape, value: readonly unknown[], follow: Follow): boolean {
  if (value.length < shape.min || value.length > shape.max) return false
  return value.every((item, at) => allows(shape.prefix[at] ?? shape.items, item, follow))
}

function allowsObject(shape: ObjectShape, value: JsonObject, follow: Follow): boolean {
  const { properties, rest } = shape
  if (properties.some(({ name, required }) => required && !Object.hasOwn(value, name))) return false
  const names = new Map(properties.map((property) => [property.name, property.shape]))
  return Object.entries(value).every(([name, of]) => allows(names.get(name) ?? rest, of, follow))
}
