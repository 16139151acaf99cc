/**
 * Linkable ring signatures (bLSAG over secp256k1): who paid for a relay, to the byte.
 *
 * Layout, all integers big-endian: n (4) ‖ c0 (32) ‖ key image (33) ‖ n × (s (32) ‖ public key (33)).
 * A challenge hashes the message and two points and nothing else: whether the keys may stand in the
 * ring is the caller's question, to be asked first, because verifying costs four multiplications a key.
 * Source: pokt-network/ring-go ring.go, serde.go. Tested by test/crypto/ring.ts.
 */
import { concat, equal, hex, unhex } from '../base/bytes.ts'
import { assert } from '../base/errors.ts'
import { LruMap } from '../base/queue.ts'
import { CryptoError } from './errors.ts'
import { compress, hashToCurve, type Point, readPoint, sum, sumWithGenerator } from './points.ts'
import { hashToScalar, ORDER, readInteger, reduce, writeInteger } from './scalar.ts'
import type { Curve } from './secp256k1.ts'

/**
 * Stands in the ring of an application without gateways. Its private key is derived from a public text
 * (SHA-256 of `placeholder_ring_key_for_apps_without_gateways`), so a signature by it proves nothing.
 */
export const PLACEHOLDER_KEY: Uint8Array = unhex(
  '021066f293709356a33e9c13017867586baf52513e845bc4335233a15ed1e00baf',
)

/** No signer makes rings of one; the reference has no upper limit, and a large ring is free to make. */
const MEMBERS_MIN = 2
const MEMBERS_MAX = 64
const HEAD_BYTES = 69
const MEMBER_BYTES = 65

/** The parts as they came: scalars may be N or above, points may not be on the curve. */
export interface Ring {
  /** 32 bytes. */
  readonly c0: Uint8Array
  /** 33 bytes, the same for every signature by one key. */
  readonly keyImage: Uint8Array
  /** `s` 32 bytes, `key` 33 bytes. */
  readonly members: readonly { readonly s: Uint8Array; readonly key: Uint8Array }[]
}

/**
 * Takes a serialised signature apart. The bytes are copied.
 *
 * Stricter than the reference, which ignores bytes after the end: they would let anybody turn one relay
 * into many.
 * @throws CryptoError RING_MALFORMED
 */
export function parseRing(bytes: Uint8Array): Ring {
  if (bytes.length < HEAD_BYTES) throw malformed(`${bytes.length} bytes`)
  const n = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0)
  if (n < MEMBERS_MIN || n > MEMBERS_MAX) throw malformed(`${n} members`)
  if (bytes.length !== HEAD_BYTES + MEMBER_BYTES * n)
    throw malformed(`${bytes.length} bytes for ${n} members`)
  const members = Array.from({ length: n }, (_, i) => {
    const at = HEAD_BYTES + MEMBER_BYTES * i
    return { s: copy(bytes, at, at + 32), key: copy(bytes, at + 32, at + MEMBER_BYTES) }
  })
  return { c0: copy(bytes, 4, 36), keyImage: copy(bytes, 36, HEAD_BYTES), members }
}

/** Not `slice`: that of a Buffer is a view. */
function copy(bytes: Uint8Array, from: number, to: number): Uint8Array {
  return new Uint8Array(bytes.subarray(from, to))
}

function malformed(what: string): CryptoError {
  return new CryptoError('RING_MALFORMED', `not a ring signature: ${what}`)
}

/** The opposite of `parseRing`. */
export function encodeRing(ring: Ring): Uint8Array {
  const n = new Uint8Array(4)
  new DataView(n.buffer).setUint32(0, ring.members.length)
  const members = ring.members.flatMap(({ s, key }) => [s, key])
  return concat(n, ring.c0, ring.keyImage, ...members)
}

export interface RingVerifierOptions {
  /** Public keys kept ready: the key and its hash to the curve, about 1 KiB each. */
  readonly keysMax: number
  /** Key images kept ready, about half of that each. */
  readonly keyImagesMax: number
}

export const RING_VERIFIER_DEFAULTS = {
  keysMax: 4_096,
  keyImagesMax: 4_096,
} satisfies RingVerifierOptions

interface Member {
  readonly key: Point
  readonly hashed: Point
}

/**
 * Verifies, and remembers the points of rings that were good: a stranger without a valid signature
 * cannot push out those of an application that pays.
 */
export class RingVerifier {
  readonly #curve: Curve
  readonly #members: LruMap<string, Member>
  readonly #keyImages: LruMap<string, Point>

  constructor(deps: { curve: Curve }, options: RingVerifierOptions = RING_VERIFIER_DEFAULTS) {
    this.#curve = deps.curve
    this.#members = new LruMap(options.keysMax)
    this.#keyImages = new LruMap(options.keyImagesMax)
  }

  /**
   * True if the holder of one of the ring's keys signed `message`.
   *
   * Scalars of N and above are reduced, as the chain does. Never throws on what a ring holds.
   * @param message 32 bytes
   */
  verify(message: Uint8Array, ring: Ring): boolean {
    assert(message.length === 32, 'a ring signs 32 bytes')
    if (!hasForm(ring)) return false
    const imageId = hex(ring.keyImage)
    const image = this.#keyImages.get(imageId) ?? readPoint(this.#curve, ring.keyImage)
    if (image === undefined) return false
    const ready: { id: string; s: bigint; member: Member }[] = []
    for (const { s, key } of ring.members) {
      const id = hex(key)
      const member = this.#members.get(id) ?? readMember(this.#curve, key)
      if (member === undefined) return false
      ready.push({ id, s: reduce(readInteger(s)), member })
    }
    const c0 = reduce(readInteger(ring.c0))
    let c = c0
    for (const { s, member } of ready) c = nextChallenge(this.#curve, message, s, c, member, image)
    if (c !== c0) return false
    this.#keyImages.set(imageId, image)
    for (const { id, member } of ready) this.#members.set(id, member)
    return true
  }
}

function hasForm(ring: Ring): boolean {
  const n = ring.members.length
  if (n < MEMBERS_MIN || n > MEMBERS_MAX || ring.c0.length !== 32) return false
  return ring.members.every(({ s }) => s.length === 32)
}

function readMember(curve: Curve, publicKey: Uint8Array): Member | undefined {
  const key = readPoint(curve, publicKey)
  const hashed = key && hashToCurve(curve, publicKey)
  return key && hashed && { key, hashed }
}

/** The challenge for the next member, from the answer and the challenge of this one. */
function nextChallenge(
  curve: Curve,
  message: Uint8Array,
  s: bigint,
  c: bigint,
  member: Member,
  image: Point,
): bigint {
  const left = sumWithGenerator(curve, s, c, member.key)
  const right = sum(curve, s, member.hashed, c, image)
  return hashToScalar(concat(message, left, right))
}

/**
 * Signs `message` (32 bytes) as one of `members`, whose order is kept.
 *
 * For the gateway's side, in tests and in the simulated network: its arithmetic takes a time that depends
 * on the key, so it is not for a key worth stealing.
 * @param members compressed public keys; a key may occur more than once
 * @throws CryptoError PRIVATE_KEY, RING_MEMBERS
 */
export function signRing(
  deps: { curve: Curve; randomBytes: (n: number) => Uint8Array },
  message: Uint8Array,
  members: readonly Uint8Array[],
  privateKey: Uint8Array,
): Uint8Array {
  const { curve, randomBytes } = deps
  assert(message.length === 32, 'a ring signs 32 bytes')
  const own = curve.publicKey(privateKey)
  const n = members.length
  const signer = members.findIndex((key) => equal(key, own))
  if (n < MEMBERS_MIN || n > MEMBERS_MAX || signer === -1)
    throw new CryptoError('RING_MEMBERS', `no ring of ${n} keys can be signed with this key`)
  // From the signer on, so that index 0 is the one whose answer closes the ring.
  const turned = [...members.slice(signer), ...members.slice(0, signer)].map((key) => {
    const member = readMember(curve, key)
    if (member === undefined) throw new CryptoError('RING_MEMBERS', 'a ring key is not a point')
    return { member, random: randomScalar(randomBytes) }
  })
  const [mine, ...others] = turned
  assert(mine !== undefined, 'the ring has its signer')

  const x = readInteger(privateKey)
  const image = compress(curve.multiply(mine.member.hashed.uncompressed, privateKey))
  const imagePoint = readPoint(curve, image)
  assert(imagePoint !== undefined, 'a key image is a point')
  const nonce = writeInteger(mine.random)
  const nonceImage = compress(curve.multiply(mine.member.hashed.uncompressed, nonce))
  let c = hashToScalar(concat(message, curve.publicKey(nonce), nonceImage))
  const challenges = [0n]
  for (const { random, member } of others) {
    challenges.push(c)
    c = nextChallenge(curve, message, random, c, member, imagePoint)
  }
  challenges[0] = c
  const answers = [reduce(mine.random - c * x), ...others.map(({ random }) => random)]
  const place = (i: number) => (i - signer + n) % n
  return encodeRing({
    c0: writeInteger(challenges[place(0)] ?? 0n),
    keyImage: image,
    members: members.map((key, i) => ({ s: writeInteger(answers[place(i)] ?? 0n), key })),
  })
}

/** 1 … N−1, as good as evenly: 48 bytes are reduced. */
function randomScalar(randomBytes: (n: number) => Uint8Array): bigint {
  const bytes = randomBytes(48)
  const high = readInteger(concat(new Uint8Array(16), bytes.subarray(0, 16)))
  return 1n + (((high << 256n) | readInteger(bytes, 16)) % (ORDER - 1n))
}
