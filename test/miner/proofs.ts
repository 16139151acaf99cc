import t from 'tap'
import { equal } from '../../src/base/bytes.ts'
import { coin, height, upokt } from '../../src/base/units.ts'
import { Proofs } from '../../src/miner/proofs.ts'
import { ClaimProofStatus, MsgSubmitProof } from '../../src/protocol/gen/pocket/proof/proof.ts'
import { proofPath, proofRequirement } from '../../src/protocol/rewards.ts'
import { decodeProof } from '../../src/smst/gob.ts'
import { provenValue } from '../../src/smst/proof.ts'
import type { SessionRecord } from '../../src/store/sessions.ts'
import { unavailable } from '../support/miner-chain.ts'
import { Stage } from '../support/miner-stage.ts'
import { headerOf, recordingLog, servedRelay } from '../support/miner-world.ts'
import { proofParams, sharedParams } from '../support/params.ts'
import { OPERATOR, root } from '../support/sessions.ts'

const always = proofParams({ proofRequirementThreshold: coin(upokt(1)) })
const never = proofParams({ proofRequestProbability: 0 })

function only(sessions: readonly SessionRecord[]): SessionRecord {
  const [session] = sessions
  if (session === undefined) throw new TypeError('no session')
  return session
}

/** A claimed session, the chain at the opening of its proof window. */
async function claimed(t: Parameters<typeof Stage.open>[0], names = ['a'], relays = 3) {
  const stage = await Stage.open(t, 12)
  stage.chain.proof = always
  const sessions = await stage.claimed(names, relays)
  stage.chain.mineTo(16)
  return { stage, sessions, session: only(sessions) }
}

const proofsSent = (stage: Stage) => stage.chain.txs.filter(({ kind }) => kind === 'proof')

t.test('a proof is made for the path that the seed block says, and validated', async (t) => {
  const { stage, session } = await claimed(t)
  await stage.prove([session])
  t.match((await stage.now(session)).state, { at: 'proving', tx: { timeoutHeight: 20 } })
  const message = proofsSent(stage)[0]?.messages[0]
  if (message === undefined) return
  const proof = decodeProof(MsgSubmitProof.decode(message.value).proof)
  const { sessionId } = session.key
  t.strictSame(proof.path, proofPath(stage.chain.block(15).hash, sessionId), 'seeded by 15')
  const relays = [0, 1, 2].map((n) => servedRelay(headerOf('a', 10), n).relay)
  t.ok(
    relays.some((relay) => equal(relay, provenValue(proof))),
    'of one of our relays',
  )
  await stage.confirmProof(await stage.now(session))
  t.match((await stage.now(session)).state, { at: 'proving' }, 'no block has it yet')
  stage.chain.mine()
  await stage.confirmProof(await stage.now(session))
  t.match(await stage.now(session), { state: { at: 'proven' }, since: 17 })
})

t.test('what needs no proof is looked at again, since the parameters may change', async (t) => {
  const { stage, session } = await claimed(t)
  stage.chain.proof = never
  await stage.prove([session])
  t.match(await stage.now(session), { state: { at: 'unproven' }, since: 16 })
  stage.chain.mine()
  const before = await stage.now(session)
  await stage.prove([before])
  t.strictSame(await stage.now(session), before, 'still not')
  stage.chain.proof = always
  await stage.prove([before])
  t.match((await stage.now(session)).state, { at: 'proving' })
  stage.chain.mine()
  await stage.confirmProof(await stage.now(session))
  t.match((await stage.now(session)).state, { at: 'proven' })
})

t.test('the draw is that of the stored claim and the seed block', async (t) => {
  const { stage, sessions } = await claimed(t, ['a', 'b', 'c', 'd', 'e', 'f'])
  stage.chain.proof = proofParams({ proofRequestProbability: 0.5 })
  await stage.prove(sessions)
  const states = await Promise.all(sessions.map(async (each) => (await stage.now(each)).state.at))
  const expected = sessions.map(({ key }) => {
    const claim = stage.chain.claimOf(key.sessionId, OPERATOR)
    if (claim === undefined) return 'no claim'
    const seed = stage.chain.block(15).hash
    const drawn = proofRequirement(claim, upokt(3_000), stage.chain.proof, seed)
    return drawn === 'not-required' ? 'unproven' : 'proving'
  })
  t.strictSame(states, expected)
  t.equal(new Set(states).size, 2, 'some are asked for, some are not')
})

t.test('a session that cannot be proven does not hold up the others', async (t) => {
  const { stage, sessions } = await claimed(t, ['a', 'bad'])
  const [good, bad] = sessions as [SessionRecord, SessionRecord]
  const { log, lines } = recordingLog()
  const { store, world, chain } = stage
  const relays = {
    leaves: store.relays.leaves.bind(store.relays),
    relay: async (key: SessionRecord['key'], path: Uint8Array) =>
      key.sessionId === bad.key.sessionId ? undefined : await store.relays.relay(key, path),
  }
  const signer = () => ({
    address: OPERATOR,
    publicKey: new Uint8Array(33),
    sign: () => new Uint8Array(64),
  })
  const parts = { chain: chain.query, blocks: chain.blocks, sessions: store.sessions, log }
  const proofs = new Proofs({ ...parts, relays, signer, submit: world.submit })
  await proofs.prove(sessions, await stage.moment(), stage.signal)
  t.match((await stage.now(good)).state, { at: 'proving' })
  const reason = 'PROOF_SELF_CHECK: the sampled relay is not in the database'
  t.match(await stage.now(bad), { state: { at: 'claimed' }, reason })
  t.match(
    lines.filter(({ level }) => level === 'error'),
    [{ msg: 'claim not proven', upokt: '3000' }],
  )
})

t.test('without the key of an operator its claims wait, and the loss says why', async (t) => {
  const { stage, session } = await claimed(t)
  const { store, world, chain } = stage
  const parts = { chain: chain.query, blocks: chain.blocks, sessions: store.sessions }
  const proofs = new Proofs({
    ...parts,
    relays: store.relays,
    signer: () => undefined,
    submit: world.submit,
    log: recordingLog().log,
  })
  await proofs.prove([session], await stage.moment(), stage.signal)
  t.match(await stage.now(session), { state: { at: 'claimed' }, reason: /^KEY_MISSING/ })
  chain.mineTo(20)
  await world.settlements.settle([await stage.now(session)], await stage.moment(), stage.signal)
  t.match(await stage.entry(session), {
    outcome: 'proof-missed',
    reason: /^PROOF_MISSING: KEY_MISSING/,
  })
})

t.test('no proof is sent that does not verify', async (t) => {
  const { stage, session } = await claimed(t, ['a'], 3)
  const broken: SessionRecord = { ...session, state: { at: 'claimed', root: root(3_000n, 3n) } }
  stage.chain.putClaim({
    supplierOperatorAddress: OPERATOR,
    sessionHeader: session.header,
    rootHash: root(3_000n, 3n),
    proofValidationStatus: ClaimProofStatus.PENDING_VALIDATION,
  })
  await stage.prove([broken])
  t.strictSame(proofsSent(stage), [])
  t.match(await stage.now(session), {
    reason: 'PROOF_SELF_CHECK: the proof does not lead to the claimed root',
  })
})

t.test('a question that fails for one session is asked again, the others go on', async (t) => {
  const { stage, sessions } = await claimed(t, ['a', 'b'])
  let asked = 0
  stage.chain.intercept = (name) => {
    if (name === 'claim' && asked++ === 0) throw unavailable(16)
  }
  await t.rejects(stage.prove(sessions), { code: 'HEIGHT_UNAVAILABLE' })
  const states = await Promise.all(sessions.map(async (each) => (await stage.now(each)).state.at))
  t.strictSame(states.sort(), ['claimed', 'proving'])
})

t.test('nothing is proven for a claim that is not ours any more', async (t) => {
  const { stage, session } = await claimed(t)
  stage.chain.putClaim({
    supplierOperatorAddress: OPERATOR,
    sessionHeader: session.header,
    rootHash: root(1_000n, 1n),
    proofValidationStatus: ClaimProofStatus.PENDING_VALIDATION,
  })
  await stage.prove([session])
  t.match(await stage.now(session), {
    state: { at: 'claimed' },
    reason: 'the claim on the chain is not ours any more',
  })
  t.strictSame(proofsSent(stage), [])
})

t.test('a proof that the chain has is not paid for twice', async (t) => {
  const { stage, session } = await claimed(t)
  await stage.prove([session])
  stage.chain.mine()
  await stage.prove([session])
  t.match((await stage.now(session)).state, { at: 'proven' }, 'the record was from before')
  t.equal(proofsSent(stage).length, 1)
})

t.test('money that does not reach for all proofs goes to the dearest', async (t) => {
  const stage = await Stage.open(t, 12)
  stage.chain.proof = always
  const small = await stage.sealed('small', 2)
  const large = await stage.sealed('large', 5)
  stage.chain.mineTo(12)
  await stage.world.claims.claim([small, large], await stage.moment(), stage.signal)
  stage.chain.mineTo(16)
  for (const each of [small, large]) await stage.confirmClaim(await stage.now(each))
  stage.chain.setBalance(OPERATOR, 1_500n)
  await stage.prove([await stage.now(small), await stage.now(large)])
  t.match((await stage.now(large)).state, { at: 'proving' })
  t.match(await stage.now(small), { state: { at: 'claimed' }, reason: /not enough funds/ })
})

t.test('an invalid proof is made once more, and then explained', async (t) => {
  const { stage, session } = await claimed(t)
  stage.chain.judge = () => false
  await stage.prove([session])
  for (let n = 0; n < 3; n++) {
    stage.chain.mine()
    await stage.confirmProof(await stage.now(session))
  }
  t.strictSame(
    proofsSent(stage).map(({ attempt }) => attempt),
    [1, 2],
  )
  t.match(await stage.now(session), {
    state: { at: 'proving', tx: { attempt: 2 } },
    reason: 'the chain judged the proof invalid',
  })
})

t.test('an invalid proof that the new draw does not ask for is left alone', async (t) => {
  const { stage, session } = await claimed(t)
  stage.chain.judge = () => false
  await stage.prove([session])
  stage.chain.mine()
  stage.chain.proof = never
  await stage.confirmProof(await stage.now(session))
  t.match((await stage.now(session)).state, { at: 'unproven' })
  t.equal(proofsSent(stage).length, 1)
})

t.test('a proof that is lost is sent again, then renewed', async (t) => {
  const { stage, session } = await claimed(t)
  stage.chain.shared = () => sharedParams({ proofWindowCloseOffsetBlocks: 12n })
  stage.chain.fate = (tx) => (tx.attempt === 1 ? 'lose' : 'accept')
  await stage.prove([session])
  for (let n = 0; n < 5; n++) {
    stage.chain.mine()
    await stage.confirmProof(await stage.now(session))
  }
  t.strictSame(
    proofsSent(stage).map(({ attempt, sends }) => [attempt, sends]),
    [
      [1, 2],
      [2, 1],
    ],
  )
  t.match((await stage.now(session)).state, { at: 'proven' })
})

t.test('nothing is concluded from a node that has not reached the height', async (t) => {
  const { stage, session } = await claimed(t)
  await stage.prove([session])
  stage.chain.mine()
  stage.chain.lag = 1
  await t.rejects(stage.confirmProof(await stage.now(session)), { code: 'HEIGHT_UNAVAILABLE' })
  t.equal(proofsSent(stage).length, 1)
})

t.test('without the seed block nothing is drawn', async (t) => {
  const { stage, session } = await claimed(t)
  stage.chain.intercept = (name) => {
    if (name === 'block') throw unavailable(15)
  }
  await t.rejects(stage.prove([session]), { code: 'HEIGHT_UNAVAILABLE' })
  t.match((await stage.now(session)).state, { at: 'claimed' })
})

t.test('a window of one block is used a block ahead', async (t) => {
  const stage = await Stage.open(t, 12)
  const { chain } = stage
  const offsets = { proofWindowOpenOffsetBlocks: 2n, proofWindowCloseOffsetBlocks: 0n }
  chain.shared = () => sharedParams(offsets)
  chain.proof = always
  const session = only(await stage.claimed(['a']))
  chain.mineTo(17)
  await stage.prove([session])
  t.match((await stage.now(session)).state, { at: 'proving', tx: { timeoutHeight: height(18) } })
  chain.mine()
  t.equal(proofsSent(stage)[0]?.included?.code, 0)
})
