/**
 * Signatures that are none, or of another message, key, ring or curve. The application has no gateway:
 * its own key and the placeholder may stand in a ring, which has three members at most.
 */
import { createSign, generateKeyPairSync, sign } from 'node:crypto'
import { concat, sha256, utf8 } from '../../src/base/bytes.ts'
import { compress, hashToCurve } from '../../src/crypto/points.ts'
import { encodeRing, parseRing, type Ring, signRing } from '../../src/crypto/ring.ts'
import { FIELD, ORDER, readInteger, writeInteger } from '../../src/crypto/scalar.ts'
import {
  encodeRelayRequest,
  type RelayRequest,
  requestSignableHash,
} from '../../src/protocol/relay.ts'
import { asking, type Hostile } from './hostile.ts'
import type { Bench } from './relay-bench.ts'
import { curve, keys, randomBytes, signed, type Who, withSignature } from './relay-gateway.ts'

const RING = 'rings 3'
const INVALID = 'service 1111'
const NOTHING = new Uint8Array(0)

const signatureOf = ({ meta }: RelayRequest): Uint8Array => meta?.signature ?? NOTHING

/** The bytes of a good signature, altered. */
const bytes = (
  name: string,
  alter: (good: Uint8Array, b: Bench) => Uint8Array,
  outcome = RING,
): Hostile => ({
  name: `signature: ${name}`,
  make: (b) => {
    const request = asking(b)
    return withSignature(request, alter(new Uint8Array(signatureOf(request)), b))
  },
  outcome,
})

/** The parts of a good signature, altered. */
const parts = (name: string, alter: (good: Ring) => Partial<Ring>, outcome = RING): Hostile =>
  bytes(
    name,
    (good) => {
      const ring = parseRing(good)
      return encodeRing({ ...ring, ...alter(ring) })
    },
    outcome,
  )

const answers = (name: string, s: Uint8Array, first = true): Hostile =>
  parts(`${first ? 'first' : 'second'} answer ${name}`, ({ members }) => ({
    members: members.map((member, i) => (i === (first ? 0 : 1) ? { ...member, s } : member)),
  }))
const key = (name: string, alter: (good: Uint8Array) => Uint8Array): Hostile =>
  parts(`second key ${name}`, ({ members: [first, second] }) => ({
    members: first && second ? [first, { ...second, key: alter(second.key) }] : [],
  }))
const image = (name: string, alter: (good: Uint8Array) => Uint8Array): Hostile =>
  parts(`key image ${name}`, ({ keyImage }) => ({ keyImage: alter(keyImage) }))

const by = (name: string, members: readonly Who[], who: Who): Hostile => ({
  name: `ring: ${name}`,
  make: (b) => signed(asking(b), members, who),
  outcome: RING,
})

/** Says that it has `n` members, and has room for so many. */
const sized = (n: number, room = n): Hostile =>
  bytes(`${n} members, room for ${room}`, (good) => {
    const long = new Uint8Array(69 + 65 * room)
    for (let at = 69; at < long.length; at += 130)
      long.set(good.subarray(69, 199).subarray(0, long.length - at), at)
    long.set(good.subarray(0, 69))
    new DataView(long.buffer).setUint32(0, n)
    return long
  })

const filled = (byte: number, length: number) => new Uint8Array(length).fill(byte)
const prefixed = (prefix: number) => (good: Uint8Array) =>
  Uint8Array.of(prefix, ...good.subarray(1))
const x = (value: bigint) => concat(Uint8Array.of(2), writeInteger(value))
/** 5³ + 7 is no square. */
const OFF_CURVE = x(5n)
const INFINITY = x(0n)
const hashed = hashToCurve(curve, keys.app.publicKey)
const POINTS: readonly [name: string, alter: (good: Uint8Array) => Uint8Array][] = [
  ['with the other sign', (good) => prefixed((good[0] ?? 0) ^ 1)(good)],
  ['with prefix 00', prefixed(0)],
  ['with prefix 04', prefixed(4)],
  ['with prefix 06', prefixed(6)],
  ['with prefix ff', prefixed(255)],
  ['off the curve', () => OFF_CURVE],
  ['at infinity', () => INFINITY],
  ['at infinity, in zeros', () => filled(0, 33)],
  ['beyond the field', (good) => concat(good.subarray(0, 1), writeInteger(FIELD))],
  ['beyond the field by one', () => x(FIELD + 1n)],
  ['of ones', () => concat(Uint8Array.of(2), filled(255, 32))],
  ['the generator', () => curve.publicKey(writeInteger(1n))],
  ["a stranger's", () => keys.stranger.publicKey],
]

const ecdsa = (good: Uint8Array) => curve.sign(sha256(good), keys.app.privateKey)
const nist = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
const edwards = generateKeyPairSync('ed25519').privateKey

export const RINGS: readonly Hostile[] = [
  bytes('none', () => NOTHING, INVALID),
  bytes('one byte', () => filled(0, 1)),
  bytes('three bytes', () => filled(0, 3)),
  bytes('the size alone', (good) => good.subarray(0, 4)),
  bytes('the head less a byte', (good) => good.subarray(0, 68)),
  bytes('the head alone', (good) => good.subarray(0, 69)),
  bytes('one member of two', (good) => good.subarray(0, 134)),
  bytes('a byte less', (good) => good.subarray(0, 198)),
  bytes('a byte more', (good) => concat(good, filled(0, 1))),
  bytes('a byte before', (good) => concat(filled(0, 1), good)),
  bytes('a member more behind', (good) => concat(good, good.subarray(69, 134))),
  bytes('twice', (good) => concat(good, good)),
  bytes('a megabyte behind', (good) => concat(good, filled(0, 1_000_000))),
  bytes('the size in the other order', (good) =>
    concat(Uint8Array.of(2, 0, 0, 0), good.subarray(4)),
  ),
  bytes('in hex', (good) => utf8(Buffer.from(good).toString('hex'))),
  bytes('in base64', (good) => utf8(Buffer.from(good).toString('base64'))),
  bytes('zeros', () => filled(0, 199)),
  bytes('zeros but for the size', () => concat(Uint8Array.of(0, 0, 0, 2), filled(0, 195))),
  bytes('ones but for the size', () => concat(Uint8Array.of(0, 0, 0, 2), filled(255, 195))),
  sized(0),
  sized(1),
  sized(4),
  sized(64),
  sized(65),
  sized(1_000),
  sized(100_000),
  sized(2 ** 32 - 1, 2),
  sized(2 ** 31, 2),
  sized(66_076_420, 2),
  sized(2, 3),
  sized(3, 2),

  by('three times the application and once more', ['app', 'app', 'app', 'app'], 'app'),
  by(
    '64 times the application',
    Array.from({ length: 64 }, () => 'app' as const),
    'app',
  ),
  by('a stranger beside', ['app', 'stranger'], 'app'),
  by('a stranger who signs', ['app', 'stranger'], 'stranger'),
  by('strangers', ['stranger', 'stranger'], 'stranger'),
  by('a gateway without a delegation', ['app', 'gateway'], 'gateway'),
  by('the supplier', ['app', 'operator'], 'operator'),
  by('the supplier alone', ['operator', 'operator'], 'operator'),

  parts('first challenge 0', () => ({ c0: filled(0, 32) })),
  parts('first challenge 1', () => ({ c0: writeInteger(1n) })),
  parts('first challenge N', () => ({ c0: writeInteger(ORDER) })),
  parts('first challenge N - 1', () => ({ c0: writeInteger(ORDER - 1n) })),
  parts('first challenge of ones', () => ({ c0: filled(255, 32) })),
  parts('first challenge negated', ({ c0 }) => ({ c0: writeInteger(ORDER - readInteger(c0)) })),
  parts('challenge and answer exchanged', ({ c0, members: [first, second] }) =>
    first && second ? { c0: first.s, members: [{ ...first, s: c0 }, second] } : {},
  ),
  parts('members exchanged', ({ members }) => ({ members: members.toReversed() })),
  parts('answers exchanged', ({ members: [a, b] }) =>
    a && b
      ? {
          members: [
            { ...a, s: b.s },
            { ...b, s: a.s },
          ],
        }
      : {},
  ),
  answers('0', filled(0, 32)),
  answers('0', filled(0, 32), false),
  answers('1', writeInteger(1n)),
  answers('N', writeInteger(ORDER)),
  answers('N - 1', writeInteger(ORDER - 1n)),
  answers('N + 1', writeInteger(ORDER + 1n), false),
  answers('of ones', filled(255, 32)),
  parts('all scalars 0', ({ members }) => ({
    c0: filled(0, 32),
    members: members.map((member) => ({ ...member, s: filled(0, 32) })),
  })),
  ...POINTS.map(([name, alter]) => key(name, alter)),
  ...POINTS.map(([name, alter]) => image(name, alter)),
  image("the application's key", () => keys.app.publicKey),
  image("the key's own hash", () => (hashed ? compress(hashed.uncompressed) : NOTHING)),
  image('of another key', () => {
    const members = [keys.stranger.publicKey, keys.stranger.publicKey]
    const message = sha256(utf8('another'))
    return parseRing(signRing({ curve, randomBytes }, message, members, keys.stranger.privateKey))
      .keyImage
  }),
  bytes('of another relay', (_, b) => signatureOf(asking(b, { method: 'PUT' }))),
  bytes('of the hash of the hash', (_, b) => resigned(sha256(requestSignableHash(asking(b))))),
  bytes('of zeros', () => resigned(filled(0, 32))),
  bytes('ECDSA by the application', ecdsa),
  bytes('ECDSA in DER over another curve', (good) => createSign('sha256').update(good).sign(nist)),
  bytes('of Edwards', (good) => sign(null, good, edwards)),
  {
    name: 'signature: over the bytes with the signature in',
    make: (b) => {
      const request = asking(b)
      return withSignature(request, resigned(sha256(encodeRelayRequest(request))))
    },
    outcome: RING,
  },
  {
    name: 'signature: of the same relay for another supplier',
    make: (b) => {
      const { meta, payload } = asking(b)
      const other = { sessionHeader: meta?.sessionHeader, signature: NOTHING }
      const foreign = signed({
        meta: { ...other, supplierOperatorAddress: b.application },
        payload,
      })
      return withSignature({ meta, payload }, signatureOf(foreign))
    },
    outcome: RING,
  },
  {
    name: 'signature: of a relay without its payload',
    make: (b) => ({ ...signed({ ...asking(b), payload: NOTHING }), payload: asking(b).payload }),
    outcome: RING,
  },
]

function resigned(message: Uint8Array): Uint8Array {
  const members = [keys.app.publicKey, keys.app.publicKey]
  return signRing({ curve, randomBytes }, message, members, keys.app.privateKey)
}
