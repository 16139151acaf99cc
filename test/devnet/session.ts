import t from 'tap'
import { unhex } from '../../src/base/bytes.ts'
import { height, upokt } from '../../src/base/units.ts'
import type { GenesisInput } from '../../src/devnet/genesis.ts'
import { changeParams } from '../../src/devnet/params.ts'
import { hydrate, sessionOfHeader } from '../../src/devnet/session.ts'
import { stakeSupplier, unstakeSupplier } from '../../src/devnet/suppliers.ts'
import { MsgStakeSupplier } from '../../src/protocol/gen/pocket/supplier/supplier.ts'
import { Settling, WHO } from '../support/settling.ts'
import { SERVICE } from '../support/simchain.ts'
import { rows } from '../support/vectors.ts'

const { application, operator, owner, rival } = WHO

function ask(chain: Settling, at: number, now = at, who = application, serviceId = SERVICE) {
  return hydrate(chain.context(now), { application: who, serviceId, at: height(at) })
}

interface IdRow {
  readonly application_address: string
  readonly service_id: string
  readonly block_hash: string
  readonly session_start: string
  readonly session_id: string
}

t.test('a session has the id that the chain gives it', async (t) => {
  const known = rows<IdRow>('session.jsonl', 'session-id').filter(
    (row) =>
      row.session_start === '5' && row.block_hash.length === 64 && row.service_id.length < 43,
  )
  t.ok(known.length > 1)
  for (const row of known) {
    const chain = new Settling({
      services: [{ id: row.service_id, computeUnitsPerRelay: 1n }],
      applications: [{ address: row.application_address, serviceId: row.service_id }],
      suppliers: [{ operator, services: [row.service_id], url: 'http://x' }],
    })
    chain.state.blockHashes.set('5', unhex(row.block_hash))
    const session = ask(chain, 7, 8, row.application_address, row.service_id)
    t.equal(session.sessionId, row.session_id, row.id)
    t.match(session.header, { sessionStartBlockHeight: 5n, sessionEndBlockHeight: 8n }, row.id)
  }
})

t.test('a session tells its number, its length, and who pays and serves', async (t) => {
  const chain = new Settling()
  const session = ask(chain, 6)
  t.match(session, { sessionNumber: 2n, numBlocksPerSession: 4n })
  t.equal(session.application?.address, application)
  t.same(
    session.suppliers.map((supplier) => supplier.operatorAddress).sort(),
    [operator, rival].sort(),
  )
  for (const supplier of session.suppliers) {
    t.same(
      supplier.services.map(({ serviceId }) => serviceId),
      [SERVICE],
    )
    t.same(supplier.serviceConfigHistory, [])
  }
})

t.test('every rule of a session refuses in its own words', async (t) => {
  const input = { services: [SERVICE, 'other'].map((id) => ({ id, computeUnitsPerRelay: 1n })) }
  const chain = new Settling(input)
  const cases: [work: () => unknown, code: number, log: string][] = [
    [
      () => ask(chain, 7, 6),
      1101,
      'block height 7 is ahead of the last committed block height 6: error during session hydration',
    ],
    [
      () => ask(chain, 6, 6, application, 'a b'),
      1101,
      "service ID 'a b' contains invalid characters: invalid service ID: error during session hydration",
    ],
    [
      () => ask(chain, 6, 6, operator),
      1102,
      `could not find app with address "${operator}" at height 5: application for session not found not found `,
    ],
    [
      () => ask(chain, 6, 6, application, 'other'),
      1103,
      `application "${application}" not staked for service ID "other": application in session not staked for requested service`,
    ],
    [
      () => ask(new Settling({ suppliers: [] }), 6),
      1104,
      `could not find suppliers for service ${SERVICE} at height 5: no suppliers not found for session`,
    ],
  ]
  for (const [work, number, message] of cases)
    t.throws(work, { codespace: 'session', number, message }, message)
})

t.test('an application that leaves has its session until the end', async (t) => {
  const chain = new Settling()
  const known = chain.state.applications.get(application)
  if (known !== undefined)
    chain.state.applications.set(application, { ...known, unstakeSessionEndHeight: 8n })
  t.ok(ask(chain, 8))
  t.throws(() => ask(chain, 9), { number: 1109, message: / is not active for session / })
  t.ok(ask(chain, 8, 12), 'also when it is asked for later')
})

t.test('an application that changed its service is asked for what it had then', async (t) => {
  const input = { services: [SERVICE, 'other'].map((id) => ({ id, computeUnitsPerRelay: 1n })) }
  const chain = new Settling(input)
  const known = chain.state.applications.get(application)
  const update = (serviceId: string, activationHeight: bigint, deactivationHeight: bigint) => ({
    applicationAddress: application,
    service: { serviceId },
    activationHeight,
    deactivationHeight,
  })
  if (known !== undefined)
    chain.state.applications.set(application, {
      ...known,
      serviceConfigs: [{ serviceId: 'other' }],
      serviceConfigHistory: [update(SERVICE, 1n, 9n), update('other', 9n, 0n)],
    })
  t.ok(ask(chain, 8, 12))
  t.throws(() => ask(chain, 9, 12), { number: 1103, message: / not staked for service ID / })
})

t.test('no more suppliers are chosen than a session has', async (t) => {
  const suppliers = ['a', 'b', 'c', 'd', 'e'].map((name) => ({
    operator: `pokt1${name}`,
    services: [SERVICE],
    url: 'http://x',
  }))
  const chain = new Settling({ suppliers, params: { session: { numSuppliersPerSession: 2n } } })
  const chosen = (at: number) => ask(chain, at, 40).suppliers.map((one) => one.operatorAddress)
  const pairs = new Set([1, 5, 9, 13, 17, 21, 25, 29, 33, 37].map((at) => chosen(at).join()))
  t.ok(pairs.size > 3, 'others in every session')
  for (const pair of pairs) t.equal(pair.split(',').length, 2, pair)
  t.same(chosen(6), chosen(8), 'the same in all of one')

  changeParams(chain.context(10), 'session', { numSuppliersPerSession: 5n })
  t.equal(chosen(12).length, 2, 'older sessions keep their number')
  t.equal(chosen(13).length, 5)
})

t.test('who was chosen stays chosen, whatever it does afterwards', async (t) => {
  const chain = new Settling()
  const { header } = ask(chain, 5)
  if (header === undefined) throw new RangeError('no header')
  unstakeSupplier(chain.context(6), { signer: operator, operatorAddress: operator })
  const asked = { ...header, start: header.sessionStartBlockHeight }
  t.ok(sessionOfHeader(chain.context(20), asked, operator))
  t.throws(() => sessionOfHeader(chain.context(20), { ...asked, start: 9n }, operator), {
    codespace: 'proof',
    number: 1116,
    message: /^session ID does not match onchain session ID; expected "/,
  })
  const next = ask(chain, 9).header
  t.throws(
    () =>
      sessionOfHeader(
        chain.context(20),
        { ...asked, start: 9n, sessionId: next?.sessionId ?? '' },
        operator,
      ),
    {
      codespace: 'proof',
      number: 1102,
      message: `supplier operator address "${operator}" not found in session ID "${next?.sessionId}": supplier not found`,
    },
  )
})

t.test('fewer than a session has are listed by when they came, then by address', async (t) => {
  const accounts = [owner, operator].map((address) => ({ address, balance: upokt(10n ** 12n) }))
  const input: GenesisInput = {
    accounts,
    suppliers: [{ operator, owner, services: [SERVICE], url: 'http://x' }],
  }
  const chain = new Settling(input)
  const offer = {
    serviceId: SERVICE,
    endpoints: [{ url: 'http://y', rpcType: 3 as const, configs: [] }],
    revShare: [{ address: owner, revSharePercentage: 100n }],
  }
  const staking = (address: string) =>
    MsgStakeSupplier.fromPartial({
      signer: address,
      ownerAddress: address,
      operatorAddress: address,
      stake: { denom: 'upokt', amount: '60000000000' },
      services: [offer],
    })
  stakeSupplier(chain.context(2), staking(owner))
  t.same(
    ask(chain, 5).suppliers.map((one) => one.operatorAddress),
    [operator, owner],
  )
  stakeSupplier(
    chain.context(6),
    MsgStakeSupplier.fromPartial({
      signer: operator,
      ownerAddress: owner,
      operatorAddress: operator,
      services: [offer],
    }),
  )
  t.same(
    ask(chain, 9).suppliers.map((one) => one.operatorAddress),
    [owner, operator],
  )
  t.equal(ask(chain, 9).suppliers[1]?.services[0]?.endpoints[0]?.url, 'http://y')
  t.equal(ask(chain, 8, 9).suppliers[0]?.services[0]?.endpoints[0]?.url, 'http://x')
})
