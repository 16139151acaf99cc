/**
 * How the chain settled a claim: read from its events, booked, and only then the relays are dropped.
 *
 * Settlement happens at the end of the proof window's last block, and the claim is gone with it. The
 * amounts are the chain's, not ours: an application's stake may bear less than was claimed.
 * Source: poktroll x/tokenomics/keeper/settle_pending_claims.go. Tests: test/miner/settlements.ts, test/e2e.
 */
import type { Log } from '../base/log.ts'
import { type Height, offset, type Upokt, upokt } from '../base/units.ts'
import type { Block } from '../chain/blocks.ts'
import type { ClaimSettled, SettlementEvent } from '../chain/events.ts'
import type { Claim } from '../protocol/gen/pocket/proof/proof.ts'
import type { Windows } from '../protocol/windows.ts'
import type { SessionRecord } from '../store/sessions.ts'
import { type Book, claimValue, type Ending } from './book.ts'

export interface SettlementsDeps {
  readonly chain: {
    settlements(at: Height, signal?: AbortSignal): Promise<SettlementEvent[]>
    claim(
      sessionId: string,
      operator: string,
      signal?: AbortSignal,
      at?: Height,
    ): Promise<Claim | undefined>
  }
  readonly book: Book
  readonly log: Log
}

/** Blocks after the settlement height in which an event is looked for before it counts as missing. */
const LATE_BLOCKS_MAX = 20
/** The reasons under which the supplier's owner and shareholders are paid. */
const SHAREHOLDER_REWARD = /SUPPLIER_SHAREHOLDER_REWARD/

export class Settlements {
  readonly #deps: SettlementsDeps

  constructor(deps: SettlementsDeps) {
    this.#deps = deps
  }

  async settle(
    session: SessionRecord,
    windows: Windows,
    block: Block,
    signal: AbortSignal,
  ): Promise<void> {
    const { key } = session
    const last = Math.min(block.height, windows.settlement + LATE_BLOCKS_MAX)
    for (let at = windows.settlement; at <= last; at = offset(at, 1)) {
      const event = find(await this.#deps.chain.settlements(at, signal), session)
      if (event !== undefined) return await this.#deps.book.finish(session, at, ending(event))
    }
    const claim = await this.#deps.chain.claim(key.sessionId, key.operator, signal, block.height)
    if (claim !== undefined || block.height < last) {
      this.#deps.log.warn(
        { sessionId: key.sessionId, height: block.height },
        'claim not settled yet',
      )
      return
    }
    await this.#deps.book.finish(session, block.height, {
      outcome: 'discarded',
      reason: 'the claim is gone and no event of the chain says how it ended',
    })
    this.#deps.log.error(
      { sessionId: key.sessionId, upokt: claimValue(session) },
      'no settlement event found',
    )
  }
}

/** Only a settled claim's event has the session's id; the others are told by everything else. */
function find(
  events: readonly SettlementEvent[],
  { key, header }: SessionRecord,
): SettlementEvent | undefined {
  return events.find((event) => {
    if (event.kind === 'slashed' || event.operator !== key.operator) return false
    if (event.kind === 'settled') return event.sessionId === key.sessionId
    return (
      event.application === header.applicationAddress &&
      event.serviceId === header.serviceId &&
      event.sessionEnd === key.end
    )
  })
}

function ending(event: SettlementEvent): Ending {
  switch (event.kind) {
    case 'settled':
      return {
        outcome: 'settled',
        reason: event.overservicingLoss > 0n ? "the application's stake bore no more" : '',
        settled: event.settled,
        rewards: rewardsOf(event),
      }
    case 'expired':
      return { outcome: 'expired', reason: event.reason }
    case 'discarded':
      return { outcome: 'discarded', reason: event.error }
    case 'slashed':
      return { outcome: 'expired', reason: 'slashed' }
  }
}

function rewardsOf(event: ClaimSettled): Upokt {
  let sum = 0n
  for (const { reason, amount } of event.rewardDetails) {
    if (SHAREHOLDER_REWARD.test(reason)) sum += amount
  }
  return upokt(sum)
}
