/** Claims that end where no node keeps the results of blocks: what the state tells, and no more. */
import t, { type Test } from 'tap'
import { coin, upokt } from '../../src/base/units.ts'
import { ChainError } from '../../src/chain/errors.ts'
import type { SessionRecord, SessionState } from '../../src/store/sessions.ts'
import { unavailable } from '../support/miner-chain.ts'
import { Stage } from '../support/miner-stage.ts'
import { proofParams } from '../support/params.ts'
import { submission } from '../support/sessions.ts'

const always = proofParams({ proofRequirementThreshold: coin(upokt(1)) })
const never = proofParams({ proofRequestProbability: 0 })
const silent = new ChainError('RPC_UNREACHABLE', 'silent', { retryable: true })
const pruned = new ChainError('HEIGHT_UNAVAILABLE', 'version does not exist')

/** Claimed sessions at the settlement height of a chain whose node keeps no results. */
async function settling(t: Test, names = ['a'], proof = never) {
  const stage = await Stage.open(t, 12)
  stage.chain.proof = proof
  stage.chain.eventsFault = () => new ChainError('RPC_ERROR', 'not persisting block responses')
  const sessions = await stage.claimed(names)
  stage.chain.mineTo(20)
  return { stage, sessions, session: sessions[0] as SessionRecord }
}

async function settle(stage: Stage, sessions: readonly SessionRecord[]): Promise<void> {
  await stage.world.settlements.settle(sessions, await stage.moment(), stage.signal)
}

/** The session in another state, as the miner would have left it. */
function as(session: SessionRecord, at: 'claiming' | 'proving' | 'proven'): SessionRecord {
  const root = session.state.at === 'claimed' ? session.state.root : new Uint8Array(48)
  const state: SessionState =
    at === 'proven' ? { at, root } : { at, root, tx: submission({ sentAt: 12 as never }) }
  return { ...session, state }
}

t.test('a claim whose proof was valid is neither income nor a loss', async (t) => {
  const { stage, session } = await settling(t)
  const proven = as(session, 'proven')
  for (const at of [20, 39]) {
    stage.chain.mineTo(at)
    await t.rejects(settle(stage, [proven]), { code: 'RPC_ERROR' }, `waited for at ${at}`)
  }
  t.equal(await stage.entry(session), undefined)
  stage.chain.mineTo(40)
  await settle(stage, [proven])
  t.match(await stage.entry(session), {
    outcome: 'unseen',
    claimed: 3_000n,
    settled: 0n,
    lost: 0n,
    reason: 'the proof was valid, but no node tells what was paid',
  })
  t.match(stage.world.logged('session ended unseen'), [{ level: 'warn', upokt: '3000' }])
  t.strictSame(await stage.store.sessions.open(), [], 'and it is not asked for ever')
})

t.test('a claim that needed no proof is not known to be paid either', async (t) => {
  const { stage, session } = await settling(t)
  stage.chain.mineTo(40)
  await settle(stage, [session])
  const reason = 'no node tells how the claim ended'
  t.match(await stage.entry(session), { outcome: 'unseen', lost: 0n, reason })
})

t.test('a claim that was never on the chain is a loss', async (t) => {
  const stage = await Stage.open(t, 12)
  stage.chain.proof = never
  stage.chain.fate = () => 'lose'
  stage.chain.eventsFault = () => new ChainError('RPC_ERROR', 'not persisting block responses')
  const session = await stage.sealed('a', 3)
  await stage.world.claims.claim([session], await stage.moment(), stage.signal)
  stage.chain.mineTo(40)
  await settle(stage, [await stage.now(session)])
  const reason = 'no block took the claim in its window'
  t.match(await stage.entry(session), { outcome: 'claim-missed', lost: 3_000n, reason })
})

t.test('a claim that was only sent may have been there', async (t) => {
  const { stage, session } = await settling(t)
  stage.chain.mineTo(40)
  await settle(stage, [as(session, 'claiming')])
  t.match(await stage.entry(session), { outcome: 'unseen' })
})

t.test('a slash for each claim without a proof tells of their loss', async (t) => {
  const { stage, sessions } = await settling(t, ['a', 'b'], always)
  const [a, b] = sessions as [SessionRecord, SessionRecord]
  stage.chain.mineTo(40)
  await settle(stage, [as(a, 'proving'), { ...b, reason: 'PROOF_SELF_CHECK: damaged' }])
  const loss = { outcome: 'proof-missed', lost: 3_000n }
  const reason = 'the supplier was slashed, and no proof was validated'
  t.match(await stage.entry(a), { ...loss, reason })
  t.match(await stage.entry(b), { ...loss, reason: `${reason}: PROOF_SELF_CHECK: damaged` })
})

t.test('one slash for two claims does not say which', async (t) => {
  const { stage, sessions } = await settling(t, ['a'], always)
  const [a] = sessions as [SessionRecord]
  const b = await stage.served('b', 0)
  stage.chain.mineTo(40)
  await settle(stage, [a, { ...b, state: a.state }])
  t.match(await stage.entry(a), { outcome: 'unseen', lost: 0n })
})

t.test('no slash: a proof that was on its way may have been taken', async (t) => {
  const { stage, session } = await settling(t)
  stage.chain.mineTo(40)
  await settle(stage, [as(session, 'proving')])
  t.match(await stage.entry(session), { outcome: 'unseen', lost: 0n })
})

t.test('of a state that is gone nothing is concluded', async (t) => {
  const { stage, session } = await settling(t, ['a'], always)
  stage.chain.mineTo(40)
  let looks = 0
  stage.chain.intercept = (name) => {
    // The first look at the claim is at the head.
    if (name === 'supplier' || (name === 'claim' && looks++ > 0)) throw pruned
  }
  await settle(stage, [session])
  t.match(await stage.entry(session), { outcome: 'unseen', lost: 0n })
})

t.test('a node that does not answer is asked again', async (t) => {
  const { stage, session } = await settling(t, ['a'], always)
  stage.chain.mineTo(40)
  stage.chain.intercept = (name) => {
    if (name === 'supplier') throw silent
  }
  await t.rejects(settle(stage, [session]), { code: 'RPC_UNREACHABLE' })
  t.equal(await stage.entry(session), undefined)
  stage.chain.intercept = () => {}
  await settle(stage, [session])
  t.match(await stage.entry(session), { outcome: 'proof-missed' })
})

t.test('results that come a moment after their block are waited for', async (t) => {
  const { stage, session } = await settling(t)
  stage.chain.mineTo(60)
  stage.chain.eventsFault = (at) => (at === 60 ? unavailable(60) : undefined)
  stage.chain.events.clear()
  await t.rejects(settle(stage, [session]), { code: 'HEIGHT_UNAVAILABLE' })
  t.equal(await stage.entry(session), undefined)
})
