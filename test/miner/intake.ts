import t from 'tap'
import { height } from '../../src/base/units.ts'
import { Gate } from '../../src/miner/gate.ts'
import { Intake, type IntakeDeps } from '../../src/miner/intake.ts'
import { leafPath, relayHash } from '../../src/protocol/relay.ts'
import { leafDigest } from '../../src/smst/node.ts'
import type { SessionRecord } from '../../src/store/sessions.ts'
import { unavailable } from '../support/miner-chain.ts'
import { CUPR } from '../support/miner-rules.ts'
import { Stage } from '../support/miner-stage.ts'
import { headerOf, OTHER, servedRelay, turn } from '../support/miner-world.ts'
import { sharedParams } from '../support/params.ts'
import { OPERATOR, session as sessionOf } from '../support/sessions.ts'

const header = headerOf('a', 10)

async function all<T>(source: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = []
  for await (const item of source) items.push(item)
  return items
}

t.test('a session is opened with what the chain fixed at its START', async (t) => {
  const stage = await Stage.open(t, 5)
  const asked: [string, number][] = []
  const { world, chain, store } = stage
  const late = headerOf('a', 30)
  const intake = new Intake({
    chain: {
      sharedParams: async (at) => {
        asked.push(['params', at])
        return sharedParams({ computeUnitsToTokensMultiplier: 7n })
      },
      difficulty: async (_, at) => {
        asked.push(['difficulty', at])
        return new Uint8Array(32).fill(9)
      },
      computeUnitsPerRelay: async (_, at) => {
        asked.push(['units', at])
        return await chain.query.computeUnitsPerRelay()
      },
    },
    relays: store.relays,
    sessions: store.sessions,
    gate: world.gate,
  })
  const session = await intake.admit(late, OPERATOR, height(25))
  t.strictSame(asked.sort(), [
    ['difficulty', 21],
    ['params', 21],
    ['units', 21],
  ])
  t.strictSame(await stage.now(session), session, 'it is on the disk before its first relay')
  t.match(session, {
    key: { end: 30, operator: OPERATOR, sessionId: late.sessionId },
    header: late,
    computeUnitsPerRelay: CUPR,
    target: new Uint8Array(32).fill(9),
    price: { computeUnitsToTokensMultiplier: 7n, computeUnitCostGranularity: 1_000_000n },
    state: { at: 'serving' },
    since: 25,
  })
})

t.test('however many relays come at once, a session is opened once', async (t) => {
  const { world, chain } = await Stage.open(t, 5)
  const admit = () => world.intake.admit(header, OPERATOR, height(5))
  const records = await Promise.all([admit(), admit(), admit()])
  t.equal(new Set(records).size, 1)
  t.equal(chain.calls.filter((name) => name === 'difficulty').length, 1)
  t.equal(await admit(), records[0], 'later ones are not even looked up')
})

t.test('after a restart a session is the one that was opened before', async (t) => {
  const stage = await Stage.open(t, 5)
  const session = await stage.served('a', 1)
  stage.chain.target = new Uint8Array(32)
  const fresh = new Intake({
    chain: stage.chain.query,
    relays: stage.store.relays,
    sessions: stage.store.sessions,
    gate: new Gate(),
  })
  t.strictSame(await fresh.admit(header, OPERATOR, height(7)), session)
})

t.test('two operators of one process share no session', async (t) => {
  const stage = await Stage.open(t, 5)
  const mine = await stage.served('a', 2)
  const other = await stage.served('a', 1, { operator: OTHER })
  t.equal(mine.key.sessionId, other.key.sessionId)
  t.equal(await stage.store.relays.served(mine.key), 2)
  t.equal(await stage.store.relays.served(other.key), 1)
})

t.test('a chain that does not answer opens nothing, for now', async (t) => {
  const stage = await Stage.open(t, 5)
  const { intake } = stage.world
  stage.chain.intercept = (name) => {
    if (name === 'difficulty') throw unavailable(1)
  }
  await t.rejects(intake.admit(header, OPERATOR, height(5)), { code: 'HEIGHT_UNAVAILABLE' })
  t.strictSame(await stage.store.sessions.all(), [])
  t.equal(intake.size + stage.world.gate.size, 0)
  stage.chain.intercept = () => {}
  t.match(await intake.admit(header, OPERATOR, height(5)), { state: { at: 'serving' } })
})

t.test(
  'a session that is sealed or done takes no relay, and leaves nothing in memory',
  async (t) => {
    const stage = await Stage.open(t, 12)
    await stage.served('b', 0)
    const states = [
      { at: 'sealed', root: new Uint8Array(48) },
      { at: 'done', outcome: 'empty' },
    ] as const
    for (const state of states) {
      await stage.store.sessions.put({ ...sessionOf(state), key: keyOf(), header })
      const before = stage.world.gate.size + stage.world.intake.size
      await t.rejects(
        stage.world.intake.admit(header, OPERATOR, height(12)),
        { code: 'SESSION_SEALED' },
        state.at,
      )
      t.equal(stage.world.gate.size + stage.world.intake.size, before, state.at)
    }
  },
)

const keyOf = () => ({ end: height(10), operator: OPERATOR, sessionId: header.sessionId })

t.test('a relay is on the disk as the proof will show it', async (t) => {
  const stage = await Stage.open(t, 5)
  const session = await stage.served('a', 0)
  const served = servedRelay(header, 1)
  const { request, response, replayKey, relay } = served
  t.equal(await stage.world.intake.record(session, request, response, replayKey), 'recorded')
  const path = leafPath(relayHash(relay))
  t.strictSame(await all(stage.store.relays.leaves(session.key)), [
    { path, digest: leafDigest(path, relay, CUPR) },
  ])
  t.strictSame(await stage.store.relays.relay(session.key, path), relay)
  t.equal(await stage.store.relays.seen(session.key, replayKey), true)
})

t.test('a relay above the difficulty target is known, and is no leaf', async (t) => {
  const stage = await Stage.open(t, 5)
  stage.chain.target = new Uint8Array(32).fill(128, 0, 1)
  const session = await stage.served('a', 40)
  const leaves = await all(stage.store.relays.leaves(session.key))
  t.equal(await stage.store.relays.served(session.key), 40)
  t.ok(leaves.length > 5 && leaves.length < 35, `${leaves.length} of 40 are below the half`)
  const relays = Array.from({ length: 40 }, (_, n) => servedRelay(header, n).relay)
  const below = relays.filter((relay) => (relayHash(relay)[0] ?? 0) < 128)
  t.strictSame(
    leaves.map(({ path }) => path),
    below.map((relay) => leafPath(relayHash(relay))).sort((a, b) => Buffer.compare(a, b)),
  )
})

t.test('a request is answered once, whenever it comes again', async (t) => {
  const stage = await Stage.open(t, 5)
  const { intake } = stage.world
  const session = await stage.served('a', 0)
  const { request, response, replayKey } = servedRelay(header, 1)
  const stay = await intake.enter(session, replayKey)
  t.equal(stage.world.gate.inFlight(session.key), 1)
  t.equal(await intake.enter(session, replayKey), undefined, 'while it is being answered')
  t.equal(stage.world.gate.inFlight(session.key), 1)
  await intake.record(session, request, response, replayKey)
  stay?.leave()
  stay?.leave()
  t.equal(stage.world.gate.inFlight(session.key), 0)
  t.equal(await intake.enter(session, replayKey), undefined, 'and afterwards')
  t.equal(await intake.record(session, request, response, replayKey), 'replayed')
  t.equal(await stage.store.relays.served(session.key), 1)
})

t.test('a request that was not answered may come again', async (t) => {
  const stage = await Stage.open(t, 5)
  const session = await stage.served('a', 0)
  const { replayKey } = servedRelay(header, 1)
  ;(await stage.world.intake.enter(session, replayKey))?.leave()
  t.ok(await stage.world.intake.enter(session, replayKey))
})

t.test('a disk that cannot say whether a request was seen lets nobody stay', async (t) => {
  const stage = await Stage.open(t, 5)
  const deps: IntakeDeps = {
    chain: stage.chain.query,
    sessions: stage.store.sessions,
    gate: stage.world.gate,
    relays: {
      record: stage.store.relays.record.bind(stage.store.relays),
      seen: () => Promise.reject(new Error('disk')),
    },
  }
  const intake = new Intake(deps)
  const session = await intake.admit(header, OPERATOR, height(5))
  await t.rejects(intake.enter(session, new Uint8Array(32)), { message: 'disk' })
  t.equal(stage.world.gate.inFlight(session.key), 0)
  intake.forget(session.key)
  t.equal(intake.size, 0)
})

t.test('it resolves when the relay is on the disk, and a seal waits for that', async (t) => {
  const stage = await Stage.open(t, 12)
  const { store, world, chain } = stage
  let write = () => {}
  const intake = new Intake({
    chain: chain.query,
    sessions: store.sessions,
    gate: world.gate,
    relays: {
      seen: store.relays.seen.bind(store.relays),
      record: async (key, served) => {
        await new Promise<void>((resolve) => {
          write = resolve
        })
        return await store.relays.record(key, served)
      },
    },
  })
  const session: SessionRecord = await intake.admit(header, OPERATOR, height(12))
  const { request, response, replayKey } = servedRelay(header, 1)
  let recorded = false
  const recording = intake.record(session, request, response, replayKey).then(() => {
    recorded = true
  })
  const sealing = world.claims.seal(session, false, await stage.moment())
  for (let n = 0; n < 5; n++) await turn()
  t.equal(recorded, false)
  t.equal((await stage.now(session)).state.at, 'serving', 'the root is not fixed yet')
  write()
  await Promise.all([recording, sealing])
  const { state } = await stage.now(session)
  t.equal(state.at === 'sealed' && state.root.at(-1), 1, 'the relay is in the root')
  const late = servedRelay(header, 2)
  await t.rejects(intake.record(session, late.request, late.response, late.replayKey), {
    code: 'SESSION_SEALED',
  })
  t.equal(await store.relays.served(session.key), 1)
})
