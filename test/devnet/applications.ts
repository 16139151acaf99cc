import t from 'tap'
import { coin, upokt } from '../../src/base/units.ts'
import {
  checkStakeApplication,
  endApplications,
  stakeApplication,
  unstakeApplication,
} from '../../src/devnet/applications.ts'
import { moduleAddress } from '../../src/devnet/bank.ts'
import type { Coin } from '../../src/protocol/gen/cosmos/base/base.ts'
import { MsgStakeApplication } from '../../src/protocol/gen/pocket/application/application.ts'
import { Settling, WHO } from '../support/settling.ts'
import { CUPR, SERVICE, typed } from '../support/simchain.ts'

const POKT = 1_000_000n
const POOL = moduleAddress('application')
const { application, stranger } = WHO

const STAKED = 'pocket.application.EventApplicationStaked'
const CANCELED = 'pocket.application.EventApplicationUnbondingCanceled'
const BEGIN = 'pocket.application.EventApplicationUnbondingBegin'
const END = 'pocket.application.EventApplicationUnbondingEnd'

const amount = (pokt: bigint): Coin => coin(upokt(pokt * POKT))

/** The application is staked with 10,000 POKT; it and a stranger have a million each. */
function chain(): Settling {
  return new Settling({
    accounts: [application, stranger].map((address) => ({
      address,
      balance: upokt(1_000_000n * POKT),
    })),
    services: [
      { id: SERVICE, computeUnitsPerRelay: CUPR },
      { id: 'other', computeUnitsPerRelay: 1n },
    ],
  })
}

function message(change: Partial<MsgStakeApplication> = {}): MsgStakeApplication {
  const base = { address: application, stake: amount(10_001n), services: [{ serviceId: SERVICE }] }
  return MsgStakeApplication.fromPartial({ ...base, ...change })
}

t.test('a new application pays its stake and is there at once', async (t) => {
  const simulated = chain()
  const context = simulated.context(6)
  stakeApplication(context, message({ address: stranger, stake: amount(1_000n) }))
  t.equal(simulated.balance(stranger), 999_000n * POKT)
  t.equal(simulated.balance(POOL), 11_000n * POKT)
  t.match(simulated.state.applications.get(stranger), {
    serviceConfigs: [{ serviceId: SERVICE }],
    delegateeGatewayAddresses: [],
    serviceConfigHistory: [],
  })
  t.match(typed(context.events, STAKED), [
    { application: { address: stranger }, session_end_height: '8' },
  ])
})

t.test('a stake only grows', async (t) => {
  const simulated = chain()
  stakeApplication(simulated.context(6), message())
  t.equal(simulated.balance(application), 999_999n * POKT)
  t.throws(() => stakeApplication(simulated.context(6), message()), {
    message:
      'rpc error: code = InvalidArgument desc = stake amount 10001000000upokt must be higher than previous stake amount 10001000000upokt: invalid application stake',
  })
  t.throws(
    () =>
      stakeApplication(simulated.context(6), message({ address: stranger, stake: amount(999n) })),
    {
      message: `rpc error: code = InvalidArgument desc = application "${stranger}" must stake at least 1000000000upokt: invalid application stake`,
    },
  )
  t.throws(() => stakeApplication(simulated.context(6), message({ stake: amount(2_000_000n) })), {
    message: /^rpc error: code = Internal desc = spendable balance 999999000000upokt is smaller/,
  })
})

t.test('another service counts from the next session on', async (t) => {
  const simulated = chain()
  const history = () =>
    simulated.state.applications
      .get(application)
      ?.serviceConfigHistory.map((update) => [
        update.service?.serviceId,
        Number(update.activationHeight),
        Number(update.deactivationHeight),
      ])
  stakeApplication(simulated.context(5), message())
  t.same(history(), [], 'the same service makes no history')
  const services = [{ serviceId: 'other' }]
  stakeApplication(simulated.context(6), message({ stake: amount(10_002n), services }))
  t.same(history(), [
    [SERVICE, 1, 9],
    ['other', 9, 0],
  ])
  stakeApplication(simulated.context(10), message({ stake: amount(10_003n) }))
  t.same(history(), [
    [SERVICE, 1, 9],
    ['other', 9, 13],
    [SERVICE, 13, 0],
  ])
})

t.test('the spend limit stays, changes, or goes with 0', async (t) => {
  const simulated = chain()
  const limit = () => simulated.state.applications.get(application)?.perSessionSpendLimit
  const stake = (pokt: bigint, perSessionSpendLimit?: Coin) =>
    stakeApplication(simulated.context(6), message({ stake: amount(pokt), perSessionSpendLimit }))
  stake(10_001n, amount(5n))
  t.same(limit(), amount(5n))
  stake(10_002n)
  t.same(limit(), amount(5n))
  stake(10_003n, amount(0n))
  t.equal(limit(), undefined)
})

t.test('what the form of a message must be', async (t) => {
  const cases: [message: MsgStakeApplication, code: number, log: RegExp][] = [
    [message({ address: '' }), 1102, /^invalid application address ; \(empty address/],
    [message({ stake: undefined }), 1101, /^nil application stake; \(<nil>\): /],
    [
      message({ stake: { denom: 'upokt', amount: '-1' } }),
      1101,
      /^invalid application stake -1upokt;/,
    ],
    [message({ stake: amount(0n) }), 1101, /^invalid stake amount for application: 0upokt <= 0: /],
    [
      message({ stake: { denom: 'pokt', amount: '1' } }),
      1101,
      /^invalid stake amount denom for application: 1pokt: /,
    ],
    [message({ services: [] }), 1106, /^application must have exactly one service: /],
    [
      message({ services: [{ serviceId: 'a' }, { serviceId: 'b' }] }),
      1106,
      /^application must have exactly one service: /,
    ],
    [message({ services: [{ serviceId: 'a b' }] }), 1106, /contains invalid characters/],
    [
      message({ perSessionSpendLimit: { denom: 'upokt', amount: '999999' } }),
      1118,
      /^per_session_spend_limit 999999upokt must be at least 1000000upokt: /,
    ],
  ]
  for (const [refused, code, log] of cases)
    t.throws(
      () => checkStakeApplication(refused),
      { codespace: 'application', number: code, message: log },
      String(log),
    )
  checkStakeApplication(message({ perSessionSpendLimit: amount(0n) }))
  checkStakeApplication(message({ perSessionSpendLimit: amount(1n) }))
})

t.test('who unstakes pays until its session ends, waits, and gets the stake back', async (t) => {
  const simulated = chain()
  const context = simulated.context(6)
  unstakeApplication(context, { address: application })
  t.match(typed(context.events, BEGIN), [
    {
      reason: 'APPLICATION_UNBONDING_REASON_ELECTIVE',
      session_end_height: '8',
      unbonding_end_height: '16',
    },
  ])
  t.throws(() => unstakeApplication(simulated.context(7), { address: application }), {
    message: `rpc error: code = FailedPrecondition desc = application with address "${application}": application is in unbonding period`,
  })
  t.throws(() => unstakeApplication(simulated.context(7), { address: stranger }), {
    message: `rpc error: code = NotFound desc = application with address "${stranger}": application not found`,
  })
  for (const at of [8, 12, 15]) endApplications(simulated.context(at))
  t.ok(simulated.state.applications.get(application))
  const end = simulated.context(16)
  endApplications(end)
  t.equal(simulated.state.applications.get(application), undefined)
  t.equal(simulated.balance(application), 1_010_000n * POKT)
  t.match(typed(end.events, END), [{ reason: 'APPLICATION_UNBONDING_REASON_ELECTIVE' }])
})

t.test('staking more takes an unstaking back', async (t) => {
  const simulated = chain()
  unstakeApplication(simulated.context(6), { address: application })
  const context = simulated.context(7)
  stakeApplication(context, message())
  t.equal(simulated.state.applications.get(application)?.unstakeSessionEndHeight, 0n)
  t.equal(typed(context.events, CANCELED).length, 1)
  endApplications(simulated.context(16))
  t.equal(simulated.stakeOf(application), 10_001n * POKT)
})
