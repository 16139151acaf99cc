import { chmod, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { EXIT } from '../../src/cli/context.ts'
import { loadCurve } from '../../src/crypto/secp256k1.ts'
import { readKeyfile, writeKeyfile } from '../../src/keys/keyfile.ts'
import { secretFromHex, secretFromMnemonic, signerOf } from '../../src/keys/keyring.ts'
import { command } from '../support/command.ts'

const curve = loadCurve()
const CHEAP = { n: 2 ** 10, r: 8, p: 1 }
const WORDS =
  'abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about'
const KEY = 'a'.repeat(64)

async function folderWith(t: Test, files: Record<string, string> = {}): Promise<string> {
  const folder = t.testdir()
  for (const [name, text] of Object.entries(files))
    await writeFile(join(folder, name), text, { mode: 0o600 })
  return folder
}

/** A key file that opens fast. */
async function keyFile(folder: string, passphrase: string): Promise<string> {
  const path = join(folder, 'operator.json')
  const randomBytes = (n: number) => new Uint8Array(n).fill(7)
  await writeKeyfile(path, secretFromMnemonic(WORDS), passphrase, { randomBytes }, CHEAP)
  return path
}

t.test('create works where nobody can be asked', async (t) => {
  const folder = await folderWith(t, { pass: 'from a file\n' })
  const file = join(folder, 'operator.json')
  const { status, out, err } = await command(
    ['keys', 'create', file, '--passphrase-file', join(folder, 'pass')],
    { environment: { passphrase: 'not this one' } },
  )
  t.equal(status, EXIT.ok, err)
  const secret = await readKeyfile(file, 'from a file')
  t.match(out, new RegExp(`^address +${signerOf(secret, curve).address}\npublicKey +0[23]`))
  t.equal((await stat(file)).mode & 0o777, 0o600)
  const [word = ''] = secret.mnemonic?.split(' ') ?? []
  t.notMatch(out + err, new RegExp(`\\b${word} `), 'the words do not get into a log')
  t.match(err, `keys show ${file} --secret`, 'but it says how to see them')
})

t.test('create takes the passphrase of the environment, and prints JSON', async (t) => {
  const file = join(await folderWith(t), 'operator.json')
  const { status, out, err } = await command(['keys', 'create', file, '--json'], {
    environment: { passphrase: 'of the environment' },
  })
  t.equal(status, EXIT.ok, err)
  const { address } = signerOf(await readKeyfile(file, 'of the environment'), curve)
  t.match(JSON.parse(out), { address, publicKey: /^0[23][0-9a-f]{64}$/ })
  t.strictSame(Object.keys(JSON.parse(out)), ['address', 'publicKey'])
  t.equal(err, '')
})

t.test('create asks twice, hidden, and shows the words to who typed', async (t) => {
  const file = join(await folderWith(t), 'operator.json')
  const { status, out, err, asked } = await command(['keys', 'create', file], {
    answers: ['typed', 'typed'],
  })
  t.equal(status, EXIT.ok, err)
  t.strictSame(
    asked.map(({ hidden }) => hidden),
    [true, true],
  )
  const secret = await readKeyfile(file, 'typed')
  t.match(err, secret.mnemonic ?? 'no words')
  t.notMatch(out, secret.mnemonic ?? '', 'the words are talk, not data')
})

t.test('nothing is written when something is wrong', async (t) => {
  const folder = await folderWith(t, { open: 'x', empty: '\n' })
  const file = join(folder, 'operator.json')
  await chmod(join(folder, 'open'), 0o644)
  const cases = [
    { says: /ANSWER: the two passphrases differ/, answers: ['one', 'two'] },
    { says: /NO_PASSPHRASE: .*\n.*POKT_SUPPLIER_PASSPHRASE/ },
    { says: /NO_PASSPHRASE: the answer holds no passphrase/, answers: [''] },
    { says: /FILE_UNREADABLE: .*none/, more: ['--passphrase-file', join(folder, 'none')] },
    { says: /FILE_OPEN_TO_OTHERS: .*chmod 600/, more: ['--passphrase-file', join(folder, 'open')] },
    { says: /NO_PASSPHRASE: .*empty holds no/, more: ['--passphrase-file', join(folder, 'empty')] },
  ]
  for (const { says, answers, more = [] } of cases) {
    const options = answers === undefined ? {} : { answers }
    const { status, err } = await command(['keys', 'create', file, ...more], options)
    t.equal(status, EXIT.config, String(says))
    t.match(err, says)
    await t.rejects(stat(file), { code: 'ENOENT' }, String(says))
  }
  const interrupted = await command(['keys', 'create', file], { answers: ['^C'] })
  t.equal(interrupted.status, EXIT.aborted)
  t.equal(interrupted.err, 'interrupted\n')
  await t.rejects(stat(file), { code: 'ENOENT' }, 'interrupted')
})

t.test('a key file is never overwritten, and nothing is asked for one', async (t) => {
  const folder = await folderWith(t, { words: WORDS })
  const file = await keyFile(folder, 'x')
  const before = await readFile(file, 'utf8')
  for (const [name, ...more] of [
    ['create'],
    ['import', '--from', join(folder, 'words')],
  ] as const) {
    const words = ['keys', name, file, ...more]
    const { status, err, asked } = await command(words, { answers: ['x', 'x'] })
    t.equal(status, EXIT.config, name)
    t.match(err, /KEYFILE_EXISTS: .*left as it is/, name)
    t.strictSame(asked, [], name)
  }
  t.equal(await readFile(file, 'utf8'), before)
})

t.test('a folder that is not there is said', async (t) => {
  const file = join(await folderWith(t), 'none', 'operator.json')
  const { status, err } = await command(['keys', 'create', file], {
    environment: { passphrase: 'x' },
  })
  t.equal(status, EXIT.config)
  t.match(err, /KEYFILE_UNWRITABLE: .*\n +because: ENOENT/)
})

t.test('import takes words, on one line or several, and hex', async (t) => {
  const folder = await folderWith(t, {
    words: WORDS,
    lines: ` ${WORDS.replaceAll(' ', '\n')}\n\n`,
    hex: `${KEY}\n`,
    hex0x: `0x${KEY.toUpperCase()}`,
  })
  const ofWords = signerOf(secretFromMnemonic(WORDS), curve).address
  const ofKey = signerOf(secretFromHex(KEY, curve), curve).address
  const cases = [
    ['words', ofWords],
    ['lines', ofWords],
    ['hex', ofKey],
    ['hex0x', ofKey],
  ] as const
  for (const [name, address] of cases) {
    const file = join(folder, `${name}.json`)
    const { status, out, err } = await command(
      ['keys', 'import', file, '--from', join(folder, name), '--json'],
      { environment: { passphrase: 'x' } },
    )
    t.equal(status, EXIT.ok, `${name}: ${err}`)
    t.equal(JSON.parse(out).address, address, name)
    t.notMatch(out + err, /abandon|aaaaaaaa/i, `${name}: the secret is not shown`)
  }
  t.equal((await readKeyfile(join(folder, 'lines.json'), 'x')).mnemonic, WORDS)
})

t.test('import asks for the secret without showing it', async (t) => {
  const file = join(await folderWith(t), 'operator.json')
  const { status, err, asked } = await command(['keys', 'import', file], {
    answers: [WORDS, 'x', 'x'],
  })
  t.equal(status, EXIT.ok, err)
  t.equal(asked[0]?.hidden, true)
})

t.test('import says what is wrong with a secret, and does not repeat it', async (t) => {
  const folder = await folderWith(t, {
    unknown: WORDS.replace('about', 'zzzzz'),
    checksum: WORDS.replace('about', 'abandon'),
    short: KEY.slice(1),
    zero: '0'.repeat(64),
    empty: '',
  })
  const cases = [
    ['unknown', /MNEMONIC: word 12 of the mnemonic is not in the BIP-39 list/],
    ['checksum', /MNEMONIC: the checksum is wrong/],
    ['short', /HEX: a private key is 64 hex digits/],
    ['zero', /HEX: these digits are no key/],
    ['empty', /HEX: /],
  ] as const
  for (const [name, says] of cases) {
    const file = join(folder, `${name}.json`)
    const { status, err } = await command(['keys', 'import', file, '--from', join(folder, name)], {
      environment: { passphrase: 'x' },
    })
    t.equal(status, EXIT.config, name)
    t.match(err, says, name)
    t.notMatch(err, /zzzzz|abandon|aaaaaaaa/, name)
  }
  const nobody = await command(['keys', 'import', join(folder, 'x.json')])
  t.equal(nobody.status, EXIT.config)
  t.match(nobody.err, /nobody can be asked here: add --from/)
})

t.test('show prints the address, and the secret only on demand', async (t) => {
  const folder = await folderWith(t, { pass: 'x' })
  const file = await keyFile(folder, 'x')
  const pass = ['--passphrase-file', join(folder, 'pass')]
  const plain = await command(['keys', 'show', file, ...pass])
  t.equal(plain.status, EXIT.ok)
  t.notMatch(plain.out + plain.err, /abandon|privateKey/)
  const yes = await command(['keys', 'show', file, ...pass, '--secret', '--yes', '--json'])
  t.equal(yes.status, EXIT.ok)
  t.equal(JSON.parse(yes.out).mnemonic, WORDS)
  const asked = await command(['keys', 'show', file, ...pass, '--secret'], { answers: ['y'] })
  t.equal(asked.status, EXIT.ok)
  t.match(asked.out, `mnemonic    ${WORDS}`)
  const declined = await command(['keys', 'show', file, ...pass, '--secret'], { answers: [''] })
  t.equal(declined.status, EXIT.failure)
  t.match(declined.err, /^DECLINED: /)
  const nobody = await command(['keys', 'show', file, ...pass, '--secret'])
  t.equal(nobody.status, EXIT.config)
  t.match(nobody.err, /add --yes/)
  for (const { out, err } of [declined, nobody]) t.notMatch(out + err, 'abandon')
})

t.test('show tells a wrong passphrase from a damaged file and from none', async (t) => {
  const folder = await folderWith(t)
  const file = await keyFile(folder, 'right')
  const wrong = await command(['keys', 'show', file], { environment: { passphrase: 'wrong' } })
  t.equal(wrong.status, EXIT.config)
  t.match(wrong.err, /^PASSPHRASE: the passphrase does not open the key of pokt1/)
  t.notMatch(wrong.err, /wrong|right/)
  const text = await readFile(file, 'utf8')
  await writeFile(file, text.replace('"n": 1024', '"n": 2048'))
  const damaged = await command(['keys', 'show', file], { environment: { passphrase: 'right' } })
  t.equal(damaged.status, EXIT.config)
  t.match(damaged.err, /^KEYFILE: the key file is damaged/)
  const none = await command(['keys', 'show', join(folder, 'none')], { answers: ['x'] })
  t.equal(none.status, EXIT.config)
  t.match(none.err, /^FILE_UNREADABLE: /)
  t.strictSame(none.asked, [], 'no passphrase is asked for a file that is not there')
})
