/**
 * The messages that the simulated chain takes: how each is read, who must sign it, what it does.
 *
 * Source: poktroll proto/pocket/<module>/tx.proto, cosmos-sdk x/bank. Tested by test/devnet/messages.ts.
 */
import { equal } from '../base/bytes.ts'
import { upokt } from '../base/units.ts'
import { MsgSend } from '../protocol/gen/cosmos/bank/bank.ts'
import type { Any } from '../protocol/gen/google/protobuf/any.ts'
import {
  MsgDelegateToGateway,
  MsgStakeApplication,
  MsgUndelegateFromGateway,
  MsgUnstakeApplication,
} from '../protocol/gen/pocket/application/application.ts'
import { MsgStakeGateway, MsgUnstakeGateway } from '../protocol/gen/pocket/gateway/gateway.ts'
import { MsgCreateClaim, MsgSubmitProof } from '../protocol/gen/pocket/proof/proof.ts'
import { MsgAddService } from '../protocol/gen/pocket/service/service.ts'
import { MsgStakeSupplier, MsgUnstakeSupplier } from '../protocol/gen/pocket/supplier/supplier.ts'
import { checkStakeApplication, stakeApplication, unstakeApplication } from './applications.ts'
import { transfer } from './bank.ts'
import { checkCreateClaim, createClaim } from './claims.ts'
import { checkDelegation, delegate, undelegate } from './delegations.ts'
import { Refusal, registered } from './errors.ts'
import { checkGatewayAddress, checkStakeGateway, stakeGateway, unstakeGateway } from './gateways.ts'
import { checkSubmitProof, submitProof } from './proofs.ts'
import { addService, checkAddService } from './services.ts'
import type { Context } from './state.ts'
import {
  checkStakeSupplier,
  checkUnstakeSupplier,
  stakeSupplier,
  unstakeSupplier,
} from './suppliers.ts'
import { addressFault } from './validate.ts'

/** A message ready to run. */
export interface Message {
  readonly typeUrl: string
  readonly module: string
  readonly signer: string
  readonly gas: bigint
  /** ValidateBasic: what can be said without the chain's state. @throws Refusal */
  check(): void
  /** @throws Refusal: whatever was written must be thrown away */
  run(context: Context): void
}

interface Kind<M> {
  readonly codec: {
    decode(bytes: Uint8Array): M
    encode(message: M): { finish(): Uint8Array }
  }
  readonly module: string
  readonly gas: bigint | ((message: M) => bigint)
  signer(message: M): string
  check(message: M): void
  run(context: Context, message: M): void
}

type Read = (typeUrl: string, bytes: Uint8Array) => Message

/** Fields that the chain does not know are refused, and so are bytes that encode to others. */
function reader<M>(kind: Kind<M>): Read {
  return (typeUrl, bytes) => {
    const message = decodeExactly(kind.codec, bytes)
    return {
      typeUrl,
      module: kind.module,
      signer: kind.signer(message),
      gas: typeof kind.gas === 'bigint' ? kind.gas : kind.gas(message),
      check: () => kind.check(message),
      run: (context) => kind.run(context, message),
    }
  }
}

/** @throws Refusal sdk 2 */
export function decodeExactly<M>(codec: Kind<M>['codec'], bytes: Uint8Array): M {
  let message: M
  try {
    message = codec.decode(bytes)
  } catch (error) {
    throw parseError((error as Error).message)
  }
  if (!equal(codec.encode(message).finish(), bytes))
    throw parseError('unknown or non-canonical fields')
  return message
}

export function parseError(reason: string): Refusal {
  return new Refusal('sdk', 2, `${reason}: tx parse error: tx parse error`)
}

/** @throws Refusal sdk 2 for an unknown type or bytes that are not it */
export function readMessage({ typeUrl, value }: Any): Message {
  const read = KINDS.get(typeUrl)
  if (read === undefined) throw parseError(`unable to resolve type URL ${typeUrl}`)
  return read(typeUrl, value)
}

const KINDS: ReadonlyMap<string, Read> = new Map(
  Object.entries({
    '/cosmos.bank.v1beta1.MsgSend': reader({
      codec: MsgSend,
      module: 'bank',
      gas: 18_300n,
      signer: (message) => message.fromAddress,
      check: checkSend,
      run: send,
    }),
    '/pocket.proof.MsgCreateClaim': reader({
      codec: MsgCreateClaim,
      module: 'proof',
      gas: 49_650n,
      signer: (message) => message.supplierOperatorAddress,
      check: checkCreateClaim,
      run: createClaim,
    }),
    '/pocket.proof.MsgSubmitProof': reader({
      codec: MsgSubmitProof,
      module: 'proof',
      gas: (message) => 74_060n + 30n * BigInt(message.proof.length),
      signer: (message) => message.supplierOperatorAddress,
      check: checkSubmitProof,
      run: submitProof,
    }),
    '/pocket.supplier.MsgStakeSupplier': reader({
      codec: MsgStakeSupplier,
      module: 'supplier',
      gas: 95_000n,
      signer: (message) => message.signer,
      check: checkStakeSupplier,
      run: stakeSupplier,
    }),
    '/pocket.supplier.MsgUnstakeSupplier': reader({
      codec: MsgUnstakeSupplier,
      module: 'supplier',
      gas: 54_070n,
      signer: (message) => message.signer,
      check: checkUnstakeSupplier,
      run: unstakeSupplier,
    }),
    '/pocket.application.MsgStakeApplication': reader({
      codec: MsgStakeApplication,
      module: 'application',
      gas: 60_000n,
      signer: (message) => message.address,
      check: checkStakeApplication,
      run: stakeApplication,
    }),
    '/pocket.application.MsgUnstakeApplication': reader({
      codec: MsgUnstakeApplication,
      module: 'application',
      gas: 24_000n,
      signer: (message) => message.address,
      check: (message) => checkAddress('application', message.address),
      run: unstakeApplication,
    }),
    '/pocket.application.MsgDelegateToGateway': reader({
      codec: MsgDelegateToGateway,
      module: 'application',
      gas: 23_250n,
      signer: (message) => message.appAddress,
      check: checkDelegation,
      run: delegate,
    }),
    '/pocket.application.MsgUndelegateFromGateway': reader({
      codec: MsgUndelegateFromGateway,
      module: 'application',
      gas: 23_250n,
      signer: (message) => message.appAddress,
      check: checkDelegation,
      run: undelegate,
    }),
    '/pocket.gateway.MsgStakeGateway': reader({
      codec: MsgStakeGateway,
      module: 'gateway',
      gas: 50_000n,
      signer: (message) => message.address,
      check: checkStakeGateway,
      run: stakeGateway,
    }),
    '/pocket.gateway.MsgUnstakeGateway': reader({
      codec: MsgUnstakeGateway,
      module: 'gateway',
      gas: 8_700n,
      signer: (message) => message.address,
      check: (message) => checkGatewayAddress(message.address),
      run: unstakeGateway,
    }),
    '/pocket.service.MsgAddService': reader({
      codec: MsgAddService,
      module: 'service',
      gas: 16_000n,
      signer: (message) => message.ownerAddress,
      check: checkAddService,
      run: addService,
    }),
  }),
)

function checkAddress(module: 'application', address: string): void {
  const fault = addressFault(address)
  if (fault !== undefined)
    throw registered(module, 1102, `invalid ${module} address ${address}; (${fault})`)
}

function checkSend({ fromAddress, toAddress, amount }: MsgSend): void {
  const from = addressFault(fromAddress)
  if (from !== undefined) throw registered('sdk', 7, `invalid from address: ${from}`)
  const to = addressFault(toAddress)
  if (to !== undefined) throw registered('sdk', 7, `invalid to address: ${to}`)
  const text = amount.map((coin) => `${coin.amount}${coin.denom}`).join(',')
  if (amount.length === 0 || amount.some((coin) => !/^[1-9]\d*$/.test(coin.amount)))
    throw registered('sdk', 10, text)
}

function send(context: Context, { fromAddress, toAddress, amount }: MsgSend): void {
  for (const coin of amount) {
    if (coin.denom !== 'upokt') {
      const text = `${coin.amount}${coin.denom}`
      throw registered('sdk', 5, `spendable balance 0${coin.denom} is smaller than ${text}`)
    }
    transfer(context, fromAddress, toAddress, upokt(coin.amount))
  }
}
