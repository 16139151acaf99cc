/**
 * Generates with log-probabilities whether or not they were asked for, so that the answer can be
 * committed to, and shows what was asked for.
 *
 * One for each answer. Tested by test/inference/commitment.ts.
 */
import type { Generate } from './choices.ts'
import type { Openings } from './commitment.ts'
import type { Delta, Generation, TokenScore } from './request.ts'

/** Alternatives of each token that are bound, where the request asks for fewer. */
const TOP_MIN = 4

export class Committer {
  readonly #openings: Openings
  readonly #generate: Generate
  /** What was generated, by what is shown of it. */
  readonly #scores = new Map<Generation, readonly TokenScore[]>()

  constructor(deps: { readonly openings: Openings; readonly generate: Generate }) {
    this.#openings = deps.openings
    this.#generate = deps.generate
  }

  readonly generate: Generate = async (request, { signal, onDelta }) => {
    const { topLogprobs } = request
    const made = await this.#generate(
      { ...request, topLogprobs: Math.max(topLogprobs ?? 0, TOP_MIN) },
      {
        signal,
        ...(onDelta === undefined
          ? {}
          : { onDelta: (delta: Delta) => onDelta(shown(delta, topLogprobs)) }),
      },
    )
    const asked = shown(made, topLogprobs)
    this.#scores.set(asked, made.scores ?? [])
    return asked
  }

  /**
   * Keeps what opens the commitment later.
   * @param id of the answer; `choices` are what `generate` gave, in the order in which they are shown
   * @returns the root, in hex
   */
  commit(id: string, choices: readonly Generation[]): string {
    return this.#openings.commit(
      id,
      choices.flatMap((choice) => this.#scores.get(choice) ?? []),
    )
  }
}

/** With as many alternatives as were asked for, or without scores. */
function shown<T extends { readonly scores?: readonly TokenScore[] }>(
  piece: T,
  topLogprobs: number | undefined,
): T {
  const { scores, ...rest } = piece
  if (scores === undefined || topLogprobs === undefined) return rest as T
  return {
    ...piece,
    scores: scores.map((score) => ({ ...score, top: score.top.slice(0, topLogprobs) })),
  }
}
