/**
 * The loop: a block, a plan, the actions. Nothing else in here decides anything.
 *
 * If the chain cannot answer, nothing is planned this block: no decision is taken on missing
 * parameters. An action that fails is logged and planned again at the next block. Only the newest
 * block is planned for: an older one could only ask for what is too late by now.
 * Tests: test/miner/miner.ts and test/e2e.
 */
import { isAbort, unreachable } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { inParallel } from '../base/queue.ts'
import type { Height } from '../base/units.ts'
import type { Block } from '../chain/blocks.ts'
import type { Params as SharedParams } from '../protocol/gen/pocket/shared/shared.ts'
import { type Windows, windowsOf } from '../protocol/windows.ts'
import type { SessionRecord } from '../store/sessions.ts'
import type { Claims } from './claims.ts'
import type { Gate } from './gate.ts'
import { type Action, plan, type SessionView } from './plan.ts'
import type { Proofs } from './proofs.ts'
import type { Settlements } from './settlements.ts'

export interface MinerDeps {
  readonly blocks: {
    head(): Block | undefined
    follow(signal: AbortSignal, from?: Height): AsyncIterable<Block>
  }
  readonly chain: { sharedParams(at: Height, signal?: AbortSignal): Promise<SharedParams> }
  readonly sessions: { open(): Promise<SessionRecord[]> }
  readonly gate: Gate
  readonly claims: Claims
  readonly proofs: Proofs
  readonly settlements: Settlements
  readonly log: Log
}

export interface MinerOptions {
  /** Actions of different sessions that run at the same time. */
  readonly parallelMax: number
}

export const MINER_DEFAULTS: MinerOptions = { parallelMax: 16 }

/** A seal leads to a claim in the same block; no other action leads to a next one. */
const ROUNDS = 2

export class Miner {
  readonly #deps: MinerDeps
  readonly #options: MinerOptions
  #planned: Height | undefined

  constructor(deps: MinerDeps, options: MinerOptions = MINER_DEFAULTS) {
    this.#deps = deps
    this.#options = options
  }

  /** The last height whose actions have all been carried out, well or not. */
  get planned(): Height | undefined {
    return this.#planned
  }

  /** Before any relay is taken: what was sealed stays sealed. Gives back the sessions in work. */
  async recover(): Promise<SessionRecord[]> {
    const open = await this.#deps.sessions.open()
    for (const { key, state } of open) if (state.at !== 'serving') this.#deps.gate.markSealed(key)
    return open
  }

  /** Ends with the signal, between two actions. */
  async run(signal: AbortSignal): Promise<void> {
    for await (const block of this.#deps.blocks.follow(signal)) {
      const head = this.#deps.blocks.head()
      if (head !== undefined && block.height < head.height) continue
      await this.#tick(block, signal)
      signal.throwIfAborted()
    }
  }

  async #tick(block: Block, signal: AbortSignal): Promise<void> {
    try {
      for (let round = 1; round <= ROUNDS; round++) {
        const views = await this.#views(signal)
        const windows = new Map(views.map((view) => [view.record, view.windows]))
        const actions = plan(block.height, views).filter(
          ({ do: what }) => round === 1 || what === 'claim',
        )
        await inParallel(this.#options.parallelMax, actions, (action) =>
          this.#carryOut(action, windows, block, signal),
        )
        if (!actions.some((action) => action.do === 'seal')) break
      }
    } catch (error) {
      if (isAbort(error, signal)) throw error
      this.#deps.log.warn({ height: block.height, err: error }, 'nothing planned at this height')
    }
    this.#planned = block.height
  }

  async #views(signal: AbortSignal): Promise<SessionView[]> {
    const records = await this.#deps.sessions.open()
    const byEnd = new Map<Height, Windows>()
    for (const { key } of records) {
      if (byEnd.has(key.end)) continue
      byEnd.set(key.end, windowsOf(key.end, await this.#deps.chain.sharedParams(key.end, signal)))
    }
    return records.flatMap((record) => {
      const windows = byEnd.get(record.key.end)
      return windows === undefined
        ? []
        : [{ record, windows, inFlight: this.#deps.gate.inFlight(record.key) }]
    })
  }

  async #carryOut(
    action: Action,
    windows: ReadonlyMap<SessionRecord, Windows>,
    block: Block,
    signal: AbortSignal,
  ): Promise<void> {
    try {
      await this.#act(action, windows, block, signal)
    } catch (error) {
      if (isAbort(error, signal)) throw error
      this.#deps.log.warn(
        { height: block.height, action: action.do, err: error },
        'action failed, planned again at the next block',
      )
    }
  }

  async #act(
    action: Action,
    windows: ReadonlyMap<SessionRecord, Windows>,
    block: Block,
    signal: AbortSignal,
  ): Promise<void> {
    const { claims, proofs, settlements } = this.#deps
    const session = 'session' in action ? action.session : action.sessions[0]
    const window = session === undefined ? undefined : windows.get(session)
    if (session === undefined || window === undefined) return
    switch (action.do) {
      case 'seal':
        return await claims.seal(session, action.cut, block)
      case 'claim':
        return await claims.claim(action.sessions, window, block, signal)
      case 'confirm-claim':
        return await claims.confirm(session, window, block, signal)
      case 'prove':
        return await proofs.prove(action.sessions, window, block, signal)
      case 'confirm-proof':
        return await proofs.confirm(session, window, block, signal)
      case 'settle':
        return await settlements.settle(session, window, block, signal)
      case 'abandon':
        return await claims.missed(session, block)
      default:
        return unreachable(action)
    }
  }
}
