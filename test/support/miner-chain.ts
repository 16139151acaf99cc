/**
 * A small chain for the miner alone: claims, proofs and settlements in plain maps, a mempool that does
 * what a test says, and blocks made by hand. It keeps every past state, so a question for a height it
 * has not reached is refused as a real node refuses it.
 */
import { hex, sha256 } from '../../src/base/bytes.ts'
import { coin, computeUnits, type Height, height, ms, upokt } from '../../src/base/units.ts'
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
  MsgCreateClaim,
  type MsgSubmitProof,
} from '../../src/protocol/gen/pocket/proof/proof.ts'
import type { SessionHeader } from '../../src/protocol/gen/pocket/session/session.ts'
import { Supplier } from '../../src/protocol/gen/pocket/shared/shared.ts'
import type { Submission } from '../../src/store/sessions.ts'
import {
  bytesOf,
  CUPR,
  copyOf,
  type FakeTx,
  type Fate,
  MinerRules,
  STAKE,
  type State,
} from './miner-rules.ts'

export class MinerChain extends MinerRules {
  fate: (tx: FakeTx, how: 'send' | 'resend') => Fate = () => 'accept'
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
  #state: State = { claims: new Map(), balances: new Map(), stakes: new Map() }
  #head: Block

  constructor(start = 1) {
    super()
    this.#head = this.block(start)
    this.#keep()
  }

  get height(): Height {
    return this.#head.height
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
    this.#state = copyOf(this.#state)
    this.#head = this.block(at)
    for (const tx of this.txs) {
      if (tx.included !== undefined || tx.includeAt === undefined || tx.includeAt > at) continue
      if (tx.timeoutHeight < at) continue
      tx.included = { height: height(at), ...this.#include(tx, at) }
    }
    this.#judgeAll()
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
    supplier: async (operatorAddress: string, _signal?: AbortSignal, at?: Height) => {
      await this.#asked('supplier')
      const stake = this.#at(at).stakes.get(operatorAddress) ?? STAKE
      return Supplier.fromPartial({ operatorAddress, stake: coin(upokt(stake)) })
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
    this.#states.set(this.height, copyOf(this.#state))
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
    const fault = this.execute(copyOf(this.#state), signer.address, messages, this.height, [])
    if (fault !== undefined) {
      const error = simulationError(fault, undefined)
      if (error.data['refusal'] !== 'window-early' || fallbackGas === undefined) throw error
    }
    const bytes = bytesOf(this.txs.length, messages)
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
    const rejected = (code: number, retryable: boolean): SendResult => {
      const log = `refused with ${code}`
      return { kind: 'rejected', code, codespace: 'sdk', log, retryable }
    }
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
    const copy = copyOf(this.#state)
    const proofs: MsgSubmitProof[] = []
    const fault = this.execute(copy, tx.operator, tx.messages, at, proofs, true)
    if (fault !== undefined) return { code: 1, log: fault }
    this.#state = copy
    this.#judged.push(...proofs)
    return { code: 0, log: '' }
  }

  #judgeAll(): void {
    for (const message of this.#judged.splice(0)) {
      const name = `${message.sessionHeader?.sessionId} ${message.supplierOperatorAddress}`
      const claim = this.#state.claims.get(name)
      if (claim === undefined) continue
      const proofValidationStatus = this.verdict(message, claim)
      this.#state.claims.set(name, { ...claim, proofValidationStatus })
    }
  }

  #settle(at: number): void {
    for (const [name, claim] of this.#state.claims) {
      const header = claim.sessionHeader as SessionHeader
      if (this.windows(header).settlement + this.late > at) continue
      this.#state.claims.delete(name)
      const ending = this.ending(claim, header)
      this.events.set(at, [...(this.events.get(at) ?? []), ending])
      if (ending.kind === 'expired') this.slash(this.#state, ending.operator)
    }
  }
}

export function unavailable(at: number): ChainError {
  return new ChainError('HEIGHT_UNAVAILABLE', `no state at ${at}`, { retryable: true })
}
