import { Comet38Client } from '@cosmjs/tendermint-rpc'
import t, { type Test } from 'tap'
import { hex, unhex } from '../../src/base/bytes.ts'
import { silentLog } from '../../src/base/log.ts'
import { type Bytes, height, ms } from '../../src/base/units.ts'
import { readBlock } from '../../src/chain/block.ts'
import { Json } from '../../src/chain/json.ts'
import { Rpc } from '../../src/chain/rpc.ts'
import { readStatus } from '../../src/chain/status.ts'
import { ManualClock } from '../support/clock.ts'
import {
  type Misbehaviour,
  RecordedNode,
  type Recording,
  RpcFailure,
  recordings,
  until,
} from '../support/recorded-node.ts'

const RPC = recordings('rpc').filter((recording) => 'method' in (recording.request ?? {}))
const ABCI = recordings<Recording & AbciRecording>('abci_query')

interface AbciRecording {
  readonly path: string
  readonly data_hex: string
  readonly height: number
  readonly value_hex: string | null
}

function named(name: string): Recording {
  const found = RPC.find((recording) => recording.name === name)
  if (found === undefined) throw new Error(`no recording ${name}`)
  return found
}

/** Nodes, in order of preference, and an Rpc over them. */
async function setUp(
  t: Test,
  nodeCount = 1,
  options: { paths?: string; bodyBytesMax?: number } = {},
) {
  const clock = new ManualClock()
  const nodes: RecordedNode[] = []
  for (let i = 0; i < nodeCount; i++) nodes.push((await RecordedNode.start()).play(...RPC))
  const rpc = new Rpc(
    { clock, random: () => 1, log: silentLog() },
    {
      endpoints: nodes.map(({ url }) => `${url}${options.paths ?? ''}`),
      timeout: ms(9_000),
      rest: ms(30_000),
      bodyBytesMax: (options.bodyBytesMax ?? 1_000_000) as Bytes,
    },
  )
  t.teardown(async () => {
    await rpc.close()
    for (const node of nodes) await node.close()
  })
  const [first, second = first] = nodes
  if (first === undefined || second === undefined) throw new Error('no node')
  return { clock, rpc, nodes, first, second }
}

t.test('every recorded answer comes back as its result, every refusal as an error', async (t) => {
  const { rpc, first } = await setUp(t)
  for (const recording of RPC) {
    const { name, request, response } = recording
    first.play(recording)
    const answer = rpc.call(request.method, request.params)
    if (response.error === undefined) t.strictSame(await answer, response.result, name)
    else
      await t.rejects(
        answer,
        { name: 'ChainError', code: /^(RPC_ERROR|HEIGHT_UNAVAILABLE)$/ },
        name,
      )
  }
})

t.test('a refusal keeps code and detail', async (t) => {
  const { rpc } = await setUp(t)
  const call = (name: string) => rpc.call(named(name).request.method, named(name).request.params)
  await t.rejects(call('tx_not_found'), {
    code: 'RPC_ERROR',
    data: { method: 'tx', code: -32603, detail: /^tx \(0+\) not found$/ },
    retryable: false,
  })
  await t.rejects(call('unknown_method'), {
    data: { code: -32601, detail: '' },
    message: 'nope: Method not found',
  })
  await t.rejects(call('block_height_as_number'), {
    code: 'RPC_ERROR',
    data: { code: -32602 },
  })
})

t.test('a height that is gone or still to come is named so', async (t) => {
  const { rpc } = await setUp(t)
  const expected: [name: string, retryable: boolean][] = [
    ['block_future', true],
    ['block_results_future', true],
    ['block_results_latest_plus_one', true],
    ['pruned_block', false],
    ['pruned_block_results', false],
    ['pruned_commit', false],
  ]
  for (const [name, retryable] of expected) {
    const { method, params } = named(name).request
    await t.rejects(rpc.call(method, params), { code: 'HEIGHT_UNAVAILABLE', retryable }, name)
  }
})

t.test('block results that are not written yet may be asked again', async (t) => {
  const { rpc, first } = await setUp(t)
  first.on('block_results', () => {
    throw new RpcFailure('could not find results for height #77')
  })
  await t.rejects(rpc.call('block_results', { height: '77' }), {
    code: 'HEIGHT_UNAVAILABLE',
    retryable: true,
  })
})

t.test('the status of a node', async (t) => {
  const { rpc } = await setUp(t)
  t.match(await rpc.status(), {
    chainId: 'pocket',
    height: 254,
    hash: unhex('EDA161721F18053C37D696C5E0AE382D7911F54CD114140685A2A42EE470025C'),
    time: Date.parse('2026-11-24T22:03:22.100Z'),
    catchingUp: false,
    earliest: 1,
    version: '0.38.22',
  })
})

t.test('a status that lacks a field names it', async (t) => {
  const fields = [
    'node_info.network',
    'node_info.version',
    'sync_info.latest_block_height',
    'sync_info.latest_block_hash',
    'sync_info.latest_block_time',
    'sync_info.earliest_block_height',
    'sync_info.catching_up',
  ]
  for (const path of fields) {
    const result = structuredClone(named('status').response.result) as Record<string, object>
    const [section = '', field = ''] = path.split('.')
    Reflect.set(result[section] ?? {}, field, 5)
    const wrong = { code: 'RESPONSE', data: { field: `result.${path}` } }
    t.throws(() => readStatus(result), wrong, `${path} of another type`)
    Reflect.deleteProperty(result[section] ?? {}, field)
    t.throws(() => readStatus(result), wrong, `${path} absent`)
  }
})

t.test('abci_query asks as recorded and gives the value', async (t) => {
  const { rpc, first } = await setUp(t)
  for (const { name, path, data_hex, value_hex, height: at, request, response, ...rest } of ABCI) {
    if (request.params['prove'] !== false || at < 0) continue
    first.play({ name, request, response })
    const answer = rpc.abciQuery(path, unhex(data_hex), at === 0 ? undefined : height(at))
    const code = codeOf(response)
    if (code === 0) t.equal(hex(await answer), value_hex ?? '', name)
    else await t.rejects(answer, { name: 'ChainError', data: { code } }, name)
    t.ok(rest)
  }
})

t.test('query errors by code', async (t) => {
  const { rpc, first } = await setUp(t)
  const expected: [name: string, code: string, retryable: boolean][] = [
    ['supplier_not_found', 'NOT_FOUND', false],
    ['claim_not_found', 'NOT_FOUND', false],
    ['future_height', 'HEIGHT_UNAVAILABLE', true],
    ['pruned_state', 'HEIGHT_UNAVAILABLE', false],
    ['account_bad_address', 'QUERY', false],
    ['unknown_path', 'QUERY', false],
    ['session_unknown_app', 'QUERY', false],
  ]
  for (const [name, code, retryable] of expected) {
    const recording = ABCI.find((one) => one.name === name)
    if (recording === undefined) throw new Error(name)
    first.play(recording)
    const at = recording.height === 0 ? undefined : height(recording.height)
    const log = new Json(recording.response, '').get('result').get('response').get('log').text()
    await t.rejects(
      rpc.abciQuery(recording.path, unhex(recording.data_hex), at),
      { code, retryable, message: log, data: { path: recording.path, log } },
      name,
    )
  }
})

const FAILURES: readonly Misbehaviour[] = [
  'error-500',
  'rate-limited',
  'redirect',
  'cut',
  'close',
  'html',
  'json-but-not-rpc',
  'wrong-id',
  'oversized',
]

t.test('an endpoint that fails is passed over', async (t) => {
  for (const behaviour of FAILURES) {
    const { rpc, first, second } = await setUp(t, 2)
    first.behaviour = behaviour
    t.equal((await rpc.status()).height, 254, behaviour)
    t.equal(first.count('status'), 1, `${behaviour}: asked once`)
    t.equal(second.count('status'), 1, `${behaviour}: the second answered`)
    t.equal(rpc.health[0]?.healthy, false, behaviour)
    t.equal(rpc.health[1]?.healthy, true, behaviour)
  }
})

t.test('when none answers, the last reason is told and no secret', async (t) => {
  const { rpc, first } = await setUp(t, 1, { paths: '/v1/secret-key?token=also' })
  first.behaviour = 'error-500'
  await t.rejects(rpc.status(), {
    code: 'RPC_UNREACHABLE',
    retryable: true,
    message: /^no endpoint answered status; 127\.0\.0\.1:\d+: HTTP status 500$/,
  })
  t.equal(first.paths[0], '/v1/secret-key?token=also')
  t.notMatch(JSON.stringify(rpc.health), /secret|also/)
})

t.test('nobody listens', async (t) => {
  const { rpc, first } = await setUp(t)
  await first.close()
  await t.rejects(rpc.status(), { code: 'RPC_UNREACHABLE', retryable: true })
})

t.test('an answer that does not come is waited for in shares of the time', async (t) => {
  for (const behaviour of ['hang', 'stall'] as const) {
    const { rpc, clock, first, second, nodes } = await setUp(t, 3)
    first.behaviour = behaviour
    second.behaviour = behaviour
    const status = rpc.status()
    await until(() => first.count('status') === 1, `${behaviour}: first`)
    await clock.advance(2_999)
    t.equal(second.count('status'), 0, `${behaviour}: the first has a third of the time`)
    await clock.advance(1)
    await until(() => second.count('status') === 1, `${behaviour}: second`)
    await clock.advance(3_000)
    t.equal((await status).height, 254, `${behaviour}: the third answers`)
    t.equal(nodes[2]?.count('status'), 1, behaviour)
  }
})

t.test('one round ends within the time for the call', async (t) => {
  const { rpc, clock, first } = await setUp(t)
  first.behaviour = 'hang'
  const call = t.rejects(rpc.status(), { code: 'RPC_UNREACHABLE', message: /within 9000 ms/ })
  await until(() => first.count('status') === 1)
  await clock.advance(9_000)
  await call
})

t.test('a failed endpoint rests, then it is preferred again', async (t) => {
  const { rpc, clock, first, second } = await setUp(t, 2)
  first.behaviour = 'close'
  await rpc.status()
  first.behaviour = 'none'
  await rpc.status()
  t.same([first.count('status'), second.count('status')], [1, 2], 'not asked while resting')
  await clock.advance(30_000)
  await rpc.status()
  t.same([first.count('status'), second.count('status')], [2, 2])
  t.equal(rpc.health[0]?.healthy, true)
})

t.test('resting endpoints are asked when no other answers', async (t) => {
  const { rpc, first, second } = await setUp(t, 2)
  first.behaviour = 'close'
  await rpc.status()
  first.behaviour = 'none'
  second.behaviour = 'close'
  t.equal((await rpc.status()).height, 254)
})

t.test('a refusal is an answer: no other endpoint is asked', async (t) => {
  const { rpc, first, second } = await setUp(t, 2)
  await t.rejects(rpc.call('nope', {}), { code: 'RPC_ERROR' })
  t.same([first.count('nope'), second.count('nope')], [1, 0])
  t.equal(rpc.health[0]?.healthy, true)
})

t.test('a refusal ends a rest', async (t) => {
  const { rpc, clock, first } = await setUp(t, 2)
  first.behaviour = 'close'
  await rpc.status()
  t.equal(rpc.health[0]?.failures, 1)
  first.behaviour = 'none'
  await clock.advance(30_000)
  await t.rejects(rpc.call('nope', {}), { code: 'RPC_ERROR' })
  t.match(rpc.health[0], { healthy: true, failures: 0 })
})

t.test('one endpoint by its number', async (t) => {
  const { rpc, first, second } = await setUp(t, 2)
  t.equal(rpc.endpointCount, 2)
  await rpc.callOn(1, 'health', {})
  t.same([first.count('health'), second.count('health')], [0, 1])
  second.behaviour = 'close'
  await t.rejects(rpc.callOn(1, 'health', {}), { code: 'RPC_UNREACHABLE' })
  t.equal(first.count('health'), 0, 'no fail-over')
})

t.test('an abort ends the call with its reason and blames nobody', async (t) => {
  const { rpc, first, second } = await setUp(t, 2)
  first.behaviour = 'hang'
  const reason = new Error('stopped')
  const controller = new AbortController()
  const call = t.rejects(rpc.status(controller.signal), reason)
  await until(() => first.count('status') === 1)
  controller.abort(reason)
  await call
  t.equal(second.count('status'), 0)
  t.equal(rpc.health[0]?.healthy, true)
  await t.rejects(rpc.status(AbortSignal.abort(reason)), reason)
  t.equal(first.count('status'), 1, 'an aborted caller asks nothing')
})

t.test('connections are kept and closed', async (t) => {
  const { rpc, first } = await setUp(t)
  for (let i = 0; i < 5; i++) await rpc.status()
  await rpc.close()
  await rpc.close()
  t.equal((await rpc.status()).height, 254, 'a later call connects anew')
  t.equal(first.count('status'), 6)
})

t.test('credentials of the address become a header', async (t) => {
  const { first } = await setUp(t)
  const url = first.url.replace('http://', 'http://user:p%40ss@')
  const deps = { clock: new ManualClock(), random: () => 0, log: silentLog() }
  const rpc = new Rpc(deps, { endpoints: [url] })
  await rpc.status()
  t.equal(first.authorizations.at(-1), `Basic ${Buffer.from('user:p@ss').toString('base64')}`)
  await rpc.close()
})

t.test('where blocks are announced', async (t) => {
  const deps = { clock: new ManualClock(), random: () => 0, log: silentLog() }
  const endpoints = ['http://a:26657', 'https://b/rpc/', 'https://c/rpc?key=1']
  t.strictSame(new Rpc(deps, { endpoints }).socketUrls, [
    'ws://a:26657/websocket',
    'wss://b/rpc/websocket',
    'wss://c/rpc/websocket?key=1',
  ])
})

t.test('cosmjs reads the same from the same recordings', async (t) => {
  const { rpc } = await setUp(t)
  const cosmjs = Comet38Client.create({
    execute: async ({ id, method, params }) => {
      const result = await rpc.call(method, params as Record<string, unknown>)
      return { jsonrpc: '2.0', id, result }
    },
    disconnect: () => {},
  })
  const theirs = await cosmjs.status()
  const ours = await rpc.status()
  t.equal(ours.height, theirs.syncInfo.latestBlockHeight)
  t.same(ours.hash, theirs.syncInfo.latestBlockHash)
  t.equal(ours.chainId, theirs.nodeInfo.network)
  for (const { name, request, response } of RPC) {
    if (response.result === undefined || !/^(block|commit)$/.test(request.method)) continue
    const at = Number(request.params['height'] ?? 254)
    const method = request.method === 'commit' ? 'commit' : 'block'
    const block = readBlock(method, response.result, height(at))
    const asked = request.params['height'] === undefined ? undefined : at
    if (method === 'commit') {
      const { commit, header } = await cosmjs.commit(asked)
      t.same(block.hash, commit.blockId.hash, name)
      t.equal(block.time, header.time.getTime(), name)
    } else {
      const { blockId, block: whole } = await cosmjs.block(asked)
      t.same(block.hash, blockId.hash, name)
      t.equal(block.time, whole.header.time.getTime(), name)
    }
  }
})

function codeOf(response: Recording['response']): number {
  const { response: inner } = (response.result ?? {}) as { response?: { code?: number } }
  return inner?.code ?? -1
}
