import { createHash } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { concat, hex, sha256, unhex, utf8 } from '../../src/base/bytes.ts'
import { CryptoError } from '../../src/crypto/errors.ts'
import { ORDER, readInteger, writeInteger } from '../../src/crypto/scalar.ts'
import { loadCurve } from '../../src/crypto/secp256k1.ts'
import { json, rows } from '../support/vectors.ts'

const native = loadCurve('native')
const wasm = loadCurve('wasm')
const CURVES = [native, wasm]

interface SignatureRow {
  digest: string
  signature: string
  pub: string
  valid: boolean
}
interface KeyRow {
  priv: string
  pub: string
}
interface Tx {
  id: string
  sign_digest: string
  signature: string
  signer: { priv: string; pub: string }
}

const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32 })
const privateKey = fc.bigInt({ min: 1n, max: ORDER - 1n }).map(writeInteger)

t.test('without a wish the native library is taken where there is one', async (t) => {
  t.equal(native.kind, 'native')
  t.equal(wasm.kind, 'wasm')
  t.equal(loadCurve().kind, 'native')
})

t.test('signatures are accepted and refused as the chain does', async (t) => {
  const given = rows<SignatureRow>('relay.jsonl', 'supplier-signature')
  t.ok(given.length > 50 && given.some((row) => row.valid) && given.some((row) => !row.valid))
  for (const curve of CURVES) {
    for (const { id, digest, signature, pub, valid } of given) {
      const verdict = curve.verify(unhex(digest), unhex(signature), unhex(pub))
      t.equal(verdict, valid, `${curve.kind} ${id}`)
    }
  }
})

t.test('keys of the reference have its public keys', async (t) => {
  const given = ['mnemonic', 'hex'].flatMap((kind) => rows<KeyRow>('keys.jsonl', kind))
  t.ok(given.length > 50)
  for (const curve of CURVES)
    for (const { id, priv, pub } of given)
      t.equal(hex(curve.publicKey(unhex(priv))), pub, `${curve.kind} ${id}`)
})

t.test('signatures are those of the reference, to the byte', async (t) => {
  const { txs } = json<{ txs: Tx[] }>('tx.json')
  t.ok(txs.length > 10)
  const response = {
    id: 'the response of a relay',
    sign_digest: '55832bd785d77e5e5b30f09db087f3f7b846e3bb06f441008730f12cfc2861d9',
    signature:
      '4abc321dde7739a471d9080ae361a93ce51c7a39a014e1df00cd97bc13a553886f6dc4498f6ba93613d2ae549c930f8d9ed4ad55c50756ab1771c13a11352562',
    signer: {
      priv: '9feb4054fe843dd5afcaec5f57230de88f78b279ab36a44d2466e786f92d3531',
      pub: '03fac56675fc03038ccd0b5a3b263d05fe2fdc68d02f5d932366a70a3b6e262f38',
    },
  }
  for (const curve of CURVES) {
    for (const { id, sign_digest, signature, signer } of [...txs, response]) {
      const digest = unhex(sign_digest)
      t.equal(hex(curve.sign(digest, unhex(signer.priv))), signature, `${curve.kind} ${id}`)
      t.ok(curve.verify(digest, unhex(signature), unhex(signer.pub)), `${curve.kind} ${id}`)
    }
  }
})

t.test('both libraries give the same keys and signatures, always low in s', async () => {
  fc.assert(
    fc.property(bytes32, privateKey, (digest, key) => {
      const signature = native.sign(digest, key)
      const publicKey = native.publicKey(key)
      return (
        hex(signature) === hex(wasm.sign(digest, key)) &&
        hex(publicKey) === hex(wasm.publicKey(key)) &&
        signature.length === 64 &&
        readInteger(signature, 32) <= ORDER / 2n &&
        native.verify(digest, signature, publicKey) &&
        wasm.verify(digest, signature, publicKey)
      )
    }),
    { numRuns: 200 },
  )
})

t.test('the other s is refused by both', async (t) => {
  const digest = sha256(utf8('a message'))
  const key = sha256(utf8('a key'))
  const signature = native.sign(digest, key)
  const high = writeInteger(ORDER - readInteger(signature, 32))
  const other = concat(signature.subarray(0, 32), high)
  for (const curve of CURVES) t.notOk(curve.verify(digest, other, curve.publicKey(key)), curve.kind)
})

t.test('an altered signature, digest or key is refused alike', async () => {
  const change = fc.record({ part: fc.nat(2), bit: fc.nat(255) })
  fc.assert(
    fc.property(bytes32, privateKey, change, (digest, key, { part, bit }) => {
      const parts = [digest, native.sign(digest, key), native.publicKey(key)].map((x) => x.slice())
      const changed = parts[part]
      if (changed !== undefined) changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      const [d, s, p] = parts
      if (d === undefined || s === undefined || p === undefined) return false
      return !native.verify(d, s, p) && !wasm.verify(d, s, p)
    }),
    { numRuns: 200 },
  )
})

t.test('whatever the bytes, verify says yes or no and both libraries say the same', async () => {
  const any = fc.uint8Array({ maxLength: 80 })
  fc.assert(
    fc.property(any, any, any, (digest, signature, key) => {
      return native.verify(digest, signature, key) === false && !wasm.verify(digest, signature, key)
    }),
  )
  const nearly = (size: number) => fc.uint8Array({ minLength: size, maxLength: size })
  const prefixed = nearly(32).map((x) => concat(Uint8Array.of(2), x))
  fc.assert(
    fc.property(nearly(32), nearly(64), prefixed, (digest, signature, key) => {
      return (
        native.verify(digest, signature, key) === wasm.verify(digest, signature, key) &&
        hex(native.decompress(key) ?? new Uint8Array()) ===
          hex(wasm.decompress(key) ?? new Uint8Array())
      )
    }),
  )
})

t.test('what is no private key is refused by name, and never shown', async (t) => {
  const digest = createHash('sha256').update('x').digest()
  const bad = {
    zero: writeInteger(0n),
    N: writeInteger(ORDER),
    'all ff': new Uint8Array(32).fill(255),
    short: new Uint8Array(31).fill(7),
    long: new Uint8Array(33).fill(7),
    empty: new Uint8Array(),
  }
  for (const curve of CURVES) {
    for (const [what, key] of Object.entries(bad)) {
      const expected = { name: 'CryptoError', code: 'PRIVATE_KEY' }
      t.throws(() => curve.publicKey(key), expected, `${curve.kind} ${what}`)
      t.throws(() => curve.sign(digest, key), expected, `${curve.kind} ${what}`)
    }
  }
  try {
    native.publicKey(new Uint8Array(31).fill(7))
    t.fail('a key of 31 bytes was taken')
  } catch (error) {
    t.ok(error instanceof CryptoError)
    t.notMatch(JSON.stringify(error) + String(error), /0707|7,7/)
  }
})
