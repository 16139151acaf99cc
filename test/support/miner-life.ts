/** Whole lives of sessions for test/miner/lifecycle.ts: who lives them, and what must hold at their end. */
import { hex } from '../../src/base/bytes.ts'
import { type Address, height } from '../../src/base/units.ts'
import { relayHash, type SessionHeader } from '../../src/protocol/relay.ts'
import { isApplicable } from '../../src/protocol/rewards.ts'
import { foldRoot } from '../../src/smst/fold.ts'
import type { Store } from '../../src/store/db.ts'
import type { LedgerEntry } from '../../src/store/ledger.ts'
import { Interrupt } from './interrupt.ts'
import { MinerChain } from './miner-chain.ts'
import { headerOf, MinerWorld, type Served, servedRelay } from './miner-world.ts'
import { OPERATOR } from './sessions.ts'

export interface Life {
  readonly operators?: readonly Address[]
  /** Sessions of each operator. */
  readonly sessions?: number
  readonly relays?: number
  readonly fate?: MinerChain['fate']
  readonly setup?: (chain: MinerChain) => void
  /** Blocks after the session end until the last look. */
  readonly until?: number
}

export interface Crash {
  /** The step after which the process is gone: its number, or the first of that name. */
  readonly after: number | string
  /** Blocks that pass until it is started again. */
  readonly down: number
}

export interface Told {
  readonly header: SessionHeader
  readonly operator: Address
  readonly answered: Served[]
  readonly durable: Served[]
}

export interface Ending {
  readonly chain: MinerChain
  readonly told: readonly Told[]
  readonly entries: readonly LedgerEntry[]
  readonly crashes: number
  /** Of the last process. */
  readonly steps: readonly string[]
  readonly world: MinerWorld
}

/** Grace 1, claim 2 to 6, proof 6 to 10 blocks after the end; settled at the end of the last. */
const UNTIL = 12
export class Run {
  readonly chain: MinerChain
  readonly told: Told[] = []
  readonly end: number
  readonly #store: Store
  readonly #crashes: readonly Crash[]
  readonly #life: Life
  #interrupt = new Interrupt()
  #world: MinerWorld | undefined
  #died = 0

  /** @param number tells the lives of one store apart: the session ends at ten times that */
  constructor(store: Store, number: number, life: Life, crashes: readonly Crash[]) {
    this.#store = store
    this.#life = life
    this.#crashes = crashes
    this.end = 10 * number
    this.chain = new MinerChain(this.end)
    for (const operator of life.operators ?? [OPERATOR]) {
      this.chain.setBalance(operator, 1_000_000n)
      for (let n = 0; n < (life.sessions ?? 1); n++) {
        const header = headerOf(`life ${number} ${n}`, this.end)
        this.told.push({ header, operator, answered: [], durable: [] })
      }
    }
    if (life.fate !== undefined) this.chain.fate = life.fate
    life.setup?.(this.chain)
  }

  /** @param everyBlock the process is stopped and started again after each block */
  async live(everyBlock = false): Promise<Ending> {
    const { relays = 3, until = UNTIL } = this.#life
    for (const told of this.told) for (let n = 0; n < relays; n++) await this.#serve(told, n)
    while (this.chain.height < this.end + until) {
      await (await this.#awake()).mine()
      if (everyBlock) await this.#world?.stop()
      await this.#bury()
    }
    const world = await this.#awake()
    const entries: LedgerEntry[] = []
    const range = { from: height(this.end), to: height(this.end) }
    for await (const entry of this.#store.ledger.entries(range)) entries.push(entry)
    const { steps } = this.#interrupt
    await world.stop()
    return { chain: this.chain, told: this.told, entries, crashes: this.#died, steps, world }
  }

  /** A running process: a new one if the last is gone. */
  async #awake(): Promise<MinerWorld> {
    while (this.#world === undefined || this.#world.over) {
      if (this.#world !== undefined)
        for (let down = this.#crashes[this.#died++]?.down ?? 0; down > 0; down--) this.chain.mine()
      this.#interrupt = new Interrupt(this.#crashes[this.#died]?.after)
      this.#world = new MinerWorld(this.#store, this.chain, { interrupt: this.#interrupt })
      await this.#world.start()
      await this.#bury()
    }
    return this.#world
  }

  /** The gateway asks again until it has an answer or is told that there was one. */
  async #serve({ header, operator, answered, durable }: Told, n: number): Promise<void> {
    const served = servedRelay(header, n, operator)
    const key = { end: height(this.end), operator, sessionId: header.sessionId }
    const isDurable = () => this.#store.relays.seen(key, served.replayKey)
    for (;;) {
      const world = await this.#awake()
      const before = await isDurable()
      try {
        const outcome = await world.serve(served, header, operator)
        if (outcome === 'recorded') answered.push(served)
        if (!before) durable.push(served)
        return
      } catch (error) {
        if (!before && (await isDurable())) durable.push(served)
        if ((error as { code?: string }).code === 'SESSION_SEALED') return
        if (!world.signal.aborted) throw error
        await this.#bury()
      }
    }
  }

  /** Waits until nothing of a process that crashed is at work any more. */
  async #bury(): Promise<void> {
    if (this.#interrupt.dead) await this.#world?.stop()
  }
}

export interface Verdict extends Ending {
  /** What does not hold that must. */
  readonly faults: readonly string[]
  /** What the sessions came to, each outcome once. */
  readonly outcomes: readonly string[]
}

/** What must hold at the end of every life. */
export async function judge(store: Store, ending: Ending): Promise<Verdict> {
  const { chain, told, entries, world } = ending
  const faults: string[] = []
  const must = (holds: boolean, what: string) => void (holds || faults.push(what))
  must((await store.sessions.open()).length === 0, 'nothing is left in work')
  must(entries.length === told.length, 'one entry for each session')
  for (const { header, operator, answered, durable } of told) {
    const { sessionId } = header
    const entry = entries.find(
      ({ key }) => key.sessionId === sessionId && key.operator === operator,
    )
    if (entry === undefined) continue
    const mined = durable.filter(({ relay }) => isApplicable(relayHash(relay), chain.target))
    const sorted = mined.map(({ leaf }) => leaf).sort((a, b) => Buffer.compare(a.path, b.path))
    const root = hex(await foldRoot(sorted))
    for (const sent of chain.roots.get(`${sessionId} ${operator}`) ?? [])
      must(sent === root, 'one root, of all that was mined')
    must(answered.length <= durable.length, 'what was answered is on the disk')
    must(entry.served === durable.length, 'every relay is booked')
    must(entry.count === BigInt(mined.length), 'those that were mined are in the root')
    must(entry.claimed === entry.settled + entry.lost, 'what is not paid is lost')
    must(entry.outcome === 'settled' || entry.reason !== '', 'a loss has a reason')
    const settled = [...chain.events.values()].flat().filter((event) => {
      return (
        event.kind === 'settled' && event.sessionId === sessionId && event.operator === operator
      )
    })
    must((entry.outcome === 'settled') === (settled.length === 1), 'booked as the chain settled')
  }
  const { gate, intake, meter } = world
  must(gate.size + intake.size + meter.size === 0, 'nothing is kept in memory')
  await store.prune(height(1_000_000))
  return { ...ending, faults, outcomes: [...new Set(entries.map(({ outcome }) => outcome))] }
}
