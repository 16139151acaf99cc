import t from 'tap'
import { coin, computeUnits, height, ms, upokt } from '../../src/base/units.ts'
import { ChainError } from '../../src/chain/errors.ts'
import type { SettlementEvent } from '../../src/chain/events.ts'
import { requireRoot } from '../../src/miner/book.ts'
import type { SessionRecord } from '../../src/store/sessions.ts'
import { unavailable } from '../support/miner-chain.ts'
import { Stage } from '../support/miner-stage.ts'
import { OTHER } from '../support/miner-world.ts'
import { proofParams } from '../support/params.ts'

const never = proofParams({ proofRequestProbability: 0 })

/** Sessions whose claims need no proof, the chain at their settlement. */
async function settling(t: Parameters<typeof Stage.open>[0], names = ['a'], until = 20) {
  const stage = await Stage.open(t, 12)
  stage.chain.proof = never
  stage.chain.setBalance(OTHER, 1_000_000n)
  const sessions = await stage.claimed(names)
  stage.chain.mineTo(until)
  return { stage, sessions, session: sessions[0] as SessionRecord }
}

async function settle(stage: Stage, sessions: readonly SessionRecord[]): Promise<void> {
  await stage.world.settlements.settle(sessions, await stage.moment(), stage.signal)
}

/** Puts other events in the place of those of block 20. */
function rewrite(stage: Stage, change: (event: SettlementEvent) => SettlementEvent[]): void {
  stage.chain.events.set(20, (stage.chain.events.get(20) ?? []).flatMap(change))
}

t.test('a settled claim is booked with the amounts of the chain', async (t) => {
  const { stage, session } = await settling(t)
  await settle(stage, [session])
  const paid = { outcome: 'settled', settled: 3_000n, lost: 0n, reason: '', height: 20 }
  t.match(await stage.entry(session), { ...paid, rewards: 2_100n }, 'what others got is not ours')
  t.equal(await stage.store.relays.served(session.key), 0)
})

t.test('the part of the global mint is a reward too', async (t) => {
  const { stage, session } = await settling(t)
  rewrite(stage, (event) => {
    if (event.kind !== 'settled') return [event]
    const reason = 'TLM_GLOBAL_MINT_SUPPLIER_SHAREHOLDER_REWARD_DISTRIBUTION'
    const more = { recipient: 'shareholder', reason, amount: upokt(5) }
    return [{ ...event, rewardDetails: [...event.rewardDetails, more] }]
  })
  await settle(stage, [session])
  t.match(await stage.entry(session), { rewards: 2_105n })
})

t.test('what the stake of the application did not bear is a loss', async (t) => {
  const { stage, session } = await settling(t)
  rewrite(stage, (event) =>
    event.kind === 'settled'
      ? [{ ...event, settled: upokt(2_000), overservicingLoss: upokt(1_000) }]
      : [event],
  )
  await settle(stage, [session])
  const reason = "the application's stake bore no more"
  t.match(await stage.entry(session), { settled: 2_000n, lost: 1_000n, reason })
})

t.test('a claim without its proof is a loss, explained by what was known', async (t) => {
  const { stage, sessions } = await settling(t, ['a', 'b'], 19)
  stage.chain.proof = proofParams({ proofRequirementThreshold: coin(upokt(1)) })
  stage.chain.mine()
  const [a, b] = sessions as [SessionRecord, SessionRecord]
  // Both are of one application and service: only in this test does that make them the same claim.
  await settle(stage, [a, { ...b, reason: 'PROOF_SELF_CHECK: damaged' }])
  const loss = { outcome: 'proof-missed', lost: 3_000n }
  t.match(await stage.entry(a), { ...loss, reason: 'PROOF_MISSING' })
  t.match(await stage.entry(b), { ...loss, reason: 'PROOF_MISSING: PROOF_SELF_CHECK: damaged' })
})

t.test('a claim whose proof was judged invalid is another loss', async (t) => {
  const { stage, session } = await settling(t)
  rewrite(stage, (event) => [{ ...expired(event), reason: 'PROOF_INVALID' } as SettlementEvent])
  await settle(stage, [session])
  t.match(await stage.entry(session), { outcome: 'expired', lost: 3_000n, reason: 'PROOF_INVALID' })
})

t.test('a discarded claim is a loss, with the chain’s reason', async (t) => {
  const { stage, session } = await settling(t)
  rewrite(stage, ({ operator, application, serviceId, sessionEnd, proofStatus }) => {
    const name = { operator, application, serviceId, sessionEnd, proofStatus }
    return [{ kind: 'discarded', ...name, error: 'no service config' }]
  })
  await settle(stage, [session])
  t.match(await stage.entry(session), { outcome: 'discarded', reason: 'no service config' })
})

t.test('events of other claims are not taken for ours', async (t) => {
  const { stage, session } = await settling(t)
  const changes: Record<string, (event: SettlementEvent) => SettlementEvent> = {
    'another operator': (event) => ({ ...event, operator: OTHER }),
    'another session': (event) =>
      event.kind === 'settled' ? { ...event, sessionId: 'f'.repeat(64) } : event,
    'a slash': (event) => ({
      kind: 'slashed',
      operator: event.operator,
      application: event.application,
      serviceId: event.serviceId,
      sessionEnd: event.sessionEnd,
      proofStatus: event.proofStatus,
      penalty: upokt(1),
      stakeAfter: upokt(1),
    }),
    'another service expired': (event) => expired({ ...event, serviceId: 'other' }),
    'another application expired': (event) => expired({ ...event, application: OTHER }),
    'another end expired': (event) => expired({ ...event, sessionEnd: height(11) }),
    'another operator expired': (event) => expired({ ...event, operator: OTHER }),
  }
  const events = stage.chain.events.get(20) ?? []
  for (const [name, change] of Object.entries(changes)) {
    stage.chain.events.set(20, events.map(change))
    await settle(stage, [session])
    t.equal(await stage.entry(session), undefined, name)
  }
  stage.chain.events.set(
    20,
    [...events, ...events].map((event, n) =>
      n === 0 ? (changes['a slash']?.(event) ?? event) : event,
    ),
  )
  await settle(stage, [session])
  t.match(await stage.entry(session), { outcome: 'settled' }, 'ours among others')
})

function expired(event: SettlementEvent): SettlementEvent {
  const { operator, application, serviceId, sessionEnd, proofStatus } = event
  const name = { operator, application, serviceId, sessionEnd, proofStatus }
  const none = computeUnits(0n)
  const size = { relays: 0n, computeUnits: none, estimatedRelays: 0n, estimatedComputeUnits: none }
  return { kind: 'expired', ...name, ...size, claimed: upokt(0), reason: 'PROOF_MISSING' }
}

t.test('the events of a block are read once for all that ends there', async (t) => {
  const { stage, sessions } = await settling(t, ['a', 'b', 'c'])
  stage.chain.calls.length = 0
  await settle(stage, sessions)
  t.strictSame(stage.chain.calls, ['settlements'])
  for (const session of sessions) t.match(await stage.entry(session), { outcome: 'settled' })
})

t.test('a claim that is still there is waited for, however long', async (t) => {
  const stage = await Stage.open(t, 12)
  stage.chain.proof = never
  stage.chain.late = 30
  const [session] = await stage.claimed(['a'])
  if (session === undefined) return
  for (const at of [20, 21, 45, 49]) {
    stage.chain.mineTo(at)
    stage.chain.calls.length = 0
    await settle(stage, [session])
    t.strictSame(stage.chain.calls, ['settlements', 'claim'], `at ${at}: at little cost`)
  }
  t.equal(await stage.entry(session), undefined)
  stage.chain.mine()
  await settle(stage, [session])
  t.match(await stage.entry(session), { outcome: 'settled', height: 50 })
})

t.test('a settlement that came a little late is found after a long sleep', async (t) => {
  const stage = await Stage.open(t, 12)
  stage.chain.proof = never
  stage.chain.late = 5
  const [session] = await stage.claimed(['a'])
  if (session === undefined) return
  stage.chain.mineTo(300)
  await settle(stage, [session])
  t.match(await stage.entry(session), { outcome: 'settled', height: 25 })
})

t.test('without any event the evidence is kept for a while, then it is a loss', async (t) => {
  const { stage, session } = await settling(t)
  stage.chain.events.clear()
  for (const at of [20, 39]) {
    stage.chain.mineTo(at)
    await settle(stage, [session])
    t.equal(await stage.entry(session), undefined, `at ${at}`)
    t.equal(await stage.store.relays.served(session.key), 3, `at ${at}`)
  }
  stage.chain.mineTo(40)
  await settle(stage, [session])
  const reason = 'the claim is gone and no event of the chain says how it ended'
  t.match(await stage.entry(session), { outcome: 'discarded', lost: 3_000n, reason })
})

t.test('a claim that was only sent may be settled, and may never have been there', async (t) => {
  const { stage, sessions } = await settling(t, ['a', 'b'], 19)
  const [a, b] = sessions as [SessionRecord, SessionRecord]
  stage.chain.mine()
  rewrite(stage, (event) =>
    event.kind === 'settled' && event.sessionId === b.key.sessionId ? [] : [event],
  )
  const sent = (session: SessionRecord): SessionRecord => ({
    ...session,
    state: {
      at: 'claiming',
      root: requireRoot(session),
      tx: {
        txHash: 'AA',
        bytes: new Uint8Array(1),
        sentAt: height(12),
        timeoutHeight: height(16),
        timeoutAt: ms(0),
        attempt: 1,
        resent: 0,
      },
    },
  })
  await settle(stage, [sent(a), sent(b)])
  t.match(await stage.entry(a), { outcome: 'settled' })
  const reason = 'no block took the claim in its window'
  t.match(await stage.entry(b), { outcome: 'claim-missed', lost: 3_000n, reason })
})

t.test('events that cannot be read now are waited for', async (t) => {
  const faults: Record<string, Error> = {
    'not there yet': unavailable(20),
    'no results kept': new ChainError('RPC_ERROR', 'node is not persisting results'),
    'not readable': new ChainError('RESPONSE', 'not an amount'),
  }
  for (const [name, fault] of Object.entries(faults)) {
    const { stage, session } = await settling(t)
    stage.chain.eventsFault = () => fault
    await t.rejects(settle(stage, [session]), fault, name)
    stage.chain.mineTo(39)
    await t.rejects(settle(stage, [session]), fault, name)
    t.equal(await stage.entry(session), undefined, name)
    stage.chain.eventsFault = (at) => (at < 40 ? fault : undefined)
    stage.chain.mineTo(60)
    await settle(stage, [session])
    t.match(await stage.entry(session), { outcome: 'unseen' }, `${name}: not for ever`)
    await stage.store.close()
  }
})

t.test('a node that does not answer proves nothing, however late it is', async (t) => {
  const { stage, session } = await settling(t, ['a'], 500)
  const silent = new ChainError('RPC_UNREACHABLE', 'silent', { retryable: true })
  stage.chain.eventsFault = (at) => (at < 100 ? silent : undefined)
  await t.rejects(settle(stage, [session]), { code: 'RPC_UNREACHABLE' })
  t.equal(await stage.entry(session), undefined)
})

t.test('nothing is concluded from a node that has not reached the height', async (t) => {
  const { stage, session } = await settling(t)
  stage.chain.lag = 1
  await t.rejects(settle(stage, [session]), { code: 'HEIGHT_UNAVAILABLE' })
  stage.chain.events.clear()
  stage.chain.mineTo(40)
  stage.chain.calls.length = 0
  await t.rejects(settle(stage, [session]), { code: 'HEIGHT_UNAVAILABLE' })
  t.strictSame(stage.chain.calls, ['settlements', 'claim'], 'of 20, and of the state at 40')
  t.equal(await stage.entry(session), undefined)
})
