/**
 * Events as the chain writes them: a type, and attributes of text.
 *
 * A typed event has one attribute for each field of its message, sorted by name, whose value is JSON
 * text: 64-bit integers quoted, 32-bit ones bare, defaults written out. What the bank and the SDK emit
 * is plain text. Source: cosmos-sdk types/events.go. Tested by test/devnet/events.ts.
 */
import type { Coin } from '../protocol/gen/cosmos/base/base.ts'
import type { Application } from '../protocol/gen/pocket/application/application.ts'
import type { Gateway } from '../protocol/gen/pocket/gateway/gateway.ts'
import type { Supplier, SupplierServiceConfig } from '../protocol/gen/pocket/shared/shared.ts'
import { RPCType } from '../protocol/gen/pocket/shared/shared.ts'

export interface Attribute {
  readonly key: string
  readonly value: string
  readonly index: true
}

export interface Event {
  readonly type: string
  readonly attributes: readonly Attribute[]
}

/** `bigint` is a 64-bit integer and written quoted, `number` one of 32 bits and written bare. */
export type Json =
  | string
  | number
  | bigint
  | boolean
  | null
  | readonly Json[]
  | { readonly [key: string]: Json }

export function plainEvent(type: string, attributes: Readonly<Record<string, string>>): Event {
  return {
    type,
    attributes: Object.entries(attributes).map(([key, value]) => ({ key, value, index: true })),
  }
}

export function typedEvent(type: string, fields: Readonly<Record<string, Json>>): Event {
  const attributes: Record<string, string> = {}
  for (const key of Object.keys(fields).sort()) attributes[key] = jsonText(fields[key] ?? null)
  return plainEvent(type, attributes)
}

/** With one more attribute at the end: `msg_index` in a transaction, `mode` in a block. */
export function marked(event: Event, key: string, value: string): Event {
  return { ...event, attributes: [...event.attributes, { key, value, index: true }] }
}

export function attributeOf(event: Event, key: string): string | undefined {
  return event.attributes.find((attribute) => attribute.key === key)?.value
}

export function jsonText(value: Json): string {
  return JSON.stringify(value, (_, part: unknown) =>
    typeof part === 'bigint' ? part.toString() : part,
  )
}

export function coinText(amount: bigint): string {
  return `${amount}upokt`
}

function coinJson(coin: Coin | undefined): Json {
  return coin === undefined ? null : { denom: coin.denom, amount: coin.amount }
}

const RPC_TYPE_NAMES: Readonly<Record<number, string>> = Object.fromEntries(
  Object.entries(RPCType).map(([name, number]) => [number, name]),
)

/** A supplier in an event: the services and the history that were passed on, as JSON. */
export function supplierJson(supplier: Supplier): Json {
  return {
    owner_address: supplier.ownerAddress,
    operator_address: supplier.operatorAddress,
    stake: coinJson(supplier.stake),
    services: supplier.services.map(serviceJson),
    unstake_session_end_height: supplier.unstakeSessionEndHeight,
    service_config_history: supplier.serviceConfigHistory.map((update) => ({
      operator_address: update.operatorAddress,
      service: update.service === undefined ? null : serviceJson(update.service),
      activation_height: update.activationHeight,
      deactivation_height: update.deactivationHeight,
    })),
  }
}

function serviceJson(config: SupplierServiceConfig): Json {
  return {
    service_id: config.serviceId,
    endpoints: config.endpoints.map((endpoint) => ({
      url: endpoint.url,
      rpc_type: RPC_TYPE_NAMES[endpoint.rpcType] ?? endpoint.rpcType,
      configs: [],
    })),
    rev_share: config.revShare.map((share) => ({
      address: share.address,
      rev_share_percentage: share.revSharePercentage,
    })),
  }
}

export function applicationJson(application: Application): Json {
  const undelegations = [...application.pendingUndelegations].sort(([a], [b]) => Number(a - b))
  return {
    address: application.address,
    stake: coinJson(application.stake),
    service_configs: application.serviceConfigs.map((config) => ({ service_id: config.serviceId })),
    delegatee_gateway_addresses: application.delegateeGatewayAddresses,
    pending_undelegations: Object.fromEntries(
      undelegations.map(([end, list]) => [
        end.toString(),
        { gateway_addresses: list.gatewayAddresses },
      ]),
    ),
    unstake_session_end_height: application.unstakeSessionEndHeight,
    pending_transfer: null,
    per_session_spend_limit: coinJson(application.perSessionSpendLimit),
    service_config_history: application.serviceConfigHistory.map((update) => ({
      application_address: update.applicationAddress,
      service: update.service === undefined ? null : { service_id: update.service.serviceId },
      activation_height: update.activationHeight,
      deactivation_height: update.deactivationHeight,
    })),
  }
}

export function gatewayJson(gateway: Gateway): Json {
  return {
    address: gateway.address,
    stake: coinJson(gateway.stake),
    unstake_session_end_height: gateway.unstakeSessionEndHeight,
    metadata: null,
  }
}
