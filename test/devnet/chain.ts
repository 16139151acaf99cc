import t from 'tap'
import { hex } from '../../src/base/bytes.ts'
import { ms, upokt } from '../../src/base/units.ts'
import { balance, Simchain, typed } from '../support/simchain.ts'

const PROVE_ALL = {
  params: { proof: { proofRequestProbability: 1 } },
}

t.test('a session is served, claimed, proved and paid', async (t) => {
  const chain = new Simchain(PROVE_ALL)
  await chain.mineTo(5)
  const header = chain.header()
  t.equal(header.sessionStartBlockHeight, 5n)
  t.equal(header.sessionEndBlockHeight, 8n)
  const relays = chain.relays(header, 5)
  await chain.mineTo(9)
  const claimed = await chain.run(chain.operator, [await chain.claim(header, relays)])
  t.equal(claimed.code, 0, claimed.log)
  t.equal(claimed.height, 10, 'the first block of the claim window')
  await chain.mineTo(11)
  const proved = await chain.run(chain.operator, [await chain.proof(header, relays, { seed: 11 })])
  t.equal(proved.code, 0, proved.log)
  t.match(typed(chain.devnet.head.events, 'pocket.proof.EventProofValidityChecked'), [
    { claim_proof_status_int: 1, failure_reason: '', mode: 'EndBlock' },
  ])
  const before = balance(chain, chain.owner)
  await chain.mineTo(14)
  const [settled] = typed(chain.devnet.head.events, 'pocket.tokenomics.EventClaimSettled')
  t.match(settled, {
    claimed_upokt: '2919upokt',
    settled_upokt: '2919upokt',
    minted_upokt: '2846upokt',
    proof_requirement_int: 2,
    session_id: header.sessionId,
  })
  t.equal(balance(chain, chain.owner) - before, 2248n, 'what a real chain paid for the same')
  const { state } = chain.devnet.contextAt(chain.height)
  t.same(state.claims.entries(), [], 'the claim is gone')
})

t.test('the first block is there from the start', async (t) => {
  const chain = new Simchain()
  t.equal(chain.height, 1)
  t.equal(chain.devnet.head.hash.length, 32)
})

t.test('the same history gives the same hashes', async (t) => {
  const [one, other] = [new Simchain(), new Simchain()]
  await one.mineTo(9)
  await other.mineTo(9)
  t.equal(hex(one.devnet.head.hash), hex(other.devnet.head.hash))
  one.devnet.broadcast(one.tx(one.owner, [one.send(one.owner, one.rival, 5n)]))
  await one.devnet.mine()
  await other.devnet.mine()
  t.not(hex(one.devnet.head.hash), hex(other.devnet.head.hash), 'a transaction changes them')
})

t.test('blocks come by the clock, and are never as early as the one before', async (t) => {
  const chain = new Simchain({}, { blockTime: ms(2_000) })
  const ended = new AbortController()
  const running = chain.devnet.run(ended.signal)
  await chain.clock.advance(2_000)
  t.equal(chain.height, 2)
  t.equal(chain.devnet.head.time, BigInt(chain.clock.now()) * 1_000_000n)
  await chain.clock.advance(2_000)
  t.equal(chain.height, 3)
  await chain.devnet.mine()
  t.ok(chain.devnet.head.time > BigInt(chain.clock.now()) * 1_000_000n, 'time moves on')
  ended.abort(new Error('over'))
  await running
  t.equal(chain.height, 4)
})

t.test('a manual chain moves its time by a fixed step', async (t) => {
  const chain = new Simchain({ time: ms(1_000) }, { blockStep: ms(6_000) })
  await chain.mineTo(3)
  t.equal(chain.devnet.head.time, 13_000_000_000n)
  await chain.devnet.run(AbortSignal.abort())
})

t.test('money and parameters come with the next block', async (t) => {
  const chain = new Simchain()
  chain.devnet.fund(chain.stranger.address, upokt(7))
  chain.devnet.setParams('proof', { proofRequestProbability: 0.5 })
  t.equal(balance(chain, chain.stranger), 0n)
  await chain.devnet.mine()
  t.equal(balance(chain, chain.stranger), 7n)
  const { state } = chain.devnet.contextAt(chain.height)
  t.equal(state.params.get('')?.proof.proofRequestProbability, 0.5)
  t.throws(() => chain.devnet.setParams('shared', { gracePeriodEndOffsetBlocks: 9n }), {
    code: 'PARAMS',
  })
  await chain.devnet.mine()
})

t.test('old states and blocks can be asked for until they are dropped', async (t) => {
  const chain = new Simchain({}, { keep: 3 })
  chain.devnet.fund(chain.stranger.address, upokt(7))
  await chain.mineTo(6)
  t.equal(chain.devnet.lowest, 4)
  t.ok(chain.devnet.block(4))
  t.notOk(chain.devnet.block(3))
})

t.test('watchers hear of every block until they leave', async (t) => {
  const chain = new Simchain()
  const heard: number[] = []
  const leave = chain.devnet.watch((block) => heard.push(block.height))
  await chain.mineTo(3)
  leave()
  await chain.mineTo(4)
  t.same(heard, [2, 3])
})
