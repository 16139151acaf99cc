import t, { type Test } from 'tap'
import { base64, hex, unbase64, unhex } from '../../src/base/bytes.ts'
import { silentLog } from '../../src/base/log.ts'
import { type Address, height, ms } from '../../src/base/units.ts'
import { Broadcaster, type BroadcasterOptions } from '../../src/chain/broadcast.ts'
import { METHODS } from '../../src/chain/methods.ts'
import { Query } from '../../src/chain/query.ts'
import { Rpc } from '../../src/chain/rpc.ts'
import { sendMessage } from '../../src/chain/stake.ts'
import { parseGasPrice, signTx, txHash } from '../../src/chain/tx.ts'
import { loadCurve } from '../../src/crypto/secp256k1.ts'
import type { Signer } from '../../src/keys/keyring.ts'
import {
  AuthInfo,
  SimulateRequest,
  SimulateResponse,
  TxBody,
  TxRaw,
} from '../../src/protocol/gen/cosmos/tx/tx.ts'
import {
  RecordedNode,
  type Recording,
  RpcFailure,
  recordings,
  until,
} from '../support/recorded-node.ts'
import { WatchedClock } from '../support/watched-clock.ts'

interface SentRecording extends Recording {
  readonly tx_base64: string
  readonly hash: string
  readonly then_tx?: Recording | null
}
interface SimulatedRecording extends Recording {
  readonly tx_base64: string
  readonly gas_info?: { gas_used: number } | null
}

const SENT = recordings<SentRecording>('broadcast')
const SIMULATED = recordings<SimulatedRecording>('simulate')
const BLOCK_TIME = Date.parse('2026-11-24T22:00:00.500Z')

const curve = loadCurve()
const SECRET = unhex('f281f5a3e1e377768c0c5c3ecf93f05d83ca484291a172cb624f7d6734a07e47')
const SUPPLIER1: Signer = {
  address: 'pokt1unuuu9ysz4ehvmx6ga26xqyhezqkr3eel2xx08' as Address,
  publicKey: curve.publicKey(SECRET),
  sign: (digest) => curve.sign(digest, SECRET),
}
const MESSAGE = sendMessage(SUPPLIER1.address, SUPPLIER1.address, 1n as never)

async function setUp(t: Test, nodeCount = 1, options: Partial<BroadcasterOptions> = {}) {
  const clock = new WatchedClock()
  const nodes: RecordedNode[] = []
  for (let i = 0; i < nodeCount; i++) nodes.push(await RecordedNode.start())
  const [node, other = node] = nodes
  if (node === undefined || other === undefined) throw new Error('no node')
  const endpoints = nodes.map(({ url }) => url)
  const rpc = new Rpc(
    { clock, random: () => 0, log: silentLog() },
    { endpoints, timeout: ms(60_000) },
  )
  const query = new Query({ rpc, clock })
  const randomBytes = (length: number) => new Uint8Array(length).fill(0xff)
  const deps = { rpc, query, clock, randomBytes }
  const broadcaster = new Broadcaster(deps, { chainId: 'pocket', ...options })
  t.teardown(async () => {
    await rpc.close()
    for (const each of nodes) await each.close()
  })
  const world = {
    clock,
    rpc,
    node,
    other,
    broadcaster,
    deps,
    height: 100,
    simulated: [] as Uint8Array[],
  }
  for (const each of nodes) script(each, world)
  return world
}

/** A chain at `world.height` on which supplier1 is account 9 and everything uses 150,001 gas. */
function script(node: RecordedNode, world: { height: number; simulated: Uint8Array[] }): void {
  const account = recordings('abci_query').find(({ name }) => name === 'account_supplier')
  node.on('status', () => ({
    node_info: { network: 'pocket', version: '0.38.22' },
    sync_info: {
      latest_block_hash: 'AB'.repeat(32),
      latest_block_height: String(world.height),
      latest_block_time: new Date(BLOCK_TIME).toISOString(),
      earliest_block_height: '1',
      catching_up: false,
    },
  }))
  node.on('abci_query', ({ path, data }) => {
    if (path === METHODS.account.path) return account?.response.result
    world.simulated.push(SimulateRequest.decode(unhex(String(data))).txBytes)
    const gasInfo = { gasWanted: 2n ** 64n - 1n, gasUsed: 150_001n }
    const value = base64(SimulateResponse.encode({ gasInfo }).finish())
    return { response: { code: 0, log: '', codespace: '', value } }
  })
}

function refuseSimulation(node: RecordedNode, name: string): void {
  const refused = SIMULATED.find((one) => one.name === name)?.response.result
  const account = recordings('abci_query').find((one) => one.name === 'account_supplier')
  node.on('abci_query', ({ path }) =>
    path === METHODS.account.path ? account?.response.result : refused,
  )
}

function open(bytes: Uint8Array) {
  const raw = TxRaw.decode(bytes)
  return { raw, body: TxBody.decode(raw.bodyBytes), auth: AuthInfo.decode(raw.authInfoBytes) }
}

t.test(
  'a prepared transaction is unordered, in time, simulated with a fee, and signed',
  async (t) => {
    const { broadcaster, simulated, node } = await setUp(t)
    const tx = await broadcaster.prepare(SUPPLIER1, [MESSAGE, MESSAGE], {
      timeoutHeight: height(110),
    })
    const { raw, body, auth } = open(tx.bytes)
    t.equal(body.unordered, true)
    t.equal(body.timeoutHeight, 110n)
    t.equal(body.memo, '')
    t.strictSame(body.messages, [MESSAGE, MESSAGE])
    const nanos = BigInt(BLOCK_TIME + 570_000) * 1_000_000n + 0x3fff_ffffn
    t.strictSame(body.timeoutTimestamp, {
      seconds: nanos / 1_000_000_000n,
      nanos: Number(nanos % 1_000_000_000n),
    })
    t.equal(auth.signerInfos[0]?.sequence, 0n)
    t.strictSame(auth.fee?.amount, [{ denom: 'upokt', amount: '1' }])
    t.equal(auth.fee?.gasLimit, 180_002n, 'simulated gas and a fifth more')
    const context = { chainId: 'pocket', accountNumber: 9n }
    const plan = {
      messages: [MESSAGE, MESSAGE],
      timeoutHeight: height(110),
      timeoutAt: body.timeoutTimestamp ?? { seconds: 0n, nanos: 0 },
      ...{ unordered: true, sequence: 0n, gas: 180_002n, fee: 1n as never },
    }
    t.equal(hex(tx.bytes), hex(signTx(SUPPLIER1, plan, context)), 'signed for account 9 of pocket')
    t.equal(raw.signatures[0]?.length, 64)
    t.match(tx, {
      txHash: txHash(tx.bytes),
      sentAt: 100,
      timeoutHeight: 110,
      attempt: 1,
      resent: 0,
    })
    t.equal(tx.timeoutAt, BLOCK_TIME + 570_000 + 1_074)

    t.equal(simulated.length, 1)
    const asked = open(simulated[0] ?? new Uint8Array(0))
    t.strictSame(asked.auth.fee?.amount, [{ denom: 'upokt', amount: '1' }], 'simulated with a fee')
    t.strictSame(asked.body, body, 'the same body')
    t.strictSame(asked.raw.signatures, [new Uint8Array(64)], 'no signature leaves before it must')
    t.equal(node.count('broadcast_tx_sync'), 0, 'nothing is sent')
  },
)

t.test('gas grows with each attempt, up to twice', async (t) => {
  const { broadcaster } = await setUp(t)
  const limits: (bigint | undefined)[] = []
  for (const attempt of [1, 2, 9]) {
    const options = { timeoutHeight: height(110), attempt }
    const tx = await broadcaster.prepare(SUPPLIER1, [MESSAGE, MESSAGE], options)
    limits.push(open(tx.bytes).auth.fee?.gasLimit)
  }
  t.strictSame(limits, [180_002n, 225_003n, 360_004n])
})

t.test('options of a transaction', async (t) => {
  const { broadcaster, deps } = await setUp(t)
  const tx = await broadcaster.prepare(SUPPLIER1, [MESSAGE], {
    ...{ timeoutHeight: height(101), feeFactor: 1.5 ** 2, attempt: 3 },
    ...{ lifetime: ms(60_000), memo: 'stake' },
  })
  const { body, auth } = open(tx.bytes)
  t.strictSame(auth.fee?.amount, [{ denom: 'upokt', amount: '3' }], 'one upokt × 2.25, rounded up')
  t.equal(tx.attempt, 3)
  t.equal(tx.timeoutAt, BLOCK_TIME + 60_000 + 1_074)
  t.equal(body.memo, 'stake')
  const long = { timeoutHeight: height(101), lifetime: ms(3_600_000) }
  const capped = await broadcaster.prepare(SUPPLIER1, [MESSAGE], long)
  t.equal(
    capped.timeoutAt,
    BLOCK_TIME + 570_000 + 1_074,
    'the chain takes no more than ten minutes',
  )

  const dear = new Broadcaster(deps, {
    ...{ chainId: 'pocket', gasPrice: parseGasPrice('0.001upokt'), gasMin: 1_000_000n },
  })
  const floored = open(
    (await dear.prepare(SUPPLIER1, [MESSAGE], { timeoutHeight: height(101) })).bytes,
  )
  t.equal(floored.auth.fee?.gasLimit, 1_000_000n, 'never below the floor')
  t.strictSame(floored.auth.fee?.amount, [{ denom: 'upokt', amount: '1000' }])
})

t.test('two transactions never share a time stamp', async (t) => {
  const { deps } = await setUp(t)
  const seen: number[] = []
  for (const bytes of [
    [0, 0, 0, 0],
    [0, 0, 0, 3],
    [0, 0, 0, 4],
    [0xff, 0, 0, 0],
  ]) {
    const randomBytes = (length: number) => Uint8Array.from(bytes.slice(0, length))
    const broadcaster = new Broadcaster({ ...deps, randomBytes }, { chainId: 'pocket' })
    const tx = await broadcaster.prepare(SUPPLIER1, [MESSAGE], { timeoutHeight: height(101) })
    seen.push(open(tx.bytes).body.timeoutTimestamp?.nanos ?? -1)
  }
  const base = 500_000_000
  const high = (0xff000000 >>> 2) + base
  t.strictSame(seen, [base, base, base + 1, high - 1e9], '30 of the 32 bits count')
})

t.test('what makes a transaction pointless is said before it is signed', async (t) => {
  const { broadcaster, node, deps } = await setUp(t)
  const prepare = (at: number, signer: Signer = SUPPLIER1) =>
    broadcaster.prepare(signer, [MESSAGE], { timeoutHeight: height(at) })
  await t.rejects(prepare(100), { code: 'TX_TOO_LATE', data: { timeoutHeight: 100, height: 100 } })
  await t.rejects(prepare(99), { code: 'TX_TOO_LATE' })
  await t.resolves(prepare(101))
  const beta = new Broadcaster(deps, { chainId: 'pocket-beta' })
  await t.rejects(beta.prepare(SUPPLIER1, [MESSAGE], { timeoutHeight: height(101) }), {
    code: 'CHAIN_ID',
    data: { theirs: 'pocket', ours: 'pocket-beta' },
  })
  const unknown = recordings('abci_query').find(({ name }) => name === 'account_not_found')
  node.on('abci_query', () => unknown?.response.result)
  await t.rejects(prepare(101), {
    code: 'ACCOUNT_MISSING',
    data: { address: SUPPLIER1.address },
  })
})

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

t.test('a refused simulation names the message and is thrown', async (t) => {
  const { broadcaster, node } = await setUp(t)
  const prepare = (fallbackGas?: bigint) =>
    broadcaster.prepare(SUPPLIER1, [MESSAGE], {
      timeoutHeight: height(110),
      ...(fallbackGas === undefined ? {} : { fallbackGas }),
    })
  refuseSimulation(node, 'claim_wrong_compute_units')
  const data = { refusal: 'message', messageIndex: 0 }
  await t.rejects(prepare(300_000n), { code: 'SIMULATION', retryable: false, data })
  refuseSimulation(node, 'claim_window_not_open')
  await t.rejects(prepare(), {
    code: 'SIMULATION',
    retryable: true,
    data: { refusal: 'window-early' },
  })
  const { auth } = open((await prepare(300_000n)).bytes)
  t.equal(
    auth.fee?.gasLimit,
    300_000n,
    'the gas given, for a window that opens with the next block',
  )
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
