/**
 * What a simulated chain starts with.
 *
 * The parameters are mainnet's where they are about money and short where they are about time, so that
 * a session is claimed, proved and settled within a dozen blocks. Addresses may be on chain with their
 * public key: an application and its gateways need that before their relays can be proved.
 * Tested by test/devnet/genesis.ts.
 */
import { type Address, coin, type Ms, type Upokt, upokt } from '../base/units.ts'
import { RPCType } from '../protocol/gen/pocket/shared/shared.ts'
import { ensureAccount, MODULES, type Module, moduleAddress } from './bank.ts'
import { DevnetError } from './errors.ts'
import { checkParams, type ModuleName } from './params.ts'
import { type AllParams, balanceOf, type State } from './state.ts'
import { inStoreOrder } from './suppliers.ts'
import { VALIDATOR } from './validators.ts'

export interface GenesisAccount {
  readonly address: string
  readonly balance: Upokt
  /** 33 bytes; without it the account has no key on chain before its first transaction. */
  readonly publicKey?: Uint8Array
}

export interface GenesisService {
  readonly id: string
  readonly name?: string
  readonly computeUnitsPerRelay: bigint
  /** Gets the source owner's part of rewards; the DAO if left out. */
  readonly owner?: string
}

export interface GenesisApplication {
  readonly address: string
  readonly serviceId: string
  /** 10,000 POKT if left out. */
  readonly stake?: Upokt
  readonly gateways?: readonly string[]
  readonly spendLimit?: Upokt
}

export interface GenesisGateway {
  readonly address: string
  readonly stake?: Upokt
}

/** Serves from the first block on. */
export interface GenesisSupplier {
  readonly operator: string
  /** The operator if left out. */
  readonly owner?: string
  /** 60,000 POKT if left out. */
  readonly stake?: Upokt
  readonly services: readonly string[]
  readonly url: string
  /** Everything to the owner if left out. */
  readonly shares?: readonly { readonly address: string; readonly percent: bigint }[]
}

export interface Genesis {
  readonly accounts: readonly GenesisAccount[]
  readonly services: readonly GenesisService[]
  readonly applications: readonly GenesisApplication[]
  readonly gateways: readonly GenesisGateway[]
  readonly suppliers: readonly GenesisSupplier[]
  readonly params: AllParams
  /** Time of the first block; the clock's when left out. */
  readonly time?: Ms
}

export type GenesisInput = Partial<Omit<Genesis, 'params'>> & {
  readonly params?: { readonly [M in ModuleName]?: Partial<AllParams[M]> }
}

export const DAO = 'pokt1eeeksh2tvkh7wzmfrljnhw4wrhs55lcuvmekkw' as Address

const POKT = 1_000_000n
const pokt = (amount: bigint) => coin(upokt(amount * POKT))

/** Sessions of 4 blocks; claims at end + 2 … end + 4, proofs at end + 4 … end + 6. */
export const GENESIS_PARAMS: AllParams = {
  shared: {
    numBlocksPerSession: 4n,
    gracePeriodEndOffsetBlocks: 1n,
    claimWindowOpenOffsetBlocks: 1n,
    claimWindowCloseOffsetBlocks: 2n,
    proofWindowOpenOffsetBlocks: 0n,
    proofWindowCloseOffsetBlocks: 2n,
    supplierUnbondingPeriodSessions: 2n,
    applicationUnbondingPeriodSessions: 2n,
    computeUnitsToTokensMultiplier: 145_990n,
    gatewayUnbondingPeriodSessions: 2n,
    computeUnitCostGranularity: 1_000_000n,
    sessionGridAnchorHeight: 1n,
    sessionNumberAtAnchor: 1n,
  },
  session: { numSuppliersPerSession: 15n },
  proof: {
    proofRequestProbability: 0.01,
    proofRequirementThreshold: coin(upokt(100n)),
    proofMissingPenalty: coin(upokt(1n)),
    proofSubmissionFee: coin(upokt(1n)),
  },
  service: { addServiceFee: pokt(3_500n), targetNumRelays: 100_000n },
  supplier: { minStake: pokt(59_500n), stakingFee: coin(upokt(1n)) },
  application: { maxDelegatedGateways: 7n, minStake: pokt(1_000n) },
  gateway: { minStake: pokt(5_000n) },
  tokenomics: {
    mintAllocationPercentages: {
      dao: 0.1,
      proposer: 0,
      supplier: 0.8,
      sourceOwner: 0.1,
      application: 0,
    },
    daoRewardAddress: DAO,
    globalInflationPerClaim: 0.000001,
    mintEqualsBurnClaimDistribution: {
      dao: 0.045,
      proposer: 0.14,
      supplier: 0.79,
      sourceOwner: 0.025,
      application: 0,
    },
    mintRatio: 0.975,
    overservicingBonusMultiplier: 1n,
  },
}

/** Fills in what is left out. @throws DevnetError PARAMS */
export function devnetGenesis(input: GenesisInput = {}): Genesis {
  const changes = input.params ?? {}
  const defaults = GENESIS_PARAMS
  const params: AllParams = {
    shared: { ...defaults.shared, ...changes.shared },
    session: { ...defaults.session, ...changes.session },
    proof: { ...defaults.proof, ...changes.proof },
    service: { ...defaults.service, ...changes.service },
    supplier: { ...defaults.supplier, ...changes.supplier },
    application: { ...defaults.application, ...changes.application },
    gateway: { ...defaults.gateway, ...changes.gateway },
    tokenomics: { ...defaults.tokenomics, ...changes.tokenomics },
  }
  checkParams(params)
  return {
    accounts: input.accounts ?? [],
    services: input.services ?? [],
    applications: input.applications ?? [],
    gateways: input.gateways ?? [],
    suppliers: input.suppliers ?? [],
    params,
    ...(input.time !== undefined && { time: input.time }),
  }
}

/** Writes the first state. @throws DevnetError GENESIS for what names something that is not there */
export function writeGenesis(state: State, genesis: Genesis): void {
  state.params.set('', genesis.params)
  for (const { address, balance, publicKey } of genesis.accounts) {
    const account = ensureAccount(state, address)
    if (publicKey !== undefined) state.accounts.set(address, { ...account, publicKey })
    state.balances.set(address, balance)
  }
  ensureAccount(state, VALIDATOR)
  for (const module of MODULES) {
    const address = moduleAddress(module)
    state.accounts.set(address, { ...ensureAccount(state, address), module })
  }
  for (const { id, name, computeUnitsPerRelay, owner } of genesis.services)
    state.services.set(id, {
      id,
      name: name ?? id,
      computeUnitsPerRelay,
      ownerAddress: owner ?? DAO,
      metadata: undefined,
    })
  for (const gateway of genesis.gateways) writeGateway(state, gateway)
  for (const application of genesis.applications) writeApplication(state, application)
  for (const supplier of genesis.suppliers) writeSupplier(state, supplier)
}

function writeGateway(state: State, { address, stake }: GenesisGateway): void {
  const staked = stake ?? upokt(5_000n * POKT)
  const gateway = { address, stake: coin(staked), unstakeSessionEndHeight: 0n, metadata: undefined }
  state.gateways.set(address, gateway)
  bond(state, 'gateway', staked)
}

function writeApplication(state: State, application: GenesisApplication): void {
  const { address, serviceId, gateways = [], spendLimit } = application
  mustHave(state, serviceId)
  for (const gateway of gateways)
    if (state.gateways.get(gateway) === undefined)
      throw new DevnetError('GENESIS', `no gateway ${gateway} for application ${address}`)
  const stake = application.stake ?? upokt(10_000n * POKT)
  state.applications.set(address, {
    address,
    stake: coin(stake),
    serviceConfigs: [{ serviceId }],
    delegateeGatewayAddresses: [...gateways],
    pendingUndelegations: new Map(),
    unstakeSessionEndHeight: 0n,
    pendingTransfer: undefined,
    perSessionSpendLimit: spendLimit === undefined ? undefined : coin(spendLimit),
    serviceConfigHistory: [],
  })
  bond(state, 'application', stake)
}

function writeSupplier(state: State, supplier: GenesisSupplier): void {
  const { operator, owner = operator, services, url } = supplier
  for (const id of services) mustHave(state, id)
  const stake = supplier.stake ?? upokt(60_000n * POKT)
  const shares = supplier.shares ?? [{ address: owner, percent: 100n }]
  const revShare = shares.map(({ address, percent }) => ({ address, revSharePercentage: percent }))
  const history = services.map((serviceId) => ({
    operatorAddress: operator,
    service: {
      serviceId,
      endpoints: [{ url, rpcType: RPCType.JSON_RPC, configs: [] }],
      revShare,
    },
    activationHeight: 1n,
    deactivationHeight: 0n,
  }))
  state.suppliers.set(operator, {
    ownerAddress: owner,
    operatorAddress: operator,
    stake: coin(stake),
    services: [],
    unstakeSessionEndHeight: 0n,
    serviceConfigHistory: inStoreOrder(history),
  })
  bond(state, 'supplier', stake)
}

function mustHave(state: State, serviceId: string): void {
  if (state.services.get(serviceId) === undefined)
    throw new DevnetError('GENESIS', `no service ${serviceId}`)
}

function bond(state: State, module: Module, amount: Upokt): void {
  const pool = moduleAddress(module)
  state.balances.set(pool, balanceOf(state, pool) + amount)
}
