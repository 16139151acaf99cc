import t from 'tap'
import { unhex } from '../../src/base/bytes.ts'
import { type Address, computeUnits, height, upokt } from '../../src/base/units.ts'
import type { ServiceCard } from '../../src/chain/card.ts'
import { offerConcerns, type SupplierStake } from '../../src/chain/concern.ts'
import { breakEven, type StakeQuery, stakeCosts, unstakeCosts } from '../../src/chain/costs.ts'
import { Params as ProofParams } from '../../src/protocol/gen/pocket/proof/proof.ts'
import { Params as SharedParams, Supplier } from '../../src/protocol/gen/pocket/shared/shared.ts'
import { Params as SupplierParams } from '../../src/protocol/gen/pocket/supplier/supplier.ts'
import { Params as TokenomicsParams } from '../../src/protocol/gen/pocket/tokenomics/tokenomics.ts'
import { recordings } from '../support/recorded-node.ts'

const OWNER = 'pokt1nk6qr3rzufhztprhs05xv90reg0t4d83gj8qxu' as Address
const OPERATOR = 'pokt1unuuu9ysz4ehvmx6ga26xqyhezqkr3eel2xx08' as Address
const STRANGER = 'pokt1thv8l0lajcgurxu2k79cfxle9aj9elc6raglg6' as Address
const GAS = upokt(1)
const KEY = new Uint8Array(33).fill(2)

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
const TOKENOMICS = TokenomicsParams.decode(recorded('params_tokenomics'))
const STAKED = Supplier.decode(recorded('supplier'))
const MIN = 59_500_000_000n
const SERVICE = {
  serviceId: 'text-gen',
  endpoints: [{ url: 'https://a.example', rpcType: 3 as const, configs: [] }],
  revShare: [
    { address: OWNER as string, revSharePercentage: 80n },
    { address: OPERATOR as string, revSharePercentage: 20n },
  ],
}

function chain(
  change: {
    supplier?: Supplier | undefined
    balance?: bigint
    claims?: number
    publicKey?: Uint8Array
  } = {},
) {
  const supplier = 'supplier' in change ? change.supplier : STAKED
  return {
    supplierParams: async () => SUPPLIERS,
    sharedParams: async () => SHARED,
    proofParams: async () => PROOF,
    supplier: async () => supplier,
    balance: async () => upokt(change.balance ?? 10n ** 15n),
    account: async () => ({ number: 1n, sequence: 0n, publicKey: change.publicKey }),
    service: async (id: string) => (id === 'text-gen' ? { id } : undefined),
    claims: async () => new Array(change.claims ?? 0).fill({}),
  } as unknown as StakeQuery
}

function stake(change: Partial<SupplierStake> = {}): SupplierStake {
  return { signer: OPERATOR, owner: OWNER, operator: OPERATOR, services: [SERVICE], ...change }
}

const texts = (concerns: readonly { prevents: boolean; text: string }[]) =>
  concerns.map(({ prevents, text }) => `${prevents ? 'no' : 'hm'}: ${text}`)

const concernsOf = async (query: StakeQuery, change: Partial<SupplierStake> = {}) =>
  (await stakeCosts(query, stake(change), height(203), GAS)).concerns

t.test('what a first stake costs', async (t) => {
  const query = chain({ supplier: undefined, balance: 60_000_000_001n })
  const first = stake({ stake: upokt(60_000_000_000n) })
  const { concerns, ...costs } = await stakeCosts(query, first, height(203), upokt(5))
  t.strictSame(costs, {
    stakeBefore: 0n,
    stakeAfter: 60_000_000_000n,
    locked: 60_000_000_000n,
    released: 0n,
    stakingFee: 1n,
    minStake: MIN,
    penalty: 1n,
    unbondingBlocks: 10,
    activeFrom: 211,
    balance: 60_000_000_001n,
    missing: 5n,
  })
  t.strictSame(texts(concerns), ['no: the signer has 60000.000001 POKT; 0.000005 POKT are missing'])
  t.equal(concerns[0]?.isFunds, true)
})

t.test('a change costs the difference and the fee', async (t) => {
  const before = BigInt(STAKED.stake?.amount ?? '0')
  const at = async (amount?: bigint) => {
    const change = stake(amount === undefined ? {} : { stake: upokt(amount) })
    return await stakeCosts(chain(), change, height(203), GAS)
  }
  const more = await at(before + 5n)
  t.match(more, { stakeBefore: before, locked: 5n, released: 0n, stakingFee: 1n, missing: 0n })
  t.strictSame(texts(more.concerns), [])
  t.match(await at(before - 5n), { stakeAfter: before - 5n, locked: 0n, released: 5n })
  t.match(await at(), { stakeAfter: before, locked: 0n, released: 0n })
})

t.test('what the chain would refuse', async (t) => {
  const unbonding = chain({ supplier: { ...STAKED, unstakeSessionEndHeight: 210n } })
  const fresh = chain({ supplier: undefined })
  const poor = chain({ supplier: undefined, balance: MIN + 1n })
  const short = [{ ...SERVICE, revShare: [{ address: OWNER, revSharePercentage: 30n }] }]
  const cases: [query: StakeQuery, change: Partial<SupplierStake>, text: RegExp][] = [
    [fresh, {}, /^no: a new supplier needs a stake$/],
    [
      chain(),
      { stake: upokt(MIN - 1n) },
      /^no: 59499\.999999 POKT is below the minimum 59500 POKT$/,
    ],
    [poor, { stake: upokt(MIN + 1n) }, /^no: the signer has 59500.000001 POKT; 0.000002 POKT are/],
    [chain(), { services: [{ ...SERVICE, serviceId: 'nope' }] }, /^no: service nope/],
    [chain(), { services: short }, /^no: the shares of text-gen add up to 30, not to 100$/],
    [chain(), { signer: OWNER }, /^no: services are set by the operator only$/],
    [chain(), { signer: STRANGER, services: [] }, /^no: only the owner or the operator/],
    [chain(), { owner: STRANGER }, /^no: only its owner .* may change the owner$/],
    [unbonding, {}, /^no: only the owner may take it back/],
  ]
  for (const [query, change, text] of cases) {
    const lines = texts(await concernsOf(query, change))
    t.ok(
      lines.some((line) => text.test(line)),
      `${text}: ${lines.join(' | ')}`,
    )
  }
})

t.test('how far the stake is from its minimum', async (t) => {
  for (const [room, text] of [
    [0n, 'hm: one missed proof takes the stake below the minimum and ends it'],
    [1n, 'hm: 2 missed proofs take the stake below the minimum and end it'],
    [9n, 'hm: 10 missed proofs take the stake below the minimum and end it'],
    [10n, undefined],
  ] as const) {
    const concerns = await concernsOf(chain(), { stake: upokt(MIN + room) })
    t.strictSame(texts(concerns), text === undefined ? [] : [text], String(room))
  }
})

t.test('what a person may regret', async (t) => {
  const fresh = chain({ supplier: undefined })
  const idle = await concernsOf(fresh, { stake: upokt(MIN * 2n), services: [] })
  t.strictSame(texts(idle), ['hm: without services nothing is served'])
  const coming = { ...SERVICE, serviceId: 'coming' }
  const update = {
    operatorAddress: OPERATOR,
    service: coming,
    activationHeight: 211n,
    deactivationHeight: 0n,
  }
  const two = {
    ...STAKED,
    services: [...STAKED.services, { ...SERVICE, serviceId: 'anvil' }],
    serviceConfigHistory: [update],
  }
  t.match(texts(await concernsOf(chain({ supplier: two }))), [
    /^hm: anvil ends with this session; its unsettled claims are lost$/,
    /^hm: coming ends with this session/,
  ])
  const toOwner = [{ ...SERVICE, revShare: [{ address: OWNER, revSharePercentage: 100n }] }]
  t.strictSame(texts(await concernsOf(chain(), { services: toOwner })), [
    `hm: the shares of text-gen change from ${OWNER} 80 %, ${OPERATOR} 20 % to ${OWNER} 100 %, also for what is unsettled`,
    'hm: the operator gets no share of text-gen: its balance alone pays for claims and proofs; look after it',
  ])
  t.strictSame(await concernsOf(chain()), [])
})

t.test('what the owner may do, and should know', async (t) => {
  const byOwner = { signer: OWNER, services: [] }
  const unbonding = { ...STAKED, unstakeSessionEndHeight: 210n }
  const back = await concernsOf(chain({ supplier: unbonding, publicKey: KEY }), byOwner)
  t.strictSame(texts(back), ['hm: takes the unstaking back'])
  const given = await concernsOf(chain({ publicKey: KEY }), { ...byOwner, owner: STRANGER })
  t.strictSame(texts(given), [`hm: ${STRANGER} becomes the owner: the stake will be its money`])
  const [keyless, ...more] = texts(await concernsOf(chain(), byOwner))
  t.match(keyless, /^hm: the chain has no public key of .*: gateways cannot check its answers/)
  t.strictSame(more, [])
})

t.test('what others offer for a service, or its card wishes for, and we do not', async (t) => {
  const rpcTypes = [
    { type: 'REST', intent: 'expected' },
    { type: 'GRPC', intent: 'optional' },
    { type: 'COMET_BFT', intent: 'deprecated' },
    { type: 'JSON_RPC', intent: 'expected' },
  ]
  const card = { rpcTypes } as unknown as ServiceCard
  const byType = new Map([
    ['JSON_RPC', 7],
    ['WEBSOCKET', 3],
    ['REST', 2],
  ])
  const wished = offerConcerns(SERVICE, { card }, { suppliers: 7, byType })
  t.strictSame(texts(wished), [
    'hm: the card of text-gen expects REST, which is not offered here',
    'hm: the card of text-gen names as optional GRPC, which is not offered here',
    'hm: 3 of 7 other suppliers of text-gen offer WEBSOCKET, which is not offered here',
  ])
  t.strictSame(offerConcerns(SERVICE, { card: undefined }, { suppliers: 0, byType: new Map() }), [])
})

t.test('from how many relays on a session pays for itself', async (t) => {
  const asked: unknown[] = []
  const query = (units: number) => ({
    computeUnitsPerRelay: async (_: string, at: number) => {
      asked.push(at)
      return computeUnits(units)
    },
    proofParams: async () => PROOF,
    tokenomicsParams: async () => TOKENOMICS,
    sharedParams: async (at: number) => {
      asked.push(at)
      return SHARED
    },
  })
  const start = height(211)
  // 10 units at 0.15, of which 0.975 are minted and 0.79 of that paid: 4 relays bring
  // floor(floor(6 * 0.975) * 0.79) = 3, and 3 relays 2.
  t.strictSame(await breakEven(query(10), 'text-gen', start, GAS), {
    computeUnitsPerRelay: 10n,
    perMillion: 1_155_376n,
    sessionFees: 3n,
    relays: 4n,
  })
  t.strictSame(asked, [211, 211], 'prices are those of the start of a session')
  t.match(await breakEven(query(4_000), 'text-gen', start, GAS), { relays: 1n })
  const dear = await breakEven(query(10), 'text-gen', start, upokt(10n ** 15n))
  t.match(dear, { relays: undefined, sessionFees: 2_000_000_000_000_001n })
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
