/** The chain's state of many sessions at once. Tests: test/miner/claims.ts, test/miner/proofs.ts. */
import { inParallel } from '../base/queue.ts'
import type { Height } from '../base/units.ts'
import type { Claim } from '../protocol/gen/pocket/proof/proof.ts'
import type { SessionRecord } from '../store/sessions.ts'

export interface ClaimSource {
  claim(
    sessionId: string,
    operator: string,
    signal?: AbortSignal,
    at?: Height,
  ): Promise<Claim | undefined>
}

export interface Looked<S extends SessionRecord> {
  readonly session: S
  /** Undefined: the chain holds none at that height. */
  readonly claim: Claim | undefined
}

export interface Look<S extends SessionRecord> {
  /** In the order of the sessions, without those whose question failed. */
  readonly found: readonly Looked<S>[]
  /** The first failure: to be thrown when the others are served. */
  readonly failure: unknown
}

/** Of one action; many actions run at the same time. */
const LOOKS_MAX = 4

/** The claims of `sessions` in the state at `at`; what fails for one does not stop the others. */
export async function lookUp<S extends SessionRecord>(
  chain: ClaimSource,
  sessions: readonly S[],
  at: Height,
  signal: AbortSignal,
): Promise<Look<S>> {
  const claims = new Map<S, Claim | undefined>()
  let failure: unknown
  const ask = async (session: S) => {
    const { sessionId, operator } = session.key
    claims.set(session, await chain.claim(sessionId, operator, signal, at))
  }
  await inParallel(LOOKS_MAX, sessions, ask).catch((error: unknown) => {
    signal.throwIfAborted()
    failure = error
  })
  const found = sessions
    .filter((session) => claims.has(session))
    .map((session) => ({ session, claim: claims.get(session) }))
  return { found, failure }
}
