import fc from 'fast-check'
import t from 'tap'
import { hex, unhex } from '../../src/base/bytes.ts'
import { loadCurve } from '../../src/crypto/secp256k1.ts'
import { isArmor, openArmor, parseArmor } from '../../src/keys/armor.ts'
import { bcrypt, bcryptMatches } from '../../src/keys/bcrypt.ts'
import { KeyError } from '../../src/keys/errors.ts'
import { signerOf } from '../../src/keys/keyring.ts'
import { json } from '../support/vectors.ts'

interface Exported {
  readonly id: string
  readonly passphrase: string
  readonly privateKey: string
  readonly address: string
  readonly armor: string
}

interface Hashed {
  readonly password: string
  readonly salt: string
  readonly cost: number
  readonly hash: string
}

const golden = json<{ armors: Exported[]; foreign: Exported[]; bcrypt: Hashed[] }>(
  'keys-armor.json',
)
const curve = loadCurve()
const textOf = (password: string) => new TextDecoder().decode(unhex(password))
const [FIRST] = golden.armors
const ARMOR = FIRST?.armor ?? ''
const armorOf = (id: string) =>
  [...golden.armors, ...golden.foreign].find((exported) => exported.id === id)?.armor ?? ''

t.test('bcrypt agrees with Go, whatever the length', async (t) => {
  t.equal(golden.bcrypt.length, 9)
  for (const { password, salt, cost, hash } of golden.bcrypt) {
    const about = `${password.length / 2} bytes at cost ${cost}`
    t.equal(await bcrypt(textOf(password), unhex(salt), cost), hash, about)
  }
})

t.test('what is no bcrypt hash, or takes too long, matches nothing', async (t) => {
  const [, { hash = '' } = {}] = golden.bcrypt
  t.ok(await bcryptMatches(hash, 'a'))
  t.notOk(await bcryptMatches(hash, 'b'))
  const costs = ['00', '03', '15', '31', '99', '-5', '5.'].map((cost) =>
    hash.replace('$05$', `$${cost}$`),
  )
  for (const text of [...costs, '', hash.slice(1), `${hash}A`, hash.replace('$2a', '$3a')])
    t.notOk(await bcryptMatches(text, 'a'), text)
})

t.test('each export of Go opens to its key', async (t) => {
  t.equal(golden.armors.length, 6)
  for (const { id, passphrase, privateKey, address, armor } of golden.armors) {
    const secret = await openArmor(parseArmor(armor), passphrase, curve)
    t.equal(hex(secret.privateKey), privateKey, id)
    t.equal(signerOf(secret, curve).address, address, id)
    t.equal(secret.mnemonic, undefined, id)
  }
})

t.test('another passphrase opens neither seal, and is not repeated', async (t) => {
  for (const id of ['argon2', 'bcrypt']) {
    const opened = openArmor(parseArmor(armorOf(id)), 'wrong horse', curve)
    const error = await opened.catch((thrown: unknown) => thrown)
    t.match(error, { name: 'KeyError', code: 'IMPORT_PASSPHRASE' }, id)
    t.notMatch(String(error), 'horse', id)
  }
})

t.test('a key of another curve is refused, whether the armor says so or not', async (t) => {
  t.throws(() => parseArmor(armorOf('ed25519 with type ed25519')), {
    code: 'KEY_KIND',
    message: 'the armor holds a key of type ed25519, not secp256k1',
  })
  const posing = parseArmor(armorOf('ed25519 with type secp256k1'))
  await t.rejects(openArmor(posing, 'correct horse', curve), {
    code: 'KEY_KIND',
    message: 'the armor holds an ed25519 key, as validators have',
  })
})

t.test('other armors are told by name', async (t) => {
  const cases = [
    [
      armorOf('public key'),
      'the armor holds a TENDERMINT PUBLIC KEY, not a TENDERMINT PRIVATE KEY',
    ],
    [armorOf('key info'), 'the armor holds a TENDERMINT KEY INFO, not a TENDERMINT PRIVATE KEY'],
    ['-----BEGIN \u001b[31mX-----', 'the armor holds a ?[31mX, not a TENDERMINT PRIVATE KEY'],
    ['words', 'this is not an armored key'],
    [ARMOR.padStart(20_000, ' '), 'this is not an armored key'],
  ] as const
  for (const [text, message] of cases) t.throws(() => parseArmor(text), { code: 'ARMOR', message })
  t.ok(isArmor(ARMOR))
  t.notOk(isArmor('abandon abandon'))
})

t.test('an armor may be indented, come from Windows, or stand below the question', async (t) => {
  const whole = parseArmor(ARMOR)
  for (const text of [
    ARMOR.replaceAll('\n', '\r\n'),
    ARMOR.replaceAll('\n', '\n  '),
    `Enter passphrase to encrypt the exported key:\n${ARMOR}\n\n`,
  ]) {
    t.ok(isArmor(text))
    t.strictSame(parseArmor(text), whole)
  }
})

t.test('an armor that is cut or altered is told from a wrong passphrase', async (t) => {
  const lines = ARMOR.split('\n')
  const without = (index: number) => lines.filter((_, at) => at !== index).join('\n')
  const cases = [
    ['no end', lines.slice(0, -1).join('\n'), /cut: its END line/],
    ['another end', ARMOR.replace('END TENDERMINT', 'END TENDER'), /cut: its END line/],
    ['no checksum', without(lines.length - 2), /its checksum is another/],
    ['no first line of the body', without(5), /its checksum is another/],
    ['no body', [...lines.slice(0, 5), ...lines.slice(-2)].join('\n'), /not base64/],
    ['no empty line', without(4), /missing or not base64/],
    ['only headers', [...lines.slice(0, 4), lines.at(-1)].join('\n'), /not base64/],
    ['no salt', without(2), /no salt/],
    ['short salt', ARMOR.replace(/salt: ../, 'salt: '), /no salt/],
    ['another kdf', ARMOR.replace('kdf: argon2', 'kdf: scrypt'), /neither argon2 nor bcrypt/],
    ['two kdf', ARMOR.replace('kdf', 'kdf: bcrypt\nkdf'), /malformed or comes twice/],
    ['not base64', ARMOR.replace('\n\n', '\n\n!'), /not base64/],
  ] as const
  for (const [about, text, message] of cases)
    t.throws(() => parseArmor(text), { name: 'KeyError', code: 'ARMOR', message }, about)
})

t.test('no change of a character in the body passes', async () => {
  const whole = parseArmor(ARMOR)
  const from = ARMOR.indexOf('\n\n') + 2
  const to = ARMOR.indexOf('\n=')
  const digits = [...'ABCXYZabcxyz0189+/']
  fc.assert(
    fc.property(fc.integer({ min: from, max: to - 1 }), fc.constantFrom(...digits), (at, digit) => {
      const altered = `${ARMOR.slice(0, at)}${digit}${ARMOR.slice(at + 1)}`
      try {
        // The spare bits of the last digit say nothing.
        return Buffer.compare(parseArmor(altered).sealed, whole.sealed) === 0
      } catch (error) {
        return error instanceof KeyError && error.code === 'ARMOR'
      }
    }),
  )
})

t.test('any text is read or refused with a code', async () => {
  const pieces = fc.constantFrom(
    ...ARMOR.split('\n'),
    '-----BEGIN ',
    '-----END ',
    ': ',
    '=',
    '=AAAA',
    'kdf: bcrypt',
    '',
  )
  fc.assert(
    fc.property(fc.array(fc.oneof(pieces, fc.string())), (lines) => {
      try {
        return parseArmor(lines.join('\n')).salt.length === 16
      } catch (error) {
        return error instanceof KeyError
      }
    }),
  )
})
