/**
 * What two shapes both allow: `allOf`, a `$ref` with neighbours, `anyOf` beside `properties`.
 *
 * Tested by test/inference/schema.ts.
 */
import { and } from './grammar-regular.ts'
import {
  type ArrayShape,
  allows,
  type Bound,
  type Follow,
  NEVER,
  type NumberShape,
  type ObjectShape,
  type Property,
  type Shape,
  type StringShape,
  union,
} from './schema-shape.ts'

export interface MeetDeps {
  /** What a reference leads to. @throws where that is not known yet, or the work grows too large */
  readonly follow: Follow
  /** Called for each pair of shapes, `depth` of them in each other. @throws when it becomes too many */
  spend(depth: number): void
}

export function meet(a: Shape, b: Shape, deps: MeetDeps): Shape {
  return meetAt(0, a, b, deps)
}

function meetAt(depth: number, a: Shape, b: Shape, deps: MeetDeps): Shape {
  deps.spend(depth)
  const both = (x: Shape, y: Shape) => meetAt(depth + 1, x, y, deps)
  if (a.kind === 'any' || b.kind === 'never') return b
  if (b.kind === 'any' || a.kind === 'never') return a
  if (a.kind === 'reference' && b.kind === 'reference' && a.target === b.target) return a
  if (a.kind === 'reference') return both(deps.follow(a.target), b)
  if (b.kind === 'reference') return both(a, deps.follow(b.target))
  if (a.kind === 'union') return union(a.of.map((member) => both(member, b)))
  if (b.kind === 'union') return union(b.of.map((member) => both(a, member)))
  if (a.kind === 'literal') return allows(b, a.value, deps.follow) ? a : NEVER
  if (b.kind === 'literal') return allows(a, b.value, deps.follow) ? b : NEVER
  if (a.kind === 'string' && b.kind === 'string') return meetStrings(a, b)
  if (a.kind === 'number' && b.kind === 'number') return meetNumbers(a, b)
  if (a.kind === 'array' && b.kind === 'array') return meetArrays(a, b, both)
  if (a.kind === 'object' && b.kind === 'object') return meetObjects(a, b, both)
  return a.kind === b.kind ? a : NEVER
}

function meetStrings(a: StringShape, b: StringShape): Shape {
  const min = Math.max(a.min, b.min)
  const max = Math.min(a.max, b.max)
  const languages = [a.language, b.language].filter((language) => language !== undefined)
  if (max < min) return NEVER
  return {
    kind: 'string',
    min,
    max,
    ...(languages.length === 0 ? {} : { language: and(...languages) }),
  }
}

function meetNumbers(a: NumberShape, b: NumberShape): Shape {
  const min = tighter(a.min, b.min, (x, y) => x > y)
  const max = tighter(a.max, b.max, (x, y) => x < y)
  return numberShape(a.integer || b.integer, min, max)
}

/** `never` where no number is left between the bounds. */
export function numberShape(integer: boolean, min?: Bound, max?: Bound): Shape {
  if (min !== undefined && max !== undefined) {
    if (min.at > max.at || (min.at === max.at && (min.open || max.open))) return NEVER
    if (integer && leastInteger(min) > -leastInteger({ at: -max.at, open: max.open })) return NEVER
  }
  return {
    kind: 'number',
    integer,
    ...(min === undefined ? {} : { min }),
    ...(max === undefined ? {} : { max }),
  }
}

/** The least integer that `min` allows. */
export function leastInteger({ at, open }: Bound): bigint {
  return BigInt(Math.ceil(at)) + (open && Number.isInteger(at) ? 1n : 0n)
}

function tighter(
  a: Bound | undefined,
  b: Bound | undefined,
  isTighter: (x: number, y: number) => boolean,
): Bound | undefined {
  if (a === undefined || b === undefined) return a ?? b
  if (a.at === b.at) return { at: a.at, open: a.open || b.open }
  return isTighter(a.at, b.at) ? a : b
}

type Both = (a: Shape, b: Shape) => Shape

function meetArrays(a: ArrayShape, b: ArrayShape, both: Both): Shape {
  const length = Math.max(a.prefix.length, b.prefix.length)
  const prefix = Array.from({ length }, (_, at) =>
    both(a.prefix[at] ?? a.items, b.prefix[at] ?? b.items),
  )
  const items = both(a.items, b.items)
  return arrayShape(prefix, items, Math.max(a.min, b.min), Math.min(a.max, b.max))
}

/** Cut where an item can't be; `never` where that leaves too few. */
export function arrayShape(
  prefix: readonly Shape[],
  items: Shape,
  min: number,
  max: number,
): Shape {
  const stop = prefix.findIndex(({ kind }) => kind === 'never')
  const ends = [stop === -1 ? max : stop, items.kind === 'never' ? prefix.length : max, max]
  const most = Math.min(...ends)
  if (most < min) return NEVER
  const kept = prefix.slice(0, most)
  return { kind: 'array', prefix: kept, items: kept.length < most ? items : NEVER, min, max: most }
}

function meetObjects(a: ObjectShape, b: ObjectShape, both: Both): Shape {
  const names = new Set([...a.properties, ...b.properties].map(({ name }) => name))
  const ofA = new Map(a.properties.map((property) => [property.name, property]))
  const ofB = new Map(b.properties.map((property) => [property.name, property]))
  const properties = [...names].map((name): Property => {
    const [x, y] = [ofA.get(name), ofB.get(name)]
    const shape = both(x?.shape ?? a.rest, y?.shape ?? b.rest)
    return { name, shape, required: (x?.required ?? false) || (y?.required ?? false) }
  })
  return objectShape(properties, both(a.rest, b.rest), {
    restSaid: a.restSaid || b.restSaid,
    listed: a.listed || b.listed,
  })
}

/** `never` where something must be there and can't. */
export function objectShape(
  properties: readonly Property[],
  rest: Shape,
  said: Pick<ObjectShape, 'restSaid' | 'listed'>,
): Shape {
  if (properties.some(({ shape, required }) => required && shape.kind === 'never')) return NEVER
  return { kind: 'object', properties, rest, ...said }
}
