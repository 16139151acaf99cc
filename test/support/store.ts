/** Sessions, relays and ledger entries to put into a store, and every one there could be. */
import { createHash } from 'node:crypto'
import { toBech32 } from '@cosmjs/encoding'
import fc from 'fast-check'
import { concat } from '../../src/base/bytes.ts'
import { silentLog } from '../../src/base/log.ts'
import { type Address, computeUnits, height, ms, upokt } from '../../src/base/units.ts'
import type { LedgerEntry } from '../../src/store/ledger.ts'
import type { ServedRelay } from '../../src/store/relays.ts'
import {
  OUTCOMES,
  type SessionKey,
  type SessionRecord,
  type SessionState,
  type Submission,
} from '../../src/store/sessions.ts'
import { ManualClock } from './clock.ts'

export const storeDeps = () => ({ log: silentLog(), clock: new ManualClock() })

/** 32 bytes that depend on the text only. */
export function digest(text: string): Uint8Array {
  return new Uint8Array(createHash('sha256').update(text).digest())
}

export function operator(name: string): Address {
  return toBech32('pokt', digest(name).subarray(0, 20)) as Address
}

export function sessionKey(end = 60, name = 'session', by = 'operator'): SessionKey {
  return {
    end: height(end),
    operator: operator(by),
    sessionId: Buffer.from(digest(name)).toString('hex'),
  }
}

export function relay(name: string, size = 100): ServedRelay {
  const path = digest(`path ${name}`)
  const bytes = new Uint8Array(size).fill(path[0] ?? 0)
  const leaf = { path, digest: new Uint8Array(48).fill(path[1] ?? 0), relay: bytes }
  return { replayKey: digest(`request ${name}`), leaf }
}

/** A relay whose bytes no compression makes smaller. */
export function incompressible(name: string, size: number): ServedRelay {
  const { replayKey, leaf } = relay(name)
  const blocks = Array.from({ length: Math.ceil(size / 32) }, (_, i) => digest(`${name} ${i}`))
  const bytes = concat(...blocks).subarray(0, size)
  return leaf === undefined ? { replayKey } : { replayKey, leaf: { ...leaf, relay: bytes } }
}

export function record(key: SessionKey, state: SessionState = { at: 'serving' }): SessionRecord {
  return {
    key,
    header: {
      applicationAddress: operator('application'),
      serviceId: 'llm',
      sessionId: key.sessionId,
      sessionStartBlockHeight: BigInt(Math.max(1, key.end - 59)),
      sessionEndBlockHeight: BigInt(key.end),
    },
    computeUnitsPerRelay: computeUnits(9_007_199_254_740_993n),
    target: new Uint8Array(32).fill(0xff),
    price: { computeUnitsToTokensMultiplier: 42_000_000n, computeUnitCostGranularity: 1_000_000n },
    state,
    since: height(Math.max(1, key.end - 59)),
  }
}

export function entry(key: SessionKey, changes: Partial<LedgerEntry> = {}): LedgerEntry {
  return {
    key,
    serviceId: 'llm',
    application: operator('application'),
    served: 10,
    count: 9n,
    sum: 900n,
    claimed: upokt(1_000),
    settled: upokt(900),
    rewards: upokt(630),
    lost: upokt(0),
    outcome: 'settled',
    reason: '',
    height: height(key.end + 10),
    ...changes,
  }
}

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
