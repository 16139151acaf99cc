/**
 * How a claim ended whose settlement no node shows: what the chain's state just before it and right
 * after it tells. A slash is as much as the penalty for each claim that expires in the block, whoever
 * asks; which claims they were is only certain where they can be none but ours.
 * Source: poktroll x/tokenomics/keeper/settle_pending_claims.go. Tests: test/miner/unseen.ts.
 */
import { fromCoin, type Height, offset } from '../base/units.ts'
import { ChainError } from '../chain/errors.ts'
import type { Params as ProofParams } from '../protocol/gen/pocket/proof/proof.ts'
import type { Supplier } from '../protocol/gen/pocket/shared/shared.ts'
import type { SessionRecord } from '../store/sessions.ts'
import { because, type Ending } from './book.ts'
import type { ClaimSource } from './look.ts'

export interface StateSource extends ClaimSource {
  supplier(operator: string, signal?: AbortSignal, at?: Height): Promise<Supplier | undefined>
  proofParams(signal?: AbortSignal): Promise<ProofParams>
}

/** States of a claim that the chain may have asked a proof of and in vain. */
const IN_VAIN: ReadonlySet<string> = new Set(['claiming', 'claimed', 'proving'])

/**
 * @param gone all sessions of the same end whose claims are gone, `session` among them
 * @param settlement the height whose block settled them
 */
export async function unseenEnding(
  chain: StateSource,
  session: SessionRecord,
  gone: readonly SessionRecord[],
  settlement: Height,
  signal: AbortSignal,
): Promise<Ending> {
  const { sessionId, operator } = session.key
  const before = offset(settlement, -1)
  if (session.state.at === 'proven')
    return { outcome: 'unseen', reason: 'the proof was valid, but no node tells what was paid' }
  const isMade = await known(chain.claim(sessionId, operator, signal, before), (claim) => !!claim)
  if (isMade === false) {
    const reason = because('no block took the claim in its window', session)
    return { outcome: 'claim-missed', reason }
  }
  const inVain = gone.filter(({ key, state }) => key.operator === operator && IN_VAIN.has(state.at))
  if (
    inVain.includes(session) &&
    (await slashes(chain, operator, settlement, signal)) === inVain.length
  ) {
    const reason = because('the supplier was slashed, and no proof was validated', session)
    return { outcome: 'proof-missed', reason }
  }
  return { outcome: 'unseen', reason: because('no node tells how the claim ended', session) }
}

/** How often the supplier was slashed in the block; undefined if that is not to be known. */
async function slashes(
  chain: StateSource,
  operator: string,
  at: Height,
  signal: AbortSignal,
): Promise<number | undefined> {
  const stake = (height: Height) =>
    known(chain.supplier(operator, signal, height), (supplier) => fromCoin(supplier?.stake))
  const { proofMissingPenalty } = await chain.proofParams(signal)
  const [before, after] = [await stake(offset(at, -1)), await stake(at)]
  const penalty = fromCoin(proofMissingPenalty)
  if (before === undefined || after === undefined || penalty === 0n) return undefined
  const fallen = before - after
  return fallen >= 0n && fallen % penalty === 0n ? Number(fallen / penalty) : undefined
}

/** Undefined where a node answers that it does not have that state any more. */
async function known<A, B>(asked: Promise<A>, read: (answer: A) => B): Promise<B | undefined> {
  try {
    return read(await asked)
  } catch (error) {
    const isPruned = error instanceof ChainError && error.code !== 'RPC_UNREACHABLE'
    if (isPruned) return undefined
    throw error
  }
}
