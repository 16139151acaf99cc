import fc from 'fast-check'
import t from 'tap'
import type { Address } from '../../src/base/units.ts'
import { height } from '../../src/base/units.ts'
import { plan, proveFrom, type SessionView, sealHeights, sessionsOf } from '../../src/miner/plan.ts'
import type { SessionState } from '../../src/store/sessions.ts'
import { sharedParams } from '../support/params.ts'
import { OPERATOR, root, session, submission, windows } from '../support/sessions.ts'

const w = windows()
const R = root(5000n, 5n)
const STATES: SessionState[] = [
  { at: 'serving' },
  { at: 'sealed', root: R },
  { at: 'claiming', root: R, tx: submission() },
  { at: 'claimed', root: R },
  { at: 'proving', root: R, tx: submission() },
  { at: 'proven', root: R },
  { at: 'unproven', root: R },
  { at: 'done', outcome: 'settled' },
]

function next(now: number, state: SessionState, inFlight = 0, params = sharedParams()): string {
  const view: SessionView = { record: session(state), windows: windows(10, params), inFlight }
  return plan(height(now), [view])
    .map((action) => (action.do === 'seal' && action.cut ? 'seal, cutting' : action.do))
    .join(' ')
}

t.test('with the default windows an end of 10 gives 12 to 16 and 16 to 20', async (t) => {
  t.match(w, {
    graceEnd: 11,
    claimOpen: 12,
    claimClose: 16,
    proofOpen: 16,
    proofClose: 20,
    seed: 15,
  })
})

t.test('a serving session is sealed when its claim window opens', async (t) => {
  t.equal(next(11, { at: 'serving' }), '', 'not before')
  t.equal(next(12, { at: 'serving' }), 'seal')
  t.equal(next(12, { at: 'serving' }, 1), '', 'a running relay is waited for')
  t.equal(next(13, { at: 'serving' }, 1), '')
  t.equal(next(14, { at: 'serving' }, 1), 'seal, cutting', 'but not beyond close - 2')
  t.equal(
    next(500, { at: 'serving' }),
    'seal',
    'after a long sleep too: then it is booked as missed',
  )
})

t.test('a sealed session is claimed while a claim can still be included', async (t) => {
  t.equal(next(12, { at: 'sealed', root: R }), 'claim')
  t.equal(next(15, { at: 'sealed', root: R }), 'claim', 'the last height to send is close - 1')
  t.equal(next(16, { at: 'sealed', root: R }), 'abandon')
})

t.test('what was sent is looked up at every block', async (t) => {
  for (const now of [13, 16, 19])
    t.equal(next(now, { at: 'claiming', root: R, tx: submission() }), 'confirm-claim', `${now}`)
  for (const now of [17, 19])
    t.equal(next(now, { at: 'proving', root: R, tx: submission() }), 'confirm-proof', `${now}`)
})

t.test(
  'a claim is proven from the opening of the proof window to the block before its end',
  async (t) => {
    t.equal(next(15, { at: 'claimed', root: R }), '')
    t.equal(next(16, { at: 'claimed', root: R }), 'prove')
    t.equal(next(19, { at: 'claimed', root: R }), 'prove')
    t.equal(next(20, { at: 'claimed', root: R }), 'settle')
    t.equal(next(19, { at: 'unproven', root: R }), 'prove', 'the chain may ask later on')
  },
)

t.test('from the settlement height on everything else is settled', async (t) => {
  for (const at of ['claimed', 'proven', 'unproven'] as const) {
    t.equal(next(20, { at, root: R }), 'settle', at)
    t.equal(next(900, { at, root: R }), 'settle', at)
  }
  for (const at of ['claiming', 'proving'] as const)
    for (const now of [20, 900])
      t.equal(next(now, { at, root: R, tx: submission() }), 'settle', `${at} at ${now}`)
  t.equal(next(19, { at: 'proven', root: R }), '')
  t.equal(next(900, { at: 'done', outcome: 'settled' }), '')
})

t.test('windows of a single block are used a block ahead', async (t) => {
  const params = sharedParams({
    claimWindowCloseOffsetBlocks: 0n,
    proofWindowCloseOffsetBlocks: 0n,
    proofWindowOpenOffsetBlocks: 1n,
  })
  t.strictSame(sealHeights(windows(10, params)), { first: 11, last: 11 })
  t.equal(next(11, { at: 'serving' }, 0, params), 'seal')
  t.equal(next(11, { at: 'sealed', root: R }, 0, params), 'claim')
  t.equal(proveFrom(windows(10, params)), 12)
  t.equal(next(12, { at: 'claimed', root: R }, 0, params), 'prove')
})

t.test('one transaction for each operator and session end', async (t) => {
  const other = 'pokt1duatelq8yutj6eflsdhc4vpavuspz5gk8htla9' as Address
  const views = [
    session({ at: 'sealed', root: R }, { name: 'a' }),
    session({ at: 'sealed', root: R }, { name: 'b' }),
    session({ at: 'sealed', root: R }, { name: 'a', operator: other }),
  ].map((record) => ({ record, windows: w, inFlight: 0 }))
  const actions = plan(height(12), views)
  t.strictSame(
    actions.map(
      (action) => action.do === 'claim' && action.sessions.map(({ key }) => key.operator),
    ),
    [[OPERATOR, OPERATOR], [other]],
  )
})

t.test('what ends together is settled together, whoever the operator', async (t) => {
  const other = 'pokt1duatelq8yutj6eflsdhc4vpavuspz5gk8htla9' as Address
  const views = [
    session({ at: 'proven', root: R }, { name: 'a' }),
    session({ at: 'unproven', root: R }, { name: 'b', operator: other }),
    session({ at: 'claimed', root: R }, { name: 'c', end: 20 }),
  ].map((record) => ({ record, windows: windows(record.key.end), inFlight: 0 }))
  const ends = plan(height(40), views).map(
    (action) => action.do === 'settle' && action.sessions.map(({ key }) => key.end),
  )
  t.strictSame(ends, [[10, 10], [20]])
})

t.test('the names of all sessions of an action', async (t) => {
  const [seal] = plan(height(12), [{ record: session({ at: 'serving' }), windows: w, inFlight: 0 }])
  const [claim] = plan(height(12), [
    { record: session({ at: 'sealed', root: R }), windows: w, inFlight: 0 },
  ])
  for (const action of [seal, claim])
    t.equal(action && sessionsOf(action).length, 1, String(action?.do))
})

t.test(
  'whatever the windows: nothing is sent outside them, and no session is forgotten',
  async (t) => {
    const offsets = fc.record({
      open: fc.integer({ min: 1, max: 12 }),
      close: fc.integer({ min: 0, max: 12 }),
      proofOpen: fc.integer({ min: 0, max: 5 }),
      proofClose: fc.integer({ min: 1, max: 12 }),
      now: fc.integer({ min: 1, max: 80 }),
      state: fc.constantFrom(...STATES),
      inFlight: fc.integer({ min: 0, max: 2 }),
    })
    fc.assert(
      fc.property(offsets, ({ open, close, proofOpen, proofClose, now, state, inFlight }) => {
        const params = sharedParams({
          claimWindowOpenOffsetBlocks: BigInt(open),
          claimWindowCloseOffsetBlocks: BigInt(close),
          proofWindowOpenOffsetBlocks: BigInt(proofOpen),
          proofWindowCloseOffsetBlocks: BigInt(proofClose),
        })
        const win = windows(10, params)
        const what = next(now, state, inFlight, params)
        const lands = now + 1
        if (what === 'claim') return lands <= win.claimClose
        if (what === 'prove') return lands >= win.proofOpen && lands <= win.proofClose
        if (what.startsWith('seal')) return now > win.graceEnd || now >= win.claimClose - 1
        if (what === 'abandon') return now >= win.claimClose
        if (what === 'settle') return now >= win.settlement
        if (what === '' && state.at !== 'done') return now < win.settlement
        return true
      }),
      { numRuns: 2000 },
    )
    t.pass('held for 2000 cases')
  },
)
