/**
 * Messages that we send, and what staking and unstaking cost before anyone signs.
 *
 * A stake message states the new TOTAL; an increase is taken from whoever signs, a decrease goes to
 * the owner, and the staking fee is charged every time. Only the operator may set services, only the
 * owner may change the owner or take an unstaking back. The list of revenue shares keeps its order:
 * its first entry receives what rounding leaves.
 * Source: poktroll x/supplier/{keeper/msg_server_*.go,types/message_*.go}, x/application, x/gateway,
 * x/service. Tested by test/chain/stake.ts.
 */
import {
  type Address,
  coin,
  fromCoin,
  type Height,
  offset,
  type Upokt,
  upokt,
} from '../base/units.ts'
import { MsgSend } from '../protocol/gen/cosmos/bank/bank.ts'
import type { Any } from '../protocol/gen/google/protobuf/any.ts'
import {
  MsgDelegateToGateway,
  MsgStakeApplication,
} from '../protocol/gen/pocket/application/application.ts'
import { MsgStakeGateway } from '../protocol/gen/pocket/gateway/gateway.ts'
import { MsgCreateClaim, MsgSubmitProof } from '../protocol/gen/pocket/proof/proof.ts'
import { MsgAddService } from '../protocol/gen/pocket/service/service.ts'
import type { SessionHeader } from '../protocol/gen/pocket/session/session.ts'
import { MsgStakeSupplier, MsgUnstakeSupplier } from '../protocol/gen/pocket/supplier/supplier.ts'
import { gridAt } from '../protocol/session.ts'
import { windowsOf } from '../protocol/windows.ts'
import {
  amountConcerns,
  type Concern,
  changeConcerns,
  prevents,
  type SupplierStake,
  serviceConcerns,
  warns,
} from './concern.ts'
import type { Query } from './query.ts'

export type { Concern, SupplierStake }

export function createClaimMessage(operator: string, header: SessionHeader, root: Uint8Array): Any {
  const message = { supplierOperatorAddress: operator, sessionHeader: header, rootHash: root }
  return any('/pocket.proof.MsgCreateClaim', MsgCreateClaim, message)
}

/** @param proof the gob bytes of a compact closest proof */
export function submitProofMessage(
  operator: string,
  header: SessionHeader,
  proof: Uint8Array,
): Any {
  const message = { supplierOperatorAddress: operator, sessionHeader: header, proof }
  return any('/pocket.proof.MsgSubmitProof', MsgSubmitProof, message)
}

export function stakeSupplierMessage(stake: SupplierStake): Any {
  return any('/pocket.supplier.MsgStakeSupplier', MsgStakeSupplier, {
    signer: stake.signer,
    ownerAddress: stake.owner,
    operatorAddress: stake.operator,
    stake: stake.stake === undefined ? undefined : coin(stake.stake),
    services: [...stake.services],
  })
}

export function unstakeSupplierMessage(signer: Address, operator: Address): Any {
  const message = { signer, operatorAddress: operator }
  return any('/pocket.supplier.MsgUnstakeSupplier', MsgUnstakeSupplier, message)
}

/** @param stake the new total, more than before @param spendLimit for a session; undefined keeps it */
export function stakeApplicationMessage(
  address: Address,
  stake: Upokt,
  serviceId: string,
  spendLimit?: Upokt,
): Any {
  return any('/pocket.application.MsgStakeApplication', MsgStakeApplication, {
    address,
    stake: coin(stake),
    services: [{ serviceId }],
    perSessionSpendLimit: spendLimit === undefined ? undefined : coin(spendLimit),
  })
}

/** @param stake the new total, more than before */
export function stakeGatewayMessage(address: Address, stake: Upokt): Any {
  return any('/pocket.gateway.MsgStakeGateway', MsgStakeGateway, { address, stake: coin(stake) })
}

/** The application lets a gateway sign for it. */
export function delegateMessage(application: Address, gateway: Address): Any {
  const message = { appAddress: application, gatewayAddress: gateway }
  return any('/pocket.application.MsgDelegateToGateway', MsgDelegateToGateway, message)
}

/** Creates a service for a fee, or changes one of the same owner for none. */
export function addServiceMessage(service: {
  readonly owner: Address
  readonly id: string
  readonly name: string
  readonly computeUnitsPerRelay: bigint
  /** Opaque to the chain, JSON by convention; undefined keeps what is there. */
  readonly card?: Uint8Array
}): Any {
  const { owner, id, name, computeUnitsPerRelay, card } = service
  const metadata = card === undefined ? undefined : { card }
  const described = { id, name, computeUnitsPerRelay, ownerAddress: owner, metadata }
  const message = { ownerAddress: owner, service: described }
  return any('/pocket.service.MsgAddService', MsgAddService, message)
}

export function sendMessage(from: Address, to: Address, amount: Upokt): Any {
  const message = { fromAddress: from, toAddress: to, amount: [coin(amount)] }
  return any('/cosmos.bank.v1beta1.MsgSend', MsgSend, message)
}

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
  /** Blocks from the end of the session in which it is unstaked until the stake is back. */
  readonly unbondingBlocks: number
  /** The first block of the first session in which new services are served. */
  readonly activeFrom: Height
  readonly balance: Upokt
  readonly concerns: readonly Concern[]
}

export interface StakeQuery
  extends Pick<
    Query,
    | 'balance'
    | 'claims'
    | 'proofParams'
    | 'service'
    | 'sharedParams'
    | 'supplier'
    | 'supplierParams'
  > {}

/** What `stakeSupplierMessage` would do. @param at the latest height */
export async function stakeCosts(
  query: StakeQuery,
  stake: SupplierStake,
  at: Height,
  signal?: AbortSignal,
): Promise<StakeCosts> {
  const params = await query.supplierParams(signal)
  const shared = await query.sharedParams(at, signal)
  const existing = await query.supplier(stake.operator, signal)
  const penalty = fromCoin((await query.proofParams(signal)).proofMissingPenalty)
  const stakeBefore = fromCoin(existing?.stake)
  const stakeAfter = stake.stake ?? stakeBefore
  const costs = {
    stakeBefore,
    stakeAfter,
    locked: difference(stakeAfter, stakeBefore),
    released: difference(stakeBefore, stakeAfter),
    stakingFee: fromCoin(params.stakingFee),
    minStake: fromCoin(params.minStake),
    unbondingBlocks: Number(shared.supplierUnbondingPeriodSessions * shared.numBlocksPerSession),
    activeFrom: offset(gridAt(at, shared).end, 1),
    balance: await query.balance(stake.signer, signal),
  }
  const concerns = [
    ...amountConcerns(costs, stake.stake === undefined && existing === undefined, penalty),
    ...(existing === undefined ? [] : changeConcerns(stake, existing)),
    ...(await serviceConcerns(query, stake, existing === undefined, signal)),
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

function any<T>(
  typeUrl: string,
  codec: { encode(message: T): { finish(): Uint8Array } },
  message: T,
): Any {
  return { typeUrl, value: codec.encode(message).finish() }
}

function difference(a: Upokt, b: Upokt): Upokt {
  return upokt(a > b ? a - b : 0n)
}
