import { inspect } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import { hex, sha256, unhex, utf8 } from '../../src/base/bytes.ts'
import { createLog } from '../../src/base/log.ts'
import { ORDER, writeInteger } from '../../src/crypto/scalar.ts'
import { loadCurve } from '../../src/crypto/secp256k1.ts'
import { KeyError } from '../../src/keys/errors.ts'
import {
  createMnemonic,
  secretFromHex,
  secretFromMnemonic,
  secretKey,
  signerOf,
} from '../../src/keys/keyring.ts'
import { rows } from '../support/vectors.ts'

const curve = loadCurve()

interface KeyRow {
  priv: string
  pub: string
  address: string
}
interface MnemonicRow extends KeyRow {
  mnemonic: string
  bip39_passphrase: string
  entropy: string
  path: string
}

const mnemonics = rows<MnemonicRow>('keys.jsonl', 'mnemonic')

t.test('words give the key and the address that pocketd gives', async (t) => {
  const given = mnemonics.filter(({ path }) => path === "m/44'/118'/0'/0/0")
  t.ok(given.length >= 40)
  for (const { id, mnemonic, bip39_passphrase, priv, pub, address } of given) {
    const secret = secretFromMnemonic(mnemonic, bip39_passphrase)
    const signer = signerOf(secret, curve)
    t.equal(hex(secret.privateKey), priv, `${id} private key`)
    t.equal(hex(signer.publicKey), pub, `${id} public key`)
    t.equal(signer.address, address, `${id} address`)
    t.equal(secret.mnemonic, mnemonic, `${id} keeps its words`)
  }
})

t.test('a BIP-39 passphrase is taken as the bytes it is', async (t) => {
  const row = mnemonics.find(({ bip39_passphrase }) => /[^ -~]/.test(bip39_passphrase))
  t.ok(row)
  if (row === undefined) return
  const decomposed = row.bip39_passphrase.normalize('NFD')
  t.not(decomposed, row.bip39_passphrase)
  t.equal(hex(secretFromMnemonic(row.mnemonic, row.bip39_passphrase).privateKey), row.priv)
  t.not(hex(secretFromMnemonic(row.mnemonic, decomposed).privateKey), row.priv)
})

t.test('entropy gives the words of the reference', async (t) => {
  const given = mnemonics.filter(({ entropy }) => entropy.length === 64)
  t.ok(given.length > 10)
  for (const { id, entropy, mnemonic } of given)
    t.equal(createMnemonic(unhex(entropy)), mnemonic, id)
  t.throws(() => createMnemonic(new Uint8Array(16)), { name: 'AssertionError' })
})

t.test('every new mnemonic can be read again', async () => {
  const entropy = fc.uint8Array({ minLength: 32, maxLength: 32 })
  fc.assert(
    fc.property(entropy, (bytes) => {
      const words = createMnemonic(bytes)
      return words.split(' ').length === 24 && secretFromMnemonic(words).privateKey.length === 32
    }),
    { numRuns: 20 },
  )
})

t.test('what is not exactly a mnemonic is refused, and no word is repeated', async (t) => {
  const good = mnemonics[0]?.mnemonic ?? ''
  const words = good.split(' ')
  const given = rows<{ mnemonic: string }>('keys.jsonl', 'mnemonic-check')
  const bad = [
    ...given.map(({ id, mnemonic }) => [id, mnemonic]),
    ['a blank after', `${good} `],
    ['a newline after', `${good}\n`],
    ['tabs', words.join('\t')],
    ['capitals', good.toUpperCase()],
    ['wide letters that normalise to the right ones', good.replace(/^./, 'ｃ')],
    ['23 words', words.slice(1).join(' ')],
    ['27 words', [...words, ...words.slice(0, 3)].join(' ')],
    ['two words swapped', [words[1], words[0], ...words.slice(2)].join(' ')],
    ['an unknown word', ['secretly', ...words.slice(1)].join(' ')],
  ] as const
  for (const [what, mnemonic] of bad) {
    try {
      secretFromMnemonic(mnemonic ?? '')
      t.fail(`${what} was taken`)
    } catch (error) {
      t.ok(error instanceof KeyError && error.code === 'MNEMONIC', `${what} ends in MNEMONIC`)
      const shown = `${error} ${JSON.stringify(error)} ${inspect(error, { depth: 9 })}`
      t.notMatch(shown, /abandon|cool|industry|secretly/, `${what} shows no word`)
    }
  }
  const messages = {
    'word 1 ': ['secretly', ...words.slice(1)].join(' '),
    'one blank between': `${good} `,
    'not 23': words.slice(1).join(' '),
    checksum: [words[1], words[0], ...words.slice(2)].join(' '),
  }
  for (const [part, mnemonic] of Object.entries(messages))
    t.throws(() => secretFromMnemonic(mnemonic), { message: new RegExp(part) }, part)
})

t.test('hex digits give the key and the address of the reference', async (t) => {
  for (const { id, priv, pub, address } of rows<KeyRow>('keys.jsonl', 'hex')) {
    const signer = signerOf(secretFromHex(priv, curve), curve)
    t.equal(hex(signer.publicKey), pub, `${id} public key`)
    t.equal(signer.address, address, `${id} address`)
    t.equal(signerOf(secretFromHex(priv.toUpperCase(), curve), curve).address, address, id)
  }
  const app = '2d00ef074d9b51e46886dc9a1df11e7b986611d0f336bdcf1f0adce3e037ec0a'
  const { address } = signerOf(secretFromHex(app, curve), curve)
  t.equal(address, 'pokt1mrqt5f7qh8uxs27cjm9t7v9e74a9vvdnq5jva4')
})

t.test('other digits are refused, and not repeated', async (t) => {
  const good = hex(sha256(utf8('a key')))
  const bad = {
    nothing: '',
    'with 0x': `0x${good}`,
    'a digit short': good.slice(1),
    'a digit long': `${good}0`,
    'a newline after': `${good}\n`,
    'a letter that is no digit': `g${good.slice(1)}`,
    zero: '0'.repeat(64),
    N: ORDER.toString(16),
    'all f': 'f'.repeat(64),
  }
  for (const [what, text] of Object.entries(bad)) {
    try {
      secretFromHex(text, curve)
      t.fail(`${what} was taken`)
    } catch (error) {
      t.ok(error instanceof KeyError && error.code === 'HEX', what)
      if (text !== '') t.notOk(inspect(error, { depth: 9 }).includes(text.slice(4, 40)), what)
    }
  }
})

t.test('a signer signs what its public key verifies', async (t) => {
  for (const library of [loadCurve('native'), loadCurve('wasm')]) {
    const signer = signerOf(secretKey(sha256(utf8('operator'))), library)
    const digest = sha256(utf8('a response'))
    const signature = signer.sign(digest)
    t.equal(signature.length, 64)
    t.ok(library.verify(digest, signature, signer.publicKey), library.kind)
    t.strictSame(signer.sign(digest), signature, 'the same every time')
    t.throws(() => signer.sign(new Uint8Array(31)), { name: 'AssertionError' })
  }
  const refused = { name: 'CryptoError', code: 'PRIVATE_KEY' }
  t.throws(() => signerOf(secretKey(writeInteger(ORDER)), curve), refused)
})

t.test('a signer does not change with the array that its key came in', async (t) => {
  const digest = sha256(utf8('a response'))
  const expected = hex(curve.sign(digest, sha256(utf8('operator'))))
  const key = sha256(utf8('operator'))
  for (const bytes of [new Uint8Array(key), Buffer.from(key)]) {
    const signer = signerOf(secretKey(bytes), curve)
    bytes.fill(9)
    t.equal(hex(signer.sign(digest)), expected, bytes.constructor.name)
  }
})

t.test('neither printing nor the log shows a secret', async (t) => {
  const mnemonic = mnemonics[0]?.mnemonic ?? ''
  const secret = secretFromMnemonic(mnemonic)
  const signer = signerOf(secret, curve)
  const lines: string[] = []
  const log = createLog('info', { write: (line) => lines.push(line) })
  log.info({ secret, signer, own: { secret } }, 'a mistake')
  const shown = [inspect({ secret, signer }, { depth: 9 }), JSON.stringify({ secret, signer })]
  const text = [...shown, ...lines].join('\n')
  t.match(text, signer.address)
  t.notMatch(text, mnemonic.split(' ')[0] ?? '')
  t.notMatch(text, hex(secret.privateKey))
  const bytes = [...secret.privateKey.subarray(0, 4)]
  t.notMatch(text.replace(/\s+/g, ''), bytes.join(','))
  t.notMatch(text, bytes.map((byte, i) => `"${i}":${byte}`).join(','))
})
