import t from 'tap'
import { coin, upokt } from '../../src/base/units.ts'
import { moduleAddress } from '../../src/devnet/bank.ts'
import type { GenesisInput } from '../../src/devnet/genesis.ts'
import { changeParams } from '../../src/devnet/params.ts'
import { activeServices } from '../../src/devnet/session.ts'
import {
  activateServices,
  checkStakeSupplier,
  checkUnstakeSupplier,
  pruneConfigs,
  stakeSupplier,
  unbondSuppliers,
  unstakeSupplier,
} from '../../src/devnet/suppliers.ts'
import { MsgStakeSupplier } from '../../src/protocol/gen/pocket/supplier/supplier.ts'
import { Settling, WHO } from '../support/settling.ts'
import { CUPR, SERVICE, typed } from '../support/simchain.ts'

const POKT = 1_000_000n
const POOL = moduleAddress('supplier')
const { operator, owner, rival, stranger } = WHO

const STAKED = 'pocket.supplier.EventSupplierStaked'
const ACTIVATED = 'pocket.supplier.EventSupplierServiceConfigActivated'
const CANCELED = 'pocket.supplier.EventSupplierUnbondingCanceled'
const BEGIN = 'pocket.supplier.EventSupplierUnbondingBegin'
const END = 'pocket.supplier.EventSupplierUnbondingEnd'

/** The operator is staked for its owner with 60,000 POKT; everybody has a million. */
function chain(input: GenesisInput = {}): Settling {
  const accounts = [operator, owner, rival, stranger].map((address) => ({
    address,
    balance: upokt(1_000_000n * POKT),
  }))
  const services = [
    { id: SERVICE, computeUnitsPerRelay: CUPR },
    { id: 'other', computeUnitsPerRelay: 1n },
  ]
  return new Settling({ accounts, services, ...input })
}

function offering(...ids: string[]) {
  return ids.map((serviceId) => ({
    serviceId,
    endpoints: [{ url: 'http://127.0.0.1:1', rpcType: 3 as const, configs: [] }],
    revShare: [{ address: owner, revSharePercentage: 100n }],
  }))
}

function message(change: Partial<MsgStakeSupplier> = {}): MsgStakeSupplier {
  const base = { signer: operator, ownerAddress: owner, operatorAddress: operator }
  return MsgStakeSupplier.fromPartial({ ...base, ...change })
}

function newcomer(change: Partial<MsgStakeSupplier> = {}): MsgStakeSupplier {
  const stake = coin(upokt(59_500n * POKT))
  return message({
    signer: stranger,
    operatorAddress: stranger,
    ownerAddress: stranger,
    stake,
    ...change,
  })
}

function configs(chain: Settling, of: string) {
  return chain.state.suppliers
    .get(of)
    ?.serviceConfigHistory.map((update) => [
      update.service?.serviceId,
      Number(update.activationHeight),
      Number(update.deactivationHeight),
    ])
}

t.test('a new supplier pays stake and fee, and serves from the next session on', async (t) => {
  const simulated = chain()
  const context = simulated.context(6)
  const before = simulated.balance(POOL)
  stakeSupplier(context, newcomer({ services: offering(SERVICE) }))
  t.equal(simulated.balance(stranger), 940_500n * POKT - 1n)
  t.equal(simulated.balance(POOL) - before, 59_500n * POKT + 1n)
  t.same(configs(simulated, stranger), [[SERVICE, 9, 0]])
  t.match(typed(context.events, STAKED), [{ operator_address: stranger, session_end_height: '8' }])
  const supplier = simulated.state.suppliers.get(stranger)
  t.same(supplier && activeServices(supplier, 8), [])
  t.equal(supplier && activeServices(supplier, 9).length, 1)
  const [early, first] = [simulated.context(8), simulated.context(9)]
  for (const block of [early, first]) activateServices(block)
  t.same(typed(early.events, ACTIVATED), [])
  t.match(typed(first.events, ACTIVATED), [{ activation_height: '9', service_id: SERVICE }])
})

t.test('a third party may stake for others, without services', async (t) => {
  const simulated = chain()
  stakeSupplier(simulated.context(6), newcomer({ signer: rival }))
  t.equal(simulated.balance(rival), 940_500n * POKT - 1n)
  t.equal(simulated.state.suppliers.get(stranger)?.ownerAddress, stranger)
  t.same(configs(simulated, stranger), [])
})

t.test('a stake is the new total: more from the signer, less to the owner', async (t) => {
  const simulated = chain()
  stakeSupplier(simulated.context(6), message({ stake: coin(upokt(60_010n * POKT)) }))
  t.equal(simulated.balance(operator), 999_990n * POKT - 1n)
  stakeSupplier(simulated.context(6), message({ stake: coin(upokt(59_600n * POKT)) }))
  t.equal(simulated.balance(operator), 999_990n * POKT - 2n, 'the fee is taken each time')
  t.equal(simulated.balance(owner), 1_000_410n * POKT)
  stakeSupplier(simulated.context(6), message())
  t.equal(simulated.stakeOf(operator), 59_600n * POKT, 'left out, it stays')
  t.same(configs(simulated, operator), [[SERVICE, 1, 0]], 'and so do the services')
})

t.test('services are replaced as a whole, at the next session', async (t) => {
  const simulated = chain()
  stakeSupplier(simulated.context(6), message({ services: offering('other') }))
  t.same(configs(simulated, operator), [
    ['other', 9, 0],
    [SERVICE, 1, 9],
  ])
  stakeSupplier(simulated.context(7), message({ services: offering('other', SERVICE) }))
  t.same(
    configs(simulated, operator),
    [
      ['other', 9, 0],
      [SERVICE, 1, 9],
      [SERVICE, 9, 0],
    ],
    'what waits for the same session is replaced',
  )
})

t.test('the owner may name another owner', async (t) => {
  const simulated = chain()
  stakeSupplier(simulated.context(6), message({ signer: owner, ownerAddress: rival }))
  t.equal(simulated.state.suppliers.get(operator)?.ownerAddress, rival)
})

t.test('every rule of staking refuses in its own words', async (t) => {
  const cases: [message: MsgStakeSupplier, log: string][] = [
    [
      message({ signer: owner, ownerAddress: POOL }),
      `InvalidArgument desc = owner address ${POOL} is a module account and cannot be used: invalid address`,
    ],
    [
      message({ services: offering('none') }),
      'InvalidArgument desc = service "none" does not exist: service not found',
    ],
    [
      newcomer({ stake: undefined }),
      'InvalidArgument desc = when staking a new supplier, the stake amount MUST be non-nil: invalid supplier stake',
    ],
    [
      message({ signer: stranger }),
      `InvalidArgument desc = signer address ${stranger} does not match owner address ${owner} or supplier operator address ${operator}: unauthorized supplier update`,
    ],
    [
      message({ ownerAddress: rival }),
      `InvalidArgument desc = signer "${operator}" is not allowed to update the owner address "${owner}": unauthorized supplier update`,
    ],
    [
      message({ signer: owner, services: offering(SERVICE) }),
      'InvalidArgument desc = only the operator account is authorized to update the service configurations: unauthorized supplier update',
    ],
    [
      message({ stake: coin(upokt(59_499n * POKT)) }),
      `InvalidArgument desc = supplier with owner "${owner}" must stake at least 59500000000upokt: invalid supplier stake`,
    ],
    [
      newcomer({ stake: coin(upokt(2_000_000n * POKT)) }),
      'Internal desc = spendable balance 1000000000000upokt is smaller than 2000000000000upokt: insufficient funds',
    ],
    [
      newcomer({ stake: coin(upokt(1_000_000n * POKT)) }),
      'FailedPrecondition desc = spendable balance  is smaller than 1upokt: insufficient funds',
    ],
  ]
  for (const [refused, log] of cases) {
    const expected = { number: 1, codespace: 'undefined', message: `rpc error: code = ${log}` }
    t.throws(() => stakeSupplier(chain().context(6), refused), expected, log)
  }
})

t.test('what the form of a message must be', async (t) => {
  const cases: [message: MsgStakeSupplier, code: number, log: RegExp][] = [
    [message({ ownerAddress: '' }), 1102, /^invalid owner address ; \(empty address string is not/],
    [message({ operatorAddress: 'x' }), 1102, /^invalid operator address x; \(/],
    [message({ signer: 'pokt1x' }), 1102, /^invalid signer address pokt1x; \(/],
    [message({ stake: coin(upokt(0n)) }), 1101, /^invalid coin amount: 0upokt <= 0: /],
    [
      message({ stake: { denom: 'pokt', amount: '1' } }),
      1101,
      /^invalid coin denom: expected upokt, got pokt: /,
    ],
    [message({ signer: owner, services: offering(SERVICE) }), 1104, /^only the operator account/],
    [message({ services: offering(SERVICE, SERVICE) }), 1104, /^duplicate service ID: text-gen: /],
  ]
  for (const [refused, code, log] of cases)
    t.throws(
      () => checkStakeSupplier(refused),
      { number: code, codespace: 'supplier', message: log },
      String(log),
    )
  checkStakeSupplier(message())
  checkStakeSupplier(newcomer({ services: offering(SERVICE, 'other') }))
  t.throws(() => checkUnstakeSupplier({ signer: '', operatorAddress: operator }), {
    message: 'invalid signer address (empty address string is not allowed): invalid address',
  })
  t.throws(() => checkUnstakeSupplier({ signer: owner, operatorAddress: '' }), {
    message: 'invalid operator address (empty address string is not allowed): invalid address',
  })
})

t.test('who unstakes serves its session, waits, and is paid out to its owner', async (t) => {
  const simulated = chain()
  const context = simulated.context(6)
  unstakeSupplier(context, { signer: owner, operatorAddress: operator })
  t.match(typed(context.events, BEGIN), [
    {
      reason: 'SUPPLIER_UNBONDING_REASON_VOLUNTARY',
      session_end_height: '8',
      unbonding_end_height: '16',
    },
  ])
  t.same(configs(simulated, operator), [[SERVICE, 1, 9]])
  for (const at of [8, 12, 15]) unbondSuppliers(simulated.context(at))
  t.ok(simulated.state.suppliers.get(operator))
  const end = simulated.context(16)
  unbondSuppliers(end)
  t.equal(simulated.state.suppliers.get(operator), undefined)
  t.equal(simulated.balance(owner), 1_060_000n * POKT)
  t.match(typed(end.events, END), [
    { reason: 'SUPPLIER_UNBONDING_REASON_VOLUNTARY', unbonding_end_height: '16' },
  ])
})

t.test('the period is that of the session that was left', async (t) => {
  const simulated = chain()
  unstakeSupplier(simulated.context(6), { signer: owner, operatorAddress: operator })
  changeParams(simulated.context(9), 'shared', { supplierUnbondingPeriodSessions: 20n })
  unbondSuppliers(simulated.context(16))
  t.equal(simulated.state.suppliers.get(operator), undefined)
})

t.test('unstaking is refused to strangers, and twice', async (t) => {
  const simulated = chain()
  const unstake = (signer: string, of = operator) =>
    unstakeSupplier(simulated.context(6), { signer, operatorAddress: of })
  const refused = (log: string) => ({ number: 1, message: `rpc error: code = ${log}` })
  t.throws(
    () => unstake(stranger, stranger),
    refused(`NotFound desc = supplier with operator address "${stranger}": supplier not found`),
  )
  t.throws(
    () => unstake(stranger),
    refused(
      `PermissionDenied desc = signer "${stranger}" is not allowed to unstake supplier ${operator}: unauthorized supplier update`,
    ),
  )
  unstake(operator)
  t.throws(
    () => unstake(owner),
    refused(
      `FailedPrecondition desc = supplier with operator address "${operator}": supplier is in unbonding period`,
    ),
  )
})

t.test('only the owner takes an unstaking back', async (t) => {
  const simulated = chain()
  unstakeSupplier(simulated.context(6), { signer: owner, operatorAddress: operator })
  t.throws(() => stakeSupplier(simulated.context(7), message()), {
    message: `rpc error: code = PermissionDenied desc = signer "${operator}" is not allowed to cancel the unbonding of supplier with owner "${owner}"; only the owner can cancel an in-progress unstake: unauthorized supplier update`,
  })
  const context = simulated.context(7)
  stakeSupplier(context, message({ signer: owner }))
  t.equal(simulated.state.suppliers.get(operator)?.unstakeSessionEndHeight, 0n)
  t.match(typed(context.events, CANCELED), [{ session_end_height: '8', height: '7' }])
  for (const at of [16, 20]) unbondSuppliers(simulated.context(at))
  t.equal(simulated.stakeOf(operator), 60_000n * POKT)
})

t.test(
  'a configuration is forgotten when none of its sessions can be proved any more',
  async (t) => {
    const simulated = chain()
    stakeSupplier(simulated.context(6), message({ services: offering('other') }))
    const known = () => configs(simulated, operator)?.length
    for (const at of [9, 12, 14]) pruneConfigs(simulated.context(at))
    t.equal(known(), 2, 'its last session ends at 8 and can be proved until 14')
    pruneConfigs(simulated.context(15))
    t.same(configs(simulated, operator), [['other', 9, 0]])
  },
)
