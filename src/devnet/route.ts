/** What the answers to `abci_query` have in common. Tested by test/devnet/queries.ts. */
import { utf8 } from '../base/bytes.ts'
import { PageRequest, type PageResponse } from '../protocol/gen/cosmos/base/query.ts'
import { type Refusal, registered } from './errors.ts'
import type { Context } from './state.ts'

/** From the request's protobuf to the answer's. @throws Refusal */
export type Route = (context: Context, data: Uint8Array) => Uint8Array

export type QueryStatus = 'NotFound' | 'InvalidArgument' | 'Internal' | 'Unknown'

/** A gRPC status as it arrives over `abci_query`. */
export function refused(status: QueryStatus, reason: string): Refusal {
  const log = `rpc error: code = ${status} desc = ${reason}`
  if (status === 'NotFound') return registered('sdk', 22, log)
  return registered('sdk', status === 'InvalidArgument' ? 18 : 6, log)
}

/** @throws Refusal sdk 18 */
export function decoded<M>(codec: { decode(bytes: Uint8Array): M }, data: Uint8Array): M {
  try {
    return codec.decode(data)
  } catch {
    throw registered('sdk', 18, 'unexpected EOF')
  }
}

const PAGE_DEFAULT = 100

/** The next key is the position of the next item, as text. */
export function paged<T>(
  items: readonly T[],
  asked: PageRequest | undefined,
): [page: T[], answer: PageResponse] {
  const { key, offset, limit, countTotal } = asked ?? PageRequest.fromPartial({ countTotal: true })
  const from = key.length > 0 ? Number(new TextDecoder().decode(key)) : Number(offset)
  const to = from + (limit === 0n ? PAGE_DEFAULT : Number(limit))
  const nextKey = to < items.length ? utf8(String(to)) : new Uint8Array(0)
  const total = countTotal ? BigInt(items.length) : 0n
  return [items.slice(from, to), { nextKey, total }]
}
