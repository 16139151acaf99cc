import { createCipheriv, createHash, pbkdf2Sync } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { chmod, cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { hex, unhex, utf8 } from '../../src/base/bytes.ts'
import { packageRoot } from '../../src/config/root.ts'
import { ORDER, writeInteger } from '../../src/crypto/scalar.ts'
import { loadCurve } from '../../src/crypto/secp256k1.ts'
import { KeyError } from '../../src/keys/errors.ts'
import { openJwe } from '../../src/keys/jwe.ts'
import { openKeyringKey, readKeyringFolder, told } from '../../src/keys/keyring-folder.ts'
import { readEntry } from '../../src/keys/keyring-record.ts'
import { Writer } from '../../src/protocol/wire.ts'
import { json } from '../support/vectors.ts'

const golden = json<{ passphrase: string; keys: Record<string, string> }>('keyrings/keys.json')
const vectors = join(packageRoot(), 'test', 'vectors', 'keyrings')
const curve = loadCurve()
const KEY = unhex('a'.repeat(64))
const SECP256K1 = '/cosmos.crypto.secp256k1.PrivKey'

/** A copy of a keyring that Go has written, with the permissions that it had. */
async function keyring(t: Test, backend: 'test' | 'file'): Promise<string> {
  const path = join(t.testdir(), `keyring-${backend}`)
  await cp(join(vectors, `keyring-${backend}`), path, { recursive: true })
  await chmod(path, 0o700)
  return path
}

async function open(path: string, name: string, passphrase?: string): Promise<string> {
  const folder = await readKeyringFolder(path)
  return hex((await openKeyringKey(folder, name, passphrase, curve)).privateKey)
}

const base64url = (bytes: string | Uint8Array) => Buffer.from(bytes).toString('base64url')

/** A token made with nothing but the standards. */
function seal(plain: string, change: Record<string, unknown> = {}, passphrase = 'test'): string {
  const alg = 'PBES2-HS256+A128KW'
  const head = { alg, enc: 'A256GCM', p2c: 8, p2s: base64url('salt of bytes'), ...change }
  const header = base64url(JSON.stringify(head))
  const salt = Buffer.from(`${alg}\0salt of bytes`)
  const outer = pbkdf2Sync(passphrase, salt, 8, 16, 'sha256')
  const key = createHash('sha256').update('inner').digest()
  const wrap = createCipheriv('id-aes128-wrap', outer, Buffer.alloc(8, 0xa6))
  const cipher = createCipheriv('aes-256-gcm', key, Buffer.alloc(12, 5)).setAAD(Buffer.from(header))
  const body = Buffer.concat([cipher.update(plain), cipher.final()])
  const parts = [wrap.update(key), Buffer.alloc(12, 5), body, cipher.getAuthTag()]
  return [header, ...parts.map(base64url)].join('.')
}

const packed = (type: string, key: Uint8Array) =>
  new Writer().string(1, type).bytes(2, new Writer().bytes(1, key).finish())

/** The record of a key named `a`, as the entry `a.info` holds it. */
function entry(change: { name?: string; shows?: Uint8Array; holds?: Uint8Array; type?: string }) {
  const { name = 'a', shows = curve.publicKey(KEY), holds = KEY, type = SECP256K1 } = change
  return new Writer()
    .string(1, name)
    .message(2, packed('/cosmos.crypto.secp256k1.PubKey', shows))
    .message(3, new Writer().message(1, packed(type, holds)))
}

const item = (record: Writer, key = 'a.info') =>
  utf8(JSON.stringify({ Key: key, Data: Buffer.from(record.finish()).toString('base64') }))

t.test('each key of the keyrings of Go opens to itself', async (t) => {
  const paths = { test: await keyring(t, 'test'), file: join(vectors, 'keyring-file') }
  t.equal(Object.keys(golden.keys).length, 5)
  for (const [of, privateKey] of Object.entries(golden.keys)) {
    const [, backend, name = ''] = /^(test|file) (.*)$/.exec(of) ?? []
    const isTest = backend === 'test'
    const path = isTest ? paths.test : paths.file
    t.equal(await open(path, name, isTest ? undefined : golden.passphrase), privateKey, of)
  }
})

t.test('a folder tells its names, whether it asks and whether others can look in', async (t) => {
  const path = await keyring(t, 'test')
  const names = '100% Lieferant/2 ledger multi offline old supplier1 validator'.split(' ')
  const folder = { path, names, asksPassphrase: false, isOpenToOthers: false }
  t.strictSame(await readKeyringFolder(path), folder)
  await chmod(path, 0o755)
  t.strictSame(await readKeyringFolder(path), { ...folder, isOpenToOthers: true })
  const file = await readKeyringFolder(await keyring(t, 'file'))
  t.match(file, { names: ['operator', 'owner'], asksPassphrase: true })
  const many = { ...folder, names: Array.from({ length: 25 }, (_, i) => `\u202ek${i}`) }
  t.match(told(many), /^\?k0, \?k1, .*, \?k19 and 5 more$/)
})

t.test('entries without a key of ours are refused by name', async (t) => {
  const path = await keyring(t, 'test')
  const cases = [
    ['ledger', 'KEY_KIND', 'the private key of ledger is on a Ledger device'],
    ['offline', 'KEY_KIND', 'the private key of offline is offline: only the public one was added'],
    ['multi', 'KEY_KIND', 'the private key of multi is of a multisig: there are several'],
    ['validator', 'KEY_KIND', /validator is \/cosmos\.crypto\.ed25519\.PrivKey, not secp256k1/],
    ['old', 'KEYRING', /entry old is not a record: .* pocketd keys migrate/],
  ] as const
  for (const [name, code, message] of cases) await t.rejects(open(path, name), { code, message })
})

t.test('a name is looked for among the files and never becomes a path', async (t) => {
  const path = await keyring(t, 'test')
  const outside = join(path, '..', 'outside.info')
  await cp(join(path, 'supplier1.info'), outside)
  for (const name of [
    '../outside',
    outside.slice(0, -5),
    'supplier1.info',
    'Supplier1',
    '',
    '.',
    '\0',
  ])
    await t.rejects(open(path, name), {
      code: 'KEY_NAME',
      message: /^no .* among the keys: 100%, Lieferant\/2, ledger, /,
    })
})

t.test('a wrong passphrase is told from a damaged entry', async (t) => {
  const path = await keyring(t, 'file')
  const wrong = await open(path, 'owner', 'Schlüssel').catch((error: unknown) => error)
  t.match(wrong, { code: 'IMPORT_PASSPHRASE' })
  t.notMatch(String(wrong), 'Schlüssel')
  const file = join(path, 'owner.info')
  const parts = (await readFile(file, 'utf8')).split('.')
  const altered = (at: number) =>
    parts.map((part, i) => (i === at ? part.replace(/^./, (c) => (c === 'A' ? 'B' : 'A')) : part))
  await writeFile(file, altered(1).join('.'))
  await t.rejects(open(path, 'owner', golden.passphrase), {
    code: 'KEYRING',
    message: 'the entry owner is damaged: the passphrase is right',
  })
  await writeFile(file, altered(3).join('.'))
  await t.rejects(open(path, 'owner', golden.passphrase), { code: 'KEYRING', message: /altered/ })
  await rm(join(path, 'keyhash'))
  await t.rejects(open(path, 'operator', 'wrong'), { code: 'IMPORT_PASSPHRASE' })
  t.equal(await open(path, 'operator', golden.passphrase), golden.keys['file operator'])
})

t.test('an entry of the backend file in a folder without its hash says so', async (t) => {
  const path = t.testdir()
  await cp(join(vectors, 'keyring-file', 'owner.info'), join(path, 'owner.info'))
  await t.rejects(open(path, 'owner'), { code: 'KEYRING', message: /the file keyhash is missing/ })
})

t.test('what is no keyring says so, and a folder above one names it', async (t) => {
  const path = await keyring(t, 'test')
  const above = join(path, '..')
  const hint = `${above} holds no keys; name ${path}`
  await t.rejects(readKeyringFolder(above), { code: 'KEYRING', message: hint })
  await t.rejects(readKeyringFolder(join(path, 'none')), {
    code: 'KEYRING',
    message: /cannot read/,
  })
  await t.rejects(readKeyringFolder(join(path, 'old.info')), { code: 'KEYRING' })
  await writeFile(join(path, 'big.info'), 'x'.repeat(70_000))
  await mkdir(join(path, 'folder.info'))
  for (const name of ['big', 'folder'])
    await t.rejects(open(path, name), { code: 'KEYRING', message: /too large for an entry, or no/ })
})

t.test('a folder of very many files is not taken for a keyring', async (t) => {
  const path = t.testdir()
  for (let i = 0; i < 5_000; i++) writeFileSync(join(path, `${i}.info`), '')
  t.equal((await readKeyringFolder(path)).names.length, 5_000)
  writeFileSync(join(path, 'more'), '')
  await t.rejects(readKeyringFolder(path), { code: 'KEYRING', message: /too many files/ })
})

t.test('a token that asks for too much or for anything else is refused unopened', async (t) => {
  const plain = Buffer.from((await openJwe(seal('plain'), 'test')) ?? [])
  t.equal(plain.toString(), 'plain', 'the token of this test is a good one')
  t.equal(await openJwe(seal('plain'), 'other'), undefined)
  const [head = '', ...rest] = seal('plain').split('.')
  const [wrapped = '', nonce = '', body = '', tag = ''] = rest
  const deep = base64url('['.repeat(20_000))
  const cases = {
    'many iterations': seal('plain', { p2c: 1_300_001 }),
    'no iterations': seal('plain', { p2c: 0 }),
    'half iterations': seal('plain', { p2c: 8.5 }),
    'endless salt': seal('plain', { p2s: 'A'.repeat(2_000) }),
    compressed: seal('plain', { zip: 'DEF' }),
    extended: seal('plain', { crit: ['x'] }),
    'another alg': seal('plain', { alg: 'dir' }),
    'another enc': seal('plain', { enc: 'A128GCM' }),
    'deep header': [deep, ...rest].join('.'),
    'no header': ['', ...rest].join('.'),
    'no tag': [head, wrapped, nonce, body, ''].join('.'),
    'short tag': [head, wrapped, nonce, body, tag.slice(0, 6)].join('.'),
    'long nonce': [head, wrapped, `${nonce}AAAA`, body, tag].join('.'),
    'no nonce': [head, wrapped, '', body, tag].join('.'),
    'no wrapped key': [head, '', nonce, body, tag].join('.'),
    'four parts': [head, wrapped, nonce, body].join('.'),
    'six parts': [head, ...rest, 'AA'].join('.'),
    nothing: '',
  }
  for (const [about, token] of Object.entries(cases))
    await t.rejects(openJwe(token, 'test'), { name: 'KeyError', code: 'KEYRING' }, about)
})

t.test('an entry must be the one it is filed as, and hold the key that it shows', async (t) => {
  t.equal(hex(readEntry(item(entry({})), 'a', curve).privateKey), hex(KEY))
  const twice = entry({}).message(6, new Writer())
  const cases = [
    ['another name', item(entry({ name: 'b' })), 'KEYRING', /entry a is that of b/],
    ['another file', item(entry({}), 'b.info'), 'KEYRING', /entry a is that of a/],
    ['another public key', item(entry({ shows: KEY })), 'KEYRING', /shows one key and holds/],
    ['31 bytes', item(entry({ holds: KEY.subarray(1) })), 'KEYRING', /is not a key/],
    ['zero', item(entry({ holds: new Uint8Array(32) })), 'KEYRING', /is not a key/],
    ['N', item(entry({ holds: writeInteger(ORDER) })), 'KEYRING', /is not a key/],
    ['another type', item(entry({ type: '/x.Key\u0007' })), 'KEY_KIND', /is \/x\.Key\?, not/],
    ['local and offline', item(twice), 'KEYRING', /not a record/],
    ['an empty record', item(new Writer()), 'KEYRING', /not a record/],
    ['no record', utf8('{"Key":"a.info","Data":"////"}'), 'KEYRING', /not a record/],
    ['no JSON', utf8('{'), 'KEYRING', /not a record/],
  ] as const
  for (const [about, plain, code, message] of cases) {
    t.throws(() => readEntry(plain, 'a', curve), { code, message }, about)
  }
})

t.test('any bytes in an entry are read or refused with a code', async () => {
  const good = entry({}).finish()
  const cut = fc.tuple(fc.nat(good.length - 1), fc.uint8Array({ maxLength: 4 }))
  fc.assert(
    fc.property(cut, ([at, patch]) => {
      const data = new Uint8Array(good)
      data.set(patch.subarray(0, good.length - at), at)
      const plain = utf8(
        JSON.stringify({ Key: 'a.info', Data: Buffer.from(data).toString('base64') }),
      )
      try {
        return hex(readEntry(plain, 'a', curve).privateKey) === hex(KEY)
      } catch (error) {
        return error instanceof KeyError && !error.message.includes('aaaaaaaa')
      }
    }),
  )
})
