import t from 'tap'
import { coin, upokt } from '../../src/base/units.ts'
import { ClaimProofStatus, MsgCreateClaim } from '../../src/protocol/gen/pocket/proof/proof.ts'
import { foldRoot } from '../../src/smst/fold.ts'
import type { SessionRecord } from '../../src/store/sessions.ts'
import { Stage } from '../support/miner-stage.ts'
import { headerOf, OTHER, servedRelay, turn } from '../support/miner-world.ts'
import { proofParams } from '../support/params.ts'
import { OPERATOR, root } from '../support/sessions.ts'

async function claim(stage: Stage, sessions: readonly SessionRecord[]): Promise<void> {
  const moment = await stage.moment(sessions[0]?.key.end)
  await stage.world.claims.claim(sessions, moment, stage.signal)
}

/** The sessions that a transaction claims, in its order. */
function claimsOf(stage: Stage, tx = 0): string[] {
  return (stage.chain.txs[tx]?.messages ?? []).map(
    ({ value }) => MsgCreateClaim.decode(value).sessionHeader?.sessionId ?? '',
  )
}

t.test('a seal fixes the root of all that was recorded', async (t) => {
  const stage = await Stage.open(t, 12)
  const session = await stage.sealed('a', 4)
  const header = headerOf('a', 10)
  const leaves = [0, 1, 2, 3].map((n) => servedRelay(header, n).leaf)
  const fixed = await foldRoot(leaves.sort((a, b) => Buffer.compare(a.path, b.path)))
  t.strictSame(session.state, { at: 'sealed', root: fixed })
  t.equal(session.since, 12)
  await t.rejects(stage.world.serve(servedRelay(header, 5), header), { code: 'SESSION_SEALED' })
})

t.test('a seal waits for a running relay, unless it cuts', async (t) => {
  const stage = await Stage.open(t, 12)
  const session = await stage.served('a', 1)
  const stay = await stage.world.intake.enter(session, new Uint8Array(32))
  await stage.world.claims.seal(session, false, await stage.moment())
  t.equal((await stage.now(session)).state.at, 'serving')
  await stage.world.claims.seal(session, true, await stage.moment())
  t.equal((await stage.now(session)).state.at, 'sealed')
  t.equal(stay?.signal.aborted, true)
})

t.test('a session without leaves ends with its seal', async (t) => {
  const stage = await Stage.open(t, 12)
  const session = await stage.sealed('a', 0)
  t.match(session.state, { at: 'done', outcome: 'empty' })
  t.match(await stage.entry(session), { outcome: 'empty', lost: 0n, reason: 'no relay was mined' })
  t.equal(stage.world.gate.size + stage.world.intake.size, 0)
})

t.test('claims of one session end go together, the dearest first', async (t) => {
  const stage = await Stage.open(t, 12)
  const sessions = [
    await stage.sealed('small', 1),
    await stage.sealed('large', 3),
    await stage.sealed('middle', 2),
  ]
  await claim(stage, sessions)
  t.strictSame(
    claimsOf(stage),
    ['large', 'middle', 'small'].map((name) => headerOf(name, 10).sessionId),
  )
  t.equal(stage.chain.txs.length, 1)
  for (const session of sessions) t.match((await stage.now(session)).state, { at: 'claiming' })
})

t.test('the money must be more than claim, proof and what is outstanding cost', async (t) => {
  // A claim's gas, a proof's gas and the fee of a proof: 1 + 1 + 1,000 each.
  for (const [balance, expected] of [
    [1_002n, 0],
    [1_003n, 1],
    [2_004n, 1],
    [2_005n, 2],
  ] as const) {
    const stage = await Stage.open(t, 12)
    stage.chain.setBalance(OPERATOR, balance)
    await claim(stage, [await stage.sealed('a', 3), await stage.sealed('b', 3)])
    t.equal(claimsOf(stage).length, expected, `${balance} upokt`)
    await stage.store.close()
  }
})

t.test('what was claimed before and is not proven yet keeps its money', async (t) => {
  const stage = await Stage.open(t, 12)
  const first = await stage.sealed('a', 3)
  const second = await stage.sealed('b', 3)
  stage.chain.setBalance(OPERATOR, 2_004n)
  await claim(stage, [first])
  t.equal((await stage.now(first)).state.at, 'claiming')
  await claim(stage, [second])
  t.match(await stage.now(second), { state: { at: 'sealed' }, reason: /holds 2004 upokt/ })
  stage.chain.setBalance(OPERATOR, 2_005n)
  await claim(stage, [await stage.now(second)])
  t.equal((await stage.now(second)).state.at, 'claiming')
})

t.test('two session ends that are claimed at once do not spend the same money', async (t) => {
  const stage = await Stage.open(t, 13)
  const early = await stage.sealed('a', 3, { end: 10 })
  const late = await stage.sealed('b', 3, { end: 11 })
  stage.chain.setBalance(OPERATOR, 1_500n)
  await Promise.all([claim(stage, [early]), claim(stage, [late])])
  t.equal(stage.chain.txs.length, 1)
})

t.test('operators do not share a purse, nor a transaction', async (t) => {
  const stage = await Stage.open(t, 12)
  stage.chain.setBalance(OTHER, 1_500n)
  stage.chain.setBalance(OPERATOR, 1_500n)
  await claim(stage, [await stage.sealed('a', 3)])
  await claim(stage, [await stage.sealed('a', 3, { operator: OTHER })])
  t.strictSame(
    stage.chain.txs.map(({ operator }) => operator),
    [OPERATOR, OTHER],
  )
})

t.test('who cannot pay is warned, and it is a loss in the last block only', async (t) => {
  const stage = await Stage.open(t, 12)
  stage.chain.setBalance(OPERATOR, 10n)
  const session = await stage.sealed('a', 3)
  await claim(stage, [session])
  t.match(await stage.now(session), { state: { at: 'sealed' }, reason: /holds 10 upokt/ })
  stage.chain.mineTo(14)
  await claim(stage, [session])
  t.equal(stage.world.logged('claim waits for money').length, 2)
  t.equal(await stage.entry(session), undefined)
  stage.chain.mineTo(15)
  await claim(stage, [session])
  const reason = 'the operator could not pay for claim and proof'
  t.match(await stage.entry(session), { outcome: 'unaffordable', lost: 3_000n, reason })
})

t.test('a claim must be worth its fees, of which a proof is one if it is likely', async (t) => {
  // A relay brings 700 of 1,000 upokt; a proof costs 1,001.
  for (const [probability, threshold, relays, expected] of [
    [0, '20000000', 1, 'claiming'],
    [0.25, '20000000', 1, 'claiming'],
    [0.9, '20000000', 1, 'done'],
    [0, '1000', 1, 'done'],
    [0, '1000', 2, 'claiming'],
  ] as const) {
    const stage = await Stage.open(t, 12)
    stage.chain.proof = proofParams({
      proofRequestProbability: probability,
      proofRequirementThreshold: { denom: 'upokt', amount: threshold },
    })
    const session = await stage.sealed('a', relays)
    await claim(stage, [session])
    const { state } = await stage.now(session)
    t.equal(state.at, expected, `${probability} ${threshold} ${relays}`)
    if (expected === 'done') t.match(state, { outcome: 'unprofitable' })
    await stage.store.close()
  }
})

t.test('nothing is decided on the balance of a node that is behind', async (t) => {
  const stage = await Stage.open(t, 12)
  const session = await stage.sealed('a', 3)
  stage.chain.lag = 1
  await t.rejects(claim(stage, [session]), { code: 'HEIGHT_UNAVAILABLE' })
  t.strictSame(await stage.now(session), session)
})

t.test('sessions of an operator without a key are kept, with an error each time', async (t) => {
  const stage = await Stage.open(t, 12, { operators: [OTHER] })
  const session = await stage.sealed('a', 3)
  await claim(stage, [session])
  await claim(stage, [await stage.now(session)])
  t.match(await stage.now(session), { state: { at: 'sealed' }, reason: /^KEY_MISSING/ })
  t.equal(stage.world.lines.filter(({ level }) => level === 'error').length, 2)
  await stage.world.claims.missed(await stage.now(session), await stage.moment(), stage.signal)
  t.match(await stage.entry(session), { outcome: 'claim-missed', reason: /: KEY_MISSING/ })
})

t.test('a claim counts when the chain has it with our root', async (t) => {
  const stage = await Stage.open(t, 12)
  const session = await stage.sealed('a', 3)
  await claim(stage, [session])
  await stage.confirmClaim(await stage.now(session))
  t.match((await stage.now(session)).state, { at: 'claiming' }, 'no block has it yet')
  stage.chain.mine()
  await stage.confirmClaim(await stage.now(session))
  t.match(await stage.now(session), { state: { at: 'claimed' }, since: 13 })
})

t.test('nothing is concluded from a node that has not reached the height', async (t) => {
  const stage = await Stage.open(t, 12)
  const session = await stage.sealed('a', 3)
  await claim(stage, [session])
  stage.chain.mineTo(16)
  stage.chain.lag = 4
  const before = await stage.now(session)
  await t.rejects(stage.confirmClaim(before), { code: 'HEIGHT_UNAVAILABLE' })
  t.strictSame(await stage.now(session), before, 'its claim looked absent')
  stage.chain.lag = 0
  await stage.confirmClaim(before)
  t.match((await stage.now(session)).state, { at: 'claimed' })
})

t.test('a claim of another root is replaced as long as the window is open', async (t) => {
  const stage = await Stage.open(t, 12)
  stage.chain.fate = (tx) => (tx.attempt === 1 ? { reject: 13 } : 'accept')
  const session = await stage.sealed('a', 3)
  await claim(stage, [session])
  stage.chain.putClaim({
    supplierOperatorAddress: OPERATOR,
    sessionHeader: session.header,
    rootHash: root(1_000n, 1n),
    proofValidationStatus: ClaimProofStatus.PENDING_VALIDATION,
  })
  stage.chain.mine()
  await stage.confirmClaim(await stage.now(session))
  t.match(stage.chain.txs.at(-1), { attempt: 2, feeFactor: 1.5 })
  stage.chain.mine()
  await stage.confirmClaim(await stage.now(session))
  t.match((await stage.now(session)).state, { at: 'claimed' })
})

t.test('when the window is closed a claim that is not there is lost', async (t) => {
  const stage = await Stage.open(t, 12)
  stage.chain.fate = () => 'lose'
  const [a, b] = [await stage.sealed('a', 3), await stage.sealed('b', 3)]
  await claim(stage, [a, b])
  stage.chain.putClaim({
    supplierOperatorAddress: OPERATOR,
    sessionHeader: b.header,
    rootHash: root(1_000n, 1n),
    proofValidationStatus: ClaimProofStatus.PENDING_VALIDATION,
  })
  stage.chain.mineTo(16)
  for (const session of [a, b]) await stage.confirmClaim(await stage.now(session))
  const outcome = 'claim-missed'
  t.match(await stage.entry(a), { outcome, reason: 'no block took the claim in its window' })
  t.match(await stage.entry(b), { outcome, reason: 'the chain holds a claim with another root' })
})

t.test('one bad session of a batch does not hold up the others', async (t) => {
  const stage = await Stage.open(t, 12)
  const good = await stage.sealed('good', 3)
  const bad = await stage.sealed('bad', 4)
  const broken: SessionRecord = { ...bad, state: { at: 'sealed', root: root(4_001n, 4n) } }
  await claim(stage, [broken, good])
  t.match((await stage.now(good)).state, { at: 'claiming' })
  t.match(await stage.now(bad), { state: { at: 'sealed' }, reason: /compute units/ })
})

t.test('a claim that is on the chain is not given up for a database that is older', async (t) => {
  const stage = await Stage.open(t, 12)
  const [before, other] = [await stage.sealed('a', 3), await stage.sealed('b', 3)]
  await claim(stage, [before])
  stage.chain.mineTo(16)
  for (const session of [before, other])
    await stage.world.claims.missed(session, await stage.moment(), stage.signal)
  t.match(await stage.now(before), { state: { at: 'claimed' }, since: 16 })
  t.match(await stage.entry(other), { outcome: 'claim-missed', lost: 3_000n })
})

t.test('a decision waits for the one before it', async (t) => {
  const stage = await Stage.open(t, 13)
  const [a, b] = [await stage.sealed('a', 3), await stage.sealed('b', 3, { end: 11 })]
  let release = () => {}
  let asked = 0
  stage.chain.intercept = (name) => {
    if (name !== 'prepare' || asked++ > 0) return
    return new Promise<void>((resolve) => {
      release = resolve
    })
  }
  const both = Promise.all([claim(stage, [a]), claim(stage, [b])])
  while (asked === 0) await turn()
  for (let n = 0; n < 10; n++) await turn()
  t.equal(stage.chain.calls.filter((name) => name === 'balance').length, 1)
  release()
  await both
  t.equal(stage.chain.txs.length, 2)
})

t.test('the fee of a proof is the live one', async (t) => {
  const stage = await Stage.open(t, 12)
  stage.chain.setBalance(OPERATOR, 1_500n)
  const session = await stage.sealed('a', 3)
  stage.chain.proof = proofParams({ proofSubmissionFee: coin(upokt(1_499)) })
  await claim(stage, [session])
  t.equal((await stage.now(session)).state.at, 'sealed')
  stage.chain.proof = proofParams({ proofSubmissionFee: coin(upokt(1_497)) })
  await claim(stage, [session])
  t.equal((await stage.now(session)).state.at, 'claiming')
})
