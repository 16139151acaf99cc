import t from 'tap'
import { coin, upokt } from '../../src/base/units.ts'
import { endApplications } from '../../src/devnet/applications.ts'
import { checkDelegation, delegate, undelegate } from '../../src/devnet/delegations.ts'
import {
  checkStakeGateway,
  endGateways,
  stakeGateway,
  unstakeGateway,
} from '../../src/devnet/gateways.ts'
import { changeParams } from '../../src/devnet/params.ts'
import { Settling, WHO } from '../support/settling.ts'
import { CUPR, SERVICE, typed } from '../support/simchain.ts'

const POKT = 1_000_000n
const { application, rival: gateway, stranger, owner } = WHO

const REDELEGATED = 'pocket.application.EventRedelegation'

/** A gateway with 5,000 POKT, to which nothing is delegated; it and a stranger have a million. */
function chain(): Settling {
  return new Settling({
    accounts: [gateway, stranger].map((address) => ({
      address,
      balance: upokt(1_000_000n * POKT),
    })),
    services: [{ id: SERVICE, computeUnitsPerRelay: CUPR }],
    gateways: [{ address: gateway }],
  })
}

const to = (gatewayAddress: string, appAddress = application) => ({ appAddress, gatewayAddress })

function delegations(simulated: Settling) {
  const known = simulated.state.applications.get(application)
  return {
    now: known?.delegateeGatewayAddresses,
    pending: [...(known?.pendingUndelegations ?? [])].map(([end, list]) => [
      Number(end),
      list.gatewayAddresses,
    ]),
  }
}

t.test('a delegation counts at once', async (t) => {
  const simulated = chain()
  const context = simulated.context(6)
  delegate(context, to(gateway))
  t.same(delegations(simulated), { now: [gateway], pending: [] })
  t.match(typed(context.events, REDELEGATED), [
    { application: { delegatee_gateway_addresses: [gateway] }, session_end_height: '8' },
  ])
})

t.test('an undelegation is remembered for two sessions after its own', async (t) => {
  const simulated = chain()
  delegate(simulated.context(6), to(gateway))
  undelegate(simulated.context(7), to(gateway))
  t.same(delegations(simulated), { now: [], pending: [[8, [gateway]]] })
  // 8, and then two sessions of 4 and a grace period of 1.
  endApplications(simulated.context(17))
  t.same(delegations(simulated).pending, [[8, [gateway]]])
  endApplications(simulated.context(18))
  t.same(delegations(simulated).pending, [])
})

t.test('delegating again forgets the undelegation', async (t) => {
  const simulated = chain()
  delegate(simulated.context(6), to(gateway))
  undelegate(simulated.context(7), to(gateway))
  delegate(simulated.context(7), to(gateway))
  t.same(delegations(simulated), { now: [gateway], pending: [] })
})

t.test('every rule of delegating refuses in its own words', async (t) => {
  const simulated = chain()
  stakeGateway(simulated.context(5), { address: stranger, stake: coin(upokt(5_000n * POKT)) })
  delegate(simulated.context(6), to(gateway))
  const refused = (log: string) => ({ number: 1, message: `rpc error: code = ${log}` })
  t.throws(
    () => delegate(simulated.context(6), to(gateway, owner)),
    refused(`NotFound desc = application with address: ${owner}: application not found`),
  )
  t.throws(
    () => delegate(simulated.context(6), to(owner)),
    refused(`NotFound desc = gateway with address: "${owner}": gateway not found`),
  )
  t.throws(
    () => delegate(simulated.context(6), to(gateway)),
    refused(
      `AlreadyExists desc = application with address "${application}" already delegated to gateway with address: "${gateway}": application already delegated to gateway`,
    ),
  )
  t.throws(
    () => undelegate(simulated.context(6), to(stranger)),
    refused(
      `FailedPrecondition desc = application with address "${application}" not delegated to gateway with address: "${stranger}": application not delegated to gateway`,
    ),
  )
  t.throws(
    () => undelegate(simulated.context(6), to(gateway, owner)),
    refused(`NotFound desc = application with address: "${owner}": application not found`),
  )
  unstakeGateway(simulated.context(6), { address: stranger })
  t.throws(
    () => delegate(simulated.context(9), to(stranger)),
    refused(
      `FailedPrecondition desc = gateway with address: "${stranger}": gateway is no longer active`,
    ),
  )
  changeParams(simulated.context(6), 'application', { maxDelegatedGateways: 1n })
  t.throws(
    () => delegate(simulated.context(6), to(stranger)),
    refused(
      `FailedPrecondition desc = application with address "${application}" already delegated to 1 (max) gateways: maximum number of delegated gateways reached`,
    ),
  )
  t.same(delegations(simulated), { now: [gateway], pending: [] })
  t.throws(() => checkDelegation(to(gateway, '')), {
    message: /^invalid application address ; \(.*\): invalid application address$/,
  })
  t.throws(() => checkDelegation(to('')), {
    message: /^invalid gateway address ; \(.*\): invalid gateway address$/,
  })
})

t.test(
  'a gateway that leaves takes its delegations with it when its session is over',
  async (t) => {
    const simulated = chain()
    delegate(simulated.context(6), to(gateway))
    const context = simulated.context(6)
    unstakeGateway(context, { address: gateway })
    t.match(typed(context.events, 'pocket.gateway.EventGatewayUnbondingBegin'), [
      { session_end_height: '8', unbonding_end_height: '16' },
    ])
    endGateways(simulated.context(8))
    t.same(delegations(simulated), { now: [gateway], pending: [] })
    endGateways(simulated.context(9))
    t.same(delegations(simulated), { now: [], pending: [[12, [gateway]]] })
    endGateways(simulated.context(12))
    t.ok(simulated.state.gateways.get(gateway))
    endGateways(simulated.context(16))
    t.equal(simulated.state.gateways.get(gateway), undefined)
    t.equal(simulated.balance(gateway), 1_005_000n * POKT)
  },
)

t.test('staking as a gateway', async (t) => {
  const simulated = chain()
  const stake = (address: string, pokt: bigint, at = 6) => {
    const context = simulated.context(at)
    stakeGateway(context, { address, stake: coin(upokt(pokt * POKT)) })
    return context.events
  }
  t.equal(typed(stake(stranger, 5_000n), 'pocket.gateway.EventGatewayStaked').length, 1)
  t.equal(simulated.balance(stranger), 995_000n * POKT)
  t.throws(() => stake(stranger, 5_000n), {
    message:
      /^rpc error: code = InvalidArgument desc = stake amount 5000000000upokt must be higher/,
  })
  t.throws(() => stake(owner, 4_999n), {
    message: `rpc error: code = InvalidArgument desc = gateway "${owner}" must stake at least 5000000000upokt: invalid gateway stake`,
  })
  unstakeGateway(simulated.context(6), { address: gateway })
  t.throws(() => unstakeGateway(simulated.context(6), { address: gateway }), {
    message: `rpc error: code = FailedPrecondition desc = gateway with address "${gateway}": gateway is in unbonding period`,
  })
  t.throws(() => unstakeGateway(simulated.context(6), { address: owner }), {
    message: `rpc error: code = NotFound desc = gateway with address ${owner}: gateway not found`,
  })
  const canceled = 'pocket.gateway.EventGatewayUnbondingCanceled'
  t.equal(typed(stake(gateway, 5_001n, 7), canceled).length, 1)
  endGateways(simulated.context(16))
  t.ok(simulated.state.gateways.get(gateway))
  const forms: [denom: string, amount: string, log: RegExp][] = [
    ['upokt', 'x', /^invalid gateway stake xupokt; \(invalid amount\): /],
    ['upokt', '0', /^invalid stake amount for gateway: 0upokt <= 0: /],
    ['pokt', '1', /^invalid stake amount denom for gateway 1pokt: /],
  ]
  for (const [denom, amount, log] of forms)
    t.throws(
      () => checkStakeGateway({ address: gateway, stake: { denom, amount } }),
      { message: log },
      String(log),
    )
  t.throws(() => checkStakeGateway({ address: gateway, stake: undefined }), {
    message: 'nil gateway stake; (<nil>): invalid gateway stake',
  })
})
