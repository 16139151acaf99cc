/**
 * What a person should know before signing a stake message: what the chain would refuse, and what it
 * would take but the person may regret.
 *
 * Source: poktroll x/supplier/keeper/msg_server_stake_supplier.go. Tested by test/chain/costs.ts.
 */
import { type Address, formatPokt, type Upokt } from '../base/units.ts'
import type {
  ServiceRevenueShare,
  Supplier,
  SupplierServiceConfig,
} from '../protocol/gen/pocket/shared/shared.ts'
import type { Query } from './query.ts'
import { type Offers, rpcTypeName, type ServiceInfo } from './services.ts'

export interface SupplierStake {
  readonly signer: Address
  readonly owner: Address
  readonly operator: Address
  /** The new total; undefined keeps what is staked. */
  readonly stake?: Upokt | undefined
  /** A complete replacement from the next session on; empty keeps them as they are. */
  readonly services: readonly SupplierServiceConfig[]
}

/** Something that a person should know before signing. */
export interface Concern {
  /** True if the chain would refuse the message. */
  readonly prevents: boolean
  readonly text: string
  /** Money is all that is missing: it may still come. */
  readonly isFunds?: true
}

interface Amounts {
  readonly stakeAfter: Upokt
  readonly minStake: Upokt
  readonly penalty: Upokt
  readonly balance: Upokt
  readonly missing: Upokt
}

/** So few missed proofs can happen in one bad night. */
const SLASHES_FEW = 10n

export function amountConcerns(costs: Amounts, isMissing: boolean): Concern[] {
  if (isMissing) return [prevents('a new supplier needs a stake')]
  const { stakeAfter, minStake, penalty, balance, missing } = costs
  const concerns: Concern[] = []
  if (stakeAfter < minStake)
    concerns.push(
      prevents(`${formatPokt(stakeAfter)} is below the minimum ${formatPokt(minStake)}`),
    )
  else if (stakeAfter < minStake + penalty)
    concerns.push(warns('one missed proof takes the stake below the minimum and ends it'))
  else if (stakeAfter < minStake + SLASHES_FEW * penalty) {
    const slashes = (stakeAfter - minStake) / penalty + 1n
    concerns.push(warns(`${slashes} missed proofs take the stake below the minimum and end it`))
  }
  if (missing > 0n) {
    const text = `the signer has ${formatPokt(balance)}; ${formatPokt(missing)} are missing`
    concerns.push({ ...prevents(text), isFunds: true })
  }
  return concerns
}

export function changeConcerns(stake: SupplierStake, existing: Supplier): Concern[] {
  const concerns: Concern[] = []
  const isOwner = stake.signer === existing.ownerAddress
  if (!isOwner && stake.signer !== stake.operator)
    concerns.push(prevents('only the owner or the operator may change a staked supplier'))
  if (stake.owner !== existing.ownerAddress)
    concerns.push(
      isOwner
        ? warns(`${stake.owner} becomes the owner: the stake will be its money`)
        : prevents(`only its owner ${existing.ownerAddress} may change the owner`),
    )
  if (existing.unstakeSessionEndHeight > 0n)
    concerns.push(
      isOwner ? warns('takes the unstaking back') : prevents('only the owner may take it back'),
    )
  const kept = new Map(stake.services.map((service) => [service.serviceId, service]))
  for (const { serviceId, revShare } of kept.size === 0 ? [] : configsOf(existing)) {
    const next = kept.get(serviceId)
    if (next === undefined)
      concerns.push(warns(`${serviceId} ends with this session; its unsettled claims are lost`))
    else if (sharesText(next.revShare) !== sharesText(revShare)) {
      const change = `from ${sharesText(revShare)} to ${sharesText(next.revShare)}`
      concerns.push(
        warns(`the shares of ${serviceId} change ${change}, also for what is unsettled`),
      )
    }
  }
  return concerns
}

/** What is served now, or from the next session on. */
function configsOf({ services, serviceConfigHistory }: Supplier): SupplierServiceConfig[] {
  const coming = serviceConfigHistory
    .filter(({ deactivationHeight }) => deactivationHeight === 0n)
    .flatMap(({ service }) => service ?? [])
  const all = [...services, ...coming].map((service) => [service.serviceId, service] as const)
  return [...new Map(all).values()]
}

function sharesText(shares: readonly ServiceRevenueShare[]): string {
  return shares
    .map(({ address, revSharePercentage }) => `${address} ${revSharePercentage} %`)
    .join(', ')
}

export async function serviceConcerns(
  query: Pick<Query, 'service'>,
  stake: SupplierStake,
  isNew: boolean,
  signal: AbortSignal | undefined,
): Promise<Concern[]> {
  const concerns: Concern[] = []
  if (stake.services.length > 0 && stake.signer !== stake.operator)
    concerns.push(prevents('services are set by the operator only'))
  if (stake.services.length === 0 && isNew)
    concerns.push(warns('without services nothing is served'))
  for (const { serviceId } of stake.services) {
    const known = await query.service(serviceId, signal)
    if (known === undefined) concerns.push(prevents(`service ${serviceId} does not exist`))
  }
  return concerns
}

const HUNDRED = 100n

/** Fees of claims and proofs are the operator's, rewards those of the shares. */
export function shareConcerns({ operator, services }: SupplierStake): Concern[] {
  const concerns: Concern[] = []
  for (const { serviceId, revShare } of services) {
    const sum = revShare.reduce((total, share) => total + share.revSharePercentage, 0n)
    if (sum !== HUNDRED)
      concerns.push(prevents(`the shares of ${serviceId} add up to ${sum}, not to 100`))
  }
  const unpaid = services.filter(({ revShare }) =>
    revShare.every(({ address }) => address !== operator),
  )
  if (unpaid.length > 0) {
    const ids = unpaid.map(({ serviceId }) => serviceId).join(', ')
    const text = `the operator gets no share of ${ids}: its balance alone pays for claims and proofs`
    concerns.push(warns(`${text}; look after it`))
  }
  return concerns
}

/** An account's key is on the chain from its first transaction on. */
export function keyConcerns(operator: string, publicKey: Uint8Array | undefined): Concern[] {
  if (publicKey !== undefined) return []
  return [
    warns(
      `the chain has no public key of ${operator}: gateways cannot check its answers until it has signed a transaction itself, such as stake --services-only`,
    ),
  ]
}

/** What is usual for a service, or wished for by its owner, and not offered by this stake. */
export function offerConcerns(
  service: SupplierServiceConfig,
  { card }: Pick<ServiceInfo, 'card'>,
  { suppliers, byType }: Offers,
): Concern[] {
  const ours = new Set(service.endpoints.map(({ rpcType }) => rpcTypeName(rpcType)))
  const concerns: Concern[] = []
  const { serviceId } = service
  for (const { type, intent } of card?.rpcTypes ?? []) {
    if (ours.has(type) || intent === 'deprecated') continue
    const wish = intent === 'optional' ? 'names as optional' : 'expects'
    concerns.push(warns(`the card of ${serviceId} ${wish} ${type}, which is not offered here`))
  }
  const named = new Set(card?.rpcTypes.map(({ type }) => type))
  for (const [type, number] of byType) {
    if (ours.has(type) || named.has(type)) continue
    const others = `${number} of ${suppliers} other suppliers of ${serviceId}`
    concerns.push(warns(`${others} offer ${type}, which is not offered here`))
  }
  return concerns
}

export function prevents(text: string): Concern {
  return { prevents: true, text }
}

export function warns(text: string): Concern {
  return { prevents: false, text }
}
