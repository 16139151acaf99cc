/**
 * Which block is the latest, of one endpoint's word or of several.
 *
 * One endpoint is asked for its status, and nobody else while it has no news. When it has, when the
 * news came from elsewhere, or when a block is overdue, every other endpoint is asked once: that is all
 * that several cost. A new head must name the one before it. A height that one endpoint alone claims
 * must have had the time to come about; a leap is followed block by block as far as that is reasonable.
 * A block that others know otherwise is settled by chain/dispute.ts, and whoever is wrong is left out
 * until its chain is ours again. A single endpoint is believed, and costs nothing more than itself.
 *
 * The head never goes back: an endpoint that is behind, or replays old blocks, does not move it.
 * Tested by test/chain/{blocks,nodes,forks}.ts.
 */
import { equal } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { SupplierError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { type Height, ms } from '../base/units.ts'
import type { LinkedBlock } from './block.ts'
import { type Sighting, settle, sightings } from './dispute.ts'
import { Inquiry } from './inquiry.ts'
import { Pace } from './pace.ts'
import type { Rpc } from './rpc.ts'
import {
  behind,
  catchingUp,
  disagrees,
  FIT,
  firstHeight,
  foreign,
  isCredible,
  LAG_MAX,
  standingOf,
} from './standing.ts'
import type { NodeStatus } from './status.ts'
import type { Trail } from './trail.ts'

export interface HeadsDeps {
  readonly rpc: Pick<Rpc, 'lead' | 'panel' | 'statusOn'>
  readonly trail: Trail
  readonly clock: Clock
  readonly log: Log
}

/** Times the usual pace without a block, after which the other endpoints are asked. */
const PATIENCE = 2
const PATIENCE_MIN = ms(6_000)
const PATIENCE_MAX = ms(300_000)
/** A longer leap is believed without its blocks: they are asked for, and must fit, when they are used. */
const WALK_MAX = 20

export class Heads {
  readonly #deps: HeadsDeps
  readonly #inquiry: Inquiry
  readonly #pace = new Pace()
  #head: LinkedBlock | undefined
  #chainId: string | undefined

  constructor(deps: HeadsDeps) {
    this.#deps = deps
    this.#inquiry = new Inquiry(deps)
  }

  get head(): LinkedBlock | undefined {
    return this.#head
  }

  get chainId(): string | undefined {
    return this.#chainId
  }

  /**
   * Looks once. @param isUrgent somebody announced a block that is not known yet
   * @returns whether the head moved
   * @throws ChainError where there is nobody to believe
   */
  async look(isUrgent: boolean, signal: AbortSignal): Promise<boolean> {
    const { rpc } = this.#deps
    if (!rpc.panel.isSingle) return await this.#consult(isUrgent, signal)
    return await this.#follow((await rpc.lead(signal)).status, signal)
  }

  async #consult(isUrgent: boolean, signal: AbortSignal): Promise<boolean> {
    const before = this.#head?.height
    const lead = await this.#deps.rpc.lead(signal, before).catch((error: unknown) => {
      if (signal.aborted || !(error instanceof SupplierError)) throw error
      return error
    })
    const isSilent = lead instanceof SupplierError
    if (isUrgent || this.#isOverdue() || (!isSilent && this.#isNews(lead.status)))
      await this.#inquiry.ask(isSilent ? undefined : lead.index, signal)
    await this.#compare(isSilent, signal)
    const failure = await this.#advance(signal)
    this.#judge()
    if (this.#head?.height !== before) return true
    if (failure !== undefined) throw failure
    if (isSilent) throw lead
    if (this.#current().length === 0) this.#refuse(lead.status)
    return false
  }

  /** Also bad news: that an endpoint has gone back is a reason to ask the others. */
  #isNews({ height, catchingUp }: NodeStatus): boolean {
    const head = this.#head?.height ?? 0
    return catchingUp || height > head || height < head - LAG_MAX
  }

  /** What a single endpoint says. */
  async #follow(status: NodeStatus, signal: AbortSignal): Promise<boolean> {
    this.#refuse(status)
    if (status.height <= (this.#head?.height ?? 0)) return false
    this.#moveTo(await this.#deps.trail.at(status.height, signal), status.chainId)
    return true
  }

  /** @throws ChainError for a node that is not to be followed */
  #refuse(status: NodeStatus): void {
    if (status.catchingUp) throw catchingUp(status.height)
    if (this.#chainId !== undefined && status.chainId !== this.#chainId)
      throw foreign(status.chainId, this.#chainId)
    const head = this.#head?.height ?? 0
    if (status.height < head - 1) throw behind(status.height, head)
  }

  #moveTo(block: LinkedBlock, chainId: string): void {
    this.#deps.trail.keep(block)
    this.#pace.note(block.height, this.#deps.clock.monotonic())
    this.#head = block
    this.#chainId = chainId
  }

  /** Neither has the head moved in time, nor were the others asked since it should have. */
  #isOverdue(): boolean {
    const now = this.#deps.clock.monotonic()
    const usual = this.#pace.usual * PATIENCE
    const patience = Math.min(PATIENCE_MAX, Math.max(PATIENCE_MIN, usual))
    return this.#pace.elapsed(now) >= patience && this.#inquiry.elapsed(now) >= patience
  }

  /** Endpoints that could be followed: of our chain, on no fork, not catching up. */
  #current(): Sighting[] {
    return sightings(this.#deps.rpc.panel).filter(
      ({ endpoint, status }) => !endpoint.isLeftOut && !status.catchingUp,
    )
  }

  /** Holds what every endpoint said of its latest block against the same block of ours. */
  async #compare(isSilent: boolean, signal: AbortSignal): Promise<void> {
    const { rpc, trail } = this.#deps
    for (const { index, endpoint, status } of sightings(rpc.panel)) {
      const ours = trail.known(status.height)
      const agrees = ours !== undefined && equal(ours.hash, status.hash)
      const { at } = endpoint.standing
      if (at === undefined) {
        if (ours !== undefined && !agrees) await this.#settle(status.height, signal)
      } else {
        const isBack = isSilent && (await this.#isBack(index, status, signal))
        if (isBack || (agrees && status.height > at)) rpc.panel.judge(endpoint, FIT)
      }
    }
  }

  /** Whether one that disagreed, and is ahead of a head that nobody else moves, has that head now. */
  async #isBack(index: number, { height }: NodeStatus, signal: AbortSignal): Promise<boolean> {
    const head = this.#head
    if (head === undefined || height <= head.height) return false
    const theirs = await this.#deps.trail.from(index, head.height, signal).catch(() => undefined)
    signal.throwIfAborted()
    return theirs !== undefined && equal(theirs.hash, head.hash)
  }

  /** To the highest block that can be believed. @returns why a higher one could not be had */
  async #advance(signal: AbortSignal): Promise<SupplierError | undefined> {
    let failure: SupplierError | undefined
    for (let turn = 0; turn < 2; turn++) {
      const candidates = await this.#candidates(signal)
      let settled = false
      for (const candidate of candidates) {
        try {
          const outcome = await this.#accept(candidate, signal)
          if (outcome === 'moved') return undefined
          settled ||= outcome === 'settled'
        } catch (error) {
          if (signal.aborted || !(error instanceof SupplierError)) throw error
          failure = error
        }
      }
      if (!settled) break
    }
    return failure
  }

  /** Who has a believable height above the head, the highest first. */
  async #candidates(signal: AbortSignal): Promise<Sighting[]> {
    const find = () => {
      const current = this.#current()
      const head = this.#head?.height
      const statuses = current.map(({ status }) => status)
      const begin = head ?? firstHeight(statuses, this.#deps.clock.now())
      return current
        .filter(({ status, index }) =>
          head === undefined
            ? status.height === begin
            : status.height > head && this.#isCredible(index, status),
        )
        .sort((a, b) => b.status.height - a.status.height)
    }
    const found = find()
    if (found.length === 0) return await this.#overtaken(signal)
    for (const { status } of found) {
      const rival = found.find(
        (other) => other.status.height === status.height && !equal(other.status.hash, status.hash),
      )
      if (rival === undefined) continue
      await this.#settle(status.height, signal)
      return find()
    }
    return found
  }

  /** A fork that goes on while ours stands still was no fork: then it is settled once more. */
  async #overtaken(signal: AbortSignal): Promise<Sighting[]> {
    const head = this.#head
    const { clock, rpc } = this.#deps
    if (head === undefined || this.#current().length === 0) return []
    const isStill = this.#pace.elapsed(clock.monotonic()) >= this.#pace.usual * PATIENCE
    const ahead = sightings(rpc.panel).filter(
      ({ endpoint, status }) =>
        endpoint.standing.state === 'disagrees' && status.height > head.height + 1,
    )
    if (!isStill || ahead.length === 0) return []
    await this.#settle(head.height, signal)
    return this.#current().filter(({ status }) => status.height > head.height)
  }

  async #accept(
    { index, endpoint, status }: Sighting,
    signal: AbortSignal,
  ): Promise<'moved' | 'settled' | 'no'> {
    const { trail, rpc } = this.#deps
    const head = this.#head
    const block = await trail.from(index, status.height, signal)
    if (!equal(block.hash, status.hash)) {
      rpc.panel.judge(endpoint, disagrees(status.height))
      return 'no'
    }
    if (head !== undefined && block.height - head.height <= WALK_MAX) {
      const { path, isWhole } = await trail.down(index, block, head.height, signal)
      if (!isWhole) {
        rpc.panel.judge(endpoint, disagrees(path.at(-1)?.height ?? block.height))
        return 'no'
      }
      if (!equal(path.at(-1)?.parent ?? block.parent, head.hash)) {
        await this.#settle(head.height, signal)
        return 'settled'
      }
      for (const step of path) trail.keep(step)
    }
    this.#moveTo(block, status.chainId)
    return 'moved'
  }

  #isCredible(index: number, status: NodeStatus): boolean {
    const head = this.#head?.height
    if (head === undefined) return true
    const others = this.#current()
      .filter((other) => other.index !== index && other.status.height >= head - LAG_MAX)
      .map((other) => other.status.height)
    const elapsed = this.#pace.elapsed(this.#deps.clock.monotonic())
    return isCredible(status.height, { head, others, elapsed, usual: this.#pace.usual })
  }

  #judge(): void {
    const head = this.#head?.height
    if (head === undefined) return
    for (const { index, endpoint, status } of sightings(this.#deps.rpc.panel)) {
      if (endpoint.isLeftOut) continue
      const standing = standingOf(status, head, this.#isCredible(index, status))
      this.#deps.rpc.panel.judge(endpoint, standing)
    }
  }

  /** Our own block may be the wrong one: then nothing that is kept is believed any more. */
  async #settle(at: Height, signal: AbortSignal): Promise<void> {
    const { rpc, trail, log } = this.#deps
    const ours = at === this.#head?.height ? this.#head : trail.known(at)
    const right = await settle({ panel: rpc.panel, trail }, at, signal)
    if (right === undefined || ours === undefined || equal(ours.hash, right.hash)) return
    log.error({ height: at }, 'a block that was believed was wrong')
    trail.forget()
    const head = this.#head
    if (head === undefined || head.height > right.height) return
    const block = await trail.from(right.index, head.height, signal)
    trail.keep(block)
    this.#head = block
  }
}
