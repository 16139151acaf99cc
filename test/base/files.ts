import { chmod, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { ownerOnlyFolder, readSecretFile, writeFileAtomic } from '../../src/base/files.ts'

t.test('a file is whole or not there', async (t) => {
  const folder = t.testdir({ old: 'old' })
  await writeFileAtomic(join(folder, 'old'), 'new', 0o600)
  t.equal(await readFile(join(folder, 'old'), 'utf8'), 'new')
  t.equal((await stat(join(folder, 'old'))).mode & 0o777, 0o600)
  await t.rejects(writeFileAtomic(join(folder, 'missing', 'x'), 'new'))
  t.strictSame(await readdir(folder), ['old'], 'no parts are left')
})

t.test('a secret that others can read is refused', async (t) => {
  const folder = t.testdir({})
  const path = join(folder, 'secret')
  await writeFile(path, 'words')
  await chmod(path, 0o644)
  await t.rejects(readSecretFile(path), { code: 'FILE_OPEN_TO_OTHERS' })
  await chmod(path, 0o600)
  t.equal(await readSecretFile(path), 'words')
  await t.rejects(readSecretFile(join(folder, 'none')), { code: 'FILE_UNREADABLE' })
  await ownerOnlyFolder(join(folder, 'data'))
  t.equal((await stat(join(folder, 'data'))).mode & 0o777, 0o700)
})
