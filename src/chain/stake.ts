/**
 * Messages that we send. What staking and unstaking cost stands in costs.ts.
 *
 * A stake message states the new TOTAL; an increase is taken from whoever signs, a decrease goes to
 * the owner, and the staking fee is charged every time. Only the operator may set services, only the
 * owner may change the owner or take an unstaking back. The list of revenue shares keeps its order:
 * its first entry receives what rounding leaves.
 * Source: poktroll x/supplier/{keeper/msg_server_*.go,types/message_*.go}, x/application, x/gateway,
 * x/service. Tested by test/chain/stake.ts.
 */
import { type Address, coin, type Upokt } from '../base/units.ts'
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
import type { SupplierStake } from './concern.ts'

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

function any<T>(
  typeUrl: string,
  codec: { encode(message: T): { finish(): Uint8Array } },
  message: T,
): Any {
  return { typeUrl, value: codec.encode(message).finish() }
}
