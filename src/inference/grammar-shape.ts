/**
 * What a shape allows, as rules of a grammar.
 *
 * Objects have their properties in the order of the schema, then others where they are allowed. Between the
 * parts there may be one space, or one line break with its indentation, so that a model can write as it is used
 * to but not fill an answer with blanks. Tested by test/inference/grammar.ts.
 */
import { badRequest } from './errors.ts'
import { automaton, type Budget } from './grammar-automaton.ts'
import { numberLanguage } from './grammar-numbers.ts'
import { not, or, text } from './grammar-regular.ts'
import { Rules } from './grammar-rules.ts'
import {
  literal,
  nameAutomaton,
  rowOf,
  spellings,
  type TextRow,
  type TextShape,
  textAutomaton,
} from './grammar-strings.ts'
import {
  ANY_OBJECT,
  type ArrayShape,
  type Follow,
  followIn,
  type NumberShape,
  type ObjectShape,
  type Property,
  type Schema,
  type Shape,
  type StringShape,
} from './schema-shape.ts'

/** Of all automata of one schema together: a few 100 ms at worst. */
const WORK_MAX = 5_000_000
const NUMBER_ALPHABET = [
  { from: 0x2d, to: 0x2e },
  { from: 0x30, to: 0x39 },
]

/**
 * Free text has every escape of JSON; half a character (`\ud800` alone) is no text. Numbers have at most 21 digits
 * before the point and stay finite.
 */
export const SHARED: Readonly<Record<string, string>> = {
  ws: '"" | " " | "\\n" [ \\t]{0,24}',
  sp: '"" | " "',
  char: '[ !#-\\x5b\\x5d-\\ud7ff\\ue000-\\U0010ffff] | "\\\\" escape',
  escape: '["\\\\/bfnrt] | "u" unit',
  unit: '[0-9abcefABCEF] hex hex hex | [dD] [0-7] hex hex | [dD] [89abAB] hex hex "\\\\u" [dD] [c-fC-F] hex hex',
  hex: '[0-9a-fA-F]',
  string: '"\\"" char* "\\""',
  integer: '"0" | minus [1-9] [0-9]{0,20}',
  number:
    'minus whole fraction exponent | minus [1-9] fraction [eE] ("+" | "") ([12] [0-9] [0-9] | "30" [0-7]) | minus [1-9] fraction [eE] "-" [0-9] [0-9] [0-9]',
  minus: '"" | "-"',
  whole: '"0" | [1-9] [0-9]{0,20}',
  fraction: '"" | "." [0-9]{1,25}',
  exponent: '"" | [eE] [-+]? [0-9]{1,2}',
  boolean: '"true" | "false"',
  value: 'object | array | string | number | boolean | "null"',
  array: '"[" ws (value ("," ws value)* ws)? "]"',
  object: '"{" ws (member ("," ws member)* ws)? "}"',
  member: 'string ":" sp value',
}

interface Context {
  readonly follow: Follow
  /** The name of the rule for a definition. */
  reference(target: string): string
}

export class ShapeRules {
  readonly rules: Rules
  readonly #param: string
  readonly #budget: Budget = { left: WORK_MAX }
  /** Names of rules by shape: shapes are shared, and without this the work could double at each level. */
  readonly #known = new Map<Shape, string>()
  /** Rules of texts that are not free, by what they allow. */
  readonly #texts = new Map<string, string>()

  /** @param param named by refusals */
  constructor(param: string) {
    this.#param = param
    this.rules = new Rules(() => this.#tooLarge())
  }

  /**
   * The name of a rule for `schema`.
   * @throws InferenceError BAD_REQUEST if the grammar grows too large, or a text can't exist
   */
  whole({ root, definitions }: Schema): string {
    const names = new Map<string, string>()
    const follow = followIn(definitions)
    const schema: Context = {
      follow,
      reference: (target) => {
        const known = names.get(target)
        if (known !== undefined) return known
        const name = this.rules.reserve()
        names.set(target, name)
        this.rules.define(name, this.#body(follow(target), schema))
        return name
      },
    }
    return this.#rule(root, schema)
  }

  #rule(shape: Shape, schema: Context): string {
    const known = this.#known.get(shape)
    if (known !== undefined) return known
    const body = this.#body(shape, schema)
    const name = /^[a-z][a-z0-9]*$/.test(body) ? body : this.rules.add(body)
    this.#known.set(shape, name)
    return name
  }

  #body(shape: Shape, schema: Context): string {
    switch (shape.kind) {
      case 'any':
        return 'value'
      case 'null':
        return '"null"'
      case 'boolean':
        return 'boolean'
      case 'literal':
        return literal(JSON.stringify(shape.value))
      case 'string':
        return this.#string(shape)
      case 'number':
        return this.#number(shape)
      case 'array':
        return this.#array(shape, schema)
      case 'object':
        return this.#object(shape, schema)
      case 'union':
        return this.#union(shape.of, schema)
      case 'reference':
        return schema.reference(shape.target)
      case 'never':
        throw this.#impossible()
    }
  }

  #union(of: readonly Shape[], schema: Context): string {
    const members = [...leaves(of, schema.follow)]
    const texts = members.flatMap((shape) =>
      shape.kind === 'literal' ? [JSON.stringify(shape.value)] : [],
    )
    const others = members.filter(({ kind }) => kind !== 'literal')
    const alternatives = [
      ...(texts.length === 0 ? [] : [this.rules.oneOf(texts)]),
      ...others.map((shape) => this.#rule(shape, schema)),
    ]
    return [...new Set(alternatives)].join(' | ')
  }

  #string(shape: StringShape): string {
    if (shape.language === undefined) {
      if (shape.min === 0 && shape.max === Number.POSITIVE_INFINITY) return 'string'
      return `"\\"" ${this.rules.repeat('char', shape.min, shape.max)} "\\""`
    }
    return `"\\"" ${this.#text({ ...shape, language: shape.language })}`
  }

  #text(shape: TextShape): string {
    const key = `${shape.min} ${shape.max} ${shape.language.key}`
    const known = this.#texts.get(key)
    if (known !== undefined) return known
    const row = rowOf(shape)
    const rule = row === undefined ? this.#automaton(shape) : this.#row(row)
    this.#texts.set(key, rule)
    return rule
  }

  #row({ ranges, min, max }: TextRow): string {
    const char = this.rules.add(spellings(ranges).join(' | '))
    return this.rules.add(`${this.rules.repeat(char, min, max)} "\\""`)
  }

  #automaton(shape: TextShape): string {
    const states = textAutomaton(shape, this.#budget)
    if (states === undefined) throw this.#tooLarge()
    if (states.length === 0) throw this.#impossible()
    return this.rules.string(states)
  }

  #number(shape: NumberShape): string {
    if (shape.min === undefined && shape.max === undefined)
      return shape.integer ? 'integer' : 'number'
    const states = automaton(numberLanguage(shape), NUMBER_ALPHABET, this.#budget)
    if (states === undefined) throw this.#tooLarge()
    if (states.length === 0) throw this.#impossible()
    return this.rules.plain(states)
  }

  #array(shape: ArrayShape, schema: Context): string {
    if (shape.max === 0) return '"[" ws "]"'
    const fixed = shape.prefix.map((item) => this.#rule(item, schema))
    const more = shape.max - fixed.length
    const next = more > 0 ? this.#rule(shape.items, schema) : ''
    let rest = ''
    if (more > 0) {
      const needed = Math.max(0, shape.min - fixed.length)
      const first = fixed.length === 0 ? 1 : 0
      const follower = this.rules.add(`"," ws ${next}`)
      const others = this.rules.repeat(follower, Math.max(0, needed - first), more - first)
      rest = first === 0 ? others : `${next} ${others}`
    }
    // From the last item to the first: whatever may be left out takes what follows with it.
    for (const [at, item] of [...fixed.entries()].reverse()) {
      const here = `${at === 0 ? '' : '"," ws '}${item} ${rest}`.trim()
      rest = at === 0 || at < shape.min ? here : this.rules.add(`"" | ${here}`)
    }
    const items = this.rules.add(`${rest} ws "]"`)
    return shape.min === 0 ? `"[" ws ${this.rules.add(`${items} | "]"`)}` : `"[" ws ${items}`
  }

  #object(shape: ObjectShape, schema: Context): string {
    const known = shape.properties.filter(({ shape: of }) => of.kind !== 'never')
    const closed = shape.rest.kind === 'never' || (!shape.restSaid && shape.listed)
    if (closed && known.length === 0) return '"{" ws "}"'
    const free = shape.properties.length === 0 && shape.rest.kind === 'any'
    if (free) return 'object'
    const others = closed ? undefined : this.#others(shape, schema)
    // `next`: what may come where a member may begin; `tail`: what may come after one.
    let next = others === undefined ? '' : this.rules.reserve()
    let tail = this.rules.add(next === '' ? 'ws "}"' : `"," ws ${next} | ws "}"`)
    if (others !== undefined) this.rules.define(next, `${others} ${tail}`)
    let mayEnd = true
    for (const property of known.reverse()) {
      const here = `${this.#member(property, schema)} ${tail}`
      next = this.rules.add(property.required || next === '' ? here : `${here} | ${next}`)
      mayEnd = mayEnd && !property.required
      tail = this.rules.add(`"," ws ${next}${mayEnd ? ' | ws "}"' : ''}`)
    }
    return `"{" ws ${mayEnd ? this.rules.add(`${next} | "}"`) : next}`
  }

  #member({ name, shape }: Property, schema: Context): string {
    return this.rules.add(`${literal(JSON.stringify(name))} ":" sp ${this.#rule(shape, schema)}`)
  }

  /** A property of any other name. */
  #others(shape: ObjectShape, schema: Context): string {
    const value = this.#rule(shape.rest, schema)
    if (shape.properties.length === 0) return this.rules.add(`string ":" sp ${value}`)
    const taken = or(...shape.properties.map(({ name }) => text(name)))
    const states = nameAutomaton(not(taken), this.#budget)
    if (states === undefined) throw this.#tooLarge()
    return this.rules.add(`"\\"" ${this.rules.string(states)} ":" sp ${value}`)
  }

  #tooLarge(): Error {
    return badRequest(
      this.#param,
      `'${this.#param}' is too large or its patterns are too complex for this service.`,
      'unsupported_parameter',
    )
  }

  #impossible(): Error {
    return badRequest(
      this.#param,
      `No text can satisfy the patterns and lengths of '${this.#param}'.`,
    )
  }
}

/** Also used where a tool says nothing about its arguments. */
export const ANY_OBJECT_SCHEMA: Schema = { root: ANY_OBJECT, definitions: new Map() }

/**
 * The members of a union and of the unions that they refer to, each once. The engine walks through every way in
 * which a rule can begin, and unions of unions would multiply these.
 */
function leaves(of: readonly Shape[], follow: Follow): Set<Shape> {
  const out = new Set<Shape>()
  const seen = new Set<string>()
  const visit = (shape: Shape): void => {
    if (shape.kind === 'union') for (const member of shape.of) visit(member)
    else if (shape.kind !== 'reference') out.add(shape)
    else if (!seen.has(shape.target)) {
      seen.add(shape.target)
      const next = follow(shape.target)
      if (next.kind === 'union' || next.kind === 'reference') visit(next)
      else out.add(shape)
    }
  }
  for (const member of of) visit(member)
  return out
}
