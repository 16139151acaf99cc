/** Sessions, relays and ledger entries to put into a store. */
import { createHash } from 'node:crypto'
import { toBech32 } from '@cosmjs/encoding'
import { concat } from '../../src/base/bytes.ts'
import { silentLog } from '../../src/base/log.ts'
import { type Address, computeUnits, height, upokt } from '../../src/base/units.ts'
import type { LedgerEntry } from '../../src/store/ledger.ts'
import type { ServedRelay } from '../../src/store/relays.ts'
import type { SessionKey, SessionRecord, SessionState } from '../../src/store/sessions.ts'
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
