import t from 'tap'
import { hex, unbase64 } from '../../src/base/bytes.ts'
import { height } from '../../src/base/units.ts'
import { METHODS } from '../../src/chain/methods.ts'
import { SENT, SIMULATED, setUp } from '../support/broadcaster.ts'
import { RpcFailure, until } from '../support/recorded-node.ts'

t.test('recorded simulations: gas, or why not', async (t) => {
  const { broadcaster, node } = await setUp(t)
  for (const { name, tx_base64, gas_info, response, request } of SIMULATED) {
    const data = hex(METHODS.simulate.encode({ txBytes: unbase64(tx_base64) }))
    t.equal(data, request.params['data'], `${name}: asked as recorded`)
    node.on('abci_query', () => response.result)
    const gas = broadcaster.simulate(unbase64(tx_base64))
    if (gas_info) t.equal(await gas, BigInt(gas_info.gas_used), name)
    else await t.rejects(gas, { code: 'SIMULATION' }, name)
  }
})

t.test('recorded answers to a broadcast', async (t) => {
  const { node, broadcaster } = await setUp(t)
  const kinds = new Map<string, object>([
    ['same_bytes_after_inclusion', { kind: 'in-mempool' }],
    ['same_bytes_while_pending', { kind: 'in-mempool' }],
    ['unordered_same_timestamp', { kind: 'in-mempool' }],
    ['unordered_same_timestamp_pending', { kind: 'in-mempool' }],
    ['tx_too_large', { kind: 'rejected', code: -32603, codespace: 'rpc', retryable: false }],
    ['mempool_full', { kind: 'rejected', code: -32603, codespace: 'rpc', retryable: true }],
  ])
  for (const { name, request, response } of SENT) {
    node.on('broadcast_tx_sync', () => {
      const { result, error } = response as {
        result?: object
        error?: { code: number; data: string }
      }
      if (error !== undefined) throw new RpcFailure(error.data, error.code)
      return result
    })
    const tx = String(request.params['tx'])
    const isWhole = /^[A-Za-z0-9+/]*=*$/.test(tx) && tx.length % 4 === 0
    const sent = await broadcaster.send(isWhole ? unbase64(tx) : new Uint8Array(1))
    if (isWhole) t.equal(node.requests.at(-1)?.params['tx'], tx, `${name}: the bytes as they are`)
    const check = response.result as { code: number; codespace: string; log: string } | undefined
    const { code, codespace, log } = check ?? { code: -1, codespace: '', log: '' }
    const plain =
      code === 0
        ? { kind: 'accepted' }
        : { kind: 'rejected', code, codespace, log, retryable: false }
    t.match(sent, kinds.get(name) ?? plain, name)
  }
})

t.test('a mempool that is full as CheckTx tells it', async (t) => {
  const { node, broadcaster } = await setUp(t)
  node.on('broadcast_tx_sync', () => ({ code: 20, codespace: 'sdk', log: 'mempool is full' }))
  t.match(await broadcaster.send(new Uint8Array(1)), { kind: 'rejected', retryable: true })
  node.on('broadcast_tx_sync', () => ({ code: 19, codespace: 'sdk', log: 'tx already in mempool' }))
  t.strictSame(await broadcaster.send(new Uint8Array(1)), { kind: 'in-mempool' })
  node.on('broadcast_tx_sync', () => ({ code: 0 }))
  t.strictSame(await broadcaster.send(new Uint8Array(1)), { kind: 'accepted' })
  node.on('broadcast_tx_sync', () => ({ code: 5 }))
  await t.rejects(broadcaster.send(new Uint8Array(1)), { code: 'RESPONSE' })
  node.on('broadcast_tx_sync', () => {
    throw new RpcFailure('error converting json params', -32602)
  })
  await t.rejects(broadcaster.send(new Uint8Array(1)), { code: 'RPC_ERROR' }, 'our own fault')
  node.behaviour = 'close'
  await t.rejects(broadcaster.send(new Uint8Array(1)), { code: 'RPC_UNREACHABLE', retryable: true })
})

t.test('the same bytes through every endpoint', async (t) => {
  const { node, other, broadcaster } = await setUp(t, 2)
  const known = () => {
    throw new RpcFailure('tx already exists in cache')
  }
  const bytes = Uint8Array.of(1, 2, 3)
  node.on('broadcast_tx_sync', known)
  other.on('broadcast_tx_sync', () => ({ code: 0 }))
  t.strictSame(await broadcaster.resend(bytes), { kind: 'accepted' }, 'the best answer')
  t.strictSame(await broadcaster.send(bytes, undefined, 0), { kind: 'in-mempool' })
  t.strictSame(await broadcaster.send(bytes, undefined, 1), { kind: 'accepted' })
  other.on('broadcast_tx_sync', () => ({ code: 30, codespace: 'sdk', log: 'tx timeout height' }))
  t.strictSame(await broadcaster.resend(bytes), { kind: 'in-mempool' })
  node.behaviour = 'close'
  t.match(await broadcaster.resend(bytes), { kind: 'rejected', code: 30 }, 'one did not answer')
  other.behaviour = 'close'
  await t.rejects(broadcaster.resend(bytes), { code: 'RPC_UNREACHABLE' }, 'none answered')
})

t.test('recorded results of transactions', async (t) => {
  const { node, broadcaster } = await setUp(t)
  let found = 0
  for (const { name, hash, then_tx } of SENT) {
    if (then_tx === undefined || then_tx === null) continue
    node.on('tx', ({ hash: asked }) => {
      t.strictSame({ hash: asked }, then_tx.request.params, `${name}: asked in base64`)
      const { error } = then_tx.response as { error?: { code: number; data: string } }
      if (error !== undefined) throw new RpcFailure(error.data, error.code)
      return then_tx.response.result
    })
    const result = await broadcaster.result(hash)
    if (then_tx.response.result === undefined) {
      t.equal(result, undefined, name)
      continue
    }
    const recorded = then_tx.response.result as {
      height: string
      tx_result: { code: number; codespace: string; log: string; gas_used: string }
    }
    const { code, codespace, log, gas_used } = recorded.tx_result
    const expected = {
      height: Number(recorded.height),
      code,
      codespace,
      log,
      gasUsed: BigInt(gas_used),
    }
    t.strictSame(result, expected, name)
    found++
  }
  t.equal(found, 24)
  node.on('tx', () => {
    throw new RpcFailure('transaction indexing is disabled')
  })
  await t.rejects(broadcaster.result('AB'.repeat(32)), { code: 'RPC_ERROR' })
})

t.test('waiting for a block to hold it', async (t) => {
  const world = await setUp(t)
  const { node, broadcaster, clock } = world
  const tx = { txHash: 'AB'.repeat(32), timeoutHeight: height(102) }
  const signal = new AbortController().signal
  const missing = () => {
    throw new RpcFailure(`tx (${tx.txHash}) not found`)
  }
  const included = (code: number) => ({
    height: '101',
    tx_result: { code, codespace: code === 0 ? '' : 'undefined', log: 'why', gas_used: '5' },
  })
  const turn = () => clock.pass(2_000)
  node.on('tx', missing)
  const confirmed = broadcaster.confirm(tx, signal)
  await until(() => node.count('tx') === 1)
  node.behaviour = 'error-500'
  await turn()
  await until(() => node.count('status') === 2)
  node.behaviour = 'none'
  node.on('tx', () => included(0))
  await turn()
  t.match(await confirmed, { height: 101, code: 0, gasUsed: 5n }, 'past a node that failed')

  node.on('tx', () => included(1))
  await t.rejects(broadcaster.confirm(tx, signal), {
    code: 'TX_FAILED',
    data: { code: 1, codespace: 'undefined', log: 'why' },
  })

  node.on('tx', missing)
  world.height = 103
  let ended = false
  const late = t.rejects(broadcaster.confirm(tx, signal), { code: 'TX_TOO_LATE' }).finally(() => {
    ended = true
  })
  const before = node.count('status')
  await turn()
  await until(() => node.count('status') === before + 2)
  t.equal(ended, false, 'one more block for the index')
  world.height = 104
  await turn()
  await late
})
