/** Parameters as the chain's code has them by default, for tests that change one. */
import type { Params as ProofParams } from '../../src/protocol/gen/pocket/proof/proof.ts'
import type { Params as SharedParams } from '../../src/protocol/gen/pocket/shared/shared.ts'
import type { Params as TokenomicsParams } from '../../src/protocol/gen/pocket/tokenomics/tokenomics.ts'

export type { ProofParams, SharedParams, TokenomicsParams }

export function sharedParams(over: Partial<SharedParams> = {}): SharedParams {
  return {
    numBlocksPerSession: 10n,
    gracePeriodEndOffsetBlocks: 1n,
    claimWindowOpenOffsetBlocks: 1n,
    claimWindowCloseOffsetBlocks: 4n,
    proofWindowOpenOffsetBlocks: 0n,
    proofWindowCloseOffsetBlocks: 4n,
    supplierUnbondingPeriodSessions: 1n,
    applicationUnbondingPeriodSessions: 1n,
    computeUnitsToTokensMultiplier: 1_000_000n,
    gatewayUnbondingPeriodSessions: 1n,
    computeUnitCostGranularity: 1_000_000n,
    sessionGridAnchorHeight: 1n,
    sessionNumberAtAnchor: 1n,
    ...over,
  }
}

export function proofParams(over: Partial<ProofParams> = {}): ProofParams {
  const upokt = (amount: string) => ({ denom: 'upokt', amount })
  return {
    proofRequestProbability: 0.25,
    proofRequirementThreshold: upokt('20000000'),
    proofMissingPenalty: upokt('320000000'),
    proofSubmissionFee: upokt('1000'),
    ...over,
  }
}

export function tokenomicsParams(over: Partial<TokenomicsParams> = {}): TokenomicsParams {
  const shares = { dao: 0.1, proposer: 0.05, supplier: 0.7, sourceOwner: 0.15, application: 0 }
  return {
    mintAllocationPercentages: shares,
    daoRewardAddress: '',
    globalInflationPerClaim: 0,
    mintEqualsBurnClaimDistribution: shares,
    mintRatio: 1,
    overservicingBonusMultiplier: 1n,
    ...over,
  }
}
