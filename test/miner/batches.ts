/** One operator with many sessions of one end: what spoils one of them must not cost the others. */
import t, { type Test } from 'tap'
import { coin, upokt } from '../../src/base/units.ts'
import type { SessionRecord } from '../../src/store/sessions.ts'
import { Stage } from '../support/miner-stage.ts'
import { proofParams } from '../support/params.ts'
import { root } from '../support/sessions.ts'

const COUNT = 40
const BAD = 17
const names = Array.from({ length: COUNT }, (_, n) => `session ${n}`)
const always = proofParams({ proofRequirementThreshold: coin(upokt(1)) })

/** Sealed sessions of one operator, to be claimed at 12 to 16. */
async function sealed(t: Test): Promise<{ stage: Stage; sessions: SessionRecord[] }> {
  const stage = await Stage.open(t, 12)
  stage.chain.proof = always
  const sessions = await Promise.all(names.map((name) => stage.sealed(name, 2)))
  return { stage, sessions }
}

async function claim(stage: Stage, sessions: readonly SessionRecord[]): Promise<void> {
  await stage.world.claims.claim(sessions, await stage.moment(), stage.signal)
}

async function now(stage: Stage, sessions: readonly SessionRecord[]): Promise<SessionRecord[]> {
  return await Promise.all(sessions.map((session) => stage.now(session)))
}

/** A block, and what is looked after then. */
async function next(stage: Stage, of: 'claims' | 'proofs'): Promise<void> {
  stage.chain.mine()
  const sent = (await stage.store.sessions.open()).filter(({ state }) => 'tx' in state)
  await stage.world[of].confirm(sent, await stage.moment(), stage.signal)
}

const sizes = (stage: Stage, kind: 'claim' | 'proof') =>
  stage.chain.txs.filter((tx) => tx.kind === kind).map(({ messages }) => messages.length)

const counts = (records: readonly SessionRecord[]) =>
  Object.fromEntries(
    [...new Set(records.map(({ state }) => state.at))].map((at) => [
      at,
      records.filter(({ state }) => state.at === at).length,
    ]),
  )

t.test('a claim that the simulation refuses is left out of forty', async (t) => {
  const { stage, sessions } = await sealed(t)
  const mended = sessions.map((session, n) =>
    n === BAD ? { ...session, state: { at: 'sealed' as const, root: root(4_001n, 4n) } } : session,
  )
  await claim(stage, mended)
  await next(stage, 'claims')
  t.strictSame(sizes(stage, 'claim'), [COUNT - 1])
  t.strictSame(counts(await now(stage, sessions)), { claimed: COUNT - 1, sealed: 1 })
})

t.test('a claim that only a block refuses is parted from forty', async (t) => {
  const { stage, sessions } = await sealed(t)
  const bad = sessions[BAD]?.key.sessionId
  stage.chain.blockFault = (id) => (id === bad ? 'mismatch: claim compute units' : undefined)
  await claim(stage, sessions)
  stage.chain.calls.length = 0
  await next(stage, 'claims')
  t.equal(stage.chain.calls.filter((name) => name === 'result').length, 1, 'asked once for all')
  t.strictSame(sizes(stage, 'claim').sort(), [1, COUNT - 1, COUNT])
  await next(stage, 'claims')
  t.strictSame(counts(await now(stage, sessions)), { claimed: COUNT - 1, claiming: 1 })
  t.equal(stage.chain.height, 14, 'two blocks after it was sent')
})

t.test('several that only a block refuses are parted before the window closes', async (t) => {
  const { stage, sessions } = await sealed(t)
  const bad = new Set([3, BAD, 30].map((n) => sessions[n]?.key.sessionId))
  stage.chain.blockFault = (id) => (bad.has(id) ? 'mismatch: claim compute units' : undefined)
  await claim(stage, sessions)
  for (let at = 13; at <= 16; at++) await next(stage, 'claims')
  t.equal(stage.chain.height, 16)
  const records = await now(stage, sessions)
  t.strictSame(counts(records), { claimed: COUNT - 3, done: 3 })
  const lost = records.filter(({ state }) => state.at === 'done')
  t.ok(lost.every(({ key }) => bad.has(key.sessionId)))
  t.ok(sizes(stage, 'claim').length <= 2 * COUNT, 'at a bounded price')
})

t.test('a fault in the last block but one parts them at once', async (t) => {
  const { stage, sessions } = await sealed(t)
  const bad = sessions[BAD]?.key.sessionId
  stage.chain.blockFault = (id) => (id === bad ? 'mismatch: claim compute units' : undefined)
  stage.chain.mineTo(14)
  await claim(stage, sessions)
  await next(stage, 'claims')
  await next(stage, 'claims')
  t.strictSame(counts(await now(stage, sessions)), { claimed: COUNT - 1, done: 1 })
})

t.test('a proof that only a block refuses is parted from forty', async (t) => {
  const { stage, sessions } = await sealed(t)
  await claim(stage, sessions)
  await next(stage, 'claims')
  stage.chain.mineTo(16)
  const bad = sessions[BAD]?.key.sessionId
  stage.chain.blockFault = (id) => (id === bad ? 'invalid proof' : undefined)
  await stage.prove(await now(stage, sessions))
  await next(stage, 'proofs')
  await next(stage, 'proofs')
  t.strictSame(counts(await now(stage, sessions)), { proven: COUNT - 1, proving: 1 })
  t.strictSame(
    sizes(stage, 'proof').sort((a, b) => a - b),
    [1, 1, COUNT - 1, COUNT],
  )
  stage.chain.mineTo(20)
  const waiting = await stage.store.sessions.open()
  await stage.world.settlements.settle(waiting, await stage.moment(), stage.signal)
  const records = await now(stage, sessions)
  const outcomes = records.map(({ state }) => (state.at === 'done' ? state.outcome : state.at))
  t.equal(outcomes.filter((outcome) => outcome === 'settled').length, COUNT - 1)
  t.equal(outcomes[BAD], 'proof-missed')
})

t.test('of forty that are lost the same bytes go out again, once', async (t) => {
  const { stage, sessions } = await sealed(t)
  stage.chain.fate = (_, how) => (how === 'send' ? 'lose' : 'accept')
  await claim(stage, sessions)
  for (let at = 13; at <= 15; at++) await next(stage, 'claims')
  t.strictSame(
    stage.chain.txs.map(({ sends }) => sends),
    [2],
  )
  t.strictSame(counts(await now(stage, sessions)), { claimed: COUNT })
})

t.test('what fails to be read for one session does not stop the others', async (t) => {
  const { stage, sessions } = await sealed(t)
  await claim(stage, sessions)
  let asked = 0
  stage.chain.intercept = (name) => {
    if (name === 'claim' && asked++ === 5) throw new Error('no answer')
  }
  await t.rejects(next(stage, 'claims'), { message: 'no answer' })
  t.strictSame(counts(await now(stage, sessions)), { claimed: COUNT - 1, claiming: 1 })
})
