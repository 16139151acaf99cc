/**
 * An account as the auth module stores it: an Any of one of several types around a base account.
 *
 * Source: cosmos-sdk proto/cosmos/auth/v1beta1/auth.proto, proto/cosmos/vesting/v1beta1/vesting.proto.
 * Tested by test/chain/query.ts.
 */
import { BinaryReader } from '@bufbuild/protobuf/wire'
import { BaseAccount } from '../protocol/gen/cosmos/auth/auth.ts'
import { PubKey } from '../protocol/gen/cosmos/crypto/secp256k1/keys.ts'
import type { Any } from '../protocol/gen/google/protobuf/any.ts'
import { ChainError } from './errors.ts'

export interface Account {
  /** The chain's number for it, part of what is signed; never changes. */
  readonly number: bigint
  readonly sequence: bigint
  /** 33 bytes, secp256k1. Absent until the account has sent its first transaction, and for modules. */
  readonly publicKey?: Uint8Array
}

/** Type URL to how deep the base account lies in field 1 of field 1 … */
const DEPTHS: ReadonlyMap<string, number> = new Map([
  ['/cosmos.auth.v1beta1.BaseAccount', 0],
  ['/cosmos.auth.v1beta1.ModuleAccount', 1],
  ['/cosmos.vesting.v1beta1.BaseVestingAccount', 1],
  ['/cosmos.vesting.v1beta1.ContinuousVestingAccount', 2],
  ['/cosmos.vesting.v1beta1.DelayedVestingAccount', 2],
  ['/cosmos.vesting.v1beta1.PeriodicVestingAccount', 2],
  ['/cosmos.vesting.v1beta1.PermanentLockedAccount', 2],
])

const PUBLIC_KEY_TYPE = '/cosmos.crypto.secp256k1.PubKey'
const PUBLIC_KEY_BYTES = 33

/** @throws ChainError RESPONSE for a type we do not know */
export function readAccount(any: Any): Account {
  const depth = DEPTHS.get(any.typeUrl)
  if (depth === undefined) {
    const data = { field: 'account.type_url', expected: 'a known account type' }
    throw new ChainError('RESPONSE', `account of unknown type ${any.typeUrl}`, { data })
  }
  let bytes = any.value
  for (let level = 0; level < depth; level++) bytes = firstField(bytes)
  const { accountNumber, sequence, pubKey } = BaseAccount.decode(bytes)
  const key = pubKey?.typeUrl === PUBLIC_KEY_TYPE ? PubKey.decode(pubKey.value).key : undefined
  const account = { number: accountNumber, sequence }
  return key?.length === PUBLIC_KEY_BYTES ? { ...account, publicKey: key.slice() } : account
}

/** The bytes of field 1, a message; empty if it is not there. */
function firstField(message: Uint8Array): Uint8Array {
  const reader = new BinaryReader(message)
  while (reader.pos < reader.len) {
    const [field, wire] = reader.tag()
    if (field === 1) return reader.bytes()
    reader.skip(wire)
  }
  return new Uint8Array(0)
}
