/**
 * Sessions: the grid of block ranges, the session id, who serves in one, and what a header must be.
 *
 * Source: pokt-network/poktroll x/shared/types/session.go, x/session/keeper/session_hydrator.go,
 * x/session/types/session_header.go. Tested by test/protocol/session.ts.
 */
import { compare, concat, hex, sha3_256, utf8 } from '../base/bytes.ts'
import { type Height, height } from '../base/units.ts'
import { decodeAddress } from './address.ts'
import { ProtocolError } from './errors.ts'
import type { SessionHeader } from './gen/pocket/session/session.ts'
import type { Params as SharedParams } from './gen/pocket/shared/shared.ts'

export type { SessionHeader, SharedParams }

export interface Grid {
  /** First block, inclusive. */
  start: Height
  /** Last block, inclusive. */
  end: Height
  number: number
}

/**
 * The session that contains `at`.
 *
 * @param params as of `at` itself: a change of the session length moves the grid, so parameters of
 *   another height give the range of a session that does not exist
 * @throws ProtocolError PARAMS
 */
export function gridAt(at: Height, params: SharedParams): Grid {
  const length = blocks(params.numBlocksPerSession)
  if (length < 1) throw new ProtocolError('PARAMS', 'a session has no blocks')
  const { sessionGridAnchorHeight: anchorHeight, sessionNumberAtAnchor: numberAtAnchor } = params
  const anchored = anchorHeight > 0n && anchorHeight <= BigInt(at)
  const anchor = anchored ? Number(anchorHeight) : 1
  const first = anchored && numberAtAnchor > 0n ? blocks(numberAtAnchor) : 1
  const passed = Math.floor((at - anchor) / length)
  const start = anchor + passed * length
  return {
    start: heightOrFault(start),
    end: heightOrFault(start + length - 1),
    number: first + passed,
  }
}

/** What the session id and every supplier's weight are hashed from. @param s.blockHash of the START block */
export function sessionPreimage(s: {
  blockHash: Uint8Array
  serviceId: string
  applicationAddress: string
  start: Height
}): Uint8Array {
  const start = new Uint8Array(8)
  new DataView(start.buffer).setBigUint64(0, BigInt(s.start), true)
  return concat(s.blockHash, utf8(`.${s.serviceId}.${s.applicationAddress}.`), start)
}

/** 64 lower-case hex characters. */
export function sessionId(preimage: Uint8Array): string {
  return hex(sha3_256(preimage))
}

/** A signed 64-bit number; the lowest are chosen. */
export function supplierWeight(preimage: Uint8Array, operator: string): bigint {
  const digest = sha3_256(concat(preimage, utf8(`.${operator}`)))
  return new DataView(digest.buffer, digest.byteOffset).getBigInt64(0)
}

/**
 * Who serves: all candidates in the order given when there are fewer than `max`, else the `max`
 * lowest weights in ascending order.
 */
export function selectSuppliers(
  preimage: Uint8Array,
  operators: readonly string[],
  max: number,
): string[] {
  if (operators.length < max) return [...operators]
  return operators
    .map((operator) => ({ operator, weight: supplierWeight(preimage, operator) }))
    .sort((a, b) => {
      if (a.weight !== b.weight) return a.weight < b.weight ? -1 : 1
      return compare(utf8(a.operator), utf8(b.operator))
    })
    .slice(0, max)
    .map(({ operator }) => operator)
}

/**
 * The chain's stateless check, in its order and with its texts. The address may still be one in
 * upper case or of another length: compare the header with the chain's own before relying on it.
 * @throws ProtocolError HEADER
 */
export function validateHeader(header: SessionHeader | undefined): void {
  if (header === undefined) throw new ProtocolError('HEADER', 'missing session header')
  const fault = headerFault(header)
  if (fault !== undefined) throw new ProtocolError('HEADER', fault)
}

const HEADER_FIELDS = [
  ['applicationAddress', 'application_address'],
  ['serviceId', 'service_id'],
  ['sessionId', 'session_id'],
  ['sessionStartBlockHeight', 'session_start_block_height'],
  ['sessionEndBlockHeight', 'session_end_block_height'],
] as const

/** Equal in all five fields. The id alone proves nothing about the other four. */
export function sameHeader(a: SessionHeader, b: SessionHeader): boolean {
  return firstDifference(a, b) === undefined
}

/** The first field that differs, by its name on the wire. */
export function firstDifference(
  a: SessionHeader,
  b: SessionHeader,
): (typeof HEADER_FIELDS)[number][1] | undefined {
  return HEADER_FIELDS.find(([field]) => a[field] !== b[field])?.[1]
}

const SERVICE_ID_MAX = 42

export function validServiceId(id: string): boolean {
  return serviceIdFault(id) === undefined
}

/** A count of blocks or sessions as a number. @throws ProtocolError PARAMS beyond 2^53 */
export function blocks(value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER))
    throw new ProtocolError('PARAMS', `too many blocks: ${value}`)
  return Number(value)
}

/** @throws ProtocolError PARAMS beyond 2^53 */
export function heightOrFault(value: number): Height {
  if (!Number.isSafeInteger(value)) throw new ProtocolError('PARAMS', `no such height: ${value}`)
  return height(value)
}

function headerFault(header: SessionHeader): string | undefined {
  const { applicationAddress, sessionStartBlockHeight: start, sessionEndBlockHeight: end } = header
  try {
    decodeAddress(applicationAddress)
  } catch (error) {
    const reason = (error as Error).message
    return `"${applicationAddress}"; (${reason}): invalid application address for session`
  }
  if (header.sessionId === '') return `"": invalid sessionId`
  const fault = serviceIdFault(header.serviceId)
  if (fault !== undefined) return `${fault}: invalid service ID`
  if (start < 1n)
    return 'sessions can only start at height 1 or greater: invalid block height for session'
  if (end <= start)
    return 'session end block height cannot be less than or equal to session start block height: invalid block height for session'
  return undefined
}

function serviceIdFault(id: string): string | undefined {
  if (id === '') return 'empty service ID'
  if (utf8(id).length > SERVICE_ID_MAX)
    return `service ID '${id}' exceeds maximum length: ${SERVICE_ID_MAX}`
  return /^[a-zA-Z0-9_-]+$/.test(id) ? undefined : `service ID '${id}' contains invalid characters`
}
