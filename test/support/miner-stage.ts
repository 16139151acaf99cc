/** The miner's parts over a store of their own, to be called one by one, with sessions in any state. */
import { join } from 'node:path'
import type { Test } from 'tap'
import { type Address, height } from '../../src/base/units.ts'
import { grouped } from '../../src/miner/group.ts'
import type { Moment } from '../../src/miner/plan.ts'
import { windowsOf } from '../../src/protocol/windows.ts'
import { openStore, type Store } from '../../src/store/db.ts'
import type { LedgerEntry } from '../../src/store/ledger.ts'
import type { SessionRecord } from '../../src/store/sessions.ts'
import { MinerChain } from './miner-chain.ts'
import { headerOf, MinerWorld, servedRelay, type WorldOptions } from './miner-world.ts'
import { OPERATOR } from './sessions.ts'
import { storeDeps } from './store.ts'

export interface Told {
  readonly end?: number
  readonly operator?: Address
}

export function byOperator(sessions: readonly SessionRecord[]): Moment['open'] {
  return new Map(
    grouped(sessions, ({ key }) => key.operator).map((own) => [
      own[0]?.key.operator ?? OPERATOR,
      own,
    ]),
  )
}

export class Stage {
  readonly store: Store
  readonly chain: MinerChain
  readonly world: MinerWorld
  readonly #controller = new AbortController()

  private constructor(store: Store, chain: MinerChain, options: WorldOptions) {
    this.store = store
    this.chain = chain
    this.world = new MinerWorld(store, chain, options)
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  /** Sessions end at 10: grace 11, claim 12 to 16, proof 16 to 20. */
  static async open(t: Test, now: number, options: WorldOptions = {}): Promise<Stage> {
    // Before the folder is asked for: then the folder is removed after what is done here.
    let opened: Store | undefined
    t.teardown(() => opened?.close())
    const store = await openStore(join(t.testdir(), 'db'), storeDeps())
    opened = store
    const chain = new MinerChain(now)
    chain.setBalance(OPERATOR, 1_000_000n)
    return new Stage(store, chain, options)
  }

  async moment(end = 10): Promise<Moment> {
    return {
      block: this.chain.block(this.chain.height),
      windows: windowsOf(height(end), this.chain.shared(end)),
      open: byOperator(await this.store.sessions.open()),
    }
  }

  /** A session with so many relays. */
  async served(name: string, relays: number, told: Told = {}): Promise<SessionRecord> {
    const { end = 10, operator = OPERATOR } = told
    const header = headerOf(name, end)
    const session = await this.world.intake.admit(header, operator, this.chain.height)
    for (let n = 0; n < relays; n++)
      await this.world.serve(servedRelay(header, n, operator), header, operator)
    return session
  }

  async sealed(name: string, relays: number, told: Told = {}): Promise<SessionRecord> {
    const session = await this.served(name, relays, told)
    await this.world.claims.seal(session, false, await this.moment(told.end))
    return await this.now(session)
  }

  /** Claimed on the chain too; the chain goes on to the claim window. */
  async claimed(names: readonly string[], relays = 3, told: Told = {}): Promise<SessionRecord[]> {
    const sealed: SessionRecord[] = []
    for (const name of names) sealed.push(await this.sealed(name, relays, told))
    this.chain.mineTo(12)
    await this.world.claims.claim(sealed, await this.moment(told.end), this.signal)
    this.chain.mine()
    const claimed: SessionRecord[] = []
    for (const session of sealed) {
      await this.confirmClaim(await this.now(session))
      claimed.push(await this.now(session))
    }
    return claimed
  }

  async confirmClaim(session: SessionRecord): Promise<void> {
    await this.world.claims.confirm([session], await this.moment(session.key.end), this.signal)
  }

  async confirmProof(session: SessionRecord): Promise<void> {
    await this.world.proofs.confirm([session], await this.moment(session.key.end), this.signal)
  }

  async prove(sessions: readonly SessionRecord[]): Promise<void> {
    await this.world.proofs.prove(sessions, await this.moment(sessions[0]?.key.end), this.signal)
  }

  /** The session's record as it is on the disk. */
  async now(session: SessionRecord): Promise<SessionRecord> {
    const record = await this.store.sessions.get(session.key)
    if (record === undefined) throw new TypeError('no record')
    return record
  }

  async entry(session: SessionRecord): Promise<LedgerEntry | undefined> {
    for await (const entry of this.store.ledger.entries())
      if (
        entry.key.sessionId === session.key.sessionId &&
        entry.key.operator === session.key.operator
      )
        return entry
    return undefined
  }
}
