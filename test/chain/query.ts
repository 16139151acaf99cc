import { BinaryWriter } from '@bufbuild/protobuf/wire'
import t, { type Test } from 'tap'
import { base64, hex, unhex } from '../../src/base/bytes.ts'
import { silentLog } from '../../src/base/log.ts'
import { type Height, height } from '../../src/base/units.ts'
import { METHODS } from '../../src/chain/methods.ts'
import { Query } from '../../src/chain/query.ts'
import { Rpc } from '../../src/chain/rpc.ts'
import { BaseAccount, QueryAccountResponse } from '../../src/protocol/gen/cosmos/auth/auth.ts'
import { PubKey } from '../../src/protocol/gen/cosmos/crypto/secp256k1/keys.ts'
import {
  ClaimProofStatus,
  QueryAllClaimsRequest,
  QueryAllClaimsResponse,
} from '../../src/protocol/gen/pocket/proof/proof.ts'
import { QueryServiceResponse } from '../../src/protocol/gen/pocket/service/service.ts'
import { QueryGetSessionRequest } from '../../src/protocol/gen/pocket/session/session.ts'
import {
  QueryParamsAtHeightResponse,
  RPCType,
} from '../../src/protocol/gen/pocket/shared/shared.ts'
import { ManualClock } from '../support/clock.ts'
import { RecordedNode, type Recording, recordings } from '../support/recorded-node.ts'

interface AbciRecording extends Recording {
  readonly path: string
  readonly data_hex: string
  readonly height: number
  readonly value_hex: string | null
  readonly decoded: Record<string, unknown> | null
}

const ABCI = recordings<AbciRecording>('abci_query')

/** What the gateway rendered under `field`. */
function rendered<T>(recording: AbciRecording, field: string): T {
  return recording.decoded?.[field] as T
}

function named(name: string): AbciRecording {
  const found = ABCI.find((recording) => recording.name === name)
  if (found === undefined) throw new Error(`no recording ${name}`)
  return found
}

async function setUp(t: Test) {
  const clock = new ManualClock()
  const node = await RecordedNode.start()
  const rpc = new Rpc({ clock, random: () => 0, log: silentLog() }, { endpoints: [node.url] })
  const query = new Query({ rpc, clock })
  t.teardown(async () => {
    await rpc.close()
    await node.close()
  })
  return { clock, node, rpc, query }
}

/** The recording, for a request with other bytes. */
function askedAs(recording: AbciRecording, data: string): AbciRecording {
  const params = { ...recording.request.params, data }
  return { ...recording, request: { ...recording.request, params } }
}

/** An answer that nobody recorded. */
function madeUp(path: string, data: Uint8Array, response: object): Recording {
  const params = { path, data: hex(data), height: '0', prove: false }
  const whole = { code: 0, log: '', codespace: '', value: null, ...response }
  return {
    name: path,
    request: { method: 'abci_query', params },
    response: { result: { response: whole } },
  }
}

/** A message as the REST gateway renders it. */
function rest(value: unknown, name = ''): unknown {
  if (name === 'rpc_type') return Object.entries(RPCType).find(([, n]) => n === value)?.[0]
  if (name === 'proof_validation_status')
    return Object.entries(ClaimProofStatus).find(([, n]) => n === value)?.[0]
  if (typeof value === 'bigint') return value.toString()
  if (value instanceof Uint8Array) return base64(value)
  if (value === undefined) return null
  if (value instanceof Map) return rest(Object.fromEntries(value))
  if (Array.isArray(value)) return value.map((item) => rest(item))
  if (typeof value !== 'object' || value === null) return value
  const fields = Object.entries(value).map(([key, field]) => {
    const snake = key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
    return [snake, rest(field, snake)]
  })
  return Object.fromEntries(fields)
}

t.test('parameters, as the chain sent them and as its gateway renders them', async (t) => {
  const { node, query } = await setUp(t)
  const cases: [name: string, ask: () => Promise<unknown>][] = [
    ['params_proof', () => query.proofParams()],
    ['params_tokenomics', () => query.tokenomicsParams()],
    ['params_supplier', () => query.supplierParams()],
    ['params_service', () => query.serviceParams()],
    ['params_session', () => query.sessionParams()],
    ['params_application', () => query.applicationParams()],
    ['params_gateway', () => query.gatewayParams()],
    ['shared_params_at_before_change', () => query.sharedParams(height(220))],
    ['shared_params_at_same_session', () => query.sharedParams(height(222))],
    ['shared_params_at_next_session', () => query.sharedParams(height(246))],
    ['shared_params_at_height_1', () => query.sharedParams(height(1))],
  ]
  for (const [name, ask] of cases) {
    node.play(named(name))
    t.strictSame(rest(await ask()), rendered(named(name), 'params'), name)
  }
})

const APP1 = 'pokt1sglqm39pv45jpqslavw7kxd2w4tmgg56wzjk6n'
const APP2 = 'pokt1ya7fhy4zesjd9yn0agy2ztl98z0cl94q6dd7cp'
const SUPPLIER1 = 'pokt1unuuu9ysz4ehvmx6ga26xqyhezqkr3eel2xx08'
const SUPPLIER3 = 'pokt12kcqku57p70rsd8qjv42z7lrcwvlhsfgjn3zuk'
const GATEWAY1 = 'pokt1g4mlnwhuqr7unpqlcwgkttz8jcw6gdqc7e2hum'

t.test('sessions of the state at their height', async (t) => {
  const { node, query } = await setUp(t)
  const cases: [name: string, app: string, at: number, state: number][] = [
    ['session_A_app1', APP1, 0, 61],
    ['session_A_app2', APP2, 0, 70],
    ['session_C_app1', APP1, 0, 124],
  ]
  for (const [name, app, , state] of cases) {
    const recording = named(name)
    const { blockHeight } = QueryGetSessionRequest.decode(unhex(recording.data_hex))
    node.play(recording)
    const asked = Number(blockHeight) as Height
    const session = await query.session(app, 'text-gen', asked, undefined, height(state))
    t.strictSame(rest(session), rendered(recording, 'session'), name)
  }
})

t.test('why there is no session', async (t) => {
  const { node, query } = await setUp(t)
  const names = [
    'session_A_live_after_update',
    'session_unknown_app',
    'session_unknown_service',
    'session_app_other_service',
    'session_before_stake',
    'session_no_suppliers',
    'pruned_session',
  ]
  for (const name of names) {
    const recording = named(name)
    node.play(recording)
    const asked = QueryGetSessionRequest.decode(unhex(recording.data_hex))
    const { applicationAddress, serviceId, blockHeight } = asked
    await t.rejects(
      query.session(applicationAddress, serviceId, Number(blockHeight) as Height),
      { code: 'SESSION', retryable: false, data: { code: 6, log: /^rpc error: code = Internal/ } },
      name,
    )
  }
  node.play(named('session_future'))
  await t.rejects(query.session(APP1, 'text-gen', height(1_254)), {
    code: 'HEIGHT_UNAVAILABLE',
    retryable: true,
  })
  const bad = QueryGetSessionRequest.decode(unhex(named('session_bad_app_address').data_hex))
  node.play(named('session_bad_app_address'))
  await t.rejects(
    query.session(bad.applicationAddress, bad.serviceId, Number(bad.blockHeight) as Height),
    { code: 'QUERY', data: { code: 18 } },
  )
})

t.test('a session without a header is no session', async (t) => {
  const { node, query } = await setUp(t)
  const data = METHODS.session.encode({
    applicationAddress: APP1,
    serviceId: 's',
    blockHeight: 9n,
  })
  node.play(madeUp(METHODS.session.path, data, { value: base64(Uint8Array.of(0x0a, 0)) }))
  await t.rejects(query.session(APP1, 's', height(9)), {
    code: 'RESPONSE',
    data: { field: /session\.header$/ },
  })
})

t.test('suppliers, applications, gateways, services', async (t) => {
  const { node, query } = await setUp(t)
  const cases: [recording: AbciRecording, ask: () => Promise<unknown>, field: string][] = [
    [named('supplier'), () => query.supplier(SUPPLIER1), 'supplier'],
    [named('supplier_update_pending'), () => query.supplier(SUPPLIER1), 'supplier'],
    [named('supplier_update_active'), () => query.supplier(SUPPLIER1), 'supplier'],
    [named('supplier_unbonding'), () => query.supplier(SUPPLIER3), 'supplier'],
    [
      named('supplier_right_after_stake'),
      () => query.supplier(SUPPLIER1, undefined, height(5)),
      'supplier',
    ],
    [named('application'), () => query.application(APP1), 'application'],
    [named('application_undelegated'), () => query.application(APP2), 'application'],
    [withoutCard('gateway'), () => query.gateway(GATEWAY1), 'gateway'],
    [withoutCard('service'), () => query.service('text-gen'), 'service'],
  ]
  for (const [recording, ask, field] of cases) {
    node.play(recording)
    t.strictSame(rest(await ask()), rendered(recording, field), recording.name)
  }
})

/** Recorded with the card; ours ask without. Field 2, true. */
function withoutCard(name: string): AbciRecording {
  return askedAs(named(name), `${named(name).data_hex}1001`)
}

t.test('what is not there is undefined', async (t) => {
  const { node, query } = await setUp(t)
  const unknown = SUPPLIER1
  const cases: [recording: AbciRecording, ask: () => Promise<unknown>][] = [
    [named('supplier_not_found'), () => query.supplier(SUPPLIER1)],
    [named('supplier_after_unbonding'), () => query.supplier(SUPPLIER3)],
    [named('supplier_bad_address'), () => query.supplier('nonsense')],
    [named('application_not_found'), () => query.application(unknown)],
    [withoutCard('gateway_not_found'), () => query.gateway(unknown)],
    [withoutCard('service_not_found'), () => query.service('nope')],
    [named('claim_not_found'), () => query.claim('ab'.repeat(32), SUPPLIER1)],
    [named('claim_settled_is_gone'), () => query.claim(SESSION_C, SUPPLIER1)],
    [
      named('account_not_found'),
      () => query.account('pokt158d4f7eepl4xvw7xupylr0sesdnhpf5rp6w237'),
    ],
  ]
  for (const [recording, ask] of cases) {
    node.play(recording)
    t.equal(await ask(), undefined, recording.name)
  }
})

const SESSION_C = 'f64f8725f4e243ccd53457688845437b69fc79e82092a3125c5d4a52e0515968'
const SESSION_B = 'd5884f7501e26be9bb5d550ecdad873cdc3580bef7f821b590ea383ccfd28dd3'

t.test('claims, one by one', async (t) => {
  const { node, query } = await setUp(t)
  const cases: [name: string, session: string][] = [
    ['claim', SESSION_C],
    ['claim_validated', SESSION_C],
    ['claim_invalid', SESSION_B],
  ]
  for (const [name, session] of cases) {
    node.play(named(name))
    t.strictSame(rest(await query.claim(session, SUPPLIER1)), rendered(named(name), 'claim'), name)
  }
})

t.test('all claims of an operator, page by page', async (t) => {
  const { node, query } = await setUp(t)
  const recording = named('claims_by_supplier')
  const question = (key: Uint8Array) =>
    METHODS.claims.encode({
      pagination: { key, offset: 0n, limit: 200n, countTotal: false, reverse: false },
      supplierOperatorAddress: SUPPLIER1,
    })
  t.equal(
    QueryAllClaimsRequest.decode(unhex(recording.data_hex)).supplierOperatorAddress,
    SUPPLIER1,
  )
  node.play(askedAs(recording, hex(question(new Uint8Array(0)))))
  t.strictSame(rest(await query.claims(SUPPLIER1)), rendered(recording, 'claims'))
  t.equal(node.requests.length, 1)

  const first = QueryAllClaimsResponse.decode(unhex(recording.value_hex ?? ''))
  const key = Uint8Array.of(7, 8)
  const pagination = { nextKey: key, total: 0n }
  const page = QueryAllClaimsResponse.encode({ ...first, pagination }).finish()
  const { path } = METHODS.claims
  node.play(
    madeUp(path, question(new Uint8Array(0)), { value: base64(page) }),
    askedAs(recording, hex(question(key))),
  )
  t.equal((await query.claims(SUPPLIER1)).length, 2, 'the second page follows the first')

  node.play(madeUp(path, question(key), { value: base64(page) }))
  const impatient = new Query(
    {
      rpc: new Rpc(
        { clock: new ManualClock(), random: () => 0, log: silentLog() },
        { endpoints: [node.url] },
      ),
      clock: new ManualClock(),
    },
    { unimplementedFor: 0 as never, pageSize: 200, pagesMax: 3 },
  )
  await t.rejects(impatient.claims(SUPPLIER1), { code: 'RESPONSE' }, 'pages without end')
})

t.test('difficulty at the start of a session', async (t) => {
  const { node, query } = await setUp(t)
  for (const name of [
    'difficulty_at_start_of_A',
    'difficulty_at_start_of_C',
    'difficulty_at_start_of_D',
  ]) {
    const recording = named(name)
    node.play(recording)
    type Difficulty = { target_hash: string }
    const { target_hash } = rendered<Difficulty>(recording, 'relayMiningDifficulty')
    const at = { A: 61, C: 121, D: 151 }[name.at(-1) ?? ''] ?? 0
    t.equal(base64(await query.difficulty('text-gen', height(at))), target_hash, name)
  }
  node.play(named('difficulty_at_height_unknown_service'))
  await t.rejects(query.difficulty('nope', height(5)), { code: 'NOT_FOUND' })
})

t.test('a target hash of another length is refused', async (t) => {
  const { node, query } = await setUp(t)
  const { path, encode } = METHODS.difficulty
  const short = Uint8Array.of(0x0a, 4, 0x22, 2, 1, 2)
  node.play(madeUp(path, encode({ serviceId: 's', blockHeight: 5n }), { value: base64(short) }))
  await t.rejects(query.difficulty('s', height(5)), {
    code: 'RESPONSE',
    data: { field: /target_hash$/ },
  })
})

t.test('compute units at the start of a session', async (t) => {
  const { node, query } = await setUp(t)
  node.play(named('cupr_at_height'), named('cupr_unknown_service'))
  t.equal(await query.computeUnitsPerRelay('text-gen', height(61)), 4_000n)
  await t.rejects(query.computeUnitsPerRelay('nope', height(61)), { code: 'NOT_FOUND' })
})

t.test('a node that lacks the query gives the live compute units for a minute', async (t) => {
  const { node, query, clock } = await setUp(t)
  const { path, encode } = METHODS.computeUnitsPerRelay
  const data = encode({ serviceId: 'text-gen', blockHeight: 61n })
  const count = (what: string) =>
    node.requests.filter(({ params }) => params['path'] === what).length
  const logs = ['unknown query path: unknown request', 'rpc error: code = Unimplemented desc = x']
  for (const log of logs) {
    node.requests.length = 0
    node.play(madeUp(path, data, { code: 6, codespace: 'sdk', log }), withoutCard('service'))
    t.equal(await query.computeUnitsPerRelay('text-gen', height(61)), 4_000n, log)
    t.equal(await query.computeUnitsPerRelay('text-gen', height(61)), 4_000n, log)
    t.same([count(path), count(METHODS.service.path)], [1, 2], `${log}: remembered`)
    await clock.advance(59_999)
    await query.computeUnitsPerRelay('text-gen', height(61))
    t.equal(count(path), 1, `${log}: for a minute`)
    await clock.advance(1)
    await query.computeUnitsPerRelay('text-gen', height(61))
    t.equal(count(path), 2, `${log}: then asked again`)
    await clock.advance(60_000)
  }
  node.play(
    madeUp(path, encode({ serviceId: 'nope', blockHeight: 61n }), {
      ...{ code: 6, codespace: 'sdk', log: logs[0] },
    }),
    withoutCard('service_not_found'),
  )
  await t.rejects(query.computeUnitsPerRelay('nope', height(61)), { code: 'NOT_FOUND' })
})

t.test('accounts with, without and never with a key', async (t) => {
  const { node, query } = await setUp(t)
  node.play(named('account_supplier'))
  type Rendered = { pub_key: { key: string } }
  const { pub_key: key } = rendered<Rendered>(named('account_supplier'), 'account')
  const account = await query.account(SUPPLIER1)
  t.match(account, { number: 9n, sequence: 12n })
  t.equal(base64(account?.publicKey ?? new Uint8Array(0)), key.key)
  node.play(named('account_without_pubkey'))
  t.strictSame(await query.account(SUPPLIER1), { number: 9n, sequence: 0n })
  node.play(named('account_module'))
  const module = 'pokt1j40dzzmn6cn9kxku7a5tjnud6hv37vesr5ccaa'
  t.strictSame(await query.account(module), { number: 22n, sequence: 0n })
  node.play(named('account_bad_address'))
  await t.rejects(query.account('nonsense'), { code: 'QUERY', data: { code: 18 } })
})

t.test('accounts of other types', async (t) => {
  const { node, query } = await setUp(t)
  const publicKey = Uint8Array.from({ length: 33 }, (_, i) => i)
  const inside = (keyType: string) => {
    const value = PubKey.encode({ key: publicKey }).finish()
    const pubKey = { typeUrl: keyType, value }
    const base = { address: APP1, pubKey, accountNumber: 5n, sequence: 6n }
    return BaseAccount.encode(base).finish()
  }
  const wrap = (bytes: Uint8Array) =>
    new BinaryWriter().uint32(0x10).uint32(1).uint32(0x0a).bytes(bytes).finish()
  const secp = '/cosmos.crypto.secp256k1.PubKey'
  const cases: [type: string, value: Uint8Array, known: boolean][] = [
    ['/cosmos.vesting.v1beta1.DelayedVestingAccount', wrap(wrap(inside(secp))), true],
    [
      '/cosmos.auth.v1beta1.BaseAccount',
      inside('/cosmos.crypto.multisig.LegacyAminoPubKey'),
      false,
    ],
  ]
  const any = (typeUrl: string, value: Uint8Array) =>
    QueryAccountResponse.encode({ account: { typeUrl, value } }).finish()
  const data = METHODS.account.encode({ address: APP1 })
  for (const [type, value, known] of cases) {
    node.play(madeUp(METHODS.account.path, data, { value: base64(any(type, value)) }))
    const expected = { number: 5n, sequence: 6n, ...(known ? { publicKey } : {}) }
    t.strictSame(await query.account(APP1), expected, type)
  }
  const strange = any('/some.Account', inside(secp))
  node.play(madeUp(METHODS.account.path, data, { value: base64(strange) }))
  await t.rejects(query.account(APP1), { code: 'RESPONSE', message: /some\.Account/ })
})

t.test('balances', async (t) => {
  const { node, query } = await setUp(t)
  const names = [
    'balance_operator',
    'balance_owner_before_A',
    'balance_owner_now',
    'balance_unknown_address',
  ]
  for (const name of names) {
    const recording = named(name)
    node.play(recording)
    const length = unhex(recording.data_hex)[1] ?? 0
    const address = Buffer.from(recording.data_hex, 'hex')
      .subarray(2, 2 + length)
      .toString()
    const state = recording.height === 0 ? undefined : height(recording.height)
    const { amount } = rendered<{ amount: string }>(recording, 'balance')
    t.equal(await query.balance(address, undefined, state), BigInt(amount), name)
  }
})

t.test('a state that is gone or to come', async (t) => {
  const { node, rpc } = await setUp(t)
  for (const [name, retryable] of [
    ['pruned_state', false],
    ['future_height', true],
  ] as const) {
    const { path, height: at } = named(name)
    node.play(named(name))
    const answer = rpc.abciQuery(path, new Uint8Array(0), height(at))
    await t.rejects(answer, { code: 'HEIGHT_UNAVAILABLE', retryable }, name)
  }
})

t.test('an answer that is not the message expected', async (t) => {
  const { node, query } = await setUp(t)
  const { path } = METHODS.sharedParams
  const data = METHODS.sharedParams.encode({ height: 5n })
  const cases: [id: string, response: object, field: RegExp][] = [
    ['nothing', { value: null }, /params$/],
    ['cut off', { value: base64(Uint8Array.of(0x0a, 9, 1)) }, /value$/],
    ['no base64', { value: '$' }, /^result\.response\.value$/],
    ['code of another type', { code: '0' }, /^result\.response\.code$/],
  ]
  for (const [id, response, field] of cases) {
    node.play(madeUp(path, data, response))
    await t.rejects(query.sharedParams(height(5)), { code: 'RESPONSE', data: { field } }, id)
  }
  const service = QueryServiceResponse.encode({ service: undefined }).finish()
  const question = METHODS.service.encode({ id: 's', dehydrated: true })
  node.play(madeUp(METHODS.service.path, question, { value: base64(service) }))
  await t.rejects(query.service('s'), { code: 'RESPONSE', data: { field: /service$/ } })
})

t.test('every recorded answer of a method we have is read to the last byte', async (t) => {
  const methods = new Map<string, { decode(value: Uint8Array): unknown }>(
    Object.values(METHODS).map((method) => [method.path, method]),
  )
  let read = 0
  for (const { name, path, value_hex } of ABCI) {
    const method = methods.get(path)
    if (method === undefined || value_hex === null || value_hex === '') continue
    t.ok(method.decode(unhex(value_hex)) !== undefined, name)
    read++
  }
  t.ok(read >= 35, `${read} answers`)
  const params = QueryParamsAtHeightResponse.decode(
    unhex(named('shared_params_at_zero').value_hex ?? ''),
  )
  t.equal(params.params?.numBlocksPerSession, 10n)
})

t.test('an abort reaches the node', async (t) => {
  const { query } = await setUp(t)
  const reason = new Error('enough')
  await t.rejects(query.proofParams(AbortSignal.abort(reason)), reason)
  await t.rejects(query.settlements(height(1), AbortSignal.abort(reason)), reason)
})
