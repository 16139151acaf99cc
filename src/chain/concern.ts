/**
 * What a person should know before signing a stake message: what the chain would refuse, and what it
 * would take but the person may regret.
 *
 * Source: poktroll x/supplier/keeper/msg_server_stake_supplier.go. Tested by test/chain/stake.ts.
 */
import { type Address, formatPokt, type Upokt } from '../base/units.ts'
import type { Supplier, SupplierServiceConfig } from '../protocol/gen/pocket/shared/shared.ts'
import type { Query } from './query.ts'

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
}

interface Amounts {
  readonly stakeAfter: Upokt
  readonly minStake: Upokt
  readonly balance: Upokt
  readonly locked: Upokt
  readonly stakingFee: Upokt
}

export function amountConcerns(costs: Amounts, isMissing: boolean, penalty: Upokt): Concern[] {
  if (isMissing) return [prevents('a new supplier needs a stake')]
  const { stakeAfter, minStake, balance, locked, stakingFee } = costs
  const concerns: Concern[] = []
  if (stakeAfter < minStake)
    concerns.push(
      prevents(`${formatPokt(stakeAfter)} is below the minimum ${formatPokt(minStake)}`),
    )
  else if (stakeAfter < minStake + penalty)
    concerns.push(warns('one missed proof takes the stake below the minimum and ends it'))
  // One upokt of gas at the least comes on top.
  if (balance < locked + stakingFee + 1n)
    concerns.push(prevents(`the signer has ${formatPokt(balance)}, too little`))
  return concerns
}

export function changeConcerns(stake: SupplierStake, existing: Supplier): Concern[] {
  const concerns: Concern[] = []
  const isOwner = stake.signer === existing.ownerAddress
  if (!isOwner && stake.signer !== stake.operator)
    concerns.push(prevents('only the owner or the operator may change a staked supplier'))
  if (!isOwner && stake.owner !== existing.ownerAddress)
    concerns.push(prevents(`only its owner ${existing.ownerAddress} may change the owner`))
  if (existing.unstakeSessionEndHeight > 0n)
    concerns.push(
      isOwner ? warns('takes the unstaking back') : prevents('only the owner may take it back'),
    )
  const kept = new Set(stake.services.map(({ serviceId }) => serviceId))
  const dropped = existing.services.filter(({ serviceId }) => kept.size > 0 && !kept.has(serviceId))
  for (const { serviceId } of dropped)
    concerns.push(warns(`${serviceId} ends with this session; its unsettled claims are lost`))
  return concerns
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

export function prevents(text: string): Concern {
  return { prevents: true, text }
}

export function warns(text: string): Concern {
  return { prevents: false, text }
}
