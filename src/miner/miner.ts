/**
 * The loop: a block, a plan, the actions. Nothing else in here decides anything.
 *
 * If the chain cannot answer, nothing is planned for that session end this block: no decision is taken
 * on missing parameters. Only the newest block is planned for: an older one could only ask for what is
 * too late by now, so an action starts only while its block is the newest. One that is still at work
 * when the next block comes holds up its own sessions and no others. What failed and may go well is
 * tried again before the next block, what failed for good at the next block: a bug in the action of one
 * session must not cost the others their windows.
 * Tests: test/miner/miner.ts, test/miner/lifecycle.ts, test/miner/many.ts and test/e2e.
 */
import { setMaxListeners } from 'node:events'
import type { Clock } from '../base/clock.ts'
import { SupplierError, unreachable } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { inParallel } from '../base/queue.ts'
import { type Height, height, type Ms, ms } from '../base/units.ts'
import type { Block } from '../chain/blocks.ts'
import type { Params as SharedParams } from '../protocol/gen/pocket/shared/shared.ts'
import { type Windows, windowsOf } from '../protocol/windows.ts'
import { type SessionRecord, sessionKeyText } from '../store/sessions.ts'
import type { Claims } from './claims.ts'
import type { Gate } from './gate.ts'
import { grouped } from './group.ts'
import { type Action, type Moment, plan, type SessionView, sessionsOf } from './plan.ts'
import type { Proofs } from './proofs.ts'
import type { Settlements } from './settlements.ts'

export interface MinerDeps {
  readonly blocks: {
    head(): Block | undefined
    follow(signal: AbortSignal, from?: Height): AsyncIterable<Block>
  }
  readonly chain: { sharedParams(at: Height, signal?: AbortSignal): Promise<SharedParams> }
  readonly sessions: { open(): Promise<SessionRecord[]>; damaged(): Promise<readonly string[]> }
  readonly gate: Pick<Gate, 'inFlight' | 'markSealed'>
  readonly claims: Pick<Claims, 'seal' | 'claim' | 'confirm' | 'missed'>
  readonly proofs: Pick<Proofs, 'prove' | 'confirm'>
  readonly settlements: Pick<Settlements, 'settle'>
  readonly clock: Pick<Clock, 'sleep'>
  readonly log: Log
}

export interface MinerOptions {
  /** Actions of one block that run at the same time. */
  readonly parallelMax: number
  /** From a failure to the next try within the same block; doubled each time. */
  readonly retryFirst: Ms
  readonly retryMax: Ms
}

/** At the end of a session key in hex. */
const SESSION_ID_LENGTH = 64

export const MINER_DEFAULTS: MinerOptions = {
  parallelMax: 16,
  retryFirst: ms(2_000),
  retryMax: ms(15_000),
}

/** What was done at one block. */
interface Tick {
  readonly block: Block
  readonly signal: AbortSignal
  /** By session: the state it was acted upon in, and whether that may be tried again. */
  readonly acted: Map<string, { readonly at: string; readonly again: boolean }>
  /** Something of the last round may go well when tried again. */
  again: boolean
}

export class Miner {
  readonly #deps: MinerDeps
  readonly #options: MinerOptions
  /** Sessions that an action is at work on. */
  readonly #busy = new Set<string>()
  /** Damaged records that were told of. */
  readonly #told = new Set<string>()
  #planned: Height | undefined

  constructor(deps: MinerDeps, options: MinerOptions = MINER_DEFAULTS) {
    this.#deps = deps
    this.#options = options
  }

  /** The last height that was planned for and whose own actions have ended, well or not. */
  get planned(): Height | undefined {
    return this.#planned
  }

  /** Before any relay is taken: what was sealed stays sealed. Gives back the sessions in work. */
  async recover(): Promise<SessionRecord[]> {
    const open = await this.#deps.sessions.open()
    for (const { key, state } of open) if (state.at !== 'serving') this.#deps.gate.markSealed(key)
    await this.#tellDamaged()
    return open
  }

  /** Ends with the signal, when the actions at work have heard of it. */
  async run(signal: AbortSignal): Promise<void> {
    // As many questions wait with it as actions run at the same time: no leak.
    setMaxListeners(0, signal)
    const ticks = new Set<Promise<void>>()
    try {
      for await (const block of this.#newest(signal)) {
        const tick = this.#tick(block, signal).finally(() => ticks.delete(tick))
        ticks.add(tick)
      }
    } finally {
      await Promise.all(ticks)
    }
  }

  /** Blocks as they come; after a delay the newest, without those in between. */
  async *#newest(signal: AbortSignal): AsyncGenerator<Block> {
    for (let behind = true; behind; ) {
      behind = false
      for await (const block of this.#deps.blocks.follow(signal)) {
        behind = this.#isOld(block)
        if (behind) break
        yield block
      }
    }
  }

  #isOld(block: Block): boolean {
    const head = this.#deps.blocks.head()
    return head !== undefined && head.height > block.height
  }

  /** Never rejects. */
  async #tick(block: Block, signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#deps
    const { retryFirst, retryMax } = this.#options
    const tick: Tick = { block, signal, acted: new Map(), again: false }
    if (this.#busy.size > 0) {
      const fields = { height: block.height, sessions: this.#busy.size }
      log.warn(fields, 'actions of an earlier block are still at work')
    }
    try {
      for (let delay = retryFirst; ; delay = ms(Math.min(2 * delay, retryMax))) {
        tick.again = false
        for (const [name, { again }] of tick.acted) if (again) tick.acted.delete(name)
        while (await this.#round(tick));
        this.#planned = height(Math.max(this.#planned ?? 1, block.height))
        if (!tick.again) return
        await clock.sleep(delay, signal)
        if (this.#isOld(block)) return
      }
    } catch (err) {
      if (!signal.aborted) log.error({ height: block.height, err }, 'planning failed')
    }
  }

  /** Plans and carries out. @returns whether that may have led to something to be done at once */
  async #round(tick: Tick): Promise<boolean> {
    const { block, acted } = tick
    const { open, windows, views } = await this.#look(tick)
    const due = views.filter(({ record }) => isDue(record, acted))
    const actions = plan(block.height, due).flatMap((action) => following(action, acted))
    let next = false
    await inParallel(this.#options.parallelMax, actions, async (action) => {
      const ends = windows.get(sessionsOf(action)[0]?.key.end ?? block.height)
      if (ends === undefined || this.#isOld(block) || tick.signal.aborted) return
      const done = await this.#carryOut(action, { block, windows: ends, open }, tick)
      next ||= done && (action.do === 'seal' || action.do === 'confirm-claim')
    })
    tick.signal.throwIfAborted()
    return next
  }

  /**
   * All sessions in work, their windows, and a view of each but those that an action of an earlier
   * block is at work on: what was read of them may be old by now.
   */
  async #look(tick: Tick): Promise<{
    open: Moment['open']
    windows: ReadonlyMap<Height, Windows>
    views: readonly SessionView[]
  }> {
    const busy = new Set(this.#busy)
    let open: readonly SessionRecord[] = []
    try {
      open = await this.#deps.sessions.open()
      await this.#tellDamaged()
    } catch (error) {
      this.#failed(error, tick, 'sessions not known, nothing planned')
    }
    const windows = await this.#windows(open, tick)
    const views = open.flatMap((record) => {
      const ends = windows.get(record.key.end)
      if (ends === undefined || busy.has(sessionKeyText(record.key))) return []
      return [{ record, windows: ends, inFlight: this.#deps.gate.inFlight(record.key) }]
    })
    const byOperator = grouped(open, ({ key }) => key.operator)
    const all = byOperator.flatMap((group) =>
      group.slice(0, 1).map(({ key }) => [key.operator, group] as const),
    )
    return { open: new Map(all), windows, views }
  }

  /** Loud, once a process: what was served in such a session is at risk. */
  async #tellDamaged(): Promise<void> {
    for (const key of await this.#deps.sessions.damaged()) {
      if (this.#told.has(key)) continue
      this.#told.add(key)
      const fields = { key, sessionId: key.slice(-SESSION_ID_LENGTH) }
      this.#deps.log.error(fields, 'a session record is damaged and was set aside')
    }
  }

  /** By session end; without those whose parameters are not to be had. */
  async #windows(records: readonly SessionRecord[], tick: Tick): Promise<Map<Height, Windows>> {
    const windows = new Map<Height, Windows>()
    const look = async (end: Height) => {
      try {
        windows.set(end, windowsOf(end, await this.#deps.chain.sharedParams(end, tick.signal)))
      } catch (error) {
        this.#failed(error, tick, 'windows not known, nothing planned', { sessionEnd: end })
      }
    }
    await Promise.all([...new Set(records.map(({ key }) => key.end))].map(look))
    return windows
  }

  /** @returns true if it went well */
  async #carryOut(action: Action, moment: Moment, tick: Tick): Promise<boolean> {
    const sessions = sessionsOf(action)
    let failed = false
    let again = false
    for (const { key } of sessions) this.#busy.add(sessionKeyText(key))
    try {
      await this.#act(action, moment, tick.signal)
    } catch (error) {
      failed = true
      again = this.#failed(error, tick, 'action failed', { action: action.do })
    }
    for (const { key, state } of sessions) {
      this.#busy.delete(sessionKeyText(key))
      tick.acted.set(sessionKeyText(key), { at: state.at, again })
    }
    return !failed
  }

  /** A bug of ours is loud, and tried again at the next block like everything else. */
  #failed(
    err: unknown,
    tick: Tick,
    message: string,
    fields: Record<string, unknown> = {},
  ): boolean {
    if (tick.signal.aborted) return false
    const known = err instanceof SupplierError
    this.#deps.log[known ? 'warn' : 'error']({ height: tick.block.height, ...fields, err }, message)
    const again = known && err.retryable
    tick.again ||= again
    return again
  }

  async #act(action: Action, moment: Moment, signal: AbortSignal): Promise<void> {
    const { claims, proofs, settlements } = this.#deps
    switch (action.do) {
      case 'seal':
        return await claims.seal(action.session, action.cut, moment)
      case 'claim':
        return await claims.claim(action.sessions, moment, signal)
      case 'confirm-claim':
        return await claims.confirm(action.sessions, moment, signal)
      case 'prove':
        return await proofs.prove(action.sessions, moment, signal)
      case 'confirm-proof':
        return await proofs.confirm(action.sessions, moment, signal)
      case 'settle':
        return await settlements.settle(action.sessions, moment, signal)
      case 'abandon':
        return await claims.missed(action.session, moment, signal)
      default:
        return unreachable(action)
    }
  }
}

/** Not acted upon at this block yet, or in another state since. */
function isDue({ key, state }: SessionRecord, acted: Tick['acted']): boolean {
  const before = acted.get(sessionKeyText(key))
  return before === undefined || before.at !== state.at
}

/** A seal leads to a claim and a claim seen to a proof; nothing else follows in the same block. */
function following(action: Action, acted: Tick['acted']): Action[] {
  if (action.do === 'claim' || action.do === 'prove') return [action]
  const sessions = sessionsOf(action).filter(({ key, state }) => {
    const before = acted.get(sessionKeyText(key))
    return before === undefined || before.at === state.at
  })
  if (sessions.length === 0) return []
  return ['session' in action ? action : { ...action, sessions }]
}
