/** What one round over several endpoints comes to. */
import t, { type Test } from 'tap'
import { silentLog } from '../../src/base/log.ts'
import { height, ms } from '../../src/base/units.ts'
import { Rpc } from '../../src/chain/rpc.ts'
import { ManualClock } from '../support/clock.ts'
import { LyingNode } from '../support/lying-node.ts'
import { type RecordedNode, RpcFailure } from '../support/recorded-node.ts'

/** Two nodes at height 254, the first one preferred. */
async function setUp(t: Test) {
  const clock = new ManualClock()
  const [one, other] = [await LyingNode.start(254), await LyingNode.start(254)]
  const [first, second] = [one.node, other.node]
  const rpc = new Rpc(
    { clock, random: () => 1, log: silentLog() },
    { endpoints: [first.url, second.url], timeout: ms(9_000), rest: ms(30_000) },
  )
  t.teardown(async () => {
    await rpc.close()
    for (const node of [first, second]) await node.close()
  })
  return { clock, rpc, first, second, other }
}

t.test('an answer that cannot be read is asked of the next', async (t) => {
  const { rpc, first, second } = await setUp(t)
  for (const result of [{}, [], 'ok', 5, { node_info: {}, sync_info: {} }]) {
    first.on('status', () => result)
    const name = JSON.stringify(result)
    t.equal((await rpc.status()).height, 254, name)
    t.match(
      rpc.health[0],
      { healthy: false, state: 'no-answer', reason: /^no answer: result/ },
      name,
    )
    first.on('health', () => ({}))
    await rpc.callOn(0, 'health', {})
  }
  second.on('status', () => ({}))
  await t.rejects(rpc.status(), { code: 'RESPONSE' }, 'when none can be read, that is said')
  first.on('abci_query', () => ({ response: { code: 0, value: '!!', height: '5' } }))
  second.on('abci_query', () => ({ response: { code: 0, value: 'AQI=', height: '5' } }))
  const value = await rpc.abciQuery('/x', new Uint8Array(0), undefined)
  t.strictSame(value, new Uint8Array([1, 2]))
})

/** What a node says that lacks a height, and whether it may come. */
const LACKS = {
  pruned: () => new RpcFailure('height 3 is not available, lowest height is 50'),
  discarded: () => new RpcFailure('node is not persisting finalize block responses'),
  late: () => new RpcFailure('could not find results for height #77'),
} as const

t.test('a height that one endpoint lacks is asked of the next', async (t) => {
  for (const [name, failure] of Object.entries(LACKS)) {
    const { rpc, first, second } = await setUp(t)
    first.on('block_results', () => {
      throw failure()
    })
    second.on('block_results', () => ({ found: true }))
    t.strictSame(await rpc.call('block_results', {}), { found: true }, name)
    t.equal(rpc.health[0]?.state, 'ok', `${name}: no fault of the endpoint`)
  }
})

t.test('a height that no endpoint has is final only if all were asked and none will', async (t) => {
  const { rpc, first, second } = await setUp(t)
  const says = (node: RecordedNode, failure: () => RpcFailure) =>
    node.on('block_results', () => {
      throw failure()
    })
  const rejects = (retryable: boolean, what: string) =>
    t.rejects(rpc.call('block_results', {}), { code: 'HEIGHT_UNAVAILABLE', retryable }, what)
  says(first, LACKS.pruned)
  says(second, LACKS.discarded)
  await rejects(false, 'neither keeps it')
  says(second, LACKS.late)
  await rejects(true, 'one has not written it yet')
  says(first, LACKS.late)
  says(second, LACKS.pruned)
  await rejects(true, 'in whatever order')
  says(first, LACKS.pruned)
  second.behaviour = 'close'
  await rejects(true, 'one that is away may have it')
})

t.test('a session that one node has not reached is asked of the next', async (t) => {
  const { rpc, first, second } = await setUp(t)
  const log =
    'rpc error: code = Internal desc = block height 255 is ahead of the last committed block height 254'
  const refusal = { code: 6, codespace: 'sdk', log, value: null, height: '254' }
  first.on('abci_query', () => ({ response: refusal }))
  second.on('abci_query', () => ({ response: { code: 0, value: 'AQI=', height: '255' } }))
  t.equal((await rpc.abciQuery('/x', new Uint8Array(0), undefined)).length, 2)
  second.on('abci_query', () => ({ response: refusal }))
  await t.rejects(rpc.abciQuery('/x', new Uint8Array(0), undefined), {
    code: 'HEIGHT_UNAVAILABLE',
    retryable: true,
  })
})

t.test('who is known to have a height is asked for it first', async (t) => {
  const { rpc, first, second, other } = await setUp(t)
  other.height = 255
  await rpc.statusOn(0)
  await rpc.statusOn(1)
  for (const node of [first, second]) node.on('commit', () => ({}))
  const ask = (at: number) => rpc.ask('commit', {}, () => 0, { at: height(at) })
  await ask(254)
  await ask(255)
  t.same([first.count('commit'), second.count('commit')], [1, 1])
})

t.test('one that fails again and again rests longer', async (t) => {
  const { rpc, clock, first } = await setUp(t)
  first.behaviour = 'close'
  for (const [failures, rest] of [30_000, 60_000, 120_000, 240_000, 240_000].entries()) {
    await rpc.status()
    t.equal(first.count('status'), failures + 1, `failure ${failures + 1}`)
    await clock.advance(rest - 1)
    await rpc.status()
    t.equal(first.count('status'), failures + 1, 'not asked while resting')
    await clock.advance(1)
  }
})
