import { execFile } from 'node:child_process'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { packageRoot } from '../../src/config/root.ts'

const root = packageRoot()

async function filesOf(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .sort()
}

t.test('the generated code is what the wire tables give', async (t) => {
  const fresh = join(t.testdir(), 'gen')
  await promisify(execFile)(join(root, 'scripts', 'generate'), [fresh])
  const committed = join(root, 'src', 'protocol', 'gen')
  const names = await filesOf(fresh)
  t.ok(names.length >= 15, `${names.length} files`)
  t.strictSame(await filesOf(committed), names, 'the same files')
  for (const name of names)
    t.equal(
      await readFile(join(committed, name), 'utf8'),
      await readFile(join(fresh, name), 'utf8'),
      name,
    )
})
