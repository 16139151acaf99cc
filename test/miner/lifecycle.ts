/**
 * Whole lives of sessions, block by block, with crashes at every step: whatever happens, each relay
 * that was answered is in one settled claim or in a loss with a reason, and no session is ever claimed
 * with two roots.
 */
import { join } from 'node:path'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { coin, upokt } from '../../src/base/units.ts'
import { openStore } from '../../src/store/db.ts'
import type { MinerChain } from '../support/miner-chain.ts'
import { type Crash, judge, type Life, Run, type Verdict } from '../support/miner-life.ts'
import type { Fate } from '../support/miner-rules.ts'
import { OTHER } from '../support/miner-world.ts'
import { proofParams, sharedParams } from '../support/params.ts'
import { OPERATOR } from '../support/sessions.ts'
import { storeDeps } from '../support/store.ts'

const store = await openStore(join(t.testdir(), 'db'), storeDeps())
let lives = 0

/** One life from beginning to end, in a store that has many. */
async function through(
  life: Life,
  crashes: readonly Crash[] = [],
  everyBlock = false,
): Promise<Verdict> {
  return await judge(store, await new Run(store, ++lives, life, crashes).live(everyBlock))
}

const threshold = (amount: bigint) => (chain: MinerChain) => {
  chain.proof = proofParams({ proofRequirementThreshold: coin(upokt(amount)) })
}
const proven: Life = { setup: threshold(1n) }
const unproven: Life = {
  setup: (chain) => {
    chain.proof = proofParams({ proofRequestProbability: 0 })
  },
}

async function live(
  t: Test,
  life: Life,
  crashes: readonly Crash[] = [],
  name = 'what must hold',
): Promise<Verdict> {
  const verdict = await through(life, crashes)
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
    const verdict = await through(life, [{ after, down: 0 }])
    const fault = (what: string) => faults.push(`step ${after}, ${kind}: ${what}`)
    for (const what of verdict.faults) fault(what)
    if (verdict.crashes !== 1) fault(`${verdict.crashes} crashes`)
    if (verdict.outcomes.join() !== undisturbed.outcomes.join()) fault(verdict.outcomes.join())
  }
  t.strictSame(faults, [], `a crash after each of ${steps.length} steps`)
  return steps.length
}

/** What changes anything, on the disk or on the chain. */
const WRITES = ['record', 'put', 'putAll', 'finish', 'send', 'resend']

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
  t.match(missing.entries[0], { outcome: 'proof-missed', reason: 'PROOF_MISSING', lost: 3_000n })
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
    const { faults, outcomes, crashes, chain } = await through(life, [], true)
    t.ok(crashes > 10, `${name}: ${crashes} restarts`)
    t.strictSame({ faults, outcomes }, { faults: [], outcomes: ['settled'] }, name)
    t.ok(chain.txs.length <= 2, `${name}: and nothing is sent twice`)
  }
})

t.test('a crash after any write changes nothing', async (t) => {
  t.ok((await everyCrash(t, proven, WRITES)) > 10)
})

t.test('a crash between the sessions of one transaction changes nothing', async (t) => {
  t.ok((await everyCrash(t, { ...proven, sessions: 2, relays: 2 }, WRITES)) > 15)
})

t.test(
  'a crash in the only block in which claim or proof can be sent changes nothing',
  async (t) => {
    const setup = (chain: MinerChain) => {
      threshold(1n)(chain)
      const offsets = { claimWindowCloseOffsetBlocks: 1n, proofWindowCloseOffsetBlocks: 1n }
      chain.shared = () => sharedParams(offsets)
    }
    t.strictSame((await live(t, { setup })).outcomes, ['settled'])
    t.ok((await everyCrash(t, { setup })) > 30)
  },
)

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
      const { faults, outcomes } = await through(life, crashes)
      for (const outcome of outcomes) seen.add(outcome)
      if (faults.length > 0) throw new Error(faults.join())
    }),
    { seed, numRuns: 30, endOnFailure: true },
  )
  t.ok(seen.has('settled') && seen.size >= 3, `seen: ${[...seen].join(', ')}`)
})

t.test('the store closes', () => store.close())
