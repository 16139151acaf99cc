import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { parse } from 'yaml'
import { z } from 'zod'
import { parseConfig } from '../../src/config/load.ts'
import { packageRoot } from '../../src/config/root.ts'
import { ConfigSchema } from '../../src/config/schema.ts'

interface Schema {
  properties?: Record<string, Schema>
  items?: Schema
  oneOf?: Schema[]
  anyOf?: Schema[]
  default?: unknown
  const?: unknown
  description?: string
}

const text = await readFile(join(packageRoot(), 'supplier.example.yaml'), 'utf8')

/** Every setting of the schema as a path; list entries and variants share one. */
function settings(schema: Schema, path = ''): Map<string, Schema> {
  const found = new Map<string, Schema>()
  for (const variant of [...(schema.oneOf ?? []), ...(schema.anyOf ?? [])])
    for (const entry of settings(variant, path)) found.set(...entry)
  if (schema.items) for (const entry of settings(schema.items, `${path}[]`)) found.set(...entry)
  for (const [name, inner] of Object.entries(schema.properties ?? {})) {
    const at = path === '' ? name : `${path}.${name}`
    found.set(at, inner)
    for (const entry of settings(inner, at)) found.set(...entry)
  }
  return found
}

function paths(value: unknown, path = ''): Map<string, unknown> {
  const found = new Map<string, unknown>()
  if (Array.isArray(value)) {
    for (const item of value) for (const entry of paths(item, `${path}[]`)) found.set(...entry)
  } else if (typeof value === 'object' && value !== null) {
    for (const [name, inner] of Object.entries(value)) {
      const at = path === '' ? name : `${path}.${name}`
      found.set(at, inner)
      for (const entry of paths(inner, at)) found.set(...entry)
    }
  }
  return found
}

t.test('the example shows every setting, with its default, and no other', async (t) => {
  const known = settings(
    z.toJSONSchema(ConfigSchema, { io: 'input', unrepresentable: 'any' }) as Schema,
  )
  const shown = paths(parse(text))
  t.ok(known.size > 30, 'the schema was walked')
  for (const [path, schema] of known) {
    t.ok(shown.has(path), `${path} is in the example`)
    const plain = ['string', 'number', 'boolean'].includes(typeof schema.default)
    if (plain) t.strictSame(shown.get(path), schema.default, `${path} shows its default`)
    if (!path.includes('revShare[].') && schema.const === undefined && !schema.properties)
      t.ok(schema.description, `${path} says what it means`)
  }
  for (const path of shown.keys()) t.ok(known.has(path), `${path} exists`)
})

t.test('the example is a working configuration', async (t) => {
  const config = parseConfig(text, '/etc/pokt-supplier')
  t.equal(config.services.length, 4)
  t.equal(config.operators[0]?.keyFile, '/etc/pokt-supplier/operator.json')
})
