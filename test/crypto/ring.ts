import fc from 'fast-check'
import t from 'tap'
import { concat, equal, hex, sha256, unhex, utf8 } from '../../src/base/bytes.ts'
import { CryptoError } from '../../src/crypto/errors.ts'
import {
  encodeRing,
  PLACEHOLDER_KEY,
  parseRing,
  type Ring,
  RingVerifier,
  signRing,
} from '../../src/crypto/ring.ts'
import { ORDER, reduce, writeInteger } from '../../src/crypto/scalar.ts'
import { type Curve, loadCurve } from '../../src/crypto/secp256k1.ts'
import { rows } from '../support/vectors.ts'

const CURVES = [loadCurve('native'), loadCurve('wasm')]
const KINDS =
  'random short-challenge chosen-s chosen-u special-key duplicate-key large-ring mutated crafted padded-hash cgo-backend'
const APP = unhex('2d00ef074d9b51e46886dc9a1df11e7b986611d0f336bdcf1f0adce3e037ec0a')
const GATEWAY = unhex('1a11ef074d9b51e46886dc9a1df11e7b986611d0f336bdcf1f0adce3e037ab11')
/** What the gateway of the whole relay in test/protocol/relay.ts signs. */
const MESSAGE = unhex('36be5de46c3c46add6fc9cafc72e812ba70a201d3d36e24b2f78385e630495eb')
const SIGNED = {
  'app and gateway, by the gateway':
    '00000002792198c628d7d7f21c378a9bd126e4c68651d557ca30580c42ca0ea5f66198e702c82a2efdba0348c63e87377a0fb0d882a4fc696744aec6b6991bcbe1b2364536926fc6900495b1d155325f7e98890e131e6f3fe134deaceb570d957d5b643b360397896e9b106df70124a856861cc9be52fac9980e2c7a118a36c19d0198692cc574846979facab315d21d2b06671aee1fad7eab9524f31722c7ada60a3c96012102bbbf99abdcddac27350bca272d7146187c091aacfc1c6f90819c9b6daf4fe846',
  'app twice, by the app':
    '00000002b35d3f50d3c617b5bfe6ebe362deeb64eeaff1b2c8b4b7143c4833b8adc00ca2027f66757fefe88e663db41494bceaa674fffee92f99f88b90048ac13cc6988c6292fda321771575f8dc5e074c93af8c614f4dd798588635b0521772ec4d2a00ce0397896e9b106df70124a856861cc9be52fac9980e2c7a118a36c19d0198692cc58eb942dff3b66fc2e1be7580da29a5e83490e359f46b90bd47649de43803eefe0397896e9b106df70124a856861cc9be52fac9980e2c7a118a36c19d0198692cc5',
  'placeholder and app, by the app':
    '000000026939ad76110690fa3c807c0ee31343450813f6a7e435c883660258a0b86de418027f66757fefe88e663db41494bceaa674fffee92f99f88b90048ac13cc6988c62903f3a88022e20c6c2eed2fe484d3881aff8eb19da566a755a9d6153a1e4a24a021066f293709356a33e9c13017867586baf52513e845bc4335233a15ed1e00baffeced294ec2ad608c7ee79d1026b86ae6cee52d6d43087f1887c40a349f6b4120397896e9b106df70124a856861cc9be52fac9980e2c7a118a36c19d0198692cc5',
  'gateway, app and placeholder, by the gateway':
    '000000032b5a027640401906dc09c2cc3651c094c46a4b96ef2e56e7f16adab00b4a9abf02c82a2efdba0348c63e87377a0fb0d882a4fc696744aec6b6991bcbe1b2364536310885816862849dbe8da5e32f551eb82868b695a46332ff10aab8aa4228b51f02bbbf99abdcddac27350bca272d7146187c091aacfc1c6f90819c9b6daf4fe8466d190326394ed2bc28406576b7abfd1f864b952060776bb068391b69a6e8add70397896e9b106df70124a856861cc9be52fac9980e2c7a118a36c19d0198692cc5b80331d1b43bd620c8e2db77e73872cf17bd364e391c5378fcdd20732d1cd061021066f293709356a33e9c13017867586baf52513e845bc4335233a15ed1e00baf',
}

/** The first or the second challenge had a leading zero byte. */
const SHORT = {
  c0: '00000002fc37d96ce5a6e3f78fc33ad6fa0368ae4c2e74d812d94b7ddac696a54f22390002c82a2efdba0348c63e87377a0fb0d882a4fc696744aec6b6991bcbe1b23645361c5c341b7ec861c9279c19e6a0d22de0418d7dd68069759a7bf391ca775079e90397896e9b106df70124a856861cc9be52fac9980e2c7a118a36c19d0198692cc5e5f120cfda0c32035b0753482c4c20c7011592729c79fe5ccbbcd55bc763a40802bbbf99abdcddac27350bca272d7146187c091aacfc1c6f90819c9b6daf4fe846',
  c1: '00000002bea7d3c005b781e587659127d8459e762c3fb599ee638ffb401e7c96f01221b902c82a2efdba0348c63e87377a0fb0d882a4fc696744aec6b6991bcbe1b23645361c5c341b7ec861c9279c19e6a0d22de0418d7dd68069759a7bf391ca775079e90397896e9b106df70124a856861cc9be52fac9980e2c7a118a36c19d0198692cc5328af6c0e45ee28f219a56617b36b4c986515cf1f8b305539bbb51e09496bbe602bbbf99abdcddac27350bca272d7146187c091aacfc1c6f90819c9b6daf4fe846',
}

interface RingRow {
  n: number
  msg: string
  sig: string
  expect: string
  strict?: string
}

/** Refuses with false or with RING_MALFORMED; another exception is the test's failure. */
function accepts(verifier: RingVerifier, message: Uint8Array, bytes: Uint8Array): boolean {
  try {
    return verifier.verify(message, parseRing(bytes))
  } catch (error) {
    if (error instanceof CryptoError && error.code === 'RING_MALFORMED') return false
    throw error
  }
}

/** The same bytes in every run. */
function seeded(seed: string): (n: number) => Uint8Array {
  let counter = 0
  return (n) => {
    counter++
    return concat(sha256(utf8(`${seed} ${counter}`)), sha256(utf8(`${counter} ${seed}`))).slice(
      0,
      n,
    )
  }
}

for (const curve of CURVES) {
  const { kind } = curve
  const verifier = new RingVerifier({ curve })

  t.test(`${kind}: accepts the signatures that the chain accepts, and no other`, async (t) => {
    const given = KINDS.split(' ').flatMap((kind) => rows<RingRow>('ring.jsonl', kind))
    t.equal(given.length, 2096)
    const wrong = given.filter(({ msg, sig, expect, strict }) => {
      const expected = expect === 'valid' && strict === undefined
      return accepts(verifier, unhex(msg), unhex(sig)) !== expected
    })
    t.strictSame(
      wrong.map(({ id, note, expect }) => ({ id, note, expect })),
      [],
    )
  })

  t.test(`${kind}: shortened challenges are moved to the left`, async (t) => {
    t.ok(verifier.verify(sha256(utf8('short-challenge-751')), parseRing(unhex(SHORT.c0))), 'c0')
    t.ok(verifier.verify(sha256(utf8('short-challenge-875')), parseRing(unhex(SHORT.c1))), 'c1')
  })

  t.test(`${kind}: the four ways a relay is signed`, async (t) => {
    for (const [what, sig] of Object.entries(SIGNED))
      t.ok(verifier.verify(MESSAGE, parseRing(unhex(sig))), what)
    const images = Object.values(SIGNED).map((sig) => hex(parseRing(unhex(sig)).keyImage))
    t.equal(images[0], images[3], 'the gateway has one key image')
    t.equal(images[1], images[2], 'the application has one key image')
    t.not(images[0], images[1])
  })

  t.test(`${kind}: a changed bit in any byte is refused`, async (t) => {
    const good = unhex(SIGNED['app and gateway, by the gateway'])
    const step = kind === 'native' ? 1 : 7
    for (let at = 0; at < good.length; at += step) {
      const bad = good.slice()
      bad[at] = (bad[at] ?? 0) ^ (1 << (at % 8))
      t.notOk(accepts(verifier, MESSAGE, bad), `byte ${at} of the signature`)
    }
    for (let at = 0; at < 32; at += step) {
      const other = MESSAGE.slice()
      other[at] = (other[at] ?? 0) ^ (1 << (at % 8))
      t.notOk(accepts(verifier, other, good), `byte ${at} of the message`)
    }
    t.notOk(accepts(verifier, MESSAGE, concat(good, Uint8Array.of(0))), 'a byte appended')
    t.ok(accepts(verifier, MESSAGE, good), 'unchanged')
  })

  t.test(`${kind}: what signRing makes, verify accepts`, async (t) => {
    const count = kind === 'native' ? 300 : 20
    const random = seeded(`signing ${kind}`)
    for (let i = 0; i < count; i++) {
      const n = 2 + (i % 5)
      const keys = Array.from({ length: n }, () => random(32))
      const members = keys.map((key) => curve.publicKey(key))
      const message = random(32)
      const signer = keys[i % n] ?? new Uint8Array()
      const signed = signRing({ curve, randomBytes: random }, message, members, signer)
      const ring = parseRing(signed)
      t.ok(verifier.verify(message, ring), `${n} keys, signed by ${i % n}, ${i}`)
      t.notOk(verifier.verify(random(32), ring), `another message, ${i}`)
      t.strictSame(
        ring.members.map(({ key }) => hex(key)),
        members.map(hex),
        `order, ${i}`,
      )
    }
  })

  t.test(`${kind}: chosen scalars that lead to infinity are answered with no`, async (t) => {
    const ring = parseRing(unhex(SIGNED['app and gateway, by the gateway']))
    const odd = [0n, 1n, 2n, ORDER - 1n, ORDER, ORDER + 1n, (1n << 256n) - 1n].map(writeInteger)
    for (const c0 of odd) {
      for (const s of odd) {
        const members = ring.members.map(({ key }) => ({ s, key }))
        t.notOk(verifier.verify(MESSAGE, { ...ring, c0, members }), `c ${hex(c0)} s ${hex(s)}`)
      }
    }
    const generator = curve.publicKey(writeInteger(1n))
    const members = [generator, generator].map((key) => ({ s: writeInteger(5n), key }))
    const cancelled = { c0: writeInteger(reduce(-5n)), keyImage: generator, members }
    t.notOk(verifier.verify(MESSAGE, cancelled), 's G + c P = 0')
  })
}

const native = loadCurve('native')
const verifier = new RingVerifier({ curve: native })

t.test('both libraries say the same about random bytes in the form of a ring', async () => {
  const others = CURVES.map((curve) => new RingVerifier({ curve }))
  const scalar = fc.uint8Array({ minLength: 32, maxLength: 32 })
  const key = fc.oneof(
    scalar.map((x) => concat(Uint8Array.of(2), x)),
    scalar.map((x) => native.publicKey(sha256(x))),
    fc.uint8Array({ maxLength: 40 }),
  )
  const member = fc.record({ s: fc.oneof(scalar, fc.uint8Array({ maxLength: 40 })), key })
  const ring = fc.record({
    c0: fc.oneof(scalar, fc.uint8Array({ maxLength: 40 })),
    keyImage: key,
    members: fc.array(member, { maxLength: 4 }),
  })
  fc.assert(fc.property(scalar, ring, (m, r) => others.every((v) => v.verify(m, r) === false)))
})

t.test('a ring is its bytes and back', async () => {
  const bytes = (n: number) => fc.uint8Array({ minLength: n, maxLength: n })
  const member = fc.record({ s: bytes(32), key: bytes(33) })
  const ring = fc.record({
    c0: bytes(32),
    keyImage: bytes(33),
    members: fc.array(member, { minLength: 2, maxLength: 64 }),
  })
  fc.assert(
    fc.property(ring, (given: Ring) => {
      const encoded = encodeRing(given)
      const parsed = parseRing(encoded)
      return (
        encoded.length === 69 + 65 * given.members.length &&
        equal(encodeRing(parsed), encoded) &&
        equal(parsed.c0, given.c0) &&
        equal(parsed.keyImage, given.keyImage) &&
        parsed.members.every(({ s, key }, i) => {
          const original = given.members[i]
          return original !== undefined && equal(s, original.s) && equal(key, original.key)
        })
      )
    }),
  )
})

t.test('mutated bytes end in no or in a CryptoError', async () => {
  const good = unhex(SIGNED['app and gateway, by the gateway'])
  const change = fc.record({ at: fc.nat(good.length - 1), to: fc.nat(255) })
  const mutation = fc.record({
    changes: fc.array(change, { minLength: 1, maxLength: 4 }),
    cut: fc.oneof(fc.constant(good.length), fc.nat(good.length)),
    more: fc.oneof(fc.constant(new Uint8Array()), fc.uint8Array({ maxLength: 70 })),
  })
  fc.assert(
    fc.property(mutation, ({ changes, cut, more }) => {
      const bad = good.slice()
      for (const { at, to } of changes) bad[at] = to
      const bytes = concat(bad.subarray(0, cut), more)
      return accepts(verifier, MESSAGE, bytes) === equal(bytes, good)
    }),
    { numRuns: 500 },
  )
  fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), (x) => !accepts(verifier, MESSAGE, x)))
})

t.test('lengths and counts are exact', async (t) => {
  const head = (n: number) => concat(unhex(n.toString(16).padStart(8, '0')), new Uint8Array(65))
  const sized = (n: number, bytes: number) => concat(head(n), new Uint8Array(bytes))
  const bad = {
    'no bytes': new Uint8Array(),
    'three bytes': new Uint8Array(3),
    nobody: sized(0, 0),
    'one member': sized(1, 65),
    '65 members': sized(65, 65 * 65),
    '2^32 - 1 members': sized(0xffffffff, 65),
    'one byte short': sized(2, 129),
    'one byte long': sized(2, 131),
    'a member too many': sized(2, 195),
  }
  for (const [what, bytes] of Object.entries(bad))
    t.throws(() => parseRing(bytes), { name: 'CryptoError', code: 'RING_MALFORMED' }, what)
  t.equal(parseRing(sized(64, 64 * 65)).members.length, 64)
  t.equal(parseRing(sized(2, 130)).members.length, 2)
})

t.test('a parsed ring does not change with the buffer that it came from', async (t) => {
  const bytes = unhex(SIGNED['app and gateway, by the gateway'])
  for (const buffer of [bytes.slice(), Buffer.from(bytes)]) {
    const ring = parseRing(buffer)
    buffer.fill(0)
    t.ok(verifier.verify(MESSAGE, ring), buffer.constructor.name)
  }
})

t.test('only a member can sign, and only a ring of 2 to 64 points', async (t) => {
  const deps = { curve: native, randomBytes: seeded('members') }
  const app = native.publicKey(APP)
  const gateway = native.publicKey(GATEWAY)
  const refused = { name: 'CryptoError', code: 'RING_MEMBERS' }
  t.throws(() => signRing(deps, MESSAGE, [app, gateway], sha256(APP)), refused, 'a stranger')
  t.throws(() => signRing(deps, MESSAGE, [app], APP), refused, 'one')
  t.throws(() => signRing(deps, MESSAGE, Array(65).fill(app), APP), refused, '65')
  t.throws(() => signRing(deps, MESSAGE, [app, new Uint8Array(33)], APP), refused, 'no point')
  const bad = { name: 'CryptoError', code: 'PRIVATE_KEY' }
  t.throws(() => signRing(deps, MESSAGE, [app, gateway], new Uint8Array(32)), bad, 'zero')
  const largest = signRing(deps, MESSAGE, Array(64).fill(app), APP)
  t.ok(verifier.verify(MESSAGE, parseRing(largest)), '64')
  const lone = signRing(deps, MESSAGE, [PLACEHOLDER_KEY, app], APP)
  t.ok(verifier.verify(MESSAGE, parseRing(lone)), 'with the placeholder')
})

t.test('points of good rings are kept, those of strangers are not', async (t) => {
  let decompressed = 0
  const counting: Curve = {
    ...native,
    decompress: (point) => {
      decompressed++
      return native.decompress(point)
    },
  }
  const kept = new RingVerifier({ curve: counting }, { keysMax: 2, keyImagesMax: 1 })
  const good = parseRing(unhex(SIGNED['app and gateway, by the gateway']))
  t.ok(kept.verify(MESSAGE, good))
  t.ok(decompressed >= 5, 'the image, two keys and their hashes')
  decompressed = 0
  t.ok(kept.verify(MESSAGE, good))
  t.equal(decompressed, 0, 'nothing is taken apart twice')
  const random = seeded('strangers')
  for (let i = 0; i < 5; i++) {
    const members = good.members.map(({ s }) => ({ s, key: native.publicKey(random(32)) }))
    t.notOk(kept.verify(MESSAGE, { ...good, members }), `stranger ${i}`)
  }
  decompressed = 0
  t.ok(kept.verify(MESSAGE, good))
  t.equal(decompressed, 0, 'strangers have pushed nothing out')
  t.ok(kept.verify(MESSAGE, parseRing(unhex(SIGNED['placeholder and app, by the app']))))
  t.ok(kept.verify(MESSAGE, good), 'a full cache forgets and is still right')
})
