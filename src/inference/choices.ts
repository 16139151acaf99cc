/**
 * One request of the API that may be several of the engine: `n` choices, `best_of`, lists of prompts.
 *
 * All of them run at the same time, each in a slot of its own, and their usage is added up. Seeds of
 * choices follow from the request's own, so that the whole answer is repeated by it. The first one that
 * fails ends the others. Tested by test/inference/inference.ts.
 */
import { setMaxListeners } from 'node:events'
import { following } from '../base/abort.ts'
import type { Delta, Generation, GenerationRequest, JsonObject, Usage } from './request.ts'
import { usageSum } from './write/frame.ts'

/** Runs one of them. */
export type Generate = (
  request: GenerationRequest,
  options: { readonly signal: AbortSignal; readonly onDelta?: (delta: Delta) => void },
) => Promise<Generation>

/** Writes the events of a streamed answer (write/*.ts). */
export interface EventWriter {
  begin(index: number): string
  delta(index: number, delta: Delta): string
  end(index: number, generation: Generation): string
  /** @param manifest what ran; absent: the operator does not say */
  finish(usage: Usage, manifest: JsonObject | undefined): string
}

export interface ChoicesAsked {
  /** One for each prompt. */
  readonly requests: readonly GenerationRequest[]
  /** Choices of each that are given back, and made. */
  readonly n: number
  readonly bestOf: number
}

export interface Choices {
  /** In order of prompts, the choices of one prompt together. */
  readonly generations: readonly Generation[]
  readonly usage: Usage
}

/** @param onDelta gets the number of the choice with every piece */
export async function makeChoices(
  { requests, n, bestOf }: ChoicesAsked,
  generate: Generate,
  signal: AbortSignal,
  onDelta?: (index: number, delta: Delta) => void,
): Promise<Choices> {
  const failed = new AbortController()
  using either = following(signal, failed.signal)
  // Every choice listens to it.
  setMaxListeners(0, either.signal)
  const all = requests.flatMap((request) =>
    Array.from({ length: bestOf }, (_, choice) => withSeed(request, choice)),
  )
  const made = await Promise.all(
    all.map(async (request, index) => {
      try {
        return await generate(request, {
          signal: either.signal,
          ...(onDelta === undefined ? {} : { onDelta: (delta: Delta) => onDelta(index, delta) }),
        })
      } catch (error) {
        failed.abort(error)
        throw error
      }
    }),
  )
  const groups = requests.map((_, at) => made.slice(at * bestOf, (at + 1) * bestOf))
  const prompts = groups.flatMap(([first]) => (first === undefined ? [] : [first.usage]))
  return {
    generations: groups.flatMap((group) => (bestOf > n ? best(group, n) : group)),
    usage: usageSum(
      prompts,
      made.map(({ usage }) => usage),
    ),
  }
}

/** An odd number, so that seeds of neighbours do not meet. */
const SEED_STEP = 0x9e37_79b9_7f4a_7c15n

function withSeed(request: GenerationRequest, choice: number): GenerationRequest {
  if (request.seed === undefined || choice === 0) return request
  return { ...request, seed: BigInt.asUintN(64, request.seed + BigInt(choice) * SEED_STEP) }
}

/** The likeliest by the mean log-probability of their tokens, likeliest first. */
function best(group: readonly Generation[], n: number): Generation[] {
  const mean = ({ scores = [] }: Generation) =>
    scores.length === 0
      ? Number.NEGATIVE_INFINITY
      : scores.reduce((sum, { logprob }) => sum + (logprob ?? 0), 0) / scores.length
  return [...group].sort((a, b) => mean(b) - mean(a)).slice(0, n)
}
