import t, { type Test } from 'tap'
import { hex } from '../../src/base/bytes.ts'
import { systemClock } from '../../src/base/clock.ts'
import { silentLog } from '../../src/base/log.ts'
import { height, ms } from '../../src/base/units.ts'
import { readBlock } from '../../src/chain/block.ts'
import { type Block, Blocks, type BlocksOptions } from '../../src/chain/blocks.ts'
import { Rpc } from '../../src/chain/rpc.ts'
import { hashOf, LyingNode, momentOf, timeOf } from '../support/lying-node.ts'
import { RecordedNode, RpcFailure, recordings, until } from '../support/recorded-node.ts'
import { WatchedClock } from '../support/watched-clock.ts'

const POLL = ms(3_000)

interface World {
  readonly clock: WatchedClock
  readonly node: RecordedNode
  readonly chain: LyingNode
  readonly blocks: Blocks
  readonly signal: AbortSignal
  readonly warnings: string[]
  stop(): Promise<void>
  /** Moves the clock by one poll and waits until the look that it causes is over. */
  poll(): Promise<void>
}

async function setUp(t: Test, options: Partial<BlocksOptions> = {}, start = 100): Promise<World> {
  const clock = new WatchedClock()
  const node = await RecordedNode.start()
  const chain = new LyingNode(node, start)
  const warnings: string[] = []
  const log = silentLog()
  log.warn = (...parts: unknown[]) => void warnings.push(String(parts[1]))
  const deps = { clock, random: () => 1, log }
  const rpc = new Rpc(deps, { endpoints: [node.url], timeout: ms(60_000) })
  const blocks = new Blocks({ rpc, ...deps }, { subscribe: false, ...options })
  const controller = new AbortController()
  const running = blocks.run(controller.signal)
  const stop = async () => {
    controller.abort(new Error('stopped'))
    await running
  }
  t.teardown(async () => {
    await stop()
    await rpc.close()
    await node.close()
  })
  const poll = async () => {
    await until(() => clock.pending(POLL) > 0, 'a pause')
    const before = clock.begun(POLL)
    await clock.advance(POLL)
    await until(() => clock.begun(POLL) > before, 'the next pause')
  }
  return { clock, node, chain, blocks, signal: controller.signal, warnings, stop, poll }
}

async function take(blocks: AsyncIterator<Block>, count: number): Promise<number[]> {
  const heights: number[] = []
  for (let i = 0; i < count; i++) {
    const { value } = await blocks.next()
    heights.push(value.height)
  }
  return heights
}

t.test('recorded blocks: the hash of exactly that height, and its time', async (t) => {
  let read = 0
  for (const { name, request, response } of recordings('rpc')) {
    const { method = '', params = {} } = request ?? {}
    if (!/^(block|commit)$/.test(method) || response.result === undefined) continue
    const result = response.result as {
      block_id?: { hash: string }
      block?: { header: { time: string; height: string } }
      signed_header?: { commit: { block_id: { hash: string } }; header: { time: string } }
    }
    const at = height(Number(params['height'] ?? result.block?.header.height))
    const block = readBlock(method === 'commit' ? 'commit' : 'block', response.result, at)
    const hash = result.block_id?.hash ?? result.signed_header?.commit.block_id.hash
    const time = result.block?.header.time ?? result.signed_header?.header.time ?? ''
    t.equal(hex(block.hash).toUpperCase(), hash, name)
    t.equal(block.time, Date.parse(`${time.slice(0, 23)}Z`), name)
    t.equal(block.height, at, name)
    const other = height(at + 1)
    t.throws(
      () => readBlock(method === 'commit' ? 'commit' : 'block', response.result, other),
      { code: 'RESPONSE' },
      `${name}: is not the block of another height`,
    )
    read++
  }
  t.ok(read >= 8, `${read} blocks`)
})

t.test('commit and header of the same height agree', async (t) => {
  const find = (name: string) => recordings('rpc').find((one) => one.name === name)?.response.result
  const block = readBlock('commit', find('commit'), height(75))
  const { header } = find('header') as { header: { time: string } }
  t.equal(block.time, Date.parse(`${header.time.slice(0, 23)}Z`))
})

t.test('the head is found and moves', async (t) => {
  const { blocks, chain, poll } = await setUp(t)
  t.equal(blocks.head(), undefined)
  await until(() => blocks.head() !== undefined)
  t.match(blocks.head(), { height: 100, hash: hashOf(100), time: momentOf(100) })
  t.equal(blocks.chainId, 'pocket')
  chain.height = 101
  await poll()
  t.equal(blocks.head()?.height, 101)
})

t.test('every height in order and once, gaps filled', async (t) => {
  const { blocks, chain, poll, signal, node } = await setUp(t)
  const follower = blocks.follow(signal)
  t.strictSame(await take(follower, 1), [100], 'begins with the head')
  chain.height = 107
  await poll()
  t.strictSame(await take(follower, 7), [101, 102, 103, 104, 105, 106, 107])
  t.equal(node.count('commit'), 8, 'each block is fetched once')
})

t.test('consumers have their own pace', async (t) => {
  const { blocks, chain, poll, signal, node } = await setUp(t)
  const quick = blocks.follow(signal)
  const slow = blocks.follow(signal)
  await take(slow, 1)
  await take(quick, 1)
  for (let at = 101; at <= 110; at++) {
    chain.height = at
    await poll()
    t.strictSame(await take(quick, 1), [at])
  }
  t.strictSame(await take(slow, 10), [101, 102, 103, 104, 105, 106, 107, 108, 109, 110])
  t.equal(node.count('commit'), 11, 'the slow one reads what is kept')
})

t.test('a consumer may begin in the past or in the future', async (t) => {
  const { blocks, chain, poll, signal } = await setUp(t)
  await until(() => blocks.head() !== undefined)
  t.strictSame(await take(blocks.follow(signal, height(97)), 5 - 1), [97, 98, 99, 100])
  const early = take(blocks.follow(signal, height(102)), 1)
  chain.height = 103
  await poll()
  t.strictSame(await early, [102])
})

t.test('two consumers of the same gap ask once', async (t) => {
  const { blocks, signal, node } = await setUp(t)
  await until(() => blocks.head() !== undefined)
  const both = [blocks.follow(signal, height(50)), blocks.follow(signal, height(50))]
  await Promise.all(both.map((follower) => take(follower, 3)))
  t.equal(node.count('commit'), 1 + 3)
})

t.test('a node that goes back is not followed', async (t) => {
  const { blocks, chain, poll, signal, warnings } = await setUp(t)
  const follower = blocks.follow(signal)
  await take(follower, 1)
  for (const at of [99, 90, 90]) {
    chain.height = at
    await poll()
    t.equal(blocks.head()?.height, 100, `the node is at ${at}`)
  }
  t.strictSame(warnings, ['the head of the chain is not known'], 'said once')
  chain.height = 101
  await poll()
  t.strictSame(await take(follower, 1), [101], 'and no height comes twice')
})

t.test('a node that replays old blocks is not followed', async (t) => {
  const { blocks, chain, poll } = await setUp(t)
  await until(() => blocks.head() !== undefined)
  chain.catchingUp = true
  chain.height = 200
  await poll()
  await poll()
  t.equal(blocks.head()?.height, 100)
  chain.catchingUp = false
  await poll()
  t.equal(blocks.head()?.height, 200)
})

t.test('a node of another chain is not followed', async (t) => {
  const { blocks, chain, poll } = await setUp(t)
  await until(() => blocks.head() !== undefined)
  chain.chainId = 'pocket-beta'
  chain.height = 200
  await poll()
  await poll()
  t.equal(blocks.head()?.height, 100)
  t.equal(blocks.chainId, 'pocket')
})

t.test('a node that fails is asked again', async (t) => {
  const { blocks, chain, node, poll, warnings } = await setUp(t)
  await until(() => blocks.head() !== undefined)
  for (const behaviour of ['error-500', 'html', 'close'] as const) {
    node.behaviour = behaviour
    chain.height++
    await poll()
    t.equal(blocks.head()?.height, chain.height - 1, behaviour)
    node.behaviour = 'none'
    await poll()
    t.equal(blocks.head()?.height, chain.height, behaviour)
  }
  t.ok(warnings.length > 0)
})

t.test('a block that is known to exist is asked for until it comes', async (t) => {
  const { blocks, chain, clock, signal, node } = await setUp(t)
  await until(() => blocks.head() !== undefined)
  chain.missing.add(60)
  const found = blocks.waitFor(height(60), signal)
  for (let attempt = 1; attempt <= 3; attempt++) {
    await until(() => node.count('commit') === 1 + attempt, `attempt ${attempt}`)
    if (attempt === 3) chain.missing.clear()
    await clock.pass(250 * 2 ** (attempt - 1))
  }
  t.equal((await found).height, 60)
})

t.test('a pruned height ends the stream with an error', async (t) => {
  const { blocks, node, signal } = await setUp(t)
  await until(() => blocks.head() !== undefined)
  node.on('commit', () => {
    throw new RpcFailure('height 3 is not available, lowest height is 50')
  })
  await t.rejects(blocks.follow(signal, height(3)).next(), {
    code: 'HEIGHT_UNAVAILABLE',
    retryable: false,
  })
})

t.test('at() says when there is no such block yet', async (t) => {
  const { blocks } = await setUp(t)
  await t.rejects(blocks.at(height(500)), { code: 'HEIGHT_UNAVAILABLE', retryable: true })
  t.equal((await blocks.at(height(42))).height, 42)
})

t.test('blocks kept are limited', async (t) => {
  const { blocks, node } = await setUp(t, { keptMax: 2 })
  await until(() => blocks.head() !== undefined)
  for (const at of [10, 11, 12, 12, 11, 10]) await blocks.at(height(at))
  t.equal(node.count('commit'), 1 + 4, 'only the oldest is fetched again')
})

t.test('a node without commit is asked for whole blocks', async (t) => {
  const { blocks, node } = await setUp(t)
  await until(() => blocks.head() !== undefined)
  node.on('commit', () => {
    throw new RpcFailure('', -32601)
  })
  node.on('block', ({ height: at }) => {
    const last = { hash: hex(hashOf(Number(at) - 1)) }
    const header = { height: at, time: timeOf(Number(at)), last_block_id: last }
    return { block_id: { hash: hex(hashOf(Number(at))) }, block: { header } }
  })
  t.strictSame((await blocks.at(height(20))).hash, new Uint8Array(hashOf(20)))
  await blocks.at(height(21))
  t.same([node.count('commit'), node.count('block')], [2, 2], 'commit is not tried again')
})

t.test('stopping ends every wait with the reason', async (t) => {
  const { blocks, signal, stop } = await setUp(t)
  const follower = blocks.follow(signal)
  await take(follower, 1)
  const waits = [
    t.rejects(follower.next(), { message: 'stopped' }),
    t.rejects(blocks.waitFor(height(1_000), signal), { message: 'stopped' }),
  ]
  await stop()
  await Promise.all(waits)
  await t.rejects(blocks.waitFor(height(1_000), signal), signal.reason)
})

t.test('one consumer may stop alone', async (t) => {
  const { blocks, chain, poll, signal } = await setUp(t)
  const controller = new AbortController()
  const leaver = blocks.follow(controller.signal)
  const stayer = blocks.follow(signal)
  await take(leaver, 1)
  await take(stayer, 1)
  const leaving = leaver.next()
  const staying = take(stayer, 1)
  controller.abort(new Error('enough'))
  await t.rejects(leaving, { message: 'enough' })
  chain.height = 101
  await poll()
  t.strictSame(await staying, [101])
})

t.test('an announced block is looked at without waiting for the poll', async (t) => {
  const { blocks, chain, node } = await setUp(t, { subscribe: true })
  await until(() => blocks.head() !== undefined && node.subscriptions === 1)
  for (let at = 101; at <= 105; at++) {
    chain.height = at
    chain.announce()
    await until(() => blocks.head()?.height === at, `head ${at}`)
  }
  chain.announce(50)
  t.equal(blocks.head()?.height, 105)
})

t.test('news that status does not know yet is looked for soon again', async (t) => {
  const { blocks, chain, node, clock } = await setUp(t, { subscribe: true })
  await until(() => blocks.head() !== undefined && node.subscriptions === 1)
  const before = node.count('status')
  chain.announce(101)
  await until(() => node.count('status') === before + 1)
  chain.height = 101
  await clock.pass(250)
  await until(() => blocks.head()?.height === 101)
})

t.test('recorded pushes are understood', async (t) => {
  const frames = recordings<unknown>('ws') as unknown as { frames: Record<string, unknown>[] }
  const { blocks, chain, node } = await setUp(t, { subscribe: true }, 2)
  await until(() => blocks.head() !== undefined && node.subscriptions === 1)
  let pushed = 0
  for (const frame of frames.frames) {
    const { query, data } = (frame['result'] ?? {}) as { query?: string; data?: object }
    if (query !== "tm.event='NewBlockHeader'" || data === undefined) continue
    const { value } = data as { value?: { header: { height: string } } }
    chain.height = Number(value?.header.height)
    node.push({ ...frame, id: 1 })
    await until(() => blocks.head()?.height === chain.height, `height ${chain.height}`)
    pushed++
  }
  t.ok(pushed >= 8, `${pushed} headers`)
  t.equal(node.subscriptions, 1, 'none of them broke the connection')
})

t.test('without a socket polling goes on, and the socket comes back', async (t) => {
  const { blocks, chain, node, poll } = await setUp(t, { subscribe: true })
  await until(() => blocks.head() !== undefined && node.subscriptions === 1)
  node.socketBehaviour = 'refuse'
  node.dropSockets()
  await until(() => node.socketCount === 0)
  for (let at = 101; at <= 103; at++) {
    chain.height = at
    await poll()
    t.equal(blocks.head()?.height, at)
  }
  node.socketBehaviour = 'accept'
  for (let turn = 0; node.subscriptions === 1 && turn < 200; turn++) {
    await poll()
    await systemClock.sleep(ms(2))
  }
  await until(() => node.subscriptions === 2, 'a new subscription')
  chain.height = 104
  chain.announce()
  await until(() => blocks.head()?.height === 104)
})

t.test('frames that make no sense end the connection, not the stream', async (t) => {
  const frames: [id: string, frame: unknown][] = [
    ['no JSON', 'null and void'],
    ['no object', '[]'],
    ['an error', { id: 1, error: { code: -32603, data: 'subscription was cancelled' } }],
    ['a height of another type', { result: { data: { value: { header: { height: 7 } } } } }],
  ]
  for (const [id, frame] of frames) {
    const { blocks, node, clock } = await setUp(t, { subscribe: true })
    await until(() => blocks.head() !== undefined && node.subscriptions === 1, id)
    node.push(frame)
    await until(() => node.socketCount === 0, id)
    await clock.pass(500)
    await until(() => node.subscriptions === 2, id)
    t.equal(blocks.head()?.height, 100, id)
  }
})

t.test('a subscription that says nothing is renewed', async (t) => {
  const { blocks, chain, node, poll, clock } = await setUp(t, { subscribe: true })
  await until(() => blocks.head() !== undefined && node.subscriptions === 1)
  for (let at = 101; node.socketCount > 0 && at < 150; at++) {
    if (at <= 102) t.equal(node.socketCount, 1, `still there before ${at}`)
    chain.height = at
    await poll()
    t.equal(blocks.head()?.height, at)
    await systemClock.sleep(ms(2))
  }
  await until(() => node.socketCount === 0, 'the silent connection to go')
  await clock.pass(500)
  await until(() => node.subscriptions === 2)
})

t.test('where one endpoint has no socket, the next is tried', async (t) => {
  const clock = new WatchedClock()
  const [proxy, node] = [await RecordedNode.start(), await RecordedNode.start()]
  for (const one of [proxy, node]) new LyingNode(one, 100)
  proxy.socketBehaviour = 'refuse'
  const deps = { clock, random: () => 1, log: silentLog() }
  const rpc = new Rpc(deps, { endpoints: [node.url, proxy.url], timeout: ms(60_000) })
  const blocks = new Blocks({ rpc, ...deps })
  const controller = new AbortController()
  const running = blocks.run(controller.signal)
  t.teardown(async () => {
    controller.abort(new Error('stopped'))
    await running
    await rpc.close()
    await proxy.close()
    await node.close()
  })
  await clock.pass(500)
  await until(() => node.subscriptions === 1, 'a subscription at the first')
})

t.test('a node that does not accept a subscription is given up in time', async (t) => {
  const { blocks, node, clock } = await setUp(t, { subscribe: true })
  await until(() => blocks.head() !== undefined && node.subscriptions === 1)
  node.socketBehaviour = 'mute'
  node.dropSockets()
  await clock.pass(500)
  await until(() => node.socketCount === 1, 'a connection without subscription')
  await clock.pass(10_000)
  await until(() => node.socketCount === 0, 'its end')
  node.socketBehaviour = 'error'
  await clock.pass(1_000)
  await until(() => node.subscriptions === 2, 'a refused subscription')
  await until(() => node.socketCount === 0, 'its end too')
  t.equal(blocks.head()?.height, 100)
})
