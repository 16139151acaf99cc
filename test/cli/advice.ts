import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { SupplierError } from '../../src/base/errors.ts'
import { ChainError } from '../../src/chain/errors.ts'
import { adviceFor } from '../../src/cli/advice.ts'
import { packageRoot } from '../../src/config/root.ts'
import { InferenceError } from '../../src/inference/errors.ts'

const src = join(packageRoot(), 'src')
const names = (await readdir(src, { recursive: true })).filter(
  (name) => name.endsWith('.ts') && !name.includes('gen/'),
)
const texts = await Promise.all(names.map((name) => readFile(join(src, name), 'utf8')))

/** A class that the program reports, by name; the test makes one of each without its constructor. */
function errorOf(name: string, code: string): SupplierError {
  const error = new SupplierError(code, 'x')
  error.name = name
  return error
}

t.test('every code of every floor has its advice', async (t) => {
  let classes = 0
  for (const text of texts) {
    const tables = new Map(
      [...text.matchAll(/(\w+_ERRORS) = \{([\s\S]*?)\n\} as const/g)].map(([, name, table]) => [
        name,
        [...(table ?? '').matchAll(/^ {2}([A-Z][A-Z0-9_]+):/gm)].map(([, code]) => code ?? ''),
      ]),
    )
    for (const [, name = ''] of text.matchAll(/class (\w+Error) extends SupplierError</g)) {
      const [codes = []] = tables.values()
      t.ok(codes.length > 0, `${name} has a table beside it`)
      classes++
      for (const code of codes) {
        const advice = adviceFor(errorOf(name, code))
        t.ok(advice, `${name} ${code} has advice`)
        t.match(advice, /^[A-Z`].*[.:)]$/s, `${name} ${code}: sentences`)
      }
    }
  }
  t.ok(classes >= 15, `${classes} classes were looked at`)
})

t.test('the same code on two floors keeps its own advice', async (t) => {
  const chain = adviceFor(new ChainError('NOT_FOUND', 'x'))
  const engine = adviceFor(new InferenceError('NOT_FOUND', 'x'))
  t.match(chain, /The chain knows no such thing/)
  t.match(engine, /no such path, method or model/)
})

t.test('what stands in no table has none', async (t) => {
  t.equal(adviceFor(errorOf('ChainError', 'NEVER_HEARD_OF')), undefined)
  t.equal(adviceFor(errorOf('OtherError', 'NOT_FOUND')), undefined)
})
