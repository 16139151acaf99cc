/** Session records for tests, with sane values for what a test does not say. */
import { hex, sha256, unhex, utf8 } from '../../src/base/bytes.ts'
import { type Address, computeUnits, height, ms } from '../../src/base/units.ts'
import { BASE_TARGET } from '../../src/protocol/rewards.ts'
import { type Windows, windowsOf } from '../../src/protocol/windows.ts'
import type { SessionRecord, SessionState, Submission } from '../../src/store/sessions.ts'
import type { SharedParams } from './params.ts'
import { sharedParams } from './params.ts'

export const OPERATOR = 'pokt1x4rdhtep3kvy6vmw2352da95vtnxwggcz027ar' as Address
export const APPLICATION = 'pokt1mrqt5f7qh8uxs27cjm9t7v9e74a9vvdnq5jva4' as Address

/** A 48-byte root: hash, sum, count. */
export function root(sum: bigint, count: bigint): Uint8Array {
  const tail = `${sum.toString(16).padStart(16, '0')}${count.toString(16).padStart(16, '0')}`
  return unhex(`${'ab'.repeat(32)}${tail}`)
}

export function submission(over: Partial<Submission> = {}): Submission {
  return {
    txHash: 'AA'.repeat(32),
    bytes: utf8('tx'),
    sentAt: height(12),
    timeoutHeight: height(16),
    timeoutAt: ms(2_000_000_000_000),
    attempt: 1,
    resent: 0,
    ...over,
  }
}

export function session(
  state: SessionState,
  over: { name?: string; end?: number; operator?: Address } = {},
): SessionRecord {
  const end = height(over.end ?? 10)
  const sessionId = hex(sha256(utf8(over.name ?? 'session')))
  return {
    key: { end, operator: over.operator ?? OPERATOR, sessionId },
    header: {
      applicationAddress: APPLICATION,
      serviceId: 'text',
      sessionId,
      sessionStartBlockHeight: BigInt(end - 9),
      sessionEndBlockHeight: BigInt(end),
    },
    computeUnitsPerRelay: computeUnits(1000),
    target: BASE_TARGET,
    price: { computeUnitsToTokensMultiplier: 1_000_000n, computeUnitCostGranularity: 1_000_000n },
    state,
    since: height(1),
  }
}

/** With the chain's default offsets: for an end of 10, grace 11, claim 12–16, proof 16–20. */
export function windows(end = 10, params: SharedParams = sharedParams()): Windows {
  return windowsOf(height(end), params)
}
