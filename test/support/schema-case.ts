/** A row of the table in schemas.ts: a schema, texts that its grammar must accept and texts that it must not. */

export interface SchemaCase {
  readonly name: string
  readonly schema: unknown
  readonly yes: readonly string[]
  readonly no: readonly string[]
}

export const row = (
  name: string,
  schema: unknown,
  yes: readonly string[],
  no: readonly string[],
): SchemaCase => ({ name, schema, yes, no })
export const text = (more: object, yes: readonly string[], no: readonly string[]): SchemaCase =>
  row(
    `string ${JSON.stringify(more)}`,
    { type: 'string', ...more },
    yes.map((value) => JSON.stringify(value)),
    no.map((value) => JSON.stringify(value)),
  )
export const number = (type: string, more: object, yes: string, no: string): SchemaCase =>
  row(`${type} ${JSON.stringify(more)}`, { type, ...more }, yes.split(' '), no.split(' '))
