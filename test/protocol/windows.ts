import t, { type Test } from 'tap'
import { height } from '../../src/base/units.ts'
import { Params } from '../../src/protocol/gen/pocket/shared/shared.ts'
import { gridAt } from '../../src/protocol/session.ts'
import { pendingSessions, windowsOf } from '../../src/protocol/windows.ts'
import { type ParamsJson, paramsOf, rows } from '../support/vectors.ts'

type Expected = Record<
  | 'session_start'
  | 'session_end'
  | 'session_number'
  | 'next_session_start'
  | 'grace_period_end'
  | 'claim_window_open'
  | 'claim_window_close'
  | 'earliest_claim_commit'
  | 'earliest_proof_commit'
  | 'proof_window_open'
  | 'proof_window_close'
  | 'settlement'
  | 'num_pending_sessions',
  string
>

function check(t: Test, at: number, grid: Params, atEnd: Params, expect: Expected, what: string) {
  const session = gridAt(height(at), grid)
  const windows = windowsOf(session.end, atEnd)
  t.strictSame(
    {
      session_start: `${session.start}`,
      session_end: `${session.end}`,
      session_number: `${session.number}`,
      next_session_start: `${session.end + 1}`,
      grace_period_end: `${windows.graceEnd}`,
      claim_window_open: `${windows.claimOpen}`,
      claim_window_close: `${windows.claimClose}`,
      earliest_claim_commit: `${windows.claimOpen}`,
      earliest_proof_commit: `${windows.seed + 1}`,
      proof_window_open: `${windows.proofOpen}`,
      proof_window_close: `${windows.proofClose}`,
      settlement: `${windows.settlement}`,
      num_pending_sessions: `${pendingSessions(atEnd)}`,
    },
    expect,
    what,
  )
}

t.test('every height of the Go implementation', async (t) => {
  const all = rows<{
    params: ParamsJson
    height: string
    expect: Expected
    grace_elapsed: Record<string, boolean>
    is_session_start: boolean
    is_session_end: boolean
  }>('session.jsonl', 'heights')
  t.equal(all.length, 406)
  for (const row of all) {
    const at = Number(row.height)
    if (at < 1) {
      t.throws(() => height(at), `${row.id} has no height of ours`)
      continue
    }
    const params = paramsOf(row.params)
    check(t, at, params, params, row.expect, row.id)
    const session = gridAt(height(at), params)
    t.equal(session.start === at, row.is_session_start, `${row.id} is a start`)
    t.equal(session.end === at, row.is_session_end, `${row.id} is an end`)
    for (const [h, elapsed] of Object.entries(row.grace_elapsed))
      t.equal(
        Number(h) > windowsOf(session.end, params).graceEnd,
        elapsed,
        `${row.id} grace at ${h}`,
      )
  }
})

t.test('when parameters change, each height has its own', async (t) => {
  const all = rows<{
    name: string
    param_sets: ParamsJson[]
    rows: {
      height: string
      at_height: number
      at_session_end: number
      session: { start: string; end: string; number: string }
      windows: Expected
    }[]
  }>('session.jsonl', 'param-change')
  for (const change of all) {
    const sets = change.param_sets.map(paramsOf)
    for (const row of change.rows) {
      const what = `${change.id} ${change.name}, height ${row.height}`
      const [grid, atEnd] = [sets[row.at_height], sets[row.at_session_end]]
      t.ok(grid && atEnd, what)
      if (!grid || !atEnd) continue
      check(t, Number(row.height), grid, atEnd, row.windows, what)
      const { start, end, number } = gridAt(height(Number(row.height)), grid)
      t.strictSame({ start: `${start}`, end: `${end}`, number: `${number}` }, row.session, what)
    }
  }
})

t.test('the documented windows of the main network', async (t) => {
  const params = Params.fromPartial({
    numBlocksPerSession: 20n,
    gracePeriodEndOffsetBlocks: 10n,
    claimWindowOpenOffsetBlocks: 11n,
    claimWindowCloseOffsetBlocks: 10n,
    proofWindowOpenOffsetBlocks: 1n,
    proofWindowCloseOffsetBlocks: 10n,
  })
  t.strictSame(windowsOf(height(883700), params), {
    graceEnd: 883710,
    claimOpen: 883712,
    claimClose: 883722,
    proofOpen: 883723,
    proofClose: 883733,
    seed: 883722,
    settlement: 883733,
  })
  t.equal(pendingSessions(params), 2)
})

t.test('parameters that make no sense are refused', async (t) => {
  t.throws(() => pendingSessions(Params.fromPartial({})), { code: 'PARAMS' })
  const far = Params.fromPartial({ claimWindowOpenOffsetBlocks: 2n ** 60n })
  t.throws(() => windowsOf(height(10), far), { code: 'PARAMS' })
  const sum = Params.fromPartial({ proofWindowCloseOffsetBlocks: BigInt(Number.MAX_SAFE_INTEGER) })
  t.throws(() => windowsOf(height(10), sum), { code: 'PARAMS' })
})
