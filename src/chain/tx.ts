/**
 * A transaction's bytes: body, fee, signature, hash. Pure.
 *
 * The body is our own message type, since cosmjs-types has neither `unordered` nor
 * `timeout_timestamp`; the fee, the signer and what is signed are made by cosmjs, which takes the body
 * as bytes. SIGN_MODE_DIRECT: secp256k1 over sha256 of the SignDoc, 64 bytes r ‖ s, low s.
 * Source: cosmos-sdk v0.53 proto/cosmos/tx/v1beta1/tx.proto, x/auth/signing. Tested by test/chain/tx.ts.
 */
import { BinaryWriter } from '@bufbuild/protobuf/wire'
import { makeAuthInfoBytes, makeSignBytes, makeSignDoc } from '@cosmjs/proto-signing'
import { hex, sha256 } from '../base/bytes.ts'
import { assert } from '../base/errors.ts'
import { coin, type Height, type Ms, ms, type Upokt, upokt } from '../base/units.ts'
import type { Signer } from '../keys/keyring.ts'
import { PubKey } from '../protocol/gen/cosmos/crypto/secp256k1/keys.ts'
import { TxBody, TxRaw } from '../protocol/gen/cosmos/tx/tx.ts'
import { Any } from '../protocol/gen/google/protobuf/any.ts'
import type { Timestamp } from '../protocol/gen/google/protobuf/timestamp.ts'

export interface Tx {
  readonly messages: readonly Any[]
  readonly memo?: string
  /** The last height of a block that may hold it. */
  readonly timeoutHeight?: Height
  /** Block time after which no block may hold it; of an unordered one also what makes it unique. */
  readonly timeoutAt?: Timestamp
  /** Needs `timeoutAt` and sequence 0. */
  readonly unordered: boolean
  readonly sequence: bigint
  readonly gas: bigint
  readonly fee: Upokt
}

/** What a signature is bound to beside the transaction itself. */
export interface SigningContext {
  readonly chainId: string
  readonly accountNumber: bigint
}

const SIGNATURE_BYTES = 64
/** Field 1 of a body, a message. */
const MESSAGE_TAG = 10
const NANOS_PER_SECOND = 1_000_000_000n
const NANOS_PER_MS = 1_000_000n

/** The bytes to broadcast. */
export function signTx(
  signer: Pick<Signer, 'publicKey' | 'sign'>,
  tx: Tx,
  context: SigningContext,
): Uint8Array {
  const body = bodyBytes(tx)
  const auth = authInfoBytes(signer.publicKey, tx)
  const document = makeSignDoc(body, auth, context.chainId, context.accountNumber)
  const signature = signer.sign(sha256(makeSignBytes(document)))
  assert(signature.length === SIGNATURE_BYTES, 'a signature has 64 bytes')
  return rawTx(body, auth, signature)
}

/** The same bytes but for a signature of zeros: for simulation, which does not check it. */
export function unsignedTx(publicKey: Uint8Array, tx: Tx): Uint8Array {
  return rawTx(bodyBytes(tx), authInfoBytes(publicKey, tx), new Uint8Array(SIGNATURE_BYTES))
}

/** The messages of a transaction's bytes, in its order. */
export function messagesOf(bytes: Uint8Array): readonly Any[] {
  return TxBody.decode(TxRaw.decode(bytes).bodyBytes).messages
}

/** What a message adds to the bytes of a transaction: itself, its type, and the heads of both. */
export function bytesInTx(message: Any): number {
  const writer = new BinaryWriter()
  return writer.uint32(MESSAGE_TAG).bytes(Any.encode(message).finish()).finish().length
}

/** Upper-case hex of the sha256, as the chain writes it. */
export function txHash(bytes: Uint8Array): string {
  return hex(sha256(bytes)).toUpperCase()
}

export interface GasPrice {
  readonly numerator: bigint
  readonly denominator: bigint
}

/** Reads `"0.000001upokt"`, exact; the unit may be left out. @throws RangeError */
export function parseGasPrice(text: string): GasPrice {
  const match = /^(\d+)(?:\.(\d{1,18}))?(?:upokt)?$/.exec(text)
  if (match?.[1] === undefined) throw new RangeError(`not a gas price in upokt: ${text}`)
  const fraction = match[2] ?? ''
  const numerator = BigInt(match[1] + fraction)
  return { numerator, denominator: 10n ** BigInt(fraction.length) }
}

/**
 * What `gas` costs: never less than 1 upokt, any fraction rounded up; times `factor`, rounded up too.
 *
 * @param factor above 1 for a transaction that replaces one that was not included
 */
export function feeFor(gas: bigint, price: GasPrice, factor = 1): Upokt {
  const plain = divideUp(gas * price.numerator, price.denominator)
  return upokt(scaleUp(greater(plain, 1n), factor))
}

/** `value × factor`, rounded up; the factor counts to three places. */
export function scaleUp(value: bigint, factor: number): bigint {
  return divideUp(value * BigInt(Math.round(factor * 1_000)), 1_000n)
}

export function greater(a: bigint, b: bigint): bigint {
  if (a > b) return a
  return b
}

/** `from` plus nanoseconds, as a protobuf time. @param from unix milliseconds */
export function timestampAfter(from: Ms, nanos: bigint): Timestamp {
  const total = BigInt(Math.floor(from)) * NANOS_PER_MS + nanos
  return { seconds: total / NANOS_PER_SECOND, nanos: Number(total % NANOS_PER_SECOND) }
}

/** Unix milliseconds, rounded up. */
export function millisecondsOf({ seconds, nanos }: Timestamp): Ms {
  return ms(Number(seconds * 1_000n) + Math.ceil(nanos / 1e6))
}

function bodyBytes(tx: Tx): Uint8Array {
  return TxBody.encode({
    messages: [...tx.messages],
    memo: tx.memo ?? '',
    timeoutHeight: BigInt(tx.timeoutHeight ?? 0),
    unordered: tx.unordered,
    timeoutTimestamp: tx.timeoutAt,
    extensionOptions: [],
    nonCriticalExtensionOptions: [],
  }).finish()
}

function authInfoBytes(publicKey: Uint8Array, tx: Tx): Uint8Array {
  const value = PubKey.encode({ key: publicKey }).finish()
  const pubkey = { typeUrl: '/cosmos.crypto.secp256k1.PubKey', value }
  const fee = tx.fee === 0n ? [] : [coin(tx.fee)]
  const signer = { pubkey, sequence: tx.sequence }
  return makeAuthInfoBytes([signer], fee, Number(tx.gas), undefined, undefined)
}

function rawTx(body: Uint8Array, auth: Uint8Array, signature: Uint8Array): Uint8Array {
  return TxRaw.encode({ bodyBytes: body, authInfoBytes: auth, signatures: [signature] }).finish()
}

function divideUp(value: bigint, by: bigint): bigint {
  return (value + by - 1n) / by
}
