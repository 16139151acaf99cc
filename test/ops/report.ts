import t from 'tap'
import { height, upokt } from '../../src/base/units.ts'
import { earningsReport, endpointReports, readReport, sessionReport } from '../../src/ops/report.ts'
import { report } from '../support/report.ts'
import { record, sessionKey } from '../support/store.ts'

t.test('a session is told by its record, with the reason where there is one', async (t) => {
  const key = sessionKey(60)
  const plain = sessionReport(record(key, { at: 'serving' }), 7)
  t.strictSame(plain, {
    sessionId: key.sessionId,
    service: 'llm',
    supplier: key.operator,
    sessionEnd: 60,
    state: 'serving',
    since: 1,
    served: 7,
  })
  const late = sessionReport({ ...record(key, { at: 'serving' }), reason: 'no node answers' }, 0)
  t.equal(late.reason, 'no node answers')
})

t.test('amounts are text, so that no reader rounds them', async (t) => {
  const huge = upokt(12_345_678_901_234_567_890n)
  const nothing = upokt(0)
  const earnings = earningsReport({
    sessions: 2,
    served: 9,
    claimed: huge,
    settled: huge,
    rewards: nothing,
    lost: huge,
    unseen: huge,
    losses: [{ outcome: 'proof-missed', reason: 'no node', sessions: 1, lost: huge }],
  })
  t.strictSame(earnings, {
    sessions: 2,
    served: 9,
    claimedUpokt: '12345678901234567890',
    settledUpokt: '12345678901234567890',
    rewardsUpokt: '0',
    lostUpokt: '12345678901234567890',
    unseenUpokt: '12345678901234567890',
    losses: [
      {
        outcome: 'proof-missed',
        reason: 'no node',
        sessions: 1,
        lostUpokt: '12345678901234567890',
      },
    ],
  })
  t.strictSame(JSON.parse(JSON.stringify(earnings)), earnings)
})

t.test('what another process says is read whole, also what a newer one adds', async (t) => {
  const said = JSON.parse(JSON.stringify({ ...report(), later: { added: true } }))
  t.strictSame(readReport(said), said)
})

t.test('unknown balances and stakes are null, not nothing', async (t) => {
  const operator = 'pokt1x4rdhtep3kvy6vmw2352da95vtnxwggcz027ar'
  const said = report({ suppliers: [{ operator, balanceUpokt: null, stake: null }] })
  t.strictSame(readReport(said), said)
})

t.test('what is no report is not taken for one', async (t) => {
  const whole = report()
  const without = (name: string) =>
    Object.fromEntries(Object.entries(whole).filter(([key]) => key !== name))
  for (const name of Object.keys(whole)) t.equal(readReport(without(name)), undefined, name)
  const wrong: readonly (readonly [what: string, value: unknown])[] = [
    ['nothing', undefined],
    ['a text', 'ok'],
    ['an empty object', {}],
    ['a number as an amount', { ...whole, earnings: { ...whole.earnings, lostUpokt: 0 } }],
    ['a negative amount', { ...whole, earnings: { ...whole.earnings, lostUpokt: '-1' } }],
    ['sessions that are none', { ...whole, sessions: [{}] }],
    ['relays as text', { ...whole, relays: { inFlight: 0, mined: '3' } }],
    ['relays without those in flight', { ...whole, relays: { mined: 3 } }],
  ]
  for (const [what, value] of wrong) t.equal(readReport(value), undefined, what)
})

t.test('endpoints are told with how far they are behind', async (t) => {
  const one = { healthy: true, failures: 0, lastFailure: '' }
  const health = [
    { ...one, name: 'a:1', height: height(58), state: 'ok' as const, reason: '' },
    {
      ...one,
      name: 'b:1',
      height: height(46),
      state: 'lagging' as const,
      reason: 'lagging 12 blocks',
    },
    { ...one, name: 'c:1', height: undefined, state: 'no-answer' as const, reason: 'no answer: x' },
    { ...one, name: 'd:1', height: height(99), state: 'ahead' as const, reason: 'claims …' },
  ]
  const endpoints = endpointReports(health, height(58))
  t.strictSame(endpoints, [
    { name: 'a:1', height: 58, lag: 0, state: 'ok', reason: '' },
    { name: 'b:1', height: 46, lag: 12, state: 'lagging', reason: 'lagging 12 blocks' },
    { name: 'c:1', height: 0, lag: 0, state: 'no-answer', reason: 'no answer: x' },
    { name: 'd:1', height: 99, lag: 0, state: 'ahead', reason: 'claims …' },
  ])
  const said = report({ chain: { ...report().chain, endpoints } })
  t.strictSame(readReport(said), said)
  const wrong = report({ chain: { ...report().chain, endpoints: [{}] as never } })
  t.equal(readReport(wrong), undefined)
})
