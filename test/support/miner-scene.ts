/** A miner whose actions do what a test says; the sessions lie in a list. */
import type { Test } from 'tap'
import { MINER_DEFAULTS, Miner, type MinerDeps } from '../../src/miner/miner.ts'
import type { Moment } from '../../src/miner/plan.ts'
import type { SessionRecord, SessionState } from '../../src/store/sessions.ts'
import { ManualClock } from './clock.ts'
import { MinerChain } from './miner-chain.ts'
import { type Line, recordingLog, turn } from './miner-world.ts'

export class Scene {
  readonly chain: MinerChain
  readonly clock = new ManualClock()
  readonly miner: Miner
  readonly lines: Line[]
  readonly acts: string[] = []
  readonly sessions: SessionRecord[]
  readonly sealedDoors: string[] = []
  readonly fetched: number[] = []
  readonly controller = new AbortController()
  /** What an action does beside being noted. */
  act: (name: string, session: SessionRecord, moment?: Moment) => void | Promise<void> = () => {}
  open: () => Promise<SessionRecord[]> = async () => [...this.sessions]
  damaged: string[] = []
  params = (at: number) => this.chain.shared(at)
  ended: Promise<void> = Promise.resolve()

  constructor(
    t: Test,
    now: number,
    sessions: readonly SessionRecord[],
    options: { parallelMax?: number } = {},
  ) {
    this.chain = new MinerChain(now)
    this.sessions = [...sessions]
    const { log, lines } = recordingLog()
    this.lines = lines
    const one =
      (name: string) =>
      async (session: SessionRecord, ...rest: unknown[]) =>
        await this.#note(name, [session], rest.find((value) => isMoment(value)) as Moment)
    const many = (name: string) => async (sessions: readonly SessionRecord[], moment: Moment) =>
      await this.#note(name, sessions, moment)
    const deps: MinerDeps = {
      blocks: { head: this.chain.blocks.head, follow: (signal) => this.#follow(signal) },
      chain: { sharedParams: async (at) => this.params(at) },
      sessions: { open: () => this.open(), damaged: async () => this.damaged },
      gate: {
        inFlight: () => 0,
        markSealed: (key) => void this.sealedDoors.push(key.sessionId),
      },
      claims: {
        seal: one('seal'),
        claim: many('claim'),
        confirm: many('confirm-claim'),
        missed: one('abandon'),
      },
      proofs: { prove: many('prove'), confirm: many('confirm-proof') },
      settlements: { settle: many('settle') },
      clock: this.clock,
      log,
    }
    const { parallelMax = MINER_DEFAULTS.parallelMax } = options
    this.miner = new Miner(deps, { ...MINER_DEFAULTS, parallelMax })
    t.teardown(() => this.stop())
  }

  async *#follow(signal: AbortSignal) {
    for await (const block of this.chain.blocks.follow(signal)) {
      this.fetched.push(block.height)
      yield block
    }
  }

  async #note(name: string, sessions: readonly SessionRecord[], moment: Moment): Promise<void> {
    for (const { key } of sessions) this.acts.push(`${name} ${this.nameOf(key.sessionId)}`)
    for (const session of sessions) await this.act(name, session, moment)
  }

  nameOf(id: string): number {
    return this.sessions.findIndex(({ key }) => key.sessionId === id)
  }

  to(index: number, state: SessionState): void {
    const record = this.sessions[index]
    if (record !== undefined) this.sessions[index] = { ...record, state }
  }

  start(): this {
    this.ended = this.miner.run(this.controller.signal).catch(() => {})
    return this
  }

  async planned(at: number = this.chain.height): Promise<void> {
    for (let n = 0; n < 200 && (this.miner.planned ?? 0) < at; n++) await turn()
  }

  async mine(): Promise<void> {
    this.chain.mine()
    await this.planned()
  }

  async stop(): Promise<void> {
    this.controller.abort(new Error('stopped'))
    await this.ended
  }

  taken(): string[] {
    return this.acts.splice(0)
  }
}

function isMoment(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'block' in value
}
