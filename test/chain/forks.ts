/** Endpoints that tell of different blocks of one height: who is believed. */
import t from 'tap'
import { equal, hex } from '../../src/base/bytes.ts'
import { height } from '../../src/base/units.ts'
import { hashOf } from '../support/lying-node.ts'
import { hashAt, isWhole, open } from '../support/several-nodes.ts'

t.test('of three the two that agree are believed, whoever is first', async (t) => {
  for (const liar of [0, 1, 2]) {
    const world = await open(t, [100, 100, 100])
    await world.block(101, 101, 101)
    world.at(liar).forkedFrom = 102
    for (let at = 102; at <= 104; at++) await world.block(at, at, at)
    t.equal(world.head(), 104, `${liar}`)
    t.match(world.rpc.health[liar], { state: 'disagrees', reason: 'disagrees at height 102' })
    for (const { height: at, hash } of world.got)
      t.ok(equal(hash, hashOf(at)), `block ${at} is the right one`)
    t.ok(
      world.logged.includes('error chain endpoint is not believed disagrees at height 102'),
      world.logged.join('\n'),
    )
    const before = world.at(liar).node.count('commit')
    await world.block(105, 105, 105)
    t.equal(world.at(liar).node.count('commit'), before, 'nothing more is asked of it')
    world.at(liar).forkedFrom = Number.POSITIVE_INFINITY
    await world.block(106, 106, 106)
    t.equal(world.state(liar), 'ok', 'back on our chain it is believed again')
  }
})

t.test('a block believed too early is corrected when two know it otherwise', async (t) => {
  const world = await open(t, [100, 100, 100])
  await world.block(101, 101, 101)
  world.at(0).forkedFrom = 102
  await world.block(102, 101, 101)
  await world.block(103, 101, 101)
  t.equal(await hashAt(world, 102), hex(hashOf(102, 'fork ')), 'nobody else had it')
  await world.block(104, 104, 104)
  t.equal(world.state(0), 'disagrees')
  t.equal(world.head(), 104)
  t.equal(await hashAt(world, 102), hex(hashOf(102)), 'the seed of a proof is the right one now')
  t.equal(await hashAt(world, 103), hex(hashOf(103)))
  t.ok(world.logged.includes('error a block that was believed was wrong'))
  t.ok(isWhole(world.got))
})

t.test('of two, the one whose blocks do not follow ours is not believed', async (t) => {
  for (const liar of [0, 1]) {
    const world = await open(t, [100, 100])
    await world.block(101, 101)
    world.at(liar).forkedFrom = 90
    await world.block(102, 102)
    await world.block(103, 103)
    t.equal(world.state(liar), 'disagrees', `${liar}`)
    t.equal(world.head(), 103)
    t.equal(await hashAt(world, 103), hex(hashOf(103)), `${liar}`)
  }
})

t.test('of two, the one that contradicts itself is not believed', async (t) => {
  for (const liar of [0, 1]) {
    const world = await open(t, [100, 100])
    await world.block(101, 101)
    world.at(liar).lies.add(102)
    await world.block(102, 102)
    await world.block(103, 103)
    t.ok(
      world.logged.includes('error chain endpoint is not believed disagrees at height 102'),
      world.logged.join('\n'),
    )
    t.equal(await hashAt(world, 102), hex(hashOf(102)), `${liar}`)
    t.equal(await hashAt(world, 103), hex(hashOf(103)), `${liar}`)
    t.same([world.state(0), world.state(1)], ['ok', 'ok'], 'later blocks are the same')
  }
})

t.test('of two forks of one parent the longer one is believed', async (t) => {
  const world = await open(t, [100, 100])
  await world.block(101, 101)
  world.at(0).forkedFrom = 102
  await world.block(102, 102)
  t.equal(world.state(1), 'disagrees', 'as long as both are as long, the first is')
  for (let at = 103; at <= 106; at++) await world.block(102, at)
  t.equal(world.head(), 106)
  t.same([world.state(0), world.state(1)], ['disagrees', 'ok'])
  t.equal(await hashAt(world, 102), hex(hashOf(102)))
  t.ok(isWhole(world.got), 'each height came once')
})

t.test('one that contradicts itself alone is followed, and it is said', async (t) => {
  const world = await open(t, [100])
  world.at(0).lies.add(101)
  await world.block(101)
  await world.block(102)
  t.equal(world.head(), 102)
  t.equal(await hashAt(world, 102), hex(hashOf(102)))
  t.match(world.logged, [/^error the chain endpoint contradicts itself/])
})

t.test('a block that does not fit those around it is asked of the next', async (t) => {
  const world = await open(t, [100, 100])
  await world.block()
  world.at(0).lies.add(99)
  t.ok(equal((await world.blocks.at(height(99), world.signal)).hash, hashOf(99)))
  world.at(1).lies.add(98)
  world.at(0).lies.add(98)
  await t.rejects(world.blocks.at(height(98), world.signal), { code: 'FORK', retryable: true })
})

t.test('one that was wrong is heard again when there is nobody else', async (t) => {
  const world = await open(t, [100, 100])
  await world.block(101, 101)
  world.at(1).forkedFrom = 102
  for (let at = 102; at <= 104; at++) await world.block(at, at)
  t.equal(world.state(1), 'disagrees')
  world.at(0).node.behaviour = 'close'
  await world.block(105, 106)
  t.equal(world.head(), 104, 'a fork is not followed, though nobody else answers')
  await t.rejects(world.rpc.call('commit', { height: '100' }), { code: 'RPC_UNREACHABLE' })
  world.at(1).forkedFrom = Number.POSITIVE_INFINITY
  await world.block(105, 107)
  await world.block(105, 108)
  t.equal(world.state(1), 'ok', 'it has our head now')
  t.equal(world.head(), 108)
  t.ok(isWhole(world.got))
})

t.test('a fork that is behind is seen as well', async (t) => {
  const world = await open(t, [100, 100])
  await world.block(101, 101)
  world.at(1).forkedFrom = 100
  await world.block(103, 101)
  t.equal(world.state(1), 'disagrees')
  t.equal(world.state(0), 'ok')
})

t.test('one whose own blocks do not follow each other is not followed', async (t) => {
  const world = await open(t, [100, 100])
  for (let at = 101; at <= 103; at++) await world.block(at, at)
  world.at(1).lies.add(105)
  for (let turn = 0; turn < 4; turn++) await world.block(103, 106)
  t.equal(world.head(), 103)
  t.match(world.rpc.health[1], { state: 'disagrees', reason: 'disagrees at height 105' })
  await world.block(106, 107)
  t.equal(world.head(), 106)
  t.ok(isWhole(world.got))
})

t.test('one whose status names another block than it has is not followed', async (t) => {
  const world = await open(t, [100, 100])
  await world.block(101, 101)
  world.at(0).slips.add(102)
  await world.block(102, 101)
  t.match(world.rpc.health[0], { state: 'disagrees', reason: 'disagrees at height 102' })
  t.equal(world.head(), 101)
  await world.block(102, 102)
  t.equal(world.head(), 102)
})

t.test('one voice alone decides nothing while another could be heard', async (t) => {
  const world = await open(t, [100, 100])
  await world.block(101, 101)
  world.at(1).forkedFrom = 101
  world.at(0).missing.add(101)
  await world.block(101, 101)
  await world.block(101, 101)
  t.same([world.state(0), world.state(1)], ['ok', 'ok'], 'the first does not find its block')
  t.equal(await hashAt(world, 101), hex(hashOf(101)), 'what was believed still is')
  world.at(0).missing.clear()
  await world.block(101, 101)
  t.same([world.state(0), world.state(1)], ['ok', 'disagrees'])
})

t.test('a long way from a wrong block back to the right chain', async (t) => {
  const world = await open(t, [100, 100])
  await world.block(101, 101)
  world.at(0).forkedFrom = 102
  await world.block(102, 101)
  t.equal(await hashAt(world, 102), hex(hashOf(102, 'fork ')), 'the first was believed')
  for (const { node } of world.nodes) node.behaviour = 'close'
  await world.block()
  world.at(0).forkedFrom = Number.POSITIVE_INFINITY
  for (const { node } of world.nodes) node.behaviour = 'none'
  await world.block(150, 150)
  t.equal(world.head(), 150)
  t.equal(await hashAt(world, 103), hex(hashOf(103)), 'the next one is had from all')
  t.equal(await hashAt(world, 102), hex(hashOf(102)), 'and the wrong one is corrected')
  t.ok(isWhole(world.got), 'no height is missed')
  t.ok(world.logged.includes('error a block that was believed was wrong'))
})

t.test('who is right may be behind the wrong head', async (t) => {
  const world = await open(t, [100, 100, 100])
  await world.block(101, 101, 101)
  world.at(0).forkedFrom = 102
  await world.block(103, 101, 101)
  await world.block(103, 102, 102)
  t.equal(world.state(0), 'disagrees')
  t.equal(world.head(), 103, 'the head does not go back')
  t.equal(await hashAt(world, 102), hex(hashOf(102)))
  await world.block(104, 104, 104)
  t.equal(world.head(), 104)
  t.equal(await hashAt(world, 103), hex(hashOf(103)))
  t.ok(isWhole(world.got))
})
