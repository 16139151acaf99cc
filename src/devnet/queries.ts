/**
 * `abci_query`: the node's own answers, and those of accounts, the bank and simulation.
 *
 * Errors of the router say nothing about a height; those of a query do. What a query refuses with
 * arrives as one of three codes: 22 not found, 18 bad input, 6 anything else.
 * Source: cosmos-sdk baseapp/abci.go, baseapp/grpcrouter.go. Tested by test/devnet/queries.ts.
 */
import { BinaryWriter } from '@bufbuild/protobuf/wire'
import { height } from '../base/units.ts'
import {
  BaseAccount,
  QueryAccountRequest,
  QueryAccountResponse,
} from '../protocol/gen/cosmos/auth/auth.ts'
import { QueryBalanceRequest, QueryBalanceResponse } from '../protocol/gen/cosmos/bank/bank.ts'
import { PubKey } from '../protocol/gen/cosmos/crypto/secp256k1/keys.ts'
import { GasInfo, SimulateRequest } from '../protocol/gen/cosmos/tx/tx.ts'
import { Any } from '../protocol/gen/google/protobuf/any.ts'
import type { Devnet } from './chain.ts'
import { Refusal, registered } from './errors.ts'
import type { Event } from './events.ts'
import type { TxResult } from './machine.ts'
import { POCKET_ROUTES } from './queries-pocket.ts'
import { decoded, type Route, refused } from './route.ts'
import { balanceOf, type Context } from './state.ts'
import { responseOf } from './tx.ts'
import { addressFault } from './validate.ts'

export interface QueryAnswer {
  readonly code: number
  readonly codespace: string
  readonly log: string
  readonly value?: Uint8Array
  /** Of the state asked; 0 when the question reached none. */
  readonly height: number
}

/** @param at 0 = the latest state */
export function answerQuery(
  devnet: Devnet,
  path: string,
  data: Uint8Array,
  at: number,
): QueryAnswer {
  const latest = devnet.head.height
  let asked = 0
  try {
    const route = path === SIMULATE ? simulation(devnet) : ROUTES.get(path)
    if (route === undefined) throw registered('sdk', 6, 'unknown query path')
    checkHeight(at, latest, devnet.lowest)
    asked = at === 0 ? latest : at
    const value = route(devnet.contextAt(height(asked)), data)
    return { code: 0, codespace: '', log: '', value, height: asked }
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    const { number: code, codespace, message: log } = error
    return { code, codespace, log, height: asked }
  }
}

function checkHeight(at: number, latest: number, lowest: number): void {
  if (at < 0)
    throw registered('sdk', 18, 'cannot query with height < 0; please provide a valid height')
  if (at > latest)
    throw registered(
      'sdk',
      26,
      'cannot query with height in the future; please provide a valid height',
    )
  if (at > 0 && at < lowest) {
    const reason = `failed to load state at height ${at}; version mismatch on immutable IAVL tree; version does not exist. Version has either been pruned, or is for a future block height (latest height: ${latest})`
    throw registered('sdk', 38, reason)
  }
}

const SIMULATE = '/cosmos.tx.v1beta1.Service/Simulate'

const COSMOS_ROUTES: Readonly<Record<string, Route>> = {
  '/cosmos.auth.v1beta1.Query/Account': account,
  '/cosmos.auth.v1beta1.Query/Params': () => AUTH_PARAMS,
  '/cosmos.bank.v1beta1.Query/Balance': balance,
  '/cosmos.base.node.v1beta1.Service/Config': () =>
    new BinaryWriter()
      .uint32(10)
      .string('0.000001000000000000upokt')
      .uint32(18)
      .string('0')
      .uint32(26)
      .string('0')
      .finish(),
}

/** What can be asked of a state, by path. */
export const ROUTES: ReadonlyMap<string, Route> = new Map(
  Object.entries({ ...COSMOS_ROUTES, ...POCKET_ROUTES }),
)

/** max_memo_characters 256, tx_sig_limit 7, tx_size_cost_per_byte 1, sig costs 590 and 1. */
const AUTH_PARAMS = new BinaryWriter()
  .uint32(10)
  .fork()
  .uint32(8)
  .uint64(256)
  .uint32(16)
  .uint64(7)
  .uint32(24)
  .uint64(1)
  .uint32(32)
  .uint64(590)
  .uint32(40)
  .uint64(1)
  .join()
  .finish()

function account({ state }: Context, data: Uint8Array): Uint8Array {
  const { address } = decoded(QueryAccountRequest, data)
  const fault = addressFault(address)
  if (fault !== undefined) throw registered('sdk', 18, fault)
  const known = state.accounts.get(address)
  if (known === undefined) throw refused('NotFound', `account ${address} not found`)
  const pubKey =
    known.publicKey === undefined
      ? undefined
      : {
          typeUrl: '/cosmos.crypto.secp256k1.PubKey',
          value: PubKey.encode({ key: known.publicKey }).finish(),
        }
  const { number: accountNumber, sequence } = known
  const base = BaseAccount.encode({ address, pubKey, accountNumber, sequence }).finish()
  const found =
    known.module === undefined
      ? { typeUrl: '/cosmos.auth.v1beta1.BaseAccount', value: base }
      : {
          typeUrl: '/cosmos.auth.v1beta1.ModuleAccount',
          value: new BinaryWriter().uint32(10).bytes(base).uint32(18).string(known.module).finish(),
        }
  return QueryAccountResponse.encode({ account: found }).finish()
}

function balance({ state }: Context, data: Uint8Array): Uint8Array {
  const { address, denom } = decoded(QueryBalanceRequest, data)
  const fault = addressFault(address)
  if (fault !== undefined) throw refused('InvalidArgument', `invalid address: ${fault}`)
  if (denom === '') throw refused('InvalidArgument', 'invalid denom')
  const amount = denom === 'upokt' ? balanceOf(state, address) : 0n
  return QueryBalanceResponse.encode({ balance: { denom, amount: amount.toString() } }).finish()
}

/** Runs on the newest state whatever height was asked for. */
function simulation(devnet: Devnet): Route {
  return (_, data) => {
    const { txBytes } = decoded(SimulateRequest, data)
    if (txBytes.length === 0) throw refused('InvalidArgument', 'empty txBytes is not allowed')
    const failed = (log: string, gas: bigint) =>
      refused('Unknown', `${log} [${WHERE}] with gas used: '${gas}'`)
    let result: TxResult
    try {
      result = devnet.simulate(txBytes)
    } catch (error) {
      if (error instanceof Refusal) throw failed(error.message, 0n)
      throw error
    }
    if (result.code !== 0) throw failed(result.log, result.gasUsed)
    const gasInfo = { gasWanted: 0xffff_ffff_ffff_ffffn, gasUsed: result.gasUsed }
    return new BinaryWriter()
      .uint32(10)
      .bytes(GasInfo.encode(gasInfo).finish())
      .uint32(18)
      .bytes(simulated(result))
      .finish()
  }
}

/** Where the SDK says that the error came from. */
const WHERE = 'cosmos/cosmos-sdk@v0.53.7/baseapp/baseapp.go:1052'

/** cosmos.base.abci.v1beta1.Result. */
function simulated({ data, events }: TxResult): Uint8Array {
  const writer = new BinaryWriter().uint32(10).bytes(data ?? new Uint8Array(0))
  for (const event of events) writer.uint32(26).bytes(encodeEvent(event))
  const actions = events.flatMap(({ attributes }) =>
    attributes.filter(({ key }) => key === 'action'),
  )
  for (const { value } of actions) writer.uint32(34).bytes(Any.encode(responseOf(value)).finish())
  return writer.finish()
}

function encodeEvent({ type, attributes }: Event): Uint8Array {
  const writer = new BinaryWriter().uint32(10).string(type)
  for (const { key, value, index } of attributes)
    writer
      .uint32(18)
      .fork()
      .uint32(10)
      .string(key)
      .uint32(18)
      .string(value)
      .uint32(24)
      .bool(index)
      .join()
  return writer.finish()
}
