/**
 * What is wrong with the services a supplier offers, in the chain's words.
 *
 * Source: poktroll x/shared/types/service_configs.go, x/shared/types/service.go.
 * Tested by test/devnet/messages.ts.
 */
import { RPCType, type SupplierServiceConfig } from '../protocol/gen/pocket/shared/shared.ts'
import { quoted, registered } from './errors.ts'
import { addressFault, serviceIdFault } from './validate.ts'

const SCHEMES = new Set(['http:', 'https:', 'ws:', 'wss:'])

/** Undefined for a list that the chain takes. */
export function serviceConfigFault(configs: readonly SupplierServiceConfig[]): string | undefined {
  const seen = new Set<string>()
  for (const config of configs) {
    const id = serviceIdFault(config.serviceId)
    if (id !== undefined) return `${id}: invalid service ID`
    if (seen.has(config.serviceId)) return `duplicate service ID: ${config.serviceId}`
    seen.add(config.serviceId)
    const fault = endpointFault(config) ?? shareFault(config)
    if (fault !== undefined) return fault
  }
  return undefined
}

function endpointFault(config: SupplierServiceConfig): string | undefined {
  if (config.endpoints.length === 0) return `endpoints cannot be nil: ${configText(config)}`
  for (const { url, rpcType } of config.endpoints) {
    if (url === '') return `endpoint.Url cannot be empty: ${configText(config)}`
    if (!isReachable(url)) return `invalid endpoint.Url: ${configText(config)}`
    if (rpcType === RPCType.UNKNOWN_RPC)
      return `endpoint.RpcType cannot be UNKNOWN_RPC: ${configText(config)}`
    if (rpcName(rpcType) === undefined)
      return `endpoint.RpcType is not a valid RPCType: ${configText(config)}`
  }
  return undefined
}

/** The chain wants a scheme that it knows and a host that is not empty. */
function isReachable(url: string): boolean {
  if (!URL.canParse(url)) return false
  const parsed = new URL(url)
  return SCHEMES.has(parsed.protocol) && parsed.host !== '' && /^[a-z]+:\/\//i.test(url)
}

function shareFault({ revShare }: SupplierServiceConfig): string | undefined {
  const refused = (reason: string) => registered('shared', 1106, reason).message
  if (revShare.length === 0) return refused('no rev share configurations')
  const seen = new Set<string>()
  let sum = 0n
  for (const { address, revSharePercentage: percent } of revShare) {
    if (address === '') return refused('rev share address cannot be empty: ')
    const fault = addressFault(address)
    if (fault !== undefined) return refused(`invalid rev share address ${address}; (${fault})`)
    if (seen.has(address)) return refused(`duplicate rev share address: ${address}`)
    seen.add(address)
    if (percent === 0n || percent > 100n)
      return refused(`invalid rev share value ${percent}; must be between 0 and 100`)
    sum += percent
  }
  if (sum === 100n) return undefined
  return refused(`invalid rev share percentage sum ${sum}; must be equal to 100`)
}

function rpcName(type: number): string | undefined {
  return Object.entries(RPCType).find(([, number]) => number === type && number >= 0)?.[0]
}

/** As Go prints a protobuf message on one line, with a blank at its end. */
function configText(config: SupplierServiceConfig): string {
  const parts = [`service_id:${quoted(config.serviceId)}`]
  for (const { url, rpcType } of config.endpoints) {
    const type = rpcType === RPCType.UNKNOWN_RPC ? '' : `rpc_type:${rpcName(rpcType) ?? rpcType} `
    parts.push(`endpoints:<url:${quoted(url)} ${type}>`)
  }
  for (const { address, revSharePercentage } of config.revShare)
    parts.push(`rev_share:<address:${quoted(address)} rev_share_percentage:${revSharePercentage} >`)
  return `${parts.join(' ')} `
}
