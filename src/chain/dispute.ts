/**
 * Endpoints that tell of different blocks of one height: each is asked once more, and one is believed.
 *
 * A voice is what an endpoint says of the height now, held against its own next block and its own
 * status: one that contradicts itself does not count. Who is right is decided in chain/standing.ts.
 * Source: cometbft types/block.go (last_block_id). Tested by test/chain/forks.ts.
 */
import { equal } from '../base/bytes.ts'
import { SupplierError } from '../base/errors.ts'
import { type Height, offset } from '../base/units.ts'
import type { Endpoint } from './endpoint.ts'
import type { Panel } from './panel.ts'
import { decide, disagrees, FIT, type Voice } from './standing.ts'
import type { NodeStatus } from './status.ts'
import type { Trail } from './trail.ts'

export interface DisputeDeps {
  readonly panel: Panel
  readonly trail: Trail
}

/** An endpoint of our chain that answered, and what it said last. */
export interface Sighting {
  readonly index: number
  readonly endpoint: Endpoint
  readonly status: NodeStatus
}

/** Endpoints of our chain that answered last time, also those that are on a fork. */
export function sightings({ endpoints }: Panel): Sighting[] {
  return endpoints.flatMap((endpoint, index) => {
    const { seen: status, standing, health } = endpoint
    const counts = health.healthy && standing.state !== 'other-chain'
    return status === undefined || !counts ? [] : [{ index, endpoint, status }]
  })
}

/**
 * Who is right about block `at`; the others are left out from now on.
 * @returns undefined if too few could say anything
 */
export async function settle(
  deps: DisputeDeps,
  at: Height,
  signal: AbortSignal,
): Promise<Voice | undefined> {
  const { panel } = deps
  const heard = sightings(panel).filter(({ status }) => status.height >= at)
  const found = await Promise.all(heard.map((one) => voiceOf(deps, one, at, signal)))
  signal.throwIfAborted()
  const voices = found.filter((voice) => voice !== undefined)
  // Where others could be heard, one voice alone does not decide.
  const right = voices.length < Math.min(2, heard.length) ? undefined : decide(voices)
  if (right === undefined) return undefined
  const isOneConsistent = voices.some(({ isConsistent }) => isConsistent)
  for (const { index, hash, isConsistent } of voices) {
    const endpoint = panel.endpoint(index)
    const isRight = equal(hash, right.hash) && (isConsistent || !isOneConsistent)
    if (!isRight) panel.judge(endpoint, disagrees(at))
    else if (endpoint.isLeftOut) panel.judge(endpoint, FIT)
  }
  return right
}

/** Undefined where the endpoint does not give that block and the next one, if it has one. */
async function voiceOf(
  { trail }: DisputeDeps,
  { index, status: { height, hash: said } }: Sighting,
  at: Height,
  signal: AbortSignal,
): Promise<Voice | undefined> {
  try {
    const { hash, parent } = await trail.from(index, at, signal)
    const again = height === at ? said : (await trail.from(index, offset(at, 1), signal)).parent
    const before = at > 1 ? trail.known(offset(at, -1)) : undefined
    const isLinked = before === undefined || equal(before.hash, parent)
    return { index, hash, isConsistent: equal(again, hash), isLinked, height }
  } catch (error) {
    if (signal.aborted || !(error instanceof SupplierError)) throw error
    return undefined
  }
}
