/** Any session key, session record and ledger entry there could be. */
import { toBech32 } from '@cosmjs/encoding'
import fc from 'fast-check'
import { type Address, computeUnits, height, ms, upokt } from '../../src/base/units.ts'
import type { LedgerEntry } from '../../src/store/ledger.ts'
import {
  OUTCOMES,
  type SessionKey,
  type SessionRecord,
  type SessionState,
  type Submission,
} from '../../src/store/sessions.ts'

/** Objects as our own code makes them: `fc.record` makes some without a prototype. */
export const anyOf = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
  fc.record<T>(model, { noNullPrototype: true })

const uint8 = (length: number) => fc.uint8Array({ minLength: length, maxLength: length })
const heights = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }).map(height)
const uint64 = fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn })
const money = fc.bigInt({ min: 0n, max: 10n ** 30n }).map(upokt)
const counts = fc.nat()

export const anyKey: fc.Arbitrary<SessionKey> = anyOf({
  end: heights,
  operator: uint8(20).map((bytes) => toBech32('pokt', bytes) as Address),
  sessionId: uint8(32).map((bytes) => Buffer.from(bytes).toString('hex')),
})

const anySubmission: fc.Arbitrary<Submission> = anyOf({
  txHash: fc.string(),
  bytes: fc.uint8Array({ maxLength: 300 }),
  sentAt: heights,
  timeoutHeight: heights,
  timeoutAt: fc.nat().map(ms),
  attempt: counts,
  resent: counts,
})

const root = uint8(48)
const rooted = (at: 'sealed' | 'claimed' | 'proven' | 'unproven') =>
  anyOf({ at: fc.constant(at), root })
const sent = (at: 'claiming' | 'proving') => anyOf({ at: fc.constant(at), root, tx: anySubmission })

const anyState: fc.Arbitrary<SessionState> = fc.oneof(
  fc.constant<SessionState>({ at: 'serving' }),
  rooted('sealed'),
  sent('claiming'),
  rooted('claimed'),
  sent('proving'),
  rooted('proven'),
  rooted('unproven'),
  anyOf({ at: fc.constant('done' as const), outcome: fc.constantFrom(...OUTCOMES) }),
  anyOf({ at: fc.constant('done' as const), outcome: fc.constantFrom(...OUTCOMES), root }),
) as fc.Arbitrary<SessionState>

export const anyRecord: fc.Arbitrary<SessionRecord> = anyOf({
  key: anyKey,
  header: anyOf({
    applicationAddress: fc.string(),
    serviceId: fc.string({ unit: 'binary' }),
    sessionId: fc.constant(''),
    sessionStartBlockHeight: uint64,
    sessionEndBlockHeight: fc.constant(0n),
  }),
  computeUnitsPerRelay: uint64.map(computeUnits),
  target: uint8(32),
  price: anyOf({
    computeUnitsToTokensMultiplier: uint64,
    computeUnitCostGranularity: uint64,
  }),
  state: anyState,
  since: heights,
  reason: fc.option(fc.string({ unit: 'grapheme' }), { nil: undefined }),
}).map(({ reason, ...rest }) => ({
  ...rest,
  header: {
    ...rest.header,
    sessionId: rest.key.sessionId,
    sessionEndBlockHeight: BigInt(rest.key.end),
  },
  ...(reason !== undefined && { reason }),
}))

export const anyEntry: fc.Arbitrary<LedgerEntry> = anyOf({
  key: anyKey,
  serviceId: fc.string(),
  application: fc.string(),
  served: counts,
  count: uint64,
  sum: uint64,
  claimed: money,
  settled: money,
  rewards: money,
  lost: money,
  outcome: fc.constantFrom(...OUTCOMES),
  reason: fc.string({ unit: 'grapheme' }),
  height: heights,
})
