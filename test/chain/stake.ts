import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { hex, unhex } from '../../src/base/bytes.ts'
import { type Address, height, type Upokt, upokt } from '../../src/base/units.ts'
import {
  addServiceMessage,
  createClaimMessage,
  delegateMessage,
  type StakeQuery,
  type SupplierStake,
  sendMessage,
  stakeApplicationMessage,
  stakeCosts,
  stakeGatewayMessage,
  stakeSupplierMessage,
  submitProofMessage,
  unstakeCosts,
  unstakeSupplierMessage,
} from '../../src/chain/stake.ts'
import { packageRoot } from '../../src/config/root.ts'
import { MsgSend } from '../../src/protocol/gen/cosmos/bank/bank.ts'
import { TxBody, TxRaw } from '../../src/protocol/gen/cosmos/tx/tx.ts'
import {
  MsgDelegateToGateway,
  MsgStakeApplication,
} from '../../src/protocol/gen/pocket/application/application.ts'
import { MsgStakeGateway } from '../../src/protocol/gen/pocket/gateway/gateway.ts'
import {
  MsgCreateClaim,
  MsgSubmitProof,
  Params as ProofParams,
} from '../../src/protocol/gen/pocket/proof/proof.ts'
import { MsgAddService } from '../../src/protocol/gen/pocket/service/service.ts'
import { Params as SharedParams, Supplier } from '../../src/protocol/gen/pocket/shared/shared.ts'
import {
  MsgStakeSupplier,
  MsgUnstakeSupplier,
  Params as SupplierParams,
} from '../../src/protocol/gen/pocket/supplier/supplier.ts'
import { recordings } from '../support/recorded-node.ts'

const TXS = JSON.parse(
  readFileSync(join(packageRoot(), 'test/vectors/chain/txs.json'), 'utf8'),
) as Record<string, { tx_hex: string }>

const OWNER = 'pokt1nk6qr3rzufhztprhs05xv90reg0t4d83gj8qxu' as Address
const OPERATOR = 'pokt1unuuu9ysz4ehvmx6ga26xqyhezqkr3eel2xx08' as Address
const STRANGER = 'pokt1thv8l0lajcgurxu2k79cfxle9aj9elc6raglg6' as Address

/** Every message of the recorded transactions is built again from its parts. */
t.test('the messages that the reference tools send', async (t) => {
  let built = 0
  for (const [name, { tx_hex }] of Object.entries(TXS)) {
    for (const recorded of TxBody.decode(TxRaw.decode(unhex(tx_hex)).bodyBytes).messages) {
      const ours = rebuild(recorded.typeUrl, recorded.value)
      t.equal(ours.typeUrl, recorded.typeUrl, name)
      t.equal(hex(ours.value), hex(recorded.value), `${name} ${recorded.typeUrl}`)
      built++
    }
  }
  t.equal(built, 11)
})

function rebuild(typeUrl: string, value: Uint8Array) {
  if (typeUrl.endsWith('MsgCreateClaim')) {
    const { supplierOperatorAddress, sessionHeader, rootHash } = MsgCreateClaim.decode(value)
    if (sessionHeader === undefined) throw new Error('no header')
    return createClaimMessage(supplierOperatorAddress, sessionHeader, rootHash)
  }
  if (typeUrl.endsWith('MsgSubmitProof')) {
    const { supplierOperatorAddress, sessionHeader, proof } = MsgSubmitProof.decode(value)
    if (sessionHeader === undefined) throw new Error('no header')
    return submitProofMessage(supplierOperatorAddress, sessionHeader, proof)
  }
  if (typeUrl.endsWith('MsgUnstakeSupplier')) {
    const { signer, operatorAddress } = MsgUnstakeSupplier.decode(value)
    return unstakeSupplierMessage(signer as Address, operatorAddress as Address)
  }
  const { signer, ownerAddress, operatorAddress, stake, services } = MsgStakeSupplier.decode(value)
  return stakeSupplierMessage({
    signer: signer as Address,
    owner: ownerAddress as Address,
    operator: operatorAddress as Address,
    stake: stake === undefined ? undefined : upokt(stake.amount),
    services,
  })
}

t.test('messages for the other actors', async (t) => {
  const application = stakeApplicationMessage(OWNER, upokt(5), 'text-gen')
  t.equal(application.typeUrl, '/pocket.application.MsgStakeApplication')
  t.match(MsgStakeApplication.decode(application.value), {
    address: OWNER,
    stake: { denom: 'upokt', amount: '5' },
    services: [{ serviceId: 'text-gen' }],
    perSessionSpendLimit: undefined,
  })
  const limited = stakeApplicationMessage(OWNER, upokt(5), 'text-gen', upokt(0))
  t.match(MsgStakeApplication.decode(limited.value).perSessionSpendLimit, { amount: '0' })
  const gateway = stakeGatewayMessage(OWNER, upokt(7))
  t.equal(gateway.typeUrl, '/pocket.gateway.MsgStakeGateway')
  t.match(MsgStakeGateway.decode(gateway.value), { address: OWNER, stake: { amount: '7' } })
  const delegation = delegateMessage(OWNER, OPERATOR)
  t.equal(delegation.typeUrl, '/pocket.application.MsgDelegateToGateway')
  t.strictSame(MsgDelegateToGateway.decode(delegation.value), {
    appAddress: OWNER,
    gatewayAddress: OPERATOR,
  })
  const service = { owner: OWNER, id: 's', name: 'S', computeUnitsPerRelay: 4_000n }
  const added = addServiceMessage(service)
  t.equal(added.typeUrl, '/pocket.service.MsgAddService')
  t.match(MsgAddService.decode(added.value), {
    ownerAddress: OWNER,
    service: { id: 's', name: 'S', computeUnitsPerRelay: 4_000n, ownerAddress: OWNER },
  })
  t.equal(MsgAddService.decode(added.value).service?.metadata, undefined, 'the card stays')
  const carded = addServiceMessage({ ...service, card: Uint8Array.of(1) })
  t.strictSame(MsgAddService.decode(carded.value).service?.metadata, { card: Uint8Array.of(1) })
  const sent = sendMessage(OWNER, OPERATOR, upokt(3))
  t.equal(sent.typeUrl, '/cosmos.bank.v1beta1.MsgSend')
  t.strictSame(MsgSend.decode(sent.value), {
    fromAddress: OWNER,
    toAddress: OPERATOR,
    amount: [{ denom: 'upokt', amount: '3' }],
  })
})

function recorded(name: string): Uint8Array {
  const { value_hex } = recordings<{ name: string; value_hex: string }>('abci_query').find(
    (one) => one.name === name,
  ) ?? { value_hex: '' }
  // The answer's only field: tag, length (of one or two bytes), message.
  const bytes = unhex(value_hex)
  return bytes.subarray((bytes[1] ?? 0) > 127 ? 3 : 2)
}

const PROOF = ProofParams.decode(recorded('params_proof'))
const SUPPLIERS = SupplierParams.decode(recorded('params_supplier'))
const SHARED = SharedParams.decode(recorded('params_shared'))
const STAKED = Supplier.decode(recorded('supplier'))
const MIN = 59_500_000_000n
const SERVICE = {
  serviceId: 'text-gen',
  endpoints: [{ url: 'https://a.example', rpcType: 3 as const, configs: [] }],
  revShare: [{ address: OWNER as string, revSharePercentage: 100n }],
}

function chain(
  change: { supplier?: Supplier | undefined; balance?: bigint; claims?: number } = {},
) {
  const supplier = 'supplier' in change ? change.supplier : STAKED
  return {
    supplierParams: async () => SUPPLIERS,
    sharedParams: async () => SHARED,
    proofParams: async () => PROOF,
    supplier: async () => supplier,
    balance: async () => upokt(change.balance ?? 10n ** 15n),
    service: async (id: string) => (id === 'text-gen' ? { id } : undefined),
    claims: async () => new Array(change.claims ?? 0).fill({}),
  } as unknown as StakeQuery
}

function stake(change: Partial<SupplierStake> = {}): SupplierStake {
  return { signer: OPERATOR, owner: OWNER, operator: OPERATOR, services: [SERVICE], ...change }
}

const texts = (concerns: readonly { prevents: boolean; text: string }[]) =>
  concerns.map(({ prevents, text }) => `${prevents ? 'no' : 'hm'}: ${text}`)

t.test('what a first stake costs', async (t) => {
  const query = chain({ supplier: undefined })
  const costs = await stakeCosts(query, stake({ stake: upokt(60_000_000_000n) }), height(203))
  t.strictSame(costs, {
    stakeBefore: 0n,
    stakeAfter: 60_000_000_000n,
    locked: 60_000_000_000n,
    released: 0n,
    stakingFee: 1n,
    minStake: MIN,
    unbondingBlocks: 10,
    activeFrom: 211,
    balance: 10n ** 15n,
    concerns: [],
  })
})

t.test('a change costs the difference and the fee', async (t) => {
  const before = BigInt(STAKED.stake?.amount ?? '0')
  const more = await stakeCosts(chain(), stake({ stake: upokt(before + 5n) }), height(203))
  t.match(more, { stakeBefore: before, locked: 5n, released: 0n, stakingFee: 1n, concerns: [] })
  const less = await stakeCosts(chain(), stake({ stake: upokt(before - 5n) }), height(203))
  t.match(less, { stakeAfter: before - 5n, locked: 0n, released: 5n })
  const same = await stakeCosts(chain(), stake(), height(203))
  t.match(same, { stakeAfter: before, locked: 0n, released: 0n, concerns: [] })
})

t.test('what the chain would refuse', async (t) => {
  const unbonding = { ...STAKED, unstakeSessionEndHeight: 210n }
  const at = (amount: bigint) => ({ stake: upokt(amount) })
  const cases: [id: string, query: StakeQuery, change: Partial<SupplierStake>, text: RegExp][] = [
    ['nothing staked', chain({ supplier: undefined }), {}, /^no: a new supplier needs a stake$/],
    [
      'too little',
      chain(),
      at(MIN - 1n),
      /^no: 59499\.999999 POKT is below the minimum 59500 POKT$/,
    ],
    [
      'too poor',
      chain({ supplier: undefined, balance: MIN + 1n }),
      at(MIN + 1n),
      /^no: .*too little$/,
    ],
    [
      'unknown service',
      chain(),
      { services: [{ ...SERVICE, serviceId: 'nope' }] },
      /^no: service nope/,
    ],
    ['services by the owner', chain(), { signer: OWNER }, /^no: services are set by the operator/],
    [
      'a stranger',
      chain(),
      { signer: STRANGER, services: [] },
      /^no: only the owner or the operator/,
    ],
    [
      'new owner by the operator',
      chain(),
      { owner: STRANGER },
      /^no: only its owner .* the owner$/,
    ],
    [
      'back by the operator',
      chain({ supplier: unbonding }),
      {},
      /^no: only the owner may take it back/,
    ],
  ]
  for (const [id, query, change, text] of cases) {
    const { concerns } = await stakeCosts(query, stake(change), height(203))
    t.ok(
      texts(concerns).some((line) => text.test(line)),
      `${id}: ${texts(concerns).join(' | ')}`,
    )
  }
})

t.test('what a person may regret', async (t) => {
  const { concerns: slashable } = await stakeCosts(
    chain(),
    stake({ stake: MIN as Upokt }),
    height(203),
  )
  t.match(texts(slashable), [/^hm: one missed proof takes the stake below the minimum/])
  const { concerns: safe } = await stakeCosts(
    chain(),
    stake({ stake: upokt(MIN + 1n) }),
    height(203),
  )
  t.strictSame(safe, [], 'one penalty above the minimum')
  const fresh = chain({ supplier: undefined })
  const idle = await stakeCosts(fresh, stake({ stake: upokt(MIN * 2n), services: [] }), height(203))
  t.strictSame(texts(idle.concerns), ['hm: without services nothing is served'])
  const two = { ...STAKED, services: [...STAKED.services, { ...SERVICE, serviceId: 'anvil' }] }
  const { concerns: dropping } = await stakeCosts(chain({ supplier: two }), stake(), height(203))
  t.match(texts(dropping), [/^hm: anvil ends with this session/])
  const owner = { signer: OWNER, services: [] }
  const unbonding = chain({ supplier: { ...STAKED, unstakeSessionEndHeight: 210n } })
  const { concerns: back } = await stakeCosts(unbonding, stake(owner), height(203))
  t.strictSame(texts(back), ['hm: takes the unstaking back'])
})

t.test('what unstaking costs', async (t) => {
  const costs = await unstakeCosts(chain(), OPERATOR, OPERATOR, height(203))
  t.strictSame(costs, {
    stake: upokt(STAKED.stake?.amount ?? '0'),
    owner: OWNER,
    returnedAt: 220,
    safeFrom: 220,
    concerns: [],
  })
  t.equal(
    await unstakeCosts(chain({ supplier: undefined }), OWNER, OPERATOR, height(203)),
    undefined,
  )
  const claims = await unstakeCosts(chain({ claims: 2 }), OWNER, OPERATOR, height(203))
  t.match(texts(claims?.concerns ?? []), [/^hm: 2 claims are not settled yet/])
  const stranger = await unstakeCosts(chain(), STRANGER, OPERATOR, height(203))
  t.match(texts(stranger?.concerns ?? []), [/^no: only the owner or the operator may unstake/])
  const supplier = { ...STAKED, unstakeSessionEndHeight: 210n }
  const twice = await unstakeCosts(chain({ supplier }), OPERATOR, OPERATOR, height(203))
  t.match(texts(twice?.concerns ?? []), [/^no: already unstaking/])
})
