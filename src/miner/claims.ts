/**
 * From a session that takes no more relays to a claim on the chain.
 *
 * Claims go in order of value and only as far as the operator's balance reaches for the gas and the
 * proof fee of every claim outstanding: claiming without the money for the proof means a slash.
 * Source: poktroll pkg/relayer/session/claim.go, x/proof/keeper/msg_server_create_claim.go.
 * Tests: test/miner/claims.ts and test/e2e.
 */
import { equal } from '../base/bytes.ts'
import type { Log } from '../base/log.ts'
import { KeyedMutex } from '../base/queue.ts'
import { type Address, fromCoin, type Height, offset, type Upokt, upokt } from '../base/units.ts'
import type { Block } from '../chain/blocks.ts'
import { createClaimMessage } from '../chain/stake.ts'
import type { Signer } from '../keys/keyring.ts'
import type { Claim, Params as ProofParams } from '../protocol/gen/pocket/proof/proof.ts'
import type { Params as TokenomicsParams } from '../protocol/gen/pocket/tokenomics/tokenomics.ts'
import { supplierReward } from '../protocol/shares.ts'
import type { Windows } from '../protocol/windows.ts'
import { foldRoot, type Leaf } from '../smst/fold.ts'
import { countOf } from '../smst/node.ts'
import type { SessionKey, SessionRecord } from '../store/sessions.ts'
import { type Book, claimValue, requireRoot } from './book.ts'
import type { Gate } from './gate.ts'
import { type Item, progress, type Submit } from './submit.ts'

export interface ClaimsDeps {
  readonly chain: {
    claim(
      sessionId: string,
      operator: string,
      signal?: AbortSignal,
      at?: Height,
    ): Promise<Claim | undefined>
    proofParams(signal?: AbortSignal): Promise<ProofParams>
    tokenomicsParams(signal?: AbortSignal): Promise<TokenomicsParams>
    balance(address: string, signal?: AbortSignal): Promise<Upokt>
  }
  readonly sessions: { put(record: SessionRecord): Promise<void>; open(): Promise<SessionRecord[]> }
  readonly relays: { leaves(key: SessionKey): AsyncIterable<Leaf> }
  readonly signer: (operator: Address) => Signer
  readonly gate: Gate
  readonly submit: Submit
  readonly book: Book
  readonly log: Log
}

/** The gas fee of one claim or proof at the network's usual price; real ones are simulated. */
const TX_FEE = 1n

export class Claims {
  readonly #deps: ClaimsDeps
  /** The balance of an operator is spent by one decision at a time. */
  readonly #purses = new KeyedMutex()

  constructor(deps: ClaimsDeps) {
    this.#deps = deps
  }

  /** Stops inserting, computes the root in one pass and writes it down. */
  async seal(session: SessionRecord, cut: boolean, block: Block): Promise<void> {
    const { gate, relays, sessions, book, log } = this.#deps
    const root = await gate.seal(session.key, cut, async () => {
      const fixed = await foldRoot(relays.leaves(session.key))
      if (countOf(fixed) > 0n)
        await sessions.put({
          ...session,
          state: { at: 'sealed', root: fixed },
          since: block.height,
        })
      return fixed
    })
    if (root === undefined) return
    const { sessionId, end } = session.key
    if (countOf(root) === 0n) {
      await book.finish(session, block.height, { outcome: 'empty', reason: 'no relay was mined' })
    } else {
      log.info(
        { sessionId, sessionEnd: end, relays: countOf(root), height: block.height },
        'session sealed',
      )
    }
  }

  /** @param sessions sealed ones of one operator and one session end */
  claim(
    sessions: readonly SessionRecord[],
    windows: Windows,
    block: Block,
    signal: AbortSignal,
  ): Promise<void> {
    const [first] = sessions
    if (first === undefined) return Promise.resolve()
    return this.#purses.run(first.key.operator, async () => {
      const chosen = await this.#affordable(first.key.operator, sessions, windows, block, signal)
      await this.#send(chosen, 1, windows, block, signal)
    })
  }

  async confirm(
    session: SessionRecord,
    windows: Windows,
    block: Block,
    signal: AbortSignal,
  ): Promise<void> {
    const { state, key } = session
    if (state.at !== 'claiming') return
    const claim = await this.#deps.chain.claim(key.sessionId, key.operator, signal, block.height)
    if (claim !== undefined && equal(claim.rootHash, state.root)) {
      const { reason: _, ...record } = session
      await this.#deps.sessions.put({
        ...record,
        state: { at: 'claimed', root: state.root },
        since: block.height,
      })
      this.#deps.log.info(
        {
          sessionId: key.sessionId,
          sessionEnd: key.end,
          height: block.height,
          upokt: claimValue(session),
        },
        'claim on the chain',
      )
      return
    }
    if (block.height >= windows.claimClose) {
      const reason =
        claim === undefined
          ? 'no block took the claim in its window'
          : 'the chain holds a claim with another root'
      await this.#deps.book.finish(session, block.height, { outcome: 'claim-missed', reason })
      return
    }
    const next = (await this.#deps.submit.hasFailed(state.tx, signal))
      ? 'renew'
      : progress(state.tx, block)
    if (next === 'resend') {
      const tx = await this.#deps.submit.resend(session, state.tx, signal)
      await this.#deps.sessions.put({ ...session, state: { ...state, tx } })
    } else if (next === 'renew') {
      await this.#send([session], state.tx.attempt + 1, windows, block, signal)
    }
  }

  async missed(session: SessionRecord, block: Block): Promise<void> {
    const reason = session.reason ?? 'the claim window closed'
    await this.#deps.book.finish(session, block.height, { outcome: 'claim-missed', reason })
  }

  async #send(
    sessions: readonly SessionRecord[],
    attempt: number,
    windows: Windows,
    block: Block,
    signal: AbortSignal,
  ): Promise<void> {
    const [first] = sessions
    if (first === undefined) return
    const items: Item[] = sessions.map((session) => ({
      session,
      message: createClaimMessage(session.key.operator, session.header, requireRoot(session)),
    }))
    await this.#deps.submit.sendAll(
      this.#deps.signer(first.key.operator),
      items,
      {
        block,
        timeoutHeight: windows.claimClose,
        attempt,
        next: (tx, session) => ({ at: 'claiming', root: requireRoot(session), tx }),
      },
      signal,
    )
  }

  /** Those worth a claim, dearest first, as far as the money for their proofs reaches. */
  async #affordable(
    operator: Address,
    sessions: readonly SessionRecord[],
    windows: Windows,
    block: Block,
    signal: AbortSignal,
  ): Promise<SessionRecord[]> {
    const { chain } = this.#deps
    const [balance, proof, tokenomics, open] = await Promise.all([
      chain.balance(operator, signal),
      chain.proofParams(signal),
      chain.tokenomicsParams(signal),
      this.#deps.sessions.open(),
    ])
    const proofCost = TX_FEE + fromCoin(proof.proofSubmissionFee)
    const outstanding = open.filter(
      ({ key, state }) =>
        key.operator === operator && ['claiming', 'claimed', 'proving'].includes(state.at),
    )
    let reserved = proofCost * BigInt(outstanding.length)
    const chosen: SessionRecord[] = []
    const byValue = sessions.map((session) => ({ session, value: claimValue(session) }))
    byValue.sort((a, b) => (a.value < b.value ? 1 : a.value > b.value ? -1 : 0))
    for (const { session, value } of byValue) {
      const cost = TX_FEE + expectedProofCost(value, proofCost, proof)
      if (supplierReward(value, tokenomics) <= cost) {
        const reason = `a reward of ${supplierReward(value, tokenomics)} upokt does not cover ${cost} upokt of fees`
        await this.#deps.book.finish(session, block.height, { outcome: 'unprofitable', reason })
      } else if (balance > reserved + TX_FEE + proofCost) {
        reserved += TX_FEE + proofCost
        chosen.push(session)
      } else {
        await this.#unaffordable(
          session,
          balance,
          upokt(reserved + TX_FEE + proofCost),
          windows,
          block,
        )
      }
    }
    return chosen
  }

  async #unaffordable(
    session: SessionRecord,
    balance: Upokt,
    needed: Upokt,
    windows: Windows,
    block: Block,
  ): Promise<void> {
    const { key } = session
    const reason = `the operator holds ${balance} upokt, more than ${needed} upokt are needed for claim and proof`
    if (block.height >= offset(windows.claimClose, -1)) {
      await this.#deps.book.finish(session, block.height, { outcome: 'unaffordable', reason })
      return
    }
    await this.#deps.sessions.put({ ...session, reason })
    this.#deps.log.warn(
      { sessionId: key.sessionId, supplier: key.operator, upokt: claimValue(session), reason },
      'claim waits for money',
    )
  }
}

/** What proving is expected to cost: the whole at or above the threshold, else by its probability. */
function expectedProofCost(value: Upokt, proofCost: bigint, params: ProofParams): bigint {
  if (value >= fromCoin(params.proofRequirementThreshold)) return proofCost
  return BigInt(Math.ceil(Number(proofCost) * params.proofRequestProbability))
}
