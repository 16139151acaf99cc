/**
 * What staking, unstaking and a session cost and bring, before anyone signs.
 *
 * Parameters of time are those of a height: the running session's for the grid and the unbonding, the
 * next session's for the price of a relay. Fees, penalty and least stake are the live ones, with which
 * the chain decides in the next block.
 * Source: poktroll x/supplier/keeper/msg_server_*.go, x/tokenomics/token_logic_module. Tested by
 * test/chain/costs.ts.
 */
import {
  type Address,
  type ComputeUnits,
  fromCoin,
  type Height,
  offset,
  type Upokt,
  upokt,
} from '../base/units.ts'
import { BASE_TARGET, claimedUpokt } from '../protocol/rewards.ts'
import { gridAt } from '../protocol/session.ts'
import { supplierReward } from '../protocol/shares.ts'
import { windowsOf } from '../protocol/windows.ts'
import {
  amountConcerns,
  type Concern,
  changeConcerns,
  keyConcerns,
  prevents,
  type SupplierStake,
  serviceConcerns,
  shareConcerns,
  warns,
} from './concern.ts'
import type { Query } from './query.ts'

export interface StakeCosts {
  /** Nothing for a supplier that is not staked yet. */
  readonly stakeBefore: Upokt
  readonly stakeAfter: Upokt
  /** Taken from the signer and locked. */
  readonly locked: Upokt
  /** Paid out to the owner. */
  readonly released: Upokt
  /** Gone, at each stake message. */
  readonly stakingFee: Upokt
  readonly minStake: Upokt
  /** Slashed for each proof that is missed or wrong. */
  readonly penalty: Upokt
  /** Blocks from the end of the session in which it is unstaked until the stake is back. */
  readonly unbondingBlocks: number
  /** The first block of the first session in which new services are served. */
  readonly activeFrom: Height
  /** Of the signer. */
  readonly balance: Upokt
  /** What the signer lacks for stake and fees. */
  readonly missing: Upokt
  readonly concerns: readonly Concern[]
}

export interface StakeQuery
  extends Pick<
    Query,
    | 'account'
    | 'balance'
    | 'claims'
    | 'proofParams'
    | 'service'
    | 'sharedParams'
    | 'supplier'
    | 'supplierParams'
  > {}

/**
 * What `stakeSupplierMessage` would do.
 * @param at the latest height @param gas what its gas costs at the most
 */
export async function stakeCosts(
  query: StakeQuery,
  stake: SupplierStake,
  at: Height,
  gas: Upokt,
  signal?: AbortSignal,
): Promise<StakeCosts> {
  const params = await query.supplierParams(signal)
  const shared = await query.sharedParams(at, signal)
  const existing = await query.supplier(stake.operator, signal)
  const stakeBefore = fromCoin(existing?.stake)
  const stakeAfter = stake.stake ?? stakeBefore
  const locked = difference(stakeAfter, stakeBefore)
  const stakingFee = fromCoin(params.stakingFee)
  const balance = await query.balance(stake.signer, signal)
  const costs = {
    stakeBefore,
    stakeAfter,
    locked,
    released: difference(stakeBefore, stakeAfter),
    stakingFee,
    minStake: fromCoin(params.minStake),
    penalty: fromCoin((await query.proofParams(signal)).proofMissingPenalty),
    unbondingBlocks: Number(shared.supplierUnbondingPeriodSessions * shared.numBlocksPerSession),
    activeFrom: offset(gridAt(at, shared).end, 1),
    balance,
    missing: difference(upokt(locked + stakingFee + gas), balance),
  }
  const isSigner = stake.signer === stake.operator
  const account = isSigner ? undefined : await query.account(stake.operator, signal)
  const concerns = [
    ...amountConcerns(costs, stake.stake === undefined && existing === undefined),
    ...(existing === undefined ? [] : changeConcerns(stake, existing)),
    ...(await serviceConcerns(query, stake, existing === undefined, signal)),
    ...shareConcerns(stake),
    ...(isSigner ? [] : keyConcerns(stake.operator, account?.publicKey)),
  ]
  return { ...costs, concerns }
}

export interface UnstakeCosts {
  /** What comes back, to the owner, unless a proof is missed until then. */
  readonly stake: Upokt
  readonly owner: string
  /** The block in which it comes back. */
  readonly returnedAt: Height
  /** From this height on all that was served until now is settled. */
  readonly safeFrom: Height
  readonly concerns: readonly Concern[]
}

/**
 * What `unstakeSupplierMessage` would do; undefined if the supplier is not staked.
 * @param at the latest height
 */
export async function unstakeCosts(
  query: StakeQuery,
  signer: Address,
  operator: Address,
  at: Height,
  signal?: AbortSignal,
): Promise<UnstakeCosts | undefined> {
  const supplier = await query.supplier(operator, signal)
  if (supplier === undefined) return undefined
  const shared = await query.sharedParams(at, signal)
  const { end } = gridAt(at, shared)
  const claims = await query.claims(operator, signal)
  const concerns: Concern[] = []
  if (signer !== supplier.ownerAddress && signer !== operator)
    concerns.push(prevents('only the owner or the operator may unstake'))
  if (supplier.unstakeSessionEndHeight > 0n)
    concerns.push(prevents(`already unstaking since ${supplier.unstakeSessionEndHeight}`))
  if (claims.length > 0) {
    const lost = 'which the chain discards unpaid once the services end with this session'
    concerns.push(warns(`${claims.length} claims are not settled yet, ${lost}`))
  }
  const period = Number(shared.supplierUnbondingPeriodSessions * shared.numBlocksPerSession)
  return {
    stake: fromCoin(supplier.stake),
    owner: supplier.ownerAddress,
    returnedAt: offset(end, period),
    safeFrom: offset(windowsOf(end, shared).settlement, 1),
    concerns,
  }
}

export interface BreakEven {
  readonly computeUnitsPerRelay: ComputeUnits
  /** What all who share the rewards get for a million relays. */
  readonly perMillion: Upokt
  /** Fees of the claim and of the proof, which the operator pays. */
  readonly sessionFees: Upokt
  /** So many relays of one session bring what its claim and proof cost; undefined: no number does. */
  readonly relays: bigint | undefined
}

const MILLION = 1_000_000n
/** No session has as many. */
const RELAYS_MAX = 2n ** 40n

/**
 * From how many relays on a session pays for itself, if its application has the money and a proof is
 * asked for. @param start of a session: its prices are those of this height
 * @param txFee what the gas of one claim costs, and that of one proof
 */
export async function breakEven(
  query: Pick<Query, 'computeUnitsPerRelay' | 'proofParams' | 'sharedParams' | 'tokenomicsParams'>,
  serviceId: string,
  start: Height,
  txFee: Upokt,
  signal?: AbortSignal,
): Promise<BreakEven> {
  const computeUnitsPerRelay = await query.computeUnitsPerRelay(serviceId, start, signal)
  const price = await query.sharedParams(start, signal)
  const tokenomics = await query.tokenomicsParams(signal)
  const { proofSubmissionFee } = await query.proofParams(signal)
  const sessionFees = upokt(2n * txFee + fromCoin(proofSubmissionFee))
  const pay = (relays: bigint) =>
    supplierReward(claimedUpokt(relays * computeUnitsPerRelay, BASE_TARGET, price), tokenomics)
  const perMillion = pay(MILLION)
  if (pay(RELAYS_MAX) < sessionFees)
    return { computeUnitsPerRelay, perMillion, sessionFees, relays: undefined }
  let [few, enough] = [0n, RELAYS_MAX]
  while (enough - few > 1n) {
    const middle = (few + enough) / 2n
    if (pay(middle) < sessionFees) few = middle
    else enough = middle
  }
  return { computeUnitsPerRelay, perMillion, sessionFees, relays: enough }
}

function difference(a: Upokt, b: Upokt): Upokt {
  return upokt(a > b ? a - b : 0n)
}
