/**
 * What a future supplier asks about a service: its card, and what others offer for it.
 *
 * Apart from query.ts, since the daemon never asks: cards may have 256 KiB and lists of suppliers more.
 * Source: poktroll x/service/keeper, x/supplier/keeper/query_supplier.go. Tested by test/cli/card.ts.
 */

import { RPCType } from '../protocol/gen/pocket/shared/shared.ts'
import {
  QueryAllSuppliersRequest,
  QueryAllSuppliersResponse,
} from '../protocol/gen/pocket/supplier/supplier.ts'
import { readCard, type ServiceCard, shown } from './card.ts'
import { ChainError } from './errors.ts'
import { METHODS, unreadable } from './methods.ts'
import type { Rpc } from './rpc.ts'

export interface ServiceInfo {
  readonly id: string
  readonly name: string
  readonly computeUnitsPerRelay: bigint
  /** Bytes of whatever the owner put there; 0: nothing. */
  readonly cardBytes: number
  /** Undefined: no card, or none that we can read. */
  readonly card: ServiceCard | undefined
}

export interface Offers {
  /** Suppliers that were looked at, ours not among them; perhaps not all there are. */
  readonly suppliers: number
  /** How many of them offer a type, by its name on the chain. */
  readonly byType: ReadonlyMap<string, number>
}

/** Enough to see what is usual. */
const SUPPLIERS_MAX = 100n
const SUPPLIERS = '/pocket.supplier.Query/AllSuppliers'

/** Undefined for a service that does not exist. @throws ChainError */
export async function serviceInfo(
  rpc: Pick<Rpc, 'abciQuery'>,
  id: string,
  signal?: AbortSignal,
): Promise<ServiceInfo | undefined> {
  const { path, encode, decode } = METHODS.service
  try {
    const question = encode({ id, dehydrated: false })
    const service = decode(await rpc.abciQuery(path, question, undefined, signal))
    const bytes = service.metadata?.card ?? new Uint8Array(0)
    return {
      id,
      name: shown(service.name),
      computeUnitsPerRelay: service.computeUnitsPerRelay,
      cardBytes: bytes.length,
      card: readCard(bytes),
    }
  } catch (error) {
    if (error instanceof ChainError && error.code === 'NOT_FOUND') return undefined
    throw error
  }
}

/** What up to a hundred others offer for the service now. @throws ChainError */
export async function offersOf(
  rpc: Pick<Rpc, 'abciQuery'>,
  serviceId: string,
  ours: string,
  signal?: AbortSignal,
): Promise<Offers> {
  const pagination = {
    key: new Uint8Array(0),
    offset: 0n,
    limit: SUPPLIERS_MAX,
    countTotal: false,
    reverse: false,
  }
  const question = {
    pagination,
    serviceId,
    operatorAddress: '',
    ownerAddress: '',
    dehydrated: true,
  }
  const bytes = QueryAllSuppliersRequest.encode(question).finish()
  const answer = readSuppliers(await rpc.abciQuery(SUPPLIERS, bytes, undefined, signal))
  const others = answer.supplier.filter(({ operatorAddress }) => operatorAddress !== ours)
  const byType = new Map<string, number>()
  for (const { services } of others) {
    const endpoints = services.find((service) => service.serviceId === serviceId)?.endpoints ?? []
    for (const type of new Set(endpoints.map(({ rpcType }) => rpcTypeName(rpcType))))
      byType.set(type, (byType.get(type) ?? 0) + 1)
  }
  return { suppliers: others.length, byType }
}

/** `JSON_RPC` for 3, as the chain writes it. */
export function rpcTypeName(type: RPCType): string {
  return Object.entries(RPCType).find(([, number]) => number === type)?.[0] ?? String(type)
}

function readSuppliers(value: Uint8Array): QueryAllSuppliersResponse {
  try {
    return QueryAllSuppliersResponse.decode(value)
  } catch (cause) {
    throw unreadable(SUPPLIERS, 'value', 'is not the message expected', cause)
  }
}
