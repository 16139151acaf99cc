import t from 'tap'
import { height } from '../../src/base/units.ts'
import { Archive } from '../../src/devnet/archive.ts'
import { devnetGenesis, writeGenesis } from '../../src/devnet/genesis.ts'
import { changeParams, checkShared, promoteShared } from '../../src/devnet/params.ts'
import {
  type AllParams,
  type Context,
  paramsOf as liveParams,
  type State,
  sessionParamsAt,
  sharedAt,
} from '../../src/devnet/state.ts'
import type { Params } from '../../src/protocol/gen/pocket/shared/shared.ts'
import { gridAt } from '../../src/protocol/session.ts'
import { type ParamsJson, paramsOf, rows } from '../support/vectors.ts'

/** Long enough for any windows. */
const PERIODS = {
  supplierUnbondingPeriodSessions: 10n,
  applicationUnbondingPeriodSessions: 10n,
  gatewayUnbondingPeriodSessions: 10n,
}

function starting(shared: Partial<Params> = {}): State {
  const state = new Archive(10).stateAt(0)
  writeGenesis(state, devnetGenesis({ params: { shared } }))
  return state
}

function at(state: State, now: number): Context {
  return { state, height: height(now), time: 0n, events: [] }
}

interface Change {
  readonly name: string
  readonly initial: ParamsJson
  readonly updates: readonly { readonly height: string; readonly params: ParamsJson }[]
  readonly param_sets: readonly ParamsJson[]
  readonly history: readonly { readonly effective_height: string; readonly params: ParamsJson }[]
  readonly rows: readonly {
    readonly height: string
    readonly live_after_block: number
    readonly at_height: number
    readonly at_session_end: number
    readonly session: { readonly start: string; readonly end: string; readonly number: string }
  }[]
}

const read = (source: ParamsJson): Params => ({ ...paramsOf(source), ...PERIODS })

t.test('session lengths, windows and prices change as on the chain', async (t) => {
  for (const row of rows<Change>('session.jsonl', 'param-change')) {
    const state = starting(read(row.initial))
    const sets = row.param_sets.map(read)
    for (const expected of row.rows) {
      const now = Number(expected.height)
      for (const update of row.updates)
        if (update.height === expected.height)
          changeParams(at(state, now), 'shared', read(update.params))
      promoteShared(at(state, now))
      const name = `${row.name}: ${now}`
      t.same(liveParams(state).shared, sets[expected.live_after_block], `${name}: live`)
      const effective = sharedAt(state, now)
      t.same(effective, sets[expected.at_height], `${name}: at that height`)
      const grid = gridAt(height(now), effective)
      t.same(
        { start: String(grid.start), end: String(grid.end), number: String(grid.number) },
        expected.session,
        `${name}: session`,
      )
      t.same(sharedAt(state, grid.end), sets[expected.at_session_end], `${name}: at its end`)
    }
    const history = (state.sharedHistory.get('') ?? []).map((entry) => ({
      height: entry.height,
      params: entry.value,
    }))
    const expected = row.history.map((entry) => ({
      height: Number(entry.effective_height),
      params: read(entry.params),
    }))
    t.same(history, expected, `${row.name}: history`)
  }
})

t.test('changes of one session add up', async (t) => {
  const state = starting()
  changeParams(at(state, 2), 'shared', { claimWindowCloseOffsetBlocks: 3n })
  changeParams(at(state, 3), 'shared', { proofWindowCloseOffsetBlocks: 3n })
  t.match(sharedAt(state, 5), {
    claimWindowCloseOffsetBlocks: 3n,
    proofWindowCloseOffsetBlocks: 3n,
  })
  t.match(sharedAt(state, 4), { claimWindowCloseOffsetBlocks: 2n })
})

t.test('how many suppliers a session has changes with the next session', async (t) => {
  const state = starting()
  changeParams(at(state, 6), 'session', { numSuppliersPerSession: 2n })
  t.equal(liveParams(state).session.numSuppliersPerSession, 2n, 'live at once')
  t.equal(sessionParamsAt(state, 8).numSuppliersPerSession, 15n)
  t.equal(sessionParamsAt(state, 9).numSuppliersPerSession, 2n)
})

t.test('the other modules change at once', async (t) => {
  const state = starting()
  changeParams(at(state, 6), 'proof', { proofRequestProbability: 1 })
  t.match(liveParams(state).proof, {
    proofRequestProbability: 1,
    proofMissingPenalty: { amount: '1' },
  })
})

t.test('shares and probabilities stay within bounds', async (t) => {
  const state = starting()
  const parts = { dao: 0.1, proposer: 0.1, supplier: 0.7, sourceOwner: 0.1, application: 0 }
  changeParams(at(state, 2), 'tokenomics', { mintEqualsBurnClaimDistribution: parts })
  const cases: [change: Partial<AllParams['tokenomics']>, message: RegExp][] = [
    [{ mintRatio: 0 }, /^mintRatio must be/],
    [{ mintRatio: 1.1 }, /^mintRatio must be/],
    [{ mintRatio: Number.NaN }, /^mintRatio must be/],
    [{ globalInflationPerClaim: -0.1 }, /^globalInflationPerClaim must not be negative/],
    [
      { mintAllocationPercentages: { ...parts, supplier: 0.8 } },
      /^mintAllocationPercentages must be between 0 and 1 and add up to 1/,
    ],
    [
      { mintEqualsBurnClaimDistribution: { ...parts, dao: -0.1, supplier: 0.9 } },
      /^mintEqualsBurnClaimDistribution must be/,
    ],
  ]
  for (const [change, message] of cases)
    t.throws(
      () => changeParams(at(state, 2), 'tokenomics', change),
      { code: 'PARAMS', message },
      String(message),
    )
  t.throws(() => changeParams(at(state, 2), 'proof', { proofRequestProbability: 2 }), {
    code: 'PARAMS',
    message: /^proofRequestProbability must be/,
  })
  t.same(liveParams(state).tokenomics.mintEqualsBurnClaimDistribution, parts)
  t.equal(liveParams(state).tokenomics.mintRatio, 0.975)
})

t.test('what the chain would not take is refused', async (t) => {
  const { shared } = liveParams(starting())
  const cases: [change: Partial<Params>, message: string][] = [
    [{ numBlocksPerSession: 0n }, 'numBlocksPerSession must be at least 1'],
    [
      { gracePeriodEndOffsetBlocks: 4n },
      'gracePeriodEndOffsetBlocks must be less than numBlocksPerSession',
    ],
    [
      { claimWindowOpenOffsetBlocks: 0n },
      'claimWindowOpenOffsetBlocks must be at least gracePeriodEndOffsetBlocks',
    ],
    [
      {
        gracePeriodEndOffsetBlocks: 0n,
        claimWindowOpenOffsetBlocks: 0n,
        claimWindowCloseOffsetBlocks: 0n,
        proofWindowCloseOffsetBlocks: 0n,
      },
      'the windows must have at least one block in all',
    ],
    [
      { supplierUnbondingPeriodSessions: 1n },
      'unbonding periods must be at least as long as the windows in all',
    ],
    [{ computeUnitCostGranularity: 0n }, 'prices must be at least 1'],
  ]
  for (const [change, message] of cases) {
    t.throws(() => checkShared({ ...shared, ...change }), { code: 'PARAMS', message }, message)
    const state = starting()
    t.throws(() => changeParams(at(state, 2), 'shared', change), { code: 'PARAMS', message })
    t.equal(state.sharedHistory.get(''), undefined, `${message}: nothing happened`)
  }
})
