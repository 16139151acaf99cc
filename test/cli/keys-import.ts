import { chmod, cp, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { hex } from '../../src/base/bytes.ts'
import { EXIT } from '../../src/cli/context.ts'
import { packageRoot } from '../../src/config/root.ts'
import { readKeyfile } from '../../src/keys/keyfile.ts'
import { command } from '../support/command.ts'
import { json } from '../support/vectors.ts'

interface Exported {
  readonly id: string
  readonly passphrase: string
  readonly privateKey: string
  readonly address: string
  readonly armor: string
}

const golden = json<{ armors: Exported[]; foreign: Exported[] }>('keys-armor.json')
const rings = json<{ passphrase: string; keys: Record<string, string> }>('keyrings/keys.json')
// The quicker seal: most tests here are not about it.
const EXPORT = exported('bcrypt')
const ENVIRONMENT = { environment: { passphrase: 'of the new file' } }

function exported(id: string): Exported {
  const found = [...golden.armors, ...golden.foreign].find((row) => row.id === id)
  if (found === undefined) throw new RangeError(`no export ${id}`)
  return found
}

/** Files of mode 600, and the two keyrings that Go has written. */
async function folderWith(t: Test, files: Record<string, string> = {}) {
  const folder = t.testdir()
  for (const [name, text] of Object.entries(files))
    await writeFile(join(folder, name), text, { mode: 0o600 })
  for (const name of ['keyring-test', 'keyring-file']) {
    const from = join(packageRoot(), 'test', 'vectors', 'keyrings', name)
    await cp(from, join(folder, name), { recursive: true })
    await chmod(join(folder, name), 0o700)
  }
  return { at: (name: string) => join(folder, name), file: join(folder, 'operator.json') }
}

t.test('import takes an export, whose passphrase and the new one are asked for', async (t) => {
  const { at, file } = await folderWith(t, {
    // Copied from a terminal.
    armor: `Enter passphrase to encrypt the exported key:\n${EXPORT.armor}\n`,
  })
  const { status, out, err, asked } = await command(
    ['keys', 'import', file, '--from', at('armor')],
    {
      answers: [`  ${EXPORT.passphrase} `, 'new', 'new'],
    },
  )
  t.equal(status, EXIT.ok, err)
  t.match(out, new RegExp(`^address +${EXPORT.address}\npublicKey +0[23][0-9a-f]{64}\n$`))
  t.strictSame(asked, [
    { question: 'Passphrase of the export: ', hidden: true },
    { question: `Passphrase of ${file}: `, hidden: true },
    { question: 'The same passphrase again: ', hidden: true },
  ])
  t.equal(hex((await readKeyfile(file, 'new')).privateKey), EXPORT.privateKey)
  t.equal((await stat(file)).mode & 0o777, 0o600)
  t.notMatch(out + err, new RegExp(`${EXPORT.passphrase}|${EXPORT.privateKey}`))
})

t.test('import takes an export where nobody can be asked', async (t) => {
  const { armor, passphrase, address } = exported('argon2 not ascii')
  const { at, file } = await folderWith(t, { armor, pass: `${passphrase}\n` })
  const words = ['keys', 'import', file, '--from', at('armor'), '--json']
  const { status, out, err } = await command(
    [...words, '--armor-passphrase-file', at('pass')],
    ENVIRONMENT,
  )
  t.equal(status, EXIT.ok, err)
  t.equal(JSON.parse(out).address, address)
  const again = await command(['keys', 'show', file, '--json'], ENVIRONMENT)
  t.equal(again.out, out, 'show says of it what import said')
})

t.test('import takes a key of a keyring-test, which asks for nothing', async (t) => {
  const { at, file } = await folderWith(t)
  const { status, err } = await command(
    ['keys', 'import', file, '--keyring', at('keyring-test'), '--name', 'Lieferant/2'],
    ENVIRONMENT,
  )
  t.equal(status, EXIT.ok)
  t.equal(err, '')
  const { privateKey } = await readKeyfile(file, 'of the new file')
  t.equal(hex(privateKey), rings.keys['test Lieferant/2'])
})

t.test('import takes a key of a keyring-file, asking or from a file', async (t) => {
  const { at, file } = await folderWith(t, { pass: rings.passphrase })
  const words = ['keys', 'import', file, '--keyring', at('keyring-file')]
  const asking = await command(words, { answers: ['owner', rings.passphrase, 'new', 'new'] })
  t.equal(asking.status, EXIT.ok, asking.err)
  t.match(asking.err, /^Keys: operator, owner\n/)
  t.strictSame(asking.asked.slice(0, 2), [
    { question: 'Which one? ', hidden: false },
    { question: `Passphrase of ${at('keyring-file')}: `, hidden: true },
  ])
  t.equal(hex((await readKeyfile(file, 'new')).privateKey), rings.keys['file owner'])
  const other = at('other.json')
  const silent = await command(
    [
      ...['keys', 'import', other, '--keyring', at('keyring-file'), '--name', 'operator'],
      ...['--keyring-passphrase-file', at('pass')],
    ],
    ENVIRONMENT,
  )
  t.equal(silent.status, EXIT.ok, silent.err)
  const { privateKey } = await readKeyfile(other, 'of the new file')
  t.equal(hex(privateKey), rings.keys['file operator'])
})

t.test('a keyring that others can look into is used, with a warning', async (t) => {
  const { at, file } = await folderWith(t)
  const path = at('keyring-test')
  await chmod(path, 0o755)
  const { status, err } = await command(
    ['keys', 'import', file, '--keyring', path, '--name', 'supplier1'],
    ENVIRONMENT,
  )
  t.equal(status, EXIT.ok, err)
  t.equal(err, `warning: others can look into ${path}; run: chmod 700 ${path}\n`)
})

t.test('nothing is written when what is imported does not open', async (t) => {
  const { at, file } = await folderWith(t, {
    armor: EXPORT.armor,
    cut: EXPORT.armor.slice(0, 150),
    public: exported('public key').armor,
    hex: 'a'.repeat(64),
    wrong: 'wrong horse',
    large: 'x'.repeat(70_000),
    open: EXPORT.armor,
  })
  await chmod(at('open'), 0o644)
  const test = ['--keyring', at('keyring-test')]
  const ofFile = ['--keyring', at('keyring-file')]
  const cases = [
    { more: ['--from', at('armor')], says: /USAGE: .*add --armor-passphrase-file/ },
    {
      more: ['--from', at('armor'), '--armor-passphrase-file', at('wrong')],
      says: /IMPORT_PASSPHRASE: .*armored key\n {2}It is the one that pocketd asked for/,
    },
    { more: ['--from', at('cut')], says: /ARMOR: the armor is cut.*\n.*pocketd keys export/ },
    { more: ['--from', at('public')], says: /ARMOR: the armor holds a TENDERMINT PUBLIC KEY/ },
    { more: ['--from', at('open')], says: /FILE_OPEN_TO_OTHERS: .*chmod 600/ },
    { more: ['--from', at('large')], says: /FILE: .*too large to hold a key/ },
    { more: [], says: /USAGE: .*add --from or --keyring/ },
    { more: test, says: /KEY_NAME: .*these keys: 100%, Lieferant\/2, .*\n.*--name/ },
    { more: [...test, '--name', '../x'], says: /KEY_NAME: no \.\.\/x among the keys: 100%/ },
    { more: [...test, '--name', 'ledger'], says: /KEY_KIND: .*ledger is on a Ledger device/ },
    { more: [...ofFile, '--name', 'owner'], says: /USAGE: .*add --keyring-passphrase-file/ },
    {
      more: [...ofFile, '--name', 'owner', '--keyring-passphrase-file', at('wrong')],
      says: /IMPORT_PASSPHRASE: .*keyring-file\n/,
    },
    { more: ['--keyring', at('.')], says: /KEYRING: .*; name .*keyring-test/ },
    // Options that do not belong together.
    { more: [...test, '--from', at('armor')], says: /'--keyring <folder>' cannot be used with/ },
    { more: ['--from', at('armor'), '--name', 'x'], says: /USAGE: --name goes with a keyring/ },
    {
      more: ['--from', at('hex'), '--armor-passphrase-file', at('wrong')],
      says: /USAGE: --armor-passphrase-file goes with an export/,
    },
    {
      more: [...test, '--armor-passphrase-file', at('wrong')],
      says: /USAGE: --armor-passphrase-file goes with an export/,
    },
    {
      more: [...test, '--name', 'supplier1', '--keyring-passphrase-file', at('wrong')],
      says: /USAGE: --keyring-passphrase-file goes with a keyring-file/,
    },
    {
      more: ['--from', at('hex'), '--keyring-passphrase-file', at('wrong')],
      says: /USAGE: --keyring-passphrase-file goes with a keyring/,
    },
  ]
  for (const { more, says } of cases) {
    const { status, out, err } = await command(['keys', 'import', file, ...more], ENVIRONMENT)
    t.equal(status, EXIT.config, String(says))
    t.match(err, says, String(says))
    t.notMatch(out + err, /horse|aaaaaaaa/, String(says))
    await t.rejects(stat(file), { code: 'ENOENT' }, String(says))
  }
})

t.test('nothing is asked for a text that could not be opened anyway', async (t) => {
  const { at, file } = await folderWith(t, { cut: EXPORT.armor.slice(0, 150) })
  for (const more of [
    ['--from', at('cut')],
    ['--keyring', at('none')],
    ['--keyring', at('keyring-file'), '--name', 'none'],
  ]) {
    const { status, asked } = await command(['keys', 'import', file, ...more], { answers: ['x'] })
    t.equal(status, EXIT.config)
    t.strictSame(asked, [])
  }
})
