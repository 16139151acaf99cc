/**
 * A JSON Schema of a request, read: the keywords that are served become shapes, others are refused by name.
 *
 * Served are drafts 4 to 2020-12 as far as their meaning fits a grammar; docs of what each keyword becomes
 * stand at its reader. Refusals name the field as the caller wrote it, down to the keyword. Two
 * liberties are taken, both to be said to callers: `oneOf` is read as `anyOf`, and an object with a list of
 * `properties` has no others unless `additionalProperties` says so. Tested by test/inference/schema.ts.
 */
import { badRequest, type InferenceError } from './errors.ts'
import type { JsonObject } from './request.ts'
import { type MeetDeps, meet } from './schema-meet.ts'
import { ANY, allows, exactly, NEVER, type Schema, type Shape, union } from './schema-shape.ts'
import { typeShape, typesOf } from './schema-types.ts'
import { child, isRecord, measure, subschemas } from './schema-walk.ts'

const ENUM_VALUES_MAX = 1_000
const PROPERTIES_MAX = 1_000
const MEETS_MAX = 5_000
/** Of schemas in each other, references followed. */
const DEPTH_MAX = 200

const NOT_SERVED = [
  'multipleOf',
  'not',
  'if',
  'then',
  'else',
  'patternProperties',
  'propertyNames',
  'contains',
  'minContains',
  'maxContains',
  'dependencies',
  'dependentRequired',
  'dependentSchemas',
  'unevaluatedItems',
  'unevaluatedProperties',
  '$dynamicRef',
  '$recursiveRef',
] as const

/**
 * @param param the schema's place in the body: `response_format.json_schema.schema`
 * @throws InferenceError BAD_REQUEST (data.param: the keyword at fault)
 */
export function readSchema(schema: unknown, param: string): Schema {
  measure(schema, param)
  return new SchemaReader(schema, param).whole()
}

class SchemaReader {
  readonly #raw: unknown
  readonly #param: string
  readonly #definitions = new Map<string, Shape>()
  readonly #begun = new Set<string>()
  #enumValues = 0
  #properties = 0
  #meets = 0
  #depth = 0

  constructor(raw: unknown, param: string) {
    this.#raw = raw
    this.#param = param
  }

  whole(): Schema {
    const root = this.#read(this.#raw, this.#param)
    if (root.kind === 'never') throw badRequest(this.#param, nothing(this.#param))
    this.#refuseEndless(root)
    return { root, definitions: this.#definitions }
  }

  #read(given: unknown, at: string): Shape {
    if (given === true) return ANY
    if (given === false) return NEVER
    if (!isRecord(given)) throw badRequest(at, `'${at}' must be an object or a boolean.`)
    const raw = said(given)
    this.#refuseKeywords(raw, at)
    if (++this.#depth > DEPTH_MAX)
      throw badRequest(at, `'${at}' lies more than ${DEPTH_MAX} schemas deep.`)
    const parts = [
      this.#own(raw, at),
      ...(raw['$ref'] === undefined ? [] : [this.#reference(raw['$ref'], `${at}.$ref`)]),
      ...this.#list(raw, 'allOf', at),
      ...this.#alternatives(raw, 'anyOf', at),
      // Grammars cannot count how many alternatives fit: one or more.
      ...this.#alternatives(raw, 'oneOf', at),
    ]
    const deps = this.#meetDeps(at)
    const shape = parts.reduce((whole, part) => meet(whole, part, deps), ANY)
    if (shape.kind === 'never') throw badRequest(at, nothing(at))
    this.#depth -= 1
    return raw['nullable'] === true ? union([shape, { kind: 'null' }]) : shape
  }

  #refuseKeywords(raw: JsonObject, at: string): void {
    for (const keyword of NOT_SERVED)
      if (raw[keyword] !== undefined) throw unsupported(`${at}.${keyword}`, `'${keyword}'`)
    if (raw['uniqueItems'] === true) throw unsupported(`${at}.uniqueItems`, "'uniqueItems'")
  }

  /** The keywords of types, and the values of `enum` and `const` that fit them. */
  #own(raw: JsonObject, at: string): Shape {
    const types = typesOf(raw, at)
    const deps = {
      read: (of: unknown, place: string) => this.#read(of, place),
      countProperties: (count: number, place: string) => {
        this.#properties += count
        if (this.#properties > PROPERTIES_MAX)
          throw badRequest(place, `The schema has more than ${PROPERTIES_MAX} properties.`)
      },
    }
    const shape = types === undefined ? ANY : union(types.map((t) => typeShape(t, raw, at, deps)))
    if (raw['enum'] === undefined && !Object.hasOwn(raw, 'const')) return shape
    const { follow } = this.#meetDeps(at)
    return union(
      this.#values(raw, at)
        .filter((value) => allows(shape, value, follow))
        .map(exactly),
    )
  }

  #values(raw: JsonObject, at: string): unknown[] {
    const place = `${at}.enum`
    const values = raw['enum'] === undefined ? [raw['const']] : raw['enum']
    if (!Array.isArray(values) || values.length === 0)
      throw badRequest(place, `'${place}' must be a list of at least one value.`)
    this.#enumValues += values.length
    if (this.#enumValues > ENUM_VALUES_MAX)
      throw badRequest(place, `The schema lists more than ${ENUM_VALUES_MAX} values.`)
    const unique = [...new Map(values.map((value) => [JSON.stringify(value), value])).values()]
    if (!Object.hasOwn(raw, 'const')) return unique
    return unique.filter((value) => JSON.stringify(value) === JSON.stringify(raw['const']))
  }

  #list(raw: JsonObject, keyword: string, at: string): Shape[] {
    const parts = raw[keyword]
    if (parts === undefined) return []
    const place = `${at}.${keyword}`
    if (!Array.isArray(parts) || parts.length === 0)
      throw badRequest(place, `'${place}' must be a list of at least one schema.`)
    return parts.map((part, index) => this.#read(part, `${place}[${index}]`))
  }

  #alternatives(raw: JsonObject, keyword: string, at: string): Shape[] {
    const parts = this.#list(raw, keyword, at)
    return parts.length === 0 ? [] : [union(parts)]
  }

  #reference(raw: unknown, at: string): Shape {
    if (typeof raw !== 'string') throw badRequest(at, `'${at}' must be a string.`)
    if (!/^#(\/|$)/.test(raw))
      throw unsupported(at, "A reference to anything but '#/…' inside the same schema")
    const { target, value, path } = this.#find(raw, at)
    if (!this.#begun.has(target)) {
      this.#begun.add(target)
      this.#definitions.set(target, this.#read(value, path))
      this.#refuseCircle(target, at)
    }
    return { kind: 'reference', target }
  }

  #find(pointer: string, at: string): { target: string; value: unknown; path: string } {
    let value = this.#raw
    let path = this.#param
    const keys = pointer.split('/').slice(1).map(unescaped)
    for (const key of keys) {
      const holder: unknown = value
      const isThere = typeof holder === 'object' && holder !== null && Object.hasOwn(holder, key)
      if (!isThere) throw badRequest(at, `'${at}' leads to nothing in this schema.`)
      value = (holder as JsonObject)[key]
      path = Array.isArray(holder) ? `${path}[${key}]` : child(path, key)
    }
    return { target: JSON.stringify(keys), value, path }
  }

  /** A reference that leads back to itself before anything is written. */
  #refuseCircle(target: string, at: string): void {
    const seen = new Set<string>()
    const walk = (shape: Shape): void => {
      if (shape.kind === 'union') shape.of.forEach(walk)
      if (shape.kind !== 'reference') return
      if (shape.target === target) throw badRequest(at, `'${at}' leads back to itself.`)
      const next = this.#definitions.get(shape.target)
      if (next === undefined || seen.has(shape.target)) return
      seen.add(shape.target)
      walk(next)
    }
    walk(this.#definitions.get(target) ?? NEVER)
  }

  /** A definition of which every value would hold another of its kind. */
  #refuseEndless(root: Shape): void {
    const ends = new Set<string>()
    // Shapes are shared: each is looked at once in a round.
    const seen = new Map<Shape, boolean>()
    const hasEnd = (shape: Shape): boolean => {
      if (shape.kind === 'reference') return ends.has(shape.target)
      const known = seen.get(shape)
      if (known !== undefined) return known
      const has = shape.kind === 'union' ? shape.of.some(hasEnd) : subschemas(shape).every(hasEnd)
      seen.set(shape, has)
      return has
    }
    for (let before = -1; before < ends.size; ) {
      before = ends.size
      seen.clear()
      for (const [target, shape] of this.#definitions) if (hasEnd(shape)) ends.add(target)
    }
    if (ends.size < this.#definitions.size || !hasEnd(root))
      throw badRequest(
        this.#param,
        `'${this.#param}' asks for a value that holds itself without end.`,
      )
  }

  #meetDeps(at: string): MeetDeps {
    return {
      follow: (target) => {
        const shape = this.#definitions.get(target)
        if (shape === undefined)
          throw unsupported(at, 'A reference to a schema that holds it, beside other keywords,')
        return shape
      },
      spend: (depth) => {
        this.#meets += 1
        if (this.#meets > MEETS_MAX || depth > DEPTH_MAX)
          throw badRequest(at, `'${at}' combines too many schemas.`)
      },
    }
  }
}

/** In bodies of requests null means absent; only as the value of `const` it means itself. */
function said(raw: JsonObject): JsonObject {
  const entries = Object.entries(raw)
  return Object.fromEntries(entries.filter(([word, value]) => value !== null || word === 'const'))
}

function unescaped(key: string): string {
  const plain = key.replaceAll('~1', '/').replaceAll('~0', '~')
  try {
    return decodeURIComponent(plain)
  } catch {
    return plain
  }
}

function nothing(at: string): string {
  return `Nothing can satisfy '${at}'.`
}

function unsupported(at: string, what: string): InferenceError {
  return badRequest(at, `${what} is not supported here.`, 'unsupported_parameter')
}
