/**
 * Transactions: taken apart, and the answer that their messages give.
 *
 * Source: cosmos-sdk x/auth/tx, proto/cosmos/tx/v1beta1/tx.proto. Tested by test/devnet/ante.ts.
 */
import { BinaryWriter } from '@bufbuild/protobuf/wire'
import { hex, sha256 } from '../base/bytes.ts'
import { AuthInfo, TxBody, TxRaw } from '../protocol/gen/cosmos/tx/tx.ts'
import { Any } from '../protocol/gen/google/protobuf/any.ts'
import { registered } from './errors.ts'
import { decodeExactly, type Message, readMessage } from './messages.ts'

export interface Transaction {
  readonly bytes: Uint8Array
  /** Upper-case hex of 32 bytes. */
  readonly hash: string
  readonly raw: TxRaw
  readonly body: TxBody
  readonly authInfo: AuthInfo
  readonly signatures: readonly Uint8Array[]
  readonly messages: readonly Message[]
  /** Each once, in the order of the messages. */
  readonly signers: readonly string[]
  readonly feePayer: string
  /** Nanoseconds since 1970. */
  readonly timeout: bigint | undefined
}

/** @throws Refusal sdk 2 or 18, or a message's own */
export function readTransaction(bytes: Uint8Array): Transaction {
  const raw = decodeExactly(TxRaw, bytes)
  const body = decodeExactly(TxBody, raw.bodyBytes)
  const authInfo = decodeExactly(AuthInfo, raw.authInfoBytes)
  const messages = body.messages.map(readMessage)
  if (messages.length === 0) throw registered('sdk', 18, 'must contain at least one message')
  for (const message of messages) message.check()
  const payer = authInfo.fee?.payer ?? ''
  const named = payer === '' ? [] : [payer]
  const signers = [...new Set([...messages.map((message) => message.signer), ...named])]
  const { timeoutTimestamp: timestamp } = body
  return {
    bytes,
    hash: hashOf(bytes),
    raw,
    body,
    authInfo,
    signatures: raw.signatures,
    messages,
    signers,
    feePayer: payer === '' ? (signers[0] ?? '') : payer,
    timeout:
      timestamp === undefined
        ? undefined
        : timestamp.seconds * 1_000_000_000n + BigInt(timestamp.nanos),
  }
}

export function hashOf(bytes: Uint8Array): string {
  return hex(sha256(bytes)).toUpperCase()
}

/** What is paid in upokt; other money does not count. */
export function feeOf(tx: Transaction): bigint {
  let fee = 0n
  for (const { denom, amount } of tx.authInfo.fee?.amount ?? [])
    if (denom === 'upokt' && /^\d+$/.test(amount)) fee += BigInt(amount)
  return fee
}

/** TxMsgData: one empty response for each message. */
export function responseData(messages: readonly Message[]): Uint8Array {
  const writer = new BinaryWriter()
  for (const { typeUrl } of messages)
    Any.encode(responseOf(typeUrl), writer.uint32(18).fork()).join()
  return writer.finish()
}

export function responseOf(typeUrl: string): Any {
  return { typeUrl: `${typeUrl}Response`, value: new Uint8Array(0) }
}

/** As Go prints a time: `2026-11-24 21:59:31.254833715 +0000 UTC`. */
export function timeText(nanoseconds: bigint): string {
  const [date = '', clock = ''] = isoTime(nanoseconds).slice(0, -1).split('T')
  return `${date} ${clock} +0000 UTC`
}

/** RFC 3339 with as many digits as it takes. */
export function isoTime(nanoseconds: bigint): string {
  const whole = new Date(Number(nanoseconds / 1_000_000_000n) * 1_000).toISOString().slice(0, 19)
  const rest = (nanoseconds % 1_000_000_000n).toString().padStart(9, '0').replace(/0+$/, '')
  return rest === '' ? `${whole}Z` : `${whole}.${rest}Z`
}
