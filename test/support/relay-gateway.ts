/** The gateway's side of a relay: throw-away keys, signed requests, answers taken apart. */
import { concat, sha256, unhex, utf8 } from '../../src/base/bytes.ts'
import { hashToCurve, readPoint, sum, sumWithGenerator } from '../../src/crypto/points.ts'
import { PLACEHOLDER_KEY, type Ring, signRing } from '../../src/crypto/ring.ts'
import { hashToScalar, readInteger, writeInteger } from '../../src/crypto/scalar.ts'
import { type Curve, loadCurve } from '../../src/crypto/secp256k1.ts'
import { secretFromHex, signerOf } from '../../src/keys/keyring.ts'
import { decodeHttpResponse } from '../../src/protocol/http.ts'
import {
  payloadHash,
  type RelayRequest,
  type RelayResponse,
  requestSignableHash,
  responseDigest,
} from '../../src/protocol/relay.ts'

export const curve: Curve = loadCurve()
/** Throw-away keys. */
const PRIVATE = {
  app: '2d00ef074d9b51e46886dc9a1df11e7b986611d0f336bdcf1f0adce3e037ec0a',
  gateway: '1a11ef074d9b51e46886dc9a1df11e7b986611d0f336bdcf1f0adce3e037ab11',
  operator: '9feb4054fe843dd5afcaec5f57230de88f78b279ab36a44d2466e786f92d3531',
  stranger: '11'.repeat(32),
}
const keyOf = (privateKey: string) => {
  const bytes = unhex(privateKey)
  return { privateKey: bytes, publicKey: curve.publicKey(bytes) }
}
export const keys = {
  app: keyOf(PRIVATE.app),
  gateway: keyOf(PRIVATE.gateway),
  operator: keyOf(PRIVATE.operator),
  stranger: keyOf(PRIVATE.stranger),
  placeholder: {
    privateKey: unhex('60c6cbe6b5011807d6486f351cbde6f964356df1d0bc1b04f8589cead5ab5206'),
    publicKey: PLACEHOLDER_KEY,
  },
}
export type Who = keyof typeof keys
export const operator = signerOf(secretFromHex(PRIVATE.operator, curve), curve)

/** The same bytes in every run. */
let drawn = 0
export const randomBytes = (length: number) =>
  concat(...Array.from({ length: Math.ceil(length / 32) }, () => sha256(utf8(`${drawn++}`)))).slice(
    0,
    length,
  )

/** Signs as the gateway does: by default `[application, application]`, for one without delegations. */
export function signed(
  request: RelayRequest,
  members: readonly Who[] = ['app', 'app'],
  by: Who = 'app',
): RelayRequest {
  const ring = members.map((who) => keys[who].publicKey)
  const message = requestSignableHash(request)
  const signature = signRing({ curve, randomBytes }, message, ring, keys[by].privateKey)
  return withSignature(request, signature)
}

export function withSignature(request: RelayRequest, signature: Uint8Array): RelayRequest {
  const { sessionHeader, supplierOperatorAddress = '' } = request.meta ?? {}
  return { ...request, meta: { sessionHeader, supplierOperatorAddress, signature } }
}

/** The same signature from the next member on, as anybody can make it who has seen it. */
export function turned(message: Uint8Array, { c0, keyImage, members }: Ring): Ring {
  const [first, ...rest] = members
  const [key, image] = [first && readPoint(curve, first.key), readPoint(curve, keyImage)]
  const hashed = first && hashToCurve(curve, first.key)
  if (first === undefined || key === undefined || image === undefined || hashed === undefined)
    throw new RangeError('not a ring')
  const [s, c] = [readInteger(first.s), readInteger(c0)]
  const left = sumWithGenerator(curve, s, c, key)
  const right = sum(curve, s, hashed, c, image)
  const next = hashToScalar(concat(message, left, right))
  return { c0: writeInteger(next), keyImage, members: [...rest, first] }
}

export interface Inner {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** The answer inside a response, as the gateway unwraps it. */
export function innerOf(response: RelayResponse): Inner {
  const { status, headers, body } = decodeHttpResponse(response.payload)
  const values = headers.map(([name, ...all]) => [name, all.join(',')])
  return { status, headers: Object.fromEntries(values), body: new TextDecoder().decode(body) }
}

/** Whether the operator signed exactly this: header, error and the hash of this payload. */
export function isSigned(response: RelayResponse): boolean {
  const { payloadHash: hash, payload, meta } = response
  if (hash === undefined || Buffer.compare(hash, payloadHash(payload)) !== 0) return false
  const signature = meta?.supplierOperatorSignature ?? new Uint8Array(0)
  return curve.verify(responseDigest(response), signature, operator.publicKey)
}

/** `codespace code`, or nothing. */
export function errorOf(response: RelayResponse): string | undefined {
  const error = response.relayMinerError
  return error === undefined ? undefined : `${error.codespace} ${error.code}`
}

/** What makes a gateway take a refusal for a broken connection. */
export const BAD_WORDS = ['http:', 'HTTP', 'tls', 'connection refused', 'unexpected EOF', 'proto:']

/** An unsigned error reply: nothing in it is signed, and it says itself what it is. */
export function isRefusal(response: RelayResponse): boolean {
  const { meta, payload, payloadHash: hash, relayMinerError: error } = response
  const text = new TextDecoder().decode(payload)
  return (
    meta?.supplierOperatorSignature.length === 0 &&
    hash === undefined &&
    error !== undefined &&
    error.message === text &&
    text.endsWith(error.description) &&
    !BAD_WORDS.some((word) => text.includes(word))
  )
}
