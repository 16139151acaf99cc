/** Schemas made by chance, each with values that it allows, in the order in which it names their properties. */

export interface RandomSchema {
  readonly schema: unknown
  value(): unknown
}

/** Numbers of 32 bits, the same for the same seed (mulberry32). */
export function chance(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

const LETTERS = ['a', 'b', 'Z', '0', ' ', '"', '\\', '\n', 'é', '日', '😀', '{', ',', '/']
const PATTERNS: readonly (readonly [pattern: string, ...texts: string[]])[] = [
  ['^[a-z]+$', 'a', 'zebra'],
  ['\\d{2}', '12', 'x99y'],
  ['^(yes|no)$', 'yes', 'no'],
  ['^[^"]{1,3}$', 'a\\', '日'],
  ['^a.*z$', 'az', 'a"\\z'],
]

export class SchemaMaker {
  readonly #random: () => number

  constructor(random: () => number) {
    this.#random = random
  }

  below(limit: number): number {
    return Math.floor(this.#random() * limit)
  }

  pick<T>(of: readonly T[]): T {
    return of[this.below(of.length)] as T
  }

  text(min: number, max: number): string {
    const length = min + this.below(max - min + 1)
    return Array.from({ length }, () => this.pick(LETTERS)).join('')
  }

  schema(depth: number): RandomSchema {
    const flat = [
      this.#scalar,
      this.#string,
      this.#pattern,
      this.#integer,
      this.#number,
      this.#enum,
    ]
    const deep = [this.#list, this.#tuple, this.#object, this.#object, this.#anyOf, this.#allOf]
    return this.pick(depth > 0 ? [...flat, ...deep, ...deep] : flat).call(this, depth - 1)
  }

  #scalar(): RandomSchema {
    const type = this.pick(['null', 'boolean'])
    return { schema: { type }, value: () => (type === 'null' ? null : this.below(2) === 0) }
  }

  #string(): RandomSchema {
    const min = this.below(3)
    const max = min + this.below(4)
    const schema = { type: 'string', ...(min > 0 ? { minLength: min } : {}), maxLength: max }
    return { schema, value: () => this.text(min, max) }
  }

  #pattern(): RandomSchema {
    const [pattern, ...texts] = this.pick(PATTERNS)
    return { schema: { type: 'string', pattern }, value: () => this.pick(texts) }
  }

  #integer(): RandomSchema {
    const min = this.below(2000) - 1000
    const max = min + this.below(300)
    return {
      schema: { type: 'integer', minimum: min, maximum: max },
      value: () => min + this.below(max - min + 1),
    }
  }

  #number(): RandomSchema {
    const places = 10 ** this.below(4)
    const low = this.below(20_000) - 10_000
    const high = low + 2 + this.below(5_000)
    const open = this.below(2) === 0
    const schema = open
      ? { type: 'number', exclusiveMinimum: low / places, exclusiveMaximum: high / places }
      : { type: 'number', minimum: low / places, maximum: high / places }
    return { schema, value: () => (low + 1 + this.below(high - low - 1)) / places }
  }

  #enum(): RandomSchema {
    const values = Array.from({ length: 1 + this.below(5) }, () =>
      this.pick<unknown>([this.text(0, 3), this.below(50), null, true, [1, 'x'], { k: 'v' }]),
    )
    return { schema: { enum: values }, value: () => this.pick(values) }
  }

  #list(depth: number): RandomSchema {
    const items = this.schema(depth)
    const min = this.below(3)
    const max = min + this.below(3)
    const value = () => Array.from({ length: min + this.below(max - min + 1) }, () => items.value())
    return { schema: { type: 'array', items: items.schema, minItems: min, maxItems: max }, value }
  }

  #tuple(depth: number): RandomSchema {
    const prefix = Array.from({ length: 1 + this.below(3) }, () => this.schema(depth))
    const min = this.below(prefix.length + 1)
    const schema = {
      type: 'array',
      prefixItems: prefix.map((item) => item.schema),
      items: false,
      minItems: min,
    }
    const length = () => min + this.below(prefix.length - min + 1)
    return { schema, value: () => prefix.slice(0, length()).map((item) => item.value()) }
  }

  #object(depth: number): RandomSchema {
    const names = [...new Set(Array.from({ length: this.below(5) }, () => `p${this.text(0, 2)}`))]
    const properties = names.map((name) => ({
      name,
      of: this.schema(depth),
      required: this.below(2) === 0,
    }))
    const others = this.below(3) === 0 ? this.schema(0) : undefined
    const schema = {
      type: 'object',
      properties: Object.fromEntries(properties.map(({ name, of }) => [name, of.schema])),
      required: properties.filter(({ required }) => required).map(({ name }) => name),
      additionalProperties: others?.schema ?? false,
    }
    const value = () => {
      const there = properties.filter(({ required }) => required || this.below(2) === 0)
      const known = there.map(({ name, of }) => [name, of.value()] as const)
      const more =
        others !== undefined && this.below(2) === 0 ? [['q', others.value()] as const] : []
      return Object.fromEntries([...known, ...more])
    }
    return { schema, value }
  }

  #anyOf(depth: number): RandomSchema {
    const parts = Array.from({ length: 1 + this.below(3) }, () => this.schema(depth))
    const word = this.pick(['anyOf', 'oneOf'])
    return {
      schema: { [word]: parts.map((part) => part.schema) },
      value: () => this.pick(parts).value(),
    }
  }

  #allOf(depth: number): RandomSchema {
    const [a, b] = [this.schema(depth), this.schema(depth)]
    const part = (name: string, of: RandomSchema) => ({
      type: 'object',
      properties: { [name]: of.schema },
      required: [name],
    })
    return {
      schema: { allOf: [part('a', a), part('b', b)] },
      value: () => ({ a: a.value(), b: b.value() }),
    }
  }
}
