/**
 * What is thought of an endpoint, and which of several endpoints is right. Pure.
 *
 * The chain never goes back, so that of two blocks of one height one is of a fork or made up. Most
 * voices decide; between as many, a block that names the block we believed before it; then the chain
 * that is longer, since a fork without two thirds of the validators stands still; then the order in
 * the configuration. A voice that contradicts itself does not count.
 *
 * A height that one endpoint alone claims is believed when there was time for it: three times the
 * usual pace and no more. Tested by test/chain/standing.ts.
 */
import { equal } from '../base/bytes.ts'
import type { Height, Ms } from '../base/units.ts'
import { ChainError } from './errors.ts'
import type { NodeStatus } from './status.ts'

export interface Standing {
  readonly state: 'ok' | 'lagging' | 'catching-up' | 'ahead' | 'other-chain' | 'disagrees'
  /** For people; empty for `ok`. */
  readonly reason: string
  /** Where it disagrees. */
  readonly at?: Height
}

export const FIT: Standing = { state: 'ok', reason: '' }

/** True where nothing that the endpoint says about the chain is used. */
export function isLeftOut({ state }: Standing): boolean {
  return state === 'other-chain' || state === 'disagrees'
}

export function otherChain(theirs: string): Standing {
  return { state: 'other-chain', reason: `other chain: ${theirs}` }
}

export function disagrees(at: Height): Standing {
  return { state: 'disagrees', reason: `disagrees at height ${at}`, at }
}

/** More blocks behind than these, and an endpoint comes last. */
export const LAG_MAX = 5

/** Of an endpoint that is not left out, beside the head that is believed. */
export function standingOf(status: NodeStatus, head: Height, isCredible: boolean): Standing {
  const lag = head - status.height
  if (status.catchingUp)
    return { state: 'catching-up', reason: `catching up, at height ${status.height}` }
  if (lag > LAG_MAX) return { state: 'lagging', reason: `lagging ${lag} blocks` }
  if (!isCredible && lag < -1)
    return { state: 'ahead', reason: `claims height ${status.height}, the chain is at ${head}` }
  return FIT
}

/** What is known when a new height is claimed. */
export interface Moment {
  readonly head: Height
  /** Heights of the other endpoints that are not left out, not catching up and not far behind. */
  readonly others: readonly Height[]
  /** Since the head was seen. */
  readonly elapsed: Ms
  /** From block to block. */
  readonly usual: Ms
}

/** Blocks come at most this many times faster than usual. */
const HASTE_MAX = 3

export function isCredible(claimed: Height, { head, others, elapsed, usual }: Moment): boolean {
  if (others.length === 0 || others.some((height) => height >= claimed)) return true
  return (claimed - head) * usual <= elapsed * HASTE_MAX
}

/** An endpoint whose latest block is older is not the one to begin with. */
const STALE = 300_000

/**
 * Where to begin, while no head is believed: the highest of which another endpoint is not far.
 * @param now unix milliseconds
 */
export function firstHeight(statuses: readonly NodeStatus[], now: Ms): Height | undefined {
  const fresh = statuses.filter(({ time }) => time > now - STALE)
  const heights = (fresh.length > 0 ? fresh : statuses).map(({ height }) => height)
  const [first, second] = heights.sort((a, b) => b - a)
  if (first === undefined || second === undefined) return first
  return first - second <= LAG_MAX ? first : second
}

/** What one endpoint says of a height on which there is no agreement. */
export interface Voice {
  /** In order of preference. */
  readonly index: number
  readonly hash: Uint8Array
  /** Its own next block and its own status name the same hash. */
  readonly isConsistent: boolean
  /** It names the block that we believe before it. */
  readonly isLinked: boolean
  /** The latest height of this endpoint. */
  readonly height: Height
}

/** The voice that is right; undefined without any. */
export function decide(voices: readonly Voice[]): Voice | undefined {
  const consistent = voices.filter((voice) => voice.isConsistent)
  const heard = consistent.length > 0 ? consistent : voices
  const votes = (voice: Voice) => heard.filter(({ hash }) => equal(hash, voice.hash)).length
  return [...heard].sort(
    (a, b) =>
      votes(b) - votes(a) ||
      Number(b.isLinked) - Number(a.isLinked) ||
      b.height - a.height ||
      a.index - b.index,
  )[0]
}

export function catchingUp(at: Height): ChainError {
  const text = `the node is still catching up, at height ${at}`
  return new ChainError('HEIGHT_UNAVAILABLE', text, { data: { height: at }, retryable: true })
}

export function behind(at: Height, head: number): ChainError {
  const text = `the node is at height ${at}, ${head} was seen before`
  return new ChainError('HEIGHT_UNAVAILABLE', text, { data: { height: at, head }, retryable: true })
}

export function foreign(theirs: string, ours: string): ChainError {
  const text = `a node of chain ${theirs} among those of ${ours}`
  return new ChainError('CHAIN_ID', text, { data: { theirs, ours } })
}
