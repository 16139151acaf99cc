/**
 * What is wrong with an address, a service id, a coin or a header, in the chain's words.
 *
 * Source: cosmos-sdk types/address.go, poktroll x/shared/types, x/session/types/session_header.go.
 * Tested by test/devnet/messages.ts.
 */
import { decodeAddress } from '../protocol/address.ts'
import type { Coin } from '../protocol/gen/cosmos/base/base.ts'
import type { SessionHeader } from '../protocol/gen/pocket/session/session.ts'
import { quoted } from './errors.ts'

const SERVICE_ID_MAX = 42

/** Why the chain does not take `text` for an address; undefined when it does. */
export function addressFault(text: string): string | undefined {
  if (text.trim() === '') return 'empty address string is not allowed'
  if (text.length < 8) return `decoding bech32 failed: invalid bech32 string length ${text.length}`
  if (!text.includes('1')) return 'decoding bech32 failed: invalid separator index -1'
  try {
    decodeAddress(text)
    return undefined
  } catch (error) {
    return (error as Error).message
  }
}

export function serviceIdFault(id: string): string | undefined {
  if (id === '') return 'empty service ID'
  if (Buffer.byteLength(id) > SERVICE_ID_MAX)
    return `service ID '${id}' exceeds maximum length: ${SERVICE_ID_MAX}`
  return /^[a-zA-Z0-9_-]+$/.test(id) ? undefined : `service ID '${id}' contains invalid characters`
}

/** With the description of the session module's error at its end. */
export function headerFault(header: SessionHeader): string | undefined {
  const { applicationAddress: application, sessionStartBlockHeight: start } = header
  const address = addressFault(application)
  if (address !== undefined)
    return `${quoted(application)}; (${address}): invalid application address for session`
  if (header.sessionId === '') return '"": invalid sessionId'
  const service = serviceIdFault(header.serviceId)
  if (service !== undefined) return `${service}: invalid service ID`
  if (start <= 0n)
    return 'sessions can only start at height 1 or greater: invalid block height for session'
  if (header.sessionEndBlockHeight <= start)
    return 'session end block height cannot be less than or equal to session start block height: invalid block height for session'
  return undefined
}

/** Why a stake is not a positive amount of upokt. */
export function stakeFault(coin: Coin): string | undefined {
  const text = `${coin.amount}${coin.denom}`
  if (!/^\d+$/.test(coin.amount) || !/^[a-zA-Z][a-zA-Z0-9/:._-]{2,127}$/.test(coin.denom))
    return `while parsing coin ${text}; (invalid decimal coin expression: ${text})`
  if (BigInt(coin.amount) === 0n) return `invalid coin amount: ${text} <= 0`
  if (coin.denom !== 'upokt') return `invalid coin denom: expected upokt, got ${coin.denom}`
  return undefined
}
