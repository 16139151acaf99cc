import { createCipheriv, createHash, scryptSync } from 'node:crypto'
import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { inspect } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import { concat, equal, hex, sha256, unhex, utf8 } from '../../src/base/bytes.ts'
import { SupplierError } from '../../src/base/errors.ts'
import { packageRoot } from '../../src/config/root.ts'
import { ORDER, writeInteger } from '../../src/crypto/scalar.ts'
import { loadCurve } from '../../src/crypto/secp256k1.ts'
import { KeyError } from '../../src/keys/errors.ts'
import {
  KEYFILE_DEFAULTS,
  openKey,
  readKeyfile,
  sealKey,
  writeKeyfile,
} from '../../src/keys/keyfile.ts'
import { createMnemonic, secretFromMnemonic, secretKey, signerOf } from '../../src/keys/keyring.ts'

/** Weak, and quick enough for a test. */
const CHEAP = { n: 1024, r: 8, p: 1 }
const WORDS = 'correct horse battery staple'
const MNEMONIC = createMnemonic(sha256(utf8('entropy')))
const SECRET = secretFromMnemonic(MNEMONIC)
const ADDRESS = signerOf(SECRET, loadCurve()).address
const BAD_FILE = { name: 'KeyError', code: 'KEYFILE' }

function seeded(): { randomBytes(n: number): Uint8Array } {
  let count = 0
  return { randomBytes: (n) => sha256(utf8(`random ${count++}`)).slice(0, n) }
}

const seal = (secret = SECRET, words = WORDS) => sealKey(secret, words, seeded(), CHEAP)

type Fields = Record<string, unknown>
const fields = (text: string) => JSON.parse(text) as Fields
const inner = (file: Fields, name: string) => file[name] as Fields

/** A key file made with nothing but the description of its format. */
function byHand(plain: string, change: Fields = {}): string {
  const salt = '5a'.repeat(32)
  const nonce = 'c3'.repeat(12)
  const address = typeof change['address'] === 'string' ? change['address'] : ADDRESS
  const { n, r, p } = CHEAP
  const format = 'pokt-supplier key'
  const clear = [format, 1, address, 'scrypt', n, r, p, salt, 'aes-256-gcm', nonce]
  const aad = Buffer.from(JSON.stringify(clear))
  const key = scryptSync(WORDS, Buffer.from(salt, 'hex'), 32, { N: n, r, p })
  const cipher = createCipheriv('aes-256-gcm', key, Buffer.from(nonce, 'hex')).setAAD(aad)
  const body = [cipher.update(plain), cipher.final()]
  const sealed = Buffer.concat([...body, cipher.getAuthTag()])
  return JSON.stringify({
    checksum: createHash('sha256').update(aad).update(sealed).digest('hex'),
    sealed: sealed.toString('base64'),
    cipher: { name: 'aes-256-gcm', nonce },
    kdf: { salt, name: 'scrypt', p, r, n },
    address,
    version: 1,
    format,
  })
}

/** The file with the checksum that belongs to what it says. */
function mended(file: Fields): string {
  const { format, version, address, sealed } = file
  const kdf = inner(file, 'kdf')
  const parameters = ['name', 'n', 'r', 'p', 'salt'].map((name) => kdf[name])
  const cipher = inner(file, 'cipher')
  const clear = [format, version, address, ...parameters, cipher['name'], cipher['nonce']]
  const bytes = concat(utf8(JSON.stringify(clear)), Buffer.from(`${sealed}`, 'base64'))
  return JSON.stringify({ ...file, checksum: hex(sha256(bytes)) })
}

t.test('a sealed key opens to itself, with and without its words', async (t) => {
  const opened = await openKey(await seal(), WORDS)
  t.strictSame(hex(opened.privateKey), hex(SECRET.privateKey))
  t.equal(opened.mnemonic, MNEMONIC)
  const bare = await openKey(await seal(secretKey(SECRET.privateKey)), WORDS)
  t.strictSame(hex(bare.privateKey), hex(SECRET.privateKey))
  t.equal(bare.mnemonic, undefined)
})

t.test('a file of the first version opens for ever', async (t) => {
  const text = await readFile(join(packageRoot(), 'test/vectors/keyfile-1.json'), 'utf8')
  const { n, r, p } = inner(fields(text), 'kdf')
  t.strictSame({ n, r, p }, KEYFILE_DEFAULTS, 'made with the parameters of today')
  const secret = await openKey(text, WORDS)
  const { address } = signerOf(secret, loadCurve())
  t.equal(address, 'pokt19a3t4yunp0dlpfjrp7qwnzwlrzd5fzs2gjaaaj')
  t.match(secret.mnemonic, /^cool industry .* spatial frog$/)
})

t.test('its format is scrypt, AES-256-GCM and JSON in any order', async (t) => {
  const plain = JSON.stringify({ mnemonic: MNEMONIC, privateKey: hex(SECRET.privateKey) })
  const opened = await openKey(byHand(plain), WORDS)
  t.equal(hex(opened.privateKey), hex(SECRET.privateKey))
  t.equal(opened.mnemonic, MNEMONIC)
})

t.test('any key and any passphrase go round', async () => {
  const key = fc.bigInt({ min: 1n, max: ORDER - 1n }).map(writeInteger)
  const words = fc.string({ minLength: 1, unit: 'grapheme' })
  await fc.assert(
    fc.asyncProperty(key, words, async (privateKey, passphrase) => {
      const text = await seal(secretKey(privateKey), passphrase)
      return equal((await openKey(text, passphrase)).privateKey, privateKey)
    }),
    { numRuns: 25 },
  )
})

t.test('the file shows the address and nothing of the secret', async (t) => {
  const text = await seal()
  t.equal(fields(text)['address'], ADDRESS)
  t.notMatch(text, hex(SECRET.privateKey).slice(0, 8))
  for (const word of MNEMONIC.split(' ')) t.notMatch(text, word, word)
  t.notMatch(text, WORDS)
  t.not(await sealKey(SECRET, WORDS, { randomBytes: (n) => new Uint8Array(n) }, CHEAP), text)
})

t.test('the salt and the nonce are asked for anew', async (t) => {
  const asked: number[] = []
  const randomBytes = (n: number) => {
    asked.push(n)
    return new Uint8Array(n).fill(asked.length)
  }
  const first = fields(await sealKey(SECRET, WORDS, { randomBytes }, CHEAP))
  const second = fields(await sealKey(SECRET, WORDS, { randomBytes }, CHEAP))
  t.strictSame(asked, [32, 12, 32, 12])
  t.not(inner(first, 'kdf')['salt'], inner(second, 'kdf')['salt'])
  t.not(inner(first, 'cipher')['nonce'], inner(second, 'cipher')['nonce'])
})

t.test('another passphrase is told apart from a damaged file', async (t) => {
  const text = await seal()
  const wrong = { name: 'KeyError', code: 'PASSPHRASE' }
  for (const words of ['', 'correct horse battery stapl', `${WORDS} `, `${WORDS}\n`])
    await t.rejects(openKey(text, words), wrong, JSON.stringify(words))
  const { sealed } = fields(text) as { sealed: string }
  const damaged = text.replace(sealed, `${sealed.slice(0, 20)}AAAA${sealed.slice(24)}`)
  t.not(damaged, text)
  await t.rejects(openKey(damaged, WORDS), BAD_FILE)
  await t.rejects(openKey(text.slice(0, -20), WORDS), BAD_FILE, 'cut')
})

t.test('composed and decomposed letters are the same passphrase', async (t) => {
  const text = await seal(SECRET, 'm\u00fcnz\u00e9')
  t.equal((await openKey(text, 'mu\u0308nze\u0301')).mnemonic, MNEMONIC)
  await t.rejects(openKey(text, 'munze'), { code: 'PASSPHRASE' })
})

t.test('no field can be changed, even by one who mends the checksum', async (t) => {
  const other = signerOf(secretKey(sha256(utf8('another'))), loadCurve()).address
  const changes: [path: string[], value: unknown][] = [
    [['address'], other],
    [['kdf', 'n'], 2048],
    [['kdf', 'r'], 4],
    [['kdf', 'p'], 2],
    [['kdf', 'salt'], '00'.repeat(32)],
    [['cipher', 'nonce'], '00'.repeat(12)],
  ]
  for (const [path, value] of changes) {
    const file = fields(await seal())
    const [outer = '', name] = path
    if (name === undefined) file[outer] = value
    else inner(file, outer)[name] = value
    await t.rejects(openKey(JSON.stringify(file), WORDS), BAD_FILE, `${path}`)
    await t.rejects(
      openKey(mended(file), WORDS),
      { code: 'PASSPHRASE' },
      `${path}, checksum mended`,
    )
  }
})

t.test('the sealed bytes have one text only', async (t) => {
  const file = fields(await seal(secretKey(SECRET.privateKey)))
  const sealed = `${file['sealed']}`
  const last = sealed.at(-3) ?? ''
  const other = `${sealed.slice(0, -3)}${String.fromCharCode(last.charCodeAt(0) + 1)}==`
  t.match(sealed, /[AQgw]==$/)
  t.strictSame(Buffer.from(other, 'base64'), Buffer.from(sealed, 'base64'))
  await t.rejects(openKey(JSON.stringify({ ...file, sealed: other }), WORDS), BAD_FILE)
})

t.test('the address in clear must be that of the key inside', async (t) => {
  const plain = JSON.stringify({ privateKey: hex(SECRET.privateKey) })
  const other = signerOf(secretKey(sha256(utf8('another'))), loadCurve()).address
  t.equal((await openKey(byHand(plain), WORDS)).mnemonic, undefined)
  await t.rejects(openKey(byHand(plain, { address: other }), WORDS), {
    ...BAD_FILE,
    message: /another address/,
  })
})

t.test('what is sealed must be a key', async (t) => {
  const bad = {
    'no JSON': 'words',
    'no key': '{}',
    zero: JSON.stringify({ privateKey: '0'.repeat(64) }),
    N: JSON.stringify({ privateKey: ORDER.toString(16) }),
    short: JSON.stringify({ privateKey: '11' }),
    'a field too many': JSON.stringify({ privateKey: hex(SECRET.privateKey), note: 'x' }),
    null: 'null',
  }
  for (const [what, plain] of Object.entries(bad))
    await t.rejects(openKey(byHand(plain), WORDS), BAD_FILE, what)
})

t.test('a file from elsewhere cannot take the memory or the time of the machine', async (t) => {
  const greedy = [
    { n: 2 ** 24, r: 8 },
    { n: 2 ** 30 },
    { n: 2 ** 17, r: 1024 },
    { p: 2 ** 20 },
    { n: 1025 },
    { n: 0 },
    { n: -1024 },
    { n: 512 },
    { r: 0 },
    { p: 0 },
    { p: -1 },
    { r: 1.5 },
    { n: '1024' },
    { n: 1e300 },
    { n: null },
    { salt: '00' },
    { salt: '00'.repeat(4_000) },
    { name: 'pbkdf2' },
  ]
  for (const change of greedy) {
    const file = fields(await seal())
    Object.assign(inner(file, 'kdf'), change)
    await t.rejects(openKey(mended(file), WORDS), BAD_FILE, JSON.stringify(change))
  }
  await t.rejects(openKey(' '.repeat(10_000) + (await seal()), WORDS), BAD_FILE, 'a long file')
  const tooMuch = { n: 2 ** 24, r: 8, p: 1 }
  await t.rejects(sealKey(SECRET, WORDS, seeded(), tooMuch), { name: 'AssertionError' })
})

t.test('whatever the text, opening ends in a key or in a KeyError', async (t) => {
  const good = await seal()
  const opens = async (text: string): Promise<boolean> => {
    try {
      await openKey(text, WORDS)
      return true
    } catch (error) {
      if (error instanceof KeyError) return false
      throw error
    }
  }
  const change = fc.record({ at: fc.nat(good.length - 1), to: fc.string({ maxLength: 2 }) })
  await fc.assert(
    fc.asyncProperty(change, async ({ at, to }) => {
      const text = good.slice(0, at) + to + good.slice(at + 1)
      const isSame = inspect(safe(text)) === inspect(safe(good))
      return (await opens(text)) === isSame
    }),
    { numRuns: 150 },
  )
  await fc.assert(
    fc.asyncProperty(fc.oneof(fc.string(), fc.json()), async (text) => !(await opens(text))),
  )
  const names = fc.constantFrom(
    'format',
    'version',
    'address',
    'kdf',
    'cipher',
    'sealed',
    'checksum',
  )
  await fc.assert(
    fc.asyncProperty(names, fc.jsonValue(), async (name, value) => {
      const changed = { ...fields(good), [name]: value }
      const isSame = inspect(changed) === inspect(fields(good))
      return (await opens(JSON.stringify(changed))) === isSame
    }),
  )
  for (const text of [JSON.stringify({ ...fields(good), sealed: '' }), '{"__proto__":{}}', 'null'])
    t.notOk(await opens(text), text.slice(0, 20))
})

function safe(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

t.test('on disk it is whole, for its owner only, and never overwritten', async (t) => {
  const folder = t.testdir({ taken: 'precious' })
  const path = join(folder, 'operator.json')
  await writeKeyfile(path, SECRET, WORDS, seeded(), CHEAP)
  t.equal((await stat(path)).mode & 0o777, 0o600)
  t.equal((await readKeyfile(path, WORDS)).mnemonic, MNEMONIC)
  await t.rejects(readKeyfile(path, 'other'), { code: 'PASSPHRASE' })
  const before = await readFile(path, 'utf8')
  const other = secretKey(sha256(utf8('another')))
  for (const taken of [path, join(folder, 'taken')]) {
    await t.rejects(writeKeyfile(taken, other, WORDS, seeded(), CHEAP), {
      name: 'KeyError',
      code: 'KEYFILE_EXISTS',
      message: new RegExp(taken),
    })
  }
  t.equal(await readFile(path, 'utf8'), before)
  t.equal(await readFile(join(folder, 'taken'), 'utf8'), 'precious')
  await t.rejects(writeKeyfile(join(folder, 'none', 'key'), SECRET, WORDS, seeded(), CHEAP), {
    code: 'KEYFILE_UNWRITABLE',
  })
  await t.rejects(writeKeyfile(join(folder, 'new'), SECRET, '', seeded(), CHEAP), {
    code: 'NO_PASSPHRASE',
  })
  t.strictSame((await readdir(folder)).sort(), ['operator.json', 'taken'], 'no parts are left')
})

t.test('of two writers at once one wins', async (t) => {
  const path = join(t.testdir({}), 'key')
  const keys = [1, 2].map((n) => secretKey(sha256(Uint8Array.of(n))))
  const tags = ['aa', 'bb'].map((tag) => ({
    randomBytes: (n: number) => unhex(tag.repeat(n)),
  }))
  const results = await Promise.allSettled(
    keys.map((key, i) => writeKeyfile(path, key, WORDS, tags[i] ?? seeded(), CHEAP)),
  )
  t.strictSame(results.map(({ status }) => status).sort(), ['fulfilled', 'rejected'])
  const winner = keys[results.findIndex(({ status }) => status === 'fulfilled')]
  t.equal(hex((await readKeyfile(path, WORDS)).privateKey), hex(winner?.privateKey ?? utf8('')))
})

t.test('a key file that others can read is refused', async (t) => {
  const path = join(t.testdir({}), 'key')
  await writeFile(path, await seal(), { mode: 0o644 })
  await t.rejects(readKeyfile(path, WORDS), { code: 'FILE_OPEN_TO_OTHERS' })
  await t.rejects(readKeyfile(`${path}.none`, WORDS), { code: 'FILE_UNREADABLE' })
})

t.test('no error shows the passphrase, the key or a word', async (t) => {
  const text = await seal()
  const plain = JSON.stringify({ privateKey: hex(SECRET.privateKey), mnemonic: MNEMONIC })
  const attempts = [
    openKey(text, 'hunter2'),
    openKey(text.slice(9), WORDS),
    openKey(byHand(plain, { address: 'pokt1other' }), WORDS),
    openKey(byHand(plain.replace(/"privateKey":"../, '"privateKey":"')), WORDS),
    writeKeyfile(join(t.testdir({}), 'none', 'key'), SECRET, WORDS, seeded(), CHEAP),
  ]
  const secrets = ['hunter2', WORDS, MNEMONIC, hex(SECRET.privateKey).slice(4, 40)]
  for (const [i, result] of (await Promise.allSettled(attempts)).entries()) {
    t.equal(result.status, 'rejected', `attempt ${i}`)
    if (result.status !== 'rejected') continue
    t.ok(result.reason instanceof SupplierError, `attempt ${i}`)
    const shown = `${inspect(result.reason, { depth: 9 })} ${JSON.stringify(result.reason)}`
    for (const [j, secret] of secrets.entries())
      t.notOk(shown.includes(secret), `attempt ${i} shows secret ${j}`)
  }
})
