/** What the chain of miner-chain.ts makes of claims and proofs: the rules, without blocks or nodes. */
import { concat, equal, sha256, u64, utf8 } from '../../src/base/bytes.ts'
import {
  type Address,
  coin,
  computeUnits,
  fromCoin,
  type Height,
  height,
  ms,
  upokt,
} from '../../src/base/units.ts'
import type { Block } from '../../src/chain/blocks.ts'
import type { SettlementEvent } from '../../src/chain/events.ts'
import { TxBody, TxRaw } from '../../src/protocol/gen/cosmos/tx/tx.ts'
import type { Any } from '../../src/protocol/gen/google/protobuf/any.ts'
import {
  type Claim,
  ClaimProofStatus,
  MsgCreateClaim,
  MsgSubmitProof,
} from '../../src/protocol/gen/pocket/proof/proof.ts'
import type { SessionHeader } from '../../src/protocol/gen/pocket/session/session.ts'
import {
  BASE_TARGET,
  claimedUpokt,
  type ProofRequirement,
  proofPath,
  proofRequirement,
} from '../../src/protocol/rewards.ts'
import { supplierReward } from '../../src/protocol/shares.ts'
import { type Windows, windowsOf } from '../../src/protocol/windows.ts'
import { decodeProof } from '../../src/smst/gob.ts'
import { countOf, sumOf } from '../../src/smst/node.ts'
import { verifyProof } from '../../src/smst/proof.ts'
import {
  type ProofParams,
  proofParams,
  type SharedParams,
  sharedParams,
  type TokenomicsParams,
  tokenomicsParams,
} from './params.ts'

export const CUPR = 1_000n
const BLOCK_MS = 60_000
const STATUS = new Map<ClaimProofStatus, 'validated' | 'invalid'>([
  [ClaimProofStatus.VALIDATED, 'validated'],
  [ClaimProofStatus.INVALID, 'invalid'],
])
const GENESIS_MS = 1_700_000_000_000

export interface FakeTx {
  readonly hash: string
  readonly kind: 'claim' | 'proof'
  readonly operator: string
  readonly messages: readonly Any[]
  readonly timeoutHeight: Height
  readonly attempt: number
  readonly feeFactor: number
  /** How often a node was given it. */
  sends: number
  includeAt: number | undefined
  fails: boolean
  included: { height: Height; code: number; log: string } | undefined
}

/** What a node does with a transaction. `lose`: says that it took it, and forgets it. */
export type Fate =
  | 'accept'
  | 'lose'
  | 'fail'
  | 'full'
  | 'silent'
  | 'silent-taken'
  | { readonly reject: number }
  | { readonly after: number }

export interface State {
  readonly claims: Map<string, Claim>
  readonly balances: Map<string, bigint>
  /** By operator; one that is not in it has never been slashed. */
  readonly stakes: Map<string, bigint>
}

export function copyOf({ claims, balances, stakes }: State): State {
  return { claims: new Map(claims), balances: new Map(balances), stakes: new Map(stakes) }
}

/** Of an operator that was never slashed. */
export const STAKE = 1_000_000_000_000n

/** A transaction's bytes as far as the miner reads them; each number gives others. */
export function bytesOf(number: number, messages: readonly Any[]): Uint8Array {
  const body = TxBody.fromPartial({ messages: [...messages], memo: `transaction ${number}` })
  return TxRaw.encode(TxRaw.fromPartial({ bodyBytes: TxBody.encode(body).finish() })).finish()
}

export class MinerRules {
  /** By height of the session end. */
  shared: (at: number) => SharedParams = () => sharedParams()
  proof: ProofParams = proofParams({ proofSubmissionFee: coin(upokt(1_000)) })
  tokenomics: TokenomicsParams = tokenomicsParams()
  target: Uint8Array = BASE_TARGET
  /** Overrules the chain's own judgement of a proof. */
  judge: (sessionId: string) => boolean = () => true
  /** What a block finds wrong with a session's message, and no simulation. */
  blockFault: (sessionId: string) => string | undefined = () => undefined

  block(at: number): Block {
    return {
      height: height(at),
      hash: sha256(concat(utf8('block'), u64(at))),
      time: ms(GENESIS_MS + at * BLOCK_MS),
    }
  }

  windows(header: SessionHeader): Windows {
    const end = height(header.sessionEndBlockHeight)
    return windowsOf(end, this.shared(end))
  }

  value(claim: Claim): bigint {
    return claimedUpokt(sumOf(claim.rootHash), this.target, this.shared(1))
  }

  requirement(claim: Claim): ProofRequirement {
    const header = claim.sessionHeader as SessionHeader
    const seed = this.block(this.windows(header).seed)
    return proofRequirement(claim, upokt(this.value(claim)), this.proof, seed.hash)
  }

  /** All messages or, if one fails, its fault. */
  execute(
    state: State,
    operator: string,
    messages: readonly Any[],
    at: number,
    proofs: MsgSubmitProof[],
    isBlock = false,
  ): string | undefined {
    for (const [index, { typeUrl, value }] of messages.entries()) {
      const { sessionHeader } = MsgCreateClaim.decode(value)
      const hidden = isBlock ? this.blockFault(sessionHeader?.sessionId ?? '') : undefined
      const plain = typeUrl.includes('Claim')
        ? this.#claim(state, MsgCreateClaim.decode(value), at)
        : this.#proof(state, operator, MsgSubmitProof.decode(value), at, proofs)
      const fault = plain ?? hidden
      if (fault !== undefined) return `failed to execute message; message index: ${index}: ${fault}`
    }
    return undefined
  }

  #claim(state: State, message: MsgCreateClaim, at: number): string | undefined {
    const { sessionHeader, supplierOperatorAddress, rootHash } = message
    if (sessionHeader === undefined) return 'no header'
    const { claimOpen, claimClose } = this.windows(sessionHeader)
    if (at < claimOpen)
      return `height (${at}) is less than (${claimOpen}): claim attempted outside of the session's claim window`
    if (at > claimClose)
      return `height (${at}) is greater than (${claimClose}): claim attempted outside of the session's claim window`
    if (sumOf(rootHash) !== countOf(rootHash) * CUPR) return 'mismatch: claim compute units'
    const proofValidationStatus = ClaimProofStatus.PENDING_VALIDATION
    state.claims.set(`${sessionHeader.sessionId} ${supplierOperatorAddress}`, {
      supplierOperatorAddress,
      sessionHeader,
      rootHash,
      proofValidationStatus,
    })
    return undefined
  }

  #proof(
    state: State,
    operator: string,
    message: MsgSubmitProof,
    at: number,
    proofs: MsgSubmitProof[],
  ): string | undefined {
    const { sessionHeader, supplierOperatorAddress } = message
    if (sessionHeader === undefined) return 'no header'
    const { proofOpen, proofClose } = this.windows(sessionHeader)
    if (at < proofOpen)
      return `height (${at}) is less than (${proofOpen}): proof attempted outside of the session's proof window`
    if (at > proofClose)
      return `height (${at}) is greater than (${proofClose}): proof attempted outside of the session's proof window`
    const claim = state.claims.get(`${sessionHeader.sessionId} ${supplierOperatorAddress}`)
    if (claim === undefined) return 'claim not found'
    const balance = state.balances.get(operator) ?? 0n
    const fee = fromCoin(this.proof.proofSubmissionFee)
    if (balance <= fee) return 'not enough funds to submit proof'
    state.balances.set(operator, balance - fee)
    if (this.requirement(claim) === 'not-required') return 'proof not required'
    proofs.push(message)
    return undefined
  }

  /** Also of another root than the claim's, or of another path than the seed says. */
  verdict(message: MsgSubmitProof, claim: Claim): ClaimProofStatus {
    const header = message.sessionHeader as SessionHeader
    const proof = decodeProof(message.proof)
    const seed = this.block(this.windows(header).seed)
    const good =
      equal(proof.path, proofPath(seed.hash, header.sessionId)) &&
      verifyProof(proof, claim.rootHash) &&
      this.judge(header.sessionId)
    return good ? ClaimProofStatus.VALIDATED : ClaimProofStatus.INVALID
  }

  slash({ stakes }: State, operator: string): void {
    const penalty = fromCoin(this.proof.proofMissingPenalty)
    stakes.set(operator, (stakes.get(operator) ?? STAKE) - penalty)
  }

  ending(claim: Claim, header: SessionHeader): SettlementEvent {
    const amount = upokt(this.value(claim))
    const status = claim.proofValidationStatus
    const requirement = this.requirement(claim)
    const event = {
      operator: claim.supplierOperatorAddress as Address,
      application: header.applicationAddress as Address,
      serviceId: header.serviceId,
      sessionEnd: height(header.sessionEndBlockHeight),
      proofStatus: STATUS.get(status) ?? ('pending' as const),
      relays: countOf(claim.rootHash),
      computeUnits: computeUnits(sumOf(claim.rootHash)),
      estimatedRelays: countOf(claim.rootHash),
      estimatedComputeUnits: computeUnits(sumOf(claim.rootHash)),
      claimed: amount,
    }
    if (requirement !== 'not-required' && status !== ClaimProofStatus.VALIDATED) {
      const reason = status === ClaimProofStatus.INVALID ? 'PROOF_INVALID' : 'PROOF_MISSING'
      return { kind: 'expired', ...event, reason }
    }
    const reward = supplierReward(amount, this.tokenomics)
    const reason = 'TLM_RELAY_BURN_EQUALS_MINT_SUPPLIER_SHAREHOLDER_REWARD_DISTRIBUTION'
    return {
      kind: 'settled',
      ...event,
      sessionId: header.sessionId,
      owner: event.operator,
      proofRequirement: requirement,
      settled: amount,
      minted: amount,
      mintRatio: '1',
      overservicingLoss: upokt(0),
      deflationLoss: upokt(0),
      rewards: new Map([[event.operator, reward]]),
      rewardDetails: [
        { recipient: event.operator, reason, amount: reward },
        { recipient: 'dao', reason: 'TLM_RELAY_BURN_EQUALS_MINT_DAO', amount: upokt(7) },
      ],
    }
  }
}
