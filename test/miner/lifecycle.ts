/**
 * Whole lives of sessions, block by block, with crashes at every step: whatever happens, each relay
 * that was answered is in one settled claim or in a loss with a reason, and no session is ever claimed
 * with two roots.
 */
import { join } from 'node:path'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { hex } from '../../src/base/bytes.ts'
import { type Address, coin, height, upokt } from '../../src/base/units.ts'
import { relayHash, type SessionHeader } from '../../src/protocol/relay.ts'
import { isApplicable } from '../../src/protocol/rewards.ts'
import { foldRoot } from '../../src/smst/fold.ts'
import { openStore } from '../../src/store/db.ts'
import type { LedgerEntry } from '../../src/store/ledger.ts'
import { type Fate, MinerChain } from '../support/miner-chain.ts'
import {
  headerOf,
  Interrupt,
  MinerWorld,
  OTHER,
  type Served,
  servedRelay,
} from '../support/miner-world.ts'
import { proofParams, sharedParams } from '../support/params.ts'
import { OPERATOR } from '../support/sessions.ts'
import { storeDeps } from '../support/store.ts'

const store = await openStore(join(t.testdir(), 'db'), storeDeps())
let lives = 0

interface Life {
  readonly operators?: readonly Address[]
  /** Sessions of each operator. */
  readonly sessions?: number
  readonly relays?: number
  readonly fate?: MinerChain['fate']
  readonly setup?: (chain: MinerChain) => void
  /** Blocks after the session end until the last look. */
  readonly until?: number
}

interface Crash {
  /** The step after which the process is gone: its number, or the first of that name. */
  readonly after: number | string
  /** Blocks that pass until it is started again. */
  readonly down: number
}

interface Told {
  readonly header: SessionHeader
  readonly operator: Address
  readonly answered: Served[]
  readonly durable: Served[]
}

interface Ending {
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
const threshold = (amount: bigint) => (chain: MinerChain) => {
  chain.proof = proofParams({ proofRequirementThreshold: coin(upokt(amount)) })
}
const proven: Life = { setup: threshold(1n) }
const unproven: Life = {
  setup: (chain) => {
    chain.proof = proofParams({ proofRequestProbability: 0 })
  },
}

class Run {
  readonly chain: MinerChain
  readonly told: Told[] = []
  readonly end: number
  readonly #crashes: readonly Crash[]
  readonly #life: Life
  #interrupt = new Interrupt()
  #world: MinerWorld | undefined
  #died = 0

  constructor(life: Life, crashes: readonly Crash[]) {
    const number = ++lives
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
    for await (const entry of store.ledger.entries(range)) entries.push(entry)
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
      this.#world = new MinerWorld(store, this.chain, { interrupt: this.#interrupt })
      await this.#world.start()
      await this.#bury()
    }
    return this.#world
  }

  /** The gateway asks again until it has an answer or is told that there was one. */
  async #serve({ header, operator, answered, durable }: Told, n: number): Promise<void> {
    const served = servedRelay(header, n, operator)
    const key = { end: height(this.end), operator, sessionId: header.sessionId }
    const isDurable = () => store.relays.seen(key, served.replayKey)
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

interface Verdict extends Ending {
  /** What does not hold that must. */
  readonly faults: readonly string[]
  /** What the sessions came to, each outcome once. */
  readonly outcomes: readonly string[]
}

/** What must hold at the end of every life. */
async function judge(ending: Ending): Promise<Verdict> {
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

async function live(
  t: Test,
  life: Life,
  crashes: readonly Crash[] = [],
  name = 'what must hold',
): Promise<Verdict> {
  const verdict = await judge(await new Run(life, crashes).live())
  t.strictSame(verdict.faults, [], name)
  return verdict
}

/**
 * The life again and again, each time with a crash after another of its steps: each time it must end
 * as without. @param kinds of steps; all by default @returns how often it crashed
 */
async function everyCrash(t: Test, life: Life, kinds?: readonly string[]): Promise<number> {
  const undisturbed = await live(t, life)
  const steps = [...undisturbed.steps.entries()]
    .filter(([, kind]) => kinds?.includes(kind) ?? true)
    .map(([index, kind]) => ({ after: index + 1, kind }))
  const faults: string[] = []
  for (const { after, kind } of steps) {
    const verdict = await judge(await new Run(life, [{ after, down: 0 }]).live())
    const fault = (what: string) => faults.push(`step ${after}, ${kind}: ${what}`)
    for (const what of verdict.faults) fault(what)
    if (verdict.crashes !== 1) fault(`${verdict.crashes} crashes`)
    if (verdict.outcomes.join() !== undisturbed.outcomes.join()) fault(verdict.outcomes.join())
  }
  t.strictSame(faults, [], `a crash after each of ${steps.length} steps`)
  return steps.length
}

/** What changes anything, on the disk or on the chain. */
const WRITES = ['record', 'put', 'finish', 'send', 'resend']

t.test('a session whose proof is asked for is claimed, proven and paid', async (t) => {
  const { chain, outcomes, entries } = await live(t, { ...proven, operators: [OPERATOR, OTHER] })
  t.strictSame(outcomes, ['settled'])
  t.strictSame(chain.txs.map(({ kind }) => kind).sort(), ['claim', 'claim', 'proof', 'proof'])
  t.match(entries[0], { served: 3, count: 3n, settled: 3_000n, rewards: 2_100n, lost: 0n })
})

t.test('a session whose proof is not asked for is paid without', async (t) => {
  const { chain, outcomes } = await live(t, unproven)
  t.strictSame(outcomes, ['settled'])
  t.strictSame(
    chain.txs.map(({ kind }) => kind),
    ['claim'],
  )
})

t.test('who sleeps through the claim window has lost what was served', async (t) => {
  const loss = { outcome: 'claim-missed', reason: 'the claim window closed' }
  const serving = await live(t, proven, [{ after: 'record', down: 8 }], 'while it is served')
  t.match(serving.entries[0], { ...loss, lost: 1_000n, served: 1 }, 'the others were refused')
  const sealed = await live(t, proven, [{ after: 'balance', down: 8 }], 'when it is sealed')
  t.match(sealed.entries[0], { ...loss, lost: 3_000n, served: 3 })
})

t.test('who sleeps from claim to settlement is told of it by the chain', async (t) => {
  const asleep = (after: string) => [{ after, down: 12 }]
  const paid = await live(t, unproven, asleep('send'), 'after sending')
  t.match(paid.entries[0], { outcome: 'settled', settled: 3_000n, served: 3 })
  const lost = await live(t, unproven, asleep('prepare'), 'before writing')
  t.match(lost.entries[0], { outcome: 'claim-missed', lost: 3_000n })
  const missing = await live(t, proven, asleep('send'), 'a proof is asked for')
  t.match(missing.entries[0], { outcome: 'expired', reason: 'PROOF_MISSING', lost: 3_000n })
  const life: Life = { ...unproven, fate: () => 'lose' }
  const never = await live(t, life, asleep('send'), 'the node forgets it')
  t.match(never.entries[0], {
    outcome: 'claim-missed',
    reason: 'no block took the claim in its window',
  })
})

t.test('with the money for one proof the dearer session is claimed', async (t) => {
  const setup = (chain: MinerChain) => {
    threshold(1n)(chain)
    chain.setBalance(OPERATOR, 1_500n)
  }
  const { outcomes, entries } = await live(t, { setup, sessions: 2 })
  t.strictSame([...outcomes].sort(), ['settled', 'unaffordable'])
  t.match(
    entries.find(({ outcome }) => outcome === 'unaffordable'),
    { lost: 3_000n, reason: 'the operator could not pay for claim and proof' },
  )
})

t.test('a session that is worth less than its fees is not claimed', async (t) => {
  const { chain, outcomes } = await live(t, { ...proven, relays: 1 })
  t.strictSame(outcomes, ['unprofitable'])
  t.strictSame(chain.txs, [])
})

t.test('relays above the difficulty target are booked as served and lose nothing', async (t) => {
  const setup = (chain: MinerChain) => {
    chain.target = new Uint8Array(32).fill(0, 0, 31).fill(1, 31)
  }
  const { entries } = await live(t, { setup })
  t.match(entries[0], { outcome: 'empty', served: 3, count: 0n, lost: 0n })
})

t.test('a proof that the chain judges invalid is a loss, after a second try', async (t) => {
  const setup = (chain: MinerChain) => {
    threshold(1n)(chain)
    chain.judge = () => false
  }
  const { chain, entries } = await live(t, { setup })
  t.equal(chain.txs.filter(({ kind }) => kind === 'proof').length, 2)
  t.match(entries[0], {
    outcome: 'expired',
    reason: 'PROOF_INVALID: the chain judged the proof invalid',
  })
})

t.test('stopped and started after every block', async (t) => {
  for (const [name, life] of Object.entries({ proven, unproven })) {
    const { faults, outcomes, crashes, chain } = await judge(await new Run(life, []).live(true))
    t.ok(crashes > 10, `${name}: ${crashes} restarts`)
    t.strictSame({ faults, outcomes }, { faults: [], outcomes: ['settled'] }, name)
    t.ok(chain.txs.length <= 2, `${name}: and nothing is sent twice`)
  }
})

t.test('a crash after any write or question changes nothing', async (t) => {
  t.ok((await everyCrash(t, proven)) > 40)
})

t.test('a crash between the sessions of one transaction changes nothing', async (t) => {
  const life: Life = { ...proven, operators: [OPERATOR, OTHER], sessions: 2, relays: 2 }
  t.ok((await everyCrash(t, life, WRITES)) > 30)
})

/** A node takes claim and proof and forgets them, also when they come again. */
const forgetful = (tx: { attempt: number }): Fate => (tx.attempt === 1 ? 'lose' : 'accept')
const wide = (chain: MinerChain) => {
  threshold(1n)(chain)
  const offsets = { claimWindowCloseOffsetBlocks: 8n, proofWindowCloseOffsetBlocks: 8n }
  chain.shared = () => sharedParams(offsets)
}

t.test('a lost transaction is sent again, then renewed, and nothing is lost', async (t) => {
  const life: Life = { fate: forgetful, setup: wide, until: 20 }
  const { chain, outcomes } = await live(t, life)
  t.strictSame(outcomes, ['settled'])
  t.match(
    chain.txs.map(({ kind, attempt, sends }) => ({ kind, attempt, sends })),
    [
      { kind: 'claim', attempt: 1, sends: 2 },
      { kind: 'claim', attempt: 2, sends: 1 },
      { kind: 'proof', attempt: 1, sends: 2 },
      { kind: 'proof', attempt: 2, sends: 1 },
    ],
  )
  t.ok((await everyCrash(t, life, [...WRITES, 'prepare', 'result'])) > 20)
})

t.test('whatever nodes do and whenever it crashes, the books are right', async (t) => {
  const seed = 20_261_125
  t.comment(`seed ${seed}`)
  const fates = fc.constantFrom<Fate>(
    'accept',
    'accept',
    'lose',
    'fail',
    'full',
    'silent',
    'silent-taken',
    { reject: 11 },
    { reject: 13 },
    { reject: 18 },
    { reject: 30 },
    { reject: 42 },
    { after: 2 },
    { after: 4 },
  )
  const crash = fc.record({
    after: fc.integer({ min: 1, max: 60 }),
    down: fc.integer({ min: 0, max: 3 }),
  })
  const story = fc.record({
    crashes: fc.array(crash, { maxLength: 4 }),
    fates: fc.array(fates, { maxLength: 12 }),
    probability: fc.constantFrom(0, 0.5, 1),
    balance: fc.constantFrom(0n, 1_500n, 1_000_000n),
    lags: fc.array(fc.integer({ min: 0, max: 2 }), { maxLength: 12 }),
  })
  const seen = new Set<string>()
  await fc.assert(
    fc.asyncProperty(story, async ({ crashes, fates, probability, balance, lags }) => {
      const coming = [...fates]
      const setup = (chain: MinerChain) => {
        chain.proof = proofParams({ proofRequestProbability: probability })
        chain.setBalance(OPERATOR, balance)
        const late = [...lags]
        chain.intercept = (name) => {
          if (name === 'claim') chain.lag = late.shift() ?? 0
        }
      }
      const life: Life = { setup, sessions: 2, fate: () => coming.shift() ?? 'accept', until: 14 }
      const { faults, outcomes } = await judge(await new Run(life, crashes).live())
      for (const outcome of outcomes) seen.add(outcome)
      if (faults.length > 0) throw new Error(faults.join())
    }),
    { seed, numRuns: 60, endOnFailure: true },
  )
  t.ok(seen.has('settled') && seen.size >= 3, `seen: ${[...seen].join(', ')}`)
})

t.test('the store closes', () => store.close())
