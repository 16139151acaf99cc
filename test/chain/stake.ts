import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { hex, unhex } from '../../src/base/bytes.ts'
import { type Address, upokt } from '../../src/base/units.ts'
import {
  addServiceMessage,
  createClaimMessage,
  delegateMessage,
  sendMessage,
  stakeApplicationMessage,
  stakeGatewayMessage,
  stakeSupplierMessage,
  submitProofMessage,
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
import { MsgCreateClaim, MsgSubmitProof } from '../../src/protocol/gen/pocket/proof/proof.ts'
import { MsgAddService } from '../../src/protocol/gen/pocket/service/service.ts'
import {
  MsgStakeSupplier,
  MsgUnstakeSupplier,
} from '../../src/protocol/gen/pocket/supplier/supplier.ts'

const TXS = JSON.parse(
  readFileSync(join(packageRoot(), 'test/vectors/chain/txs.json'), 'utf8'),
) as Record<string, { tx_hex: string }>

const OWNER = 'pokt1nk6qr3rzufhztprhs05xv90reg0t4d83gj8qxu' as Address
const OPERATOR = 'pokt1unuuu9ysz4ehvmx6ga26xqyhezqkr3eel2xx08' as Address

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
