/** Golden data of test/vectors, read row by row. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

const folder = join(import.meta.dirname, '..', 'vectors')

export interface Row {
  id: string
  kind: string
  note?: string
}

/** The rows of one kind of a `.jsonl` file; an unknown kind is a mistake in the test. */
export function rows<T>(file: string, kind: string): (T & Row)[] {
  const all = readFileSync(join(folder, file), 'utf8').trimEnd().split('\n')
  const found = all.map((line) => JSON.parse(line) as T & Row).filter((row) => row.kind === kind)
  if (found.length === 0) throw new RangeError(`${file} has no rows of kind ${kind}`)
  return found
}

/** A whole `.json` file. */
export function json<T>(file: string): T {
  return JSON.parse(readFileSync(join(folder, file), 'utf8')) as T
}
