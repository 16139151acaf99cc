/**
 * Relay mining difficulty: what the chain makes of the relays it settled.
 *
 * The moving average is reckoned with Go's big.Float of 64 bits, whose α is the double 0.1: 0.9 · 10 is
 * a little below 9 there, and is cut to 8. The target is always scaled from the easiest one, never from
 * the one before. Source: poktroll x/service/keeper/update_relay_mining_difficulty.go,
 * pkg/crypto/protocol/relay_difficulty.go. Tested by test/devnet/difficulty.ts.
 */
import { hex, unhex } from '../base/bytes.ts'
import type { RelayMiningDifficulty } from '../protocol/gen/pocket/service/service.ts'
import { BASE_TARGET } from '../protocol/rewards.ts'
import { typedEvent } from './events.ts'
import {
  type Context,
  nextSessionStart,
  paramsOf,
  type State,
  valueAt,
  withValue,
} from './state.ts'

const HASH_MAX = (1n << 256n) - 1n

/** The double 0.1 and 1 − 0.1, as multiples of 2^−55. */
const ALPHA = 3_602_879_701_896_397n
const REST = (1n << 55n) - ALPHA

export function movingAverage(previous: bigint, current: bigint): bigint {
  const parts = rounded(ALPHA * current) + rounded(REST * previous)
  return rounded(parts) >> 55n
}

/** To 64 significant bits, half to even. */
function rounded(value: bigint): bigint {
  const extra = value.toString(2).length - 64
  if (extra <= 0) return value
  const shift = BigInt(extra)
  const kept = value >> shift
  const rest = value - (kept << shift)
  const half = 1n << (shift - 1n)
  const up = rest > half || (rest === half && (kept & 1n) === 1n)
  return (up ? kept + 1n : kept) << shift
}

/** 32 bytes: a relay counts when its hash is below. */
export function targetFor(targetRelays: bigint, average: bigint): Uint8Array {
  if (average === 0n || average === targetRelays) return BASE_TARGET
  const scaled = (HASH_MAX * targetRelays) / average
  return scaled > HASH_MAX ? BASE_TARGET : unhex(scaled.toString(16).padStart(64, '0'))
}

/** What holds for sessions that start at `at`. A service without history has the easiest target. */
export function difficultyAt(state: State, serviceId: string, at: number): RelayMiningDifficulty {
  const known = valueAt(state.difficultyHistory.get(serviceId), at)
  if (known !== undefined) return known
  const { targetNumRelays } = paramsOf(state).service
  return { serviceId, blockHeight: 0n, numRelaysEma: targetNumRelays, targetHash: BASE_TARGET }
}

/** The newest one, which moves in the middle of sessions. */
export function liveDifficulty(context: Context, serviceId: string): RelayMiningDifficulty {
  const known = context.state.difficulty.get(serviceId)
  if (known !== undefined) return known
  const { targetNumRelays } = paramsOf(context.state).service
  return defaultDifficulty(context, serviceId, targetNumRelays)
}

function defaultDifficulty(context: Context, serviceId: string, relays: bigint) {
  const { targetNumRelays } = paramsOf(context.state).service
  return {
    serviceId,
    blockHeight: BigInt(context.height),
    numRelaysEma: relays,
    targetHash: targetFor(targetNumRelays, relays),
  }
}

/** @param settled leaves of the claims settled in this block, by service */
export function updateDifficulty(context: Context, settled: ReadonlyMap<string, bigint>): void {
  const { state } = context
  const start = nextSessionStart(context)
  for (const serviceId of [...settled.keys()].sort()) {
    const relays = settled.get(serviceId) ?? 0n
    const before = state.difficulty.get(serviceId) ?? defaultDifficulty(context, serviceId, relays)
    const numRelaysEma = movingAverage(before.numRelaysEma, relays)
    const next: RelayMiningDifficulty = {
      serviceId,
      blockHeight: BigInt(start),
      numRelaysEma,
      targetHash: targetFor(paramsOf(state).service.targetNumRelays, numRelaysEma),
    }
    const history = state.difficultyHistory.get(serviceId)
    const seeded = history ?? withValue(undefined, context.height, before)
    state.difficultyHistory.set(serviceId, withValue(seeded, start, next))
    state.difficulty.set(serviceId, next)
    context.events.push(
      typedEvent('pocket.service.EventRelayMiningDifficultyUpdated', {
        service_id: serviceId,
        prev_target_hash_hex_encoded: hex(before.targetHash),
        new_target_hash_hex_encoded: hex(next.targetHash),
        prev_num_relays_ema: before.numRelaysEma,
        new_num_relays_ema: next.numRelaysEma,
      }),
    )
  }
}
