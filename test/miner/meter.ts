import t from 'tap'
import { Meter, type MeterDeps } from '../../src/miner/meter.ts'
import { sharedParams } from '../support/params.ts'
import { session } from '../support/sessions.ts'

const signal = new AbortController().signal
const record = session({ at: 'serving' })

/** 1,000 upokt a relay; 15 suppliers, 2 pending sessions: 30,000 upokt of stake for each upokt of limit. */
function deps(stake: bigint, over: { served?: number; spend?: string } = {}): MeterDeps {
  const coin = (amount: string) => ({ denom: 'upokt', amount })
  return {
    chain: {
      sharedParams: async () => sharedParams(),
      sessionParams: async () => ({ numSuppliersPerSession: 15n }),
      application: async () => ({
        address: '',
        stake: coin(String(stake)),
        serviceConfigs: [],
        delegateeGatewayAddresses: [],
        pendingUndelegations: new Map(),
        unstakeSessionEndHeight: 0n,
        pendingTransfer: undefined,
        perSessionSpendLimit: over.spend === undefined ? undefined : coin(over.spend),
        serviceConfigHistory: [],
      }),
    },
    relays: { served: async () => over.served ?? 0 },
  }
}

t.test("an application's stake pays for so many relays and no more", async (t) => {
  const meter = new Meter(deps(15n * 2n * 3_000n))
  const all = await Promise.all([1, 2, 3, 4].map(() => meter.reserve(record, signal)))
  t.strictSame(
    all.map((one) => one !== undefined),
    [true, true, true, false],
  )
  all[0]?.refund()
  all[0]?.refund()
  t.ok(await meter.reserve(record, signal), 'what was given back can be taken again, once')
  t.notOk(await meter.reserve(record, signal))
  all[1]?.settle()
  all[1]?.refund()
  t.notOk(await meter.reserve(record, signal), 'what was settled is not given back')
})

t.test('after a restart what was served counts', async (t) => {
  const meter = new Meter(deps(15n * 2n * 3_000n, { served: 2 }))
  t.ok(await meter.reserve(record, signal))
  t.notOk(await meter.reserve(record, signal))
})

t.test('two operators of one session do not share a meter', async (t) => {
  const meter = new Meter(deps(15n * 2n * 1_000n))
  const other = {
    ...record,
    key: { ...record.key, operator: record.header.applicationAddress as never },
  }
  t.ok(await meter.reserve(record, signal))
  t.ok(await meter.reserve(other, signal))
})

t.test('a chain that does not answer closes the meter, for now', async (t) => {
  let silent = true
  const good = deps(15n * 2n * 1_000n)
  const meter = new Meter({
    ...good,
    chain: {
      ...good.chain,
      sessionParams: () =>
        silent ? Promise.reject(new Error('no answer')) : good.chain.sessionParams(),
    },
  })
  await t.rejects(meter.reserve(record, signal), { code: 'METER', retryable: true })
  silent = false
  t.ok(await meter.reserve(record, signal))
})

t.test('relays of less than an upokt each are counted in full', async (t) => {
  const price = { computeUnitsToTokensMultiplier: 1_500n, computeUnitCostGranularity: 1_000_000n }
  const cheap = { ...record, price }
  const meter = new Meter(deps(15n * 2n * 3n))
  let taken = 0
  while (taken < 10 && (await meter.reserve(cheap, signal)) !== undefined) taken++
  t.equal(taken, 2, 'three upokt pay for two relays of one and a half')
})

t.test("the application's own limit for a session counts too", async (t) => {
  const meter = new Meter(deps(15n * 2n * 9_000n, { spend: '30000' }))
  t.ok(await meter.reserve(record, signal))
  t.ok(await meter.reserve(record, signal))
  t.notOk(await meter.reserve(record, signal), 'its fifteenth part, not the share of the stake')
})

t.test('a client that is gone reserves nothing', async (t) => {
  const meter = new Meter(deps(15n * 2n * 1_000n))
  const gone = AbortSignal.abort(new Error('gone'))
  await t.rejects(meter.reserve(record, gone), { message: 'gone' })
  t.ok(await meter.reserve(record, signal), 'the only relay it can pay for is still there')
})

t.test('a forgotten session is not kept', async (t) => {
  const meter = new Meter(deps(15n * 2n * 1_000n))
  await meter.reserve(record, signal)
  t.equal(meter.size, 1)
  meter.forget(record.key)
  t.equal(meter.size, 0)
})
