/**
 * How the chain settled a claim: read from its events, booked, and only then the relays are dropped.
 *
 * Settlement happens at the end of the proof window's last block, and the claim is gone with it. The
 * amounts are the chain's, not ours: an application's stake may bear less than was claimed. As long as
 * a node has the claim, or may still find the events, nothing is concluded.
 *
 * Some nodes keep no results of blocks, hence no events. What the state just before and just after the
 * settlement still tells: a claim that was not there before was never made; a stake that fell by the
 * penalty for each claim without a valid proof tells of slashes, and these claims are lost. All else is
 * booked as `unseen`: paid as far as we can know, but the amount stands nowhere, so it is neither
 * income nor a loss; the owner's balance has it. Only where a node showed us the events of every block
 * in question, and ours was in none of them, is the claim taken for discarded.
 * Source: poktroll x/tokenomics/keeper/settle_pending_claims.go. Tests: test/miner/settlements.ts, test/e2e.
 */
import type { Log } from '../base/log.ts'
import { inParallel } from '../base/queue.ts'
import { type Height, offset, type Upokt, upokt } from '../base/units.ts'
import { ChainError } from '../chain/errors.ts'
import type {
  ClaimDiscarded,
  ClaimExpired,
  ClaimSettled,
  SettlementEvent,
} from '../chain/events.ts'
import type { SessionRecord } from '../store/sessions.ts'
import { type Book, because, claimValue, type Ending } from './book.ts'
import { lookUp } from './look.ts'
import type { Moment } from './plan.ts'
import { type StateSource, unseenEnding } from './unseen.ts'

export interface SettlementsDeps {
  readonly chain: StateSource & {
    settlements(at: Height, signal?: AbortSignal): Promise<SettlementEvent[]>
  }
  readonly book: Pick<Book, 'finish'>
  readonly log: Log
}

/** What ended a claim; a slash is told beside it. */
type EndEvent = ClaimSettled | ClaimExpired | ClaimDiscarded

/** What the events of some blocks told. */
interface Told {
  /** Sessions of which they told nothing. */
  readonly waiting: readonly SessionRecord[]
  /** False when a block's events were not to be had. */
  readonly isWhole: boolean
}

/** Blocks after the settlement height in which an event is looked for before it counts as missing. */
const LATE_BLOCKS_MAX = 20
/** Sessions that are booked at the same time: the disk has one queue, what is read before it has not. */
const BOOKED_MAX = 8
/** The reasons under which the supplier's owner and shareholders are paid. */
const SHAREHOLDER_REWARD = /SUPPLIER_SHAREHOLDER_REWARD/
const NEVER_MADE = 'no block took the claim in its window'
const PROOF_MISSING = 'PROOF_MISSING'

export class Settlements {
  readonly #deps: SettlementsDeps

  constructor(deps: SettlementsDeps) {
    this.#deps = deps
  }

  /**
   * @param sessions of one session end: the events of a block can be large, and are read once
   * @throws the first failure, when the others are served
   */
  async settle(
    sessions: readonly SessionRecord[],
    moment: Moment,
    signal: AbortSignal,
  ): Promise<void> {
    const { block, windows } = moment
    let told = await this.#bookFrom(windows.settlement, sessions, moment, signal)
    const { found, failure } = await lookUp(this.#deps.chain, told.waiting, block.height, signal)
    for (const { session, claim } of found)
      if (claim !== undefined)
        this.#deps.log.warn(facts(session, block.height), 'claim not settled yet')
    const gone = found.filter(({ claim }) => claim === undefined)
    told = { ...told, waiting: gone.map(({ session }) => session) }
    for (const at of laterHeights(moment)) {
      if (told.waiting.length === 0) break
      const more = await this.#bookFrom(at, told.waiting, moment, signal)
      told = { waiting: more.waiting, isWhole: told.isWhole && more.isWhole }
    }
    await inParallel(BOOKED_MAX, told.waiting, (session) =>
      this.#unexplained(session, told, moment, signal),
    )
    if (failure !== undefined) throw failure
  }

  /** Books what the events of `at` tell. */
  async #bookFrom(
    at: Height,
    sessions: readonly SessionRecord[],
    moment: Moment,
    signal: AbortSignal,
  ): Promise<Told> {
    const events = await this.#events(at, moment, signal)
    const ends = new Map((events ?? []).flatMap(named))
    const waiting: SessionRecord[] = []
    await inParallel(BOOKED_MAX, sessions, async (session) => {
      const event = ends.get(settledName(session)) ?? ends.get(otherName(session))
      if (event === undefined) waiting.push(session)
      else await this.#deps.book.finish(session, at, ending(event, session))
    })
    return { waiting, isWhole: events !== undefined }
  }

  /** Undefined where a node has had its time and cannot tell: it was pruned, or keeps no results. */
  async #events(
    at: Height,
    { block, windows }: Moment,
    signal: AbortSignal,
  ): Promise<readonly SettlementEvent[] | undefined> {
    try {
      return await this.#deps.chain.settlements(at, signal)
    } catch (error) {
      signal.throwIfAborted()
      const isSilent = !(error instanceof ChainError) || error.code === 'RPC_UNREACHABLE'
      const isEarly = block.height < windows.settlement + LATE_BLOCKS_MAX
      // Results are written a moment after their block.
      const isComing = error instanceof ChainError && error.retryable && at === block.height
      if (isSilent || isEarly || isComing) throw error
      this.#deps.log.warn({ height: at, err: error }, 'settlement events cannot be read')
      return undefined
    }
  }

  /** @param told the session is one of those that are gone, and no event that was seen says why */
  async #unexplained(
    session: SessionRecord,
    { waiting, isWhole }: Told,
    moment: Moment,
    signal: AbortSignal,
  ): Promise<void> {
    const { book, log, chain } = this.#deps
    const { height: at } = moment.block
    if (isWhole && session.state.at === 'claiming') {
      const reason = because(NEVER_MADE, session)
      return await book.finish(session, at, { outcome: 'claim-missed', reason })
    }
    const fields = { ...facts(session, at), upokt: claimValue(session) }
    if (at < moment.windows.settlement + LATE_BLOCKS_MAX) {
      log.warn(fields, 'settlement not found yet')
      return
    }
    log.error(fields, 'settlement not found')
    if (isWhole) {
      const reason = 'the claim is gone and no event of the chain says how it ended'
      return await book.finish(session, at, { outcome: 'discarded', reason })
    }
    const ended = await unseenEnding(chain, session, waiting, moment.windows.settlement, signal)
    await book.finish(session, at, ended)
  }
}

function facts({ key }: SessionRecord, at: Height) {
  return { sessionId: key.sessionId, supplier: key.operator, height: at }
}

/** After the settlement height: where a late event may be. The newest is where one seen live is. */
function laterHeights({ block, windows: { settlement } }: Moment): Height[] {
  const count = Math.min(block.height - settlement, LATE_BLOCKS_MAX)
  const heights = Array.from({ length: count }, (_, i) => offset(settlement, i + 1))
  if (block.height > settlement + LATE_BLOCKS_MAX) heights.push(block.height)
  return heights
}

/** Only a settled claim's event has the session's id; the others are told by everything else. */
function named(event: SettlementEvent): (readonly [string, EndEvent])[] {
  if (event.kind === 'slashed') return []
  const { operator, application, serviceId, sessionEnd } = event
  if (event.kind === 'settled') return [[`${operator} ${event.sessionId}`, event]]
  return [[`${operator} ${application} ${serviceId} ${sessionEnd}`, event]]
}

function settledName({ key }: SessionRecord): string {
  return `${key.operator} ${key.sessionId}`
}

function otherName({ key, header }: SessionRecord): string {
  return `${key.operator} ${header.applicationAddress} ${header.serviceId} ${key.end}`
}

function ending(event: EndEvent, session: SessionRecord): Ending {
  switch (event.kind) {
    case 'settled':
      return {
        outcome: 'settled',
        reason: event.overservicingLoss > 0n ? "the application's stake bore no more" : '',
        settled: event.settled,
        rewards: rewardsOf(event),
      }
    case 'expired': {
      const outcome = event.reason === PROOF_MISSING ? 'proof-missed' : 'expired'
      return { outcome, reason: because(event.reason, session) }
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
