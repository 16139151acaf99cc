import t from 'tap'
import { hex, unhex, utf8 } from '../../src/base/bytes.ts'
import { Refusal } from '../../src/devnet/errors.ts'
import { answerQuery, ROUTES } from '../../src/devnet/queries.ts'
import { paged } from '../../src/devnet/route.ts'
import { PageRequest } from '../../src/protocol/gen/cosmos/base/query.ts'
import { GasInfo, SimulateRequest } from '../../src/protocol/gen/cosmos/tx/tx.ts'
import {
  QueryAllClaimsRequest,
  QueryAllClaimsResponse,
  QueryGetClaimRequest,
  QueryGetClaimResponse,
} from '../../src/protocol/gen/pocket/proof/proof.ts'
import {
  QueryAllSuppliersRequest,
  QueryAllSuppliersResponse,
} from '../../src/protocol/gen/pocket/supplier/supplier.ts'
import { RecordedChain } from '../support/recorded-chain.ts'
import { Simchain } from '../support/simchain.ts'
import { json } from '../support/vectors.ts'

interface Row {
  readonly name: string
  readonly path: string
  readonly data_hex: string
  readonly value_hex: string | null
  readonly response: {
    readonly result: {
      readonly response: { code: number; codespace: string; log: string; height: string }
    }
  }
}

const rows = json<Row[]>('chain/abci_query.json')

function asked(chain: RecordedChain, row: Row): { code: number; log: string; value?: string } {
  try {
    const { height } = row.response.result.response
    const value = ROUTES.get(row.path)?.(chain.context(Number(height), 0n), unhex(row.data_hex))
    return { code: 0, log: '', value: hex(value ?? new Uint8Array(0)) }
  } catch (error) {
    if (error instanceof Refusal) return { code: error.number, log: error.message }
    throw error
  }
}

t.test('refusals have the codes and words of recorded ones', async (t) => {
  const chain = new RecordedChain()
  chain.supplier('supplier1', 'owner1', 211n, 'http://127.0.0.1:18599')
  chain.state.suppliers.delete('supplier3')
  let count = 0
  for (const row of rows) {
    const { code, log } = row.response.result.response
    // Those about supplier1 were asked before it was staked.
    if (code === 0 || !ROUTES.has(row.path) || row.name === 'supplier_not_found') continue
    if (row.name.startsWith('pruned') || /^(future|negative)_height$/.test(row.name)) continue
    count++
    const answer = asked(chain, row)
    t.equal(answer.code, code, `${row.name}: code`)
    t.equal(answer.log, log, `${row.name}: log`)
  }
  t.ok(count > 20, `${count} rows`)
})

t.test('answers are those recorded, byte for byte', async (t) => {
  const chain = new RecordedChain()
  chain.supplier('supplier1', 'owner1', 11n, 'http://127.0.0.1:18545')
  const names = [
    'params_tokenomics',
    'params_supplier',
    'params_service',
    'params_session',
    'params_application',
    'params_gateway',
    'shared_params_at_before_change',
    'shared_params_at_height_1',
    'gateway',
    'service',
    'auth_params',
    'node_config',
    'account_app',
    'balance_unknown_address',
    'balance_unknown_denom',
    'difficulty_not_found',
    'difficulty_at_start_of_A',
    'cupr_at_height',
    'claims_before',
    'supplier_right_after_stake',
    'session_running',
    'session_A_app1',
    'session_A_app2',
  ]
  for (const name of names) {
    const row = rows.find((one) => one.name === name)
    if (row === undefined) throw new RangeError(`no recording ${name}`)
    if (row.name === 'session_running')
      chain.supplier('supplier3', 'owner3', 21n, 'http://127.0.0.1:9')
    t.equal(asked(chain, row).value, row.value_hex ?? '', name)
  }
})

t.test('a height: latest, past, future, negative, forgotten', async (t) => {
  const chain = new Simchain({}, { keep: 5 })
  await chain.mineTo(10)
  const ask = (at: number) =>
    answerQuery(chain.devnet, '/pocket.shared.Query/Params', new Uint8Array(0), at)
  t.match(ask(0), { code: 0, height: 10 })
  t.match(ask(7), { code: 0, height: 7 })
  t.match(ask(11), { code: 26, height: 0 })
  t.match(ask(-1), { code: 18, height: 0 })
  t.match(ask(5), { code: 38, height: 0, log: /version does not exist/ })
  for (const path of ['nonsense', 'constructor']) {
    const unknown = answerQuery(chain.devnet, path, new Uint8Array(0), 0)
    t.match(unknown, { code: 6, log: 'unknown query path: unknown request' })
  }
})

t.test('the past is answered as it was', async (t) => {
  const chain = new Simchain()
  await chain.mineTo(5)
  const header = chain.header()
  const relays = chain.relays(header, 1)
  await chain.mineTo(9)
  await chain.run(chain.operator, [await chain.claim(header, relays)])
  const data = QueryGetClaimRequest.encode({
    sessionId: header.sessionId,
    supplierOperatorAddress: chain.operator.address,
  }).finish()
  await chain.mineTo(16)
  const ask = (at: number) => answerQuery(chain.devnet, '/pocket.proof.Query/Claim', data, at)
  t.equal(ask(9).code, 22, 'not yet')
  const { claim } = QueryGetClaimResponse.decode(ask(10).value ?? new Uint8Array(0))
  t.equal(claim?.sessionHeader?.sessionId, header.sessionId)
  t.equal(ask(0).code, 22, 'no longer')
})

t.test('claims by supplier, session and end; suppliers by service', async (t) => {
  const chain = new Simchain()
  await chain.mineTo(5)
  const header = chain.header()
  await chain.mineTo(9)
  await chain.run(chain.operator, [await chain.claim(header, chain.relays(header, 1))])
  const claims = (request: Partial<QueryAllClaimsRequest>) => {
    const data = QueryAllClaimsRequest.encode(QueryAllClaimsRequest.fromPartial(request)).finish()
    const { value } = answerQuery(chain.devnet, '/pocket.proof.Query/AllClaims', data, 0)
    return QueryAllClaimsResponse.decode(value ?? new Uint8Array(0)).claims.length
  }
  t.equal(claims({}), 1)
  t.equal(claims({ supplierOperatorAddress: chain.operator.address }), 1)
  t.equal(claims({ supplierOperatorAddress: chain.rival.address }), 0)
  t.equal(claims({ sessionId: header.sessionId }), 1)
  t.equal(claims({ sessionEndHeight: 8n }), 1)
  t.equal(claims({ sessionEndHeight: 9n }), 0)
  const suppliers = (serviceId: string) => {
    const request = QueryAllSuppliersRequest.fromPartial({ serviceId, dehydrated: true })
    const data = QueryAllSuppliersRequest.encode(request).finish()
    const { value } = answerQuery(chain.devnet, '/pocket.supplier.Query/AllSuppliers', data, 0)
    return QueryAllSuppliersResponse.decode(value ?? new Uint8Array(0)).supplier
  }
  t.equal(suppliers('anvil').length, 0)
  t.match(suppliers('text-gen'), [{ services: [{ revShare: [] }], serviceConfigHistory: [] }])
})

t.test('pages follow one another', async (t) => {
  const items = ['a', 'b', 'c', 'd', 'e']
  const ask = (page: Partial<PageRequest>) => paged(items, PageRequest.fromPartial(page))
  const [first, next] = ask({ limit: 2n, countTotal: true })
  t.same(first, ['a', 'b'])
  t.equal(next.total, 5n)
  const [second, then] = ask({ limit: 2n, key: next.nextKey })
  t.same(second, ['c', 'd'])
  const [third, end] = ask({ limit: 2n, key: then.nextKey })
  t.same([third, end.nextKey.length], [['e'], 0])
  t.same(ask({ offset: 4n })[0], ['e'])
})

t.test('simulation tells the gas and throws away what it did', async (t) => {
  const chain = new Simchain()
  const before = chain.devnet.contextAt(chain.height).state.balances.get(chain.owner.address)
  const simulate = (txBytes: Uint8Array) => {
    const data = SimulateRequest.encode({ txBytes }).finish()
    const path = '/cosmos.tx.v1beta1.Service/Simulate'
    const { value, code, log } = answerQuery(chain.devnet, path, data, 0)
    t.equal(code, 0, log)
    const bytes = value ?? new Uint8Array(0)
    return GasInfo.decode(bytes.subarray(2, 2 + (bytes[1] ?? 0)))
  }
  const sent = [chain.send(chain.owner, chain.rival, 1n)]
  const tx = chain.tx(chain.owner, sent)
  const info = simulate(tx)
  t.equal(info.gasWanted, 2n ** 64n - 1n)
  const bare = simulate(chain.tx(chain.owner, sent, { fee: 'none' }))
  chain.devnet.broadcast(tx)
  const [real] = (await chain.devnet.mine()).results
  t.equal(info.gasUsed, real?.gasUsed, 'exact with a fee')
  t.ok(bare.gasUsed < info.gasUsed - 16_900n, 'too low without one')
  const after = chain.devnet.contextAt(chain.height).state.balances.get(chain.owner.address)
  t.equal((before ?? 0n) - (after ?? 0n), 2n, 'only the real one was paid')
})

t.test('a failed simulation is one code, told apart by its text', async (t) => {
  const chain = new Simchain()
  await chain.mineTo(5)
  const header = chain.header()
  const claim = await chain.claim(header, chain.relays(header, 1))
  const simulate = (txBytes: Uint8Array) =>
    answerQuery(
      chain.devnet,
      '/cosmos.tx.v1beta1.Service/Simulate',
      SimulateRequest.encode({ txBytes }).finish(),
      0,
    )
  const early = simulate(chain.tx(chain.operator, [claim]))
  const recorded = json<Row[]>('chain/simulate.json').find(
    ({ name }) => name === 'claim_window_not_open',
  )
  t.match(recorded?.response.result.response, { code: 6, codespace: 'sdk' })
  t.match(early, { code: 6, codespace: 'sdk' })
  const form = (log: string) => log.replace(/\d+/g, 'N')
  t.equal(form(early.log), form(recorded?.response.result.response.log ?? ''))
  const sequence = simulate(
    chain.tx(chain.owner, [chain.send(chain.owner, chain.rival, 1n)], {
      ordered: true,
      sequence: 9n,
    }),
  )
  t.match(sequence, { code: 6, log: /account sequence mismatch, expected 0, got 9/ })
  t.match(simulate(utf8('garbage')), { code: 6, log: /tx parse error/ })
  t.match(simulate(new Uint8Array(0)), { code: 18 })
})
