/** Every answer has the shape of what a real node was recorded to answer. */
import { connect } from 'node:net'
import t, { type Test } from 'tap'
import { base64, hex, unbase64 } from '../../src/base/bytes.ts'
import { silentLog } from '../../src/base/log.ts'
import { DevnetRpc, type DevnetRpcOptions } from '../../src/devnet/rpc.ts'
import { QueryParamsResponse } from '../../src/protocol/gen/pocket/shared/shared.ts'
import { Simchain } from '../support/simchain.ts'
import { json } from '../support/vectors.ts'

interface Recording {
  readonly name: string
  readonly request?: { readonly method: string; readonly params: Record<string, unknown> }
  readonly uri?: string
  readonly http_status: number
  readonly response: Record<string, unknown>
}

const recordings = json<Recording[]>('chain/rpc.json')

function recorded(name: string): Recording {
  const found = recordings.find((one) => one.name === name)
  if (found === undefined) throw new RangeError(`no recording ${name}`)
  return found
}

/**
 * Names, nesting and kinds of values: what a client relies on. Of a list, the first item speaks for all;
 * a text that is a number is told from other text.
 */
function shape(value: unknown): unknown {
  if (value === null) return 'null'
  if (Array.isArray(value)) return value.length === 0 ? [] : [shape(value[0])]
  if (typeof value === 'object')
    return Object.fromEntries(
      Object.entries(value)
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([key, part]) => [key, shape(part)]),
    )
  if (typeof value !== 'string') return typeof value
  if (/^-?\d+$/.test(value)) return 'digits'
  if (/^[0-9A-F]{40,64}$/.test(value)) return `hex of ${value.length}`
  return /^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(value) ? 'time' : 'text'
}

async function started(t: Test, chain: Simchain, options: Partial<DevnetRpcOptions> = {}) {
  const { devnet, clock } = chain
  const rpc = new DevnetRpc({ devnet, clock, log: silentLog() }, options)
  t.teardown(() => rpc.stop())
  const url = await rpc.start()
  const post = async (body: unknown) => {
    const response = await fetch(url, { method: 'POST', body: JSON.stringify(body) })
    const type = response.headers.get('content-type')
    return {
      status: response.status,
      type,
      body: (await response.json()) as Record<string, unknown>,
    }
  }
  const call = (method: string, params: Record<string, unknown> = {}) =>
    post({ jsonrpc: '2.0', id: 1, method, params })
  const get = async (path: string) => {
    const response = await fetch(url + path)
    return { status: response.status, body: (await response.json()) as Record<string, unknown> }
  }
  return { rpc, url, post, call, get }
}

/** A chain with a claim in block 10: transactions, events, several blocks. */
async function busy(): Promise<{ chain: Simchain; hash: string }> {
  const chain = new Simchain()
  await chain.mineTo(5)
  const header = chain.header()
  const relays = chain.relays(header, 2)
  await chain.mineTo(9)
  const { hash } = await chain.run(chain.operator, [await chain.claim(header, relays)], {
    ordered: true,
  })
  await chain.mineTo(12)
  return { chain, hash }
}

t.test('answers have the shape of recorded ones', async (t) => {
  const { chain, hash } = await busy()
  const { call } = await started(t, chain)
  const hash64 = base64(Uint8Array.from(Buffer.from(hash, 'hex')))
  const block = { height: '10' }
  const cases: [recording: string, method: string, params: Record<string, unknown>][] = [
    ['status', 'status', {}],
    ['health', 'health', {}],
    ['abci_info', 'abci_info', {}],
    ['net_info', 'net_info', {}],
    ['consensus_params', 'consensus_params', block],
    ['block_A_73', 'block', block],
    ['block_latest', 'block', {}],
    ['header', 'header', block],
    ['commit', 'commit', block],
    ['blockchain', 'blockchain', { minHeight: '9', maxHeight: '10' }],
    ['block_results_empty', 'block_results', { height: '9' }],
    ['block_results_A_73', 'block_results', block],
    ['tx_claim', 'tx', { hash: hash64 }],
    [
      'block_by_hash',
      'block_by_hash',
      { hash: base64(chain.devnet.block(10)?.hash ?? new Uint8Array()) },
    ],
    ['unconfirmed_txs', 'unconfirmed_txs', { limit: '2' }],
    ['num_unconfirmed_txs', 'num_unconfirmed_txs', {}],
    ['validators', 'validators', block],
    ['unknown_method', 'nope', {}],
    ['block_future', 'block', { height: '1254' }],
    ['block_zero', 'block', { height: '0' }],
    ['block_negative', 'block', { height: '-1' }],
    ['block_height_as_number', 'block', { height: 253 }],
    ['block_height_not_a_number', 'block', { height: 'x' }],
    ['block_results_future', 'block_results', { height: '1254' }],
    ['tx_not_found', 'tx', { hash: 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=' }],
    ['tx_bad_hash', 'tx', { hash: 'zz' }],
  ]
  for (const [name, method, params] of cases) {
    const expected = recorded(name)
    const answer = await call(method, params)
    t.equal(answer.status, expected.http_status, `${name}: status`)
    t.equal(answer.type, 'application/json', `${name}: content type`)
    t.same(shape(answer.body), shape(expected.response), name)
  }
})

t.test('errors have the words of recorded ones', async (t) => {
  const { chain } = await busy()
  const { call } = await started(t, chain)
  const names = [
    'block_zero',
    'block_negative',
    'block_height_as_number',
    'block_height_not_a_number',
    'tx_not_found',
    'tx_bad_hash',
    'unknown_method',
  ]
  for (const name of names) {
    const { request, response } = recorded(name)
    const answer = await call(request?.method ?? '', request?.params)
    t.same(answer.body, response, name)
  }
  const { body } = await call('block', { height: '99' })
  t.match(body, {
    error: { data: 'height 99 must be less than or equal to the current blockchain height 12' },
  })
})

t.test('blocks that are dropped are said to be', async (t) => {
  const chain = new Simchain({}, { keep: 3 })
  await chain.mineTo(9)
  const { call } = await started(t, chain)
  for (const method of ['block', 'block_results', 'commit', 'header']) {
    const answer = await call(method, { height: '3' })
    const expected = recorded(`pruned_${method}`)
    t.same(shape(answer.body), shape(expected.response), method)
    t.match(
      answer.body,
      { error: { data: 'height 3 is not available, lowest height is 7' } },
      method,
    )
  }
  const state = await call('abci_query', {
    path: '/pocket.shared.Query/Params',
    data: '',
    height: '3',
  })
  t.match(state.body, { result: { response: { code: 38, codespace: 'sdk', height: '0' } } })
  const status = await call('status')
  t.match(status.body, { result: { sync_info: { earliest_block_height: '7' } } })
})

t.test('a batch is answered in one body', async (t) => {
  const { post } = await started(t, new Simchain())
  const call = (id: number, method: string) => ({ jsonrpc: '2.0', id, method, params: {} })
  const answer = await post([call(0, 'health'), call(7, 'nope'), call(8, 'constructor')])
  t.same(answer.body, [
    { jsonrpc: '2.0', id: 0, result: {} },
    { jsonrpc: '2.0', id: 7, error: { code: -32601, message: 'Method not found' } },
    { jsonrpc: '2.0', id: 8, error: { code: -32601, message: 'Method not found' } },
  ])
})

t.test('the URI form: id -1, and 500 for an error', async (t) => {
  const { chain, hash } = await busy()
  const { get } = await started(t, chain)
  const cases: [recording: string, path: string][] = [
    ['uri_block', '/block?height=9'],
    ['uri_bad_height', '/block?height=999999'],
    ['uri_tx', `/tx?hash=0x${hash}`],
    ['uri_abci_query', '/abci_query?path="/pocket.shared.Query/Params"&data=0x&height=0'],
  ]
  for (const [name, path] of cases) {
    const expected = recorded(name)
    const answer = await get(path)
    t.equal(answer.status, expected.http_status, name)
    t.same(shape({ ...answer.body, id: 0 }), shape({ ...expected.response, id: 0 }), name)
    t.equal(answer.body['id'], -1, name)
  }
})

t.test('transactions: CheckTx answers and errors without a code', async (t) => {
  const chain = new Simchain()
  const { call } = await started(t, chain)
  const bytes = chain.tx(chain.owner, [chain.send(chain.owner, chain.rival, 1n)])
  const first = await call('broadcast_tx_sync', { tx: base64(bytes) })
  const broadcasts = json<Recording[]>('chain/broadcast.json')
  const same = (name: string) => shape(broadcasts.find((one) => one.name === name)?.response)
  t.same(shape(first.body), same('ok_ordered'))
  const again = await call('broadcast_tx_sync', { tx: base64(bytes) })
  t.same(again.body, broadcasts.find((one) => one.name === 'same_bytes_while_pending')?.response)
  await chain.devnet.mine()
  const later = await call('broadcast_tx_sync', { tx: base64(bytes) })
  t.same(later.body, again.body, 'known for good')
  const bad = chain.tx(chain.owner, [chain.send(chain.owner, chain.rival, 1n)], {
    chainId: 'other',
  })
  const refused = await call('broadcast_tx_sync', { tx: base64(bad) })
  t.same(shape(refused.body), same('chain_id_wrong'))
  t.match(refused.body, { result: { code: 4, codespace: 'sdk' } })
})

t.test('queries: an answer and an error', async (t) => {
  const chain = new Simchain()
  const { call } = await started(t, chain)
  const queries = json<Recording[]>('chain/abci_query.json')
  const same = (name: string) => shape(queries.find((one) => one.name === name)?.response)
  const params = await call('abci_query', { path: '/pocket.shared.Query/Params', data: '' })
  t.same(shape(params.body), same('params_shared'))
  const value = (params.body as { result: { response: { value: string } } }).result.response.value
  t.equal(QueryParamsResponse.decode(unbase64(value)).params?.numBlocksPerSession, 4n)
  const unknown = await call('abci_query', { path: '/pocket.shared.Query/NoSuchMethod', data: '' })
  t.same(unknown.body, queries.find((one) => one.name === 'unknown_path')?.response)
  const data = hex(new Uint8Array([10, 8, ...Buffer.from('nonsense')]))
  const missing = await call('abci_query', { path: '/pocket.supplier.Query/Supplier', data })
  t.same(shape(missing.body), same('supplier_bad_address'))
})

t.test('its own methods mine, fund and change parameters', async (t) => {
  const chain = new Simchain()
  const { call } = await started(t, chain)
  t.match((await call('devnet_mine', { blocks: 3 })).body, { result: { height: '4' } })
  t.match((await call('devnet_mine')).body, { result: { height: '5' } })
  t.match((await call('devnet_mine', { blocks: 0 })).body, { error: { code: -32602 } })
  const address = chain.stranger.address
  t.match((await call('devnet_fund', { address, amount: '55' })).body, { result: { height: '6' } })
  const change = { module: 'proof', params: { proof_request_probability: 1 } }
  t.match((await call('devnet_params', change)).body, { result: { height: '6' } })
  await call('devnet_mine')
  const { state } = chain.devnet.contextAt(chain.height)
  t.equal(state.balances.get(address), 55n)
  t.equal(state.params.get('')?.proof.proofRequestProbability, 1)
  const wrong = await call('devnet_params', { module: 'proof', params: { nonsense: 1 } })
  t.match(wrong.body, { error: { code: -32602, data: /no parameter proof.nonsense/ } })
})

t.test('what is no JSON, too long, or nobody waits for', async (t) => {
  const chain = new Simchain()
  const { url } = await started(t, chain, { bodyBytesMax: 200 })
  const post = async (body: string) => {
    const response = await fetch(url, { method: 'POST', body })
    return { status: response.status, body: await response.text() }
  }
  t.match(JSON.parse((await post('not')).body), { error: { code: -32700 } })
  t.match(JSON.parse((await post(`"${'x'.repeat(300)}"`)).body), { error: { code: -32700 } })
  t.equal((await post('{"jsonrpc":"2.0","method":"health"}')).body, '', 'a notification')
  t.equal((await fetch(`${url}/nothing`)).status, 404)
})

t.test('a test can have connections cut', async (t) => {
  const chain = new Simchain()
  const { call } = await started(t, chain, {
    fault: (method) => (method === 'status' ? 'drop' : undefined),
  })
  await t.rejects(call('status'))
  t.match((await call('health')).body, { result: {} })
})

t.test('it listens on the loopback interface, on a port of its own or none', async (t) => {
  const { rpc, url } = await started(t, new Simchain())
  t.match(url, /^http:\/\/127\.0\.0\.1:\d+$/)
  const chain = new Simchain()
  const { devnet, clock } = chain
  const port = Number(new URL(url).port)
  const second = new DevnetRpc({ devnet, clock, log: silentLog() }, { port })
  await t.rejects(second.start(), { code: 'LISTEN' })
  await second.stop()
  await rpc.stop()
  await rpc.stop()
  const refused = await new Promise((resolve) => {
    connect(port, '127.0.0.1')
      .once('error', () => resolve(true))
      .once('connect', () => resolve(false))
  })
  t.equal(refused, true, 'nobody listens any more')
})
