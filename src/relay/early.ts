/**
 * Relays of the session that starts with the next block: they wait for it.
 *
 * Gateways see the first block of a session before we do, and punish a refusal for long. But whoever
 * waits holds a connection and memory, so only a session that can start now is waited for, by relays
 * that are rightly signed, and by so many at a time.
 * Heights: grid and members by the parameters of the present height. Where a session's length changes
 * with the next block, its first relays are refused until we have seen it.
 * Tests: test/relay/early.ts.
 */
import { BaseError } from '../base/errors.ts'
import { type Height, height } from '../base/units.ts'
import type { Block } from '../chain/blocks.ts'
import type { Ring } from '../crypto/ring.ts'
import type { Params as SharedParams } from '../protocol/gen/pocket/shared/shared.ts'
import { type RelayRequest, requestSignableHash, type SessionHeader } from '../protocol/relay.ts'
import { gridAt } from '../protocol/session.ts'
import { RelayError } from './errors.ts'
import type { RingKeys } from './ringkeys.ts'

export interface EarlyDeps {
  readonly blocks: { waitFor(height: Height, signal: AbortSignal): Promise<Block> }
  readonly chain: { sharedParams(at: Height, signal?: AbortSignal): Promise<SharedParams> }
  readonly rings: Pick<RingKeys, 'requireMembers' | 'requireSignature'>
  /** Bounds the wait. @throws BaseError DEADLINE */
  readonly deadline: (
    signal: AbortSignal,
    work: (signal: AbortSignal) => Promise<Block>,
  ) => Promise<Block>
}

/** One relay, with a header that nobody has compared with the chain's. */
export interface EarlyRelay {
  readonly request: RelayRequest
  readonly ring: Ring
  readonly header: SessionHeader
}

export class EarlyRelays {
  readonly #deps: EarlyDeps
  readonly #waitingMax: number
  #waiting = 0

  /** @param waitingMax relays that wait at a time */
  constructor(deps: EarlyDeps, waitingMax: number) {
    this.#deps = deps
    this.#waitingMax = waitingMax
  }

  /** @throws RelayError SESSION_MISMATCH: no session of this header starts with the next block */
  async requireNext(header: SessionHeader, now: Height, signal: AbortSignal): Promise<void> {
    const grid = gridAt(now, await this.#deps.chain.sharedParams(now, signal))
    const { sessionStartBlockHeight: start, sessionEndBlockHeight: end } = header
    if (start !== BigInt(grid.end + 1) || end - start !== BigInt(grid.end - grid.start))
      throw new RelayError('SESSION_MISMATCH', `no session runs from ${start} to ${end} at ${now}`)
  }

  /**
   * The height once the session has started.
   * @throws RelayError RING_UNKNOWN, RING_INVALID; SESSION_MISMATCH, REFUSED (retryable); what the
   *   chain floor throws, `signal.reason`
   */
  async wait(relay: EarlyRelay, now: Height, signal: AbortSignal): Promise<Height> {
    const { blocks, rings, deadline } = this.#deps
    const { request, ring, header } = relay
    await rings.requireMembers(ring, header, now, signal)
    signal.throwIfAborted()
    rings.requireSignature(requestSignableHash(request), ring)
    const start = height(now + 1)
    if (this.#waiting >= this.#waitingMax)
      throw new RelayError('REFUSED', 'too many relays wait for a session', { retryable: true })
    this.#waiting++
    try {
      return (await deadline(signal, (bound) => blocks.waitFor(start, bound))).height
    } catch (cause) {
      if (!(cause instanceof BaseError) || cause.code !== 'DEADLINE') throw cause
      throw new RelayError('SESSION_MISMATCH', `the session starts at ${start}, not yet there`, {
        cause,
        retryable: true,
      })
    } finally {
      this.#waiting--
    }
  }
}
