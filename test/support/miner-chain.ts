/**
 * A small chain for the miner alone: claims, proofs and settlements in plain maps, a mempool that does
 * what a test says, and blocks made by hand. It keeps every past state, so a question for a height it
 * has not reached is refused as a real node refuses it.
 */
import { concat, equal, hex, sha256, u64, utf8 } from '../../src/base/bytes.ts'
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
import type { SendResult } from '../../src/chain/broadcast.ts'
import { ChainError } from '../../src/chain/errors.ts'
import type { SettlementEvent } from '../../src/chain/events.ts'
import { simulationError } from '../../src/chain/simulation.ts'
import type { Signer } from '../../src/keys/keyring.ts'
import type { TxDeps } from '../../src/miner/submit.ts'
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
import type { Submission } from '../../src/store/sessions.ts'
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

interface State {
  readonly claims: Map<string, Claim>
  readonly balances: Map<string, bigint>
}

export class MinerChain {
  /** By height of the session end. */
  shared: (at: number) => SharedParams = () => sharedParams()
  proof: ProofParams = proofParams({ proofSubmissionFee: coin(upokt(1_000)) })
  tokenomics: TokenomicsParams = tokenomicsParams()
  target: Uint8Array = BASE_TARGET
  fate: (tx: FakeTx, how: 'send' | 'resend') => Fate = () => 'accept'
  /** Overrules the chain's own judgement of a proof. */
  judge: (sessionId: string) => boolean = () => true
  /** Blocks by which the node that answers is behind the head. */
  lag = 0
  /** Blocks by which settlement is late. */
  late = 0
  /** What a node says instead of the events of a block. */
  eventsFault: (at: number) => Error | undefined = () => undefined
  /** Called before every question and every transaction, by name; may throw or wait. */
  intercept: (name: string) => void | Promise<void> = () => {}
  readonly txs: FakeTx[] = []
  /** Every root that ever went to a node, by session. */
  readonly roots = new Map<string, Set<string>>()
  readonly events = new Map<number, SettlementEvent[]>()
  readonly calls: string[] = []
  readonly #states = new Map<number, State>()
  readonly #judged: MsgSubmitProof[] = []
  readonly #waiting = new Set<() => void>()
  #state: State = { claims: new Map(), balances: new Map() }
  #head: Block

  constructor(start = 1) {
    this.#head = this.block(start)
    this.#keep()
  }

  get height(): Height {
    return this.#head.height
  }

  block(at: number): Block {
    return {
      height: height(at),
      hash: sha256(concat(utf8('block'), u64(at))),
      time: ms(GENESIS_MS + at * BLOCK_MS),
    }
  }

  setBalance(operator: string, amount: bigint): void {
    this.#state.balances.set(operator, amount)
    this.#keep()
  }

  balanceOf(operator: string): bigint {
    return this.#state.balances.get(operator) ?? 0n
  }

  claimOf(sessionId: string, operator: string): Claim | undefined {
    return this.#state.claims.get(`${sessionId} ${operator}`)
  }

  /** As if another process with the same key had sent it. */
  putClaim(claim: Claim): void {
    this.#state.claims.set(
      `${claim.sessionHeader?.sessionId} ${claim.supplierOperatorAddress}`,
      claim,
    )
    this.#keep()
  }

  mineTo(at: number): void {
    while (this.height < at) this.mine()
  }

  mine(): Block {
    const at = this.height + 1
    this.#state = {
      claims: new Map(this.#state.claims),
      balances: new Map(this.#state.balances),
    }
    this.#head = this.block(at)
    for (const tx of this.txs) {
      if (tx.included !== undefined || tx.includeAt === undefined || tx.includeAt > at) continue
      if (tx.timeoutHeight < at) continue
      tx.included = { height: height(at), ...this.#include(tx, at) }
    }
    this.#judge(at)
    this.#settle(at)
    this.#keep()
    for (const wake of this.#waiting) wake()
    this.#waiting.clear()
    return this.#head
  }

  readonly blocks = {
    head: (): Block | undefined => this.#head,
    at: async (at: Height): Promise<Block> => {
      await this.#asked('block')
      if (at > this.height) throw unavailable(at)
      return this.block(at)
    },
    follow: (signal: AbortSignal, from?: Height) => this.#follow(signal, from),
  }

  readonly query = {
    sharedParams: async (at: Height) => {
      await this.#asked('sharedParams')
      return this.shared(at)
    },
    proofParams: async () => {
      await this.#asked('proofParams')
      return this.proof
    },
    tokenomicsParams: async () => {
      await this.#asked('tokenomicsParams')
      return this.tokenomics
    },
    difficulty: async () => {
      await this.#asked('difficulty')
      return this.target
    },
    computeUnitsPerRelay: async () => {
      await this.#asked('computeUnitsPerRelay')
      return computeUnits(CUPR)
    },
    balance: async (address: string, _signal?: AbortSignal, at?: Height) => {
      await this.#asked('balance')
      return upokt(this.#at(at).balances.get(address) ?? 0n)
    },
    claim: async (sessionId: string, operator: string, _signal?: AbortSignal, at?: Height) => {
      await this.#asked('claim')
      const claim = this.#at(at).claims.get(`${sessionId} ${operator}`)
      return claim && { ...claim }
    },
    settlements: async (at: Height) => {
      await this.#asked('settlements')
      const fault = this.eventsFault(at)
      if (fault !== undefined) throw fault
      if (at > this.height - this.lag) throw unavailable(at)
      return this.events.get(at) ?? []
    },
  }

  readonly broadcaster: TxDeps['broadcaster'] = {
    prepare: async (signer, messages, options) => {
      await this.#asked('prepare')
      return this.#prepare(signer, messages, options)
    },
    send: (bytes) => this.#take(bytes, 'send'),
    resend: (bytes) => this.#take(bytes, 'resend'),
    result: async (hash) => {
      await this.#asked('result')
      return this.txs.find((tx) => tx.hash === hash)?.included
    },
  }

  async *#follow(signal: AbortSignal, from = this.height): AsyncGenerator<Block> {
    const wakeUp = () => {
      for (const wake of this.#waiting) wake()
    }
    signal.addEventListener('abort', wakeUp, { once: true })
    for (let next: number = from; ; next++) {
      while (this.height < next && !signal.aborted)
        await new Promise<void>((resolve) => this.#waiting.add(resolve))
      signal.throwIfAborted()
      yield this.block(next)
    }
  }

  async #asked(name: string): Promise<void> {
    this.calls.push(name)
    await this.intercept(name)
  }

  #keep(): void {
    this.#states.set(this.height, {
      claims: new Map(this.#state.claims),
      balances: new Map(this.#state.balances),
    })
  }

  #at(at: Height | undefined): State {
    const known = this.height - this.lag
    if (at !== undefined && at > known) throw unavailable(at)
    return this.#states.get(at ?? known) ?? this.#state
  }

  #prepare(
    signer: Signer,
    messages: readonly Any[],
    options: { timeoutHeight: Height; attempt?: number; feeFactor?: number; fallbackGas?: bigint },
  ): Submission {
    const { timeoutHeight, attempt = 1, feeFactor = 1, fallbackGas } = options
    if (this.height >= timeoutHeight) throw new ChainError('TX_TOO_LATE', 'too late')
    const copy = { claims: new Map(this.#state.claims), balances: new Map(this.#state.balances) }
    const fault = this.#execute(copy, signer.address, messages, this.height, [])
    if (fault !== undefined) {
      const error = simulationError(fault, undefined)
      if (error.data['refusal'] !== 'window-early' || fallbackGas === undefined) throw error
    }
    const bytes = concat(utf8(`tx ${this.txs.length} `), ...messages.map(({ value }) => value))
    const hash = hex(sha256(bytes)).toUpperCase()
    const kind = messages[0]?.typeUrl.includes('Claim') ? 'claim' : 'proof'
    const made = { hash, kind, operator: signer.address, messages, timeoutHeight } as const
    const life = { sends: 0, includeAt: undefined, fails: false, included: undefined }
    this.txs.push({ ...made, attempt, feeFactor, ...life })
    const timeoutAt = ms(this.#head.time + 570_000)
    return {
      txHash: hash,
      bytes,
      sentAt: this.height,
      timeoutHeight,
      timeoutAt,
      attempt,
      resent: 0,
    }
  }

  async #take(bytes: Uint8Array, how: 'send' | 'resend'): Promise<SendResult> {
    await this.#asked(how)
    const hash = hex(sha256(bytes)).toUpperCase()
    const tx = this.txs.find((each) => each.hash === hash)
    if (tx === undefined) throw new TypeError('a transaction that nobody prepared')
    tx.sends++
    for (const { typeUrl, value } of tx.messages) if (typeUrl.includes('Claim')) this.#note(value)
    if (tx.included !== undefined || tx.includeAt !== undefined) return { kind: 'in-mempool' }
    const fate = this.fate(tx, how)
    if (fate === 'full') return rejected(20, true)
    if (fate === 'silent') throw new ChainError('RPC_UNREACHABLE', 'silent', { retryable: true })
    if (typeof fate === 'object' && 'reject' in fate) return rejected(fate.reject, false)
    if (fate === 'lose') return { kind: 'accepted' }
    tx.includeAt = this.height + (typeof fate === 'object' ? fate.after : 1)
    tx.fails = fate === 'fail'
    if (fate === 'silent-taken')
      throw new ChainError('RPC_UNREACHABLE', 'silent', { retryable: true })
    return { kind: 'accepted' }
  }

  #note(value: Uint8Array): void {
    const { sessionHeader, rootHash, supplierOperatorAddress } = MsgCreateClaim.decode(value)
    const name = `${sessionHeader?.sessionId} ${supplierOperatorAddress}`
    this.roots.set(name, (this.roots.get(name) ?? new Set()).add(hex(rootHash)))
  }

  #include(tx: FakeTx, at: number): { code: number; log: string } {
    const { balances } = this.#state
    const fee = BigInt(Math.ceil(tx.feeFactor))
    balances.set(tx.operator, (balances.get(tx.operator) ?? 0n) - fee)
    if (tx.fails) return { code: 11, log: 'out of gas' }
    const copy = { claims: new Map(this.#state.claims), balances: new Map(balances) }
    const proofs: MsgSubmitProof[] = []
    const fault = this.#execute(copy, tx.operator, tx.messages, at, proofs)
    if (fault !== undefined) return { code: 1, log: fault }
    this.#state = copy
    this.#judged.push(...proofs)
    return { code: 0, log: '' }
  }

  /** All messages or, if one fails, its fault. */
  #execute(
    state: State,
    operator: string,
    messages: readonly Any[],
    at: number,
    proofs: MsgSubmitProof[],
  ): string | undefined {
    for (const [index, { typeUrl, value }] of messages.entries()) {
      const fault = typeUrl.includes('Claim')
        ? this.#runClaim(state, MsgCreateClaim.decode(value), at)
        : this.#runProof(state, operator, MsgSubmitProof.decode(value), at, proofs)
      if (fault !== undefined) return `failed to execute message; message index: ${index}: ${fault}`
    }
    return undefined
  }

  #runClaim(state: State, message: MsgCreateClaim, at: number): string | undefined {
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

  #runProof(
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

  #judge(_at: number): void {
    for (const message of this.#judged.splice(0)) {
      const header = message.sessionHeader as SessionHeader
      const name = `${header.sessionId} ${message.supplierOperatorAddress}`
      const claim = this.#state.claims.get(name)
      if (claim === undefined) continue
      const proof = decodeProof(message.proof)
      const seed = this.block(this.windows(header).seed)
      const good =
        equal(proof.path, proofPath(seed.hash, header.sessionId)) &&
        verifyProof(proof, claim.rootHash) &&
        this.judge(header.sessionId)
      const proofValidationStatus = good ? ClaimProofStatus.VALIDATED : ClaimProofStatus.INVALID
      this.#state.claims.set(name, { ...claim, proofValidationStatus })
    }
  }

  #settle(at: number): void {
    for (const [name, claim] of this.#state.claims) {
      const header = claim.sessionHeader as SessionHeader
      if (this.windows(header).settlement + this.late > at) continue
      this.#state.claims.delete(name)
      const events = this.events.get(at) ?? []
      this.events.set(at, [...events, this.#ending(claim, header)])
    }
  }

  #ending(claim: Claim, header: SessionHeader): SettlementEvent {
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

function rejected(code: number, retryable: boolean): SendResult {
  return { kind: 'rejected', code, codespace: 'sdk', log: `refused with ${code}`, retryable }
}

export function unavailable(at: number): ChainError {
  return new ChainError('HEIGHT_UNAVAILABLE', `no state at ${at}`, { retryable: true })
}
