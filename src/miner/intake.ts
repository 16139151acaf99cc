/**
 * Where a served relay becomes durable.
 *
 * `admit` opens the session's record, before its first relay, with what the chain fixed at the
 * session's START: compute units for each relay, difficulty, price. `record` resolves when the leaf
 * is on disk; only then may the last byte of the answer leave.
 * Source: poktroll pkg/relayer/miner. Tests: test/miner/intake.ts.
 */

import { KeyedMutex } from '../base/queue.ts'
import {
  type Address,
  type ComputeUnits,
  computeUnits,
  type Height,
  height,
} from '../base/units.ts'
import type { SessionHeader } from '../protocol/gen/pocket/session/session.ts'
import type { Params as SharedParams } from '../protocol/gen/pocket/shared/shared.ts'
import {
  dehydrate,
  leafPath,
  type RelayRequest,
  type RelayResponse,
  relayHash,
} from '../protocol/relay.ts'
import { isApplicable } from '../protocol/rewards.ts'
import { leafDigest } from '../smst/node.ts'
import type { ServedRelay } from '../store/relays.ts'
import { type SessionKey, type SessionRecord, sessionKeyText } from '../store/sessions.ts'
import { MinerError } from './errors.ts'
import type { Gate, Stay } from './gate.ts'

export interface IntakeDeps {
  readonly chain: {
    sharedParams(at: Height, signal?: AbortSignal): Promise<SharedParams>
    difficulty(serviceId: string, at: Height, signal?: AbortSignal): Promise<Uint8Array>
    computeUnitsPerRelay(serviceId: string, at: Height, signal?: AbortSignal): Promise<ComputeUnits>
  }
  readonly relays: {
    record(key: SessionKey, served: ServedRelay): Promise<'recorded' | 'replayed'>
    seen(key: SessionKey, replayKey: Uint8Array): Promise<boolean>
  }
  readonly sessions: {
    get(key: SessionKey): Promise<SessionRecord | undefined>
    put(record: SessionRecord): Promise<void>
  }
  readonly gate: Pick<Gate, 'open' | 'enter' | 'record'>
}

export class Intake {
  readonly #deps: IntakeDeps
  readonly #locks = new KeyedMutex()
  readonly #records = new Map<string, SessionRecord>()
  /** Requests that are being answered: a second copy is refused before it costs anything. */
  readonly #running = new Set<string>()

  constructor(deps: IntakeDeps) {
    this.#deps = deps
  }

  /** Sessions and running requests that are kept in memory. */
  get size(): number {
    return this.#records.size + this.#running.size
  }

  /**
   * The session's record, made durable before its first relay.
   * @param header the chain's own header of the session, not the request's
   * @throws MinerError SESSION_SEALED, or what the chain floor throws
   */
  async admit(header: SessionHeader, operator: Address, now: Height): Promise<SessionRecord> {
    const end = height(header.sessionEndBlockHeight)
    const key: SessionKey = { end, operator, sessionId: header.sessionId }
    const name = sessionKeyText(key)
    const known = this.#records.get(name)
    if (known !== undefined) return known
    return await this.#locks.run(name, async () => {
      const opened = this.#records.get(name)
      if (opened !== undefined) return opened
      const record = (await this.#deps.sessions.get(key)) ?? (await this.#open(key, header, now))
      if (record.state.at !== 'serving') {
        throw new MinerError('SESSION_SEALED', 'the session is sealed', {
          data: { sessionEnd: end },
        })
      }
      this.#deps.gate.open(key)
      this.#records.set(name, record)
      return record
    })
  }

  /**
   * One relay's stay in its session, or undefined for a request that is being answered or was.
   * @param replayKey names the request, however its bytes are put
   * @throws MinerError SESSION_SEALED
   */
  async enter(session: SessionRecord, replayKey: Uint8Array): Promise<Stay | undefined> {
    const name = `${sessionKeyText(session.key)} ${Buffer.from(replayKey).toString('latin1')}`
    if (this.#running.has(name)) return undefined
    const stay = this.#deps.gate.enter(session.key)
    this.#running.add(name)
    const leave = () => {
      this.#running.delete(name)
      stay.leave()
    }
    try {
      if (!(await this.#deps.relays.seen(session.key, replayKey)))
        return { signal: stay.signal, leave }
    } catch (error) {
      leave()
      throw error
    }
    leave()
    return undefined
  }

  /**
   * Resolves when the relay is on disk: its leaf if its hash is under the session's target, and in
   * any case the key that makes a repetition known. @throws MinerError SESSION_SEALED, StoreError
   */
  async record(
    session: SessionRecord,
    request: RelayRequest,
    response: RelayResponse,
    replayKey: Uint8Array,
  ): Promise<'recorded' | 'replayed'> {
    const relay = dehydrate(request, response)
    const hash = relayHash(relay)
    const path = leafPath(hash)
    const served: ServedRelay = isApplicable(hash, session.target)
      ? {
          replayKey,
          leaf: { path, digest: leafDigest(path, relay, session.computeUnitsPerRelay), relay },
        }
      : { replayKey }
    return await this.#deps.gate.record(session.key, () =>
      this.#deps.relays.record(session.key, served),
    )
  }

  /** Forgets a session that takes no more relays. */
  forget(key: SessionKey): void {
    this.#records.delete(sessionKeyText(key))
  }

  async #open(key: SessionKey, header: SessionHeader, now: Height): Promise<SessionRecord> {
    const { chain } = this.#deps
    const start = height(header.sessionStartBlockHeight)
    const [params, target, units] = await Promise.all([
      chain.sharedParams(start),
      chain.difficulty(header.serviceId, start),
      chain.computeUnitsPerRelay(header.serviceId, start),
    ])
    const record: SessionRecord = {
      key,
      header,
      computeUnitsPerRelay: computeUnits(units),
      target,
      price: {
        computeUnitsToTokensMultiplier: params.computeUnitsToTokensMultiplier,
        computeUnitCostGranularity: params.computeUnitCostGranularity,
      },
      state: { at: 'serving' },
      since: now,
    }
    await this.#deps.sessions.put(record)
    return record
  }
}
