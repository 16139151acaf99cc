import t from 'tap'
import { silentLog } from '../../src/base/log.ts'
import { ms, upokt } from '../../src/base/units.ts'
import { loadCurve } from '../../src/crypto/secp256k1.ts'
import { Archive } from '../../src/devnet/archive.ts'
import { moduleAddress } from '../../src/devnet/bank.ts'
import { Devnet } from '../../src/devnet/chain.ts'
import {
  DAO,
  devnetGenesis,
  GENESIS_PARAMS,
  type GenesisInput,
  writeGenesis,
} from '../../src/devnet/genesis.ts'
import { ManualClock } from '../support/clock.ts'
import { WHO } from '../support/settling.ts'

const POKT = 1_000_000n

function written(input: GenesisInput) {
  const state = new Archive(10).stateAt(0)
  writeGenesis(state, devnetGenesis(input))
  return state
}

t.test('what is left out is filled in', async (t) => {
  const genesis = devnetGenesis({ params: { shared: { numBlocksPerSession: 10n } } })
  t.equal(genesis.params.shared.numBlocksPerSession, 10n)
  t.equal(genesis.params.shared.claimWindowCloseOffsetBlocks, 2n)
  t.same(genesis.params.proof, GENESIS_PARAMS.proof)
  t.same(genesis.accounts, [])
  t.throws(() => devnetGenesis({ params: { shared: { numBlocksPerSession: 1n } } }), {
    code: 'PARAMS',
  })
})

t.test('everybody is on the chain, and stakes are in their pools', async (t) => {
  const { application, operator, owner, rival, author } = WHO
  const state = written({
    accounts: [{ address: author, balance: upokt(7n), publicKey: new Uint8Array(33).fill(2) }],
    services: [
      { id: 'a', computeUnitsPerRelay: 5n },
      { id: 'b', computeUnitsPerRelay: 6n, owner: author, name: 'B' },
    ],
    gateways: [{ address: rival }],
    applications: [
      { address: application, serviceId: 'a', gateways: [rival], spendLimit: upokt(9n) },
    ],
    suppliers: [{ operator, owner, services: ['b', 'a'], url: 'http://x' }],
  })
  t.match(state.accounts.get(author), {
    number: 0n,
    sequence: 0n,
    publicKey: new Uint8Array(33).fill(2),
  })
  t.equal(state.balances.get(author), 7n)
  t.match(state.services.get('a'), { name: 'a', ownerAddress: DAO, computeUnitsPerRelay: 5n })
  t.match(state.services.get('b'), { name: 'B', ownerAddress: author })
  t.match(state.applications.get(application), {
    stake: { amount: '10000000000' },
    delegateeGatewayAddresses: [rival],
    perSessionSpendLimit: { amount: '9' },
  })
  const supplier = state.suppliers.get(operator)
  t.equal(supplier?.ownerAddress, owner)
  t.same(
    supplier?.serviceConfigHistory.map((update) => [
      update.service?.serviceId,
      update.activationHeight,
    ]),
    [
      ['a', 1n],
      ['b', 1n],
    ],
  )
  t.same(supplier?.serviceConfigHistory[0]?.service?.revShare, [
    { address: owner, revSharePercentage: 100n },
  ])
  t.equal(state.balances.get(moduleAddress('supplier')), 60_000n * POKT)
  t.equal(state.balances.get(moduleAddress('application')), 10_000n * POKT)
  t.equal(state.balances.get(moduleAddress('gateway')), 5_000n * POKT)
})

t.test('what is named must be there', async (t) => {
  const { application, operator, rival } = WHO
  const services = [{ id: 'a', computeUnitsPerRelay: 5n }]
  const url = 'http://x'
  const cases: [input: GenesisInput, message: string][] = [
    [{ applications: [{ address: application, serviceId: 'a' }] }, 'no service a'],
    [{ services, suppliers: [{ operator, services: ['a', 'b'], url }] }, 'no service b'],
    [
      { services, applications: [{ address: application, serviceId: 'a', gateways: [rival] }] },
      `no gateway ${rival} for application ${application}`,
    ],
  ]
  for (const [input, message] of cases)
    t.throws(() => written(input), { code: 'GENESIS', message }, message)
})

t.test('the first block has the time of the genesis, or of the clock', async (t) => {
  const clock = new ManualClock()
  const deps = { clock, curve: loadCurve(), log: silentLog() }
  const late = new Devnet(deps, { genesis: devnetGenesis({ time: ms(1_700_000_000_000) }) })
  t.equal(late.head.time, 1_700_000_000_000_000_000n)
  const now = new Devnet(deps, { genesis: devnetGenesis() })
  t.equal(now.head.time, BigInt(Math.floor(clock.now())) * 1_000_000n)
})
