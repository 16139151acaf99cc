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
import { inParallel, KeyedMutex } from '../base/queue.ts'
import { type Address, fromCoin, type Height, offset, type Upokt, upokt } from '../base/units.ts'
import { Flights } from '../chain/flight.ts'
import { createClaimMessage } from '../chain/stake.ts'
import type { Signer } from '../keys/keyring.ts'
import type { Params as ProofParams } from '../protocol/gen/pocket/proof/proof.ts'
import type { Params as TokenomicsParams } from '../protocol/gen/pocket/tokenomics/tokenomics.ts'
import { supplierReward } from '../protocol/shares.ts'
import { foldRoot, type Leaf } from '../smst/fold.ts'
import { countOf } from '../smst/node.ts'
import type { SessionKey, SessionRecord } from '../store/sessions.ts'
import type { Item } from './batch.ts'
import { type Book, because, byValue, claimValue, requireRoot } from './book.ts'
import type { Gate } from './gate.ts'
import { type ClaimSource, lookUp } from './look.ts'
import type { Moment } from './plan.ts'
import { isSent } from './split.ts'
import type { Submit } from './submit.ts'

export interface ClaimsDeps {
  readonly chain: ClaimSource & {
    proofParams(signal?: AbortSignal): Promise<ProofParams>
    tokenomicsParams(signal?: AbortSignal): Promise<TokenomicsParams>
    balance(address: string, signal?: AbortSignal, at?: Height): Promise<Upokt>
  }
  readonly sessions: {
    put(record: SessionRecord): Promise<void>
    putAll(records: readonly SessionRecord[]): Promise<void>
    get(key: SessionKey): Promise<SessionRecord | undefined>
  }
  readonly relays: { leaves(key: SessionKey): AsyncIterable<Leaf> }
  /** Undefined for an operator whose key is not configured (any more). */
  readonly signer: (operator: Address) => Signer | undefined
  readonly gate: Pick<Gate, 'seal'>
  readonly submit: Pick<Submit, 'sendAll' | 'follow'>
  readonly book: Pick<Book, 'finish'>
  readonly log: Log
}

export interface ClaimsOptions {
  /** What is set aside for the gas of one claim or one proof; real ones are simulated. */
  readonly txFee: Upokt
}

/** One upokt pays for a million units of gas at the network's usual price. */
export const CLAIMS_DEFAULTS: ClaimsOptions = { txFee: upokt(1) }

/** What must still be paid for a session in one of these states. */
const OUTSTANDING: ReadonlySet<string> = new Set(['claiming', 'claimed', 'proving'])
/** New transactions of one operator that are made at the same time. */
const RENEWED_MAX = 4

export class Claims {
  readonly #deps: ClaimsDeps
  readonly #options: ClaimsOptions
  /** The balance of an operator is spent by one decision at a time. */
  readonly #purses = new KeyedMutex()
  /** Parameters are asked for once by operators that decide at the same time. */
  readonly #flights = new Flights()

  constructor(deps: ClaimsDeps, options: ClaimsOptions = CLAIMS_DEFAULTS) {
    this.#deps = deps
    this.#options = options
  }

  /** Stops inserting, computes the root in one pass and writes it down. */
  async seal(session: SessionRecord, cut: boolean, { block }: Moment): Promise<void> {
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
  async claim(
    sessions: readonly SessionRecord[],
    moment: Moment,
    signal: AbortSignal,
  ): Promise<void> {
    const [first] = sessions
    if (first === undefined) return
    await this.#purses.run(first.key.operator, async () => {
      const chosen = await this.#affordable(first.key.operator, sessions, moment, signal)
      await this.#send(chosen, 1, moment, signal)
    })
  }

  /**
   * @param sessions of one operator and one session end, with a transaction under way
   * @throws the first failure, when the others are served
   */
  async confirm(
    sessions: readonly SessionRecord[],
    moment: Moment,
    signal: AbortSignal,
  ): Promise<void> {
    const { chain, book, submit } = this.#deps
    const { block, windows } = moment
    const sent = sessions.filter(isSent)
    const { found, failure } = await lookUp(chain, sent, block.height, signal)
    const isOurs = ({ session, claim }: (typeof found)[number]) =>
      claim !== undefined && equal(claim.rootHash, session.state.root)
    await this.#claimed(
      found.filter(isOurs).map(({ session }) => session),
      block.height,
    )
    const others = found.filter((each) => !isOurs(each))
    if (block.height >= windows.claimClose) {
      for (const { session, claim } of others) {
        const what =
          claim === undefined
            ? 'no block took the claim in its window'
            : 'the chain holds a claim with another root'
        const reason = because(what, session)
        await book.finish(session, block.height, { outcome: 'claim-missed', reason })
      }
    } else {
      const absent = others.map(({ session }) => session)
      const parts = await submit.follow(absent, block, signal)
      await inParallel(RENEWED_MAX, parts, (part) =>
        this.#send(part.sessions, part.attempt, moment, signal),
      )
    }
    if (failure !== undefined) throw failure
  }

  /** Unless the chain has the claim all the same: the database may be older than what was sent. */
  async missed(session: SessionRecord, { block }: Moment, signal: AbortSignal): Promise<void> {
    const { chain, book } = this.#deps
    const { sessionId, operator } = session.key
    const claim = await chain.claim(sessionId, operator, signal, block.height)
    if (claim !== undefined && equal(claim.rootHash, requireRoot(session)))
      return await this.#claimed([session], block.height)
    const reason = because('the claim window closed', session)
    await book.finish(session, block.height, { outcome: 'claim-missed', reason })
  }

  async #claimed(sessions: readonly SessionRecord[], at: Height): Promise<void> {
    const { log, sessions: records } = this.#deps
    await records.putAll(
      sessions.map(({ reason: _, ...record }) => {
        const state = { at: 'claimed' as const, root: requireRoot(record) }
        return { ...record, state, since: at }
      }),
    )
    for (const session of sessions)
      log.info({ ...facts(session), height: at }, 'claim on the chain')
  }

  async #send(
    sessions: readonly SessionRecord[],
    attempt: number,
    { block, windows }: Moment,
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
    moment: Moment,
    signal: AbortSignal,
  ): Promise<SessionRecord[]> {
    const { chain } = this.#deps
    const { txFee } = this.#options
    const [balance, proof, tokenomics, outstanding] = await Promise.all([
      chain.balance(operator, signal, moment.block.height),
      this.#flights.join('proof', signal, (both) => chain.proofParams(both)),
      this.#flights.join('tokenomics', signal, (both) => chain.tokenomicsParams(both)),
      this.#outstanding(operator, moment),
    ])
    const proofCost = upokt(txFee + fromCoin(proof.proofSubmissionFee))
    /** Of a claim that no block has taken yet. */
    const claimCost = txFee + proofCost
    let reserved = 0n
    for (const { at } of outstanding) reserved += at === 'claiming' ? claimCost : proofCost
    const chosen: SessionRecord[] = []
    for (const session of [...sessions].sort(byValue)) {
      const value = claimValue(session)
      const reward = supplierReward(value, tokenomics)
      const fees = txFee + expectedProofCost(value, proofCost, proof)
      if (reward <= fees) {
        await this.#unprofitable(session, reward, fees, moment)
      } else if (balance > reserved + claimCost) {
        reserved += claimCost
        chosen.push(session)
      } else {
        await this.#unaffordable(session, balance, reserved + claimCost, moment)
      }
    }
    return chosen
  }

  /**
   * The states of the operator's sessions whose fees are still to be paid, as they are now: another
   * decision may have been taken since `moment`.
   */
  async #outstanding(operator: Address, { open }: Moment) {
    const own = open.get(operator) ?? []
    const records = await Promise.all(own.map(({ key }) => this.#deps.sessions.get(key)))
    return records.flatMap((record) =>
      record !== undefined && OUTSTANDING.has(record.state.at) ? [record.state] : [],
    )
  }

  async #unprofitable(
    session: SessionRecord,
    reward: Upokt,
    fees: bigint,
    { block }: Moment,
  ): Promise<void> {
    this.#deps.log.info({ ...facts(session), reward, fees }, 'claim not worth its fees')
    const reason = 'the reward does not cover the fees'
    await this.#deps.book.finish(session, block.height, { outcome: 'unprofitable', reason })
  }

  async #unaffordable(
    session: SessionRecord,
    balance: Upokt,
    needed: bigint,
    { block, windows }: Moment,
  ): Promise<void> {
    const reason = `the operator holds ${balance} upokt, more than ${needed} upokt are needed for claim and proof`
    this.#deps.log.warn({ ...facts(session), reason }, 'claim waits for money')
    if (block.height < offset(windows.claimClose, -1)) {
      await this.#deps.sessions.put({ ...session, reason })
      return
    }
    await this.#deps.book.finish(session, block.height, {
      outcome: 'unaffordable',
      reason: 'the operator could not pay for claim and proof',
    })
  }
}

function facts(session: SessionRecord) {
  const { sessionId, end, operator } = session.key
  return { sessionId, sessionEnd: end, supplier: operator, upokt: claimValue(session) }
}

/** What proving is expected to cost: the whole at or above the threshold, else by its probability. */
function expectedProofCost(value: Upokt, proofCost: bigint, params: ProofParams): bigint {
  if (value >= fromCoin(params.proofRequirementThreshold)) return proofCost
  return BigInt(Math.ceil(Number(proofCost) * params.proofRequestProbability))
}
