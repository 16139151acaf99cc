/**
 * What one settled claim does: the application's stake is burnt, less is minted, and what is minted is
 * shared out. Nothing moves here: the operations are returned, and carried out for all claims at once.
 *
 * Source: poktroll x/tokenomics/token_logic_module. Tested by test/devnet/payout.ts.
 */
import { fromCoin, type Upokt, upokt } from '../base/units.ts'
import type { Application } from '../protocol/gen/pocket/application/application.ts'
import type { Claim } from '../protocol/gen/pocket/proof/proof.ts'
import type { Service, Supplier } from '../protocol/gen/pocket/shared/shared.ts'
import type {
  AllocationPercentages,
  Params as TokenomicsParams,
} from '../protocol/gen/pocket/tokenomics/tokenomics.ts'
import { ceilShare, floorShare, fraction, revenueShares } from '../protocol/shares.ts'
import { type Operation, REASONS, type Reason } from './batch.ts'
import { headerOf } from './claims.ts'
import { quoted, registered } from './errors.ts'
import { coinText, typedEvent } from './events.ts'
import type { Context } from './state.ts'

/** Who has a part in a claim. The application's stake is changed by what is paid out of it. */
export interface Parties {
  application: Application
  readonly supplier: Supplier
  readonly service: Service
}

export interface Payout {
  readonly operations: readonly Operation[]
  /** For the validators, who are paid once a block. */
  readonly proposer: { readonly burnt: Upokt; readonly inflation: Upokt }
}

interface Job {
  readonly context: Context
  readonly claim: Claim
  readonly parties: Parties
  readonly params: TokenomicsParams
  readonly operations: Operation[]
}

/** @throws Refusal of codespace tokenomics: the claim is discarded then */
export function payOut(
  context: Context,
  claim: Claim,
  parties: Parties,
  settled: Upokt,
  params: TokenomicsParams,
): Payout {
  const job: Job = { context, claim, parties, params, operations: [] }
  const burnt = module('TLMRelayBurnEqualsMint', () => burnEqualsMint(job, settled))
  const inflation = upokt(ceilShare(settled, fraction(params.globalInflationPerClaim)))
  if (inflation === 0n)
    return { operations: job.operations, proposer: { burnt, inflation: upokt(0) } }
  const proposer = module('TLMGlobalMint', () => globalMint(job, inflation))
  module('TLMGlobalMintReimbursementRequest', () => reimburse(job, inflation))
  return { operations: job.operations, proposer: { burnt, inflation: proposer } }
}

function module<T>(name: string, work: () => T): T {
  try {
    return work()
  } catch (error) {
    throw registered('tokenomics', 1119, `TLM ${quoted(name)}: ${(error as Error).message}`)
  }
}

/** @returns the proposers' part */
function burnEqualsMint(job: Job, settled: Upokt): Upokt {
  const { operations, params } = job
  operations.push(operation('burn', 'application', '', 2, settled))
  takeStake(job, settled)
  const minted = upokt(floorShare(settled, fraction(params.mintRatio)))
  if (minted === 0n) {
    const reason = `mint amount truncated to zero for settlement ${settled} with mint_ratio ${params.mintRatio}`
    throw registered('tokenomics', 1118, reason)
  }
  operations.push(operation('mint', 'tokenomics', '', 19, minted))
  const parts = shared(minted, params.mintEqualsBurnClaimDistribution)
  if (parts.supplier > 0n) {
    operations.push(operation('mod_to_mod', 'tokenomics', 'supplier', 4, parts.supplier))
    payShareholders(job, 4, parts.supplier)
  }
  payAccount(job, 17, job.parties.service.ownerAddress, parts.sourceOwner)
  payAccount(job, 15, params.daoRewardAddress, parts.dao)
  payAccount(job, 18, job.parties.application.address, parts.application)
  return parts.proposer
}

/** @returns the proposers' part */
function globalMint(job: Job, inflation: Upokt): Upokt {
  const { operations, params } = job
  operations.push(operation('mint', 'tokenomics', '', 3, inflation))
  const parts = shared(inflation, params.mintAllocationPercentages)
  if (parts.supplier > 0n) {
    operations.push(operation('mod_to_mod', 'tokenomics', 'supplier', 14, parts.supplier))
    payShareholders(job, 7, parts.supplier)
  }
  payAccount(job, 9, job.parties.application.address, parts.application)
  payAccount(job, 8, job.parties.service.ownerAddress, parts.sourceOwner)
  payAccount(job, 5, params.daoRewardAddress, parts.dao)
  return parts.proposer
}

/** The inflation is taken from the application's stake as well, and goes to the DAO. */
function reimburse(job: Job, inflation: Upokt): void {
  const { context, operations, params, parties, claim } = job
  takeStake(job, inflation)
  operations.push(operation('mod_to_mod', 'application', 'tokenomics', 14, inflation))
  operations.push(operation('mod_to_acct', 'tokenomics', params.daoRewardAddress, 10, inflation))
  context.events.push(
    typedEvent('pocket.tokenomics.EventApplicationReimbursementRequest', {
      amount: coinText(inflation),
      application_addr: parties.application.address,
      service_id: parties.service.id,
      session_id: headerOf(claim).sessionId,
      supplier_operator_addr: parties.supplier.operatorAddress,
      supplier_owner_addr: parties.supplier.ownerAddress,
    }),
  )
}

function takeStake({ parties }: Job, amount: Upokt): void {
  const stake = fromCoin(parties.application.stake)
  if (stake < amount) {
    const reason = `application ${quoted(parties.application.address)} stake cannot be reduced to a negative amount ${stake - amount}`
    throw registered('tokenomics', 1110, reason)
  }
  const left = { denom: 'upokt', amount: (stake - amount).toString() }
  parties.application = { ...parties.application, stake: left }
}

interface Parts {
  readonly supplier: Upokt
  readonly proposer: Upokt
  readonly sourceOwner: Upokt
  readonly application: Upokt
  /** What the others leave. */
  readonly dao: Upokt
}

function shared(amount: Upokt, percentages: AllocationPercentages | undefined): Parts {
  const part = (value: number | undefined) => upokt(floorShare(amount, fraction(value ?? 0)))
  const supplier = part(percentages?.supplier)
  const proposer = part(percentages?.proposer)
  const sourceOwner = part(percentages?.sourceOwner)
  const application = part(percentages?.application)
  const dao = upokt(amount - supplier - proposer - sourceOwner - application)
  return { supplier, proposer, sourceOwner, application, dao }
}

function payAccount(job: Job, reason: Reason, to: string, amount: Upokt): void {
  if (amount > 0n) job.operations.push(operation('mod_to_acct', 'tokenomics', to, reason, amount))
}

/** By the shares that are active in the block of the settlement, not those of the session. */
function payShareholders(job: Job, reason: Reason, amount: Upokt): void {
  const { supplier, service } = job.parties
  const config = supplier.services.find(({ serviceId }) => serviceId === service.id)
  if (config === undefined) {
    const text = `queueing operation: distributing rewards to supplier with operator address ${supplier.operatorAddress} shareholders: SHOULD NEVER HAPPEN: service ${quoted(service.id)} not found for supplier: constraint violation`
    throw registered('tokenomics', 1118, text)
  }
  const list = config.revShare.map(({ address, revSharePercentage: percentage }) => ({
    address,
    percentage,
  }))
  const shares = revenueShares(amount, list)
  if (shares === undefined) {
    payOwner(job, reason, amount, list)
    return
  }
  for (const [address, share] of [...shares].sort(([a], [b]) => (a < b ? -1 : 1)))
    if (share > 0n)
      job.operations.push(operation('mod_to_acct', 'supplier', address, reason, share))
}

function payOwner(
  job: Job,
  reason: Reason,
  amount: Upokt,
  list: readonly { address: string; percentage: bigint }[],
): void {
  const { supplier, service } = job.parties
  const sum = list.reduce((total, { percentage }) => total + percentage, 0n)
  job.operations.push(operation('mod_to_acct', 'supplier', supplier.ownerAddress, reason, amount))
  job.context.events.push(
    typedEvent('pocket.tokenomics.EventSupplierRevShareFallbackDistribution', {
      amount: coinText(amount),
      observed_sum_percentage: sum,
      op_reason: REASONS[reason],
      reason: `revshare percentage sum ${sum} != required 100`,
      service_id: service.id,
      session_end_block_height: headerOf(job.claim).sessionEndBlockHeight,
      supplier_operator_address: supplier.operatorAddress,
      supplier_owner_address: supplier.ownerAddress,
    }),
  )
}

function operation(
  kind: Operation['kind'],
  from: Operation['from'],
  to: string,
  reason: Reason,
  amount: Upokt,
): Operation {
  return { kind, from, to, reason, amount }
}
