import t from 'tap'
import { silentLog } from '../../src/base/log.ts'
import { type Address, upokt } from '../../src/base/units.ts'
import { ChainError } from '../../src/chain/errors.ts'
import { stakeProblems, stakesOf } from '../../src/node/stakes.ts'
import type { SupplierReport } from '../../src/ops/report.ts'
import type {
  ServiceConfigUpdate,
  Supplier,
  SupplierServiceConfig,
} from '../../src/protocol/gen/pocket/shared/shared.ts'

const OPERATOR = 'pokt1x4rdhtep3kvy6vmw2352da95vtnxwggcz027ar' as Address
const never = new AbortController().signal

function service(serviceId: string): SupplierServiceConfig {
  return { serviceId, endpoints: [], revShare: [] }
}

function update(serviceId: string, from: bigint, to = 0n): ServiceConfigUpdate {
  return {
    operatorAddress: OPERATOR,
    service: service(serviceId),
    activationHeight: from,
    deactivationHeight: to,
  }
}

function supplier(over: Partial<Supplier> = {}): Supplier {
  return {
    ownerAddress: OPERATOR,
    operatorAddress: OPERATOR,
    stake: { denom: 'upokt', amount: '60000000000' },
    services: [service('text')],
    unstakeSessionEndHeight: 0n,
    serviceConfigHistory: [update('text', 1n)],
    ...over,
  }
}

/** Of one operator, as the chain answers. */
async function told(answer: () => Supplier | undefined, signal = never): Promise<SupplierReport> {
  const frame = {
    signers: new Map([[OPERATOR, undefined as never]]),
    deps: { log: silentLog() } as never,
  }
  const query = { balance: async () => upokt(5), supplier: async () => answer() }
  const [report] = await stakesOf(frame, { query: query as never }, signal)
  if (report === undefined) throw new Error('no report')
  return report
}

t.test('balance and stake as the chain tells them', async (t) => {
  t.strictSame(await told(supplier), {
    operator: OPERATOR,
    balanceUpokt: '5',
    stake: { upokt: '60000000000', services: ['text'], unstakingAt: null },
  })
})

t.test('a service that starts with the next session counts, one that ends does not', async (t) => {
  const { stake } = await told(() =>
    supplier({
      services: [],
      serviceConfigHistory: [update('ending', 1n, 60n), update('coming', 61n)],
    }),
  )
  t.strictSame(stake?.services, ['coming'])
})

t.test('not staked is told from not known', async (t) => {
  const none = await told(() => undefined)
  t.strictSame(none.stake, { upokt: '0', services: [], unstakingAt: null })
  const silent = await told(() => {
    throw new ChainError('RPC_UNREACHABLE', 'nobody')
  })
  t.equal(silent.stake, null)
  t.equal(silent.balanceUpokt, '5', 'what is known is told all the same')
})

t.test('an abort is passed on', async (t) => {
  const stop = new AbortController()
  stop.abort(new Error('nobody waits'))
  const asked = told(() => {
    throw new ChainError('RPC_UNREACHABLE', 'nobody')
  }, stop.signal)
  await t.rejects(asked, { message: 'nobody waits' })
})

t.test('what keeps an operator from earning is a sentence with a remedy', async (t) => {
  const config = { services: [{ id: 'text' }, { id: 'image' }] } as never
  const problems = async (answer: Supplier | undefined) =>
    stakeProblems({ config }, [await told(() => answer)])
  t.strictSame(await problems(supplier({ services: [service('text'), service('image')] })), [])
  t.strictSame(await problems(supplier()), [
    `${OPERATOR} is not staked for image; run: pokt-supplier stake`,
  ])
  t.strictSame(await problems(undefined), [`${OPERATOR} is not staked; run: pokt-supplier stake`])
  t.strictSame(await problems(supplier({ unstakeSessionEndHeight: 60n })), [
    `${OPERATOR} is unstaking since the session that ends at 60`,
  ])
  const unknown = { operator: OPERATOR, balanceUpokt: null, stake: null }
  t.strictSame(stakeProblems({ config }, [unknown]), [], 'a silent node is no such problem')
})
