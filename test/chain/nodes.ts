/** Several endpoints: who is asked, who is left out, and what it costs. */
import t from 'tap'
import { equal } from '../../src/base/bytes.ts'
import { silentLog } from '../../src/base/log.ts'
import { height } from '../../src/base/units.ts'
import { Rpc } from '../../src/chain/rpc.ts'
import { hashOf, LyingNode } from '../support/lying-node.ts'
import { until } from '../support/recorded-node.ts'
import { isWhole, open, PACE, POLL } from '../support/several-nodes.ts'
import { WatchedClock } from '../support/watched-clock.ts'

t.test('several that agree cost one small request a block each', async (t) => {
  const world = await open(t, [100, 100, 100])
  await world.block()
  const before = world.nodes.map(({ node }) => node.requests.length)
  for (let at = 101; at <= 110; at++) await world.block(at, at, at)
  t.equal(world.head(), 110)
  t.strictSame(
    world.got.map(({ height }) => height),
    [100, 101, 102, 103, 104, 105, 106, 107, 108, 109, 110],
  )
  for (const index of [1, 2]) {
    const { node } = world.at(index)
    t.equal(node.requests.length - (before[index] ?? 0), 10, `endpoint ${index}`)
    t.equal(node.count('commit'), 0, 'and nothing but its status')
  }
  t.strictSame(world.logged, [])
})

t.test('one alone costs nothing more than itself', async (t) => {
  const world = await open(t, [100])
  const { node } = world.at(0)
  for (let at = 101; at <= 105; at++) await world.block(at)
  t.equal(node.count('commit'), 6)
  t.equal(node.requests.length, node.count('status') + 6)
  t.equal(node.count('status'), 1 + 5 * (PACE / POLL))
})

t.test('an endpoint of another chain is left out', async (t) => {
  const world = await open(t, [500, 100])
  world.at(0).chainId = 'pocket-beta'
  await world.block()
  // The first look came before it changed: as if another machine stood there now.
  await world.block(501, 101)
  await world.block(502, 102)
  t.equal(world.state(0), 'other-chain')
  t.match(world.rpc.health[0]?.reason, 'other chain: pocket-beta')
  t.equal(world.head() >= 100, true)
  const before = world.at(0).node.count('commit')
  await world.block(503, 103)
  t.equal(world.at(0).node.count('commit'), before, 'it is asked for no block')
  await t.rejects(world.rpc.callOn(0, 'commit', {}), {
    code: 'RPC_UNREACHABLE',
    message: /is not used: other chain: pocket-beta/,
  })
})

t.test('a stranger is asked for its chain before it is asked for anything else', async (t) => {
  const [right, wrong] = [await LyingNode.start(), await LyingNode.start()]
  wrong.chainId = 'pocket-beta'
  wrong.node.on('health', () => ({ from: 'wrong' }))
  right.node.on('health', () => ({ from: 'right' }))
  const deps = { clock: new WatchedClock(), random: () => 1, log: silentLog() }
  const endpoints = [wrong.node.url, right.node.url]
  const rpc = new Rpc(deps, { endpoints, chainId: 'pocket' })
  const both = await Promise.all([rpc.call('health', {}), rpc.call('health', {})])
  t.strictSame(both, [{ from: 'right' }, { from: 'right' }])
  t.same([wrong.node.count('health'), wrong.node.count('status')], [0, 1])
  t.equal((await rpc.status()).chainId, 'pocket')
  right.chainId = 'pocket-beta'
  await rpc.status()
  t.equal(
    (await rpc.status()).chainId,
    'pocket-beta',
    'all of another chain: for the caller to refuse',
  )
  await rpc.close()
  for (const { node } of [right, wrong]) await node.close()
})

t.test('one of another chain does not hide that the right one is only away', async (t) => {
  const [right, wrong] = [await LyingNode.start(), await LyingNode.start()]
  wrong.chainId = 'pocket-beta'
  right.node.behaviour = 'close'
  const clock = new WatchedClock()
  const deps = { clock, random: () => 1, log: silentLog() }
  const rpc = new Rpc(deps, { endpoints: [wrong.node.url, right.node.url], chainId: 'pocket' })
  await t.rejects(rpc.status(), { code: 'RPC_UNREACHABLE', retryable: true })
  right.node.behaviour = 'none'
  t.equal((await rpc.status()).chainId, 'pocket')
  await rpc.close()
  for (const { node } of [right, wrong]) await node.close()
})

t.test('one that claims a height far ahead does not move the head', async (t) => {
  for (const lies of [0, 1]) {
    const world = await open(t, [100, 100])
    await world.block(101, 101)
    const heights = (at: number) => (lies === 0 ? [1_000_000, at] : [at, 1_000_000])
    await world.block(...heights(102))
    await world.block(...heights(103))
    t.equal(world.head(), 103, `endpoint ${lies} lies`)
    t.equal(world.state(lies), 'ahead')
    t.equal(world.rpc.health[lies]?.reason, 'claims height 1000000, the chain is at 103')
    t.equal(world.state(1 - lies), 'ok')
    t.ok(isWhole(world.got), 'no height is missed')
    await world.block(104, 104)
    t.equal(world.state(lies), 'ok', 'and is used again when it is sane')
  }
})

t.test('a lie at the very start is not begun with', async (t) => {
  for (const heights of [
    [5_000, 100],
    [100, 5_000],
    [100, 5_000, 99],
  ]) {
    const world = await open(t, heights)
    t.equal(world.head(), 100, heights.join())
    t.equal(world.state(heights.indexOf(5_000)), 'ahead', heights.join())
  }
})

t.test('a little ahead of the others is no lie', async (t) => {
  const world = await open(t, [100, 103])
  t.equal(world.head(), 103)
  t.same([world.state(0), world.state(1)], ['ok', 'ok'])
})

t.test('one that lags comes last, and first again when it is back', async (t) => {
  const world = await open(t, [100, 100])
  for (let at = 101; at <= 106; at++) await world.block(undefined, at)
  t.equal(world.head(), 106, 'the head moves without the first')
  t.match(world.rpc.health[0], { state: 'lagging', reason: 'lagging 6 blocks', height: 100 })
  const before = world.at(0).node.count('commit')
  await world.blocks.at(height(50), world.signal)
  t.equal(world.at(0).node.count('commit'), before, 'it is not asked')
  await world.block(107, 107)
  t.equal(world.state(0), 'ok')
  await world.blocks.at(height(51), world.signal)
  t.equal(world.at(0).node.count('commit'), before + 1, 'it is the first again')
  t.ok(isWhole(world.got))
})

t.test('one that catches up comes last', async (t) => {
  const world = await open(t, [100, 100])
  world.at(0).catchingUp = true
  await world.block(101, 101)
  await world.block(102, 102)
  t.equal(world.head(), 102)
  t.match(world.rpc.health[0], { state: 'catching-up', reason: 'catching up, at height 102' })
})

t.test('one that goes away and comes back costs no height', async (t) => {
  const world = await open(t, [100, 100])
  await world.block(101, 101)
  world.at(0).node.behaviour = 'close'
  for (let at = 102; at <= 104; at++) await world.block(at, at)
  t.equal(world.head(), 104)
  t.match(world.rpc.health[0], { state: 'no-answer', reason: /^no answer: / })
  world.at(0).node.behaviour = 'none'
  await world.block(105, 105)
  t.equal(world.state(0), 'ok', 'one block later it is used again')
  for (const { node } of world.nodes) node.behaviour = 'close'
  await world.block(108, 108)
  t.equal(world.head(), 105)
  world.at(1).node.behaviour = 'none'
  await world.block(109, 109)
  t.equal(world.head(), 109)
  t.ok(isWhole(world.got), 'what was missed is filled in')
})

t.test('one that says nothing new is noticed by its silence', async (t) => {
  const world = await open(t, [100, 100])
  for (let at = 101; at <= 104; at++) await world.block(at, at)
  let polls = 0
  for (world.at(1).height = 105; world.head() < 105 && polls < 100; polls++) await world.poll()
  t.ok(polls <= (2 * PACE) / POLL + 1, `after ${polls} polls`)
})

t.test('one that says nothing new is noticed at once by the news of another', async (t) => {
  const world = await open(t, [100, 100], true)
  await until(() => world.at(1).node.subscriptions === 1, 'the news come from the second')
  t.equal(world.at(0).node.subscriptions, 0)
  for (let at = 101; at <= 103; at++) {
    // The first has the block, too, until it falls silent.
    for (const node of world.nodes.slice(at === 103 ? 1 : 0)) node.height = at
    await world.clock.advance(1_000)
    world.at(1).announce()
    await until(() => world.head() === at, `the head ${at}, without a poll`)
  }
})

t.test('a slow one does not hold up the head', async (t) => {
  const world = await open(t, [100, 100])
  await world.block(101, 101)
  world.at(1).node.behaviour = 'hang'
  world.at(0).height = 102
  await world.clock.pass(POLL)
  await until(() => world.at(1).node.count('status') > 0 && world.clock.pending(1_000) > 0)
  t.equal(world.head(), 101)
  await world.clock.pass(1_000)
  await until(() => world.head() === 102, 'the head after a second')
})

t.test('a height that one does not have is asked of the next', async (t) => {
  const world = await open(t, [100, 100])
  world.at(0).missing.add(40)
  const block = await world.blocks.at(height(40), world.signal)
  t.ok(equal(block.hash, hashOf(40)))
  world.at(1).missing.add(41)
  await world.blocks.at(height(41), world.signal)
  for (const node of world.nodes) node.missing.add(42)
  await t.rejects(world.blocks.at(height(42), world.signal), {
    code: 'HEIGHT_UNAVAILABLE',
    retryable: true,
  })
  t.equal(world.state(0), 'ok', 'which is no fault')
})

t.test('news that do not come any more are asked of another', async (t) => {
  const world = await open(t, [100, 100], true)
  await until(() => world.at(1).node.subscriptions === 1, 'news come from the second')
  for (const node of world.nodes) node.height = 101
  world.at(1).announce()
  await until(() => world.head() === 101, 'the first news')
  for (let at = 102; at <= 110 && world.at(0).node.subscriptions === 0; at++)
    await world.block(at, at)
  await until(() => world.at(0).node.subscriptions === 1, 'news come from the first')
  t.ok(world.head() >= 104, 'after three heads that it had not told of')
})
