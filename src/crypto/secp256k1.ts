/**
 * secp256k1 over libsecp256k1: ECDSA as the chain wants it, and the point arithmetic of rings.
 *
 * Two builds of the same C library stand behind one interface: `secp256k1` (N-API, fast) and
 * `tiny-secp256k1` (WebAssembly, runs everywhere). The main entry of `secp256k1` is not used: where
 * it has no binary it changes to JavaScript, twenty times slower, without a word. Which one runs is
 * `kind`. Both must answer alike: test/crypto/secp256k1.ts compares them.
 */
import { randomBytes } from 'node:crypto'
import { createRequire } from 'node:module'
import { equal } from '../base/bytes.ts'
import { assert } from '../base/errors.ts'
import { CryptoError } from './errors.ts'

/** Points are 33 bytes (02 or 03, then x) or 65 bytes (04, x, y); scalars and digests 32, big-endian. */
export interface Curve {
  readonly kind: 'native' | 'wasm'
  /** 33 bytes. @throws CryptoError PRIVATE_KEY for 0, N and above, and another length than 32 */
  publicKey(privateKey: Uint8Array): Uint8Array
  /**
   * Signs 32 bytes as they are, without hashing them.
   * @returns 64 bytes, r ‖ s with s at most N/2, the nonce of RFC 6979: the same input gives the same bytes
   * @throws CryptoError PRIVATE_KEY
   */
  sign(digest: Uint8Array, privateKey: Uint8Array): Uint8Array
  /** False for a high s, a wrong length, a key that is not a compressed point. Never throws. */
  verify(digest: Uint8Array, signature: Uint8Array, publicKey: Uint8Array): boolean
  /** 33 bytes to 65. Undefined if they are no point: another prefix, x not below p or not on the curve. */
  decompress(point: Uint8Array): Uint8Array | undefined
  /** scalar · point, 65 bytes. `scalar` is 1 … N−1. Variable time: not for secrets that last. */
  multiply(point: Uint8Array, scalar: Uint8Array): Uint8Array
  /** a + b of two points of 65 bytes, as 33 bytes. Undefined for the point at infinity. */
  add(a: Uint8Array, b: Uint8Array): Uint8Array | undefined
  /**
   * The public key of an ECDSA signature: r⁻¹ (s · R − digest · G), 33 bytes, where R has x = r and y odd
   * or even as said. Undefined for the point at infinity. `signature` has r and s in 1 … N−1.
   */
  recover(digest: Uint8Array, signature: Uint8Array, isOdd: boolean): Uint8Array | undefined
}

/**
 * The fast library if this machine can load it, else the portable one.
 * @param kind insists on one of them
 * @throws CryptoError CURVE_UNAVAILABLE
 */
export function loadCurve(kind?: 'native' | 'wasm'): Curve {
  const require = createRequire(import.meta.url)
  if (kind !== 'wasm') {
    try {
      return nativeCurve(require('secp256k1/bindings.js') as NativeLibrary)
    } catch (cause) {
      if (kind === 'native') throw unavailable('native', cause)
    }
  }
  try {
    return wasmCurve(require('tiny-secp256k1') as WasmLibrary)
  } catch (cause) {
    throw unavailable('WebAssembly', cause)
  }
}

function unavailable(which: string, cause: unknown): CryptoError {
  return new CryptoError('CURVE_UNAVAILABLE', `no ${which} secp256k1 on this machine`, { cause })
}

/** The part of `secp256k1/bindings.js` that is used here; the package has no types. */
interface NativeLibrary {
  contextRandomize(seed: Uint8Array): void
  privateKeyVerify(key: Uint8Array): boolean
  publicKeyVerify(key: Uint8Array): boolean
  publicKeyCreate(key: Uint8Array, compressed: boolean): Uint8Array
  publicKeyConvert(key: Uint8Array, compressed: boolean): Uint8Array
  publicKeyCombine(keys: Uint8Array[], compressed: boolean): Uint8Array
  publicKeyTweakMul(key: Uint8Array, tweak: Uint8Array, compressed: boolean): Uint8Array
  ecdsaSign(digest: Uint8Array, key: Uint8Array): { signature: Uint8Array }
  ecdsaVerify(signature: Uint8Array, digest: Uint8Array, key: Uint8Array): boolean
  ecdsaRecover(
    signature: Uint8Array,
    recoveryId: number,
    digest: Uint8Array,
    compressed: boolean,
  ): Uint8Array
}

type WasmLibrary = Pick<
  typeof import('tiny-secp256k1'),
  | 'isPrivate'
  | 'isPointCompressed'
  | 'pointFromScalar'
  | 'pointCompress'
  | 'pointMultiply'
  | 'pointAdd'
  | 'sign'
  | 'verify'
  | 'recover'
>

function nativeCurve(library: NativeLibrary): Curve {
  // Blinds the multiplication with a secret scalar; the results stay the same.
  library.contextRandomize(randomBytes(32))
  const checked = (key: Uint8Array) =>
    checkedKey(key, key.length === 32 && library.privateKeyVerify(key))
  return {
    kind: 'native',
    publicKey: (key) => library.publicKeyCreate(checked(key), true),
    sign: (digest, key) => library.ecdsaSign(digestOf(digest), checked(key)).signature,
    verify: (digest, signature, key) =>
      verifies(digest, signature, key, () => library.ecdsaVerify(signature, digest, key)),
    decompress: (point) =>
      point.length === 33 && library.publicKeyVerify(point)
        ? library.publicKeyConvert(point, false)
        : undefined,
    multiply: (point, scalar) => library.publicKeyTweakMul(point, scalar, false),
    add: (a, b) => (isOpposite(a, b) ? undefined : library.publicKeyCombine([a, b], true)),
    recover: (digest, signature, isOdd) => {
      try {
        return library.ecdsaRecover(signature, isOdd ? 1 : 0, digest, true)
      } catch {
        return undefined
      }
    },
  }
}

function wasmCurve(library: WasmLibrary): Curve {
  const checked = (key: Uint8Array) => checkedKey(key, library.isPrivate(key))
  return {
    kind: 'wasm',
    publicKey: (key) => found(library.pointFromScalar(checked(key), true)),
    sign: (digest, key) => library.sign(digestOf(digest), checked(key)),
    verify: (digest, signature, key) =>
      verifies(digest, signature, key, () => library.verify(digest, key, signature, true)),
    decompress: (point) =>
      library.isPointCompressed(point) ? library.pointCompress(point, false) : undefined,
    multiply: (point, scalar) => found(library.pointMultiply(point, scalar, false)),
    add: (a, b) => (isOpposite(a, b) ? undefined : found(library.pointAdd(a, b, true))),
    recover: (digest, signature, isOdd) =>
      library.recover(digest, signature, isOdd ? 1 : 0, true) ?? undefined,
  }
}

function checkedKey(key: Uint8Array, isValid: boolean): Uint8Array {
  if (!isValid) throw new CryptoError('PRIVATE_KEY', 'not a private key of secp256k1')
  return key
}

function digestOf(digest: Uint8Array): Uint8Array {
  assert(digest.length === 32, 'a digest to sign has 32 bytes')
  return digest
}

/** The libraries throw for keys that are no points and for r or s of N and above. */
function verifies(
  digest: Uint8Array,
  signature: Uint8Array,
  key: Uint8Array,
  verify: () => boolean,
): boolean {
  if (digest.length !== 32 || signature.length !== 64 || key.length !== 33) return false
  try {
    return verify()
  } catch {
    return false
  }
}

/** Same x, other y. */
function isOpposite(a: Uint8Array, b: Uint8Array): boolean {
  return equal(a.subarray(1, 33), b.subarray(1, 33)) && !equal(a, b)
}

function found(point: Uint8Array | null): Uint8Array {
  assert(point !== null, 'the library found no point where there is one')
  return point
}
