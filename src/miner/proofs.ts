/**
 * From a claim on the chain to a proof that the chain has validated.
 *
 * Whether one is asked for is drawn from the claim's bytes and the hash of the block before the proof
 * window; the same hash says which leaf is proven. A proof is verified with our own verifier before it
 * is sent. A transaction that a block took proves nothing yet: the claim's status does.
 * Source: poktroll x/proof/keeper, pkg/relayer/session/proof.go. Tests: test/miner/proofs.ts, test/e2e.
 */
import { equal } from '../base/bytes.ts'
import type { Log } from '../base/log.ts'
import type { Address, Height } from '../base/units.ts'
import type { Block } from '../chain/blocks.ts'
import { submitProofMessage } from '../chain/stake.ts'
import type { Signer } from '../keys/keyring.ts'
import type { Any } from '../protocol/gen/google/protobuf/any.ts'
import {
  type Claim,
  ClaimProofStatus,
  type Params as ProofParams,
} from '../protocol/gen/pocket/proof/proof.ts'
import { leafPath, relayHash } from '../protocol/relay.ts'
import { isApplicable, proofPath, proofRequirement } from '../protocol/rewards.ts'
import type { Windows } from '../protocol/windows.ts'
import { foldClosest, type Leaf } from '../smst/fold.ts'
import { encodeProof } from '../smst/gob.ts'
import { compactProof, verifyProof } from '../smst/proof.ts'
import type { SessionKey, SessionRecord } from '../store/sessions.ts'
import { claimValue, requireRoot } from './book.ts'
import { MinerError } from './errors.ts'
import { type Item, progress, type Submit } from './submit.ts'

export interface ProofsDeps {
  readonly chain: {
    claim(
      sessionId: string,
      operator: string,
      signal?: AbortSignal,
      at?: Height,
    ): Promise<Claim | undefined>
    proofParams(signal?: AbortSignal): Promise<ProofParams>
  }
  readonly blocks: { at(height: Height, signal?: AbortSignal): Promise<Block> }
  readonly sessions: { put(record: SessionRecord): Promise<void> }
  readonly relays: {
    leaves(key: SessionKey): AsyncIterable<Leaf>
    relay(key: SessionKey, path: Uint8Array): Promise<Uint8Array | undefined>
  }
  readonly signer: (operator: Address) => Signer
  readonly submit: Submit
  readonly log: Log
}

/** A proof judged invalid is made and sent once more: the same bytes would only cost the fee again. */
const INVALID_ATTEMPTS_MAX = 2

export class Proofs {
  readonly #deps: ProofsDeps

  constructor(deps: ProofsDeps) {
    this.#deps = deps
  }

  /** @param sessions claimed ones of one operator and one session end */
  async prove(
    sessions: readonly SessionRecord[],
    windows: Windows,
    block: Block,
    signal: AbortSignal,
    attempt = 1,
  ): Promise<void> {
    const seed = await this.#deps.blocks.at(windows.seed, signal)
    const params = await this.#deps.chain.proofParams(signal)
    const items: Item[] = []
    for (const session of sessions) {
      const message = await this.#messageFor(session, params, seed, block, signal)
      if (message !== undefined) items.push({ session, message })
    }
    const [first] = items
    if (first === undefined) return
    await this.#deps.submit.sendAll(
      this.#deps.signer(first.session.key.operator),
      items,
      {
        block,
        timeoutHeight: windows.proofClose,
        attempt,
        next: (tx, session) => ({ at: 'proving', root: requireRoot(session), tx }),
      },
      signal,
    )
  }

  async confirm(
    session: SessionRecord,
    windows: Windows,
    block: Block,
    signal: AbortSignal,
  ): Promise<void> {
    const { state, key } = session
    if (state.at !== 'proving') return
    const claim = await this.#deps.chain.claim(key.sessionId, key.operator, signal, block.height)
    if (claim === undefined) return
    const { reason: _, ...record } = session
    if (claim.proofValidationStatus === ClaimProofStatus.VALIDATED) {
      await this.#deps.sessions.put({
        ...record,
        state: { at: 'proven', root: state.root },
        since: block.height,
      })
      this.#deps.log.info(
        { sessionId: key.sessionId, sessionEnd: key.end, height: block.height },
        'proof validated',
      )
      return
    }
    const invalid = claim.proofValidationStatus === ClaimProofStatus.INVALID
    if (invalid)
      this.#deps.log.error(
        { sessionId: key.sessionId, upokt: claimValue(session) },
        'the chain judged a proof invalid',
      )
    if (invalid && state.tx.attempt >= INVALID_ATTEMPTS_MAX) return
    if (block.height >= windows.proofClose) return
    const failed = invalid || (await this.#deps.submit.hasFailed(state.tx, signal))
    const next = failed ? 'renew' : progress(state.tx, block)
    if (next === 'resend') {
      const tx = await this.#deps.submit.resend(session, state.tx, signal)
      await this.#deps.sessions.put({ ...session, state: { ...state, tx } })
    } else if (next === 'renew') {
      await this.prove([session], windows, block, signal, state.tx.attempt + 1)
    }
  }

  /** The proof if the chain asks for one; a session that needs none is written down as such. */
  async #messageFor(
    session: SessionRecord,
    params: ProofParams,
    seed: Block,
    block: Block,
    signal: AbortSignal,
  ): Promise<Any | undefined> {
    const { key, state } = session
    const claim = await this.#deps.chain.claim(key.sessionId, key.operator, signal, block.height)
    const root = requireRoot(session)
    if (claim === undefined || !equal(claim.rootHash, root)) {
      this.#deps.log.error(
        { sessionId: key.sessionId, upokt: claimValue(session) },
        'the claim on the chain is not ours any more',
      )
      return undefined
    }
    const requirement = proofRequirement(claim, claimValue(session), params, seed.hash)
    if (requirement === 'not-required') {
      if (state.at !== 'unproven') {
        const { reason: _, ...record } = session
        await this.#deps.sessions.put({
          ...record,
          state: { at: 'unproven', root },
          since: block.height,
        })
        this.#deps.log.info({ sessionId: key.sessionId, sessionEnd: key.end }, 'no proof asked for')
      }
      return undefined
    }
    try {
      const proof = await this.#build(session, root, seed)
      this.#deps.log.info(
        { sessionId: key.sessionId, sessionEnd: key.end, reason: requirement, bytes: proof.length },
        'proof made',
      )
      return submitProofMessage(key.operator, session.header, proof)
    } catch (error) {
      if (!(error instanceof MinerError)) throw error
      this.#deps.log.error(
        { sessionId: key.sessionId, upokt: claimValue(session), err: error },
        'no proof can be made',
      )
      await this.#deps.sessions.put({ ...session, reason: error.message })
      return undefined
    }
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
