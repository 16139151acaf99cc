/**
 * From a claim on the chain to a proof that the chain has validated.
 *
 * Whether one is asked for is drawn from the claim's bytes and the hash of the block before the proof
 * window; the same hash says which leaf is proven. A proof is verified with our own verifier before it
 * is sent. A transaction that a block took proves nothing yet: the claim's status does.
 * Source: poktroll x/proof/keeper, pkg/relayer/session/proof.go. Tests: test/miner/proofs.ts, test/e2e.
 */
import { equal } from '../base/bytes.ts'
import { errorText, SupplierError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { inParallel } from '../base/queue.ts'
import type { Address, Height } from '../base/units.ts'
import type { Block } from '../chain/blocks.ts'
import { Flights } from '../chain/flight.ts'
import { submitProofMessage } from '../chain/stake.ts'
import type { Signer } from '../keys/keyring.ts'
import type { Any } from '../protocol/gen/google/protobuf/any.ts'
import { ClaimProofStatus, type Params as ProofParams } from '../protocol/gen/pocket/proof/proof.ts'
import { leafPath, relayHash } from '../protocol/relay.ts'
import { isApplicable, proofPath, proofRequirement } from '../protocol/rewards.ts'
import { foldClosest, type Leaf } from '../smst/fold.ts'
import { encodeProof } from '../smst/gob.ts'
import { compactProof, verifyProof } from '../smst/proof.ts'
import type { SessionKey, SessionRecord, Submission } from '../store/sessions.ts'
import type { Item } from './batch.ts'
import { byValue, claimValue, requireRoot } from './book.ts'
import { MinerError } from './errors.ts'
import { type ClaimSource, type Looked, lookUp } from './look.ts'
import type { Moment } from './plan.ts'
import { isSent, type Part, type SentSession } from './split.ts'
import type { Submit } from './submit.ts'

export interface ProofsDeps {
  readonly chain: ClaimSource & {
    proofParams(signal?: AbortSignal): Promise<ProofParams>
  }
  readonly blocks: { at(height: Height, signal?: AbortSignal): Promise<Block> }
  readonly sessions: {
    put(record: SessionRecord): Promise<void>
    putAll(records: readonly SessionRecord[]): Promise<void>
  }
  readonly relays: {
    leaves(key: SessionKey): AsyncIterable<Leaf>
    relay(key: SessionKey, path: Uint8Array): Promise<Uint8Array | undefined>
  }
  /** Undefined for an operator whose key is not configured (any more). */
  readonly signer: (operator: Address) => Signer | undefined
  readonly submit: Pick<Submit, 'sendAll' | 'follow'>
  readonly log: Log
}

/** A proof judged invalid is made and sent once more: the same bytes would only cost the fee again. */
const INVALID_ATTEMPTS_MAX = 2
const JUDGED_INVALID = 'the chain judged the proof invalid'
/** New transactions of one operator that are made at the same time. */
const RENEWED_MAX = 4

export class Proofs {
  readonly #deps: ProofsDeps
  /** Parameters are asked for once by operators that prove at the same time. */
  readonly #flights = new Flights()

  constructor(deps: ProofsDeps) {
    this.#deps = deps
  }

  /**
   * The dearest first, in case the money does not reach. A session that cannot be proven does not hold
   * up the others. @param sessions claimed ones of one operator and one session end
   * @throws the first retryable error, when everything else is sent
   */
  async prove(
    sessions: readonly SessionRecord[],
    moment: Moment,
    signal: AbortSignal,
    attempt = 1,
  ): Promise<void> {
    const { chain, blocks } = this.#deps
    const { block, windows } = moment
    const [seed, params] = await Promise.all([
      blocks.at(windows.seed, signal),
      this.#flights.join('proof', signal, (both) => chain.proofParams(both)),
    ])
    const dearest = [...sessions].sort(byValue)
    const { found, failure } = await lookUp(chain, dearest, block.height, signal)
    const items: Item[] = []
    const failures = failure === undefined ? [] : [failure]
    for (const looked of found) {
      try {
        const message = await this.#messageFor(looked, params, seed, block)
        if (message !== undefined) items.push({ session: looked.session, message })
      } catch (error) {
        signal.throwIfAborted()
        if (error instanceof SupplierError && error.retryable) failures.push(error)
        else await this.#unprovable(looked.session, errorText(error), error)
      }
    }
    const [first] = items
    if (first !== undefined) {
      const next = (tx: Submission, session: SessionRecord) =>
        ({ at: 'proving', root: requireRoot(session), tx }) as const
      const options = { block, timeoutHeight: windows.proofClose, attempt, next }
      const signer = this.#deps.signer(first.session.key.operator)
      await this.#deps.submit.sendAll(signer, items, options, signal)
    }
    if (failures[0] !== undefined) throw failures[0]
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
    const { chain, submit } = this.#deps
    const { block, windows } = moment
    const sent = sessions.filter(isSent)
    const { found, failure } = await lookUp(chain, sent, block.height, signal)
    const validated: SentSession[] = []
    const pending: SentSession[] = []
    const parts: Part[] = []
    for (const { session, claim } of found) {
      const { attempt } = session.state.tx
      if (claim?.proofValidationStatus === ClaimProofStatus.VALIDATED) validated.push(session)
      else if (claim?.proofValidationStatus === ClaimProofStatus.INVALID) {
        await this.#unprovable(session, JUDGED_INVALID)
        if (attempt < INVALID_ATTEMPTS_MAX)
          parts.push({ sessions: [session], attempt: attempt + 1 })
      } else if (claim !== undefined) pending.push(session)
    }
    await this.#proven(validated, block)
    if (block.height < windows.proofClose) {
      parts.push(...(await submit.follow(pending, block, signal)))
      await inParallel(RENEWED_MAX, parts, (part) =>
        this.prove(part.sessions, moment, signal, part.attempt),
      )
    }
    if (failure !== undefined) throw failure
  }

  /** The proof if the chain asks for one; a session that needs none is written down as such. */
  async #messageFor(
    { session, claim }: Looked<SessionRecord>,
    params: ProofParams,
    seed: Block,
    block: Block,
  ): Promise<Any | undefined> {
    const { key } = session
    const root = requireRoot(session)
    if (claim === undefined || !equal(claim.rootHash, root)) {
      await this.#unprovable(session, 'the claim on the chain is not ours any more')
      return undefined
    }
    // A crash left this session out of what it knew to be sent.
    if (claim.proofValidationStatus === ClaimProofStatus.VALIDATED) {
      await this.#proven([session], block)
      return undefined
    }
    const requirement = proofRequirement(claim, claimValue(session), params, seed.hash)
    if (requirement === 'not-required') {
      await this.#unproven(session, root, block)
      return undefined
    }
    const proof = await this.#build(session, root, seed)
    this.#deps.log.info(
      { sessionId: key.sessionId, sessionEnd: key.end, reason: requirement, bytes: proof.length },
      'proof made',
    )
    return submitProofMessage(key.operator, session.header, proof)
  }

  async #proven(sessions: readonly SessionRecord[], block: Block): Promise<void> {
    await this.#deps.sessions.putAll(
      sessions.map(({ reason: _, ...record }) => {
        const state = { at: 'proven' as const, root: requireRoot(record) }
        return { ...record, state, since: block.height }
      }),
    )
    for (const { key } of sessions) {
      const fields = { sessionId: key.sessionId, sessionEnd: key.end, height: block.height }
      this.#deps.log.info(fields, 'proof validated')
    }
  }

  async #unproven(session: SessionRecord, root: Uint8Array, block: Block): Promise<void> {
    if (session.state.at === 'unproven') return
    const { reason: _, ...record } = session
    await this.#deps.sessions.put({
      ...record,
      state: { at: 'unproven', root },
      since: block.height,
    })
    const { sessionId, end } = session.key
    this.#deps.log.info({ sessionId, sessionEnd: end }, 'no proof asked for')
  }

  /** Keeps the reason: the settlement's loss is explained with it. */
  async #unprovable(session: SessionRecord, reason: string, err?: unknown): Promise<void> {
    const { sessionId, end } = session.key
    const fields = { sessionId, sessionEnd: end, upokt: claimValue(session), reason }
    this.#deps.log.error({ ...fields, ...(err === undefined ? {} : { err }) }, 'claim not proven')
    if (session.reason !== reason) await this.#deps.sessions.put({ ...session, reason })
  }

  /** Go gob of the closest proof. @throws MinerError PROOF_SELF_CHECK */
  async #build(session: SessionRecord, root: Uint8Array, seed: Block): Promise<Uint8Array> {
    const { relays } = this.#deps
    const target = proofPath(seed.hash, session.key.sessionId)
    const closest = await foldClosest(relays.leaves(session.key), target)
    const relay = await relays.relay(session.key, closest.path)
    if (relay === undefined) throw selfCheck('the sampled relay is not in the database')
    const proof = compactProof(closest, relay, session.computeUnitsPerRelay)
    const hash = relayHash(relay)
    if (!equal(leafPath(hash), closest.path))
      throw selfCheck('the sampled relay is not the one that was recorded')
    if (!isApplicable(hash, session.target))
      throw selfCheck('the sampled relay is above the difficulty target')
    if (!verifyProof(proof, root)) throw selfCheck('the proof does not lead to the claimed root')
    return encodeProof(proof)
  }
}

function selfCheck(message: string): MinerError {
  return new MinerError('PROOF_SELF_CHECK', message)
}
