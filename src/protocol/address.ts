/**
 * Account addresses: `pokt1…`, bech32 of 20 bytes, ripemd160(sha256(compressed public key)).
 *
 * Source: cosmos-sdk crypto/keys/secp256k1, types/address.go. Tested by test/protocol/address.ts.
 */
import { ripemd160, sha256 } from '@cosmjs/crypto'
import { fromBech32, toBech32 } from '@cosmjs/encoding'
import type { Address } from '../base/units.ts'
import { ProtocolError } from './errors.ts'

const PREFIX = 'pokt'
const ADDRESS_BYTES = 20
/** The chain's own limit; well above an address of 255 bytes. */
const TEXT_MAX = 1023

/** @param publicKey 33 bytes, compressed secp256k1 */
export function addressOf(publicKey: Uint8Array): Address {
  return toBech32(PREFIX, ripemd160(sha256(publicKey))) as Address
}

/**
 * Strict: lower case, prefix `pokt`, 20 bytes. Every comparison of addresses is one of texts, so
 * there must be one text for each. @throws ProtocolError ADDRESS
 */
export function parseAddress(text: string): Address {
  const bytes = decodeAddress(text)
  if (bytes.length !== ADDRESS_BYTES || text !== text.toLowerCase())
    throw new ProtocolError('ADDRESS', `not an account address: ${text.slice(0, 100)}`)
  return text as Address
}

/** The 20 bytes, for database keys. */
export function addressBytes(address: Address): Uint8Array {
  return decodeAddress(address)
}

/**
 * What the chain's own check lets pass: either case, 1 to 255 bytes. The message is the chain's
 * reason, or the reason of the bech32 library in brackets. @throws ProtocolError ADDRESS
 */
export function decodeAddress(text: string): Uint8Array {
  if (text.trim() === '') throw new ProtocolError('ADDRESS', 'empty address string is not allowed')
  let decoded: { prefix: string; data: Uint8Array }
  try {
    decoded = fromBech32(text, TEXT_MAX)
  } catch (error) {
    throw new ProtocolError('ADDRESS', 'decoding bech32 failed', { cause: error })
  }
  if (decoded.prefix !== PREFIX) {
    const got = decoded.prefix
    throw new ProtocolError(
      'ADDRESS',
      `invalid Bech32 prefix; expected ${PREFIX}, got ${got.slice(0, 100)}`,
    )
  }
  const length = decoded.data.length
  if (length < 1 || length > 255)
    throw new ProtocolError('ADDRESS', `address of ${length} bytes, allowed are 1 to 255`)
  return decoded.data
}
