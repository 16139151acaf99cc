/**
 * How the chain settled a claim: read from its events, booked, and only then the relays are dropped.
 *
 * Settlement happens at the end of the proof window's last block, and the claim is gone with it. The
 * amounts are the chain's, not ours: an application's stake may bear less than was claimed. As long as
 * a node has the claim, or may still find the events, nothing is concluded.
 * Source: poktroll x/tokenomics/keeper/settle_pending_claims.go. Tests: test/miner/settlements.ts, test/e2e.
 */
import type { Log } from '../base/log.ts'
import { type Height, offset, type Upokt, upokt } from '../base/units.ts'
import { ChainError } from '../chain/errors.ts'
import type {
  ClaimDiscarded,
  ClaimExpired,
  ClaimSettled,
  SettlementEvent,
} from '../chain/events.ts'
import type { Claim } from '../protocol/gen/pocket/proof/proof.ts'
import type { SessionRecord } from '../store/sessions.ts'
import { type Book, claimValue, type Ending } from './book.ts'
import type { Moment } from './plan.ts'

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
  readonly book: Pick<Book, 'finish'>
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

  /** @param sessions of one session end: the events of a block can be large, and are read once */
  async settle(
    sessions: readonly SessionRecord[],
    moment: Moment,
    signal: AbortSignal,
  ): Promise<void> {
    const { settlement } = moment.windows
    const waiting = await this.#bookFrom(settlement, sessions, moment, signal)
    let gone: readonly SessionRecord[] = await this.#gone(waiting, moment, signal)
    for (const at of laterHeights(moment)) {
      if (gone.length > 0) gone = await this.#bookFrom(at, gone, moment, signal)
    }
    for (const session of gone) await this.#unexplained(session, moment)
  }

  /** Books what the events of `at` tell. @returns those of which they tell nothing */
  async #bookFrom(
    at: Height,
    sessions: readonly SessionRecord[],
    moment: Moment,
    signal: AbortSignal,
  ): Promise<SessionRecord[]> {
    const events = await this.#events(at, moment, signal)
    const waiting: SessionRecord[] = []
    for (const session of sessions) {
      const event = events.find((event) => isOf(event, session))
      if (event === undefined || event.kind === 'slashed') waiting.push(session)
      else await this.#deps.book.finish(session, at, ending(event, session))
    }
    return waiting
  }

  /** None where a node has had its time and cannot tell: it was pruned, or keeps no results. */
  async #events(
    at: Height,
    { block }: Moment,
    signal: AbortSignal,
  ): Promise<readonly SettlementEvent[]> {
    try {
      return await this.#deps.chain.settlements(at, signal)
    } catch (error) {
      signal.throwIfAborted()
      const silent = !(error instanceof ChainError) || error.code === 'RPC_UNREACHABLE'
      if (silent || block.height < at + LATE_BLOCKS_MAX) throw error
      this.#deps.log.warn({ height: at, err: error }, 'settlement events cannot be read')
      return []
    }
  }

  /** Those whose claim is not there any more, or never was. */
  async #gone(
    sessions: readonly SessionRecord[],
    { block }: Moment,
    signal: AbortSignal,
  ): Promise<SessionRecord[]> {
    const gone: SessionRecord[] = []
    for (const session of sessions) {
      const { sessionId, operator } = session.key
      const claim = await this.#deps.chain.claim(sessionId, operator, signal, block.height)
      if (claim === undefined) gone.push(session)
      else this.#deps.log.warn({ sessionId, height: block.height }, 'claim not settled yet')
    }
    return gone
  }

  async #unexplained(session: SessionRecord, { block, windows }: Moment): Promise<void> {
    const { book, log } = this.#deps
    if (session.state.at === 'claiming') {
      const reason = 'no block took the claim in its window'
      return await book.finish(session, block.height, { outcome: 'claim-missed', reason })
    }
    const fields = { sessionId: session.key.sessionId, upokt: claimValue(session) }
    if (block.height < windows.settlement + LATE_BLOCKS_MAX) {
      log.warn({ ...fields, height: block.height }, 'settlement not found yet')
      return
    }
    log.error(fields, 'settlement not found')
    await book.finish(session, block.height, {
      outcome: 'discarded',
      reason: 'the claim is gone and no event of the chain says how it ended',
    })
  }
}

/** After the settlement height: where a late event may be. The newest is where one seen live is. */
function laterHeights({ block, windows: { settlement } }: Moment): Height[] {
  const count = Math.min(block.height - settlement, LATE_BLOCKS_MAX)
  const heights = Array.from({ length: count }, (_, i) => offset(settlement, i + 1))
  if (block.height > settlement + LATE_BLOCKS_MAX) heights.push(block.height)
  return heights
}

/** Only a settled claim's event has the session's id; the others are told by everything else. */
function isOf(event: SettlementEvent, { key, header }: SessionRecord): boolean {
  if (event.kind === 'slashed' || event.operator !== key.operator) return false
  if (event.kind === 'settled') return event.sessionId === key.sessionId
  return (
    event.application === header.applicationAddress &&
    event.serviceId === header.serviceId &&
    event.sessionEnd === key.end
  )
}

function ending(
  event: ClaimSettled | ClaimExpired | ClaimDiscarded,
  session: SessionRecord,
): Ending {
  switch (event.kind) {
    case 'settled':
      return {
        outcome: 'settled',
        reason: event.overservicingLoss > 0n ? "the application's stake bore no more" : '',
        settled: event.settled,
        rewards: rewardsOf(event),
      }
    case 'expired': {
      const why = session.reason === undefined ? '' : `: ${session.reason}`
      return { outcome: 'expired', reason: `${event.reason}${why}` }
    }
    case 'discarded':
      return { outcome: 'discarded', reason: event.error }
  }
}

function rewardsOf(event: ClaimSettled): Upokt {
  let sum = 0n
  for (const { reason, amount } of event.rewardDetails) {
    if (SHAREHOLDER_REWARD.test(reason)) sum += amount
  }
  return upokt(sum)
}
